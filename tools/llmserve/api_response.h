// The answers that endpoints have in common.
#pragma once

#include <string>

#include "tools/llmserve/http_server.h"
#include "tools/llmserve/json_fields.h"

namespace llmrt::serve {

/// JSON on one line. Whatever is no UTF-8 is replaced.
std::string textOf(const Json& json);
http::Response jsonResponse(const Json& json, unsigned status = 200);
http::Response errorResponse(const ApiError& error);
/// The head of a stream of server-sent events.
http::Response eventStream();
/// 24 characters that nobody can guess.
std::string randomId();

}  // namespace llmrt::serve
