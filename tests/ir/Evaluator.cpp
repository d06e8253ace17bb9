// The walk over entries and schedules. What an op computes stands in EvaluateOp.cpp.
#include "tests/ir/Evaluator.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/Hashing.h"
#include "runtime/io/weight_format.h"

using namespace mlir;
using namespace llmc::llm;

namespace llmc::test {
namespace {

/// The absolute number of `layer` (-1: none) for a weight, -1 where the weight has no layers.
int64_t weightLayer(WeightOp weight, int64_t layer) { return weight.isPerLayer() ? layer : -1; }

std::vector<Matrix> tensorInputs(Operation* op, const llvm::DenseMap<Value, Matrix>& values) {
  std::vector<Matrix> inputs;
  for (Value v : op->getOperands())
    if (isa<RankedTensorType>(v.getType())) inputs.push_back(values.at(v));
  return inputs;
}

void checkRows(StringRef entry, const std::vector<Row>& rows, int64_t maxRows) {
  if (rows.empty() || static_cast<int64_t>(rows.size()) > maxRows)
    throw std::invalid_argument("@" + entry.str() + " takes 1 to " + std::to_string(maxRows) +
                                " rows, not " + std::to_string(rows.size()));
}

}  // namespace

std::vector<float>& KvState::recurrent(StateOp state, int64_t layer, int32_t seq) {
  std::vector<float>& slot = recurrent_[{state.getSymName().str(), layer, seq}];
  if (slot.empty()) {
    int64_t elements = 1;
    for (int64_t size : state.getRecurrentType().getShape()) elements *= size;
    slot.resize(elements);
  }
  return slot;
}

Evaluator::Evaluator(ModelOp model, WeightSource weights, Accumulate accumulate)
    : model_(model), source_(std::move(weights)), accumulate_(accumulate) {}

const Evaluator::Weight& Evaluator::load(FlatSymbolRefAttr symbol, int64_t layer) {
  auto op = dyn_cast_or_null<WeightOp>(SymbolTable::lookupSymbolIn(model_, symbol.getAttr()));
  if (!op) throw std::invalid_argument("no weight @" + symbol.getValue().str());
  layer = weightLayer(op, layer);
  if (op.isPerLayer() && layer < 0)
    throw std::invalid_argument("@" + symbol.getValue().str() + " needs a layer");
  auto [it, isNew] = weights_.try_emplace({symbol.getValue().str(), layer});
  if (isNew) {
    std::vector<float>& values = it->second.values;
    values = source_(op, layer);
    int64_t elements = std::max<int64_t>(1, op.getNumExperts());
    for (int64_t d : op.getLayerShape()) elements *= d;
    if (static_cast<int64_t>(values.size()) != elements)
      throw std::invalid_argument("@" + symbol.getValue().str() + " has " +
                                  std::to_string(elements) + " elements, not " +
                                  std::to_string(values.size()));
    const llmrt::WeightFormat& format = weightFormatOf(op.getTensorType().getElementType());
    if (!format.isPlain()) {
      it->second.quants = StoredQuants::encode(format, values, op.getLayerShape()[1]);
      values = it->second.quants.decode();
    }
  }
  return it->second;
}

const std::vector<float>& Evaluator::weight(FlatSymbolRefAttr symbol, int64_t layer) {
  return load(symbol, layer).values;
}
const StoredQuants& Evaluator::quants(FlatSymbolRefAttr symbol, int64_t layer) {
  return load(symbol, layer).quants;
}

/// Columns [first, first + width).
static Matrix columns(const Matrix& m, int64_t first, int64_t width) {
  Matrix part(m.rows, width);
  for (int64_t r = 0; r < m.rows; ++r) std::copy_n(m.row(r) + first, width, part.row(r));
  return part;
}

Matrix Evaluator::run(StringRef entry, const std::vector<Row>& rows, KvState& kv,
                      const Trace& trace) {
  Operation* op = SymbolTable::lookupSymbolIn(model_, entry);
  if (auto e = dyn_cast_or_null<EntryOp>(op)) return runEntry(e, rows, kv, trace);
  if (auto s = dyn_cast_or_null<ScheduleOp>(op)) return runSchedule(s, rows, kv, trace);
  throw std::invalid_argument("no entry or schedule @" + entry.str());
}

Matrix Evaluator::runEntry(EntryOp entry, const std::vector<Row>& rows, KvState& kv,
                           const Trace& trace) {
  checkRows(entry.getSymName(), rows, entry.getMaxRows());
  llvm::DenseMap<Value, Matrix> values;
  auto evaluate = [&](Operation& op, int64_t layer) {
    Matrix result = evaluateOp(&op, tensorInputs(&op, values), rows, kv, layer);
    if (op.getNumResults() == 0) return;
    if (trace) trace(&op, layer, result);
    int64_t first = 0;  // of an op's results, which stand side by side
    for (Value y : op.getResults()) {
      values[y] = columns(result, first, widthOf(y));
      first += widthOf(y);
    }
  };
  for (Operation& op : entry.getBody().front()) {
    if (auto result = dyn_cast<ReturnOp>(op))
      return result.getLogits() ? values.at(result.getLogits()) : Matrix();
    auto layers = dyn_cast<LayersOp>(op);
    if (!layers) {
      evaluate(op, -1);
      continue;
    }
    const bool hasStream = layers.getInit() != nullptr;
    Matrix h = hasStream ? values.at(layers.getInit()) : Matrix();
    int64_t first = layers.getFirstLayer(), count = layers.getNumLayers();
    for (int64_t layer = first; layer < first + count; ++layer) {
      if (hasStream) values[layers.getIterArg()] = h;
      for (Operation& inner : layers.getBody().front()) {
        auto yield = dyn_cast<YieldOp>(inner);
        if (!yield)
          evaluate(inner, layer);
        else if (hasStream)
          h = values.at(yield.getOperand(0));
      }
    }
    if (!hasStream) continue;
    if (trace) trace(layers, -1, h);
    values[layers.getResult()] = std::move(h);
  }
  throw std::invalid_argument("an entry without llm.return");
}

Matrix Evaluator::runSchedule(ScheduleOp schedule, const std::vector<Row>& rows, KvState& kv,
                              const Trace& trace) {
  checkRows(schedule.getSymName(), rows, schedule.getMaxRows());
  int64_t wanted = llvm::count_if(rows, [](const Row& r) { return r.wanted; });
  if (schedule.getLogits() && wanted > static_cast<int64_t>(schedule.getMaxLogitsRows()))
    throw std::invalid_argument("more logits wanted than max_logits_rows");
  // What nothing has written is NaN, so reading it shows.
  std::vector<float> arena(schedule.getArenaBytes() / 4, std::nanf(""));
  auto buffer = [&](FlatSymbolRefAttr symbol) {
    return cast<BufferOp>(mlir::SymbolTable::lookupSymbolIn(schedule, symbol.getAttr()));
  };
  auto read = [&](FlatSymbolRefAttr symbol, int64_t numRows) {
    BufferOp b = buffer(symbol);
    Matrix m(numRows, b.getWidth());
    for (int64_t i = 0; i < numRows; ++i)
      std::copy_n(&arena[b.getOffsetBytes() / 4 + i * b.getRowStride()], m.cols, m.row(i));
    return m;
  };
  auto write = [&](FlatSymbolRefAttr symbol, const Matrix& m) {
    BufferOp b = buffer(symbol);
    for (int64_t i = 0; i < m.rows; ++i)
      std::copy_n(m.row(i), m.cols, &arena[b.getOffsetBytes() / 4 + i * b.getRowStride()]);
  };
  auto runPhase = [&](PhaseOp phase, int64_t layer) {
    auto kernel =
        cast<KernelOp>(SymbolTable::lookupSymbolIn(model_, phase.getKernelAttr().getAttr()));
    KernelOpInterface op = kernel.getComputeOp();
    std::vector<Matrix> inputs;
    std::vector<FlatSymbolRefAttr> outputs;
    SymbolMap symbols;
    for (auto [operand, named] :
         llvm::zip_equal(phase.getOperands().getAsRange<OperandAttr>(), op.getKernelOperands())) {
      if (operand.getSpace() == Space::arena && operand.getAccess() == Access::write)
        outputs.push_back(operand.getSymbol());
      else if (operand.getSpace() == Space::arena)
        inputs.push_back(read(operand.getSymbol(), rows.size()));
      else if (operand.getSpace() != Space::weights && operand.getSpace() != Space::input)
        symbols[named.symbols[0].getValue().str()] = operand.getSymbol().getValue().str();
      else if (operand.getSpace() == Space::weights) {
        auto packed = cast<PackedWeightOp>(
            SymbolTable::lookupSymbolIn(model_, operand.getSymbol().getAttr()));
        for (auto [source, name] :
             llvm::zip_equal(packed.getSources().getAsRange<FlatSymbolRefAttr>(), named.symbols))
          symbols[name.getValue().str()] = source.getValue().str();
      }
    }
    Matrix result = evaluateOp(op, inputs, rows, kv, layer, symbols);
    if (outputs.empty()) return;
    if (trace) trace(op, layer, result);
    int64_t first = 0;
    for (FlatSymbolRefAttr output : outputs) {
      const auto width = static_cast<int64_t>(buffer(output).getWidth());
      write(output, columns(result, first, width));
      first += width;
    }
  };
  for (Operation& op : schedule.getBody().front()) {
    if (auto phase = dyn_cast<PhaseOp>(op)) runPhase(phase, -1);
    if (auto repeat = dyn_cast<RepeatOp>(op)) {
      int64_t first = repeat.getFirstLayer(), count = repeat.getNumLayers();
      for (int64_t layer = first; layer < first + count; ++layer)
        for (PhaseOp phase : repeat.getBody().getOps<PhaseOp>()) runPhase(phase, layer);
    }
  }
  return schedule.getLogits() ? read(schedule.getLogitsAttr(), wanted) : Matrix();
}

WeightSource randomWeights(uint64_t seed) {
  return [seed](WeightOp weight, int64_t layer) {
    // The name's characters, not llvm::hash_value: that one changes from run to run.
    std::string name = weight.getSymName().str();
    std::vector<uint32_t> entropy(name.begin(), name.end());
    entropy.push_back(static_cast<uint32_t>(seed));
    entropy.push_back(static_cast<uint32_t>(layer));
    std::seed_seq sequence(entropy.begin(), entropy.end());
    std::mt19937 rng(sequence);

    float low = -0.5f, width = 1.0f;
    if (weight.getKind() == WeightKind::norm) low = 0.5f;
    if (weight.getKind() == WeightKind::matrix) {
      float b = std::sqrt(3.0f / static_cast<float>(weight.getLayerShape()[1]));
      low = -b;
      width = 2 * b;
    }
    int64_t elements = std::max<int64_t>(1, weight.getNumExperts());
    for (int64_t d : weight.getLayerShape()) elements *= d;
    std::vector<float> values(elements);
    for (float& v : values) v = low + width * (static_cast<float>(rng() >> 8) * 0x1p-24f);
    ArrayRef<int64_t> shape = weight.getLayerShape();
    llmrt::roundToFormat(weightFormatOf(weight.getTensorType().getElementType()), values,
                         shape.size() > 1 ? shape[1] : 1);
    return values;
  };
}

}  // namespace llmc::test
