#include "frontend/tokenizer/PreTokenizerNames.h"

#include <map>

namespace llmc {
namespace {

constexpr std::string_view kDigit = R"(\p{N})";
constexpr std::string_view kThreeDigits = "[0-9][0-9][0-9]";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDeepSeek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

const std::map<std::string_view, NamedPreTokenizer>& table() {
  static const std::map<std::string_view, NamedPreTokenizer> names = [] {
    std::map<std::string_view, NamedPreTokenizer> t;
    // What files had before they named their pre-tokenizer, and what llama.cpp does for them.
    t["default"] = {{R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Regex, R"(\p{N}+)", kThreeDigits}};
    for (auto name : {"gpt-2", "phi-2", "jais"}) t[name] = {{kGpt2Regex}};
    for (auto name : {"mpt", "olmo"}) t[name] = {.splits = {kGpt2Regex}, .nfc = true};
    for (auto name : {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"}) {
      t[name] = {{kDigit, kGpt2Regex}};
    }
    for (auto name : {"llama3", "llama-v3", "llama-bpe", "falcon3"}) {
      t[name] = {.splits = {kLlama3Regex}, .ignore_merges = true, .add_bos = true};
    }
    for (auto name : {"dbrx", "smaug-bpe", "chatglm-bpe"}) t[name] = {{kLlama3Regex}};
    for (auto name : {"qwen2", "megrez"}) t[name] = {.splits = {kQwen2Regex}, .nfc = true};
    t["stablelm2"] = {{kQwen2Regex}};
    t["tekken"] = {.splits = {kTekken}, .ignore_merges = true, .add_bos = true};
    t["gpt-4o"] = {{kGpt4oRegex}};
    t["falcon"] = {{R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2Regex, kThreeDigits}};
    t["deepseek-coder"] = {
        {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[一-龥ࠀ-一가-퟿]+", kDigit}};
    t["deepseek-v3"] = {{R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+", kDeepSeek3}};
    return t;
  }();
  return names;
}

}  // namespace

const NamedPreTokenizer* findPreTokenizer(std::string_view name) {
  auto it = table().find(name);
  return it == table().end() ? nullptr : &it->second;
}

}  // namespace llmc
