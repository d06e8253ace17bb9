// The tokenizer in a GGUF file's metadata.
// Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#include <algorithm>
#include <cctype>
#include <cmath>

#include "frontend/tokenizer/ImportTokenizer.h"
#include "frontend/tokenizer/PreTokenizerNames.h"
#include "frontend/tokenizer/TableSteps.h"
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

/// Phi-3's added tokens take the white space behind them, which the file does not say. llama.cpp
/// knows it by the model's name; other names have the architecture and Llama's vocabulary with it.
Result<bool> isPhi3(const GgufFile& file, std::string_view tokenizer_model) {
  LLMRT_ASSIGN_OR_RETURN(auto name, file.getString("general.name"));
  LLMRT_ASSIGN_OR_RETURN(auto architecture, file.getString("general.architecture"));
  std::string lower(name.value_or(""));
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower.find("phi-3") != lower.npos || lower.find("phi3") != lower.npos ||
         (architecture == "phi3" && tokenizer_model == "llama");
}

uint8_t stripOf(std::string_view token, bool phi3) {
  bool strips = phi3 && token != "<unk>" && token != "<s>" && token != "<|endoftext|>";
  return strips ? kAddedRstrip : 0;
}

Status addTokens(const GgufVocabulary& vocabulary, bool phi3, VocabularyBuilder& builder) {
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    int64_t type = vocabulary.types[i];
    // Bytes are found through their ids; control and unused tokens must not come out of merges.
    uint8_t flags = type == kNormal || type == kUserDefined ? kTokenInModel : 0;
    LLMRT_RETURN_IF_ERROR(builder.addToken(static_cast<int64_t>(i), vocabulary.tokens[i], flags));
  }
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    int64_t type = vocabulary.types[i];
    if (type != kUnknown && type != kControl && type != kUserDefined) continue;
    uint8_t flags =
        (type == kUserDefined ? 0 : kAddedSpecial) | stripOf(vocabulary.tokens[i], phi3);
    LLMRT_RETURN_IF_ERROR(builder.addAdded(static_cast<int64_t>(i), vocabulary.tokens[i], flags));
  }
  return {};
}

Result<std::vector<double>> readScores(const GgufFile& file, const GgufVocabulary& vocabulary) {
  LLMRT_ASSIGN_OR_RETURN(auto scores, file.getFloats("tokenizer.ggml.scores"));
  if (!scores || scores->size() != vocabulary.tokens.size()) {
    return llmrt::invalidData("tokenizer.ggml.scores is absent or does not fit the tokens");
  }
  if (std::any_of(scores->begin(), scores->end(), [](double s) { return !std::isfinite(s); })) {
    return llmrt::invalidData("tokenizer.ggml.scores holds what is not a finite number");
  }
  return *std::move(scores);
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

/// What SentencePiece does around its merges, spelled as tokenizer.json does for the same models.
Status sentencePiecePipeline(const GgufFile& file, bool default_prefix, schema::TokenizerT& table) {
  LLMRT_ASSIGN_OR_RETURN(auto prefix, file.getBool("tokenizer.ggml.add_space_prefix"));
  LLMRT_ASSIGN_OR_RETURN(auto squeeze, file.getBool("tokenizer.ggml.remove_extra_whitespaces"));
  if (squeeze.value_or(false)) {
    return llmrt::unsupported("tokenizer.ggml.remove_extra_whitespaces is not supported");
  }
  bool add_prefix = prefix.value_or(default_prefix);
  if (add_prefix) {
    addNormalizer(table, schema::NormalizerKind::prepend).content = std::string(kSpaceMark);
  }
  schema::NormalizerStepT& replace = addNormalizer(table, schema::NormalizerKind::replace);
  replace.pattern = std::string(1, ' ');
  replace.content = std::string(kSpaceMark);
  addSentencePieceDecoder(table, add_prefix ? 1 : 0);
  return {};
}

Status byteLevelPipeline(const NamedPreTokenizer& pre, schema::TokenizerT& table) {
  if (pre.nfc) addNormalizer(table, schema::NormalizerKind::nfc);
  for (std::string_view regex : pre.splits) LLMRT_RETURN_IF_ERROR(addSplit(table, regex));
  table.ignore_merges = pre.ignore_merges;
  addDecoder(table, schema::DecoderKind::byte_level);
  return {};
}

Status unigramPipeline(const GgufFile& file, schema::TokenizerT& table) {
  LLMRT_ASSIGN_OR_RETURN(auto prefix, file.getBool("tokenizer.ggml.add_space_prefix"));
  LLMRT_ASSIGN_OR_RETURN(auto squeeze, file.getBool("tokenizer.ggml.remove_extra_whitespaces"));
  LLMRT_ASSIGN_OR_RETURN(auto charsmap, file.getInts("tokenizer.ggml.precompiled_charsmap"));
  schema::NormalizerStepT& step = addNormalizer(table, schema::NormalizerKind::sentencepiece);
  step.add_dummy_prefix = prefix.value_or(false);
  step.remove_extra_whitespaces = squeeze.value_or(false);
  for (int64_t byte : charsmap.value_or(std::vector<int64_t>())) {
    step.data.push_back(static_cast<uint8_t>(byte));  // signed or not, the array holds bytes
  }
  addSentencePieceDecoder(table, step.add_dummy_prefix || step.remove_extra_whitespaces ? 1 : 0);
  return {};
}

void writeUnigramScores(const GgufVocabulary& vocabulary, std::vector<double> scores,
                        schema::TokenizerT& table) {
  constexpr double kUnkPenalty = 10;
  double lowest = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (vocabulary.types[i] == kNormal) lowest = std::min(lowest, scores[i]);
    if (vocabulary.types[i] == kUserDefined) scores[i] = 0;  // above all logarithms
  }
  table.scores = std::move(scores);
  table.unk_score = lowest - kUnkPenalty;
  table.kind = schema::TokenizerKind::unigram;
}

/// What tokenizer.ggml.model means where the file has no keys of its own for it.
struct GgufModel {
  std::string_view name;
  int32_t unk_id, bos_id, eos_id;
  bool add_bos, add_eos;
};
constexpr GgufModel kModels[] = {{"llama", 0, 1, 2, true, false},
                                 {"gpt2", -1, -1, -1, false, false},
                                 {"gemma4", 3, 2, 1, true, false},
                                 {"t5", 2, -1, 1, false, true}};

Result<TokenizerTable> readTable(const GgufFile& file) {
  LLMRT_ASSIGN_OR_RETURN(const bool has_tokenizer, file.hasTokenizer());
  if (!has_tokenizer) return llmrt::notFound("the file has no tokenizer (no tokenizer.ggml.model)");
  LLMRT_ASSIGN_OR_RETURN(auto name, file.getString("tokenizer.ggml.model"));
  auto model = std::find_if(std::begin(kModels), std::end(kModels),
                            [&](const GgufModel& m) { return m.name == *name; });
  if (model == std::end(kModels)) {
    return llmrt::unsupported("tokenizer.ggml.model " + quotedName(*name) +
                              " is not supported, only llama, gpt2, gemma4 and t5 are");
  }
  LLMRT_ASSIGN_OR_RETURN(auto vocabulary, readTokens(file));
  auto table = std::make_unique<schema::TokenizerT>();
  bool byte_level = model->name == "gpt2";
  VocabularyBuilder builder(byte_level);
  LLMRT_ASSIGN_OR_RETURN(bool phi3, isPhi3(file, model->name));
  LLMRT_RETURN_IF_ERROR(addTokens(vocabulary, phi3, builder));
  bool add_bos = model->add_bos;
  if (byte_level) {
    LLMRT_ASSIGN_OR_RETURN(auto pre_name, file.getString("tokenizer.ggml.pre"));
    const NamedPreTokenizer* pre = findPreTokenizer(pre_name.value_or("default"));
    if (!pre) {
      return llmrt::unsupported("tokenizer.ggml.pre " + quotedName(*pre_name) +
                                " is not supported");
    }
    add_bos = pre->add_bos;
    LLMRT_RETURN_IF_ERROR(addListedMerges(file, builder));
    LLMRT_RETURN_IF_ERROR(byteLevelPipeline(*pre, *table));
    builder.write(false, *table);
  } else if (model->name == "gemma4") {
    // SentencePiece's pieces and bytes; the merges are listed, as in tokenizer.json.
    LLMRT_RETURN_IF_ERROR(addListedMerges(file, builder));
    LLMRT_RETURN_IF_ERROR(sentencePiecePipeline(file, /*default_prefix=*/false, *table));
    builder.write(true, *table);
  } else {
    LLMRT_ASSIGN_OR_RETURN(auto scores, readScores(file, vocabulary));
    if (model->name == "llama") {
      LLMRT_RETURN_IF_ERROR(builder.addScoredMerges(scores));
      LLMRT_RETURN_IF_ERROR(sentencePiecePipeline(file, /*default_prefix=*/true, *table));
      builder.write(true, *table);
    } else {
      LLMRT_RETURN_IF_ERROR(unigramPipeline(file, *table));
      builder.write(false, *table);
      writeUnigramScores(vocabulary, std::move(scores), *table);
    }
  }

  int64_t vocab_size = builder.size();
  auto idOf = [&](const char* key, int32_t absent) {
    return readTokenId(file, key, absent, vocab_size);
  };
  LLMRT_ASSIGN_OR_RETURN(table->unk_id, idOf("tokenizer.ggml.unknown_token_id", model->unk_id));
  LLMRT_ASSIGN_OR_RETURN(table->bos_id, idOf("tokenizer.ggml.bos_token_id", model->bos_id));
  LLMRT_ASSIGN_OR_RETURN(table->eos_id, idOf("tokenizer.ggml.eos_token_id", model->eos_id));
  LLMRT_ASSIGN_OR_RETURN(auto bos_flag, file.getBool("tokenizer.ggml.add_bos_token"));
  LLMRT_ASSIGN_OR_RETURN(auto eos_flag, file.getBool("tokenizer.ggml.add_eos_token"));
  if (bos_flag.value_or(add_bos) && table->bos_id >= 0) {
    table->prefix_ids.push_back(static_cast<uint32_t>(table->bos_id));
  }
  if (eos_flag.value_or(model->add_eos) && table->eos_id >= 0) {
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
