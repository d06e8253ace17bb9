#include "frontend/JsonFields.h"

#include <cmath>
#include <limits>

#include "models/CheckSpec.h"

namespace llmc {

using llmrt::invalidData;
using llmrt::Result;
using llmrt::Status;

std::string briefJson(const nlohmann::json& value) {
  constexpr size_t kMaxBytes = 60;
  if (value.is_number_float()) return numberText(value.get<double>());
  // ASCII only, so that a cut never splits a character.
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kMaxBytes) text = text.substr(0, kMaxBytes) + "...";
  return text;
}

const nlohmann::json* JsonFields::find(const char* field) const {
  auto it = object_.find(field);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

bool JsonFields::isNull(const char* field) const {
  auto it = object_.find(field);
  return it != object_.end() && it->is_null();
}

Status JsonFields::wrongType(const char* field, const char* wanted) const {
  return invalidData(nameOf(field) + " is " + briefJson(*find(field)) + ", expected " + wanted);
}

Result<std::optional<int64_t>> JsonFields::getInt(const char* field) const {
  const nlohmann::json* value = find(field);
  if (!value) return std::optional<int64_t>();
  if (value->is_number_unsigned() &&
      value->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    return wrongType(field, "an integer of at most 63 bits");
  if (value->is_number_integer()) return std::optional(value->get<int64_t>());
  // Some writers print 4096.0.
  if (value->is_number_float()) {
    const double number = value->get<double>();
    if (std::floor(number) == number && std::abs(number) < 0x1p53)
      return std::optional(static_cast<int64_t>(number));
  }
  return wrongType(field, "an integer");
}

Result<std::optional<double>> JsonFields::getNumber(const char* field) const {
  const nlohmann::json* value = find(field);
  if (!value) return std::optional<double>();
  if (!value->is_number()) return wrongType(field, "a number");
  if (!std::isfinite(value->get<double>())) return wrongType(field, "a finite number");
  return std::optional(value->get<double>());
}

Result<std::optional<bool>> JsonFields::getBool(const char* field) const {
  const nlohmann::json* value = find(field);
  if (!value) return std::optional<bool>();
  if (!value->is_boolean()) return wrongType(field, "true or false");
  return std::optional(value->get<bool>());
}

Result<std::optional<std::string>> JsonFields::getString(const char* field) const {
  const nlohmann::json* value = find(field);
  if (!value) return std::optional<std::string>();
  if (!value->is_string()) return wrongType(field, "a string");
  return std::optional(value->get<std::string>());
}

Result<int64_t> JsonFields::needInt(const char* field) const {
  LLMRT_ASSIGN_OR_RETURN(auto value, getInt(field));
  if (!value) return invalidData("field " + nameOf(field) + " is missing");
  return *value;
}

Result<double> JsonFields::needNumber(const char* field) const {
  LLMRT_ASSIGN_OR_RETURN(auto value, getNumber(field));
  if (!value) return invalidData("field " + nameOf(field) + " is missing");
  return *value;
}

Result<std::vector<double>> JsonFields::needNumbers(const char* field) const {
  const nlohmann::json* value = find(field);
  if (!value) return invalidData("field " + nameOf(field) + " is missing");
  std::vector<double> numbers;
  for (const nlohmann::json& number : *value) {
    if (!value->is_array() || !number.is_number()) return wrongType(field, "a list of numbers");
    numbers.push_back(number.get<double>());
  }
  return numbers;
}

}  // namespace llmc
