// What Unicode says of whole texts: normal forms, lower case, marks.
#pragma once

#include <string>
#include <string_view>

namespace llmrt {

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

/// `text` (valid UTF-8, as below) in a Unicode normal form, in O(n log n) whatever the text.
std::string normalizeUnicode(std::string_view text, NormalForm form);

/// Each character by its full lower case; context (a final sigma) does not count.
std::string toLowerCase(std::string_view text);

/// Without the marks (categories Mn, Mc and Me) that tokenizers knows.
std::string withoutMarks(std::string_view text);

}  // namespace llmrt
