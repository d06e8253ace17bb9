// The register tile every matrix product and attention are built from.
#pragma once

#include "codegen/cpu/KernelBuilder.h"
#include "codegen/cpu/Quants.h"

namespace llmc::cpu {

/// The right-hand operand of a product: panels of 16 outputs, walked along k.
struct Panels {
  Value base;              // first panel; of quants, in their first plane
  int64_t panelBytes = 0;  // from one panel to the next
  int64_t stepBytes = 0;   // from one step along k to the next
  int64_t kPerStep = 1;    // values of k in a step: 2 for bf16 weights, which lie in pairs
  Storage storage = Storage::f32;
  QuantPlanes quants;  // of weights of quants, which know no storage
  Value firstK;        // the k that `base` lies at; null: 0. Quants: a multiple of 64

  int64_t bytesPerK() const { return stepBytes / kPerStep; }
  /// `panels` panels from `p` on.
  Panels from(KernelBuilder& k, Value p) const;
  /// The same panels from `k0` on, which begins a step.
  Panels fromK(KernelBuilder& k, Value k0) const;
  /// What is read side by side while k goes on: a plane, of which `bytes` are those of `values`
  /// values of k.
  struct Stream {
    Value base;
    int64_t panelBytes, bytes, values;
  };
  llvm::SmallVector<Stream> streams() const;
};

/// Weights in panels as runtime/io/weight_format.h lays them out: `numPanels` of each of
/// `numExperts`, those of `expert` (null: of the first).
Panels weightPanels(KernelBuilder& k, Value base, const llmrt::WeightFormat& format, int64_t cols,
                    int64_t numPanels, int64_t numExperts, Value expert = {});
/// Bytes of a panel's values of one k, without scales.
int64_t bytesPerK(const llmrt::WeightFormat& format);

/// One output of a weight of [rows, cols], along k.
struct WeightRow {
  Value base;         // its first element; of quants null
  int64_t group = 0;  // elements side by side, of 16 outputs in turn; 0: all, in rows
  Storage storage = Storage::f32;
  QuantPlanes quants;

  /// Values [i, i + lanes), all of one block; in panels lanes is 1.
  Value load(KernelBuilder& k, Value i, int64_t lanes) const;
};
WeightRow weightRow(KernelBuilder& k, Value base, const llmrt::WeightFormat& format, int64_t rows,
                    int64_t cols, bool inPanels, Value row);

/// The left-hand operand: rows of floats, or of bf16 for weights in bf16 (zero behind an odd K).
struct Rows {
  Value base;
  int64_t strideBytes = 0;
  bool bf16 = false;

  int64_t bytesPerK() const { return bf16 ? 2 : 4; }
};

/// Accumulators of a tile: [rows, panels] vectors, row by row.
/// Returns acc + a[0..rows) * b[0..panels), summed over k = 0, 1, ..., kCount - 1 in one chain of
/// FMAs per output: the order all kernels share but those that round their left operand. Rows of
/// bf16 are multiplied by KernelBuilder::dotBf16(), a chain of k = 1, 0, 3, 2, ... `each`, where
/// given, is called with every multiple of kPerIteration(b) before those values of k are used.
int64_t kPerIteration(const Panels& b);
Values multiply(KernelBuilder& k, const Rows& a, const Panels& b, int64_t rows, int64_t panels,
                int64_t kCount, Values acc, const std::function<void(Value)>& each = {});
/// Panels that `rows` rows leave registers for: rows * panels accumulators, the panels of one k, a
/// broadcast. Where an output has several accumulators, count its row as often.
int64_t panelsFor(const CpuTarget& target, int64_t rows, int64_t most);

/// Row counts that have a register tile of their own, largest first.
llvm::SmallVector<int64_t> rowTiles(const CpuTarget& target);

/// Covers 0..count with blocks of the given descending sizes (the last must be 1), calling
/// body(first, size).
void forBlocks(KernelBuilder& k, Value count, llvm::ArrayRef<int64_t> sizes,
               const std::function<void(Value, int64_t)>& body);

/// The same with no block larger than `cap` (a run-time value of at least 1).
void forBlocks(KernelBuilder& k, Value count, llvm::ArrayRef<int64_t> sizes, Value cap,
               const std::function<void(Value, int64_t)>& body);

}  // namespace llmc::cpu
