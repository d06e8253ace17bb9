// Products as chains of FMAs, to which weights are brought as floats in registers as they are read,
// of dot products of pairs, where weights and left operand are bf16, or of sums of integers, where
// the left operand is rounded to int8. Few rows use a weight once, when it is read; of more rows, a
// piece of the weights stays in the cache for all of them.
#include <optional>
#include <set>

#include "codegen/cpu/AmxInt8.h"
#include "codegen/cpu/Int8Rows.h"
#include "codegen/cpu/Product.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace llmc::cpu {

namespace {

/// Accumulators of an output: of int8, a float and the integers of the group in work.
int64_t accumulatorsOf(LeftKind left) { return left == LeftKind::i8 ? 2 : 1; }
/// Rows of a register tile of the target's gemmPanels.
int64_t gemmRows(const CpuTarget& target, LeftKind left) {
  return target.tileRows(left == LeftKind::i8);
}
/// Panels and rows of the register tile, as tuned.
int64_t tilePanels(const KernelBuilder& k, LeftKind left) {
  return k.tuning().tilePanels.value_or(k.target().tilePanels(left == LeftKind::i8));
}
int64_t tileRows(const KernelBuilder& k, LeftKind left) {
  const ProductTuning& tuning = k.tuning();
  const int64_t rows = tuning.tileRows.value_or(gemmRows(k.target(), left));
  if (!tuning.tileRows && !tuning.tilePanels) return rows;
  // Far beyond the registers a tile would be code without end.
  const int64_t registersOfRow =
      tilePanels(k, left) * accumulatorsOf(left) * kLanes / k.target().vectorFloats;
  return std::clamp(rows, int64_t{1},
                    std::max<int64_t>(1, 2 * k.target().registers / registersOfRow));
}
/// Rows that are multiplied while weights stream by: as many as leave registers for two panels, so
/// that there are two streams. From pieces in the second-level cache, on Zen 5, 8 rows took 2 %
/// (f16) and 9 % (bf16) longer, 12 rows 1 % (both).
int64_t streamedRows(const CpuTarget& target, LeftKind left) {
  if (left == LeftKind::i8 && target.tilePanels(true) == 1) return target.tileRows(true);
  int64_t rows = 1;
  while (rows < gemmRows(target, left) &&
         panelsFor(target, (rows + 1) * accumulatorsOf(left), 2) == 2)
    ++rows;
  return rows;
}

/// Rows of a block in steps of few rows: all that one has (ir: StepKind), which then reads every
/// weight once.
constexpr int64_t kFewRows = 64;
/// Values of k that a piece is a multiple of: of int8 it has whole groups.
int64_t pieceUnit(LeftKind left) {
  return left == LeftKind::i8 ? llmrt::WeightFormat::kMaxBlock : 64;
}
/// k values of a piece for few rows: 64 KB of 16-bit weights and, with 16 rows, 128 KB of them
/// leave half of the smallest second-level cache to the piece that comes next. 512 measured 5 %
/// slower. More rows take no more of the cache.
int64_t fewRowsPieceCols(int64_t maxRows, LeftKind left) {
  constexpr int64_t kRows = 16, kCols = 2048;
  return kCols * kRows / std::clamp(maxRows, kRows, kFewRows) / pieceUnit(left) * pieceUnit(left);
}

/// Rows that are multiplied by VNNI where there are tiles of int8: by the counts in README.md, 8
/// rows take as long by VNNI as a tile of 16 rows and the bytes that it is filled with.
constexpr int64_t kRowsWithoutTiles = 8;

/// Bytes of one value of the left operand.
int64_t leftBytes(LeftKind left) {
  return left == LeftKind::i8 ? 1 : left == LeftKind::bf16 ? 2 : 4;
}
/// k values of a piece for many: a register tile's rows and panels, with an eighth to spare for the
/// outputs, fill the first-level cache. Of int8 at least 2048: what a piece begins and ends with
/// costs more there than operands from the second level (q8_0 on Zen 5: 4 % against 1024).
int64_t manyRowsPieceCols(const KernelBuilder& k, const llmrt::WeightFormat& format,
                          LeftKind left) {
  const int64_t bytes =
      tileRows(k, left) * leftBytes(left) + tilePanels(k, left) * bytesPerK(format);
  const int64_t fit = k.target().l1Bytes * 7 / 8 / bytes / pieceUnit(left) * pieceUnit(left);
  return std::max<int64_t>(fit, left == LeftKind::i8 ? 2048 : pieceUnit(left));
}
int64_t pieceCols(const KernelBuilder& k, const llmrt::WeightFormat& format, LeftKind left) {
  if (k.tuning().pieceCols) return *k.tuning().pieceCols;
  return k.shape().fewRows() ? fewRowsPieceCols(k.shape().maxRows, left)
                             : manyRowsPieceCols(k, format, left);
}
/// Rows of a block in prefill: a piece of them takes three quarters of the second-level cache, and
/// the panels of a tile, one at a time, the rest. More than 256 rows gain nothing: the weights are
/// read seldom enough.
int64_t blockRows(const KernelBuilder& k, int64_t pieceCols, LeftKind left) {
  if (k.tuning().blockRows) return *k.tuning().blockRows;
  const int64_t fit = k.target().l2Bytes * 3 / 4 / (pieceCols * leftBytes(left));
  return std::clamp<int64_t>(fit, 1, 256);
}

/// How the weights of one row or few stream by.
struct Streaming {
  int64_t panels;  // side by side
  int64_t ahead;   // values of k that each of them is asked for ahead; 0: none
  PrefetchTo to;   // the cache that they come to
};

/// Bytes that a thread asks for ahead over all panels, and panels side by side at most, where
/// quants are multiplied by int8. One panel after another is one stream in each plane, which the
/// hardware's prefetchers follow best: on Zen 4 whose memory read 54 GB/s, one row went at 51 GB/s
/// with q4_k and 49 with q6_k, and at 43 and 44 with four panels and 6 KB. With more than 2 KB
/// ahead it falls to 40: the prefetches take what the hardware's need. From 3 rows on there is too
/// much to multiply between two loads for these, and far prefetches do better: 3 rows 48 and 49 (39
/// and 44), 4 rows 45 and 47 GB/s (42 and 36).
struct QuantStreams {
  int64_t panels, aheadBytes;
};
QuantStreams quantStreams(int64_t rows) {
  if (rows == 1) return {1, 2 << 10};
  return rows == 2 ? QuantStreams{2, 6 << 10} : QuantStreams{1, 8 << 10};
}

/// The planes of quants are many streams of few bytes each, and come to the second level: on Zen 4,
/// one thread read q4_1 at 27 GB/s with 6 KB ahead brought there and at 18 brought to the first,
/// q4_k 27 and 17, q8_0 27 and 24; in the code of x86-64-v3 q4_1 at 30, and 22 with 2 KB to the
/// first.
Streaming streamingOf(const KernelBuilder& k, const llmrt::WeightFormat& format, LeftKind left,
                      int64_t rows) {
  const CpuTarget& target = k.target();
  QuantStreams most = {target.gemvPanels, format.isPlain() ? target.streamAheadBytes : 6 << 10};
  int64_t level = format.isPlain() ? 1 : 2;
  if (left == LeftKind::i8) most = quantStreams(rows);
  // What is best for quants depends on the rows, and tunings are measured with one.
  if (left != LeftKind::i8 || rows == 1) {
    most.panels = k.tuning().streamPanels.value_or(most.panels);
    most.aheadBytes = k.tuning().aheadBytes.value_or(most.aheadBytes);
    level = k.tuning().aheadLevel.value_or(level);
  }
  const int64_t panels = panelsFor(target, rows * accumulatorsOf(left), most.panels);
  return {panels, most.aheadBytes / bytesPerK(format) / panels,
          level == 1 ? PrefetchTo::firstLevelOnce : PrefetchTo::secondLevel};
}

class FmaProduct final : public ProductFrame {
 public:
  FmaProduct(KernelBuilder& k, const ProductSpec& spec) : FmaProduct(k, spec, spec.leftKind(k)) {}

 private:
  FmaProduct(KernelBuilder& k, const ProductSpec& spec, LeftKind left)
      : FmaProduct(k, spec, left, cpu::pieceCols(k, *spec.format, left)) {}
  FmaProduct(KernelBuilder& k, const ProductSpec& spec, LeftKind left, int64_t pieceCols)
      : ProductFrame(k, spec,
                     std::min(k.shape().maxRows,
                              k.shape().fewRows() ? kFewRows : blockRows(k, pieceCols, left)),
                     k.shape().fewRows()       ? 1
                     : hasTiles(k, spec, left) ? kTileRows
                                               : tileRows(k, left)),
        fewRows_(k.shape().fewRows()),
        left_(left),
        tileRows_(tileRows(k, left)),
        tilePanels_(tilePanels(k, left)),
        streamedRows_(fewRows_ ? std::min(streamedRows(k.target(), left), k.shape().maxRows) : 0),
        copyRows_(left != LeftKind::f32 || spec.norm || spec.gather || spec.sourceRow),
        pieceCols_(pieceCols) {
    if (left == LeftKind::i8) int8_ = Int8Layout(k.target(), *spec.format, spec.cols);
    const int64_t bytes = left == LeftKind::i8 ? int8_.bytes : spec.cols * leftBytes(left);
    // A stride that is no power of two keeps the rows of a register tile in different sets of the
    // first-level cache.
    rowBytes_ = copyRows_ ? roundUp(bytes, 64) + 64 : spec.xStride * 4;
    if (copyRows_) rows_ = k.scratch(roundUp(maxBlockRows_, rowUnit_) * rowBytes_);
    if (hasTiles(k, spec, left)) tiles_.emplace(k, int8_, *spec.format);
    if (left != LeftKind::f32 && spec.norm) normed_ = k.scratch(roundUp(spec.cols, kLanes) * 4);
  }

  /// The memory is at work while the left operand is brought. Experts have no rows, often.
  void prefetchFirst(const Panels& b) override {
    if (!fewRows_ || spec_.numExperts) return;
    const Streaming streaming = streamingOf(k_, *spec_.format, left_, 1);
    const int64_t panels = std::min(joinTiles_ * spec_.tilePanels, streaming.panels);
    for (const Panels::Stream& s : b.streams()) {
      const int64_t bytes = std::min(streaming.ahead * s.bytes / s.values, s.panelBytes);
      k_.loop(k_.ci(0), k_.ci(bytes), 64, [&](Value at) {
        prefetchPanels(k_.offset(s.base, at), s.panelBytes, panels, 64, streaming.to);
      });
    }
  }

  static bool hasTiles(const KernelBuilder& k, const ProductSpec& spec, LeftKind left) {
    return left == LeftKind::i8 && Int8Tiles::serve(k.target(), *spec.format) &&
           !k.shape().fewRows() && k.shape().maxRows > kRowsWithoutTiles;
  }

  void prepareBlock(Value first, Value rows) override {
    if (!copyRows_) {
      block_ = {k_.rowPtr(spec_.x, first, spec_.xStride), rowBytes_};
      return;
    }
    block_ = {rows_, rowBytes_, left_ == LeftKind::bf16};
    k_.loop(k_.ci(0), rows, 1, [&](Value r) {
      Value from = sourceRow(k_.add(first, r)), to = k_.offset(rows_, k_.mul(r, rowBytes_));
      if (left_ != LeftKind::f32) return roundRow(from, to);
      if (spec_.norm) return normRow(k_, spec_.norm, from, to, spec_.cols);
      k_.loop(k_.ci(0), k_.ci(roundUp(spec_.cols, kLanes) * 4), kLanes * 4,
              [&](Value at) { k_.store(k_.loadF32(k_.offset(from, at)), k_.offset(to, at), 4); });
    });
  }

  /// One row of x, after its norm, as what the product takes.
  void roundRow(Value from, Value to) {
    if (spec_.norm) {
      normRow(k_, spec_.norm, from, normed_, spec_.cols);
      from = normed_;
    }
    if (left_ == LeftKind::i8) return int8_.roundRow(k_, from, to, spec_.cols);
    auto round = [&](Value column, int64_t columns) {
      Value v = k_.loadF32(k_.offset(from, k_.mul(column, 4)));
      // Beyond the last column lies what belongs to nobody.
      if (columns < kLanes) v = k_.keepLanes(v, columns);
      k_.store(k_.roundToBf16(v), k_.offset(to, k_.mul(column, 2)), 2);
    };
    const int64_t whole = spec_.cols / kLanes * kLanes;
    k_.loop(k_.ci(0), k_.ci(whole), kLanes, [&](Value column) { round(column, kLanes); });
    if (whole != spec_.cols) round(k_.ci(whole), spec_.cols - whole);
  }

  void multiply(const Panels& weights, const OutputTile& tile) override {
    const Rows block = block_;
    if (spec_.tileCols) block_.base = k_.offset(block.base, k_.mul(tile.index, spec_.tileCols * 4));
    if (fewRows_) {
      Value most = k_.ci(streamedRows_);
      auto rows = [&](arith::CmpIPredicate p) { return k_.cmp(p, tile.rows, most); };
      k_.ifThen(rows(arith::CmpIPredicate::sle), [&] { multiplyStreams(weights, tile); });
      k_.ifThen(rows(arith::CmpIPredicate::sgt), [&] { multiplyPieces(weights, tile); });
    } else if (tiles_) {
      Value most = k_.ci(kRowsWithoutTiles);
      auto rows = [&](arith::CmpIPredicate p) { return k_.cmp(p, tile.rows, most); };
      k_.ifThen(rows(arith::CmpIPredicate::sle), [&] { multiplyPieces(weights, tile); });
      k_.ifThen(rows(arith::CmpIPredicate::sgt), [&] {
        zeroOutputs(tile);
        tiles_->multiply(block_, weights, tile);
      });
    } else {
      multiplyPieces(weights, tile);
    }
    block_ = block;
  }

  /// Several panels side by side are several streams. What is asked for ahead goes on, at the end
  /// of a panel, with the one that its stream comes to next.
  void multiplyStreams(const Panels& b, const OutputTile& tile) {
    // A size for each number of rows: a second block of rows would read the weights again.
    SmallVector<int64_t> sizes;
    for (int64_t rows = streamedRows_; rows > 0; --rows) sizes.push_back(rows);
    forBlocks(k_, tile.rows, sizes, [&](Value m, int64_t rows) {
      const Streaming streaming = streamingOf(k_, *spec_.format, left_, rows);
      forPanels(tile, streaming.panels, [&](Value p, int64_t panels) {
        const Panels from = b.from(k_, p);
        // A stream of less than a line an iteration is asked for once a group.
        const int64_t often = iteration(b);
        const int64_t seldom = left_ == LeftKind::i8 ? int8_.group : often;
        const auto isThin = [&](const Panels::Stream& s) {
          return often < seldom && often * s.bytes / s.values < 64;
        };
        const auto prefetch = [&](bool thin) {
          return [&, thin](Value k) {
            for (const Panels::Stream& s : from.streams())
              if (isThin(s) == thin) prefetchAhead(s, streaming, panels, k, thin ? seldom : often);
          };
        };
        Values acc(rows * panels, k_.zero());
        acc = multiplyTile(rowsFrom(m), from, rows, panels, spec_.cols, acc,
                           prefetch(/*thin=*/false), prefetch(/*thin=*/true));
        storeTile(tile, m, p, rows, panels, acc);
      });
    });
  }

  /// Asks for what `panels` panels of a stream have of `values` values of k, some way ahead of k.
  void prefetchAhead(const Panels::Stream& s, const Streaming& streaming, int64_t panels, Value k,
                     int64_t values) {
    if (streaming.ahead == 0) return;
    Value at = k_.div(k_.mul(k_.add(k, streaming.ahead), s.bytes), s.values);
    if (panels > 1) {
      Value over = k_.cmp(arith::CmpIPredicate::sge, at, k_.ci(s.panelBytes));
      at = k_.add(at, k_.select(over, k_.ci((panels - 1) * s.panelBytes), k_.ci(0)));
    }
    prefetchPanels(k_.offset(s.base, at), s.panelBytes, panels, values * s.bytes / s.values,
                   streaming.to);
  }

  /// `bytes` of each panel from `at` on.
  void prefetchPanels(Value at, int64_t panelBytes, int64_t panels, int64_t bytes, PrefetchTo to) {
    for (int64_t q = 0; q < panels; ++q)
      for (int64_t line = 0; line == 0 || line < bytes; line += 64)
        k_.prefetch(k_.offset(at, q * panelBytes + line), to);
  }

  /// A piece of a panel stays in the cache for blocks of rows of much the same size, and each
  /// block asks for its share of the piece that comes next.
  void multiplyPieces(const Panels& b, const OutputTile& tile) {
    zeroOutputs(tile);
    const int64_t bytesPerK = b.bytesPerK();
    // Of every iteration: one block's share may be all; of many blocks' it is within a line.
    const int64_t bytes = fewRows_ ? iteration(b) * bytesPerK : 64;
    // Of few rows, whose pieces overflow the first level anyway, lines pass through it to the
    // second: asked for there alone, on Zen 5, 16 rows took 1 % (f16) and 3 to 7 % (bf16) longer, 4
    // to 16 rows of x86-64-v3 1 to 4 %.
    const PrefetchTo to = fewRows_ ? PrefetchTo::firstLevel : PrefetchTo::secondLevel;
    const int64_t most = tileRows_;
    Value numBlocks = k_.ceilDiv(tile.rows, most);
    Value blockRows = k_.div(k_.add(tile.rows, k_.add(numBlocks, -1)), numBlocks);
    forPieces([&](Value k0, int64_t count) {
      Value end = k_.add(k0, count);
      Value nextPieces =
          k_.offset(b.base, k_.select(k_.cmp(arith::CmpIPredicate::eq, end, k_.ci(spec_.cols)),
                                      k_.mul(tile.panels, b.panelBytes), k_.mul(end, bytesPerK)));
      forPanels(tile, tilePanels_, [&](Value p, int64_t panels) {
        const Panels from = b.from(k_, p).fromK(k_, k0);
        Value after = k_.add(p, panels);
        Value next = k_.select(k_.cmp(arith::CmpIPredicate::slt, after, tile.panels),
                               k_.offset(from.base, panels * b.panelBytes), nextPieces);
        forBlocks(k_, tile.rows, pieceRowTiles(), blockRows, [&](Value m, int64_t rows) {
          Value share = k_.div(k_.ci(rows * bytesPerK << 8), tile.rows);
          Value first = k_.offset(next, k_.div(k_.mul(m, count * bytesPerK), tile.rows));
          auto prefetch = [&](Value k) {
            prefetchPanels(k_.offset(first, k_.div(k_.mul(k, share), 256)), b.panelBytes, panels,
                           bytes, to);
          };
          multiplyOnto(tile, m, p, rows, panels, from, k0, count, prefetch);
        });
      });
    });
  }
  /// Row counts with a register tile of their own in multiplyPieces(), largest first. Of few rows
  /// all that occur, in prefill few enough for the code and enough to cut most counts evenly.
  SmallVector<int64_t> pieceRowTiles() const {
    const int64_t most = tileRows_;
    std::set<int64_t, std::greater<>> sizes = {1};  // forBlocks() wants it
    if (fewRows_) {
      for (int64_t rows = streamedRows_ + 1; rows <= maxBlockRows_; ++rows) {
        const int64_t blocks = (rows + most - 1) / most, size = (rows + blocks - 1) / blocks;
        sizes.insert({size, rows - size * (blocks - 1)});
      }
    } else {
      sizes.insert(most);
      for (int64_t size : {12, 8, 6, 5, 4, 3, 2})
        if (size <= most) sizes.insert(size);
    }
    return {sizes.begin(), sizes.end()};
  }

  /// body(first k, count) over K in pieces, the last of which may be shorter.
  void forPieces(const std::function<void(Value, int64_t)>& body) {
    const int64_t whole = spec_.cols / pieceCols_ * pieceCols_;
    k_.loop(k_.ci(0), k_.ci(whole), pieceCols_, [&](Value k0) { body(k0, pieceCols_); });
    if (spec_.cols > whole) body(k_.ci(whole), spec_.cols - whole);
  }

  Rows rowsFrom(Value m) {
    Rows rows = block_;
    rows.base = k_.offset(block_.base, k_.mul(m, block_.strideBytes));
    return rows;
  }

  /// outputs[m.., p..] += block[m.., k0..] * weights, over `count` values of k.
  void multiplyOnto(const OutputTile& tile, Value m, Value p, int64_t rows, int64_t panels,
                    const Panels& weights, Value k0, int64_t count,
                    const std::function<void(Value)>& each) {
    Rows a = rowsFrom(m);
    // Rows of int8 are read where weights.firstK says.
    if (left_ != LeftKind::i8) a.base = k_.offset(a.base, k_.mul(k0, a.bytesPerK()));
    Values acc;
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t q = 0; q < panels; ++q)
        acc.push_back(k_.loadF32(tile.at(k_, k_.add(m, i), k_.add(p, q))));
    acc = multiplyTile(a, weights, rows, panels, count, acc, each);
    storeTile(tile, m, p, rows, panels, acc);
  }

  /// Values of k between two calls of multiplyTile()'s `each`.
  int64_t iteration(const Panels& b) const {
    return left_ == LeftKind::i8 ? int8_.period : kPerIteration(b);
  }
  Values multiplyTile(const Rows& a, const Panels& b, int64_t rows, int64_t panels, int64_t kCount,
                      Values acc, const std::function<void(Value)>& each,
                      const std::function<void(Value)>& eachGroup = {}) {
    if (left_ == LeftKind::i8)
      return multiplyInt8(k_, a, int8_, b, rows, panels, kCount, acc, each, eachGroup);
    return cpu::multiply(k_, a, b, rows, panels, kCount, acc, each);
  }

  void storeTile(const OutputTile& tile, Value m, Value p, int64_t rows, int64_t panels,
                 const Values& acc) {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t q = 0; q < panels; ++q)
        k_.store(acc[i * panels + q], tile.at(k_, k_.add(m, i), k_.add(p, q)), 4);
  }

  const bool fewRows_;
  const LeftKind left_;
  const int64_t tileRows_, tilePanels_, streamedRows_;
  const bool copyRows_;
  const int64_t pieceCols_;
  Int8Layout int8_;  // of rows of int8
  std::optional<Int8Tiles> tiles_;
  int64_t rowBytes_ = 0;
  Value rows_, normed_;
  Rows block_;
};

}  // namespace

void emitFmaProduct(KernelBuilder& k, const ProductSpec& spec) { FmaProduct(k, spec).emit(); }

}  // namespace llmc::cpu
