#include "runtime/io/safetensors_header.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "runtime/io/json.h"
#include "runtime/io/printable.h"

static_assert(std::endian::native == std::endian::little, "files are mapped as they are");

namespace llmrt {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the reference implementation's MAX_HEADER_SIZE
constexpr size_t kMaxDimensions = 64;

struct DtypeBits {
  const char* name;
  int bits;
};
// Names and widths of the reference implementation's Dtype.
constexpr DtypeBits kDtypes[] = {
    {"F32", 32},    {"F16", 16}, {"BF16", 16},   {"F64", 64},    {"BOOL", 8},
    {"U8", 8},      {"I8", 8},   {"U16", 16},    {"I16", 16},    {"U32", 32},
    {"I32", 32},    {"U64", 64}, {"I64", 64},    {"F8_E5M2", 8}, {"F8_E4M3", 8},
    {"F8_E8M0", 8}, {"F4", 4},   {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"C64", 64},
};

// Events of the JSON parser. The document has one shape only:
//   { name: { "dtype": string, "shape": [ints], "data_offsets": [int, int] }, "__metadata__": null
//   | { string: string } }
// so anything else stops the parser at once, whatever its depth or length.
class HeaderEvents : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderEvents(SafetensorsHeader& out) : out_(out) {}

  const std::string& error() const { return error_; }

  bool start_object(std::size_t) override {
    if (place_ == Place::kStart) {
      place_ = Place::kTop;
      return true;
    }
    if (place_ == Place::kTop && key_ == "__metadata__") {
      place_ = Place::kMetadata;
      return true;
    }
    if (place_ == Place::kTop) {
      place_ = Place::kTensor;
      tensor_ = SafetensorsEntry{};
      tensor_.name = key_;
      seen_dtype_ = seen_shape_ = seen_offsets_ = false;
      return true;
    }
    return unexpected("an object");
  }

  bool end_object() override {
    switch (place_) {
      case Place::kTensor:
        if (!seen_dtype_ || !seen_shape_ || !seen_offsets_)
          return fail("tensor " + quotedName(tensor_.name) + " lacks dtype, shape or data_offsets");
        out_.tensors.push_back(std::move(tensor_));
        place_ = Place::kTop;
        return true;
      case Place::kMetadata:
        place_ = Place::kTop;
        return true;
      default:
        return true;
    }
  }

  bool key(string_t& text) override {
    if (place_ == Place::kTop && !names_.insert(text).second)
      return fail(quotedName(text) + " occurs twice");
    (place_ == Place::kTop ? key_ : field_) = text;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::kTensor) return unexpected("an array");
    if (field_ == "shape" && !seen_shape_) {
      place_ = Place::kShape;
      seen_shape_ = true;
      return true;
    }
    if (field_ == "data_offsets" && !seen_offsets_) {
      place_ = Place::kOffsets;
      seen_offsets_ = true;
      offset_count_ = 0;
      return true;
    }
    return unexpected("an array");
  }

  bool end_array() override {
    if (place_ == Place::kOffsets && offset_count_ != 2)
      return fail("tensor " + quotedName(tensor_.name) + ": data_offsets must be two numbers");
    place_ = Place::kTensor;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::kShape) {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
        return fail("tensor " + quotedName(tensor_.name) + ": a dimension is larger than 63 bits");
      if (tensor_.shape.size() == kMaxDimensions)
        return fail("tensor " + quotedName(tensor_.name) + " has more than 64 dimensions");
      tensor_.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (place_ == Place::kOffsets && offset_count_ < 2) {
      (offset_count_++ == 0 ? tensor_.begin : tensor_.end) = value;
      return true;
    }
    return unexpected("a number");
  }

  bool string(string_t& text) override {
    if (place_ == Place::kMetadata) {
      out_.metadata[field_] = text;
      return true;
    }
    if (place_ == Place::kTensor && field_ == "dtype" && !seen_dtype_) {
      tensor_.dtype = text;
      seen_dtype_ = true;
      return true;
    }
    return unexpected("a string");
  }

  bool null() override {
    return place_ == Place::kTop && key_ == "__metadata__" ? true : unexpected("null");
  }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return unexpected("a fraction"); }
  bool binary(binary_t&) override { return unexpected("binary data"); }
  bool parse_error(std::size_t, const std::string&,
                   const nlohmann::detail::exception& error) override {
    return fail("malformed JSON: " + jsonErrorText(error));
  }

 private:
  enum class Place { kStart, kTop, kMetadata, kTensor, kShape, kOffsets };

  bool fail(std::string message) {
    error_ = std::move(message);
    return false;
  }

  bool unexpected(const char* what) {
    switch (place_) {
      case Place::kStart:
        return fail(std::string("the header is ") + what + ", not an object");
      case Place::kTop:
        return fail(quotedName(key_) + " is " + what + ", not an object");
      case Place::kMetadata:
        return fail("__metadata__ " + quotedName(field_) + " is " + what + ", not a string");
      default:
        return fail("tensor " + quotedName(tensor_.name) + ": unexpected " + what + " at " +
                    quotedName(field_));
    }
  }

  SafetensorsHeader& out_;
  std::string error_;
  Place place_ = Place::kStart;
  std::string key_, field_;
  std::set<std::string> names_;
  SafetensorsEntry tensor_;
  bool seen_dtype_ = false, seen_shape_ = false, seen_offsets_ = false;
  int offset_count_ = 0;
};

Status checkSize(const SafetensorsEntry& tensor) {
  const auto* dtype = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                   [&](const DtypeBits& d) { return tensor.dtype == d.name; });
  if (dtype == std::end(kDtypes))
    return {};  // newer than we are: an error only for who asks for the tensor
  uint64_t bits = static_cast<uint64_t>(dtype->bits);
  for (int64_t size : tensor.shape) {
    if (__builtin_mul_overflow(bits, static_cast<uint64_t>(size), &bits))
      return invalidData("tensor " + quotedName(tensor.name) +
                         ": the product of its shape does not fit into 64 bits");
  }
  if (bits % 8 != 0 || bits / 8 != tensor.end - tensor.begin)
    return invalidData("tensor " + quotedName(tensor.name) + ": its shape needs " +
                       std::to_string(bits / 8) + " bytes, data_offsets give " +
                       std::to_string(tensor.end - tensor.begin));
  return {};
}

// Tensors in order of offset must follow one another from 0 to the end of the data.
Status checkCover(const std::vector<SafetensorsEntry>& tensors, uint64_t data_bytes) {
  uint64_t position = 0;
  for (const SafetensorsEntry& tensor : tensors) {
    if (tensor.end < tensor.begin)
      return invalidData("tensor " + quotedName(tensor.name) +
                         ": data_offsets end before they begin");
    if (tensor.begin < position)
      return invalidData("tensor " + quotedName(tensor.name) + " overlaps the tensor before it");
    if (tensor.begin > position)
      return invalidData("a hole of " + std::to_string(tensor.begin - position) +
                         " bytes before tensor " + quotedName(tensor.name));
    if (tensor.end > data_bytes)
      return invalidData("truncated: tensor " + quotedName(tensor.name) + " ends at byte " +
                         std::to_string(tensor.end) + " of " + std::to_string(data_bytes) +
                         " bytes of data");
    LLMRT_RETURN_IF_ERROR(checkSize(tensor));
    position = tensor.end;
  }
  if (position != data_bytes)
    return invalidData(std::to_string(data_bytes - position) +
                       " bytes after the last tensor belong to none");
  return {};
}

Result<SafetensorsHeader> parse(const MappedFile& file) {
  if (file.size() < 8) return invalidData("not a safetensors file: shorter than 8 bytes");
  uint64_t header_bytes;
  std::memcpy(&header_bytes, file.data(), 8);
  if (header_bytes > kMaxHeaderBytes)
    return invalidData("not a safetensors file: claims a header of " +
                       std::to_string(header_bytes) + " bytes");
  if (header_bytes > file.size() - 8)
    return invalidData("truncated: claims a header of " + std::to_string(header_bytes) +
                       " bytes, " + std::to_string(file.size() - 8) + " follow");
  SafetensorsHeader header;
  header.data_offset = 8 + header_bytes;
  HeaderEvents events(header);
  const char* text = reinterpret_cast<const char*>(file.data()) + 8;
  if (!nlohmann::json::sax_parse(text, text + header_bytes, &events))
    return invalidData(events.error());
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
              return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
            });
  LLMRT_RETURN_IF_ERROR(checkCover(header.tensors, file.size() - header.data_offset));
  return header;
}

}  // namespace

Result<SafetensorsHeader> parseSafetensorsHeader(const MappedFile& file) {
  Result<SafetensorsHeader> header = parse(file);
  if (!header.ok()) return std::move(header).status().withContext(file.path());
  return header;
}

}  // namespace llmrt
