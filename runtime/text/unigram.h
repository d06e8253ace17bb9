// The unigram model: of all ways to cut a text into tokens, the one whose scores have the largest
// sum.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/io/status.h"
#include "runtime/text/byte_trie.h"
#include "runtime/text/vocabulary.h"

namespace llmrt {
namespace schema {
struct Tokenizer;
}

/// Immutable and thread-safe. One step per byte of text and of the longest token.
class UnigramModel {
 public:
  /// The best way to reach a byte of the text; a buffer that encodings on one thread share.
  struct Node {
    double score = 0;
    size_t begin = SIZE_MAX;  // of the last token; SIZE_MAX: not reached yet
    int32_t id = -1;
  };
  using Scratch = std::vector<Node>;

  /// `vocabulary` is of the same data and outlives the model.
  static Result<UnigramModel> create(const schema::Tokenizer& data, const Vocabulary& vocabulary);

  /// Appends the ids of `text`, valid UTF-8. Neighbouring unknown characters become one unknown
  /// token, or their bytes where those have tokens.
  void encode(std::string_view text, Scratch& nodes, std::vector<int32_t>& ids) const;

 private:
  void findBest(std::string_view text, Scratch& nodes) const;

  const Vocabulary* vocabulary_ = nullptr;
  ByteTrie trie_;  // of the ids
  std::vector<double> scores_;
  double unk_score_ = 0;
  bool single_precision_ = false;
};

}  // namespace llmrt
