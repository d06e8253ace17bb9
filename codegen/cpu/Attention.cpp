// Attention over the blocked KV cache, in the fixed order of blocks that makes its result
// independent of batching.
//
// A tile is one KV head (or a part of its query heads) and a run of rows. Rows of one sequence
// share each block of keys and values; all query heads of the tile do. Each pair of a row and a
// query head has a state (m, l, o). Per block of 64 keys: scores = q K (sixteen keys are a panel),
// softmax with the block's own maximum, o_block = p V, and a merge into the states (arXiv
// 2205.14135; the merge of blocks is that of arXiv 1805.02867).
//
// In verify steps a tile has one row of a tree, whose last tokens lie at slots with other branches
// between. They are brought together by position first (TreeBranch), in blocks that lie as the
// cache's, so that from there on all is as in decode, and so are the bits.
//
// Both products are the register tile of all others (Multiply.h, Amx.h), over all 64 keys of a
// block: scores behind a row's position count for nothing, and values there are finite (plan.fbs:
// State). Where keys and values are bf16 and the target has products of bf16, q and p are rounded
// to bf16 too.
#include <optional>

#include "codegen/cpu/Amx.h"
#include "codegen/cpu/KvCache.h"
#include "codegen/cpu/Math.h"
#include "codegen/cpu/TreeBranch.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace llmc::cpu {

namespace {

constexpr int64_t kBlockPanels = kBlock / kLanes;
/// Panels that are multiplied at once, if the registers allow.
constexpr int64_t kTilePanels = 4;
/// Of AMX's eight tiles, those that hold sums.
constexpr int64_t kSumTiles = 4;
/// Stands for -infinity: smaller than any score, and its differences stay finite.
constexpr float kMasked = -1e30f;

class AttentionFrame {
 public:
  AttentionFrame(KernelBuilder& k, llm::AttentionOp op)
      : AttentionFrame(k, op, op.getTiling(k.shape().kind)) {}

  void emit() {
    Value numBlocks = k_.ceilDiv(k_.step().numRows, rowsPerTile_);
    k_.loop(k_.tileBegin(), k_.tileEnd(), 1, [&](Value tile) {
      // Row blocks of one KV head are neighbours: a thread keeps to few heads.
      Value head = k_.div(tile, numBlocks);
      Value first = k_.mul(k_.rem(tile, numBlocks), rowsPerTile_);
      Value end = k_.min(k_.add(first, rowsPerTile_), k_.step().numRows);
      k_.whileLess(first, end, [&](Value r) {
        Value run = runLength(r, end);
        emitRun(head, r, run);
        return k_.add(r, run);
      });
    });
  }

 private:
  AttentionFrame(KernelBuilder& k, llm::AttentionOp op, const llm::Tiling& tiling)
      : k_(k),
        kv_(llm::kvTypeOf(op, op.getStateAttr())),
        scale_(op.getScale().convertToDouble()),
        softcap_(op.getSoftcap().convertToDouble()),
        window_(llm::lookupState(op, op.getStateAttr()).getWindow()),
        groupHeads_(llm::widthOf(op.getQ()) / kv_.headDim / tiling.tiles),
        partsPerKvHead_(tiling.tiles / kv_.numKvHeads),
        rowsPerTile_(tiling.rowsPerTile),
        product_(cacheProduct(k.target(), kv_.storage, kv_.headDim)),
        queryBytes_(kv_.headDimPadded * (rounds() ? 2 : 4)),
        sinks_(k.operandIf(op.getSinksAttr(), "sinks")) {
    const int64_t states = roundUp(rowsPerTile_ * groupHeads_, usesAmx() ? kTileRows : 1);
    queries_ = k.scratch(states * queryBytes_);
    scores_ = k.scratch(states * kBlock * 4);
    output_ = k.scratch(states * kv_.valueDimPadded * 4);
    // Of a tile: two AMX tiles of states, or what a register tile has.
    blockOutput_ =
        k.scratch(std::max(2 * kTileRows, k.target().gemmRows) * kTilePanels * kLanes * 4);
    maximum_ = k.scratch(states * 4);
    sum_ = k.scratch(states * 4);
    oldScale_ = k.scratch(states * 4);
    newScale_ = k.scratch(states * 4);
    if (k.shape().kind == llm::StepKind::verify) branch_.emplace(k, kv_);
  }

  /// Rows from `first` on that belong to the same sequence.
  Value runLength(Value first, Value end) {
    if (rowsPerTile_ == 1) return k_.ci(1);
    Value seq = k_.inputOf("seq", first);
    return k_.loop(k_.add(first, 1), end, 1, k_.ci(1), [&](Value r, ValueRange state) {
      // Sequences are contiguous: a row extends the run if it has the sequence and all before it
      // did.
      Value same = k_.cmp(arith::CmpIPredicate::eq, k_.inputOf("seq", r), seq);
      Value whole = k_.cmp(arith::CmpIPredicate::eq, k_.add(first, state[0]), r);
      Value both = arith::AndIOp::create(k_.builder(), r.getLoc(), same, whole);
      return Values{k_.select(both, k_.add(state[0], 1), state[0])};
    })[0];
  }

  bool rounds() const { return product_ != Bf16Product::fma; }  // q and p to bf16
  bool usesAmx() const { return product_ == Bf16Product::amx; }

  Value stateAt(Value base, Value state) { return k_.offset(base, k_.mul(state, 4)); }

  /// body(state, row of the run, query head of the group) over all states.
  void forStates(Value rows, const std::function<void(Value, Value, Value)>& body) {
    k_.loop(k_.ci(0), rows, 1, [&](Value r) {
      k_.loop(k_.ci(0), k_.ci(groupHeads_), 1,
              [&](Value g) { body(k_.add(k_.mul(r, groupHeads_), g), r, g); });
    });
  }

  void emitRun(Value head, Value first, Value rows) {
    Value kvHead = k_.div(head, partsPerKvHead_);
    Value seq = k_.inputOf("seq", first), firstPos = k_.inputOf("pos", first);
    Value lastPos = k_.inputOf("pos", k_.add(first, k_.add(rows, -1)));
    Value firstBlock = k_.ci(0), lastBlock = k_.div(lastPos, kBlock);
    if (window_) firstBlock = k_.div(k_.max(k_.add(firstPos, 1 - window_), k_.ci(0)), kBlock);
    if (prefetches() && !branch_) prefetchBlock(kv_.blockOf(k_, seq, firstBlock, kvHead));
    emitStart(head, first, rows);
    if (branch_) branch_->gather(first, seq, kvHead, firstBlock);
    k_.loop(firstBlock, k_.add(lastBlock, 1), 1, [&](Value block) {
      auto at = [&](Value block) {
        const KvBlock cached = kv_.blockOf(k_, seq, block, kvHead);
        return branch_ ? branch_->blockOr(block, cached) : cached;
      };
      const KvBlock now = at(block), next = at(k_.min(k_.add(block, 1), lastBlock));
      emitScores(rows, now.keys, next.keys);
      emitSoftmax(first, rows, k_.mul(block, kBlock), next);
      emitOutput(rows, now.values, next.values);
    });
    emitResult(head, first, rows);
  }

  /// Stores numbers [i, i + lanes) of a row that is a left operand.
  void storeLeft(Value v, Value row, Value i) {
    if (rounds())
      k_.store(k_.roundToBf16(v), k_.offset(row, k_.mul(i, 2)), 2);
    else
      k_.store(v, k_.offset(row, k_.mul(i, 4)), 4);
  }

  /// Brings the queries to where they are multiplied, and the states to those of no keys.
  void emitStart(Value head, Value first, Value rows) {
    forStates(rows, [&](Value s, Value r, Value g) {
      Value query = k_.add(k_.mul(head, groupHeads_), g);
      Value from = k_.offset(k_.rowOf("q", k_.add(first, r)), k_.mul(query, kv_.headDim * 4));
      Value to = k_.offset(queries_, k_.mul(s, queryBytes_));
      const int64_t lanes = lanesFor(kv_.headDim);
      k_.loop(k_.ci(0), k_.ci(kv_.headDim), lanes,
              [&](Value i) { storeLeft(k_.loadF32(k_.offset(from, k_.mul(i, 4)), lanes), to, i); });
      k_.loop(k_.ci(0), k_.ci(kv_.valueDimPadded), kLanes, [&](Value i) {
        k_.store(k_.zero(), k_.offset(k_.rowPtr(output_, s, kv_.valueDimPadded), k_.mul(i, 4)), 4);
      });
      Value maximum = k_.cf(kMasked), sum = k_.cf(0.0f);
      if (sinks_) {
        // A sink is a key before all others, whose value is 0: m = its score, l = 1, o = 0.
        maximum = k_.loadScalar(k_.offset(sinks_, k_.mul(query, 4)));
        sum = k_.cf(1.0f);
      }
      k_.store(maximum, stateAt(maximum_, s), 4);
      k_.store(sum, stateAt(sum_, s), 4);
    });
  }

  //===--------------------------------------------------------------------===//
  // A block's two products
  //===--------------------------------------------------------------------===//

  /// States and panels that are multiplied at once. By AMX, there may be fewer states than in its
  /// tiles; what it makes of the others' rows goes nowhere.
  struct Tile {
    Value state;
    int64_t states;
    Value live;  // of `states`
    Value panel;
    int64_t panels;
  };

  /// left * right for all states: [states, numPanels * 16].
  struct BlockProduct {
    Rows left;  // from the first state on
    Panels right;
    int64_t numPanels, depth;
    std::function<Value(const Tile&)> output;      // where a tile goes
    int64_t outputStride;                          // bytes from a state to the next
    Value next;                                    // what is multiplied in the next block
    int64_t rightBytes;                            // of `right` and of `next`
    std::function<void(const Tile&)> finish = {};  // after a tile
  };

  void multiplyBlock(Value rows, const BlockProduct& product) {
    Value numStates = k_.mul(rows, groupHeads_);
    if (usesAmx()) {
      forTiles(numStates, {2, 1}, kTileRows, product,
               [&](const Tile& tile) { multiplyByAmx(tile, product); });
    } else {
      forTiles(numStates, rowTiles(k_.target()), 1, product,
               [&](const Tile& tile) { multiplyByVectors(tile, product); });
    }
  }

  /// Covers the states with tiles of the given sizes, in units of `unit` states.
  void forTiles(Value numStates, ArrayRef<int64_t> sizes, int64_t unit, const BlockProduct& product,
                const std::function<void(const Tile&)>& multiply) {
    forBlocks(k_, k_.ceilDiv(numStates, unit), sizes, [&](Value first, int64_t size) {
      Value state = k_.mul(first, unit), live = k_.ci(size);
      if (unit > 1) live = k_.min(k_.sub(numStates, state), k_.ci(size * unit));
      int64_t panels = usesAmx() ? kSumTiles / size : panelsFor(k_.target(), size, kTilePanels);
      while (product.numPanels % panels) panels /= 2;
      k_.loop(k_.ci(0), k_.ci(product.numPanels), panels, [&](Value p) {
        const Tile tile{state, size * unit, live, p, panels};
        multiply(tile);
        if (product.finish) product.finish(tile);
      });
    });
  }

  void multiplyByVectors(const Tile& tile, const BlockProduct& product) {
    Rows left = product.left;
    left.base = k_.offset(left.base, k_.mul(tile.state, left.strideBytes));
    std::function<void(Value)> each;
    if (prefetches()) each = [&](Value k) { prefetchInProduct(product, tile, k, 4); };
    Values acc(tile.states * tile.panels, k_.zero());
    acc = multiply(k_, left, product.right.from(k_, tile.panel), tile.states, tile.panels,
                   product.depth, acc, each);
    forOutputs(tile, product, 1, [&](int64_t i, Value at) { k_.store(acc[i], at, 4); });
  }

  void multiplyByAmx(const Tile& tile, const BlockProduct& product) {
    const Rows& a = product.left;
    const int64_t rowTiles = tile.states / kTileRows;
    auto left = [&](int64_t i, Value step) {
      Value row = k_.add(tile.state, i * kTileRows);
      Value at = k_.add(k_.mul(row, a.strideBytes), k_.mul(step, kTileRowBytes));
      return tileLoad(k_, k_.offset(a.base, at), a.strideBytes);
    };
    std::function<void(Value)> each;
    if (prefetches())
      each = [&](Value step) {
        prefetchInProduct(product, tile, k_.mul(step, kTileCols), kTileCols);
      };
    Values acc;
    for (int64_t i = 0; i < rowTiles * tile.panels; ++i) acc.push_back(tileZero(k_));
    acc = multiplyTiles(k_, left, product.right.from(k_, tile.panel), rowTiles, tile.panels,
                        k_.ci(0), k_.ci(product.depth / kTileCols), acc, each);
    forOutputs(tile, product, kTileRows,
               [&](int64_t i, Value at) { tileStore(k_, acc[i], at, product.outputStride); });
  }

  /// body(accumulator, where it goes), each of `states` states and one panel.
  void forOutputs(const Tile& tile, const BlockProduct& product, int64_t states,
                  const std::function<void(int64_t, Value)>& body) {
    Value at = product.output(tile);
    for (int64_t i = 0; i < tile.states / states; ++i)
      for (int64_t q = 0; q < tile.panels; ++q)
        body(i * tile.panels + q,
             k_.offset(at, i * states * product.outputStride + q * kLanes * 4));
  }

  Value matrixAt(Value base, int64_t width, Value row, Value panel) {
    return k_.offset(k_.rowPtr(base, row, width), k_.mul(panel, kLanes * 4));
  }

  void emitScores(Value rows, Value keys, Value next) {
    multiplyBlock(
        rows, {.left = {queries_, queryBytes_, rounds()},
               .right = kv_.keyPanels(keys),
               .numPanels = kBlockPanels,
               .depth = kv_.headDim,
               .output = [&](const Tile& t) { return matrixAt(scores_, kBlock, t.state, t.panel); },
               .outputStride = kBlock * 4,
               .next = next,
               .rightBytes = kv_.keyBlockBytes()});
  }

  //===--------------------------------------------------------------------===//
  // What is asked for ahead
  //===--------------------------------------------------------------------===//

  /// In decode (steps of few rows), the keys and values of the next block are asked for while those
  /// of this one are worked on (of the last block, its own): three quarters in the two products,
  /// each its own operand, and the rest in the softmax, where the memory would idle. On Zen 5, 4096
  /// tokens deep, 4 heads of 64 to a KV head, one core reads f16 at 75 % of its limit so, bf16 at
  /// 70; without the softmax's part 69 and 65; with all of it in the scores' product and to the
  /// second level 43 and 48. With heads of 128, whose blocks fill the first level, either level
  /// reads at 55 to 58 %.
  bool prefetches() const { return rowsPerTile_ == 1; }
  static int64_t askedInProduct(int64_t bytes) { return bytes / 4 * 3; }

  /// What a tile of a product asks for while [k, k + count) are multiplied.
  void prefetchInProduct(const BlockProduct& product, const Tile& tile, Value k, int64_t count) {
    const int64_t bytes = askedInProduct(product.rightBytes);
    const int64_t all = groupHeads_ * product.numPanels;
    const int64_t states = std::min(tile.states, groupHeads_);
    const int64_t share = bytes * states * tile.panels / all;
    Value before = k_.add(k_.mul(tile.state, product.numPanels), k_.mul(tile.panel, states));
    Value at = k_.add(k_.div(k_.mul(before, bytes), all), k_.mul(k, share / product.depth));
    prefetchLines(k_.offset(product.next, at), share * count / product.depth);
  }
  /// What the softmax of one state asks for.
  void prefetchInSoftmax(Value next, int64_t bytes, Value state) {
    const int64_t share = (bytes - askedInProduct(bytes)) / groupHeads_;
    prefetchLines(k_.offset(k_.offset(next, k_.mul(state, share)), askedInProduct(bytes)), share);
  }
  /// The first block, for which no block before it asked.
  void prefetchBlock(const KvBlock& block) {
    k_.loop(k_.ci(0), k_.ci(kv_.keyBlockBytes()), 64,
            [&](Value at) { prefetchLines(k_.offset(block.keys, at), 64); });
    k_.loop(k_.ci(0), k_.ci(kv_.valueBlockBytes()), 64,
            [&](Value at) { prefetchLines(k_.offset(block.values, at), 64); });
  }
  void prefetchLines(Value from, int64_t bytes) {
    for (int64_t line = 0; line < bytes; line += 64)
      k_.prefetch(k_.offset(from, line), PrefetchTo::firstLevel);
  }

  //===--------------------------------------------------------------------===//
  // Softmax and merge
  //===--------------------------------------------------------------------===//

  /// Scores become p = exp(scale * s - block maximum); m, l and the two scales of the merge are
  /// brought up to date.
  void emitSoftmax(Value first, Value rows, Value firstKey, const KvBlock& next) {
    forStates(rows, [&](Value s, Value r, Value) {
      if (prefetches()) {
        prefetchInSoftmax(next.keys, kv_.keyBlockBytes(), s);
        prefetchInSoftmax(next.values, kv_.valueBlockBytes(), s);
      }
      Value pos = k_.inputOf("pos", k_.add(first, r));
      Value row = k_.rowPtr(scores_, s, kBlock);
      Values scores, allowed;
      for (int64_t p = 0; p < kBlockPanels; ++p) {
        SmallVector<int32_t> lanes;
        for (int64_t i = 0; i < kLanes; ++i) lanes.push_back(int32_t(p * kLanes + i));
        OpBuilder& b = k_.builder();
        Location loc = pos.getLoc();
        Value lane = arith::ConstantOp::create(
            b, loc, DenseElementsAttr::get(k_.vecI(kLanes, 32), ArrayRef<int32_t>(lanes)));
        auto limit = [&](Value v) {  // a position relative to the block's first key
          Value narrow = arith::TruncIOp::create(b, loc, b.getI32Type(), k_.sub(v, firstKey));
          return k_.broadcast(narrow);
        };
        Value ok = k_.cmp(arith::CmpIPredicate::sle, lane, limit(pos));
        if (window_) {
          Value inside = k_.cmp(arith::CmpIPredicate::sgt, lane, limit(k_.add(pos, -window_)));
          ok = arith::AndIOp::create(b, loc, ok, inside);
        }
        Value score = k_.mulf(k_.loadF32(k_.offset(row, p * kLanes * 4)), k_.splat(float(scale_)));
        if (softcap_ != 0) score = emitSoftcap(k_, score, softcap_);
        scores.push_back(k_.select(ok, score, k_.splat(kMasked)));
        allowed.push_back(ok);
      }
      Value most = k_.maxf(k_.maxf(scores[0], scores[1]), k_.maxf(scores[2], scores[3]));
      Value blockMaximum = k_.reduceMax(most);
      Value sum;
      for (int64_t p = 0; p < kBlockPanels; ++p) {
        Value e = emitExp(k_, k_.subf(scores[p], k_.broadcast(blockMaximum)));
        e = k_.select(allowed[p], e, k_.zero());
        storeLeft(e, row, k_.ci(p * kLanes));
        sum = sum ? k_.addf(sum, e) : e;
      }
      Value maximumAt = stateAt(maximum_, s), sumAt = stateAt(sum_, s);
      Value old = k_.loadScalar(maximumAt), merged = k_.maxf(old, blockMaximum);
      // exp(m - merged), which is 1 for the larger of both.
      Value grew = arith::CmpFOp::create(k_.builder(), pos.getLoc(), arith::CmpFPredicate::OLT, old,
                                         blockMaximum);
      Value smaller = k_.select(grew, old, blockMaximum);
      Value lesser = k_.extract(emitExp(k_, k_.broadcast(k_.subf(smaller, merged))), 0);
      Value oldScale = k_.select(grew, lesser, k_.cf(1.0f));
      Value newScale = k_.select(grew, k_.cf(1.0f), lesser);
      k_.store(merged, maximumAt, 4);
      k_.store(k_.fma(k_.loadScalar(sumAt), oldScale, k_.mulf(k_.reduceAdd(sum), newScale)), sumAt,
               4);
      k_.store(oldScale, stateAt(oldScale_, s), 4);
      k_.store(newScale, stateAt(newScale_, s), 4);
    });
  }

  /// o = o * old scale + (p V) * new scale.
  void emitOutput(Value rows, Value values, Value next) {
    multiplyBlock(rows, {.left = {scores_, kBlock * 4, rounds()},
                         .right = kv_.valuePanels(values),
                         .numPanels = kv_.valueDimPadded / kLanes,
                         .depth = kBlock,
                         .output = [&](const Tile&) { return blockOutput_; },
                         .outputStride = kTilePanels * kLanes * 4,
                         .next = next,
                         .rightBytes = kv_.valueBlockBytes(),
                         .finish = [&](const Tile& tile) { emitMerge(tile); }});
  }

  void emitMerge(const Tile& tile) {
    k_.loop(k_.ci(0), tile.live, 1, [&](Value i) {
      Value s = k_.add(tile.state, i);
      Value oldScale = k_.broadcast(k_.loadScalar(stateAt(oldScale_, s)));
      Value newScale = k_.broadcast(k_.loadScalar(stateAt(newScale_, s)));
      for (int64_t q = 0; q < tile.panels; ++q) {
        Value add =
            k_.loadF32(k_.offset(k_.rowPtr(blockOutput_, i, kTilePanels * kLanes), q * kLanes * 4));
        Value at = k_.offset(matrixAt(output_, kv_.valueDimPadded, s, tile.panel), q * kLanes * 4);
        k_.store(k_.fma(k_.loadF32(at), oldScale, k_.mulf(add, newScale)), at, 4);
      }
    });
  }

  void emitResult(Value head, Value first, Value rows) {
    const int64_t lanes = lanesFor(kv_.valueDim);
    forStates(rows, [&](Value s, Value r, Value g) {
      Value inverse = k_.broadcast(k_.divf(k_.cf(1.0f), k_.loadScalar(stateAt(sum_, s))), lanes);
      Value column = k_.mul(k_.add(k_.mul(head, groupHeads_), g), kv_.valueDim * 4);
      Value out = k_.offset(k_.rowOf("y", k_.add(first, r)), column);
      k_.loop(k_.ci(0), k_.ci(kv_.valueDim), lanes, [&](Value i) {
        Value v =
            k_.loadF32(k_.offset(k_.rowPtr(output_, s, kv_.valueDimPadded), k_.mul(i, 4)), lanes);
        k_.store(k_.mulf(v, inverse), k_.offset(out, k_.mul(i, 4)), 4);
      });
    });
  }

  KernelBuilder& k_;
  const KvLayout kv_;
  const double scale_, softcap_;
  const int64_t window_;
  const int64_t groupHeads_;      // query heads of a tile
  const int64_t partsPerKvHead_;  // tiles that share a KV head
  const int64_t rowsPerTile_;
  const Bf16Product product_;
  const int64_t queryBytes_;  // of a query in scratch
  Value sinks_;
  std::optional<TreeBranch> branch_;  // in verify steps
  Value queries_, scores_, output_, blockOutput_, maximum_, sum_, oldScale_, newScale_;
};

}  // namespace

void emitAttention(KernelBuilder& k, llm::AttentionOp op) { AttentionFrame(k, op).emit(); }

}  // namespace llmc::cpu
