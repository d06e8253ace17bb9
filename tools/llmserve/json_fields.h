// The fields of a request's JSON object, read with their bounds: the first that is wrong is the
// request's error.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/io/status.h"

namespace llmrt::serve {

/// Keeps the order of keys, which chat templates show.
using Json = nlohmann::ordered_json;

/// What an answer says of a failure, in OpenAI's words.
struct ApiError {
  unsigned status = 400;
  std::string message;
  std::string type = "invalid_request_error";
  std::string param;  // the field; empty: null
  std::string code;   // empty: null

  Json json() const;
};

/// The value of a JSON text: nested 64 deep at most.
Result<Json> parseJson(std::string_view text);

/// Functions give `fallback` where a field is absent, null or wrong. Fields that nobody asks for
/// are ignored.
class JsonFields {
 public:
  /// `object` must outlive it. `prefix` comes before the names of fields in errors:
  /// "stream_options.".
  explicit JsonFields(const Json& object, std::string prefix = "");

  /// The first error; nullopt: none so far.
  const std::optional<ApiError>& error() const { return error_; }
  /// Notes an error of a field, unless there is one already.
  void fail(std::string_view name, std::string message, std::string code = "");
  void fail(const std::optional<ApiError>& error);

  /// Null where it is absent or null.
  const Json* find(std::string_view name) const;
  bool boolean(std::string_view name, bool fallback);
  int64_t integer(std::string_view name, int64_t fallback, int64_t least,
                  int64_t most = std::numeric_limits<int64_t>::max());
  double number(std::string_view name, double fallback, double least, double most);
  std::string text(std::string_view name, std::string fallback = "");
  /// Null where it is absent, null, or no object.
  const Json* object(std::string_view name);
  const Json* array(std::string_view name);

 private:
  const Json& object_;
  const std::string prefix_;
  std::optional<ApiError> error_;
};

}  // namespace llmrt::serve
