#include "runtime/generate/perplexity.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/sampling/sampler.h"

namespace llmrt {
namespace {

/// Runs `ids` through all sessions, window by window, and calls body(i, next) for each prediction:
/// logits(i) of each session, and the id that came next.
template <typename Body>
Status predict(std::span<Session* const> sessions, std::span<const int32_t> ids,
               const std::atomic<bool>* cancel, const std::function<void(int64_t)>& progress,
               Body&& body) {
  const auto count = static_cast<int64_t>(ids.size());
  if (count < 2) return invalidArgument("perplexity needs a text of at least two tokens");
  int64_t window = count, chunk = count;
  for (Session* const s : sessions) {
    window = std::min(window, s->options().max_seq_len);
    chunk = std::min({chunk, s->options().prefill_chunk, s->maxLogitsRows()});
  }
  if (window < 2)
    return invalidArgument("perplexity needs a context of at least two tokens (`max_seq_len`)");
  std::vector<StepToken> tokens;
  for (int64_t begin = 0; begin < count; begin += window) {
    const int64_t end = std::min(count, begin + window);
    for (Session* const s : sessions) s->reset(0);
    for (int64_t at = begin; at < end;) {
      if (cancel && cancel->load(std::memory_order_relaxed))
        return Status(StatusCode::kCancelled, "cancelled");
      const int64_t n = std::min(chunk, end - at);
      tokens.clear();
      for (int64_t i = at; i < at + n; ++i)
        tokens.push_back({0, ids[static_cast<size_t>(i)], i + 1 < end});
      for (Session* const s : sessions) LLMRT_RETURN_IF_ERROR(s->step(tokens));
      for (int64_t i = 0; i < sessions[0]->numLogitsRows(); ++i)
        body(i, ids[static_cast<size_t>(at + i + 1)]);
      at += n;
      if (progress) progress(at);
    }
  }
  for (Session* const s : sessions) s->reset(0);
  return {};
}

/// Counts predictions.
struct Sum {
  int64_t tokens = 0;
  double nll = 0;

  void add(std::span<const float> logits, double log_sum, int32_t next) {
    nll += log_sum - logits[static_cast<size_t>(next)];
    ++tokens;
  }
  Perplexity perplexity() const {
    const double mean = nll / static_cast<double>(tokens);
    return {tokens, mean, std::exp(mean)};
  }
};

}  // namespace

Result<Perplexity> measurePerplexity(Session& session, std::span<const int32_t> ids,
                                     const std::atomic<bool>* cancel,
                                     const std::function<void(int64_t)>& progress) {
  Sum sum;
  Session* const one = &session;
  LLMRT_RETURN_IF_ERROR(predict({&one, 1}, ids, cancel, progress, [&](int64_t i, int32_t next) {
    sum.add(session.logits(i), logSumExp(session.logits(i)), next);
  }));
  return sum.perplexity();
}

Result<Divergence> measureDivergence(Session& session, Session& base, std::span<const int32_t> ids,
                                     const std::atomic<bool>* cancel,
                                     const std::function<void(int64_t)>& progress) {
  if (session.plan().vocabSize() != base.plan().vocabSize())
    return invalidArgument(base.plan().path() + ": has a vocabulary of another size");
  Session* const both[] = {&session, &base};
  Sum sum, base_sum;
  std::vector<double> divergences;
  int64_t same = 0;
  LLMRT_RETURN_IF_ERROR(predict(both, ids, cancel, progress, [&](int64_t i, int32_t next) {
    const std::span<const float> p = base.logits(i), q = session.logits(i);
    const double p_sum = logSumExp(p), q_sum = logSumExp(q);
    base_sum.add(p, p_sum, next);
    sum.add(q, q_sum, next);
    double divergence = 0;
    for (size_t v = 0; v < p.size(); ++v) {
      const double log_p = p[v] - p_sum;
      divergence += std::exp(log_p) * (log_p - (q[v] - q_sum));
    }
    divergences.push_back(divergence);
    same += std::max_element(p.begin(), p.end()) - p.begin() ==
            std::max_element(q.begin(), q.end()) - q.begin();
  }));
  const auto count = static_cast<double>(divergences.size());
  Divergence result{sum.perplexity(), base_sum.perplexity()};
  for (const double d : divergences) result.kl_mean += d / count;
  std::sort(divergences.begin(), divergences.end());
  result.kl_p99 = divergences[static_cast<size_t>(std::ceil(0.99 * count)) - 1];
  result.same_top = static_cast<double>(same) / count;
  return result;
}

}  // namespace llmrt
