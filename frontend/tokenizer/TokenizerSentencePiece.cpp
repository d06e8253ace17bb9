// tokenizer.model, as SentencePiece writes it.
#include <algorithm>
#include <cfloat>

#include "frontend/tokenizer/ImportTokenizer.h"
#include "frontend/tokenizer/SentencePieceModel.h"
#include "frontend/tokenizer/TableSteps.h"
#include "frontend/tokenizer/TokenizerConfig.h"
#include "frontend/tokenizer/VocabularyBuilder.h"
#include "runtime/text/utf8.h"

namespace llmc {

using llmrt::Result;
using llmrt::Status;
namespace schema = llmrt::schema;

namespace {

constexpr float kUnkPenalty = 10;

uint8_t flagsOf(int32_t type) {
  if (type == SentencePieceModel::kNormal) return kTokenInModel;
  if (type == SentencePieceModel::kUserDefined) return kTokenInModel | kTokenUserDefined;
  return 0;  // bytes are found through their ids; the others come out of no text
}

Status addPieces(const SentencePieceModel& model, VocabularyBuilder& builder) {
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    LLMRT_RETURN_IF_ERROR(builder.addToken(static_cast<int64_t>(i), model.pieces[i].text,
                                           flagsOf(model.pieces[i].type)));
  }
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    int32_t type = model.pieces[i].type;
    if (type != SentencePieceModel::kControl && type != SentencePieceModel::kUnknown) continue;
    LLMRT_RETURN_IF_ERROR(
        builder.addAdded(static_cast<int64_t>(i), model.pieces[i].text, kAddedSpecial));
  }
  return {};
}

/// A user-defined symbol's score is SentencePiece's own bonus for it, in its own precision.
void writeScores(const SentencePieceModel& model, schema::TokenizerT& table) {
  float lowest = FLT_MAX;
  float highest = FLT_MIN;
  for (const auto& piece : model.pieces) {
    if (piece.type != SentencePieceModel::kNormal) continue;
    lowest = std::min(lowest, piece.score);
    highest = std::max(highest, piece.score);
  }
  for (const auto& piece : model.pieces) {
    bool user_defined = piece.type == SentencePieceModel::kUserDefined;
    table.scores.push_back(user_defined ? static_cast<float>(piece.text.size()) * highest - 0.1
                                        : piece.score);
  }
  table.unk_score = lowest == FLT_MAX ? -kUnkPenalty : lowest - kUnkPenalty;
  table.single_precision = true;
}

}  // namespace

Result<TokenizerTable> readTokenizerSentencePiece(std::string_view file,
                                                  const TokenizerConfig& config) {
  LLMRT_ASSIGN_OR_RETURN(SentencePieceModel model, SentencePieceModel::parse(file));
  auto table = std::make_unique<schema::TokenizerT>();
  VocabularyBuilder builder(false);
  LLMRT_RETURN_IF_ERROR(addPieces(model, builder));
  bool bpe = model.model_type == SentencePieceModel::kBpe;
  if (bpe) {
    std::vector<double> scores;
    for (const auto& piece : model.pieces) scores.push_back(piece.score);
    LLMRT_RETURN_IF_ERROR(builder.addScoredMerges(scores));
  }
  LLMRT_RETURN_IF_ERROR(config.addTokens(builder));
  builder.write(model.byte_fallback, *table);
  if (!bpe) {
    table->kind = schema::TokenizerKind::unigram;
    writeScores(model, *table);
    table->scores.resize(table->token_flags.size());
  }
  table->fuse_unk = true;
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    if (model.pieces[i].type == SentencePieceModel::kUnknown) {
      table->unk_id = static_cast<int32_t>(i);
    }
  }

  const SentencePieceModel::Normalizer& spec = model.normalizer;
  schema::NormalizerStepT& step = addNormalizer(*table, schema::NormalizerKind::sentencepiece);
  step.data.assign(spec.charsmap.begin(), spec.charsmap.end());
  step.add_dummy_prefix = spec.add_dummy_prefix;
  step.remove_extra_whitespaces = spec.remove_extra_whitespaces;
  addSentencePieceDecoder(*table, spec.remove_extra_whitespaces ? UINT32_MAX
                                  : spec.add_dummy_prefix       ? 1
                                                                : 0);

  auto inModel = [&](int32_t id) {
    return id >= 0 && static_cast<size_t>(id) < model.pieces.size() ? id : -1;
  };
  table->bos_id = config.namedToken("bos_token", builder);
  table->eos_id = config.namedToken("eos_token", builder);
  if (table->bos_id < 0) table->bos_id = inModel(model.bos_id);
  if (table->eos_id < 0) table->eos_id = inModel(model.eos_id);
  // A model without a config is used as Llama's and Gemma's own programs do: BOS and the text. T5's
  // has no BOS and ends in EOS.
  bool t5 = config.className() == "T5Tokenizer";
  config.applyAround(!t5, t5, *table);
  return table;
}

}  // namespace llmc
