// The tokenizer in a GGUF file's metadata.
// Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#include <algorithm>
#include <cmath>

#include "frontend/tokenizer/ImportTokenizer.h"
#include "frontend/tokenizer/OnigurumaRegex.h"
#include "frontend/tokenizer/PreTokenizerNames.h"
#include "frontend/tokenizer/VocabularyBuilder.h"
#include "runtime/io/gguf.h"
#include "runtime/io/printable.h"
#include "runtime/schema/tokenizer_generated.h"
#include "runtime/text/utf8.h"

namespace llmc {

using llmrt::GgufFile;
using llmrt::quotedName;
using llmrt::Result;
using llmrt::Status;
namespace schema = llmrt::schema;

namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

/// tokenizer.ggml.token_type
enum TokenType : int64_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

struct GgufVocabulary {
  std::vector<std::string_view> tokens;
  std::vector<int64_t> types;  // [tokens]
};

Result<GgufVocabulary> readTokens(const GgufFile& file) {
  GgufVocabulary vocabulary;
  LLMRT_ASSIGN_OR_RETURN(auto tokens, file.getStrings("tokenizer.ggml.tokens"));
  if (!tokens || tokens->empty())
    return llmrt::invalidData("tokenizer.ggml.tokens is absent or empty");
  vocabulary.tokens = *std::move(tokens);
  LLMRT_ASSIGN_OR_RETURN(auto types, file.getInts("tokenizer.ggml.token_type"));
  vocabulary.types =
      types ? *std::move(types) : std::vector<int64_t>(vocabulary.tokens.size(), kNormal);
  if (vocabulary.types.size() != vocabulary.tokens.size()) {
    return llmrt::invalidData("tokenizer.ggml.token_type and tokens differ in length");
  }
  for (std::string_view token : vocabulary.tokens) {
    if (!llmrt::isValidUtf8(token)) {
      return llmrt::invalidData("tokenizer.ggml.tokens: " + quotedName(token) + " is not UTF-8");
    }
  }
  return vocabulary;
}

Status addTokens(const GgufVocabulary& vocabulary, VocabularyBuilder& builder) {
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    int64_t type = vocabulary.types[i];
    // Bytes are found through their ids; control and unused tokens must not come out of merges.
    bool in_model = type == kNormal || type == kUserDefined;
    LLMRT_RETURN_IF_ERROR(
        builder.addToken(static_cast<int64_t>(i), vocabulary.tokens[i], in_model));
  }
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    int64_t type = vocabulary.types[i];
    if (type != kUnknown && type != kControl && type != kUserDefined) continue;
    uint8_t flags = type == kUserDefined ? 0 : kAddedSpecial;
    LLMRT_RETURN_IF_ERROR(builder.addAdded(static_cast<int64_t>(i), vocabulary.tokens[i], flags));
  }
  return {};
}

/// SentencePiece merges whatever two neighbours make a token, the token of the highest score first:
/// each way to cut a token in two tokens is a merge, and tokens of one score share a rank.
Status addScoredMerges(const GgufFile& file, const GgufVocabulary& vocabulary,
                       VocabularyBuilder& builder) {
  LLMRT_ASSIGN_OR_RETURN(auto scores, file.getFloats("tokenizer.ggml.scores"));
  if (!scores || scores->size() != vocabulary.tokens.size()) {
    return llmrt::invalidData("tokenizer.ggml.scores is absent or does not fit the tokens");
  }
  std::vector<uint32_t> order;
  for (size_t i = 0; i < scores->size(); ++i) {
    if (std::isnan((*scores)[i])) return llmrt::invalidData("tokenizer.ggml.scores holds NaN");
    if (builder.find(vocabulary.tokens[i]) == static_cast<int64_t>(i)) {
      order.push_back(static_cast<uint32_t>(i));
    }
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return (*scores)[a] > (*scores)[b]; });
  uint32_t rank = 0;
  for (size_t n = 0; n < order.size(); ++n) {
    if (n > 0 && (*scores)[order[n]] != (*scores)[order[n - 1]]) ++rank;
    std::string_view token = vocabulary.tokens[order[n]];
    // The longest token bounds the work; a file whose tokens are pages of text is not a vocabulary.
    if (token.size() > 4096)
      return llmrt::invalidData("tokenizer.ggml.tokens: a token is over 4096 bytes");
    for (size_t cut = 1; cut < token.size(); ++cut) {
      int32_t left = builder.find(token.substr(0, cut));
      if (left < 0) continue;
      int32_t right = builder.find(token.substr(cut));
      if (right < 0) continue;
      builder.addRankedMerge(static_cast<uint32_t>(left), static_cast<uint32_t>(right), order[n],
                             rank);
    }
  }
  return {};
}

Status addListedMerges(const GgufFile& file, VocabularyBuilder& builder) {
  LLMRT_ASSIGN_OR_RETURN(auto merges, file.getStrings("tokenizer.ggml.merges"));
  if (!merges) return llmrt::invalidData("tokenizer.ggml.merges is absent");
  for (std::string_view merge : *merges) {
    size_t space = merge.find(' ', 1);
    if (space == merge.npos)
      return llmrt::invalidData("tokenizer.ggml.merges: no space in " + quotedName(merge));
    LLMRT_RETURN_IF_ERROR(builder.addMerge(merge.substr(0, space), merge.substr(space + 1)));
  }
  return {};
}

/// A token id in the metadata; -1 where absent or "none" (4294967295).
Result<int32_t> readTokenId(const GgufFile& file, const std::string& key, int32_t absent,
                            int64_t vocab_size) {
  LLMRT_ASSIGN_OR_RETURN(auto id, file.getInt(key));
  if (!id) return absent < vocab_size ? absent : -1;
  if (*id == UINT32_MAX || *id == -1) return -1;
  if (*id < 0 || *id >= vocab_size) {
    return llmrt::invalidData(key + " " + std::to_string(*id) + " is not a token");
  }
  return static_cast<int32_t>(*id);
}

void addNormalizer(schema::TokenizerT& table, schema::NormalizerKind kind, std::string_view pattern,
                   std::string_view content) {
  auto step = std::make_unique<schema::NormalizerStepT>();
  step->kind = kind;
  step->pattern = pattern;
  step->content = content;
  table.normalizer.push_back(std::move(step));
}

schema::DecoderStepT& addDecoder(schema::TokenizerT& table, schema::DecoderKind kind) {
  table.decoder.push_back(std::make_unique<schema::DecoderStepT>());
  table.decoder.back()->kind = kind;
  return *table.decoder.back();
}

/// What SentencePiece does around its merges, spelled as tokenizer.json does for the same models.
Status sentencePiecePipeline(const GgufFile& file, schema::TokenizerT& table) {
  LLMRT_ASSIGN_OR_RETURN(auto prefix, file.getBool("tokenizer.ggml.add_space_prefix"));
  LLMRT_ASSIGN_OR_RETURN(auto squeeze, file.getBool("tokenizer.ggml.remove_extra_whitespaces"));
  if (squeeze.value_or(false)) {
    return llmrt::unsupported("tokenizer.ggml.remove_extra_whitespaces is not supported");
  }
  bool add_prefix = prefix.value_or(true);
  if (add_prefix) addNormalizer(table, schema::NormalizerKind::prepend, "", kSpaceMark);
  addNormalizer(table, schema::NormalizerKind::replace, " ", kSpaceMark);
  schema::DecoderStepT& replace = addDecoder(table, schema::DecoderKind::replace);
  replace.pattern = kSpaceMark;
  replace.content = " ";
  addDecoder(table, schema::DecoderKind::byte_fallback);
  addDecoder(table, schema::DecoderKind::fuse);
  if (add_prefix) {
    schema::DecoderStepT& strip = addDecoder(table, schema::DecoderKind::strip);
    strip.content = " ";
    strip.start = 1;
  }
  return {};
}

Status byteLevelPipeline(const NamedPreTokenizer& pre, schema::TokenizerT& table) {
  if (pre.nfc) addNormalizer(table, schema::NormalizerKind::nfc, "", "");
  for (std::string_view regex : pre.splits) {
    auto step = std::make_unique<schema::PreTokenizerStepT>();
    step->kind = schema::PreTokenizerKind::split;
    step->behavior = schema::SplitBehavior::isolated;
    LLMRT_ASSIGN_OR_RETURN(step->pattern, pcreFromOniguruma(regex));
    table.pre_tokenizer.push_back(std::move(step));
  }
  table.ignore_merges = pre.ignore_merges;
  addDecoder(table, schema::DecoderKind::byte_level);
  return {};
}

Result<TokenizerTable> readTable(const GgufFile& file) {
  LLMRT_ASSIGN_OR_RETURN(auto model, file.getString("tokenizer.ggml.model"));
  if (!model) return llmrt::notFound("the file has no tokenizer (no tokenizer.ggml.model)");
  bool sentencepiece = *model == "llama";
  if (!sentencepiece && *model != "gpt2") {
    return llmrt::unsupported("tokenizer.ggml.model " + quotedName(*model) +
                              " is not supported, only llama and gpt2 are");
  }
  LLMRT_ASSIGN_OR_RETURN(auto vocabulary, readTokens(file));
  auto table = std::make_unique<schema::TokenizerT>();
  VocabularyBuilder builder(!sentencepiece);
  LLMRT_RETURN_IF_ERROR(addTokens(vocabulary, builder));
  bool add_bos = sentencepiece;
  if (sentencepiece) {
    LLMRT_RETURN_IF_ERROR(addScoredMerges(file, vocabulary, builder));
    LLMRT_RETURN_IF_ERROR(sentencePiecePipeline(file, *table));
  } else {
    LLMRT_ASSIGN_OR_RETURN(auto name, file.getString("tokenizer.ggml.pre"));
    const NamedPreTokenizer* pre = findPreTokenizer(name.value_or("default"));
    if (!pre)
      return llmrt::unsupported("tokenizer.ggml.pre " + quotedName(*name) + " is not supported");
    add_bos = pre->add_bos;
    LLMRT_RETURN_IF_ERROR(addListedMerges(file, builder));
    LLMRT_RETURN_IF_ERROR(byteLevelPipeline(*pre, *table));
  }
  builder.write(sentencepiece, *table);

  // SentencePiece files without these keys mean SentencePiece's own defaults.
  int64_t vocab_size = builder.size();
  auto idOf = [&](const char* key, int32_t default_id) {
    return readTokenId(file, key, sentencepiece ? default_id : -1, vocab_size);
  };
  LLMRT_ASSIGN_OR_RETURN(table->unk_id, idOf("tokenizer.ggml.unknown_token_id", 0));
  LLMRT_ASSIGN_OR_RETURN(table->bos_id, idOf("tokenizer.ggml.bos_token_id", 1));
  LLMRT_ASSIGN_OR_RETURN(table->eos_id, idOf("tokenizer.ggml.eos_token_id", 2));
  LLMRT_ASSIGN_OR_RETURN(auto bos_flag, file.getBool("tokenizer.ggml.add_bos_token"));
  LLMRT_ASSIGN_OR_RETURN(auto eos_flag, file.getBool("tokenizer.ggml.add_eos_token"));
  if (bos_flag.value_or(add_bos) && table->bos_id >= 0) {
    table->prefix_ids.push_back(static_cast<uint32_t>(table->bos_id));
  }
  if (eos_flag.value_or(false) && table->eos_id >= 0) {
    table->suffix_ids.push_back(static_cast<uint32_t>(table->eos_id));
  }
  return table;
}

}  // namespace

Result<TokenizerTable> readTokenizerGguf(const GgufFile& file) {
  auto table = readTable(file);
  if (!table.ok()) return std::move(table).status().withContext(file.path());
  return table;
}

}  // namespace llmc
