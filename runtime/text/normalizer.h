// Changes to a text before it is split: prefixes, replacements, Unicode normal forms and the like.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/status.h"
#include "runtime/text/charsmap.h"
#include "runtime/text/regex.h"
#include "runtime/text/sentencepiece_normalizer.h"
#include "runtime/text/vocabulary.h"

namespace llmrt {
namespace schema {
struct Tokenizer;
struct NormalizerStep;
}  // namespace schema

/// All `pattern` in `text`, left to right, replaced. `pattern` is not empty.
std::string replaceAll(std::string_view text, std::string_view pattern, std::string_view content);

/// Immutable and thread-safe.
class Normalizer {
 public:
  static Result<Normalizer> create(const schema::Tokenizer& data, const Vocabulary& vocabulary);

  bool empty() const { return steps_.empty(); }
  /// `text` must be valid UTF-8, and the result is.
  Result<std::string> normalize(std::string_view text) const;

 private:
  struct Step {
    int kind;  // schema::NormalizerKind
    std::string pattern, content;
    bool strip_left = false, strip_right = false;
    std::optional<Regex> regex;
    std::optional<Charsmap> charsmap;
    std::optional<SentencePieceNormalizer> sentencepiece;
  };
  std::vector<Step> steps_;
};

}  // namespace llmrt
