#include "runtime/text/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>

#include "runtime/text/unicode_tables.h"
#include "runtime/text/utf8.h"

namespace llmrt {
namespace {

/// What \w means in Rust's regular expressions: letters and what counts as such, marks, digits,
/// connectors and joiners.
bool isWordCharacter(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(standInOf(c)))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      // The circled and squared letters are symbols that count as letters.
      return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) ||
             (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
             (c >= 0x1f170 && c <= 0x1f189);
  }
}

}  // namespace

void AddedTokenMatcher::add(std::string_view content, const AddedToken& token) {
  trie_.add(content, static_cast<uint32_t>(tokens_.size()));
  tokens_.push_back(token);
}

void AddedTokenMatcher::split(std::string_view text, bool parse_special,
                              std::vector<Segment>& segments) const {
  size_t done = 0;  // text before it is in segments
  size_t at = 0;
  while (!tokens_.empty() && at < text.size()) {
    if (trie_.child(ByteTrie::kRoot, static_cast<unsigned char>(text[at])) == ByteTrie::kRoot) {
      ++at;
      continue;
    }
    ByteTrie::Found found = trie_.longest(text.substr(at));
    if (found.length == 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[found.value];
    size_t begin = at;
    size_t end = at + found.length;
    at = end;
    if (token.special && !parse_special) continue;
    if (token.single_word) {
      bool touched =
          (begin > 0 && isWordCharacter(codePointAt(text, previousCharacter(text, begin)))) ||
          (end < text.size() && isWordCharacter(codePointAt(text, end)));
      if (touched) continue;
    }
    if (token.lstrip) {
      while (begin > done) {
        size_t previous = previousCharacter(text, begin);
        if (!isWhiteSpace(codePointAt(text, previous))) break;
        begin = previous;
      }
    }
    if (token.rstrip) {
      while (end < text.size() && isWhiteSpace(codePointAt(text, end))) {
        end += utf8Length(static_cast<unsigned char>(text[end]));
      }
    }
    if (done < begin) segments.push_back({-1, text.substr(done, begin - done)});
    segments.push_back({token.id, text.substr(begin, end - begin)});
    done = std::max(done, end);
    // What rstrip took is gone, but for tokens that are white space themselves and found in it.
  }
  if (done < text.size()) segments.push_back({-1, text.substr(done)});
}

}  // namespace llmrt
