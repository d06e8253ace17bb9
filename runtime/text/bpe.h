// Byte pair encoding of one word: the pair of neighbours with the lowest rank is merged until none
// is left.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "runtime/io/status.h"
#include "runtime/text/vocabulary.h"

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
    bool unk_wanted = false;  // a text had what Vocabulary::kUnkIsNoToken refuses

    /// Words met before, by their bytes: of the words of a text most are a few. Direct-mapped.
    struct CachedWord {
      uint64_t low = 0, high = 0;  // up to 15 bytes, and their number in the last; 0: free
      uint32_t count = 0;
      int32_t ids[7];
    };
    std::vector<CachedWord> cache;  // empty or a power of two
    /// Worth filling for a text of so many bytes.
    void prepareCache(size_t text_bytes);
  };

  /// Checks every index in `data`'s merges; `vocabulary` is of the same data and outlives the
  /// model.
  static Result<BpeModel> create(const schema::Tokenizer& data, const Vocabulary& vocabulary);

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
  size_t cutAfter(std::string_view word, size_t from) const;
  void encodeCached(std::string_view part, Scratch& scratch, std::vector<int32_t>& ids) const;
  void encodePart(std::string_view part, Scratch& scratch, std::vector<int32_t>& ids) const;
  void encodeWord(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const;
  void toSymbols(std::string_view word, Scratch& scratch) const;
  void mergeShort(Scratch& scratch) const;
  void mergeLong(Scratch& scratch) const;

  const Vocabulary* vocabulary_ = nullptr;
  std::vector<Slot> slots_;  // open addressing, a power of two
  std::unordered_map<char32_t, int32_t> characters_;
  std::unordered_map<std::string_view, int32_t> words_;  // empty unless ignore_merges_
  bool byte_level_ = false;
  bool ignore_merges_ = false;
  bool fuse_unk_ = false;
  bool cuts_at_space_ = false;  // words are cut as cutAfter() says
  std::unordered_set<char32_t>
      joins_space_;  // what some merge has before a U+2581, but that itself
};

}  // namespace llmrt
