// Ends a text at the first of several strings, wherever tokens cut it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace llmrt {

/// Text goes in as it is decoded and comes out as soon as it cannot be the beginning of a stop
/// string. Special tokens are hidden text: never shown, but a stop string is found with them as it
/// is without.
class StopStrings {
 public:
  /// Empty strings are ignored.
  explicit StopStrings(std::vector<std::string> stops);

  bool empty() const { return stops_.empty(); }
  /// What may be shown now. After a stop string has been found: the text before it, then nothing.
  std::string push(std::string_view text) { return add(text, true); }
  std::string pushHidden(std::string_view text) { return add(text, false); }
  /// The text is at its end: what was held back.
  std::string finish() { return take(held_.size()); }
  bool stopped() const { return stopped_; }

 private:
  std::string add(std::string_view text, bool shown);
  /// The shown ones of the first `size` bytes held.
  std::string take(size_t size);

  std::vector<std::string> stops_;
  std::string held_;         // what may be the beginning of a stop string, and what lies between
  std::vector<bool> shown_;  // [held_]
  bool stopped_ = false;
};

}  // namespace llmrt
