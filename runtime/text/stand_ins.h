// A text as a regular expression of an older Unicode must see it: characters it does not know are
// replaced by like ones that it does. Bytes stay where they are, so matches need no translation.
#pragma once

#include <bitset>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/unicode_tables.h"

namespace llmrt {

/// This and not longer classes in the pattern: PCRE2 walks a class range by range for each
/// character, and could not take a character away from a category. Immutable and thread-safe.
class StandIns {
 public:
  /// Those that `pattern` (PCRE2's syntax) needs: none where it asks for no property but white
  /// space, and none whose place in a range that it names would be another.
  explicit StandIns(std::string_view pattern);

  /// Whether `text` (valid UTF-8) has to be replaced; then `replaced` has its bytes. O(n).
  bool replace(std::string_view text, std::string& replaced) const;

 private:
  std::vector<StandIn> runs_;     // sorted
  std::bitset<0x1100> in_block_;  // of 256 characters
};

}  // namespace llmrt
