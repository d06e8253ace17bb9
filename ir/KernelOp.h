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

/// One entry of a kernel's operand list. Code generators ask for it by its name, which is unique in
/// the list.
struct KernelOperand {
  llvm::StringRef name;  // a literal
  Space space = Space::arena;
  Access access = Access::read;
  mlir::Value value;  // arena: the tensor
  /// weights: the sources packed together; rope: the table; input: its name; other spaces but the
  /// arena: the state.
  llvm::SmallVector<mlir::FlatSymbolRefAttr, 3> symbols;
  Layout layout = Layout::rows;           // weights
  PanelOrder order = PanelOrder::concat;  // weights in panels
  int64_t headRows = 0;                   // PanelOrder::heads
  int64_t layerColumns = 0;  // arena: columns that each layer has of it, one after another; 0: all
};

/// What there is one of for each element of a step's input.
enum class Axis { row, logits_row, sequence, step };

/// An input of a step: [count of axis, width]. schema/plan.fbs: Input says what each means.
struct StepInput {
  llvm::StringRef name;
  Axis axis = Axis::row;
  int64_t width = 1;  // of i32; 0: the model's hidden_size, of f32
};
/// The inputs that kernels may ask for. Who adds one adds it here, in plan.fbs and where the
/// runtime fills inputs in.
inline constexpr StepInput kStepInputs[] = {
    {.name = "token_id"},
    {.name = "pos"},
    {.name = "slot"},
    {.name = "parent"},
    {.name = "kept_row"},
    {.name = "seq"},
    {.name = "logits_rows", .axis = Axis::logits_row},
    {.name = "hidden", .width = 0},
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
  int64_t stateBytes = 0;           // read, and as many written, once per sequence of a step
};

/// Heads of linear attention. Those of q and k are as many, each shared by valueHeads / keyHeads
/// heads of v.
struct DeltaHeads {
  int64_t keyHeads = 0, valueHeads = 0, keyDim = 0, valueDim = 0;
};

/// Heads of a state space layer. Each of the groups of B and C is shared by heads / groups of them.
struct SsdHeads {
  int64_t heads = 0, groups = 0, headDim = 0, stateSize = 0;
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
/// Columns of a state that one tile of gated_delta or ssd keeps in the nearest cache: with 128 rows
/// 16 KB.
constexpr int64_t kDeltaColumns = 32;
/// Columns that one tile of causal_conv computes.
constexpr int64_t kConvColumns = 64;
/// Projections that one norm_projections makes at most.
constexpr size_t kMostProjections = 6;
/// Rows of a decode step at most: what its kernels have register tiles for.
constexpr int64_t kDecodeMaxRows = 16;
/// Rows of a verify or a commit step at most. The positions of a tree then lie in two blocks of the
/// KV cache at most, which its attention gathers.
constexpr int64_t kTreeMaxRows = 64;

}  // namespace llmc::llm
