// Changes to a text before it is split: prefixes, replacements, Unicode normal forms.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/status.h"
#include "runtime/text/regex.h"

namespace llmrt {
namespace schema {
struct Tokenizer;
struct NormalizerStep;
}  // namespace schema

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

/// `text` (valid UTF-8) in a Unicode normal form, in O(n log n) whatever the text.
std::string normalizeUnicode(std::string_view text, NormalForm form);

/// All `pattern` in `text`, left to right, replaced. `pattern` is not empty.
std::string replaceAll(std::string_view text, std::string_view pattern, std::string_view content);

/// Immutable and thread-safe.
class Normalizer {
 public:
  static Result<Normalizer> create(const schema::Tokenizer& data);

  bool empty() const { return steps_.empty(); }
  /// `text` must be valid UTF-8, and the result is.
  Result<std::string> normalize(std::string_view text) const;

 private:
  struct Step {
    int kind;  // schema::NormalizerKind
    std::string pattern, content;
    std::optional<Regex> regex;
  };
  std::vector<Step> steps_;
};

}  // namespace llmrt
