// Splits a normalized text into words; merges never cross a word's border.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/status.h"
#include "runtime/text/regex.h"

namespace llmrt {
namespace schema {
struct Tokenizer;
}

/// Immutable and thread-safe.
class PreTokenizer {
 public:
  /// The words of one text, in order.
  struct Words {
    std::vector<std::string_view> words;
    std::deque<std::string> storage;  // of words that are not parts of the text as it was given
    Regex::Scratch regex;
  };

  static Result<PreTokenizer> create(const schema::Tokenizer& data);

  /// `text` is valid UTF-8 and outlives `out`; `at_start`: it begins where the whole input begins.
  /// After a step on the byte alphabet words may be cut inside a character.
  Status split(std::string_view text, bool at_start, Words& out) const;

 private:
  struct Step {
    int kind;      // schema::PreTokenizerKind
    int behavior;  // schema::SplitBehavior
    bool invert, on_alphabet, split_words;
    int prepend_scheme;  // schema::PrependScheme
    std::string content;
    std::optional<Regex> regex;
  };
  struct Piece {
    std::string_view text;
    bool at_start;
  };
  static Status splitPiece(const Step& step, const Piece& piece, Regex::Scratch& scratch,
                           std::vector<Regex::Match>& matches, std::vector<Piece>& out);
  static void metaspace(const Step& step, const Piece& piece, std::deque<std::string>& storage,
                        std::vector<Piece>& out);

  std::vector<Step> steps_;
};

}  // namespace llmrt
