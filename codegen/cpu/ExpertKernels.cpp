// The two products of routed experts. Rows are sorted by expert first, so that each expert's
// matrices are read once for all rows that chose it, and never for none.
#include "codegen/cpu/Math.h"
#include "codegen/cpu/Multiply.h"
#include "codegen/cpu/Product.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace llmc::cpu {

namespace {

/// What the rows of a step chose, sorted by expert. An entry is row * top_k + slot.
struct Choices {
  int64_t topK = 0;
  Value begins;   // [experts + 1] i64: the first entry of each expert
  Value entries;  // [rows * top_k] i64

  Value entry(KernelBuilder& k, Value index) const {
    return k.load(k.i64(), k.offset(entries, k.mul(index, 8)), 8);
  }
};

/// A counting sort, stable: an expert's rows stay in order.
Choices sortByExpert(KernelBuilder& k, int64_t topK, int64_t experts) {
  Choices out{topK, k.scratch((experts + 1) * 8), k.scratch(k.shape().maxRows * topK * 8)};
  Value next = k.scratch((experts + 1) * 8);
  OpBuilder& b = k.builder();
  auto at = [&](Value base, Value index) { return k.offset(base, k.mul(index, 8)); };
  auto loadI = [&](Value base, Value index) { return k.load(k.i64(), at(base, index), 8); };
  auto expertOf = [&](Value row, Value slot) -> Value {
    Value number = k.loadScalar(k.offset(k.rowOf("route", row), k.mul(slot, 4)));
    return arith::FPToSIOp::create(b, number.getLoc(), k.i64(), number);
  };
  auto forChoices = [&](const std::function<void(Value, Value)>& body) {
    k.loop(k.ci(0), k.step().numRows, 1, [&](Value row) {
      k.loop(k.ci(0), k.ci(topK), 1, [&](Value slot) { body(row, slot); });
    });
  };
  k.loop(k.ci(0), k.ci(experts + 1), 1, [&](Value e) { k.store(k.ci(0), at(out.begins, e), 8); });
  forChoices([&](Value row, Value slot) {
    Value e = k.add(expertOf(row, slot), 1);
    k.store(k.add(loadI(out.begins, e), 1), at(out.begins, e), 8);
  });
  k.store(k.ci(0), next, 8);
  k.loop(k.ci(1), k.ci(experts + 1), 1, [&](Value e) {
    Value sum = k.add(loadI(out.begins, e), loadI(out.begins, k.add(e, -1)));
    k.store(sum, at(out.begins, e), 8);
    k.store(sum, at(next, e), 8);
  });
  forChoices([&](Value row, Value slot) {
    Value e = expertOf(row, slot), index = loadI(next, e);
    k.store(k.add(k.mul(row, topK), slot), at(out.entries, index), 8);
    k.store(k.add(index, 1), at(next, e), 8);
  });
  return out;
}

/// Each expert has a weight like `matrix`.
void setExperts(ProductSpec& spec, Operation* op, FlatSymbolRefAttr matrix) {
  spec.numExperts = llm::lookupWeight(op, matrix).getNumExperts();
}

/// Stores the columns of `v` that exist in rows of `width` from column 16 * panel on.
void storePanel(KernelBuilder& k, Value v, Value rowBase, Value panel, int64_t width) {
  const int64_t whole = width / kLanes, tail = width % kLanes;
  Value to = k.offset(rowBase, k.mul(panel, kLanes * 4));
  if (!tail) return k.store(v, to, 4);
  k.ifThen(k.cmp(arith::CmpIPredicate::slt, panel, k.ci(whole)), [&] { k.store(v, to, 4); });
  k.ifThen(k.cmp(arith::CmpIPredicate::sge, panel, k.ci(whole)), [&] {
    for (int64_t i = 0; i < tail; ++i) k.store(k.extract(v, i), k.offset(to, i * 4), 4);
  });
}

/// `bias` of the tile's expert, [experts, width], 16 values of `panel`.
Value loadBias(KernelBuilder& k, Value bias, const OutputTile& tile, Value panel, int64_t width) {
  Value column = k.add(k.mul(tile.expert, width), k.mul(panel, kLanes));
  return k.loadF32(k.offset(bias, k.mul(column, 4)));
}

}  // namespace

// Panels of gate and up alternate, where there is an up.
void emitExpertGlu(KernelBuilder& k, llm::ExpertGluOp op) {
  const int64_t topK = llm::widthOf(op.getRoute()) / 2, width = llm::widthOf(op.getY()) / topK;
  ProductSpec spec = productOf(k, op, op.getGateProjAttr());
  const int64_t matrices = op.getUpProjAttr() ? 2 : 1;
  spec.numPanels *= matrices;
  setExperts(spec, op, op.getGateProjAttr());
  Value gateBias = k.operandIf(op.getGateBiasAttr(), "gate_bias");
  Value upBias = k.operandIf(op.getUpBiasAttr(), "up_bias");
  const Choices choices = sortByExpert(k, topK, spec.numExperts);
  spec.expertRows = choices.begins;
  spec.sourceRow = [&](Value index) {
    return k.rowPtr(spec.x, k.div(choices.entry(k, index), topK), spec.xStride);
  };
  const double limit = op.getLimit().convertToDouble();
  spec.epilogue = [&](const OutputTile& tile) {
    k.loop(k.ci(0), tile.rows, 1, [&](Value r) {
      Value entry = choices.entry(k, k.add(tile.firstRow, r));
      Value out = k.offset(k.rowOf("y", k.div(entry, topK)), k.mul(k.rem(entry, topK), width * 4));
      k.loop(k.ci(0), tile.panels, matrices, [&](Value p) {
        Value panel = k.div(k.add(tile.firstPanel, p), matrices);
        Value gate = k.loadF32(tile.at(k, r, p));
        if (gateBias) gate = k.addf(gate, loadBias(k, gateBias, tile, panel, width));
        if (matrices == 1)
          return storePanel(k, emitActivationValue(k, op.getActivation(), gate), out, panel, width);
        Value up = k.loadF32(tile.at(k, r, k.add(p, 1)));
        if (upBias) up = k.addf(up, loadBias(k, upBias, tile, panel, width));
        if (limit != 0) {
          Value low = k.splat(float(-limit));
          auto atMost = [&](Value v) { return k.negf(k.maxf(k.negf(v), low)); };
          gate = atMost(gate);
          up = k.addf(k.maxf(atMost(up), low), k.splat(1.0f));
        }
        Value v = k.mulf(emitActivationValue(k, op.getActivation(), gate), up);
        storePanel(k, v, out, panel, width);
      });
    });
  };
  emitProduct(k, spec);
}

void emitExpertDown(KernelBuilder& k, llm::ExpertDownOp op) {
  const int64_t topK = llm::widthOf(op.getRoute()) / 2, width = llm::widthOf(op.getY());
  ProductSpec spec = productOf(k, op, op.getWeightAttr());
  setExperts(spec, op, op.getWeightAttr());
  Value bias = k.operandIf(op.getBiasAttr(), "bias");
  const Choices choices = sortByExpert(k, topK, spec.numExperts);
  spec.expertRows = choices.begins;
  spec.sourceRow = [&](Value index) {
    Value entry = choices.entry(k, index);
    return k.offset(k.rowPtr(spec.x, k.div(entry, topK), spec.xStride),
                    k.mul(k.rem(entry, topK), spec.cols * 4));
  };
  // The experts come in ascending order, each adding its share to these tiles of y.
  k.loop(k.ci(0), k.step().numRows, 1, [&](Value r) {
    Value end = k.min(k.mul(k.tileEnd(), spec.tilePanels), k.ci(spec.numPanels));
    k.loop(k.mul(k.tileBegin(), spec.tilePanels), end, 1, [&](Value panel) {
      k.store(k.zero(), k.offset(k.rowOf("y", r), k.mul(panel, kLanes * 4)), 4);
    });
  });
  spec.epilogue = [&](const OutputTile& tile) {
    k.loop(k.ci(0), tile.rows, 1, [&](Value r) {
      Value entry = choices.entry(k, k.add(tile.firstRow, r));
      Value row = k.div(entry, topK), slot = k.add(k.rem(entry, topK), topK);
      Value weight = k.broadcast(k.loadScalar(k.offset(k.rowOf("route", row), k.mul(slot, 4))));
      k.loop(k.ci(0), tile.panels, 1, [&](Value p) {
        Value panel = k.add(tile.firstPanel, p);
        Value out = k.offset(k.rowOf("y", row), k.mul(panel, kLanes * 4));
        Value v = k.loadF32(tile.at(k, r, p));
        if (bias) v = k.addf(v, loadBias(k, bias, tile, panel, width));
        k.store(k.fma(v, weight, k.loadF32(out)), out, 4);
      });
    });
  };
  emitProduct(k, spec);
}

}  // namespace llmc::cpu
