// Steps of a tokenizer's pipeline, appended to the schema's table.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/io/status.h"
#include "runtime/schema/tokenizer_generated.h"

namespace llmc {

llmrt::schema::NormalizerStepT& addNormalizer(llmrt::schema::TokenizerT& table,
                                              llmrt::schema::NormalizerKind kind);
llmrt::schema::DecoderStepT& addDecoder(llmrt::schema::TokenizerT& table,
                                        llmrt::schema::DecoderKind kind);

/// A split at `oniguruma`, its matches isolated.
llmrt::Status addSplit(llmrt::schema::TokenizerT& table, std::string_view oniguruma);

/// U+2581 to spaces, byte tokens to text, and at most `strip` spaces off the beginning.
void addSentencePieceDecoder(llmrt::schema::TokenizerT& table, uint32_t strip);

inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

}  // namespace llmc
