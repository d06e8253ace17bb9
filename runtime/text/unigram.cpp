#include "runtime/text/unigram.h"

#include <algorithm>
#include <cmath>

#include "runtime/schema/tokenizer_generated.h"
#include "runtime/text/utf8.h"

namespace llmrt {

Result<UnigramModel> UnigramModel::create(const schema::Tokenizer& data,
                                          const Vocabulary& vocabulary) {
  UnigramModel model;
  model.vocabulary_ = &vocabulary;
  if (!data.scores() || data.scores()->size() != static_cast<size_t>(vocabulary.size())) {
    return invalidData("tokenizer: scores do not fit the vocabulary");
  }
  model.scores_.assign(data.scores()->begin(), data.scores()->end());
  model.unk_score_ = data.unk_score();
  bool finite = std::all_of(model.scores_.begin(), model.scores_.end(),
                            [](double score) { return std::isfinite(score); });
  if (!finite || !std::isfinite(model.unk_score_)) {
    return invalidData("tokenizer: a score is not a number");
  }
  if (vocabulary.unkId() < 0) return invalidData("tokenizer: a unigram model without unk_id");
  model.single_precision_ = data.single_precision();
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    std::string_view piece = vocabulary.piece(id);
    // Half a character would end the walk between characters.
    if (vocabulary.has(id, Vocabulary::kInModel) && !piece.empty() && isValidUtf8(piece)) {
      model.trie_.add(piece, static_cast<uint32_t>(id));
    }
  }
  return model;
}

void UnigramModel::findBest(std::string_view text, Scratch& nodes) const {
  nodes.assign(text.size() + 1, {});
  size_t begin = 0;
  double here = 0;
  auto offer = [&](size_t end, double score, int32_t id) {
    Node& node = nodes[end];
    double sum = here + score;
    if (single_precision_) sum = static_cast<float>(sum);
    if (node.begin != SIZE_MAX && !(sum > node.score)) return;
    node = {sum, begin, id};
  };
  while (begin < text.size()) {
    here = nodes[begin].score;
    size_t character = utf8Length(static_cast<unsigned char>(text[begin]));
    bool character_is_token = false;
    uint32_t trie_node = ByteTrie::kRoot;
    for (size_t end = begin; end < text.size();) {
      trie_node = trie_.child(trie_node, static_cast<unsigned char>(text[end]));
      if (trie_node == ByteTrie::kRoot) break;
      ++end;
      uint32_t id = trie_.value(trie_node);
      if (id == ByteTrie::kNone) continue;
      offer(end, scores_[id], static_cast<int32_t>(id));
      if (end - begin == character) character_is_token = true;
    }
    if (!character_is_token) offer(begin + character, unk_score_, vocabulary_->unkId());
    begin += character;
  }
}

void UnigramModel::encode(std::string_view text, Scratch& nodes, std::vector<int32_t>& ids) const {
  if (text.empty()) return;
  findBest(text, nodes);
  // From the end to the beginning, so what is appended is turned round at last; an unknown run is
  // appended backwards for that.
  size_t first = ids.size();
  for (size_t end = text.size(); end > 0;) {
    size_t begin = nodes[end].begin;
    int32_t id = nodes[end].id;
    if (id == vocabulary_->unkId()) {
      while (begin > 0 && nodes[begin].id == id) begin = nodes[begin].begin;
      size_t run = ids.size();
      std::string_view unknown = text.substr(begin, end - begin);
      if (unknown != vocabulary_->piece(id) && vocabulary_->appendBytes(unknown, ids)) {
        std::reverse(ids.begin() + static_cast<ptrdiff_t>(run), ids.end());
      } else {
        ids.push_back(id);
      }
    } else {
      ids.push_back(id);
    }
    end = begin;
  }
  std::reverse(ids.begin() + static_cast<ptrdiff_t>(first), ids.end());
}

}  // namespace llmrt
