// Who may use the server: API keys, and which web pages.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/status.h"
#include "tools/llmserve/http_server.h"
#include "tools/llmserve/json_fields.h"

namespace llmrt::serve {

/// Whether a key that was sent is one of those there are. How long that takes tells nothing of
/// their bytes.
class ApiKeys {
 public:
  ApiKeys() = default;
  /// A key a line; empty lines and those that begin with # are left out.
  static Result<ApiKeys> read(const std::string& file);
  bool empty() const { return keys_.empty(); }
  bool have(std::string_view key) const;

 private:
  std::vector<std::string> keys_;
};

struct Access {
  ApiKeys keys;             // none: nobody is asked for one
  std::string cors_origin;  // the origin whose pages may read answers; "*": all; empty: none
  bool checks_host =
      false;  // only names of this machine: no page reaches it through a name of its own
  std::vector<std::string> hosts;  // further names of it

  /// Why a request is refused, whatever it is for. `is_open`: it needs no key.
  std::optional<ApiError> refuse(const http::Request& head, bool is_open) const;
  /// Headers that say to a browser which page may read an answer.
  http::Headers corsHeaders() const;
};

}  // namespace llmrt::serve
