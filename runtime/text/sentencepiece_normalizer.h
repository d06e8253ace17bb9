// SentencePiece's normalization: a charsmap, then white space; and Hugging Face's reading of the
// map.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/text/byte_trie.h"
#include "runtime/text/charsmap.h"
#include "runtime/text/vocabulary.h"

namespace llmrt {

/// As Hugging Face's Precompiled does it: a grapheme cluster below 6 bytes that begins with a key
/// becomes what the shortest such key stands for, whatever follows the key; else each character is
/// looked up alone. `text` is valid UTF-8.
std::string mapGraphemes(const Charsmap& map, std::string_view text);

/// As SentencePiece does it: the longest key at each place. Immutable and thread-safe.
class SentencePieceNormalizer {
 public:
  /// User-defined symbols of `vocabulary` are left as they are spelled.
  SentencePieceNormalizer(std::optional<Charsmap> map, const Vocabulary& vocabulary,
                          bool add_dummy_prefix, bool remove_extra_whitespaces);

  /// `text` is valid UTF-8, and the result is. Spaces become U+2581.
  std::string normalize(std::string_view text) const;

 private:
  Charsmap::Match prefix(std::string_view text) const;

  std::optional<Charsmap> map_;
  ByteTrie user_defined_;
  bool add_dummy_prefix_;
  bool remove_extra_whitespaces_;
};

}  // namespace llmrt
