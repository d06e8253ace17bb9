#include "runtime/sampling/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "runtime/abi/sampling.h"

namespace llmrt {

Sampler::Sampler(int64_t vocab_size, const SamplerOptions& options)
    : options_(options), bans_(vocab_size, options.bans), seen_(static_cast<size_t>(vocab_size)) {
  candidates_.reserve(seen_.size());
  if (options_.presence_penalty != 0.0f || options_.frequency_penalty != 0.0f)
    counts_.resize(seen_.size());
  if (options_.logit_bias.empty()) return;
  bias_.resize(seen_.size());
  for (const auto& [token, bias] : options_.logit_bias) bias_[static_cast<size_t>(token)] = bias;
}

Status Sampler::check(int64_t vocab_size, const SamplerOptions& o) {
  if (vocab_size > LLMC_SAMPLE_MAX_VOCAB) {
    return unsupported(fmt::format("a vocabulary of {} tokens: sampling takes {} at most",
                                   vocab_size, LLMC_SAMPLE_MAX_VOCAB));
  }
  // Written so that NaN fails too.
  if (!(o.temperature >= 0.0f && std::isfinite(o.temperature))) {
    return invalidArgument(
        fmt::format("`temperature` {}: must be 0 (greedy) or more", o.temperature));
  }
  if (o.top_k < 0)
    return invalidArgument(fmt::format("`top_k` {}: must be 0 (off) or more", o.top_k));
  if (!(o.top_p > 0.0f && o.top_p <= 1.0f)) {
    return invalidArgument(
        fmt::format("`top_p` {}: must be above 0, and 1 (off) at most", o.top_p));
  }
  if (!(o.min_p >= 0.0f && o.min_p <= 1.0f)) {
    return invalidArgument(fmt::format("`min_p` {}: must be from 0 (off) to 1", o.min_p));
  }
  if (!(o.repetition_penalty > 0.0f && std::isfinite(o.repetition_penalty))) {
    return invalidArgument(
        fmt::format("`repetition_penalty` {}: must be above 0; 1 is off", o.repetition_penalty));
  }
  for (const auto& [name, penalty] : {std::pair("presence_penalty", o.presence_penalty),
                                      std::pair("frequency_penalty", o.frequency_penalty)}) {
    if (!std::isfinite(penalty))
      return invalidArgument(fmt::format("`{}` {}: must be a number; 0 is off", name, penalty));
  }
  for (const auto& [token, bias] : o.logit_bias) {
    if (token < 0 || token >= vocab_size) {
      return invalidArgument(fmt::format("`logit_bias`: token id {} is not in the vocabulary of {}",
                                         token, vocab_size));
    }
    if (std::isnan(bias))
      return invalidArgument(fmt::format("`logit_bias` of token {}: is no number", token));
  }
  if (o.bans.no_repeat_ngram_size < 0)
    return invalidArgument(fmt::format("no_repeat_ngram_size {}: must be 0 (off) or more",
                                       o.bans.no_repeat_ngram_size));
  return {};
}

Result<Sampler> Sampler::create(int64_t vocab_size, const SamplerOptions& options) {
  LLMRT_RETURN_IF_ERROR(check(vocab_size, options));
  return Sampler(vocab_size, options);
}

void Sampler::accept(int32_t token) {
  ++position_;
  if (token >= 0 && static_cast<size_t>(token) < seen_.size()) {
    seen_[static_cast<size_t>(token)] = 1;
    if (!first_ && !counts_.empty()) ++counts_[static_cast<size_t>(token)];
  }
  bans_.accept(token);
}

float Sampler::penalized(std::span<const float> logits, size_t id) const {
  if (bans_.has(id)) return -std::numeric_limits<float>::infinity();
  float logit = logits[id];
  if (seen_[id])
    logit =
        logit < 0.0f ? logit * options_.repetition_penalty : logit / options_.repetition_penalty;
  if (!counts_.empty() && counts_[id] > 0) {
    logit -= options_.presence_penalty;
    logit -= options_.frequency_penalty * static_cast<float>(counts_[id]);
  }
  return bias_.empty() ? logit : logit + bias_[id];
}

SamplerState Sampler::state() const {
  SamplerState s;
  s.repetition_penalty = options_.repetition_penalty;
  s.temperature = options_.temperature;
  s.top_k = static_cast<uint32_t>(options_.top_k);
  // A float is a whole number of units or its last bits are cut; 2^64 itself is off.
  if (options_.top_p < 1.0f)
    s.top_p = std::max<uint64_t>(static_cast<uint64_t>(std::ldexp(options_.top_p, 64)), 1);
  s.min_weight = static_cast<uint64_t>(
      std::ceil(static_cast<double>(options_.min_p) * static_cast<double>(LLMC_SAMPLE_ONE)));
  s.seed = options_.seed;
  s.position = position_;
  s.seen = seen_;
  return s;
}

/// Of equals the first; NaN only where all are. Two passes that a compiler makes vectors of.
static int32_t largest(std::span<const float> logits) {
  float most = -std::numeric_limits<float>::infinity();
  for (const float logit : logits) most = logit > most ? logit : most;
  const auto found = std::find(logits.begin(), logits.end(), most);
  return found == logits.end() ? 0 : static_cast<int32_t>(found - logits.begin());
}

int32_t Sampler::greedy(std::span<const float> logits) const {
  if (!changesLogits()) return largest(logits);
  size_t best = 0;
  float best_logit = penalized(logits, 0);
  for (size_t id = 1; id < seen_.size(); ++id) {
    const float logit = penalized(logits, id);
    if (logit > best_logit || (std::isnan(best_logit) && !std::isnan(logit))) {
      best = id;
      best_logit = logit;
    }
  }
  return static_cast<int32_t>(best);
}

int32_t Sampler::sample(std::span<const float> logits) {
  bans_.update(std::exchange(first_, false));
  if (options_.temperature == 0.0f) return greedy(logits);
  const uint64_t drawn = llmcRandomAt(options_.seed, position_);

  // Most probable first, and the lower id of equals: a total order, so that the draw depends on
  // nothing else.
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  bool in_order = true;  // of ids
  candidates_.clear();
  for (size_t id = 0; id < seen_.size(); ++id) {
    const float logit = penalized(logits, id) / options_.temperature;
    if (!std::isnan(logit)) candidates_.push_back({logit, static_cast<int32_t>(id), 0});
  }
  if (candidates_.empty()) return greedy(logits);

  if (options_.top_k > 0 && static_cast<size_t>(options_.top_k) < candidates_.size()) {
    const auto kth = candidates_.begin() + (options_.top_k - 1);
    in_order = false;
    std::nth_element(candidates_.begin(), kth, candidates_.end(), before);
    const float threshold = kth->logit;
    candidates_.erase(std::remove_if(candidates_.begin(), candidates_.end(),
                                     [&](const Candidate& c) { return c.logit < threshold; }),
                      candidates_.end());
  }

  float largest = -std::numeric_limits<float>::infinity();
  for (const Candidate& c : candidates_) largest = std::max(largest, c.logit);
  if (!std::isfinite(largest))
    return std::min_element(candidates_.begin(), candidates_.end(), before)->id;
  const SamplerState state = this->state();
  uint64_t total = 0;
  for (Candidate& c : candidates_) {
    c.weight = llmcSampleWeight(c.logit, largest);
    total += c.weight;
  }

  size_t kept = candidates_.size();
  if (state.top_p > 0) {
    // Few tokens hold most of the probability: sort only as many as are needed, four times as many
    // at each attempt.
    in_order = false;
    const uint64_t target = llmcMultiplyHigh(total, state.top_p);
    uint64_t sum = 0;
    size_t sorted = 0;
    for (kept = 0; kept < candidates_.size() && (kept == 0 || sum < target); ++kept) {
      if (kept == sorted) {
        sorted = std::min(candidates_.size(), std::max<size_t>(64, sorted * 4));
        std::partial_sort(candidates_.begin() + static_cast<ptrdiff_t>(kept),
                          candidates_.begin() + static_cast<ptrdiff_t>(sorted), candidates_.end(),
                          before);
      }
      sum += candidates_[kept].weight;
    }
  }
  candidates_.erase(candidates_.begin() + static_cast<ptrdiff_t>(kept), candidates_.end());
  if (state.min_weight > 0) {
    candidates_.erase(
        std::remove_if(candidates_.begin(), candidates_.end(),
                       [&](const Candidate& c) { return c.weight < state.min_weight; }),
        candidates_.end());
  }

  // The order of candidates depends on the algorithms above: draw in the order of ids.
  if (!in_order) {
    std::sort(candidates_.begin(), candidates_.end(),
              [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  }
  total = 0;
  for (const Candidate& c : candidates_) total += c.weight;
  // Below the total, which has the most probable token's weight at least.
  uint64_t left = llmcMultiplyHigh(drawn, total);
  auto chosen = candidates_.begin();
  for (; chosen->weight <= left; ++chosen) left -= chosen->weight;
  return chosen->id;
}

double logSumExp(std::span<const float> logits) {
  const double most = logits[static_cast<size_t>(largest(logits))];
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - most);
  return std::log(sum) + most;
}

TokenLogprob tokenLogprob(std::span<const float> logits, int32_t token, int32_t count) {
  const double log_sum = logSumExp(logits);
  const auto logprob = [&](float logit) { return static_cast<float>(logit - log_sum); };
  TokenLogprob out{token, logprob(logits[static_cast<size_t>(token)]), {}};
  if (count > 0) out.top = largestLogits(logits, count);
  for (auto& [id, logit] : out.top) logit = logprob(logit);
  return out;
}

std::vector<std::pair<int32_t, float>> largestLogits(std::span<const float> logits, int32_t count) {
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const size_t n = std::min(logits.size(), static_cast<size_t>(count));
  std::partial_sort(
      ids.begin(), ids.begin() + static_cast<ptrdiff_t>(n), ids.end(), [&](int32_t a, int32_t b) {
        const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
        return x != y ? x > y : a < b;
      });
  std::vector<std::pair<int32_t, float>> out;
  for (size_t i = 0; i < n; ++i) out.emplace_back(ids[i], logits[static_cast<size_t>(ids[i])]);
  return out;
}

}  // namespace llmrt
