// Base64 as RFC 4648 has it, padded.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace llmc {

/// Nullopt where `text` is not Base64.
std::optional<std::string> decodeBase64(std::string_view text);

}  // namespace llmc
