// Hand-made safetensors and GGUF files, and a place to put them, for tests of what reads them.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace llmc_tests {

/// A directory of the running test's own, removed with it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "llmc-test-XXXXXX").string();
    if (!::mkdtemp(name.data())) ADD_FAILURE() << "cannot create a temporary directory";
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;

  std::string path(const std::string& name = "") const {
    return name.empty() ? path_.string() : (path_ / name).string();
  }
  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return path(name);
  }
  size_t entries() const {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(path_)) ++count;
    return count;
  }

 private:
  std::filesystem::path path_;
};

template <typename T>
std::string rawBytes(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}
inline std::string rawBytes(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

/// A safetensors file of this header and data.
inline std::string safetensorsFile(const std::string& header, const std::string& data) {
  return rawBytes(static_cast<uint64_t>(header.size())) + header + data;
}

/// Builds a GGUF v3 file piece by piece.
class GgufWriter {
 public:
  explicit GgufWriter(uint32_t version = 3) : version_(version) {}

  static std::string string(const std::string& text) {
    return rawBytes(static_cast<uint64_t>(text.size())) + text;
  }

  GgufWriter& value(const std::string& key, uint32_t type, const std::string& bytes) {
    values_ += string(key) + rawBytes(type) + bytes;
    ++value_count_;
    return *this;
  }
  GgufWriter& addString(const std::string& key, const std::string& text) {
    return value(key, 8, string(text));
  }
  GgufWriter& addUint(const std::string& key, uint32_t number) {
    return value(key, 4, rawBytes(number));
  }
  GgufWriter& addFloat(const std::string& key, float number) {
    return value(key, 6, rawBytes(number));
  }
  GgufWriter& addStrings(const std::string& key, const std::vector<std::string>& texts) {
    std::string bytes = rawBytes(uint32_t{8}) + rawBytes(static_cast<uint64_t>(texts.size()));
    for (const std::string& text : texts) bytes += string(text);
    return value(key, 9, bytes);
  }

  /// `shape` outermost first.
  GgufWriter& tensor(const std::string& name, uint32_t type, std::vector<uint64_t> shape,
                     const std::string& bytes) {
    return tensorAt(name, type, std::move(shape), bytes, data_.size());
  }
  GgufWriter& tensorAt(const std::string& name, uint32_t type, std::vector<uint64_t> shape,
                       const std::string& bytes, uint64_t offset) {
    tensors_ += string(name) + rawBytes(static_cast<uint32_t>(shape.size()));
    for (auto size = shape.rbegin(); size != shape.rend(); ++size) tensors_ += rawBytes(*size);
    tensors_ += rawBytes(type) + rawBytes(offset);
    ++tensor_count_;
    data_ += bytes;
    pad(data_);
    return *this;
  }

  std::string bytes() const {
    std::string out = "GGUF" + rawBytes(version_) + rawBytes(tensor_count_) +
                      rawBytes(value_count_) + values_ + tensors_;
    if (tensor_count_ > 0) pad(out);
    return out + data_;
  }

 private:
  static void pad(std::string& bytes) { bytes.resize((bytes.size() + 31) / 32 * 32, '\0'); }

  uint32_t version_;
  uint64_t value_count_ = 0, tensor_count_ = 0;
  std::string values_, tensors_, data_;
};

}  // namespace llmc_tests
