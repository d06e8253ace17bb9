#include "runtime/text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>

#include "runtime/schema/tokenizer_generated.h"
#include "runtime/text/utf8.h"

namespace llmrt {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581
// Up to here a scan for the best pair beats a heap; it also bounds what is quadratic.
constexpr size_t kShortWord = 32;

/// Where the run of U+2581 ends in which `offset` lies, if it does.
size_t skipSpaceMarks(std::string_view text, size_t offset) {
  while (text.substr(offset).starts_with(kSpaceMark)) offset += kSpaceMark.size();
  return offset;
}

/// Where the first run of U+2581 behind other characters begins; text.size() where there is none.
size_t innerSpaceMark(std::string_view text, size_t offset) {
  return std::min(text.find(kSpaceMark, skipSpaceMarks(text, offset)), text.size());
}

Status corrupt(const char* what) { return invalidData(std::string("tokenizer: ") + what); }

}  // namespace

size_t BpeModel::slotOf(int32_t left, int32_t right) const {
  uint64_t key =
      static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  key *= 0x9e3779b97f4a7c15u;
  key ^= key >> 32;
  return static_cast<size_t>(key) & (slots_.size() - 1);
}

void BpeModel::addMerge(int32_t left, int32_t right, Merge merge) {
  size_t i = slotOf(left, right);
  while (slots_[i].left >= 0 && (slots_[i].left != left || slots_[i].right != right)) {
    i = (i + 1) & (slots_.size() - 1);
  }
  slots_[i] = {left, right, merge};  // the later of two equal merges counts
}

BpeModel::Merge BpeModel::findMerge(int32_t left, int32_t right) const {
  for (size_t i = slotOf(left, right);; i = (i + 1) & (slots_.size() - 1)) {
    const Slot& slot = slots_[i];
    if (slot.left == left && slot.right == right) return slot.merge;
    if (slot.left < 0) return {kNoRank, -1};
  }
}

Result<BpeModel> BpeModel::create(const schema::Tokenizer& data, const Vocabulary& vocabulary) {
  BpeModel model;
  model.vocabulary_ = &vocabulary;
  model.byte_level_ = data.kind() == schema::TokenizerKind::byte_level_bpe;
  if (model.byte_level_ && !vocabulary.hasByteIds()) {
    return corrupt("byte-level BPE without byte_ids");
  }
  model.fuse_unk_ = data.fuse_unk();
  model.ignore_merges_ = data.ignore_merges();
  auto vocab_size = static_cast<uint32_t>(vocabulary.size());

  uint32_t merges = data.merge_result() ? data.merge_result()->size() : 0;
  auto sizeOf = [](const auto* array) { return array ? array->size() : 0; };
  if (sizeOf(data.merge_left()) != merges || sizeOf(data.merge_right()) != merges ||
      (data.merge_ranks() && data.merge_ranks()->size() != merges)) {
    return corrupt("merge arrays differ in length");
  }
  size_t slots = 16;
  while (slots < size_t{merges} * 2) slots *= 2;
  model.slots_.resize(slots);
  for (uint32_t i = 0; i < merges; ++i) {
    uint32_t left = data.merge_left()->Get(i);
    uint32_t right = data.merge_right()->Get(i);
    uint32_t result = data.merge_result()->Get(i);
    uint32_t rank = data.merge_ranks() ? data.merge_ranks()->Get(i) : i;
    if (left >= vocab_size || right >= vocab_size || result >= vocab_size || rank == kNoRank) {
      return corrupt("merge out of range");
    }
    auto id = static_cast<int32_t>(result);
    model.addMerge(static_cast<int32_t>(left), static_cast<int32_t>(right), {rank, id});
    std::string_view piece = vocabulary.piece(id);
    if (model.byte_level_ || !isValidUtf8(piece)) continue;
    for (size_t at = 0; (at = innerSpaceMark(piece, at)) != piece.size();) {
      model.joins_space_.insert(codePointAt(piece, previousCharacter(piece, at)));
    }
  }

  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    std::string_view piece = vocabulary.piece(id);
    if (piece.empty() || !vocabulary.has(id, Vocabulary::kInModel)) continue;
    if (model.ignore_merges_) model.words_.emplace(piece, id);
    if (!model.byte_level_ && piece.size() <= 4 &&
        piece.size() == utf8Length(static_cast<unsigned char>(piece[0])) && isValidUtf8(piece)) {
      model.characters_.emplace(codePointAt(piece, 0), id);
    }
  }
  // ignore_merges asks for whole words.
  model.cuts_at_space_ = !model.byte_level_ && !model.ignore_merges_ &&
                         model.characters_.contains(codePointAt(kSpaceMark, 0));
  return model;
}

void BpeModel::toSymbols(std::string_view word, Scratch& scratch) const {
  std::vector<int32_t>& symbols = scratch.symbols;
  symbols.clear();
  bool pending_unk = false;
  auto flush = [&] {
    if (pending_unk) symbols.push_back(vocabulary_->unkId());
    pending_unk = false;
  };
  auto unknown = [&] {
    if (vocabulary_->unkId() == Vocabulary::kUnkIsNoToken) scratch.unk_wanted = true;
    if (vocabulary_->unkId() < 0) return;
    if (!fuse_unk_) flush();
    pending_unk = true;
  };
  if (byte_level_) {
    for (char c : word) {
      int32_t id = vocabulary_->byteId(c);
      if (id < 0) {
        unknown();
        continue;
      }
      flush();
      symbols.push_back(id);
    }
    flush();
    return;
  }
  for (size_t i = 0; i < word.size();) {
    size_t length = utf8Length(static_cast<unsigned char>(word[i]));
    std::string_view bytes = word.substr(i, length);
    auto known = characters_.find(codePointAt(word, i));
    i += length;
    if (known != characters_.end()) {
      flush();
      symbols.push_back(known->second);
      continue;
    }
    // An unknown that waits stays behind these bytes, as in the Hugging Face library, which this
    // has to equal.
    if (!vocabulary_->appendBytes(bytes, symbols)) unknown();
  }
  flush();
}

void BpeModel::mergeShort(Scratch& scratch) const {
  std::vector<int32_t>& symbols = scratch.symbols;
  Merge merges[kShortWord];  // merges[i]: of symbols i and i + 1
  size_t n = symbols.size();
  for (size_t i = 0; i + 1 < n; ++i) merges[i] = findMerge(symbols[i], symbols[i + 1]);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == kNoRank) break;
    symbols[best] = merges[best].result;
    --n;
    for (size_t i = best + 1; i < n; ++i) symbols[i] = symbols[i + 1];
    for (size_t i = best + 1; i + 1 < n; ++i) merges[i] = merges[i + 1];
    if (best > 0) merges[best - 1] = findMerge(symbols[best - 1], symbols[best]);
    if (best + 1 < n) merges[best] = findMerge(symbols[best], symbols[best + 1]);
  }
  symbols.resize(n);
}

void BpeModel::mergeLong(Scratch& scratch) const {
  std::vector<int32_t>& symbols = scratch.symbols;
  auto n = static_cast<uint32_t>(symbols.size());
  auto& next = scratch.next;
  auto& previous = scratch.previous;
  auto& heap = scratch.heap;
  next.resize(n);
  previous.resize(n);
  heap.clear();
  using Candidate = Scratch::Candidate;
  auto later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  auto candidate = [&](uint32_t left, uint32_t right, bool push) {
    Merge merge = findMerge(symbols[left], symbols[right]);
    if (merge.rank == kNoRank) return;
    heap.push_back({merge.rank, left, symbols[left], symbols[right], merge.result});
    if (push) std::push_heap(heap.begin(), heap.end(), later);
  };
  for (uint32_t i = 0; i < n; ++i) {
    previous[i] = i - 1;
    next[i] = i + 1;
    if (i + 1 < n) candidate(i, i + 1, false);
  }
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    Candidate top = heap.back();
    heap.pop_back();
    uint32_t left = top.position;
    // A merged-away symbol is -1, so an outdated candidate never fits.
    if (symbols[left] != top.left || next[left] >= n) continue;
    uint32_t right = next[left];
    if (symbols[right] != top.right) continue;
    symbols[left] = top.result;
    symbols[right] = -1;
    next[left] = next[right];
    if (next[left] < n) {
      previous[next[left]] = left;
      candidate(left, next[left], true);
    }
    if (left > 0) candidate(previous[left], left, true);
  }
  std::erase(symbols, -1);
}

/// Before which U+2581 `word` can be cut first behind `from`: no merge reaches across it. Cutting
/// changes no id then, and keeps the work in the cache where the whole text is one word.
size_t BpeModel::cutAfter(std::string_view word, size_t from) const {
  for (size_t at = from;;) {
    at = innerSpaceMark(word, at);
    if (at == word.size() ||
        !joins_space_.contains(codePointAt(word, previousCharacter(word, at)))) {
      return at;
    }
  }
}

void BpeModel::encodeWord(std::string_view word, Scratch& scratch,
                          std::vector<int32_t>& ids) const {
  toSymbols(word, scratch);
  if (scratch.symbols.size() <= kShortWord) {
    mergeShort(scratch);
  } else {
    mergeLong(scratch);
  }
  ids.insert(ids.end(), scratch.symbols.begin(), scratch.symbols.end());
}

void BpeModel::Scratch::prepareCache(size_t text_bytes) {
  // 4096 words of 48 bytes stay in the second-level cache and hold nine of ten words of a text.
  constexpr size_t kMostWords = 4096;
  size_t words = std::min(std::bit_floor(text_bytes / 64), kMostWords);
  if (words > cache.size()) cache.assign(words, {});
}

void BpeModel::encodePart(std::string_view part, Scratch& scratch,
                          std::vector<int32_t>& ids) const {
  if (ignore_merges_) {
    auto known = words_.find(part);
    if (known != words_.end()) {
      ids.push_back(known->second);
      return;
    }
  }
  encodeWord(part, scratch, ids);
}

void BpeModel::encodeCached(std::string_view part, Scratch& scratch,
                            std::vector<int32_t>& ids) const {
  if (part.size() > 15 || scratch.cache.empty()) {
    encodePart(part, scratch, ids);
    return;
  }
  char bytes[16] = {};
  std::memcpy(bytes, part.data(), part.size());
  bytes[15] = static_cast<char>(part.size());
  uint64_t key[2];
  std::memcpy(key, bytes, sizeof(key));
  uint64_t hash = (key[0] ^ (key[1] * 0x9e3779b97f4a7c15u)) * 0xff51afd7ed558ccdu;
  Scratch::CachedWord& cached = scratch.cache[(hash >> 32) & (scratch.cache.size() - 1)];
  if (cached.low == key[0] && cached.high == key[1]) {
    ids.insert(ids.end(), cached.ids, cached.ids + cached.count);
    return;
  }
  size_t first = ids.size();
  encodePart(part, scratch, ids);
  size_t count = ids.size() - first;
  if (count > std::size(cached.ids)) return;
  cached.low = key[0];
  cached.high = key[1];
  cached.count = static_cast<uint32_t>(count);
  std::copy_n(ids.begin() + static_cast<ptrdiff_t>(first), count, cached.ids);
}

void BpeModel::encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const {
  for (size_t from = 0; from < word.size();) {
    size_t to = cuts_at_space_ ? cutAfter(word, from) : word.size();
    encodeCached(word.substr(from, to - from), scratch, ids);
    from = to;
  }
}

}  // namespace llmrt
