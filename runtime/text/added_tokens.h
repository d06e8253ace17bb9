// Added tokens ("<s>", "<|im_end|>"): they split a text before anything else sees it.
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

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

  AddedTokenMatcher();
  /// `content` is not empty. A content added twice keeps its last token.
  void add(std::string_view content, const AddedToken& token);
  bool empty() const { return tokens_.empty(); }

  /// Appends the segments of `text` (valid UTF-8, must outlive them), none of them empty plain
  /// text. Special tokens are left as plain text unless `parse_special`.
  void split(std::string_view text, bool parse_special, std::vector<Segment>& segments) const;

 private:
  struct Found {
    size_t length = 0;  // 0: none
    uint32_t token = 0;
  };
  Found longestAt(std::string_view text, size_t offset) const;

  std::vector<AddedToken> tokens_;
  // A trie: edges_[node << 8 | byte] is the child, terminal_[node] a token's index + 1. The root is
  // 0.
  std::unordered_map<uint64_t, uint32_t> edges_;
  std::vector<uint32_t> terminal_;
  bool starts_[256] = {};
};

}  // namespace llmrt
