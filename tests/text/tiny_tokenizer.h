// Tokenizers small enough to be read in a test.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "runtime/schema/tokenizer_generated.h"
#include "runtime/text/tokenizer.h"

namespace llmrt::testing {

/// Appends a token that merges may produce and returns its id.
inline uint32_t addPiece(schema::TokenizerT& table, std::string_view piece, uint8_t flags = 2) {
  if (table.piece_offsets.empty()) table.piece_offsets.push_back(0);
  table.pieces.insert(table.pieces.end(), piece.begin(), piece.end());
  table.piece_offsets.push_back(static_cast<uint32_t>(table.pieces.size()));
  table.token_flags.push_back(flags);
  return static_cast<uint32_t>(table.token_flags.size() - 1);
}

inline uint32_t addMerge(schema::TokenizerT& table, uint32_t left, uint32_t right,
                         std::string_view piece) {
  uint32_t result = addPiece(table, piece);
  table.merge_left.push_back(left);
  table.merge_right.push_back(right);
  table.merge_result.push_back(result);
  return result;
}

inline uint32_t addAdded(schema::TokenizerT& table, std::string_view content, uint8_t flags) {
  if (table.added_offsets.empty()) table.added_offsets.push_back(0);
  uint32_t id = addPiece(table, content, flags & 1);
  table.added_ids.push_back(id);
  table.added_contents.insert(table.added_contents.end(), content.begin(), content.end());
  table.added_offsets.push_back(static_cast<uint32_t>(table.added_contents.size()));
  table.added_flags.push_back(flags);
  return id;
}

/// All 256 bytes as tokens 0-255, pieces are bytes, no merges.
inline schema::TokenizerT byteTable() {
  schema::TokenizerT table;
  table.kind = schema::TokenizerKind::byte_level_bpe;
  for (int b = 0; b < 256; ++b) {
    char c = static_cast<char>(b);
    table.byte_ids.push_back(static_cast<int32_t>(addPiece(table, {&c, 1})));
  }
  auto step = std::make_unique<schema::DecoderStepT>();
  step->kind = schema::DecoderKind::byte_level;
  table.decoder.push_back(std::move(step));
  return table;
}

/// Llama 2 in small: "<0x00>" to "<0xFF>" are tokens 0-255, then U+2581 and a to e; decoded as
/// Llama 2 is.
inline schema::TokenizerT sentencePieceTable() {
  schema::TokenizerT table;
  table.kind = schema::TokenizerKind::sentencepiece_bpe;
  constexpr char kHex[] = "0123456789ABCDEF";
  for (size_t b = 0; b < 256; ++b) {
    std::string piece = {'<', '0', 'x', kHex[b >> 4], kHex[b & 15], '>'};
    table.byte_ids.push_back(static_cast<int32_t>(addPiece(table, piece, 0)));
  }
  for (const char* piece : {"\u2581", "a", "b", "c", "d", "e"}) addPiece(table, piece);
  auto normalize = [&](schema::NormalizerKind kind, const char* pattern, const char* content) {
    auto step = std::make_unique<schema::NormalizerStepT>();
    step->kind = kind;
    step->pattern = pattern;
    step->content = content;
    table.normalizer.push_back(std::move(step));
  };
  normalize(schema::NormalizerKind::prepend, "", "\u2581");
  normalize(schema::NormalizerKind::replace, " ", "\u2581");
  auto decode = [&](schema::DecoderKind kind, const char* pattern, const char* content,
                    uint32_t start) {
    auto step = std::make_unique<schema::DecoderStepT>();
    step->kind = kind;
    step->pattern = pattern;
    step->content = content;
    step->start = start;
    table.decoder.push_back(std::move(step));
  };
  decode(schema::DecoderKind::replace, "\u2581", " ", 0);
  decode(schema::DecoderKind::byte_fallback, "", "", 0);
  decode(schema::DecoderKind::fuse, "", "", 0);
  decode(schema::DecoderKind::strip, "", " ", 1);
  return table;
}

inline Result<Tokenizer> tryBuild(const schema::TokenizerT& table) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(schema::Tokenizer::Pack(builder, &table));
  return Tokenizer::create(flatbuffers::GetRoot<schema::Tokenizer>(builder.GetBufferPointer()));
}

inline Tokenizer build(const schema::TokenizerT& table) {
  auto tokenizer = tryBuild(table);
  if (!tokenizer.ok()) {
    ADD_FAILURE() << tokenizer.status().message();
    abort();
  }
  return *std::move(tokenizer);
}

inline std::vector<int32_t> ids(const Tokenizer& tokenizer, std::string_view text,
                                EncodeOptions options = {}) {
  auto result = tokenizer.encode(text, options);
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? *result : std::vector<int32_t>();
}

/// The tokens of `text`, spelled, with | between them.
inline std::string pieces(const Tokenizer& tokenizer, std::string_view text,
                          EncodeOptions options = {}) {
  std::string out;
  for (int32_t id : ids(tokenizer, text, options)) {
    if (!out.empty()) out += '|';
    out += tokenizer.piece(id);
  }
  return out;
}

/// Streams `ids`; checks that every output ends between characters; returns them joined.
inline std::string stream(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                          bool skip_special = true) {
  StreamDecoder decoder(tokenizer, skip_special);
  std::string out;
  for (int32_t id : ids) {
    out += decoder.push(id);
    EXPECT_TRUE(out.empty() || (static_cast<unsigned char>(out.back()) & 0xc0) != 0xc0);
  }
  return out + decoder.finish();
}

}  // namespace llmrt::testing
