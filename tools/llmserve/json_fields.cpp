#include "tools/llmserve/json_fields.h"

#include <fmt/format.h>

#include <cmath>
#include <vector>

namespace llmrt::serve {
namespace {

constexpr int kMaxDepth = 64;
constexpr size_t kMaxContainers = 100'000;  // of a body: a few bytes of text are far more in memory
constexpr size_t kMaxKeys = 1024;           // of an object: each new one is compared with all

/// Why a text is refused while it is parsed.
struct Refused {
  const char* reason;
};

/// Looks at what a parser comes across.
class Bounds {
 public:
  bool operator()(int depth, Json::parse_event_t event, Json&) {
    using Event = Json::parse_event_t;
    if (depth > kMaxDepth) throw Refused{"is nested more than 64 deep"};
    if (event == Event::object_start || event == Event::array_start) {
      if (++containers_ > kMaxContainers) throw Refused{"has more than 100000 arrays and objects"};
    }
    if (event == Event::object_start) keys_.push_back(0);
    if (event == Event::object_end) keys_.pop_back();
    if (event == Event::key && ++keys_.back() > kMaxKeys)
      throw Refused{"has an object of more than 1024 keys"};
    return true;
  }

 private:
  size_t containers_ = 0;
  std::vector<size_t> keys_;  // of the objects that are open
};

Json textOrNull(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

}  // namespace

Json ApiError::json() const {
  return {{"error",
           {{"message", message},
            {"type", type},
            {"param", textOrNull(param)},
            {"code", textOrNull(code)}}}};
}

Result<Json> parseJson(std::string_view text) {
  try {
    return Json::parse(text, Bounds());
  } catch (const Refused& refused) {
    return invalidArgument(std::string("the body ") + refused.reason);
  } catch (const Json::parse_error& error) {
    return invalidArgument(fmt::format("the body is not JSON, at byte {}", error.byte));
  } catch (const Json::exception&) {  // a number that no double holds
    return invalidArgument("the body has a number that is out of range");
  }
}

JsonFields::JsonFields(const Json& object, std::string prefix)
    : object_(object), prefix_(std::move(prefix)) {
  if (!object.is_object()) fail("", "the body must be a JSON object");
}

void JsonFields::fail(std::string_view name, std::string message, std::string code) {
  if (error_) return;
  const std::string field = name.empty() ? "" : prefix_ + std::string(name);
  error_ = ApiError{.message = field.empty() ? message : fmt::format("'{}' {}", field, message),
                    .param = field,
                    .code = std::move(code)};
}

void JsonFields::fail(const std::optional<ApiError>& error) {
  if (!error_) error_ = error;
}

const Json* JsonFields::find(std::string_view name) const {
  if (!object_.is_object()) return nullptr;
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

bool JsonFields::boolean(std::string_view name, bool fallback) {
  const Json* const value = find(name);
  if (!value) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  fail(name, "must be true or false");
  return fallback;
}

int64_t JsonFields::integer(std::string_view name, int64_t fallback, int64_t least, int64_t most) {
  const Json* const value = find(name);
  if (!value) return fallback;
  // Some clients send 16.0.
  std::optional<int64_t> number;
  if (value->is_number_unsigned()) {
    const auto large = value->get<uint64_t>();
    number = large > INT64_MAX ? INT64_MAX : static_cast<int64_t>(large);
  } else if (value->is_number_integer()) {
    number = value->get<int64_t>();
  } else if (value->is_number_float()) {
    const double whole = value->get<double>();
    if (whole == std::floor(whole) && std::abs(whole) < 1e15) number = static_cast<int64_t>(whole);
  }
  if (!number) {
    fail(name, "must be an integer");
  } else if (*number < least || *number > most) {
    fail(name, most == std::numeric_limits<int64_t>::max()
                   ? fmt::format("must be {} or more", least)
                   : fmt::format("must be from {} to {}", least, most));
  } else {
    return *number;
  }
  return fallback;
}

double JsonFields::number(std::string_view name, double fallback, double least, double most) {
  const Json* const value = find(name);
  if (!value) return fallback;
  if (!value->is_number()) {
    fail(name, "must be a number");
    return fallback;
  }
  const auto number = value->get<double>();
  if (number >= least && number <= most) return number;
  fail(name, fmt::format("must be from {} to {}", least, most));
  return fallback;
}

std::string JsonFields::text(std::string_view name, std::string fallback) {
  const Json* const value = find(name);
  if (!value) return fallback;
  if (value->is_string()) return value->get<std::string>();
  fail(name, "must be a string");
  return fallback;
}

const Json* JsonFields::object(std::string_view name) {
  const Json* const value = find(name);
  if (!value || value->is_object()) return value;
  fail(name, "must be an object");
  return nullptr;
}

const Json* JsonFields::array(std::string_view name) {
  const Json* const value = find(name);
  if (!value || value->is_array()) return value;
  fail(name, "must be an array");
  return nullptr;
}

}  // namespace llmrt::serve
