// Products of bf16 weights by AMX. The left operand is rounded to bf16 and laid out in tiles of 16
// rows x 32 columns; a panel of weights is a run of tiles as it is. One instruction for any number
// of rows: prefill, decode and every batch sum in the same order.
#include "codegen/cpu/Amx.h"
#include "codegen/cpu/Product.h"

using namespace mlir;

namespace llmc::cpu {

namespace {

/// Rows of a block at most. 128 rows and 4096 columns of bf16 take half of a second-level cache
/// of 2 MB: the other half holds the two panels in work and the two that come next.
constexpr int64_t kBlockRows = 128;
/// Bytes ahead that steps of few rows ask for of each of `panels` panels.
int64_t fewRowsAhead(const KernelBuilder& k, int64_t panels) {
  constexpr int64_t kAhead = 8 << 10;
  const auto tuned = k.tuning().aheadBytes;
  return tuned ? *tuned / panels / kTileBytes * kTileBytes : kAhead;
}

class AmxProduct final : public ProductFrame {
 public:
  AmxProduct(KernelBuilder& k, const ProductSpec& spec)
      : ProductFrame(k, spec, std::min(k.shape().maxRows, kBlockRows), kTileRows),
        fewRows_(k.shape().fewRows()),
        wholeSteps_(spec.cols / kTileCols),
        steps_((spec.cols + kTileCols - 1) / kTileCols),
        rowTiles_(roundUp(maxBlockRows_, kTileRows) / kTileRows) {
    if (spec.norm) normed_ = k.scratch(roundUp(spec.cols, kLanes) * 4);
    left_ = k.scratch(rowTiles_ * steps_ * kTileBytes);
    if (steps_ != wholeSteps_) tails_ = k.scratch(joinTiles_ * spec.tilePanels * kTileBytes);
  }

 private:
  // Rows of the last tile that the block does not have keep what lies there: a row of the result
  // depends on no other.
  void prepareBlock(Value first, Value rows) override {
    k_.loop(k_.ci(0), rows, 1, [&](Value r) {
      Value from = sourceRow(k_.add(first, r));
      if (spec_.norm) {
        normRow(k_, spec_.norm, from, normed_, spec_.cols);
        from = normed_;
      }
      Value to = k_.offset(leftTile(k_.div(r, kTileRows), k_.ci(0)),
                           k_.mul(k_.rem(r, kTileRows), kTileRowBytes));
      auto half = [&](Value step, int64_t h, int64_t columns) {
        Value at = k_.offset(from, k_.add(k_.mul(step, kTileCols * 4), h * kLanes * 4));
        // Beyond the last column lies what belongs to nobody.
        Value v = columns == kLanes ? k_.loadF32(at)
                  : columns > 0     ? k_.keepLanes(k_.loadF32(at), columns)
                                    : k_.zero();
        k_.store(k_.roundToBf16(v),
                 k_.offset(to, k_.add(k_.mul(step, kTileBytes), h * kTileRowBytes / 2)), 2);
      };
      k_.loop(k_.ci(0), k_.ci(wholeSteps_), 1, [&](Value step) {
        half(step, 0, kLanes);
        half(step, 1, kLanes);
      });
      const int64_t rest = spec_.cols - wholeSteps_ * kTileCols;
      if (rest == 0) return;
      half(k_.ci(wholeSteps_), 0, std::min(rest, kLanes));
      half(k_.ci(wholeSteps_), 1, std::max<int64_t>(rest - kLanes, 0));
    });
  }

  Value leftTile(Value rowTile, Value step) {
    return k_.offset(left_, k_.mul(k_.add(k_.mul(rowTile, steps_), step), kTileBytes));
  }

  void multiply(const Panels& b, const OutputTile& tile) override {
    zeroOutputs(tile);
    if (fewRows_) {
      addSteps(b, tile, k_.ci(0), k_.ci(wholeSteps_));
    } else {
      // A piece of the rows' columns stays in the second-level cache for all panels of the tile.
      const int64_t pieceSteps =
          std::max<int64_t>(k_.target().l2Bytes / 2 / (rowTiles_ * kTileBytes), 1);
      k_.loop(k_.ci(0), k_.ci(wholeSteps_), pieceSteps, [&](Value begin) {
        addSteps(b, tile, begin, k_.min(k_.add(begin, pieceSteps), k_.ci(wholeSteps_)));
      });
    }
    if (steps_ == wholeSteps_) return;
    copyTails(b, tile);
    const Panels tails{.base = k_.offset(tails_, -wholeSteps_ * kTileBytes),
                       .panelBytes = kTileBytes,
                       .stepBytes = kTileRowBytes,
                       .kPerStep = 2,
                       .storage = Storage::bf16};
    addSteps(tails, tile, k_.ci(wholeSteps_), k_.ci(steps_));
  }

  /// Where K is no multiple of a tile's columns: the end of each panel, with zeros after it.
  void copyTails(const Panels& b, const OutputTile& tile) {
    const int64_t lines = (spec_.cols - wholeSteps_ * kTileCols + 1) / 2;
    k_.loop(k_.ci(0), tile.panels, 1, [&](Value p) {
      Value from = k_.offset(b.from(k_, p).base, wholeSteps_ * kTileBytes);
      Value to = k_.offset(tails_, k_.mul(p, kTileBytes));
      for (int64_t line = 0; line < kTileRows; ++line) {
        Value v = line < lines ? k_.loadF32(k_.offset(from, line * kTileRowBytes)) : k_.zero();
        k_.store(v, k_.offset(to, line * kTileRowBytes), 4);
      }
    });
  }

  /// outputs += left * right over steps [begin, end), for all rows and panels of the tile.
  void addSteps(const Panels& b, const OutputTile& tile, Value begin, Value end) {
    const int64_t atOnce = fewRows_ ? k_.target().gemvPanels : k_.target().gemmPanels;
    const SmallVector<int64_t> rowBlocks =
        fewRows_ ? SmallVector<int64_t>{1} : SmallVector<int64_t>{2, 1};
    forPanels(tile, atOnce, [&](Value p, int64_t panels) {
      forBlocks(k_, k_.ceilDiv(tile.rows, kTileRows), rowBlocks, [&](Value m, int64_t rowTiles) {
        addBlock(b, tile, m, rowTiles, p, panels, begin, end);
      });
    });
  }

  void addBlock(const Panels& b, const OutputTile& tile, Value m, int64_t rowTiles, Value p,
                int64_t panels, Value begin, Value end) {
    auto output = [&](int64_t i, int64_t q) {
      return tile.at(k_, k_.mul(k_.add(m, i), kTileRows), k_.add(p, q));
    };
    Values acc;
    for (int64_t i = 0; i < rowTiles; ++i)
      for (int64_t q = 0; q < panels; ++q)
        acc.push_back(tileLoad(k_, output(i, q), tileStride_ * 4));
    auto left = [&](int64_t i, Value step) {
      return tileLoad(k_, leftTile(k_.add(m, i), step), kTileRowBytes);
    };
    acc = multiplyTiles(k_, left, b.from(k_, p), rowTiles, panels, begin, end, acc,
                        [&](Value step) { prefetch(b, m, p, panels, step); });
    for (int64_t i = 0; i < rowTiles; ++i)
      for (int64_t q = 0; q < panels; ++q)
        tileStore(k_, acc[i * panels + q], output(i, q), tileStride_ * 4);
  }

  /// Steps of few rows read every weight once from memory: they ask for what comes soon in each of
  /// their panels. In prefill the passes over the rows bring the panels after these, a quarter
  /// each.
  void prefetch(const Panels& b, Value m, Value p, int64_t panels, Value step) {
    const int64_t bytes = fewRows_ ? kTileBytes : kTileBytes / 4;
    Value first = fewRows_ ? p : k_.add(p, panels);
    Value at = k_.mul(step, kTileBytes);
    at = fewRows_ ? k_.add(at, fewRowsAhead(k_, panels))
                  : k_.add(at, k_.mul(k_.rem(k_.div(m, 2), 4), kTileBytes / 4));
    for (int64_t q = 0; q < panels; ++q) {
      Value from = k_.offset(b.from(k_, k_.add(first, q)).base, at);
      for (int64_t line = 0; line < bytes; line += kTileRowBytes)
        k_.prefetch(k_.offset(from, line), PrefetchTo::secondLevel);
    }
  }

  const bool fewRows_;
  const int64_t wholeSteps_, steps_, rowTiles_;  // steps along K, of which whole ones; tiles
  Value left_, normed_, tails_;
};

}  // namespace

void emitAmxProduct(KernelBuilder& k, const ProductSpec& spec) { AmxProduct(k, spec).emit(); }

}  // namespace llmc::cpu
