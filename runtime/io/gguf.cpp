#include "runtime/io/gguf.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "runtime/io/model_file.h"
#include "runtime/io/printable.h"

static_assert(std::endian::native == std::endian::little, "files are mapped as they are");

namespace llmrt {
namespace {

struct GgmlType {
  uint32_t type = 0;
  const char* name;
  int64_t block_elements;
  int64_t block_bytes;
};

// ggml/src/ggml.c type_traits and ggml-common.h block sizes. A type is listed to be named and
// measured; which ones can be used is gguf_tensors.h's business.
constexpr GgmlType kGgmlTypes[] = {
    {0, "f32", 1, 4},         {1, "f16", 1, 2},         {2, "q4_0", 32, 18},
    {3, "q4_1", 32, 20},      {6, "q5_0", 32, 22},      {7, "q5_1", 32, 24},
    {8, "q8_0", 32, 34},      {9, "q8_1", 32, 36},      {10, "q2_k", 256, 84},
    {11, "q3_k", 256, 110},   {12, "q4_k", 256, 144},   {13, "q5_k", 256, 176},
    {14, "q6_k", 256, 210},   {15, "q8_k", 256, 292},   {16, "iq2_xxs", 256, 66},
    {17, "iq2_xs", 256, 74},  {18, "iq3_xxs", 256, 98}, {19, "iq1_s", 256, 50},
    {20, "iq4_nl", 32, 18},   {21, "iq3_s", 256, 110},  {22, "iq2_s", 256, 82},
    {23, "iq4_xs", 256, 136}, {24, "i8", 1, 1},         {25, "i16", 1, 2},
    {26, "i32", 1, 4},        {27, "i64", 1, 8},        {28, "f64", 1, 8},
    {29, "iq1_m", 256, 56},   {30, "bf16", 1, 2},       {34, "tq1_0", 256, 54},
    {35, "tq2_0", 256, 66},   {39, "mxfp4", 32, 17},
};

const GgmlType* findGgmlType(uint32_t type) {
  for (const GgmlType& entry : kGgmlTypes) {
    if (entry.type == type) return &entry;
  }
  return nullptr;
}

// Bytes of one value; 0 for strings, arrays and unknown types.
uint64_t fixedBytes(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool:
      return 1;
    case GgufType::kUint16:
    case GgufType::kInt16:
      return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32:
      return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64:
      return 8;
    default:
      return 0;
  }
}

const char* typeName(GgufType type) {
  constexpr std::array<const char*, 13> kNames = {"uint8",  "int8",    "uint16", "int16",  "uint32",
                                                  "int32",  "float32", "bool",   "string", "array",
                                                  "uint64", "int64",   "float64"};
  return kNames[static_cast<uint32_t>(type)];
}

template <typename T>
T load(const uint8_t* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

// False when `type` is no integer type or the value does not fit.
bool loadInt(GgufType type, const uint8_t* data, int64_t& out) {
  switch (type) {
    case GgufType::kUint8:
      out = load<uint8_t>(data);
      return true;
    case GgufType::kInt8:
      out = load<int8_t>(data);
      return true;
    case GgufType::kUint16:
      out = load<uint16_t>(data);
      return true;
    case GgufType::kInt16:
      out = load<int16_t>(data);
      return true;
    case GgufType::kUint32:
      out = load<uint32_t>(data);
      return true;
    case GgufType::kInt32:
      out = load<int32_t>(data);
      return true;
    case GgufType::kInt64:
      out = load<int64_t>(data);
      return true;
    case GgufType::kUint64: {
      uint64_t value = load<uint64_t>(data);
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return false;
      out = static_cast<int64_t>(value);
      return true;
    }
    default:
      return false;
  }
}

bool loadFloat(GgufType type, const uint8_t* data, double& out) {
  if (type == GgufType::kFloat32) {
    out = load<float>(data);
    return true;
  }
  if (type == GgufType::kFloat64) {
    out = load<double>(data);
    return true;
  }
  int64_t integer;
  if (!loadInt(type, data, integer)) return false;
  out = static_cast<double>(integer);
  return true;
}

}  // namespace

std::string ggmlTypeName(uint32_t type) {
  const GgmlType* entry = findGgmlType(type);
  return entry ? entry->name : "type " + std::to_string(type);
}

// Walks the header once, front to back. Every length is compared with what is left of the file
// before it is used.
class GgufFile::Parser {
 public:
  explicit Parser(GgufFile& out) : out_(out), bytes_(out.file_.bytes()) {}

  Status parse() {
    if (!looksLikeGguf(out_.file_)) return invalidData("not a GGUF file (no magic number)");
    position_ = 4;
    uint32_t version = 0;
    LLMRT_RETURN_IF_ERROR(read(version, "the version"));
    if (version != 2 && version != 3) {
      if ((version & 0xffff) == 0) return unsupported("big-endian GGUF is not supported");
      return unsupported("GGUF version " + std::to_string(version) +
                         " is not supported (2 and 3 are)");
    }
    uint64_t tensor_count = 0, value_count = 0;
    LLMRT_RETURN_IF_ERROR(read(tensor_count, "the tensor count"));
    LLMRT_RETURN_IF_ERROR(read(value_count, "the metadata count"));
    // The least bytes of an entry: key length, type, value; name length, rank, one dimension, type,
    // offset.
    LLMRT_RETURN_IF_ERROR(checkCount(value_count, 8 + 4 + 1, "metadata values"));
    for (uint64_t i = 0; i < value_count; ++i) LLMRT_RETURN_IF_ERROR(parseValue());
    LLMRT_RETURN_IF_ERROR(checkCount(tensor_count, 8 + 4 + 8 + 4 + 8, "tensors"));
    for (uint64_t i = 0; i < tensor_count; ++i) LLMRT_RETURN_IF_ERROR(parseTensor());
    return placeTensors();
  }

 private:
  uint64_t left() const { return bytes_.size() - position_; }

  Status truncated(const std::string& what) const {
    return invalidData("truncated: the file ends inside " + what + ", at byte " +
                       std::to_string(bytes_.size()));
  }

  template <typename T>
  Status read(T& out, const std::string& what) {
    if (left() < sizeof(T)) return truncated(what);
    out = load<T>(bytes_.data() + position_);
    position_ += sizeof(T);
    return {};
  }

  Status readString(std::string_view& out, const std::string& what) {
    uint64_t length = 0;
    LLMRT_RETURN_IF_ERROR(read(length, what));
    if (length > left()) return truncated(what);
    out = {reinterpret_cast<const char*>(bytes_.data()) + position_, static_cast<size_t>(length)};
    position_ += length;
    return {};
  }

  Status checkCount(uint64_t count, uint64_t least_bytes, const char* what) const {
    if (count <= left() / least_bytes) return {};
    return invalidData("claims " + std::to_string(count) + " " + what +
                       ", more than fit into the " + std::to_string(left()) + " bytes that follow");
  }

  Status parseValue() {
    std::string_view key;
    LLMRT_RETURN_IF_ERROR(readString(key, "a metadata key"));
    if (key.empty()) return invalidData("a metadata key is empty");
    const std::string what = "metadata " + quotedName(key);
    uint32_t type = 0;
    LLMRT_RETURN_IF_ERROR(read(type, what));
    Value value;
    value.is_array = type == static_cast<uint32_t>(GgufType::kArray);
    if (value.is_array) {
      LLMRT_RETURN_IF_ERROR(read(type, what));
      LLMRT_RETURN_IF_ERROR(read(value.count, what));
      if (type == static_cast<uint32_t>(GgufType::kArray))
        return unsupported(what + ": arrays of arrays are not supported");
    }
    if (type > static_cast<uint32_t>(GgufType::kFloat64))
      return invalidData(what + " has unknown type " + std::to_string(type));
    value.type = static_cast<GgufType>(type);
    value.data = bytes_.data() + position_;
    if (value.type == GgufType::kString) {
      if (value.count > left() / 8) return truncated(what);
      for (uint64_t i = 0; i < value.count; ++i) {
        std::string_view text;
        LLMRT_RETURN_IF_ERROR(readString(text, what));
      }
    } else {
      uint64_t size = fixedBytes(value.type);
      if (value.count > left() / size) return truncated(what);
      position_ += value.count * size;
    }
    if (!out_.values_.emplace(key, value).second) return invalidData(what + " occurs twice");
    return {};
  }

  Status parseTensor() {
    GgufTensor tensor;
    std::string_view name;
    LLMRT_RETURN_IF_ERROR(readString(name, "a tensor's name"));
    if (name.empty()) return invalidData("a tensor's name is empty");
    tensor.name = name;
    const std::string what = "tensor " + quotedName(name);
    uint32_t rank = 0;
    LLMRT_RETURN_IF_ERROR(read(rank, what));
    if (rank < 1 || rank > 4)
      return invalidData(what + " has " + std::to_string(rank) +
                         " dimensions (1 to 4 are possible)");
    int64_t elements = 1;
    for (uint32_t i = 0; i < rank; ++i) {
      int64_t size = 0;
      LLMRT_RETURN_IF_ERROR(read(size, what));
      if (size <= 0) return invalidData(what + " has a dimension of " + std::to_string(size));
      if (__builtin_mul_overflow(elements, size, &elements))
        return invalidData(what + " has more elements than fit into 63 bits");
      tensor.shape.push_back(size);
    }
    LLMRT_RETURN_IF_ERROR(read(tensor.type, what));
    if (const GgmlType* type = findGgmlType(tensor.type)) {
      if (tensor.shape[0] % type->block_elements != 0)
        return invalidData(what + " has rows of " + std::to_string(tensor.shape[0]) +
                           " elements, not a multiple of the " +
                           std::to_string(type->block_elements) + " of a " + type->name + " block");
      int64_t size = 0;
      if (__builtin_mul_overflow(elements / type->block_elements, type->block_bytes, &size))
        return invalidData(what + " has more bytes than fit into 63 bits");
      tensor.bytes = static_cast<uint64_t>(size);
    }
    std::reverse(tensor.shape.begin(), tensor.shape.end());
    uint64_t offset = 0;
    LLMRT_RETURN_IF_ERROR(read(offset, what));
    if (!out_.tensor_index_.emplace(tensor.name, out_.tensors_.size()).second)
      return invalidData(what + " occurs twice");
    out_.tensors_.push_back(std::move(tensor));
    offsets_.push_back(offset);
    return {};
  }

  // Tensor offsets count from the end of the header, rounded up to the alignment.
  Status placeTensors() {
    uint64_t alignment = 32;
    LLMRT_ASSIGN_OR_RETURN(std::optional<int64_t> stated, out_.getInt("general.alignment"));
    if (stated) {
      if (*stated <= 0 || !std::has_single_bit(static_cast<uint64_t>(*stated)) ||
          *stated > (1 << 30))
        return invalidData("general.alignment is " + std::to_string(*stated) +
                           ", which is not a power of two up to 2^30");
      alignment = static_cast<uint64_t>(*stated);
    }
    if (out_.tensors_.empty()) return {};
    const uint64_t start = (position_ + alignment - 1) / alignment * alignment;
    const uint64_t available = bytes_.size() > start ? bytes_.size() - start : 0;
    std::vector<size_t> order(offsets_.size());
    for (size_t i = 0; i < order.size(); ++i) {
      order[i] = i;
      GgufTensor& tensor = out_.tensors_[i];
      const uint64_t offset = offsets_[i];
      if (offset % alignment != 0)
        return invalidData("tensor " + quotedName(tensor.name) + " lies at offset " +
                           std::to_string(offset) + ", not a multiple of the alignment " +
                           std::to_string(alignment));
      if (offset > available || tensor.bytes > available - offset)
        return invalidData("truncated: tensor " + quotedName(tensor.name) + " needs bytes " +
                           std::to_string(offset) + " to " + std::to_string(offset) + "+" +
                           std::to_string(tensor.bytes) + " of a data section of " +
                           std::to_string(available));
      tensor.data = bytes_.data() + start + offset;
    }
    std::sort(order.begin(), order.end(),
              [&](size_t a, size_t b) { return offsets_[a] < offsets_[b]; });
    for (size_t i = 1; i < order.size(); ++i) {
      const GgufTensor& before = out_.tensors_[order[i - 1]];
      if (offsets_[order[i - 1]] + before.bytes > offsets_[order[i]])
        return invalidData("tensors " + quotedName(before.name) + " and " +
                           quotedName(out_.tensors_[order[i]].name) + " overlap");
    }
    return {};
  }

  GgufFile& out_;
  std::span<const uint8_t> bytes_;
  uint64_t position_ = 0;
  std::vector<uint64_t> offsets_;  // of out_.tensors_
};

bool GgufFile::looksLikeGguf(const MappedFile& file) {
  return file.size() >= 4 && std::memcmp(file.data(), "GGUF", 4) == 0;
}

Result<std::unique_ptr<GgufFile>> GgufFile::openOne(const std::string& path) {
  std::unique_ptr<GgufFile> file(new GgufFile);
  LLMRT_ASSIGN_OR_RETURN(file->file_, openModelFile(path));
  LLMRT_RETURN_IF_ERROR(Parser(*file).parse().withContext(path));
  return file;
}

const GgufFile::Value* GgufFile::find(std::string_view key) const {
  auto it = values_.find(std::string(key));
  return it == values_.end() ? nullptr : &it->second;
}

Status GgufFile::wrongKind(std::string_view key, const Value& value, const char* wanted) const {
  return invalidData(path() + ": metadata " + quotedName(key) + " is " +
                     (value.is_array ? "an array of " : "a ") + typeName(value.type) +
                     ", expected " + wanted);
}

Result<std::optional<std::string_view>> GgufFile::getString(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return std::optional<std::string_view>();
  if (value->is_array || value->type != GgufType::kString)
    return wrongKind(key, *value, "a string");
  return std::optional(std::string_view(reinterpret_cast<const char*>(value->data) + 8,
                                        static_cast<size_t>(load<uint64_t>(value->data))));
}

Result<std::optional<int64_t>> GgufFile::getInt(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return std::optional<int64_t>();
  int64_t out;
  if (value->is_array || !loadInt(value->type, value->data, out))
    return wrongKind(key, *value, "an integer");
  return std::optional(out);
}

Result<std::optional<double>> GgufFile::getFloat(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return std::optional<double>();
  double out;
  if (value->is_array || !loadFloat(value->type, value->data, out))
    return wrongKind(key, *value, "a number");
  return std::optional(out);
}

Result<std::optional<bool>> GgufFile::getBool(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return std::optional<bool>();
  if (value->is_array || value->type != GgufType::kBool || value->data[0] > 1)
    return wrongKind(key, *value, "a bool of 0 or 1");
  return std::optional(value->data[0] == 1);
}

Result<bool> GgufFile::hasTokenizer() const {
  LLMRT_ASSIGN_OR_RETURN(const auto model, getString("tokenizer.ggml.model"));
  return model && *model != "no_vocab" && *model != "none";
}

Result<std::optional<std::vector<std::string_view>>> GgufFile::getStrings(
    std::string_view key) const {
  const Value* value = find(key);
  if (!value) return std::optional<std::vector<std::string_view>>();
  if (!value->is_array || value->type != GgufType::kString)
    return wrongKind(key, *value, "an array of strings");
  std::vector<std::string_view> out;
  out.reserve(value->count);
  const uint8_t* data = value->data;  // lengths were checked by the parser
  for (uint64_t i = 0; i < value->count; ++i) {
    size_t length = static_cast<size_t>(load<uint64_t>(data));
    out.emplace_back(reinterpret_cast<const char*>(data) + 8, length);
    data += 8 + length;
  }
  return std::optional(std::move(out));
}

Result<std::optional<std::vector<int64_t>>> GgufFile::getInts(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return std::optional<std::vector<int64_t>>();
  std::vector<int64_t> out;
  const uint64_t size = fixedBytes(value->type);
  if (!value->is_array || size == 0) return wrongKind(key, *value, "an array of integers");
  out.resize(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    const uint8_t* element = value->data + i * size;
    const bool loaded = value->type == GgufType::kBool ? (out[i] = *element, *element <= 1)
                                                       : loadInt(value->type, element, out[i]);
    if (!loaded) return wrongKind(key, *value, "an array of integers");
  }
  return std::optional(std::move(out));
}

Result<std::optional<std::vector<double>>> GgufFile::getFloats(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return std::optional<std::vector<double>>();
  std::vector<double> out;
  const uint64_t size = fixedBytes(value->type);
  if (!value->is_array || size == 0) return wrongKind(key, *value, "an array of numbers");
  out.resize(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    if (!loadFloat(value->type, value->data + i * size, out[i]))
      return wrongKind(key, *value, "an array of numbers");
  }
  return std::optional(std::move(out));
}

std::optional<uint64_t> GgufFile::arraySize(std::string_view key) const {
  const Value* value = find(key);
  if (!value || !value->is_array) return std::nullopt;
  return value->count;
}

const GgufTensor* GgufFile::findTensor(std::string_view name) const {
  auto it = tensor_index_.find(std::string(name));
  return it == tensor_index_.end() ? nullptr : &tensors_[it->second];
}

}  // namespace llmrt
