// The plain structs that KernelOpInterface speaks in.
#pragma once

#include <cstdint>

#include "llvm/ADT/SmallVector.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/IR/Value.h"
// clang-format off: it needs the headers above
#include "ir/LLMEnums.h.inc"
// clang-format on

namespace llmc::llm {

/// One entry of a kernel's operand list.
struct KernelOperand {
  Space space = Space::arena;
  Access access = Access::read;
  mlir::Value value;  // arena: the tensor
  llvm::SmallVector<mlir::FlatSymbolRefAttr, 3>
      symbols;                            // weights: the sources packed together; rope: the table
  Layout layout = Layout::rows;           // weights
  PanelOrder order = PanelOrder::concat;  // weights in panels
  int64_t headRows = 0;                   // PanelOrder::heads
};

/// tiles * (rowsPerTile ? ceil(num_rows / rowsPerTile) : 1) independent tiles.
struct Tiling {
  int64_t tiles = 1;
  int64_t rowsPerTile = 0;
};

/// What must be read and computed. Activations are left out of the bytes: they stay in cache.
struct Cost {
  int64_t weightBytes = 0;      // read once per step
  int64_t kvBytesPerToken = 0;  // read per attended token and sequence
  int64_t flopsPerRow = 0;
  int64_t flopsPerRowPerToken = 0;  // times attended tokens
  int64_t expertBytes = 0;          // read per expert that some row chose
  int64_t expertsPerRow = 0;        // chosen by a row,
  int64_t numExperts = 0;           // of so many
  int64_t window = 0;               // attended tokens are at most so many; 0: all
};

/// Panels of 16 outputs in one tile of a matrix product: at least four, so that one thread reads
/// four weight streams at once (a GEMV over a single stream leaves 40 % of the bandwidth unused),
/// and few, so that tiles divide evenly.
constexpr int64_t kTilePanels = 4;
/// Rows of queries that one tile of attention shares its keys and values among, in prefill.
constexpr int64_t kAttentionRows = 16;
/// Query heads that one tile of attention computes at most: what decode of few KV heads is split
/// over threads by.
constexpr int64_t kAttentionHeads = 16;
/// An entry point with at most this many rows is compiled for decode.
constexpr int64_t kDecodeMaxRows = 16;

}  // namespace llmc::llm
