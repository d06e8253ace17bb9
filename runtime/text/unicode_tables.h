// Where Hugging Face's tokenizers know characters otherwise than PCRE2 and utf8proc, whose tables
// are Unicode 14 and 15. Each part of tokenizers has its own version of Unicode: regular
// expressions a newer one, normal forms an older one. The tables are asked of tokenizers itself.
#pragma once

#include <span>

namespace llmrt {

/// Characters that regular expressions and grapheme clusters of tokenizers know and ours do not,
/// and one of ours that is like them: the same category, binary properties and length in UTF-8, and
/// the same script where it has such a one.
struct StandIn {
  char32_t first, last, stand_in;
};
std::span<const StandIn> standIns();  // sorted
/// `c` itself where it needs none.
char32_t standInOf(char32_t c);

/// The lower case of a character that has none in Unicode 15; otherwise `c` itself.
char32_t newerLowerCase(char32_t c);

/// Normal forms leave it as it is, although it has a decomposition in Unicode 15.
bool isUndecomposed(char32_t c);
/// Normal forms take its class of combining for 0, although it has one in Unicode 15.
bool isUnorderedMark(char32_t c);
/// Does StripAccents take away `c`, of which `is_mark` says whether Unicode 15 has it as a mark?
bool isStripped(char32_t c, bool is_mark);

}  // namespace llmrt
