// The ops around a matrix product: what comes before it, and their epilogues.
#include "codegen/cpu/Math.h"
#include "codegen/cpu/Product.h"
#include "ir/QkvWeights.h"

using namespace mlir;

namespace llmc::cpu {

namespace {

/// Where panel `panel` of row `row` begins in a tensor in the arena.
Value panelAt(KernelBuilder& k, StringRef name, Value row, Value panel) {
  return k.offset(k.rowOf(name, row), k.mul(panel, kLanes * 4));
}

/// body(row, panel, outputs) over a finished tile; where there is a bias, it is added first.
void forOutputs(KernelBuilder& k, const OutputTile& tile, Value bias,
                const std::function<void(Value row, Value panel, Value outputs)>& body) {
  k.loop(k.ci(0), tile.rows, 1, [&](Value r) {
    k.loop(k.ci(0), tile.panels, 1, [&](Value p) {
      Value panel = k.add(tile.firstPanel, p);
      Value v = k.loadF32(tile.at(k, r, p));
      if (bias) v = k.addf(v, k.loadF32(k.offset(bias, k.mul(panel, kLanes * 4))));
      body(k.add(tile.firstRow, r), panel, v);
    });
  });
}

/// y = softcap(scale * (the product + bias)), for the rows whose logits are wanted.
template <typename Op>
void emitLogitsProduct(KernelBuilder& k, Op op, ProductSpec spec) {
  spec.gather = true;
  Value bias = k.operandIf(op.getBiasAttr(), "bias");
  const double scale = op.getScale().convertToDouble(), cap = op.getSoftcap().convertToDouble();
  spec.epilogue = [&](const OutputTile& tile) {
    forOutputs(k, tile, bias, [&](Value row, Value panel, Value v) {
      if (scale != 1.0) v = k.mulf(v, k.splat(float(scale)));
      if (cap != 0.0) v = emitSoftcap(k, v, cap);
      k.store(v, panelAt(k, "y", row, panel), 4);
    });
  };
  emitProduct(k, spec);
}

}  // namespace

void emitLinear(KernelBuilder& k, llm::LinearOp op) {
  ProductSpec spec = productOf(k, op, op.getWeightAttr());
  spec.epilogue = [&](const OutputTile& tile) {
    forOutputs(k, tile, {}, [&](Value row, Value panel, Value v) {
      k.store(v, panelAt(k, "y", row, panel), 4);
    });
  };
  emitProduct(k, spec);
}

void emitLogits(KernelBuilder& k, llm::LogitsOp op) {
  emitLogitsProduct(k, op, productOf(k, op, op.getWeightAttr()));
}

void emitNormLogits(KernelBuilder& k, llm::NormLogitsOp op) {
  emitLogitsProduct(k, op, normProductOf(k, op, op.getWeightAttr()));
}

void emitNormLinear(KernelBuilder& k, llm::NormLinearOp op) {
  ProductSpec spec = normProductOf(k, op, op.getWeightAttr());
  Value bias = k.operandIf(op.getBiasAttr(), "bias");
  spec.epilogue = [&](const OutputTile& tile) {
    forOutputs(k, tile, bias, [&](Value row, Value panel, Value v) {
      v = emitActivationValue(k, op.getActivation(), v);
      if (op.getGated()) v = k.mulf(k.loadF32(panelAt(k, "gated", row, panel)), v);
      k.store(v, panelAt(k, "y", row, panel), 4);
    });
  };
  emitProduct(k, spec);
}

// Each packed weight is a product of its own over its tiles. One of its tiles may end with the
// panels of one projection and begin with those of another.
void emitNormProjections(KernelBuilder& k, llm::NormProjectionsOp op) {
  const auto projections = op.projections();
  for (const llm::ProjectionsWeight& weight : llm::projectionsWeightsOf(op)) {
    const FlatSymbolRefAttr first = projections[weight.parts.front().projection].getWeight();
    ProductSpec spec = normProductOf(k, op, first, weight.operand);
    spec.numPanels = weight.panels();
    spec.firstTile = weight.firstTile;
    spec.numTiles = weight.tiles();
    spec.epilogue = [&](const OutputTile& tile) {
      Value tileEnd = k.add(tile.firstPanel, tile.panels);
      for (const llm::ProjectionsWeight::Part& part : weight.parts) {
        const llm::ProjectionAttr projection = projections[part.projection];
        Value begin = k.max(tile.firstPanel, k.ci(part.firstPanel));
        Value end = k.min(tileEnd, k.ci(part.firstPanel + part.panels));
        Value bias = k.operandIf(projection.getBias(), llm::biasOperand(part.projection));
        k.loop(k.ci(0), tile.rows, 1, [&](Value r) {
          k.loop(begin, end, 1, [&](Value panel) {
            Value v = k.loadF32(tile.at(k, r, k.sub(panel, tile.firstPanel)));
            Value own = k.add(panel, -part.firstPanel);
            if (bias) v = k.addf(v, k.loadF32(k.offset(bias, k.mul(own, kLanes * 4))));
            v = emitActivationValue(k, projection.getActivation(), v);
            Value row = k.add(tile.firstRow, r);
            k.store(v, panelAt(k, llm::resultOperand(part.projection), row, own), 4);
          });
        });
      }
    };
    emitProduct(k, spec);
  }
}

// A tile is one head.
void emitHeadLinear(KernelBuilder& k, llm::HeadLinearOp op) {
  const int64_t heads = op.getHeads(), width = llm::widthOf(op.getY()) / heads;
  ProductSpec spec = productOf(k, op, op.getWeightAttr());
  spec.tilePanels = (width + kLanes - 1) / kLanes;
  spec.numPanels = heads * spec.tilePanels;
  spec.tileCols = spec.cols;
  spec.epilogue = [&](const OutputTile& tile) {
    const int64_t lanes = lanesFor(width);
    k.loop(k.ci(0), tile.rows, 1, [&](Value r) {
      Value from = k.rowPtr(tile.outputs, r, tile.stride);
      Value to = k.offset(k.rowOf("y", k.add(tile.firstRow, r)), k.mul(tile.index, width * 4));
      k.loop(k.ci(0), k.ci(width * 4), lanes * 4,
             [&](Value at) { k.store(k.loadF32(k.offset(from, at), lanes), k.offset(to, at), 4); });
    });
  };
  emitProduct(k, spec);
}

void emitLinearResidual(KernelBuilder& k, llm::LinearResidualOp op) {
  ProductSpec spec = productOf(k, op, op.getWeightAttr());
  Value bias = k.operandIf(op.getBiasAttr(), "bias");
  const float scale = float(op.getScale().convertToDouble());
  spec.epilogue = [&](const OutputTile& tile) {
    forOutputs(k, tile, bias, [&](Value row, Value panel, Value v) {
      if (scale != 1.0f) v = k.mulf(v, k.splat(scale));
      v = k.addf(k.loadF32(panelAt(k, "residual", row, panel)), v);
      k.store(v, panelAt(k, "y", row, panel), 4);
    });
  };
  emitProduct(k, spec);
}

// Panels of gate and up alternate.
void emitNormGlu(KernelBuilder& k, llm::NormGluOp op) {
  ProductSpec spec = normProductOf(k, op, op.getGateProjAttr());
  spec.numPanels *= 2;
  const int64_t width = llm::widthOf(op.getY());
  Value bias = k.operandIf(op.getGateBiasAttr(), "bias");
  spec.epilogue = [&](const OutputTile& tile) {
    k.loop(k.ci(0), tile.rows, 1, [&](Value r) {
      k.loop(k.ci(0), tile.panels, 2, [&](Value p) {
        Value panel = k.div(k.add(tile.firstPanel, p), 2);
        Value gate = k.loadF32(tile.at(k, r, p)), up = k.loadF32(tile.at(k, r, k.add(p, 1)));
        if (bias) {
          Value at = k.offset(bias, k.mul(panel, kLanes * 4));
          gate = k.addf(gate, k.loadF32(at));
          up = k.addf(up, k.loadF32(k.offset(at, width * 4)));
        }
        Value v = k.mulf(emitActivationValue(k, op.getActivation(), gate), up);
        k.store(v, panelAt(k, "y", k.add(tile.firstRow, r), panel), 4);
      });
    });
  };
  emitProduct(k, spec);
}

}  // namespace llmc::cpu
