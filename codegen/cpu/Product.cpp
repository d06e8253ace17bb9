#include "codegen/cpu/Product.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace llmc::cpu {

ProductFrame::ProductFrame(KernelBuilder& k, const ProductSpec& spec, int64_t maxBlockRows,
                           int64_t rowUnit)
    : k_(k),
      spec_(spec),
      maxBlockRows_(maxBlockRows),
      rowUnit_(rowUnit),
      // Tiles that have each a left operand of their own cannot be one.
      joinTiles_(spec.tileCols ? 1 : k.tuning().joinTiles.value_or(1)),
      tileStride_(joinTiles_ * spec.tilePanels * kLanes) {
  outputs_ = k.scratch(roundUp(maxBlockRows, rowUnit) * tileStride_ * 4);
}

LeftKind ProductSpec::leftKind(const KernelBuilder& k) const {
  // It is rounded once for all tiles: it must be the same for all.
  if (tileCols) return LeftKind::f32;
  if (format == llmrt::plainFormat(llmrt::DType::kBF16))
    return k.target().bf16Product == Bf16Product::fma ? LeftKind::f32 : LeftKind::bf16;
  return !format->isPlain() && k.int8Activations() ? LeftKind::i8 : LeftKind::f32;
}

ProductSpec productOf(KernelBuilder& k, Operation* op, FlatSymbolRefAttr matrix, StringRef weight) {
  const llm::Matrix m = llm::matrixOf(op, matrix);
  return {.x = k.operand("x"),
          .xStride = k.rowStride("x"),
          .cols = m.cols,
          .weight = k.operand(weight),
          .format = &llm::weightFormatOf(m.type),
          .numPanels = (m.rows + kLanes - 1) / kLanes};
}

void ProductFrame::emit() {
  begin_ = k_.tileBegin();
  end_ = k_.tileEnd();
  if (spec_.numTiles) {
    begin_ = k_.max(begin_, k_.ci(spec_.firstTile));
    end_ = k_.min(end_, k_.ci(spec_.firstTile + spec_.numTiles));
  }
  k_.ifThen(k_.cmp(arith::CmpIPredicate::slt, begin_, end_), [&] {
    if (!spec_.numExperts)
      return emitRows(k_.ci(0), spec_.gather ? k_.step().numLogitsRows : k_.step().numRows, {});
    k_.loop(k_.ci(0), k_.ci(spec_.numExperts), 1, [&](Value expert) {
      Value at = k_.offset(spec_.expertRows, k_.mul(expert, 8));
      emitRows(k_.load(k_.i64(), at, 8), k_.load(k_.i64(), k_.offset(at, 8), 8), expert);
    });
  });
}

void ProductFrame::emitRows(Value begin, Value end, Value expert) {
  Value numRows = k_.sub(end, begin);
  // Blocks of equal size: a short last block would use its weights for few rows.
  Value numBlocks = k_.ceilDiv(numRows, maxBlockRows_);
  Value blockRows =
      k_.div(k_.add(numRows, k_.sub(numBlocks, k_.ci(1))), k_.max(numBlocks, k_.ci(1)));
  blockRows = k_.min(k_.mul(k_.ceilDiv(blockRows, rowUnit_), rowUnit_), k_.ci(maxBlockRows_));
  const Panels weight = weightPanels(k_, spec_.weight, *spec_.format, spec_.cols, spec_.numPanels,
                                     spec_.numExperts, expert);
  Value firstTile = spec_.firstTile ? k_.add(begin_, -spec_.firstTile) : begin_;
  prefetchFirst(weight.from(k_, k_.mul(firstTile, spec_.tilePanels)));
  // Rounding up may need one block less, rounding down to the bound one more.
  k_.whileLess(begin, end, [&](Value first) {
    Value rows = k_.min(blockRows, k_.sub(end, first));
    prepareBlock(first, rows);
    k_.loop(begin_, end_, joinTiles_, [&](Value index) {
      Value ofWeight = spec_.firstTile ? k_.add(index, -spec_.firstTile) : index;
      OutputTile tile{.index = index,
                      .firstPanel = k_.mul(ofWeight, spec_.tilePanels),
                      .firstRow = first,
                      .rows = rows,
                      .outputs = outputs_,
                      .stride = tileStride_,
                      .expert = expert};
      Value tiles = joinTiles_ == 1 ? k_.ci(1) : k_.min(k_.ci(joinTiles_), k_.sub(end_, index));
      tile.panels = panelsFrom(tile.firstPanel, tiles);
      multiply(weight.from(k_, tile.firstPanel), tile);
      finishTiles(tile, tiles);
    });
    return k_.add(first, blockRows);
  });
}

Value ProductFrame::panelsFrom(Value first, Value tiles) {
  Value panels = k_.mul(tiles, spec_.tilePanels);
  if (spec_.numPanels % spec_.tilePanels == 0) return panels;
  return k_.min(panels, k_.sub(k_.ci(spec_.numPanels), first));
}

void ProductFrame::finishTiles(const OutputTile& joined, Value tiles) {
  if (joinTiles_ == 1) return spec_.epilogue(joined);
  k_.loop(k_.ci(0), tiles, 1, [&](Value i) {
    OutputTile tile = joined;
    tile.index = k_.add(joined.index, i);
    tile.firstPanel = k_.add(joined.firstPanel, k_.mul(i, spec_.tilePanels));
    tile.panels = panelsFrom(tile.firstPanel, k_.ci(1));
    tile.outputs = k_.offset(joined.outputs, k_.mul(i, spec_.tilePanels * kLanes * 4));
    spec_.epilogue(tile);
  });
}

Value ProductFrame::sourceRow(Value row) {
  if (spec_.sourceRow) return spec_.sourceRow(row);
  if (spec_.gather) row = k_.inputOf("logits_rows", row);
  return k_.rowPtr(spec_.x, row, spec_.xStride);
}

void ProductFrame::forPanels(const OutputTile& tile, int64_t atOnce,
                             const std::function<void(Value, int64_t)>& body) {
  if (spec_.numPanels % spec_.tilePanels == 0 && spec_.tilePanels % atOnce == 0)
    return k_.loop(k_.ci(0), tile.panels, atOnce, [&](Value p) { body(p, atOnce); });
  SmallVector<int64_t> sizes = {atOnce};
  // What is left of joined tiles where a call has fewer.
  if (atOnce > spec_.tilePanels && spec_.tilePanels > 1) sizes.push_back(spec_.tilePanels);
  if (atOnce > 1) sizes.push_back(1);
  forBlocks(k_, tile.panels, sizes, body);
}

void ProductFrame::zeroOutputs(const OutputTile& tile) {
  k_.loop(k_.ci(0), tile.rows, 1, [&](Value m) {
    k_.loop(k_.ci(0), k_.ci(tileStride_ * 4), kLanes * 4, [&](Value at) {
      k_.store(k_.zero(), k_.offset(k_.rowPtr(outputs_, m, tileStride_), at), 4);
    });
  });
}

void emitProduct(KernelBuilder& k, const ProductSpec& spec) {
  if (spec.leftKind(k) == LeftKind::bf16 && k.target().bf16Product == Bf16Product::amx)
    emitAmxProduct(k, spec);
  else
    emitFmaProduct(k, spec);
}

}  // namespace llmc::cpu
