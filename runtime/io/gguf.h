// GGUF v2 and v3, little-endian: typed metadata and a table of tensors, over a mapped file.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/io/mapped_file.h"
#include "runtime/io/status.h"

namespace llmrt {

/// Types of metadata values, as numbered in the file.
enum class GgufType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

struct GgufTensor {
  std::string name;   // as stored: "blk.0.attn_q.weight"
  uint32_t type = 0;  // ggml_type
  std::vector<int64_t>
      shape;  // outermost first (the file has it reversed); 1 to 4 dimensions, none 0
  const uint8_t* data = nullptr;
  uint64_t bytes = 0;  // 0 when `type` is one we know no size for
};

/// "f32", "q4_k", ...; "type 99" when unknown.
std::string ggmlTypeName(uint32_t type);

/// A parsed file. open() validates the whole header: every count, length and offset lies within the
/// file, no tensors overlap, no key or tensor name occurs twice. Memory grows with what the file
/// really holds, never with what it claims. Immutable and thread-safe. Views live as long as the
/// GgufFile.
///
/// Metadata getters: nullopt when there is no such key, an error that names the key when its value
/// has another kind.
class GgufFile {
 public:
  static Result<std::unique_ptr<GgufFile>> open(const std::string& path);
  /// Does the file start with GGUF's magic number?
  static bool looksLikeGguf(const MappedFile& file);

  bool has(std::string_view key) const { return values_.contains(std::string(key)); }
  Result<std::optional<std::string_view>> getString(std::string_view key) const;
  /// Any integer type; uint64 above INT64_MAX is an error.
  Result<std::optional<int64_t>> getInt(std::string_view key) const;
  /// f32, f64 or any integer type.
  Result<std::optional<double>> getFloat(std::string_view key) const;
  Result<std::optional<bool>> getBool(std::string_view key) const;
  Result<std::optional<std::vector<std::string_view>>> getStrings(std::string_view key) const;
  Result<std::optional<std::vector<int64_t>>> getInts(std::string_view key) const;
  Result<std::optional<std::vector<double>>> getFloats(std::string_view key) const;
  /// Elements of an array of any type, without reading them; nullopt when absent or not an array.
  std::optional<uint64_t> arraySize(std::string_view key) const;

  const std::vector<GgufTensor>& tensors() const { return tensors_; }  // in file order
  const GgufTensor* findTensor(std::string_view name) const;           // null: none
  const std::string& path() const { return file_.path(); }

 private:
  struct Value {
    GgufType type;  // of the value, or of an array's elements
    bool is_array = false;
    uint64_t count = 1;
    const uint8_t* data = nullptr;  // first element
  };
  class Parser;

  GgufFile() = default;
  const Value* find(std::string_view key) const;
  Status wrongKind(std::string_view key, const Value& value, const char* wanted) const;

  MappedFile file_;
  std::unordered_map<std::string, Value> values_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string, size_t> tensor_index_;
};

}  // namespace llmrt
