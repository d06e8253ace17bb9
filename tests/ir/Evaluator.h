// What every op of the llm dialect means: a plain, slow interpreter, the oracle for kernels and
// passes.
//
// Values between ops are f32, as the dialect says. A fused op is evaluated as the primitive ops it
// stands for, with the same roundings between them, so a correct fusion gives the same bits.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "ir/LLM.h"
#include "tests/ir/StoredQuants.h"

namespace llmc::test {

/// One row of a step: what its inputs say of it.
struct Row {
  int32_t tokenId = 0;
  int32_t pos = 0;
  int32_t seq = 0;
  bool wanted = true;  // its logits
  // In trees (verify and commit steps): where its keys and values lie, and the row that it
  // continues, -1 for the last token of its sequence before the step.
  int32_t slot = 0;
  int32_t parent = -1;
  int32_t keptRow = 0;             // in commit steps: which row it was in the verify step before
  std::vector<float> hidden = {};  // in mtp steps
};

/// [rows, cols], row-major.
struct Matrix {
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<float> values;

  Matrix() = default;
  Matrix(int64_t numRows, int64_t numCols)
      : rows(numRows), cols(numCols), values(static_cast<size_t>(numRows * numCols)) {}
  float* row(int64_t i) { return values.data() + i * cols; }
  const float* row(int64_t i) const { return values.data() + i * cols; }
  friend bool operator==(const Matrix&, const Matrix&) = default;
};

/// What sequences carry from step to step, for every (state, layer, sequence).
class KvState {
 public:
  /// Of a paged state, already rounded to its type: [tokens, num_kv_heads * head_dim]; grows to the
  /// last position written.
  struct Sequence {
    std::vector<float> keys, values;
  };
  Sequence& at(llvm::StringRef state, int64_t layer, int32_t seq) {
    return sequences_[{state.str(), layer, seq}];
  }
  /// A recurrent state, row-major; zeros at first.
  std::vector<float>& recurrent(llm::StateOp state, int64_t layer, int32_t seq);
  /// What the last verify step kept.
  Matrix& kept(llm::StateOp state, int64_t layer) {
    return kept_[{state.getSymName().str(), layer}];
  }

 private:
  using Key = std::tuple<std::string, int64_t, int32_t>;
  std::map<Key, Sequence> sequences_;
  std::map<Key, std::vector<float>> recurrent_;
  std::map<std::pair<std::string, int64_t>, Matrix> kept_;
};

/// The type of sums; the terms are f32 and so is the result.
enum class Accumulate { kFloat, kDouble };

/// The values of a weight, row-major: of layer `layer` (counted from the model's first), or of the
/// one tensor there is
/// (`layer` -1). Each is asked for once. Of a weight of quants the evaluator sees what storing them
/// once leaves.
using WeightSource = std::function<std::vector<float>(llm::WeightOp weight, int64_t layer)>;

/// Told every result: the op, its layer (-1 outside layers), the value.
using Trace = std::function<void(mlir::Operation* op, int64_t layer, const Matrix& result)>;

using SymbolMap = std::map<std::string, std::string>;

/// Evaluates a model that verifies. Throws std::invalid_argument where a caller asks for what the
/// model lacks, or gives values of a wrong size.
class Evaluator {
 public:
  Evaluator(llm::ModelOp model, WeightSource weights, Accumulate accumulate = Accumulate::kDouble);

  /// One step of an llm.entry, or of an llm.schedule: its phases over an arena laid out as it says,
  /// so that buffers which share bytes they must not share show in the numbers. The logits of
  /// wanted rows, in order; none of a commit step.
  Matrix run(llvm::StringRef entry, const std::vector<Row>& rows, KvState& kv,
             const Trace& trace = nullptr);

  /// One KernelOpInterface op, in `layer` (-1 outside layers). `inputs`: its tensor operands in
  /// order. Gives its result; an empty matrix where it has none. `symbols`: what to use in place of
  /// the weights, tables and states it names (a kernel is shared by phases with others).
  Matrix evaluateOp(mlir::Operation* op, const std::vector<Matrix>& inputs,
                    const std::vector<Row>& rows, KvState& kv, int64_t layer = -1,
                    const SymbolMap& symbols = {});

  /// The values of a weight as evaluateOp sees them.
  const std::vector<float>& weight(mlir::FlatSymbolRefAttr symbol, int64_t layer);
  /// The quants of a weight, experts one after another; without a format where it has none.
  const StoredQuants& quants(mlir::FlatSymbolRefAttr symbol, int64_t layer);

 private:
  struct Weight {
    std::vector<float> values;
    StoredQuants quants;
  };
  const Weight& load(mlir::FlatSymbolRefAttr symbol, int64_t layer);

  Matrix runEntry(llm::EntryOp entry, const std::vector<Row>& rows, KvState& kv,
                  const Trace& trace);
  Matrix runSchedule(llm::ScheduleOp schedule, const std::vector<Row>& rows, KvState& kv,
                     const Trace& trace);

  llm::ModelOp model_;
  WeightSource source_;
  Accumulate accumulate_;
  std::map<std::pair<std::string, int64_t>, Weight> weights_;
};

/// A WeightSource of reproducible noise for tests without a checkpoint: matrices uniform in [-b, b)
/// with b = sqrt(3 / K) (rows keep the size of what they multiply), norms in [0.5, 1.5), biases in
/// [-0.5, 0.5); each value rounded to the weight's type.
WeightSource randomWeights(uint64_t seed);

}  // namespace llmc::test
