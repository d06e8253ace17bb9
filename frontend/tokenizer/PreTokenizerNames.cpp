#include "frontend/tokenizer/PreTokenizerNames.h"

#include <map>

namespace llmc {
namespace {

// The names and what they split at are llama.cpp's (src/llama-vocab.cpp in
// https://github.com/ggml-org/llama.cpp). Where it rewrites a model's own expression for want of a
// regex feature, the model's own is here. Names that need more than expressions are missing:
// kimi-k2, afmoe, superbpe, tiny_aya, and those of other model types.

constexpr std::string_view kDigit = R"(\p{N})";
constexpr std::string_view kThreeDigits = "[0-9][0-9][0-9]";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDeepSeek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Qwen2's with marks among the letters.
constexpr std::string_view kQwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kBailing =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kSeedCoder =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kExaoneMoe =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kMiniCpm5 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// Llama 3's with white space in runs of powers of two.
constexpr std::string_view kJais2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})";
constexpr std::string_view kYoutu =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kSpark =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kBloom = R"( ?[^(\s|.,!?…。，、।۔،)]+)";
constexpr std::string_view kCjk = "[一-龥぀-ゟ゠-ヿ]+";
// The cased letters of some scripts. Some characters are written by number: they are equivalent to
// others, which an editor may put in their place.
constexpr std::string_view kDeepSeekLetters =
    R"(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1F7Dᾀ-ᾴᾶ-ᾼ\u1FBEῂ-ῄῆ-ῌῐ-\u1FD3ῖ-\u1FDBῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212A-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮ\u2CF2ⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)";

const std::map<std::string_view, NamedPreTokenizer>& table() {
  static const std::map<std::string_view, NamedPreTokenizer> names = [] {
    std::map<std::string_view, NamedPreTokenizer> t;
    // What files had before they named their pre-tokenizer, and what llama.cpp does for them.
    t["default"] = {{R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Regex, R"(\p{N}+)", kThreeDigits}};
    for (auto name :
         {"gpt-2", "phi-2", "jais", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "gigachat",
          "a.x-4.0", "mellum", "modern-bert", "exaone4", "trillion", "granite-docling"}) {
      t[name] = {{kGpt2Regex}};
    }
    for (auto name : {"mpt", "olmo"}) t[name] = {.splits = {kGpt2Regex}, .nfc = true};
    for (auto name :
         {"smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"}) {
      t[name] = {{kDigit, kGpt2Regex}};
    }
    t["command-r"] = {.splits = {kDigit, kGpt2Regex}, .nfc = true};
    for (auto name : {"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral",
                      "midm-2.0", "lfm2", "jina-v5-nano"}) {
      t[name] = {.splits = {kLlama3Regex}, .ignore_merges = true, .add_bos = true};
    }
    for (auto name : {"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}) t[name] = {{kLlama3Regex}};
    for (auto name : {"qwen2", "megrez", "deepseek-r1-qwen", "kormo", "f2llmv2"}) {
      t[name] = {.splits = {kQwen2Regex}, .nfc = true};
    }
    t["qwen35"] = {.splits = {kQwen35}, .nfc = true};
    for (auto name : {"stablelm2", "hunyuan", "solar-open", "grok-2"}) t[name] = {{kQwen2Regex}};
    t["ufakzeka"] = {{kQwen2Regex.substr(kQwen2Regex.find("[^"))}};  // no English contractions
    t["laguna"] = {{R"([^\n]+|[\n]+)", kQwen2Regex}};
    t["tekken"] = {.splits = {kTekken}, .ignore_merges = true, .add_bos = true};
    for (auto name : {"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"})
      t[name] = {{kGpt4oRegex}};
    t["granite-embed-multi-97m"] = {.splits = {kGpt4oRegex}, .ignore_merges = true};
    t["falcon"] = {{R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2Regex, kThreeDigits}};
    t["deepseek-llm"] = {{R"([\r\n])", kDeepSeekLetters, R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)",
                          R"(\s+$)", "[一-龥ࠀ-一가-퟿]+", kDigit}};
    t["deepseek-coder"] = {
        {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[一-龥ࠀ-一가-퟿]+", kDigit}};
    for (auto name : {"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"}) {
      t[name] = {{R"(\p{N}{1,3})", kCjk, kDeepSeek3}};
    }
    t["spark2_5"] = {{R"(\p{N}{1,3})", kCjk, kSpark, kDigit}};
    t["youtu"] = {.splits = {"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]"
                             "+",
                             kYoutu},
                  .ignore_merges = true};
    for (auto name : {"bailingmoe", "bailingmoe2", "llada-moe"}) t[name] = {{kBailing}};
    t["seed-coder"] = {{kSeedCoder}};
    t["exaone-moe"] = {{kExaoneMoe}};
    t["minicpm5"] = {.splits = {R"(\p{N}{1,3})", kMiniCpm5}, .ignore_merges = true};
    t["jais-2"] = {{kJais2}};
    for (auto name : {"poro-chat", "bloom", "gpt3-finnish"}) t[name] = {{kBloom}};
    t["viking"] = {{kBloom, kDigit}};
    t["chameleon"] = {
        .splits = {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
                   R"(([\t\n]|    |  ))", kDigit, R"([\p{P}!-/:-@\[-`{-~])", kGpt2Regex},
        .add_bos = true};
    return t;
  }();
  return names;
}

}  // namespace

std::vector<std::string_view> preTokenizerNames() {
  std::vector<std::string_view> names;
  for (const auto& [name, pre] : table()) names.push_back(name);
  return names;
}

const NamedPreTokenizer* findPreTokenizer(std::string_view name) {
  auto it = table().find(name);
  return it == table().end() ? nullptr : &it->second;
}

}  // namespace llmc
