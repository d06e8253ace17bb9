// Products as chains of FMAs. Decode (few rows) multiplies weights straight from memory, several
// panels at once; prefill expands a piece of a tile's weights to floats once and uses it for all
// rows of the block.
#include "codegen/cpu/Product.h"

using namespace mlir;

namespace llmc::cpu {

namespace {

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

class FmaProduct final : public ProductFrame {
 public:
  FmaProduct(KernelBuilder& k, const ProductSpec& spec, const KernelShape& shape)
      : ProductFrame(
            k, spec,
            std::min(shape.maxRows, shape.isDecode() ? llm::kDecodeMaxRows : blockRows(k.target())),
            shape.isDecode() ? 1 : k.target().gemmRows),
        decode_(shape.isDecode()),
        expand_(!decode_ && spec.storage != Storage::f32),
        copyRows_(spec.norm || spec.gather),
        expandCols_(expandCols(k.target())),
        // A stride that is no power of two keeps the rows of a register tile in different sets of
        // the first-level cache.
        rowStride_(copyRows_ ? roundUp(spec.cols, kLanes) + kLanes : spec.xStride) {
    if (copyRows_) rows_ = k.scratch(roundUp(maxBlockRows_, rowUnit_) * rowStride_ * 4);
    if (expand_) expanded_ = k.scratch(expandCols_ * tileStride_ * 4);
  }

 private:
  void prepareBlock(Value first, Value rows) override {
    if (!copyRows_) {
      block_ = {k_.rowPtr(spec_.x, first, spec_.xStride), rowStride_ * 4};
      return;
    }
    block_ = {rows_, rowStride_ * 4};
    k_.loop(k_.ci(0), rows, 1, [&](Value r) {
      Value from = sourceRow(k_.add(first, r)), to = k_.rowPtr(rows_, r, rowStride_);
      if (spec_.norm) return normRow(k_, from, spec_.norm, to, spec_.cols, spec_.eps);
      k_.loop(k_.ci(0), k_.ci(roundUp(spec_.cols, kLanes) * 4), kLanes * 4,
              [&](Value at) { k_.store(k_.loadF32(k_.offset(from, at)), k_.offset(to, at), 4); });
    });
  }

  void multiply(const Panels& weights, const OutputTile& tile) override {
    if (decode_)
      multiplyFromMemory(weights, tile);
    else
      multiplyExpanded(weights, tile);
  }

  void multiplyFromMemory(const Panels& b, const OutputTile& tile) {
    forBlocks(k_, tile.rows, rowTiles(k_.target(), decode_), [&](Value m, int64_t rows) {
      forPanels(tile, panelsFor(k_.target(), rows, k_.target().gemvPanels),
                [&](Value p, int64_t panels) {
                  Values acc(rows * panels, k_.zero());
                  Rows a{k_.offset(block_.base, k_.mul(m, block_.strideBytes)), block_.strideBytes};
                  acc = cpu::multiply(k_, a, b.from(k_, p), rows, panels, spec_.cols, acc);
                  storeTile(tile, m, p, rows, panels, acc);
                });
    });
  }

  void multiplyExpanded(const Panels& b, const OutputTile& tile) {
    zeroOutputs(tile);
    auto piece = [&](Value k0, int64_t count) {
      Panels from = b;
      from.base = k_.offset(b.base, k_.mul(k0, b.stepBytes / b.kPerStep));
      if (expand_) {
        expandPanels(k_, from, tile.panels, count, expanded_, spec_.tilePanels);
        from = {expanded_, kLanes * 4, tileStride_ * 4, 1, Storage::f32};
      }
      forPanels(tile, k_.target().gemmPanels, [&](Value p, int64_t panels) {
        forBlocks(k_, tile.rows, rowTiles(k_.target(), decode_), [&](Value m, int64_t rows) {
          Rows a{k_.offset(block_.base, k_.add(k_.mul(m, block_.strideBytes), k_.mul(k0, 4))),
                 block_.strideBytes};
          Values acc;
          for (int64_t i = 0; i < rows; ++i)
            for (int64_t q = 0; q < panels; ++q)
              acc.push_back(k_.loadF32(tile.at(k_, k_.add(m, i), k_.add(p, q))));
          acc = cpu::multiply(k_, a, from.from(k_, p), rows, panels, count, acc);
          storeTile(tile, m, p, rows, panels, acc);
        });
      });
    };
    const int64_t whole = spec_.cols / expandCols_ * expandCols_;
    k_.loop(k_.ci(0), k_.ci(whole), expandCols_, [&](Value k0) { piece(k0, expandCols_); });
    if (spec_.cols > whole) piece(k_.ci(whole), spec_.cols - whole);
  }

  void storeTile(const OutputTile& tile, Value m, Value p, int64_t rows, int64_t panels,
                 const Values& acc) {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t q = 0; q < panels; ++q)
        k_.store(acc[i * panels + q], tile.at(k_, k_.add(m, i), k_.add(p, q)), 4);
  }

  const bool decode_, expand_, copyRows_;
  const int64_t expandCols_, rowStride_;
  Value rows_, expanded_;
  Rows block_;
};

}  // namespace

void emitFmaProduct(KernelBuilder& k, const ProductSpec& spec, const KernelShape& shape) {
  FmaProduct(k, spec, shape).emit();
}

}  // namespace llmc::cpu
