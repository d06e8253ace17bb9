// Text to token ids and back, as Hugging Face's tokenizers do it. Usable without a plan or a
// session.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/status.h"

namespace llmrt {
namespace schema {
struct Tokenizer;
}
class PieceDecoder;

struct EncodeOptions {
  bool add_bos = true;  // the tokens the model expects around a text: BOS, rarely EOS
  bool parse_special =
      true;  // special tokens written in the text are recognised; else they are text
};

/// Immutable: every const function may be called from several threads at once.
class Tokenizer {
 public:
  /// Copies what it needs from `data`, which must have passed FlatBuffers' verifier, and checks it:
  /// a plan that lies ends here in a Status. Null is kInvalidArgument.
  static Result<Tokenizer> create(const schema::Tokenizer* data);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Ids of `text`; time and memory grow as n log n at most. kInvalidArgument where `text` is not
  /// UTF-8 (the message names the byte), larger than 1 GiB, or has what no token stands for while
  /// the model's unknown token does not exist.
  Result<std::vector<int32_t>> encode(std::string_view text, EncodeOptions options = {}) const;

  /// Text of `ids`: valid UTF-8, U+FFFD for bytes that are not. Ids outside the vocabulary say
  /// nothing.
  std::string decode(std::span<const int32_t> ids, bool skip_special = true) const;

  /// Ids that decode() leaves out when it skips special tokens.
  bool isSpecial(int32_t id) const;
  int32_t bosId() const;  // -1: none
  int32_t eosId() const;  // -1: none
  int32_t vocabSize() const;
  /// The token as the vocabulary has it (bytes for byte-level vocabularies); empty for ids outside
  /// it.
  std::string_view piece(int32_t id) const;

 private:
  friend class StreamDecoder;
  struct Impl;
  explicit Tokenizer(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

/// Decodes ids as they arrive. All outputs joined, with finish()'s, equal decode() of all ids; no
/// output ends within a character. The tokenizer must outlive it.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = true);
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;
  ~StreamDecoder();

  /// What comes continues the text of `ids`, of which nothing is given out: the space before the
  /// first word is kept, and a character that `ids` leave unfinished comes with what completes it.
  void continueAfter(std::span<const int32_t> ids);

  std::string push(int32_t id);
  /// Bytes that push() holds back although they are whole characters, since bytes that follow could
  /// change what they mean. Where the caller knows that none follow.
  std::string endCharacters();
  /// The text is at its end: what was held back (bytes that never became a character, as U+FFFD).
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::unique_ptr<PieceDecoder> decoder_;
};

}  // namespace llmrt
