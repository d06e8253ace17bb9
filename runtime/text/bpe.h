// Byte pair encoding of one word: the pair of neighbours with the lowest rank is merged until none
// is left.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/io/status.h"

namespace llmrt {
namespace schema {
struct Tokenizer;
}

/// Immutable and thread-safe; O(n log n) in a word's length.
class BpeModel {
 public:
  /// Buffers that encodings on one thread share.
  struct Scratch {
    std::vector<int32_t> symbols;
    std::vector<uint32_t> next, previous;
    struct Candidate {
      uint32_t rank, position;
      int32_t left, right, result;
    };
    std::vector<Candidate> heap;
  };

  /// Checks every index in `data`'s vocabulary and merges.
  static Result<BpeModel> create(const schema::Tokenizer& data);

  int32_t vocabSize() const { return static_cast<int32_t>(offsets_.size()) - 1; }
  /// The bytes of a token; `id` is in range.
  std::string_view piece(int32_t id) const {
    auto i = static_cast<size_t>(id);
    return {pieces_.data() + offsets_[i], offsets_[i + 1] - offsets_[i]};
  }

  /// Appends the ids of `word`: UTF-8 where merging begins with characters, else any bytes. At most
  /// 2^32 - 2 bytes.
  void encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const;

 private:
  struct Merge {
    uint32_t rank;
    int32_t result;
  };
  struct Slot {
    int32_t left = -1, right = -1;  // left -1: free
    Merge merge{};
  };
  static constexpr uint32_t kNoRank = UINT32_MAX;

  void addMerge(int32_t left, int32_t right, Merge merge);
  Merge findMerge(int32_t left, int32_t right) const;
  size_t slotOf(int32_t left, int32_t right) const;
  void encodeWord(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const;
  void toSymbols(std::string_view word, std::vector<int32_t>& symbols) const;
  void mergeShort(Scratch& scratch) const;
  void mergeLong(Scratch& scratch) const;

  std::vector<char> pieces_;       // not a string: words_ must survive a move
  std::vector<uint32_t> offsets_;  // [vocab_size + 1]
  std::vector<Slot> slots_;        // open addressing, a power of two
  std::vector<int32_t> byte_ids_;  // [256] or empty
  std::unordered_map<char32_t, int32_t> characters_;
  std::unordered_map<std::string_view, int32_t>
      words_;  // views of pieces_; empty unless ignore_merges_
  bool byte_level_ = false;
  bool ignore_merges_ = false;
  bool fuse_unk_ = false;
  bool split_before_space_ = false;  // no merge joins U+2581 to something else before it
  int32_t unk_id_ = -1;
};

}  // namespace llmrt
