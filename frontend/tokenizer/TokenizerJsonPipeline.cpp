#include "frontend/tokenizer/TokenizerJsonPipeline.h"

#include <nlohmann/json.hpp>

#include "frontend/tokenizer/Base64.h"
#include "frontend/tokenizer/OnigurumaRegex.h"
#include "frontend/tokenizer/PreTokenizerNames.h"
#include "frontend/tokenizer/TokenizerConfig.h"
#include "runtime/io/printable.h"
#include "runtime/schema/tokenizer_generated.h"

namespace llmc {

using llmrt::quotedName;
using llmrt::Result;
using llmrt::Status;
using nlohmann::json;
namespace schema = llmrt::schema;

namespace {

#include "frontend/tokenizer/PreTokenizerTables.inc"

Status unknownType(const char* field, const std::string& type) {
  return llmrt::unsupported(std::string(field) + " of type " + quotedName(type) +
                            " is not supported");
}

/// Runs `read` on `node`, or on each element of the list a Sequence holds. The JSON reader bounds
/// the depth.
template <typename Read>
Status forEachStep(const json& node, const char* list, const Read& read) {
  if (node.is_null()) return {};
  if (stringMember(node, "type") != "Sequence") return read(node, stringMember(node, "type"));
  const json& steps = member(node, list);
  if (!steps.is_array()) return llmrt::invalidData(std::string("Sequence without ") + list);
  for (const json& step : steps) LLMRT_RETURN_IF_ERROR(forEachStep(step, list, read));
  return {};
}

/// A pattern member: {"String": text} or {"Regex": expression}.
struct Pattern {
  std::string text;  // of a regex: in PCRE2's syntax
  bool regex = false;
};

Result<Pattern> readPattern(const json& step) {
  const json& pattern = member(step, "pattern");
  if (const json& text = member(pattern, "String"); text.is_string()) {
    return Pattern{text.get<std::string>(), false};
  }
  if (const json& text = member(pattern, "Regex"); text.is_string()) {
    LLMRT_ASSIGN_OR_RETURN(auto translated, pcreFromOniguruma(text.get_ref<const std::string&>()));
    return Pattern{std::move(translated), true};
  }
  return llmrt::invalidData("pattern is neither String nor Regex");
}

Result<schema::SplitBehavior> readBehavior(const std::string& name) {
  using schema::SplitBehavior;
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  return llmrt::unsupported("split behavior " + quotedName(name) + " is not supported");
}

Result<schema::PrependScheme> readPrependScheme(const json& step) {
  const json& scheme = member(step, "prepend_scheme");
  if (scheme.is_null()) {  // older files say add_prefix_space
    return boolMember(step, "add_prefix_space", true) ? schema::PrependScheme::always
                                                      : schema::PrependScheme::never;
  }
  std::string name = stringMember(step, "prepend_scheme");
  if (name == "always") return schema::PrependScheme::always;
  if (name == "first") return schema::PrependScheme::first;
  if (name == "never") return schema::PrependScheme::never;
  return llmrt::unsupported("prepend_scheme " + quotedName(name) + " is not supported");
}

void addSplit(schema::TokenizerT& table, std::string pattern, schema::SplitBehavior behavior,
              bool on_alphabet, bool invert = false) {
  auto own = std::make_unique<schema::PreTokenizerStepT>();
  own->kind = schema::PreTokenizerKind::split;
  own->pattern = std::move(pattern);
  own->behavior = behavior;
  own->invert = invert;
  own->on_alphabet = on_alphabet;
  table.pre_tokenizer.push_back(std::move(own));
}

Status readPreTokenizerStep(const json& step, const std::string& type,
                            std::optional<bool> prefix_space, schema::TokenizerT& table,
                            bool& byte_level) {
  using schema::SplitBehavior;
  if (type == "ByteLevel") {
    if (byte_level) return llmrt::unsupported("two ByteLevel pre-tokenizers are not supported");
    if (prefix_space.value_or(boolMember(step, "add_prefix_space", true))) {
      auto own = std::make_unique<schema::PreTokenizerStepT>();
      own->kind = schema::PreTokenizerKind::prefix_space;
      table.pre_tokenizer.push_back(std::move(own));
    }
    if (boolMember(step, "use_regex", true)) {
      LLMRT_ASSIGN_OR_RETURN(auto pattern, pcreFromOniguruma(kGpt2Regex));
      addSplit(table, std::move(pattern), SplitBehavior::isolated, false);
    }
    byte_level = true;
    return {};
  }
  // A step after ByteLevel sees the text in the byte alphabet.
  if (type == "Split") {
    LLMRT_ASSIGN_OR_RETURN(auto pattern, readPattern(step));
    LLMRT_ASSIGN_OR_RETURN(auto behavior, readBehavior(stringMember(step, "behavior")));
    addSplit(table, pattern.regex ? std::move(pattern.text) : escapeRegex(pattern.text), behavior,
             byte_level, boolMember(step, "invert", false));
    return {};
  }
  if (type == "Digits") {
    addSplit(table, "[\\p{N}" + std::string(kNewestNumbers) + "]",
             boolMember(step, "individual_digits", false) ? SplitBehavior::isolated
                                                          : SplitBehavior::contiguous,
             byte_level);
    return {};
  }
  if (type == "Punctuation") {
    std::string name = stringMember(step, "behavior");
    LLMRT_ASSIGN_OR_RETURN(auto behavior, readBehavior(name.empty() ? "Isolated" : name));
    // Looked back at, so that only what is punctuation pays for the younger ones.
    addSplit(table,
             "[\\p{P}$+<=>^`|~" + std::string(kOnlyPunctuation) + "](?<![" +
                 std::string(kNotPunctuation) + "])",
             behavior, byte_level);
    return {};
  }
  if (type == "WhitespaceSplit") {
    addSplit(table, "\\p{White_Space}", SplitBehavior::removed, byte_level);
    return {};
  }
  if (type == "Whitespace") {
    // This one is of Rust's regex library, whose \w is Unicode's own.
    constexpr std::string_view kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}";
    std::string word(kWord);
    addSplit(table, "[" + word + "]+|[^" + word + "\\p{White_Space}]+", SplitBehavior::removed,
             byte_level, true);
    return {};
  }
  if (type == "Metaspace" && !byte_level) {
    auto own = std::make_unique<schema::PreTokenizerStepT>();
    own->kind = schema::PreTokenizerKind::metaspace;
    own->content = stringMember(step, "replacement");
    LLMRT_ASSIGN_OR_RETURN(own->prepend_scheme, readPrependScheme(step));
    own->split_words = boolMember(step, "split", true);
    table.pre_tokenizer.push_back(std::move(own));
    return {};
  }
  return unknownType("pre_tokenizer", type);
}

/// "SpecialToken" entries of a TemplateProcessing's `single`, before and after the text.
Status readTemplate(const json& step, schema::TokenizerT& table) {
  const json& single = member(step, "single");
  if (!single.is_array()) return llmrt::invalidData("post_processor: single is not a list");
  bool after_text = false;
  for (const json& part : single) {
    if (!member(part, "Sequence").is_null()) {
      if (after_text) return llmrt::unsupported("post_processor: single has the text twice");
      after_text = true;
      continue;
    }
    std::string name = stringMember(member(part, "SpecialToken"), "id");
    const json& ids = member(member(member(step, "special_tokens"), name.c_str()), "ids");
    if (!ids.is_array()) {
      return llmrt::invalidData("post_processor: special token " + quotedName(name) +
                                " has no ids");
    }
    for (const json& id : ids) {
      if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX) {
        return llmrt::invalidData("post_processor: id of " + quotedName(name) + " is out of range");
      }
      (after_text ? table.suffix_ids : table.prefix_ids).push_back(id.get<uint32_t>());
    }
  }
  return {};
}

}  // namespace

Status readNormalizer(const json& root, schema::TokenizerT& table) {
  return forEachStep(
      member(root, "normalizer"), "normalizers",
      [&](const json& step, const std::string& type) -> Status {
        auto own = std::make_unique<schema::NormalizerStepT>();
        if (type == "NFC") {
          own->kind = schema::NormalizerKind::nfc;
        } else if (type == "NFD") {
          own->kind = schema::NormalizerKind::nfd;
        } else if (type == "NFKC") {
          own->kind = schema::NormalizerKind::nfkc;
        } else if (type == "NFKD") {
          own->kind = schema::NormalizerKind::nfkd;
        } else if (type == "Prepend") {
          own->kind = schema::NormalizerKind::prepend;
          own->content = stringMember(step, "prepend");
        } else if (type == "Replace") {
          LLMRT_ASSIGN_OR_RETURN(auto pattern, readPattern(step));
          own->kind = pattern.regex ? schema::NormalizerKind::replace_regex
                                    : schema::NormalizerKind::replace;
          own->pattern = std::move(pattern.text);
          own->content = stringMember(step, "content");
        } else if (type == "Lowercase") {
          own->kind = schema::NormalizerKind::lowercase;
        } else if (type == "Strip") {
          own->kind = schema::NormalizerKind::strip;
          own->strip_left = boolMember(step, "strip_left", true);
          own->strip_right = boolMember(step, "strip_right", true);
        } else if (type == "StripAccents") {
          own->kind = schema::NormalizerKind::strip_accents;
        } else if (type == "Nmt") {
          own->kind = schema::NormalizerKind::nmt;
        } else if (type == "Precompiled") {
          own->kind = schema::NormalizerKind::charsmap;
          auto data = decodeBase64(stringMember(step, "precompiled_charsmap"));
          if (!data || data->empty()) {
            return llmrt::invalidData("normalizer: precompiled_charsmap is not Base64");
          }
          own->data.assign(data->begin(), data->end());
        } else {
          return unknownType("normalizer", type);
        }
        table.normalizer.push_back(std::move(own));
        return {};
      });
}

Status readPreTokenizer(const json& root, std::optional<bool> prefix_space,
                        schema::TokenizerT& table, bool& byte_level) {
  byte_level = false;
  return forEachStep(member(root, "pre_tokenizer"), "pretokenizers",
                     [&](const json& step, const std::string& type) {
                       return readPreTokenizerStep(step, type, prefix_space, table, byte_level);
                     });
}

Status readDecoder(const json& root, schema::TokenizerT& table) {
  return forEachStep(
      member(root, "decoder"), "decoders",
      [&](const json& step, const std::string& type) -> Status {
        auto own = std::make_unique<schema::DecoderStepT>();
        if (type == "ByteLevel") {
          own->kind = schema::DecoderKind::byte_level;
        } else if (type == "ByteFallback") {
          own->kind = schema::DecoderKind::byte_fallback;
        } else if (type == "Fuse") {
          own->kind = schema::DecoderKind::fuse;
        } else if (type == "Replace") {
          LLMRT_ASSIGN_OR_RETURN(auto pattern, readPattern(step));
          if (pattern.regex)
            return llmrt::unsupported("decoder: Replace by Regex is not supported");
          own->kind = schema::DecoderKind::replace;
          own->pattern = std::move(pattern.text);
          own->content = stringMember(step, "content");
        } else if (type == "Strip") {
          const json& start = member(step, "start");
          const json& stop = member(step, "stop");
          if (!start.is_number_unsigned() || start.get<uint64_t>() > INT32_MAX || stop != 0) {
            return llmrt::unsupported("decoder: Strip with this start or stop is not supported");
          }
          own->kind = schema::DecoderKind::strip;
          own->content = stringMember(step, "content");
          own->start = start.get<uint32_t>();
        } else if (type == "Metaspace") {
          own->kind = schema::DecoderKind::metaspace;
          own->content = stringMember(step, "replacement");
          LLMRT_ASSIGN_OR_RETURN(auto scheme, readPrependScheme(step));
          own->strip_first = scheme != schema::PrependScheme::never;
        } else {
          return unknownType("decoder", type);
        }
        table.decoder.push_back(std::move(own));
        return {};
      });
}

Status readPostProcessor(const json& root, schema::TokenizerT& table) {
  return forEachStep(member(root, "post_processor"), "processors",
                     [&](const json& step, const std::string& type) -> Status {
                       if (type == "ByteLevel") return {};  // it only corrects offsets
                       if (type == "TemplateProcessing") return readTemplate(step, table);
                       return unknownType("post_processor", type);
                     });
}

}  // namespace llmc
