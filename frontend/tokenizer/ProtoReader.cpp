#include "frontend/tokenizer/ProtoReader.h"

#include <cstring>

namespace llmc {

bool ProtoReader::fail() {
  ok_ = false;
  in_ = {};
  return false;
}

bool ProtoReader::readVarint(uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (in_.empty()) return fail();
    auto byte = static_cast<unsigned char>(in_[0]);
    in_.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return true;
  }
  return fail();
}

bool ProtoReader::next() {
  if (in_.empty()) return false;
  uint64_t tag;
  if (!readVarint(tag)) return false;
  uint64_t field = tag >> 3;
  if (field == 0 || field >= 1u << 29) return fail();
  field_ = static_cast<uint32_t>(field);
  type_ = static_cast<Type>(tag & 7);
  size_t fixed = type_ == Type::kFixed32 ? 4 : 8;
  switch (type_) {
    case Type::kVarint:
      return readVarint(number_);
    case Type::kFixed32:
    case Type::kFixed64:
      if (in_.size() < fixed) return fail();
      number_ = 0;
      for (size_t i = fixed; i-- > 0;) {
        number_ = number_ << 8 | static_cast<unsigned char>(in_[i]);
      }
      in_.remove_prefix(fixed);
      return true;
    case Type::kBytes: {
      uint64_t size;
      if (!readVarint(size)) return false;
      if (size > in_.size()) return fail();
      bytes_ = in_.substr(0, size);
      in_.remove_prefix(size);
      return true;
    }
  }
  return fail();  // groups are of another age
}

bool ProtoReader::expect(Type type) { return type_ == type || fail(); }

uint64_t ProtoReader::varint() { return expect(Type::kVarint) ? number_ : 0; }

float ProtoReader::float32() {
  if (!expect(Type::kFixed32)) return 0;
  auto bits = static_cast<uint32_t>(number_);
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

std::string_view ProtoReader::bytes() { return expect(Type::kBytes) ? bytes_ : std::string_view(); }

}  // namespace llmc
