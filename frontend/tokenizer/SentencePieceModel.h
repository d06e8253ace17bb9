// A SentencePiece tokenizer.model: what its protocol buffer says, checked.
// Fields: https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/io/status.h"

namespace llmc {

/// Views into the file, which outlives it. Absent fields have the format's defaults.
struct SentencePieceModel {
  enum Type : int32_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };
  enum ModelType : int32_t { kUnigram = 1, kBpe, kWord, kChar };

  struct Piece {
    std::string_view text;  // UTF-8, not empty
    float score = 0;        // finite
    int32_t type = kNormal;
  };
  struct Normalizer {
    std::string_view charsmap;
    bool add_dummy_prefix = true;
    bool remove_extra_whitespaces = true;
    bool escape_whitespaces = true;
  };

  std::vector<Piece> pieces;
  int32_t model_type = kUnigram;
  bool treat_whitespace_as_suffix = false;
  bool byte_fallback = false;
  int32_t bos_id = 1;  // -1: none, as the next
  int32_t eos_id = 2;
  Normalizer normalizer;
  std::string_view denormalizer_charsmap;

  /// kInvalidData where it is no such file; kUnsupported names the field that has no counterpart
  /// here.
  static llmrt::Result<SentencePieceModel> parse(std::string_view file);
};

}  // namespace llmc
