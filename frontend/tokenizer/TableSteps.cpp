#include "frontend/tokenizer/TableSteps.h"

#include <memory>

#include "frontend/tokenizer/OnigurumaRegex.h"

namespace llmc {

namespace schema = llmrt::schema;

schema::NormalizerStepT& addNormalizer(schema::TokenizerT& table, schema::NormalizerKind kind) {
  table.normalizer.push_back(std::make_unique<schema::NormalizerStepT>());
  table.normalizer.back()->kind = kind;
  return *table.normalizer.back();
}

schema::DecoderStepT& addDecoder(schema::TokenizerT& table, schema::DecoderKind kind) {
  table.decoder.push_back(std::make_unique<schema::DecoderStepT>());
  table.decoder.back()->kind = kind;
  return *table.decoder.back();
}

llmrt::Status addSplit(schema::TokenizerT& table, std::string_view oniguruma) {
  auto step = std::make_unique<schema::PreTokenizerStepT>();
  step->kind = schema::PreTokenizerKind::split;
  step->behavior = schema::SplitBehavior::isolated;
  LLMRT_ASSIGN_OR_RETURN(step->pattern, pcreFromOniguruma(oniguruma));
  table.pre_tokenizer.push_back(std::move(step));
  return {};
}

void addSentencePieceDecoder(schema::TokenizerT& table, uint32_t strip) {
  schema::DecoderStepT& replace = addDecoder(table, schema::DecoderKind::replace);
  replace.pattern = std::string(kSpaceMark);
  replace.content = std::string(1, ' ');  // g++ 12 warns of a plain literal
  addDecoder(table, schema::DecoderKind::byte_fallback);
  addDecoder(table, schema::DecoderKind::fuse);
  if (strip == 0) return;
  schema::DecoderStepT& step = addDecoder(table, schema::DecoderKind::strip);
  step.content = std::string(1, ' ');
  step.start = strip;
}

}  // namespace llmc
