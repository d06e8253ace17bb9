// Added tokens ("<s>", "<|im_end|>"): they split a text before anything else sees it.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/text/byte_trie.h"

namespace llmrt {

struct AddedToken {
  int32_t id = -1;
  bool special = false;
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  bool single_word = false;  // only where no letter, digit or underscore touches it
};

/// Finds tokens in a text, leftmost and longest first. One step per byte of text and of the longest
/// token; immutable and thread-safe once filled.
class AddedTokenMatcher {
 public:
  struct Segment {
    int32_t id;  // -1: plain text
    std::string_view text;
  };

  /// `content` is not empty. A content added twice keeps its last token.
  void add(std::string_view content, const AddedToken& token);
  bool empty() const { return tokens_.empty(); }

  /// Appends the segments of `text` (valid UTF-8, must outlive them), none of them empty plain
  /// text. Special tokens are left as plain text unless `parse_special`.
  void split(std::string_view text, bool parse_special, std::vector<Segment>& segments) const;

 private:
  std::vector<AddedToken> tokens_;
  ByteTrie trie_;  // of indices into tokens_
};

}  // namespace llmrt
