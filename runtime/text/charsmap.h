// SentencePiece's precompiled_charsmap: short strings and what they are replaced by.
// Layout: u32 size of the trie in bytes, little endian; the trie, a Darts double array of u32
// units; the replacements, each ended by a zero byte, to which the trie's values are offsets.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/status.h"

namespace llmrt {

/// Immutable and thread-safe. Whatever its bytes, a lookup ends within the text and the trie.
class Charsmap {
 public:
  /// kInvalidData where the sizes do not fit or a replacement is not UTF-8.
  static Result<Charsmap> create(std::string_view data);

  struct Match {
    size_t length;             // bytes of the text
    std::string_view content;  // what takes their place
  };
  /// The longest, or the shortest, key with which `text` begins.
  std::optional<Match> longest(std::string_view text) const { return find(text, false); }
  std::optional<Match> shortest(std::string_view text) const { return find(text, true); }

 private:
  std::optional<Match> find(std::string_view text, bool first) const;
  std::string_view contentAt(uint32_t offset) const;

  std::vector<uint32_t> units_;
  std::string contents_;
};

}  // namespace llmrt
