// Tokens that must not be chosen next: always, as the first, or behind what was chosen before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace llmrt {

/// Rules of a model's generation config, with the meaning of Hugging Face's logits processors. Ids
/// outside the vocabulary ban nothing.
struct BanRules {
  int32_t no_repeat_ngram_size = 0;  // no run of so many tokens comes twice; 0: off
  std::vector<int32_t> suppress_tokens;
  std::vector<int32_t> begin_suppress_tokens;   // as the first token alone
  std::vector<std::vector<int32_t>> bad_words;  // none of them is ever completed

  bool empty() const { return begin_suppress_tokens.empty() && !lasting(); }
  /// Whether some rule counts for more than the first token.
  bool lasting() const {
    return no_repeat_ngram_size > 0 || !suppress_tokens.empty() || !bad_words.empty();
  }
};

class TokenBans {
 public:
  TokenBans(int64_t vocab_size, BanRules rules);

  const BanRules& rules() const { return rules_; }
  /// Notes a token of the prompt or one that was chosen.
  void accept(int32_t token);
  /// Before each choice: which tokens are banned now.
  void update(bool first);
  /// Whether there are rules.
  bool any() const { return !banned_.empty(); }
  bool has(size_t token) const { return !banned_.empty() && banned_[token]; }

 private:
  void ban(int32_t token);
  void banRepeats();
  void banBadWords();

  BanRules rules_;
  bool needs_history_;
  std::vector<int32_t> history_;
  std::vector<uint8_t> banned_;  // [vocab_size]; empty where there are no rules
  std::vector<int32_t> listed_;  // those that are 1 in banned_
};

}  // namespace llmrt
