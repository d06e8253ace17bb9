// The tokens of a model: their bytes, flags and what the single bytes are called.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/io/status.h"

namespace llmrt {
namespace schema {
struct Tokenizer;
}

/// Immutable and thread-safe.
class Vocabulary {
 public:
  /// Bits of schema::Tokenizer.token_flags.
  enum Flag : uint8_t { kSpecial = 1, kInModel = 2, kUserDefined = 4 };

  static Result<Vocabulary> create(const schema::Tokenizer& data);

  int32_t size() const { return static_cast<int32_t>(flags_.size()); }
  /// The bytes of a token; `id` is in range, as below.
  std::string_view piece(int32_t id) const {
    auto i = static_cast<size_t>(id);
    return {pieces_.data() + offsets_[i], offsets_[i + 1] - offsets_[i]};
  }
  bool has(int32_t id, Flag flag) const { return (flags_[static_cast<size_t>(id)] & flag) != 0; }

  bool hasByteIds() const { return !byte_ids_.empty(); }
  /// -1: none; hasByteIds().
  int32_t byteId(char byte) const { return byte_ids_[static_cast<unsigned char>(byte)]; }
  /// The ids of all `bytes` appended; nothing and false where one has none.
  bool appendBytes(std::string_view bytes, std::vector<int32_t>& ids) const;
  /// What has neither token nor bytes becomes this; -1: nothing; kUnkIsNoToken: such a text has no
  /// ids, since the unknown token that the model names does not exist.
  static constexpr int32_t kUnkIsNoToken = -2;
  int32_t unkId() const { return unk_id_; }

 private:
  std::vector<char> pieces_;       // not a string: views of it must survive a move
  std::vector<uint32_t> offsets_;  // [size + 1]
  std::vector<uint8_t> flags_;     // [size]
  std::vector<int32_t> byte_ids_;  // [256] or empty
  int32_t unk_id_ = -1;
};

}  // namespace llmrt
