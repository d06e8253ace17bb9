#include "runtime/sampling/token_bans.h"

#include <algorithm>
#include <utility>

namespace llmrt {

TokenBans::TokenBans(int64_t vocab_size, BanRules rules)
    : rules_(std::move(rules)),
      needs_history_(rules_.no_repeat_ngram_size > 0 || !rules_.bad_words.empty()),
      banned_(rules_.empty() ? 0 : static_cast<size_t>(vocab_size)) {}

void TokenBans::accept(int32_t token) {
  if (needs_history_) history_.push_back(token);
}

void TokenBans::update(bool first) {
  for (const int32_t id : listed_) banned_[static_cast<size_t>(id)] = 0;
  listed_.clear();
  for (const int32_t id : rules_.suppress_tokens) ban(id);
  if (first)
    for (const int32_t id : rules_.begin_suppress_tokens) ban(id);
  banRepeats();
  banBadWords();
}

void TokenBans::ban(int32_t token) {
  if (token < 0 || static_cast<size_t>(token) >= banned_.size()) return;
  uint8_t& banned = banned_[static_cast<size_t>(token)];
  if (!std::exchange(banned, uint8_t{1})) listed_.push_back(token);
}

// What once followed the last n - 1 tokens. Looks through all of the history at each token, as few
// models ask for it: that is microseconds.
void TokenBans::banRepeats() {
  if (rules_.no_repeat_ngram_size <= 0) return;
  const auto prefix = static_cast<size_t>(rules_.no_repeat_ngram_size) - 1;
  if (history_.size() <= prefix) return;
  const auto last = history_.end() - static_cast<ptrdiff_t>(prefix);
  for (size_t i = 0; i + prefix < history_.size(); ++i) {
    if (std::equal(last, history_.end(), history_.begin() + static_cast<ptrdiff_t>(i)))
      ban(history_[i + prefix]);
  }
}

void TokenBans::banBadWords() {
  for (const std::vector<int32_t>& word : rules_.bad_words) {
    if (word.empty() || word.size() - 1 > history_.size()) continue;
    if (std::equal(word.begin(), word.end() - 1,
                   history_.end() - static_cast<ptrdiff_t>(word.size() - 1)))
      ban(word.back());
  }
}

}  // namespace llmrt
