// Ends a text at the first of several strings, wherever tokens cut it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace llmrt {

/// Text goes in as it is decoded and comes out as soon as it cannot be the beginning of a stop
/// string.
class StopStrings {
 public:
  /// Empty strings are ignored.
  explicit StopStrings(std::vector<std::string> stops);

  /// What may be shown now. After a stop string has been found: the text before it, then nothing.
  std::string push(std::string_view text);
  /// The text is at its end: what was held back.
  std::string finish();
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;  // shorter than the longest stop string
  bool stopped_ = false;
};

}  // namespace llmrt
