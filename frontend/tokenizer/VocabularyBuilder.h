// Gathers a vocabulary, its merges and added tokens, and writes them as the schema's flat arrays.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/io/status.h"

namespace llmrt::schema {
struct TokenizerT;
}

namespace llmc {

/// Bits of Tokenizer.token_flags.
enum TokenFlag : uint8_t { kTokenSpecial = 1, kTokenInModel = 2, kTokenUserDefined = 4 };
/// Bits of Tokenizer.added_flags.
enum AddedFlag : uint8_t {
  kAddedSpecial = 1,
  kAddedLstrip = 2,
  kAddedRstrip = 4,
  kAddedSingleWord = 8,
  kAddedNormalized = 16,
};

class VocabularyBuilder {
 public:
  /// Byte-level: tokens are spelled in GPT-2's byte alphabet; the table gets the bytes they stand
  /// for.
  explicit VocabularyBuilder(bool byte_level) : byte_level_(byte_level) {}

  /// A token of the model's own vocabulary, as the file spells it; `flags` of TokenFlag.
  /// kInvalidData where the id is absurdly large or has a token already.
  llmrt::Status addToken(int64_t id, std::string_view spelling, uint8_t flags);
  /// A token that splits the text; takes the id of the vocabulary's token of this spelling if there
  /// is one.
  llmrt::Status addAdded(int64_t id, std::string_view content, uint8_t flags);
  /// The same with the id that Hugging Face's library gives it, whatever a file says: the
  /// vocabulary's, or the next one behind the vocabulary and those so added. What has been added
  /// before gets these flags; special it stays. kUnsupported where the vocabulary has gaps and the
  /// next id is a token's.
  llmrt::Status addNext(const std::string& content, uint8_t flags);
  /// New flags of a token that hasAdded(); special it stays.
  void changeAdded(const std::string& content, uint8_t flags);
  /// left and right become left + right, ranked after all merges before it. All three must be in
  /// the vocabulary.
  llmrt::Status addMerge(std::string_view left, std::string_view right);
  /// Each way to cut a token of the model in two such tokens becomes a merge, those of the highest
  /// score first, those of one score from left to right. scores: [size].
  llmrt::Status addScoredMerges(const std::vector<double>& scores);

  /// The id of a token of the model's vocabulary; -1: none.
  int32_t find(std::string_view spelling) const;
  /// The same among the added tokens as well.
  int32_t findAny(std::string_view spelling) const;
  bool hasAdded(const std::string& content) const { return added_at_.contains(content); }
  /// Of a token that hasAdded().
  uint8_t addedFlags(const std::string& content) const {
    return added_[added_at_.at(content)].flags;
  }
  /// `id` is in range.
  const std::string& spelling(int32_t id) const { return spellings_[static_cast<size_t>(id)]; }
  int64_t size() const { return static_cast<int64_t>(spellings_.size()); }

  /// Writes kind, pieces, flags, byte ids ("<0xNN>" tokens if `byte_fallback`), merges, added
  /// tokens.
  void write(bool byte_fallback, llmrt::schema::TokenizerT& table) const;

 private:
  struct Added {
    uint32_t id;
    std::string content;
    uint8_t flags;
  };
  llmrt::Status reserve(int64_t id);

  bool byte_level_;
  std::vector<std::string> spellings_;
  std::vector<uint8_t> flags_;
  std::unordered_map<std::string, int32_t> ids_;  // tokens of the model
  std::vector<Added> added_;
  std::unordered_map<std::string, size_t> added_at_;  // where they are in added_
  int64_t model_tokens_ = 0;                          // addToken()s
  int64_t next_tokens_ = 0;                           // ids that addNext() gave
  std::vector<uint32_t> left_, right_, result_, ranks_;
};

}  // namespace llmc
