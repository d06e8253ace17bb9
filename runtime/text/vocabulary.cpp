#include "runtime/text/vocabulary.h"

#include <algorithm>

#include "runtime/schema/tokenizer_generated.h"

namespace llmrt {
namespace {

Status corrupt(const char* what) { return invalidData(std::string("tokenizer: ") + what); }

}  // namespace

Result<Vocabulary> Vocabulary::create(const schema::Tokenizer& data) {
  Vocabulary vocabulary;
  if (!data.pieces() || !data.piece_offsets() || data.piece_offsets()->size() < 2) {
    return corrupt("no vocabulary");
  }
  vocabulary.pieces_.assign(data.pieces()->begin(), data.pieces()->end());
  auto& offsets = vocabulary.offsets_;
  offsets.assign(data.piece_offsets()->begin(), data.piece_offsets()->end());
  if (offsets.front() != 0 || offsets.back() != vocabulary.pieces_.size() ||
      !std::is_sorted(offsets.begin(), offsets.end())) {
    return corrupt("piece_offsets do not fit pieces");
  }
  if (offsets.size() - 1 > INT32_MAX) return corrupt("vocabulary is too large");
  auto size = static_cast<int64_t>(offsets.size() - 1);
  if (!data.token_flags() || data.token_flags()->size() != size) {
    return corrupt("token_flags do not fit the vocabulary");
  }
  vocabulary.flags_.assign(data.token_flags()->begin(), data.token_flags()->end());
  if (data.byte_ids()) {
    if (data.byte_ids()->size() != 256) return corrupt("byte_ids are not 256");
    vocabulary.byte_ids_.assign(data.byte_ids()->begin(), data.byte_ids()->end());
    for (int32_t id : vocabulary.byte_ids_) {
      if (id < -1 || id >= size) return corrupt("byte_ids out of range");
    }
  }
  vocabulary.unk_id_ = data.unk_id();
  if (vocabulary.unk_id_ < kUnkIsNoToken || vocabulary.unk_id_ >= size) {
    return corrupt("unk_id out of range");
  }
  return vocabulary;
}

bool Vocabulary::appendBytes(std::string_view bytes, std::vector<int32_t>& ids) const {
  if (byte_ids_.empty() ||
      std::any_of(bytes.begin(), bytes.end(), [&](char c) { return byteId(c) < 0; })) {
    return false;
  }
  for (char c : bytes) ids.push_back(byteId(c));
  return true;
}

}  // namespace llmrt
