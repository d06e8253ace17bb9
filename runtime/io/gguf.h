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

/// Of "PREFIX-00002-of-00003.gguf", as gguf-split names the parts of a model.
struct GgufPartName {
  std::string prefix;             // with the folder
  int64_t number = 0, count = 0;  // 2, 3

  std::string path(int64_t part) const;  // of the part of this number
};
/// Nullopt where `path` is not named so.
std::optional<GgufPartName> parseGgufPartName(const std::string& path);

/// A folder that holds no config.json but one GGUF model (or the parts of one; "mmproj*", what
/// turns images into embeddings, is none) means that model: its path. Any other path means itself.
/// Several models are an error that names two.
Result<std::string> resolveGgufFolder(const std::string& path);

/// A parsed file, or all parts of one that was split (split.no, split.count, split.tensors.count),
/// whichever of them is named: the metadata is the first part's, the tensors are those of all
/// parts. Parts that are missing or do not belong together are errors. open() validates the whole
/// header: every count, length and offset lies within the file, no tensors overlap, no key or
/// tensor name occurs twice. Memory grows with what the file really holds, never with what it
/// claims. Immutable and thread-safe. Views live as long as the GgufFile.
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
  /// Of any integer type, or bools, as 0 and 1.
  Result<std::optional<std::vector<int64_t>>> getInts(std::string_view key) const;
  Result<std::optional<std::vector<double>>> getFloats(std::string_view key) const;
  /// Elements of an array of any type, without reading them; nullopt when absent or not an array.
  std::optional<uint64_t> arraySize(std::string_view key) const;

  /// Whether the metadata have a vocabulary: llama.cpp's "no_vocab" and "none" say that they have
  /// not.
  Result<bool> hasTokenizer() const;

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
  static Result<std::unique_ptr<GgufFile>> openOne(const std::string& path);
  static Result<std::unique_ptr<GgufFile>> openPart(const GgufPartName& name, int64_t number);
  Result<int64_t> splitInt(std::string_view key, int64_t most) const;
  Status addParts(const GgufPartName& name);
  const Value* find(std::string_view key) const;
  Status wrongKind(std::string_view key, const Value& value, const char* wanted) const;

  MappedFile file_;
  std::vector<MappedFile> other_parts_;
  std::unordered_map<std::string, Value> values_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string, size_t> tensor_index_;
};

}  // namespace llmrt
