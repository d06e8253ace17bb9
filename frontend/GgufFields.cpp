#include "frontend/GgufFields.h"

#include <algorithm>
#include <utility>

#include "models/CheckSpec.h"
#include "runtime/io/printable.h"

namespace llmc {

using llmrt::invalidData;
using llmrt::Result;
using llmrt::Status;

std::string GgufFields::nameOf(const char* key) const {
  return "metadata " + llmrt::quotedName(prefix_ + key);
}

Result<int64_t> GgufFields::needInt(const char* key) const {
  LLMRT_ASSIGN_OR_RETURN(auto value, getInt(key));
  if (!value) return invalidData(nameOf(key) + " is missing");
  return *value;
}

Result<std::vector<int64_t>> GgufFields::needLayerInts(const char* key, int64_t num_layers) const {
  const auto layers = static_cast<size_t>(std::clamp<int64_t>(num_layers, 1, kMaxLayers));
  if (!hasArray(key)) {
    LLMRT_ASSIGN_OR_RETURN(const int64_t value, needInt(key));
    return std::vector<int64_t>(layers, value);
  }
  LLMRT_ASSIGN_OR_RETURN(std::vector<int64_t> values, ofLayers(key));
  if (values.size() != layers)
    return invalidData(nameOf(key) + " has " + std::to_string(values.size()) +
                       " entries, but the model has " + std::to_string(num_layers) + " layers");
  return values;
}

Result<double> GgufFields::needFloat(const char* key) const {
  LLMRT_ASSIGN_OR_RETURN(auto value, getFloat(key));
  if (!value) return invalidData(nameOf(key) + " is missing");
  return *value;
}

Status GgufFields::refuse(const char* key, const std::string& why) const {
  return llmrt::unsupported(nameOf(key) + " is not supported" + why);
}

llmrt::Result<std::vector<int64_t>> GgufFields::ofLayers(const char* key) const {
  if (!hasArray(key)) return std::vector<int64_t>();
  LLMRT_ASSIGN_OR_RETURN(auto values, file_.getInts(prefix_ + key));
  return values.value_or(std::vector<int64_t>());
}

}  // namespace llmc
