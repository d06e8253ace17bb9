// The wire format of Protocol Buffers (https://protobuf.dev/programming-guides/encoding), read
// without a schema.
#pragma once

#include <cstdint>
#include <string_view>

namespace llmc {

/// Walks the fields of one message, in order. A field is read as the type its reader wants; where
/// the message is broken or has another type there, next() ends and ok() is false.
class ProtoReader {
 public:
  explicit ProtoReader(std::string_view message) : in_(message) {}

  /// Moves to the next field; false at the end.
  bool next();
  bool ok() const { return ok_; }

  uint32_t field() const { return field_; }
  /// The field's value; zero or empty, and !ok(), where it is of another type.
  uint64_t varint();
  int32_t int32() { return static_cast<int32_t>(varint()); }
  bool boolean() { return varint() != 0; }
  float float32();
  std::string_view bytes();

 private:
  enum class Type : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  bool readVarint(uint64_t& value);
  bool expect(Type type);
  bool fail();

  std::string_view in_;  // what follows the current field
  bool ok_ = true;
  uint32_t field_ = 0;
  Type type_ = Type::kVarint;
  uint64_t number_ = 0;     // of a varint, fixed32 or fixed64
  std::string_view bytes_;  // of a length-delimited field
};

}  // namespace llmc
