#include "tools/llmserve/api_response.h"

#include <random>

namespace llmrt::serve {

std::string textOf(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

http::Response jsonResponse(const Json& json, unsigned status) {
  return {.status = status, .body = textOf(json)};
}

http::Response errorResponse(const ApiError& error) {
  http::Response response = jsonResponse(error.json(), error.status);
  if (error.status == 429 || error.status == 503) response.headers.emplace_back("Retry-After", "1");
  if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

http::Response eventStream() {
  // The second header is for nginx, which else keeps events until it has many.
  return {.content_type = "text/event-stream",
          .headers = {{"Cache-Control", "no-store"}, {"X-Accel-Buffering", "no"}}};
}

std::string randomId() {
  constexpr char kDigits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
  std::random_device device;
  std::string id(24, '0');
  for (char& c : id) c = kDigits[device() % (sizeof kDigits - 1)];
  return id;
}

}  // namespace llmrt::serve
