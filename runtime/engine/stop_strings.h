// Ends a text at the first of several strings, wherever tokens cut it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace llmrt {

/// Text goes in as it is decoded and comes out as soon as it cannot be the beginning of a stop
/// string. Special tokens are hidden text, which is never shown. A stop string is found in the text
/// with them and in the text without them. What is held is never longer than the longest stop
/// string.
class StopStrings {
 public:
  /// Empty strings are ignored.
  explicit StopStrings(std::vector<std::string> stops);

  bool empty() const { return stops_.empty(); }
  /// What may be shown now. After a stop string has been found: the text before it, then nothing.
  std::string push(std::string_view text) { return add(text, true); }
  std::string pushHidden(std::string_view text) { return add(text, false); }
  /// The text is at its end: what was held back.
  std::string finish();
  bool stopped() const { return stopped_; }

 private:
  std::string add(std::string_view text, bool shown);

  std::vector<std::string> stops_;
  std::string held_;  // shown text that may be the beginning of a stop string
  std::string all_;   // the end of the text with which one may begin, hidden text included
  std::vector<bool> all_shown_;  // [all_]
  bool stopped_ = false;
};

}  // namespace llmrt
