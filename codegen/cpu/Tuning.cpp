#include "codegen/cpu/Tuning.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include "runtime/io/weight_format.h"

namespace llmc::cpu {

// A piece of int8 rows has whole groups, of which the largest has kMaxBlock values.
constexpr int64_t kPieceUnit = llmrt::WeightFormat::kMaxBlock;

const std::array<TuningField, 8> kTuningFields = {{
    {"stream_panels", &ProductTuning::streamPanels, 1, 16, 1, /*powerOfTwo=*/true},
    {"ahead_bytes", &ProductTuning::aheadBytes, 0, 64 << 10, 64},
    {"ahead_level", &ProductTuning::aheadLevel, 1, 2, 1},
    {"tile_rows", &ProductTuning::tileRows, 1, 32, 1},
    {"tile_panels", &ProductTuning::tilePanels, 1, 8, 1, /*powerOfTwo=*/true},
    {"piece_cols", &ProductTuning::pieceCols, kPieceUnit, 64 << 10, kPieceUnit},
    {"block_rows", &ProductTuning::blockRows, 16, 1024, 1},
    {"join_tiles", &ProductTuning::joinTiles, 1, 8, 1},
}};

std::string ProductKey::text() const {
  std::string out;
  llvm::raw_string_ostream os(out);
  os << op << ' ' << outputs << 'x' << inputs << ' ' << weights << (int8 ? " int8" : "")
     << (rows == ProductRows::few ? ", few rows" : ", many rows");
  return out;
}

std::optional<ProductKey> productKeyOf(llm::KernelOp kernel) {
  llm::KernelOpInterface op = kernel.getComputeOp();
  // An embedding looks up rows of the logits' panels.
  if (mlir::isa<llm::EmbedOp>(op.getOperation())) return std::nullopt;
  ProductKey key;
  for (const llm::KernelOperand& operand : op.getKernelOperands()) {
    if (operand.space != llm::Space::weights || operand.layout != llm::Layout::panels) continue;
    for (mlir::FlatSymbolRefAttr symbol : operand.symbols) {
      const llm::Matrix matrix = llm::matrixOf(op, symbol);
      key.outputs += matrix.rows;
      key.inputs = matrix.cols;
      const llmrt::WeightFormat& format = llm::weightFormatOf(matrix.type);
      // One with matrices of several types has no tuning of one.
      if (!key.weights.empty() && key.weights != format.name) return std::nullopt;
      key.weights = format.name;
      key.int8 = !format.isPlain() && !mlir::isa<llm::HeadLinearOp>(op.getOperation()) &&
                 llm::hasInt8Activations(kernel->getParentOfType<llm::ModelOp>());
    }
  }
  if (key.outputs == 0) return std::nullopt;
  key.op = op->getName().stripDialect().str();
  const llm::StepKind kind = kernel.getKind();
  const bool few =
      kind == llm::StepKind::decode || kind == llm::StepKind::verify || kind == llm::StepKind::mtp;
  key.rows = few ? ProductRows::few : ProductRows::many;
  return key;
}

std::string TunedProduct::text() const {
  std::string out;
  for (const TuningField& field : kTuningFields)
    if (const auto value = tuning.*field.value)
      out += (out.empty() ? "" : ", ") + std::string(field.name) + " " + std::to_string(*value);
  return out;
}

const TunedProduct* CpuTuning::find(const ProductKey& key) const {
  constexpr double kMostDoublings = 3;
  const TunedProduct* best = nullptr;
  std::tuple<bool, double> bestDistance;
  for (const TunedProduct& product : products) {
    if (product.key == key) return &product;
    if (product.key.weights != key.weights || product.key.int8 != key.int8 ||
        product.key.rows != key.rows)
      continue;
    const double size = double(key.outputs) * double(key.inputs);
    const double other = double(product.key.outputs) * double(product.key.inputs);
    const std::tuple<bool, double> distance = {product.key.op != key.op,
                                               std::abs(std::log2(size / other))};
    if (std::get<1>(distance) > kMostDoublings) continue;
    if (!best || distance < bestDistance) {
      best = &product;
      bestDistance = distance;
    }
  }
  return best;
}

}  // namespace llmc::cpu
