// From logits to the next token.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "runtime/executor/token_chooser.h"
#include "runtime/io/status.h"
#include "runtime/sampling/token_bans.h"

namespace llmrt {

/// Applied in the order and with the meaning of Hugging Face's logits processors. The three that
/// only OpenAI's API has come behind the repetition penalty.
struct SamplerOptions {
  float repetition_penalty = 1.0f;  // tokens seen: logit * p where negative, / p where not; 1: off
  float presence_penalty = 0.0f;    // off the logit of each token that was generated
  float frequency_penalty = 0.0f;   // as often as it was generated
  std::vector<std::pair<int32_t, float>> logit_bias;  // of a token: added to its logit
  float temperature = 0.0f;  // 0: greedy, the largest logit (the lowest id of equals)
  int32_t top_k = 0;         // keeps the k largest, and all that equal the k-th; 0: off
  float top_p =
      1.0f;  // keeps the fewest most probable tokens that together have probability top_p; 1: off
  float min_p = 0.0f;  // drops tokens less probable than min_p times the most probable; 0: off
  uint64_t seed = 0;   // with the number of tokens accepted, all that randomness comes from
  BanRules bans;       // tokens whose logits are as good as -infinity
};

/// One sequence's sampler. Allocates when created, then never, but for the history that some bans
/// need. Probabilities are integers (abi/sampling.h), and a random number is that of a seed and a
/// position: the same text, logits and options give the same token on any processor, whatever was
/// sampled before.
class Sampler : public TokenChooser {
 public:
  /// Whether create() would: without what a sampler of the vocabulary allocates.
  static Status check(int64_t vocab_size, const SamplerOptions& options);
  static Result<Sampler> create(int64_t vocab_size, const SamplerOptions& options);

  /// Notes the next token of the text, of the prompt or generated. Their number is the position of
  /// the token that is chosen next. Those behind the first choice are generated.
  void accept(int32_t token);

  /// The next token. `logits`: [vocab_size]. Does not accept() it. NaN is never chosen unless all
  /// are: then 0.
  int32_t sample(std::span<const float> logits) override;

  /// A device knows no bans, no bias, and no penalty but for repetition.
  bool choosableElsewhere() const override {
    const BanRules& rules = bans_.rules();
    return bias_.empty() && counts_.empty() && !rules.lasting() &&
           (!first_ || rules.begin_suppress_tokens.empty());
  }
  SamplerState state() const override;
  void sampledElsewhere() override { first_ = false; }

 private:
  struct Candidate {
    float logit;
    int32_t id;
    uint64_t weight;  // exp(logit - largest): its probability but for a common factor
  };
  Sampler(int64_t vocab_size, const SamplerOptions& options);
  float penalized(std::span<const float> logits, size_t id) const;
  bool changesLogits() const {
    return options_.repetition_penalty != 1.0f || bans_.any() || !bias_.empty() || !counts_.empty();
  }
  int32_t greedy(std::span<const float> logits) const;

  SamplerOptions options_;
  uint64_t position_ = 0;  // tokens accepted
  TokenBans bans_;
  bool first_ = true;  // no token was chosen yet
  std::vector<uint8_t> seen_;
  std::vector<float> bias_;       // [vocab_size]; empty: none
  std::vector<uint32_t> counts_;  // [vocab_size], of generated tokens; empty: nothing counts them
  std::vector<Candidate> candidates_;
};

/// The `count` largest, largest first; of equal ones the lower id first.
std::vector<std::pair<int32_t, float>> largestLogits(std::span<const float> logits, int32_t count);

/// The logarithm of the sum of exp(logit), in double: sums over a vocabulary lose too much in f32.
double logSumExp(std::span<const float> logits);

/// The logarithm of a token's probability, and of those of the most probable ones, as the model has
/// them: before a sampler's temperature, penalties and bans.
struct TokenLogprob {
  int32_t token = -1;
  float logprob = 0;
  std::vector<std::pair<int32_t, float>> top;  // most probable first
};
TokenLogprob tokenLogprob(std::span<const float> logits, int32_t token, int32_t count);

}  // namespace llmrt
