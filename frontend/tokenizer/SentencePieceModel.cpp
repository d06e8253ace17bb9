#include "frontend/tokenizer/SentencePieceModel.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "frontend/tokenizer/ProtoReader.h"
#include "runtime/io/printable.h"
#include "runtime/text/utf8.h"

namespace llmc {

using llmrt::Result;
using llmrt::Status;

namespace {

SentencePieceModel::Piece parsePiece(std::string_view message, bool& ok) {
  SentencePieceModel::Piece piece;
  ProtoReader in(message);
  while (in.next()) {
    if (in.field() == 1) piece.text = in.bytes();
    if (in.field() == 2) piece.score = in.float32();
    if (in.field() == 3) piece.type = in.int32();
  }
  ok = ok && in.ok();
  return piece;
}

void parseTrainerSpec(std::string_view message, SentencePieceModel& model, bool& ok) {
  ProtoReader in(message);
  while (in.next()) {
    if (in.field() == 3) model.model_type = in.int32();
    if (in.field() == 24) model.treat_whitespace_as_suffix = in.boolean();
    if (in.field() == 35) model.byte_fallback = in.boolean();
    if (in.field() == 41) model.bos_id = in.int32();
    if (in.field() == 42) model.eos_id = in.int32();
  }
  ok = ok && in.ok();
}

SentencePieceModel::Normalizer parseNormalizerSpec(std::string_view message, bool& ok) {
  SentencePieceModel::Normalizer normalizer;
  ProtoReader in(message);
  while (in.next()) {
    if (in.field() == 2) normalizer.charsmap = in.bytes();
    if (in.field() == 3) normalizer.add_dummy_prefix = in.boolean();
    if (in.field() == 4) normalizer.remove_extra_whitespaces = in.boolean();
    if (in.field() == 5) normalizer.escape_whitespaces = in.boolean();
  }
  ok = ok && in.ok();
  return normalizer;
}

Status check(const SentencePieceModel& model) {
  if (model.pieces.empty()) return llmrt::invalidData("has no pieces: not a SentencePiece model");
  for (const auto& piece : model.pieces) {
    if (piece.text.empty() || !llmrt::isValidUtf8(piece.text) || !std::isfinite(piece.score)) {
      return llmrt::invalidData("piece " + llmrt::quotedName(piece.text) +
                                " is empty, not UTF-8 or without a finite score");
    }
    if (piece.type < SentencePieceModel::kNormal || piece.type > SentencePieceModel::kByte) {
      return llmrt::unsupported("piece " + llmrt::quotedName(piece.text) + " of type " +
                                std::to_string(piece.type) + " is not supported");
    }
  }
  auto unknowns = std::count_if(model.pieces.begin(), model.pieces.end(), [](const auto& piece) {
    return piece.type == SentencePieceModel::kUnknown;
  });
  if (unknowns != 1) {
    return llmrt::invalidData("has " + std::to_string(unknowns) + " unknown pieces instead of one");
  }
  if (model.model_type != SentencePieceModel::kUnigram &&
      model.model_type != SentencePieceModel::kBpe) {
    return llmrt::unsupported("trainer_spec.model_type " + std::to_string(model.model_type) +
                              " is not supported, only UNIGRAM (1) and BPE (2) are");
  }
  if (model.treat_whitespace_as_suffix) {
    return llmrt::unsupported("trainer_spec.treat_whitespace_as_suffix is not supported");
  }
  if (!model.normalizer.escape_whitespaces) {
    return llmrt::unsupported("normalizer_spec.escape_whitespaces false is not supported");
  }
  if (!model.denormalizer_charsmap.empty()) {
    return llmrt::unsupported("denormalizer_spec.precompiled_charsmap is not supported");
  }
  return {};
}

}  // namespace

Result<SentencePieceModel> SentencePieceModel::parse(std::string_view file) {
  SentencePieceModel model;
  bool ok = true;
  ProtoReader in(file);
  while (in.next()) {
    if (in.field() == 1) model.pieces.push_back(parsePiece(in.bytes(), ok));
    if (in.field() == 2) parseTrainerSpec(in.bytes(), model, ok);
    if (in.field() == 3) model.normalizer = parseNormalizerSpec(in.bytes(), ok);
    if (in.field() == 5) model.denormalizer_charsmap = parseNormalizerSpec(in.bytes(), ok).charsmap;
  }
  if (!ok || !in.ok()) {
    return llmrt::invalidData(
        "is neither a SentencePiece model nor a tiktoken file, or is cut off");
  }
  LLMRT_RETURN_IF_ERROR(check(model));
  return model;
}

}  // namespace llmc
