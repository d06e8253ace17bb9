// Matrix products with what is fused into them: a norm before, an epilogue after.
//
// One frame serves all: rows are walked in blocks that fit the cache, each thread brings its own
// copy of a block of the left operand into scratch where a norm or a gather is fused in, and every
// tile of outputs is finished by an epilogue while it is still in the first-level cache. Decode
// (few rows) multiplies weights straight from memory, several panels at once; prefill expands a
// piece of a tile's weights to floats once and uses it for all rows of the block.
#include "codegen/cpu/LinearFrame.h"
#include "codegen/cpu/Math.h"
#include "codegen/cpu/Multiply.h"

using namespace mlir;

namespace llmc::cpu {

namespace {

constexpr int64_t roundUp(int64_t v, int64_t to) { return (v + to - 1) / to * to; }

/// k values of a tile's weights that are expanded at a time: the panels of a register tile take
/// half of the first-level cache (256 x 16 floats are 16 KB) and leave the rest to its rows.
int64_t expandCols(const CpuTarget& target) {
  return target.l1Bytes / 2 / (target.gemmPanels * kLanes * 4) / 64 * 64;
}
/// Rows of a block in prefill: those columns of them take three eighths of the second-level cache,
/// beside the expanded tile and its outputs. More than 256 rows gain nothing: the weights are
/// expanded seldom enough.
int64_t blockRows(const CpuTarget& target) {
  return std::min<int64_t>(target.l2Bytes * 3 / 8 / (expandCols(target) * 4), 256);
}

class LinearFrame {
 public:
  LinearFrame(KernelBuilder& k, const LinearSpec& spec, const KernelShape& shape)
      : k_(k),
        spec_(spec),
        decode_(shape.isDecode()),
        maxBlockRows_(
            std::min(shape.maxRows, decode_ ? llm::kDecodeMaxRows : blockRows(k.target()))),
        expandCols_(expandCols(k.target())),
        tileStride_(spec.tilePanels * kLanes) {
    expand_ = !decode_ && spec.storage != Storage::f32;
    copyRows_ = spec.norm || spec.gather || spec.sourceRow;
    // A stride that is no power of two keeps the rows of a register tile in different sets of the
    // first-level cache.
    rowStride_ = copyRows_ ? roundUp(spec.cols, kLanes) + kLanes : spec.xStride;
    if (copyRows_) rows_ = k.scratch(roundUp(maxBlockRows_, k.target().gemmRows) * rowStride_ * 4);
    if (expand_) expanded_ = k.scratch(expandCols_ * tileStride_ * 4);
    outputs_ = k.scratch(roundUp(maxBlockRows_, k.target().gemmRows) * tileStride_ * 4);
  }

  void emit() {
    k_.ifThen(k_.cmp(arith::CmpIPredicate::slt, k_.tileBegin(), k_.tileEnd()), [&] {
      if (!spec_.numExperts)
        return emitRows(k_.ci(0), spec_.gather ? k_.step().numLogitsRows : k_.step().numRows);
      k_.loop(k_.ci(0), k_.ci(spec_.numExperts), 1, [&](Value expert) {
        Value at = k_.offset(spec_.expertRows, k_.mul(expert, 8));
        expert_ = expert;
        emitRows(k_.load(k_.i64(), at, 8), k_.load(k_.i64(), k_.offset(at, 8), 8));
      });
    });
  }

 private:
  /// Rows [begin, end) of the step, or of an expert.
  void emitRows(Value begin, Value end) {
    Value numRows = k_.sub(end, begin);
    // Blocks of equal size: a short last block would use its expanded weights for few rows.
    Value numBlocks = k_.ceilDiv(numRows, maxBlockRows_);
    Value blockRows =
        k_.div(k_.add(numRows, k_.sub(numBlocks, k_.ci(1))), k_.max(numBlocks, k_.ci(1)));
    const int64_t unit = decode_ ? 1 : k_.target().gemmRows;
    blockRows = k_.min(k_.mul(k_.ceilDiv(blockRows, unit), unit), k_.ci(maxBlockRows_));
    // Rounding up may need one block less, rounding down to the bound one more.
    k_.whileLess(begin, end, [&](Value first) {
      emitBlock(first, k_.min(blockRows, k_.sub(end, first)));
      return k_.add(first, blockRows);
    });
  }

  void emitBlock(Value first, Value rows) {
    Rows a{copyRows_ ? rows_ : k_.rowPtr(spec_.x, first, spec_.xStride), rowStride_ * 4};
    if (copyRows_) copyBlock(first, rows);
    k_.loop(k_.tileBegin(), k_.tileEnd(), 1, [&](Value index) {
      Tile tile{index,  k_.mul(index, spec_.tilePanels), {}, first, rows, outputs_, tileStride_,
                expert_};
      tile.panels =
          spec_.numPanels % spec_.tilePanels
              ? k_.min(k_.ci(spec_.tilePanels), k_.sub(k_.ci(spec_.numPanels), tile.firstPanel))
              : k_.ci(spec_.tilePanels);
      Value weight = spec_.weight;
      if (expert_) weight = k_.offset(weight, k_.mul(expert_, spec_.expertBytes));
      Panels b = weightPanels(weight, spec_.storage, spec_.cols).from(k_, tile.firstPanel);
      Rows own = a;
      if (spec_.tileCols) own.base = k_.offset(a.base, k_.mul(index, spec_.tileCols * 4));
      if (decode_)
        multiplyDecode(own, b, tile);
      else
        multiplyPrefill(own, b, tile);
      spec_.epilogue(tile);
    });
  }

  void copyBlock(Value first, Value rows) {
    k_.loop(k_.ci(0), rows, 1, [&](Value r) {
      Value source = k_.add(first, r);
      if (spec_.gather) source = k_.loadI32(k_.offset(k_.step().logitsRows, k_.mul(source, 4)));
      Value from =
          spec_.sourceRow ? spec_.sourceRow(source) : k_.rowPtr(spec_.x, source, spec_.xStride);
      Value to = k_.rowPtr(rows_, r, rowStride_);
      if (spec_.norm) return normRow(k_, spec_.norm, from, to, spec_.cols);
      k_.loop(k_.ci(0), k_.ci(roundUp(spec_.cols, kLanes) * 4), kLanes * 4,
              [&](Value at) { k_.store(k_.loadF32(k_.offset(from, at)), k_.offset(to, at), 4); });
    });
  }

  /// body(panel in tile, panels) over the tile's panels, `at_once` at a time as far as they go.
  void forPanels(const Tile& tile, int64_t atOnce,
                 const std::function<void(Value, int64_t)>& body) {
    if (spec_.numPanels % spec_.tilePanels == 0 && spec_.tilePanels % atOnce == 0)
      return k_.loop(k_.ci(0), tile.panels, atOnce, [&](Value p) { body(p, atOnce); });
    SmallVector<int64_t> sizes = {atOnce};
    if (atOnce > 1) sizes.push_back(1);
    forBlocks(k_, tile.panels, sizes, body);
  }

  void multiplyDecode(const Rows& a, const Panels& b, const Tile& tile) {
    forBlocks(k_, tile.rows, rowTiles(k_.target(), decode_), [&](Value m, int64_t rows) {
      forPanels(tile, panelsFor(k_.target(), rows, k_.target().gemvPanels),
                [&](Value p, int64_t panels) {
                  Values acc(rows * panels, k_.zero());
                  Rows block{k_.offset(a.base, k_.mul(m, a.strideBytes)), a.strideBytes};
                  acc = multiply(k_, block, b.from(k_, p), rows, panels, spec_.cols, acc);
                  storeTile(tile, m, p, rows, panels, acc);
                });
    });
  }

  void multiplyPrefill(const Rows& a, const Panels& b, const Tile& tile) {
    k_.loop(k_.ci(0), tile.rows, 1, [&](Value m) {
      k_.loop(k_.ci(0), k_.ci(tileStride_ * 4), kLanes * 4, [&](Value at) {
        k_.store(k_.zero(), k_.offset(k_.rowPtr(outputs_, m, tileStride_), at), 4);
      });
    });
    auto piece = [&](Value k0, int64_t count) {
      Panels from = b;
      from.base = k_.offset(b.base, k_.mul(k0, b.stepBytes / b.kPerStep));
      if (expand_) {
        expandPanels(k_, from, tile.panels, count, expanded_, spec_.tilePanels);
        from = {expanded_, kLanes * 4, tileStride_ * 4, 1, Storage::f32};
      }
      forPanels(tile, k_.target().gemmPanels, [&](Value p, int64_t panels) {
        forBlocks(k_, tile.rows, rowTiles(k_.target(), decode_), [&](Value m, int64_t rows) {
          Rows block{k_.offset(a.base, k_.add(k_.mul(m, a.strideBytes), k_.mul(k0, 4))),
                     a.strideBytes};
          Values acc;
          for (int64_t i = 0; i < rows; ++i)
            for (int64_t q = 0; q < panels; ++q)
              acc.push_back(k_.loadF32(tile.at(k_, k_.add(m, i), k_.add(p, q))));
          acc = multiply(k_, block, from.from(k_, p), rows, panels, count, acc);
          storeTile(tile, m, p, rows, panels, acc);
        });
      });
    };
    const int64_t whole = spec_.cols / expandCols_ * expandCols_;
    k_.loop(k_.ci(0), k_.ci(whole), expandCols_, [&](Value k0) { piece(k0, expandCols_); });
    if (spec_.cols > whole) piece(k_.ci(whole), spec_.cols - whole);
  }

  void storeTile(const Tile& tile, Value m, Value p, int64_t rows, int64_t panels,
                 const Values& acc) {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t q = 0; q < panels; ++q)
        k_.store(acc[i * panels + q], tile.at(k_, k_.add(m, i), k_.add(p, q)), 4);
  }

  KernelBuilder& k_;
  const LinearSpec& spec_;
  const bool decode_;
  const int64_t maxBlockRows_;
  const int64_t expandCols_;
  const int64_t tileStride_;
  bool expand_, copyRows_;
  int64_t rowStride_;
  Value rows_, expanded_, outputs_;
  Value expert_;  // of the loop over experts; null without one
};

}  // namespace

void emitLinearFrame(KernelBuilder& k, const LinearSpec& spec, const KernelShape& shape) {
  LinearFrame(k, spec, shape).emit();
}

void forTile(KernelBuilder& k, const Tile& tile, int64_t panelStep,
             const std::function<void(Value, Value)>& body) {
  k.loop(k.ci(0), tile.rows, 1,
         [&](Value r) { k.loop(k.ci(0), tile.panels, panelStep, [&](Value p) { body(r, p); }); });
}

void setMatrix(LinearSpec& spec, Operation* op, FlatSymbolRefAttr weight) {
  const MatrixInfo m = matrixInfo(op, weight);
  spec.storage = m.storage;
  spec.cols = m.cols;
  spec.numPanels = (m.rows + kLanes - 1) / kLanes;
}

namespace {

/// Where output panel `panel` of the tile's row `row` goes in a buffer.
Value outputAt(KernelBuilder& k, Value base, const Tile& tile, int64_t stride, Value row,
               Value panel) {
  return k.offset(k.rowPtr(base, k.add(tile.firstRow, row), stride), k.mul(panel, kLanes * 4));
}

/// y = the product, as it is.
void copyEpilogue(KernelBuilder& k, LinearSpec& spec, Value y, int64_t yStride) {
  spec.epilogue = [&k, y, yStride](const Tile& tile) {
    forTile(k, tile, 1, [&](Value r, Value p) {
      Value v = k.loadF32(tile.at(k, r, p));
      k.store(v, outputAt(k, y, tile, yStride, r, k.add(tile.firstPanel, p)), 4);
    });
  };
}

/// The norm of a fused op, whose weight is operand `next`; moves `next` past it.
template <typename Op>
NormArgs normOf(KernelBuilder& k, Op op, int64_t& next) {
  NormArgs norm{.layer = op.getLayer(), .eps = op.getEps().convertToDouble()};
  norm.weight = k.operand(next++);
  if (op.getNormBiasAttr()) norm.bias = k.operand(next++);
  return norm;
}

/// y = softcap(scale * (the product + bias)), of logits and norm_logits from operand `next` on.
template <typename Op>
void logitsEpilogue(KernelBuilder& k, LinearSpec& spec, Op op, int64_t next, int64_t yStride) {
  Value bias = op.getBiasAttr() ? k.operand(next++) : Value();
  Value y = k.operand(next);
  const double scale = op.getScale().convertToDouble(), cap = op.getSoftcap().convertToDouble();
  spec.epilogue = [&k, bias, y, yStride, scale, cap](const Tile& tile) {
    forTile(k, tile, 1, [&](Value r, Value p) {
      Value panel = k.add(tile.firstPanel, p);
      Value v = k.loadF32(tile.at(k, r, p));
      if (bias) v = k.addf(v, k.loadF32(k.offset(bias, k.mul(panel, kLanes * 4))));
      if (scale != 1.0) v = k.mulf(v, k.splat(float(scale)));
      if (cap != 0.0) v = emitSoftcap(k, v, cap);
      k.store(v, outputAt(k, y, tile, yStride, r, panel), 4);
    });
  };
}

}  // namespace

// linear: [x, weight, y]
void emitLinear(KernelBuilder& k, llm::LinearOp op, const KernelShape& shape) {
  LinearSpec spec{.x = k.operand(0), .xStride = shape.rowStrides[0], .weight = k.operand(1)};
  setMatrix(spec, op, op.getWeightAttr());
  copyEpilogue(k, spec, k.operand(2), shape.rowStrides[1]);
  LinearFrame(k, spec, shape).emit();
}

// logits: [x, weight, (bias), y]
void emitLogits(KernelBuilder& k, llm::LogitsOp op, const KernelShape& shape) {
  LinearSpec spec{
      .x = k.operand(0), .xStride = shape.rowStrides[0], .weight = k.operand(1), .gather = true};
  setMatrix(spec, op, op.getWeightAttr());
  logitsEpilogue(k, spec, op, 2, shape.rowStrides[1]);
  LinearFrame(k, spec, shape).emit();
}

// norm_logits: [x, norm, (norm_bias), weight, (bias), y]
void emitNormLogits(KernelBuilder& k, llm::NormLogitsOp op, const KernelShape& shape) {
  int64_t next = 1;
  LinearSpec spec{.x = k.operand(0), .xStride = shape.rowStrides[0], .gather = true};
  spec.norm = normOf(k, op, next);
  spec.weight = k.operand(next++);
  setMatrix(spec, op, op.getWeightAttr());
  logitsEpilogue(k, spec, op, next, shape.rowStrides[1]);
  LinearFrame(k, spec, shape).emit();
}

// norm_linear: [x, norm, (norm_bias), weight, (bias), y]
void emitNormLinear(KernelBuilder& k, llm::NormLinearOp op, const KernelShape& shape) {
  int64_t next = 1;
  LinearSpec spec{.x = k.operand(0), .xStride = shape.rowStrides[0]};
  spec.norm = normOf(k, op, next);
  spec.weight = k.operand(next++);
  setMatrix(spec, op, op.getWeightAttr());
  Value bias = op.getBiasAttr() ? k.operand(next++) : Value();
  Value y = k.operand(next);
  spec.epilogue = [&](const Tile& tile) {
    forTile(k, tile, 1, [&](Value r, Value p) {
      Value panel = k.add(tile.firstPanel, p);
      Value v = k.loadF32(tile.at(k, r, p));
      if (bias) v = k.addf(v, k.loadF32(k.offset(bias, k.mul(panel, kLanes * 4))));
      v = emitActivationValue(k, op.getActivation(), v);
      k.store(v, outputAt(k, y, tile, shape.rowStrides[1], r, panel), 4);
    });
  };
  LinearFrame(k, spec, shape).emit();
}

// head_linear: [x, weight, y]. A tile is one head.
void emitHeadLinear(KernelBuilder& k, llm::HeadLinearOp op, const KernelShape& shape) {
  const int64_t heads = op.getHeads(), width = widthOf(op.getY()) / heads;
  LinearSpec spec{.x = k.operand(0), .xStride = shape.rowStrides[0], .weight = k.operand(1)};
  setMatrix(spec, op, op.getWeightAttr());
  spec.tilePanels = (width + kLanes - 1) / kLanes;
  spec.numPanels = heads * spec.tilePanels;
  spec.tileCols = spec.cols;
  Value y = k.operand(2);
  spec.epilogue = [&](const Tile& tile) {
    const int64_t lanes = lanesFor(width);
    k.loop(k.ci(0), tile.rows, 1, [&](Value r) {
      Value from = k.rowPtr(tile.outputs, r, tile.stride);
      Value to = k.offset(k.rowPtr(y, k.add(tile.firstRow, r), shape.rowStrides[1]),
                          k.mul(tile.index, width * 4));
      k.loop(k.ci(0), k.ci(width * 4), lanes * 4,
             [&](Value at) { k.store(k.loadF32(k.offset(from, at), lanes), k.offset(to, at), 4); });
    });
  };
  LinearFrame(k, spec, shape).emit();
}

// linear_residual: [x, residual, weight, (bias), y]
void emitLinearResidual(KernelBuilder& k, llm::LinearResidualOp op, const KernelShape& shape) {
  LinearSpec spec{.x = k.operand(0), .xStride = shape.rowStrides[0], .weight = k.operand(2)};
  setMatrix(spec, op, op.getWeightAttr());
  Value residual = k.operand(1);
  Value bias = op.getBiasAttr() ? k.operand(3) : Value();
  Value y = k.operand(op.getBiasAttr() ? 4 : 3);
  const float scale = float(op.getScale().convertToDouble());
  spec.epilogue = [&](const Tile& tile) {
    forTile(k, tile, 1, [&](Value r, Value p) {
      Value panel = k.add(tile.firstPanel, p);
      Value v = k.loadF32(tile.at(k, r, p));
      if (bias) v = k.addf(v, k.loadF32(k.offset(bias, k.mul(panel, kLanes * 4))));
      if (scale != 1.0f) v = k.mulf(v, k.splat(scale));
      v = k.addf(k.loadF32(outputAt(k, residual, tile, shape.rowStrides[1], r, panel)), v);
      k.store(v, outputAt(k, y, tile, shape.rowStrides[2], r, panel), 4);
    });
  };
  LinearFrame(k, spec, shape).emit();
}

// norm_glu: [x, norm, (norm_bias), gate|up, (bias), y]
void emitNormGlu(KernelBuilder& k, llm::NormGluOp op, const KernelShape& shape) {
  int64_t next = 1;
  LinearSpec spec{.x = k.operand(0), .xStride = shape.rowStrides[0]};
  spec.norm = normOf(k, op, next);
  spec.weight = k.operand(next++);
  setMatrix(spec, op, op.getGateProjAttr());
  spec.numPanels *= 2;
  const int64_t width = widthOf(op.getY());
  Value bias = op.getGateBiasAttr() ? k.operand(next++) : Value();
  Value y = k.operand(next);
  spec.epilogue = [&](const Tile& tile) {
    forTile(k, tile, 2, [&](Value r, Value p) {
      Value panel = k.div(k.add(tile.firstPanel, p), 2);
      Value gate = k.loadF32(tile.at(k, r, p)), up = k.loadF32(tile.at(k, r, k.add(p, 1)));
      if (bias) {
        Value at = k.offset(bias, k.mul(panel, kLanes * 4));
        gate = k.addf(gate, k.loadF32(at));
        up = k.addf(up, k.loadF32(k.offset(at, width * 4)));
      }
      Value v = k.mulf(emitActivationValue(k, op.getActivation(), gate), up);
      k.store(v, outputAt(k, y, tile, shape.rowStrides[1], r, panel), 4);
    });
  };
  LinearFrame(k, spec, shape).emit();
}

// norm_qkv: [x, norm, (norm_bias), qkv, (bias), (q_norm, k_norm), (rope), keys, values, q]. A tile
// is one head of q, k or v.
void emitNormQkv(KernelBuilder& k, llm::NormQkvOp op, const KernelShape& shape) {
  const KvLayout kv(cast<llm::KvCacheType>(op.getKv().getType()));
  const int64_t headDim = kv.headDim;
  const int64_t half = op.getRopeAttr() ? rotaryDim(op, op.getRopeAttr()) / 2 : headDim / 2;
  const int64_t numHeads = widthOf(op.getQ()) / headDim;
  int64_t next = 1;
  LinearSpec spec{.x = k.operand(0), .xStride = shape.rowStrides[0]};
  spec.norm = normOf(k, op, next);
  spec.weight = k.operand(next++);
  setMatrix(spec, op, op.getQProjAttr());
  spec.tilePanels = kv.headDimPadded / kLanes;
  spec.numPanels = (numHeads + 2 * kv.numKvHeads) * spec.tilePanels;
  Value bias = op.getQBiasAttr() ? k.operand(next++) : Value();
  Value headNorms[2];  // of q and k
  if (op.getQNormAttr())
    for (Value& norm : headNorms) norm = k.operand(next++);
  Value rope = op.getRopeAttr() ? k.operand(next++) : Value();
  Value keys = k.operand(next), values = k.operand(next + 1), q = k.operand(next + 2);

  spec.epilogue = [&](const Tile& tile) {
    // body(row, where its head's outputs lie)
    auto forHeadRows = [&](const std::function<void(Value, Value)>& body) {
      k.loop(k.ci(0), tile.rows, 1, [&](Value r) {
        body(k.add(tile.firstRow, r), k.rowPtr(tile.outputs, r, tile.stride));
      });
    };
    auto loadHead = [&](Value head, Value i, int64_t lanes) {
      Value v = k.loadF32(k.offset(head, k.mul(i, 4)), lanes);
      if (!bias) return v;
      Value column = k.add(k.mul(tile.index, headDim), i);
      return k.addf(v, k.loadF32(k.offset(bias, k.mul(column, 4)), lanes));
    };
    /// body(element, values) over a head of q or k after its norm and RoPE.
    auto forRotated = [&](Value pos, Value head, Value headNorm,
                          const std::function<void(Value, Value)>& body) {
      const int64_t lanes = lanesFor(half);
      auto element = [&](Value i, int64_t count) {
        return headNorm ? k.loadF32(k.offset(head, k.mul(i, 4)), count) : loadHead(head, i, count);
      };
      if (headNorm) {
        const int64_t all = lanesFor(headDim);
        if (bias)
          k.loop(k.ci(0), k.ci(headDim), all,
                 [&](Value i) { k.store(loadHead(head, i, all), k.offset(head, k.mul(i, 4)), 4); });
        normHead(k, {.weight = headNorm, .eps = op.getQkEps()->convertToDouble()}, head, head,
                 headDim);
      }
      k.loop(k.ci(0), k.ci(half), lanes, [&](Value i) {
        Value upper = k.add(i, half);
        Value low = element(i, lanes), high = element(upper, lanes);
        if (rope) std::tie(low, high) = rotate(k, rope, pos, i, half, low, high);
        body(i, low);
        body(upper, high);
      });
      if (2 * half == headDim) return;
      const int64_t rest = lanesFor(headDim - 2 * half);
      k.loop(k.ci(2 * half), k.ci(headDim), rest, [&](Value i) { body(i, element(i, rest)); });
    };
    auto less = [&](Value a, int64_t b) { return k.cmp(arith::CmpIPredicate::slt, a, k.ci(b)); };
    auto atLeast = [&](Value a, int64_t b) { return k.cmp(arith::CmpIPredicate::sge, a, k.ci(b)); };

    k.ifThen(less(tile.index, numHeads), [&] {
      forHeadRows([&](Value r, Value head) {
        Value out = k.offset(k.rowPtr(q, r, shape.rowStrides[1]), k.mul(tile.index, headDim * 4));
        forRotated(k.row(r).pos, head, headNorms[0],
                   [&](Value i, Value v) { k.store(v, k.offset(out, k.mul(i, 4)), 4); });
      });
    });
    Value kHead = k.add(tile.index, -numHeads);
    k.ifThen(atLeast(kHead, 0), [&] {
      k.ifThen(less(kHead, kv.numKvHeads), [&] {
        forHeadRows([&](Value r, Value head) {
          RowArgs row = k.row(r);
          forRotated(row.pos, head, headNorms[1],
                     [&](Value i, Value v) { storeKeys(k, kv, keys, row, kHead, i, v); });
        });
      });
    });
    Value vHead = k.add(kHead, -kv.numKvHeads);
    k.ifThen(atLeast(vHead, 0), [&] {
      const int64_t lanes = lanesFor(headDim);
      forHeadRows([&](Value r, Value head) {
        RowArgs row = k.row(r);
        k.loop(k.ci(0), k.ci(headDim), lanes, [&](Value i) {
          storeValues(k, kv, values, row, vHead, i, loadHead(head, i, lanes));
        });
      });
    });
  };
  LinearFrame(k, spec, shape).emit();
}

}  // namespace llmc::cpu
