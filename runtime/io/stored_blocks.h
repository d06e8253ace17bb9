// Blocks of quantised weights as files store them, taken apart into the planes of a format.
#pragma once

#include <cstdint>

#include "runtime/io/weight_format.h"

namespace llmrt {

/// How a file lays out the blocks of a format. A row is its blocks, one behind another.
struct StoredBlocks {
  /// [block]: each quant's bits, as an unsigned number; an int8 where a quant has eight.
  using ReadQuants = void (*)(const uint8_t* block, uint8_t* quants);
  /// [block / sub_block] elements of kSubScales, kSubMins or kSubPairs.
  using ReadSubs = void (*)(const uint8_t* block, PlaneRole role, uint8_t* subs);

  const WeightFormat* format = nullptr;
  int64_t bytes = 0;                  // of a block
  int64_t scale_at = 0, min_at = -1;  // of theirs in a block; -1: not there
  bool subtracts_min = false;         // where a format adds it
  ReadQuants read_quants = nullptr;
  ReadSubs read_subs = nullptr;

  int64_t rowBytes(int64_t cols) const { return format->blocks(cols) * bytes; }
  /// The elements of all planes of a block, planes[p] those of plane p: what decodeBlock() makes
  /// the file's values of. `scale`: where it lies apart; null unless scale_at is -1.
  void readPlanes(const uint8_t* block, uint8_t* const* planes,
                  const uint8_t* scale = nullptr) const;
};

/// Of the ggml_type `type`; null where its blocks are of no format of ours, or its values plain.
const StoredBlocks* ggmlBlocks(uint32_t type);
/// MXFP4 of safetensors, as gpt-oss is published: scales lie apart.
const StoredBlocks& safetensorsMxfp4();

}  // namespace llmrt
