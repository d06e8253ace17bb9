#include "tools/llmserve/access.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/io/mapped_file.h"

namespace llmrt::serve {
namespace {

// Looks at every byte of both, whatever it finds.
bool equalInConstantTime(std::string_view secret, std::string_view given) {
  volatile unsigned differs = secret.size() != given.size();
  for (size_t i = 0; i < secret.size(); ++i) {
    const auto other = i < given.size() ? static_cast<unsigned char>(given[i]) : 0u;
    differs = differs | (static_cast<unsigned char>(secret[i]) ^ other);
  }
  return differs == 0;
}

/// "localhost:8080" without its port.
std::string_view hostName(std::string_view host) {
  if (host.starts_with('[')) return host.substr(0, std::min(host.find(']') + 1, host.size()));
  return host.substr(0, host.find(':'));
}

std::string lowerCase(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  return out;
}

bool isThisMachine(std::string_view name) {
  return name == "localhost" || name == "[::1]" ||
         (name.starts_with("127.") && name.find_first_not_of("0123456789.") == name.npos);
}

}  // namespace

Result<ApiKeys> ApiKeys::read(const std::string& file) {
  LLMRT_ASSIGN_OR_RETURN(const MappedFile mapped, MappedFile::open(file));
  ApiKeys out;
  const std::string_view text = mapped.text();
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    if (!line.empty() && line.front() != '#') out.keys_.emplace_back(line);
  }
  if (out.keys_.empty()) return invalidData(file + ": has no key; it should have one a line");
  return out;
}

bool ApiKeys::have(std::string_view key) const {
  bool found = false;
  for (const std::string& own : keys_) found = equalInConstantTime(own, key) || found;
  return found;
}

std::optional<ApiError> Access::refuse(const http::Request& head, bool is_open) const {
  const std::string* const host = head.header("host");
  if (checks_host && host) {
    const std::string name = lowerCase(hostName(*host));
    if (!isThisMachine(name) && std::find(hosts.begin(), hosts.end(), name) == hosts.end())
      return ApiError{.status = 403,
                      .message = "the Host header names another machine than this server's"};
  }
  if (const std::string* const origin = head.header("origin");
      origin && cors_origin != "*" && *origin != cors_origin) {
    // A page that the server itself was asked for under this name may go on.
    const size_t scheme = origin->find("://");
    const bool own =
        host && scheme != origin->npos && std::string_view(*origin).substr(scheme + 3) == *host;
    if (!own)
      return ApiError{.status = 403,
                      .message = "pages of this origin are not allowed (llmserve --cors)"};
  }
  if (is_open || keys.empty()) return std::nullopt;
  const std::string* const given = head.header("authorization");
  constexpr std::string_view kBearer = "bearer ";
  const auto is_bearer = [&] {
    return given->size() > kBearer.size() &&
           std::equal(kBearer.begin(), kBearer.end(), given->begin(), [](char a, char b) {
             return a == (b >= 'A' && b <= 'Z' ? b + ('a' - 'A') : b);
           });
  };
  if (given && is_bearer() && keys.have(std::string_view(*given).substr(kBearer.size())))
    return std::nullopt;
  return ApiError{.status = 401,
                  .message = given ? "the API key is not known here"
                                   : "an API key is needed: Authorization: Bearer KEY",
                  .code = "invalid_api_key"};
}

http::Headers Access::corsHeaders() const {
  if (cors_origin.empty()) return {};
  return {{"Access-Control-Allow-Origin", cors_origin}, {"Vary", "Origin"}};
}

}  // namespace llmrt::serve
