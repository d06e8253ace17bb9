#include "frontend/tokenizer/TokenizerJsonOverrides.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "frontend/tokenizer/TableSteps.h"

namespace llmc {

using nlohmann::json;

namespace {

bool isOneOf(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

std::optional<bool> prefixSpace(const json& root, const TokenizerConfig& config) {
  std::string type = stringMember(member(root, "pre_tokenizer"), "type");
  std::string name = config.className();
  bool wanted = config.flag("add_prefix_space", false);
  if (type == "Sequence") {  // whose parts are left alone, but by two classes
    bool reaches = wanted && isOneOf(name, {"CohereTokenizer", "BloomTokenizer"});
    return reaches ? std::optional(true) : std::nullopt;
  }
  bool own = isOneOf(name, {"GPT2Tokenizer", "CodeGenTokenizer", "GPTNeoXTokenizer",
                            "Qwen2Tokenizer", "CohereTokenizer"});
  return own || config.has("add_prefix_space") ? std::optional(wanted) : std::nullopt;
}

void overrideLlama(const TokenizerConfig& config, llmrt::schema::TokenizerT& table) {
  using namespace llmrt::schema;
  auto isStrip = [](const auto& step) { return step->kind == DecoderKind::strip; };
  auto isBytes = [](const auto& step) { return step->kind == DecoderKind::byte_level; };
  if (config.className() != "LlamaTokenizer" || !config.has("add_prefix_space") ||
      std::ranges::any_of(table.decoder, isBytes)) {
    return;
  }
  bool wanted = config.flag("add_prefix_space", true);
  bool prefixed = std::ranges::any_of(table.decoder, isStrip);
  // Saying nothing of legacy is "yes" to version 4 and "no" to 5.
  if (wanted && prefixed && !config.has("legacy")) return;
  auto metaspace = std::make_unique<PreTokenizerStepT>();
  metaspace->kind = PreTokenizerKind::metaspace;
  metaspace->content = std::string(kSpaceMark);
  metaspace->prepend_scheme = !wanted                        ? PrependScheme::never
                              : config.flag("legacy", false) ? PrependScheme::always
                                                             : PrependScheme::first;
  table.normalizer.clear();
  table.pre_tokenizer.clear();
  table.pre_tokenizer.push_back(std::move(metaspace));
  table.decoder.clear();
  addSentencePieceDecoder(table, wanted ? 1 : 0);
}

void overrideAround(const TokenizerConfig& config, const VocabularyBuilder& builder,
                    llmrt::schema::TokenizerT& table) {
  table.bos_id = config.namedToken("bos_token", builder);
  table.eos_id = config.namedToken("eos_token", builder);
  std::string name = config.className();
  bool said = config.has("add_bos_token") || config.has("add_eos_token");
  if (said && isOneOf(name, {"LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer",
                             "CohereTokenizer"})) {
    config.applyAround(true, false, table);
  }
  if (name == "GPTNeoXTokenizer") config.applyAround(false, false, table);
}

}  // namespace llmc
