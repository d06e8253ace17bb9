// The metadata of one model in a GGUF file: keys below "<architecture>.", and what tensors tell.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/gguf.h"
#include "runtime/io/status.h"

namespace llmc {

/// Getters as GgufFile's, by the key behind the architecture's name.
class GgufFields {
 public:
  GgufFields(const llmrt::GgufFile& file, std::string_view architecture)
      : file_(file), architecture_(architecture), prefix_(architecture_ + ".") {}

  const std::string& architecture() const { return architecture_; }
  const llmrt::GgufFile& file() const { return file_; }

  bool has(const char* key) const { return file_.has(prefix_ + key); }
  llmrt::Result<std::optional<int64_t>> getInt(const char* key) const {
    return file_.getInt(prefix_ + key);
  }
  llmrt::Result<std::optional<double>> getFloat(const char* key) const {
    return file_.getFloat(prefix_ + key);
  }
  llmrt::Result<std::optional<bool>> getBool(const char* key) const {
    return file_.getBool(prefix_ + key);
  }
  llmrt::Result<std::optional<std::string_view>> getString(const char* key) const {
    return file_.getString(prefix_ + key);
  }
  /// A number of each layer: an array of as many, or one number that they share. An error when
  /// there is none.
  llmrt::Result<std::vector<int64_t>> needLayerInts(const char* key, int64_t num_layers) const;
  /// An error when there is none.
  llmrt::Result<int64_t> needInt(const char* key) const;
  llmrt::Result<double> needFloat(const char* key) const;

  /// Whether there is one number for each layer.
  bool hasArray(const char* key) const { return file_.arraySize(prefix_ + key).has_value(); }
  /// Those; empty where there is no array.
  llmrt::Result<std::vector<int64_t>> ofLayers(const char* key) const;

  /// "metadata 'llama.block_count'": for messages.
  std::string nameOf(const char* key) const;
  /// "metadata 'llama.block_count' is not supported", and `why` behind it.
  llmrt::Status refuse(const char* key, const std::string& why = "") const;

  bool hasTensors() const { return !file_.tensors().empty(); }
  bool hasTensor(std::string_view name) const { return file_.findTensor(name) != nullptr; }

 private:
  const llmrt::GgufFile& file_;
  std::string architecture_, prefix_;
};

}  // namespace llmc
