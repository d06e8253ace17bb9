// Typed access to the fields of a JSON object from a config file.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "runtime/io/status.h"

namespace llmc {

/// Null counts as absent: nullopt. A value of another type is an error that names the field and the
/// value.
class JsonFields {
 public:
  /// `prefix` names the object in messages: "" for the top, "rope_scaling." for a nested one.
  /// `object` must outlive this.
  explicit JsonFields(const nlohmann::json& object, std::string prefix = "")
      : object_(object), prefix_(std::move(prefix)) {}

  bool has(const char* field) const { return find(field) != nullptr; }
  /// Written, as null.
  bool isNull(const char* field) const;
  /// Null when absent or null.
  const nlohmann::json* find(const char* field) const;

  llmrt::Result<std::optional<int64_t>> getInt(const char* field) const;
  llmrt::Result<std::optional<double>> getNumber(const char* field) const;
  llmrt::Result<std::optional<bool>> getBool(const char* field) const;
  llmrt::Result<std::optional<std::string>> getString(const char* field) const;

  /// As getInt, and an error when absent.
  llmrt::Result<int64_t> needInt(const char* field) const;
  llmrt::Result<double> needNumber(const char* field) const;
  /// A list of numbers; an error when absent.
  llmrt::Result<std::vector<double>> needNumbers(const char* field) const;

  /// "rope_scaling.factor"
  std::string nameOf(const char* field) const { return prefix_ + field; }

 private:
  llmrt::Status wrongType(const char* field, const char* wanted) const;

  const nlohmann::json& object_;
  std::string prefix_;
};

/// A JSON value for an error message: one line, cut to a readable length.
std::string briefJson(const nlohmann::json& value);

}  // namespace llmc
