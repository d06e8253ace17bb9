#include "frontend/tokenizer/VocabularyBuilder.h"

#include <algorithm>

#include "runtime/io/printable.h"
#include "runtime/schema/tokenizer_generated.h"
#include "runtime/text/byte_alphabet.h"

namespace llmc {

using llmrt::quotedName;
using llmrt::Status;

namespace {

// Far above every vocabulary in use; it bounds what a broken id can make us allocate.
constexpr int64_t kMaxVocabSize = 1 << 24;

/// The byte of "<0xNN>", digits in upper case as all vocabularies have them; else -1.
int byteOfSpelling(std::string_view spelling) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  if (spelling.size() != 6 || !spelling.starts_with("<0x") || spelling[5] != '>') return -1;
  size_t high = kHex.find(spelling[3]);
  size_t low = kHex.find(spelling[4]);
  if (high == kHex.npos || low == kHex.npos) return -1;
  return static_cast<int>(high * 16 + low);
}

}  // namespace

Status VocabularyBuilder::reserve(int64_t id) {
  if (id < 0 || id >= kMaxVocabSize) {
    return llmrt::invalidData("token id " + std::to_string(id) + " is out of range");
  }
  auto needed = static_cast<size_t>(id) + 1;
  if (spellings_.size() < needed) {
    spellings_.resize(needed);
    flags_.resize(needed);
  }
  return {};
}

Status VocabularyBuilder::addToken(int64_t id, std::string_view spelling, uint8_t flags) {
  LLMRT_RETURN_IF_ERROR(reserve(id));
  auto i = static_cast<size_t>(id);
  if (!spellings_[i].empty()) {
    return llmrt::invalidData("token id " + std::to_string(id) + " has two tokens, " +
                              quotedName(spellings_[i]) + " and " + quotedName(spelling));
  }
  spellings_[i] = spelling;
  flags_[i] = flags;
  ++model_tokens_;
  if ((flags & kTokenInModel) != 0) ids_[std::string(spelling)] = static_cast<int32_t>(id);
  return {};
}

Status VocabularyBuilder::addAdded(int64_t id, std::string_view content, uint8_t flags) {
  if (content.empty()) return {};
  int32_t known = find(content);
  if (known >= 0) id = known;
  LLMRT_RETURN_IF_ERROR(reserve(id));
  auto i = static_cast<size_t>(id);
  spellings_[i] = content;
  if ((flags & kAddedSpecial) != 0) flags_[i] |= kTokenSpecial;
  added_at_[std::string(content)] = added_.size();
  added_.push_back({static_cast<uint32_t>(id), std::string(content), flags});
  return {};
}

Status VocabularyBuilder::addNext(const std::string& content, uint8_t flags) {
  if (content.empty()) return {};
  if (hasAdded(content)) {
    changeAdded(content, flags);
    return {};
  }
  int64_t id = find(content);
  if (id < 0) {
    id = model_tokens_ + next_tokens_++;
    if (id < size() && !spelling(static_cast<int32_t>(id)).empty()) {
      return llmrt::unsupported("added token " + quotedName(content) + " gets id " +
                                std::to_string(id) + ", which is " +
                                quotedName(spelling(static_cast<int32_t>(id))) +
                                "'s: the ids of the vocabulary have gaps");
    }
  }
  return addAdded(id, content, flags);
}

void VocabularyBuilder::changeAdded(const std::string& content, uint8_t flags) {
  Added& token = added_[added_at_.at(content)];
  token.flags = flags;
  if ((flags & kAddedSpecial) != 0) flags_[token.id] |= kTokenSpecial;
}

Status VocabularyBuilder::addMerge(std::string_view left, std::string_view right) {
  int32_t left_id = find(left);
  int32_t right_id = find(right);
  int32_t result_id = find(std::string(left).append(right));
  if (left_id < 0 || right_id < 0 || result_id < 0) {
    return llmrt::invalidData("merge " + quotedName(left) + " " + quotedName(right) +
                              " uses or makes a token that is not in the vocabulary");
  }
  left_.push_back(static_cast<uint32_t>(left_id));
  right_.push_back(static_cast<uint32_t>(right_id));
  result_.push_back(static_cast<uint32_t>(result_id));
  return {};
}

Status VocabularyBuilder::addScoredMerges(const std::vector<double>& scores) {
  std::vector<uint32_t> order;
  for (size_t i = 0; i < spellings_.size(); ++i) {
    if ((flags_[i] & kTokenInModel) != 0 && find(spellings_[i]) == static_cast<int64_t>(i)) {
      order.push_back(static_cast<uint32_t>(i));
    }
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
  uint32_t rank = 0;
  for (size_t n = 0; n < order.size(); ++n) {
    if (n > 0 && scores[order[n]] != scores[order[n - 1]]) ++rank;
    std::string_view token = spellings_[order[n]];
    // The longest token bounds the work; a file whose tokens are pages of text is no vocabulary.
    if (token.size() > 4096) {
      return llmrt::invalidData("token " + std::to_string(order[n]) + " is over 4096 bytes");
    }
    for (size_t cut = 1; cut < token.size(); ++cut) {
      int32_t left = find(token.substr(0, cut));
      int32_t right = left < 0 ? -1 : find(token.substr(cut));
      if (right < 0) continue;
      left_.push_back(static_cast<uint32_t>(left));
      right_.push_back(static_cast<uint32_t>(right));
      result_.push_back(order[n]);
      ranks_.push_back(rank);
    }
  }
  return {};
}

int32_t VocabularyBuilder::find(std::string_view spelling) const {
  auto it = ids_.find(std::string(spelling));
  return it == ids_.end() ? -1 : it->second;
}

int32_t VocabularyBuilder::findAny(std::string_view spelling) const {
  auto it = added_at_.find(std::string(spelling));
  return it == added_at_.end() ? find(spelling) : static_cast<int32_t>(added_[it->second].id);
}

void VocabularyBuilder::write(bool byte_fallback, llmrt::schema::TokenizerT& table) const {
  using llmrt::schema::TokenizerKind;
  table.kind = byte_level_ ? TokenizerKind::byte_level_bpe : TokenizerKind::sentencepiece_bpe;
  table.token_flags = flags_;
  table.piece_offsets.push_back(0);
  for (size_t i = 0; i < spellings_.size(); ++i) {
    std::string piece = spellings_[i];
    if (byte_level_) {
      if (auto bytes = llmrt::bytesOfAlphabet(piece)) {
        piece = *std::move(bytes);
      } else {
        table.token_flags[i] &= static_cast<uint8_t>(~kTokenInModel);  // no text is spelled so
      }
    }
    table.pieces.insert(table.pieces.end(), piece.begin(), piece.end());
    table.piece_offsets.push_back(static_cast<uint32_t>(table.pieces.size()));
  }
  if (byte_level_) {
    for (size_t b = 0; b < 256; ++b) {
      std::string spelling;
      llmrt::appendUtf8(llmrt::byteAlphabet()[b], spelling);
      table.byte_ids.push_back(find(spelling));
    }
  } else if (byte_fallback) {
    table.byte_ids.assign(256, -1);
    for (size_t i = 0; i < spellings_.size(); ++i) {
      int byte = byteOfSpelling(spellings_[i]);
      if (byte >= 0) table.byte_ids[static_cast<size_t>(byte)] = static_cast<int32_t>(i);
    }
  }
  table.merge_left = left_;
  table.merge_right = right_;
  table.merge_result = result_;
  table.merge_ranks = ranks_;
  table.added_offsets.push_back(0);
  for (const Added& added : added_) {
    table.added_ids.push_back(added.id);
    table.added_contents.insert(table.added_contents.end(), added.content.begin(),
                                added.content.end());
    table.added_offsets.push_back(static_cast<uint32_t>(table.added_contents.size()));
    table.added_flags.push_back(added.flags);
  }
}

}  // namespace llmc
