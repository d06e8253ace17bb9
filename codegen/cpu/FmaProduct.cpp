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

/// Rows up to which reading the weights is all that counts.
constexpr int64_t kStreamedRows = 2;
/// k values of a panel that stay in the cache for all blocks of a few rows: 64 KB of 16-bit
/// weights.
constexpr int64_t kPieceCols = 2048;

class FmaProduct final : public ProductFrame {
 public:
  FmaProduct(KernelBuilder& k, const ProductSpec& spec, const KernelShape& shape)
      : ProductFrame(
            k, spec,
            std::min(shape.maxRows, shape.isDecode() ? llm::kDecodeMaxRows : blockRows(k.target())),
            shape.isDecode() ? 1 : k.target().gemmRows),
        decode_(shape.isDecode()),
        expand_(!decode_ && spec.storage != Storage::f32),
        copyRows_(spec.norm || spec.gather || spec.sourceRow),
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
      if (spec_.norm) return normRow(k_, spec_.norm, from, to, spec_.cols);
      k_.loop(k_.ci(0), k_.ci(roundUp(spec_.cols, kLanes) * 4), kLanes * 4,
              [&](Value at) { k_.store(k_.loadF32(k_.offset(from, at)), k_.offset(to, at), 4); });
    });
  }

  void multiply(const Panels& weights, const OutputTile& tile) override {
    const Rows block = block_;
    if (spec_.tileCols) block_.base = k_.offset(block.base, k_.mul(tile.index, spec_.tileCols * 4));
    if (decode_)
      multiplyFromMemory(weights, tile);
    else
      multiplyExpanded(weights, tile);
    block_ = block;
  }

  void multiplyFromMemory(const Panels& b, const OutputTile& tile) {
    auto few = [&](arith::CmpIPredicate p) { return k_.cmp(p, tile.rows, k_.ci(kStreamedRows)); };
    k_.ifThen(few(arith::CmpIPredicate::sle), [&] { multiplyStreams(b, tile); });
    k_.ifThen(few(arith::CmpIPredicate::sgt), [&] { multiplyPieces(b, tile); });
  }

  /// One or two rows: all is over when the weights have been read, for which several panels side by
  /// side are several streams.
  void multiplyStreams(const Panels& b, const OutputTile& tile) {
    forBlocks(k_, tile.rows, {kStreamedRows, 1}, [&](Value m, int64_t rows) {
      forPanels(
          tile, panelsFor(k_.target(), rows, k_.target().gemvPanels), [&](Value p, int64_t panels) {
            Values acc(rows * panels, k_.zero());
            acc = cpu::multiply(k_, rowsFrom(m), b.from(k_, p), rows, panels, spec_.cols, acc);
            storeTile(tile, m, p, rows, panels, acc);
          });
    });
  }

  /// More rows, and multiplying takes as long as reading: a piece of the panel stays in the cache
  /// for blocks of rows as equal as they can be, and each block asks for its share of the piece
  /// that comes next.
  void multiplyPieces(const Panels& b, const OutputTile& tile) {
    zeroOutputs(tile);
    const int64_t bytesPerK = b.stepBytes / b.kPerStep;
    const int64_t most = k_.target().gemmRows;
    Value numBlocks = k_.ceilDiv(tile.rows, most);
    Value blockRows = k_.div(k_.add(tile.rows, k_.add(numBlocks, -1)), numBlocks);
    forPanels(tile, k_.target().gemmPanels, [&](Value p, int64_t panels) {
      auto piece = [&](Value k0, int64_t count) {
        Panels from = b.from(k_, p);
        from.base = k_.offset(from.base, k_.mul(k0, bytesPerK));
        forBlocks(k_, tile.rows, fewRowTiles(most), blockRows, [&](Value m, int64_t rows) {
          Value next = k_.offset(from.base, k_.add(k_.div(k_.mul(m, count * bytesPerK), tile.rows),
                                                   count * bytesPerK));
          Value share = k_.div(k_.ci(rows * bytesPerK << 8), tile.rows);
          auto prefetch = [&](Value k) {
            Value at = k_.offset(next, k_.div(k_.mul(k, share), 256));
            for (int64_t q = 0; q < panels; ++q)
              for (int64_t line = 0; line < 4 * bytesPerK; line += 64)
                k_.prefetchToL2(k_.offset(at, q * b.panelBytes + line));
          };
          multiplyOnto(tile, m, p, rows, panels, from, k0, count, prefetch);
        });
      };
      forPieces(kPieceCols, piece);
    });
  }
  /// Row counts with a register tile of their own in multiplyPieces(): few enough for the code, and
  /// enough for any count to be cut evenly.
  static SmallVector<int64_t> fewRowTiles(int64_t most) {
    SmallVector<int64_t> sizes = {6, 5, 4, 3, 2, 1};
    for (int64_t larger : {8, 12})
      if (larger <= most) sizes.insert(sizes.begin(), larger);
    return sizes;
  }

  void multiplyExpanded(const Panels& b, const OutputTile& tile) {
    zeroOutputs(tile);
    forPieces(expandCols_, [&](Value k0, int64_t count) {
      Panels from = b;
      from.base = k_.offset(b.base, k_.mul(k0, b.stepBytes / b.kPerStep));
      if (expand_) {
        expandPanels(k_, from, tile.panels, count, expanded_, spec_.tilePanels);
        from = {expanded_, kLanes * 4, tileStride_ * 4, 1, Storage::f32};
      }
      forPanels(tile, k_.target().gemmPanels, [&](Value p, int64_t panels) {
        forBlocks(k_, tile.rows, rowTiles(k_.target()), [&](Value m, int64_t rows) {
          multiplyOnto(tile, m, p, rows, panels, from.from(k_, p), k0, count);
        });
      });
    });
  }

  /// body(first k, count) over K in pieces of `cols`, the last of which may be shorter.
  void forPieces(int64_t cols, const std::function<void(Value, int64_t)>& body) {
    const int64_t whole = spec_.cols / cols * cols;
    k_.loop(k_.ci(0), k_.ci(whole), cols, [&](Value k0) { body(k0, cols); });
    if (spec_.cols > whole) body(k_.ci(whole), spec_.cols - whole);
  }

  Rows rowsFrom(Value m) {
    return {k_.offset(block_.base, k_.mul(m, block_.strideBytes)), block_.strideBytes};
  }

  /// outputs[m.., p..] += block[m.., k0..] * weights, over `count` values of k.
  void multiplyOnto(const OutputTile& tile, Value m, Value p, int64_t rows, int64_t panels,
                    const Panels& weights, Value k0, int64_t count,
                    const std::function<void(Value)>& each = {}) {
    Rows a = rowsFrom(m);
    a.base = k_.offset(a.base, k_.mul(k0, 4));
    Values acc;
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t q = 0; q < panels; ++q)
        acc.push_back(k_.loadF32(tile.at(k_, k_.add(m, i), k_.add(p, q))));
    acc = cpu::multiply(k_, a, weights, rows, panels, count, acc, each);
    storeTile(tile, m, p, rows, panels, acc);
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
