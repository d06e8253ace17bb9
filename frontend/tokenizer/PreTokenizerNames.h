// The pre-tokenizers that GGUF files know by name (tokenizer.ggml.pre).
#pragma once

#include <string_view>
#include <vector>

namespace llmc {

/// GPT-2's split; also what tokenizer.json's ByteLevel does when use_regex is on. Oniguruma syntax,
/// as all here.
inline constexpr std::string_view kGpt2Regex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

struct NamedPreTokenizer {
  std::vector<std::string_view> splits;  // one after the other, each isolating its matches
  bool ignore_merges = false;
  bool add_bos = false;  // unless tokenizer.ggml.add_bos_token says otherwise
  bool nfc = false;      // the original normalizes to NFC; GGUF does not say so
};

/// Null: no such name. An absent tokenizer.ggml.pre is "default".
const NamedPreTokenizer* findPreTokenizer(std::string_view name);

}  // namespace llmc
