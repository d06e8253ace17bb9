// Attention over the blocked KV cache, in the fixed order of blocks that makes its result
// independent of batching.
//
// A tile is one KV head (or a part of its query heads) and a run of rows. Rows of one sequence
// share each block of keys and values; all query heads of the tile do. Per block of 64 keys: scores
// = q K (keys lie [head_dim, 64], so sixteen keys are a panel), softmax with the block's own
// maximum, o_block = p V, and a merge into the running (m, l, o) (arXiv 2205.14135; the merge of
// blocks is that of arXiv 1805.02867).
#include "codegen/cpu/Kernels.h"
#include "codegen/cpu/Math.h"
#include "codegen/cpu/Multiply.h"

using namespace mlir;

namespace llmc::cpu {

namespace {

constexpr int64_t kBlockPanels = kBlock / kLanes;
/// Panels of values that are summed at once, if the registers allow: of one state, four independent
/// chains of FMAs, as many as hide the latency of one.
constexpr int64_t kValuePanels = 4;
/// Stands for -infinity: smaller than any score, and its differences stay finite.
constexpr float kMasked = -1e30f;

class AttentionFrame {
 public:
  AttentionFrame(KernelBuilder& k, llm::AttentionOp op, const KernelShape& shape)
      : k_(k),
        kv_(cast<llm::KvCacheType>(op.getKv().getType())),
        scale_(op.getScale().convertToDouble()),
        softcap_(op.getSoftcap().convertToDouble()),
        window_(op.getWindow()),
        groupHeads_(widthOf(op.getQ()) / kv_.headDim / op.getTiling(shape.maxRows).tiles),
        partsPerKvHead_(op.getTiling(shape.maxRows).tiles / kv_.numKvHeads),
        rowsPerTile_(op.getTiling(shape.maxRows).rowsPerTile),
        qStride_(shape.rowStrides[0]),
        yStride_(shape.rowStrides[1]) {
    q_ = k.operand(0);
    keys_ = k.operand(1);
    values_ = k.operand(2);
    if (op.getSinksAttr()) sinks_ = k.operand(3);
    y_ = k.operand(sinks_ ? 4 : 3);
    const int64_t states = rowsPerTile_ * groupHeads_;
    scores_ = k.scratch(states * kBlock * 4);
    output_ = k.scratch(states * kv_.valueDimPadded * 4);
    maximum_ = k.scratch(states * 4);
    sum_ = k.scratch(states * 4);
    oldScale_ = k.scratch(states * 4);
    newScale_ = k.scratch(states * 4);
  }

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
  /// Rows from `first` on that belong to the same sequence.
  Value runLength(Value first, Value end) {
    if (rowsPerTile_ == 1) return k_.ci(1);
    Value seq = k_.row(first).seq;
    return k_.loop(k_.add(first, 1), end, 1, k_.ci(1), [&](Value r, ValueRange state) {
      // Sequences are contiguous: a row extends the run if it has the sequence and all before it
      // did.
      Value same = k_.cmp(arith::CmpIPredicate::eq, k_.row(r).seq, seq);
      Value whole = k_.cmp(arith::CmpIPredicate::eq, k_.add(first, state[0]), r);
      Value both = arith::AndIOp::create(k_.builder(), r.getLoc(), same, whole);
      return Values{k_.select(both, k_.add(state[0], 1), state[0])};
    })[0];
  }

  Value stateAt(Value base, Value state) { return k_.offset(base, k_.mul(state, 4)); }
  /// State number of query head `g` of the group and row `r` of the run.
  Value state(Value g, Value r) { return k_.add(k_.mul(g, rowsPerTile_), r); }

  void emitRun(Value head, Value first, Value rows) {
    k_.loop(k_.ci(0), k_.ci(rowsPerTile_ * groupHeads_), 1, [&](Value s) {
      Value maximum = k_.cf(kMasked), sum = k_.cf(0.0f);
      if (sinks_) {
        // A sink is a key before all others, whose value is 0: m = its score, l = 1, o = 0.
        Value query = k_.add(k_.mul(head, groupHeads_), k_.div(s, rowsPerTile_));
        maximum = k_.loadScalar(k_.offset(sinks_, k_.mul(query, 4)));
        sum = k_.cf(1.0f);
      }
      k_.store(maximum, stateAt(maximum_, s), 4);
      k_.store(sum, stateAt(sum_, s), 4);
      k_.loop(k_.ci(0), k_.ci(kv_.valueDimPadded), kLanes, [&](Value i) {
        k_.store(k_.zero(), k_.offset(k_.rowPtr(output_, s, kv_.valueDimPadded), k_.mul(i, 4)), 4);
      });
    });
    Value kvHead = k_.div(head, partsPerKvHead_);
    RowArgs firstRow = k_.row(first);
    Value lastPos = k_.row(k_.add(first, k_.add(rows, -1))).pos;
    Value firstBlock = k_.ci(0);
    if (window_) firstBlock = k_.div(k_.max(k_.add(firstRow.pos, 1 - window_), k_.ci(0)), kBlock);
    k_.loop(firstBlock, k_.add(k_.div(lastPos, kBlock), 1), 1, [&](Value block) {
      Value pool = k_.add(kv_.blockHead(k_, firstRow.seq, block), kvHead);
      Value firstKey = k_.mul(block, kBlock);
      Value count = k_.min(k_.ci(kBlock), k_.sub(k_.add(lastPos, 1), firstKey));
      emitScores(head, first, rows, k_.offset(keys_, k_.mul(pool, kv_.keyBlockBytes())));
      emitSoftmax(first, rows, firstKey);
      emitOutput(rows, count, k_.offset(values_, k_.mul(pool, kv_.valueBlockBytes())));
    });
    emitResult(head, first, rows);
  }

  /// Calls body(first state, query rows, rows in the register tile) over all states. In decode the
  /// rows of a register tile are the query heads of the group, in prefill rows of the step.
  void forQueries(Value head, Value first, Value rows,
                  const std::function<void(Value, Rows, int64_t)>& body) {
    const SmallVector<int64_t> sizes = rowTiles(k_.target());
    Value group = k_.mul(head, groupHeads_ * kv_.headDim * 4);
    if (rowsPerTile_ == 1) {
      Value base = k_.offset(k_.rowPtr(q_, first, qStride_), group);
      forBlocks(k_, k_.ci(groupHeads_), sizes, [&](Value g, int64_t count) {
        body(g, {k_.offset(base, k_.mul(g, kv_.headDim * 4)), kv_.headDim * 4}, count);
      });
      return;
    }
    k_.loop(k_.ci(0), k_.ci(groupHeads_), 1, [&](Value g) {
      Value base =
          k_.offset(k_.rowPtr(q_, first, qStride_), k_.add(group, k_.mul(g, kv_.headDim * 4)));
      forBlocks(k_, rows, sizes, [&](Value r, int64_t count) {
        body(state(g, r), {k_.offset(base, k_.mul(r, qStride_ * 4)), qStride_ * 4}, count);
      });
    });
  }

  void emitScores(Value head, Value first, Value rows, Value keys) {
    const int64_t bytes = storageBytes(kv_.storage);
    const Panels panels{keys, kLanes * bytes, kBlock * bytes, 1, kv_.storage};
    forQueries(head, first, rows, [&](Value s, Rows queries, int64_t count) {
      const int64_t atOnce = panelsFor(k_.target(), count, kBlockPanels);
      k_.loop(k_.ci(0), k_.ci(kBlockPanels), atOnce, [&](Value p) {
        Values acc(count * atOnce, k_.zero());
        acc = multiply(k_, queries, panels.from(k_, p), count, atOnce, kv_.headDim, acc);
        for (int64_t i = 0; i < count; ++i)
          for (int64_t j = 0; j < atOnce; ++j)
            k_.store(acc[i * atOnce + j],
                     k_.offset(k_.rowPtr(scores_, k_.add(s, i), kBlock),
                               k_.mul(k_.add(p, j), kLanes * 4)),
                     4);
      });
    });
  }

  /// Every live state: body(state, row of the step).
  void forStates(Value first, Value rows, const std::function<void(Value, Value)>& body) {
    k_.loop(k_.ci(0), k_.ci(groupHeads_), 1, [&](Value g) {
      k_.loop(k_.ci(0), rows, 1, [&](Value r) { body(state(g, r), k_.add(first, r)); });
    });
  }

  /// Scores become p = exp(scale * s - block maximum); m, l and the two scales of the merge are
  /// brought up to date.
  void emitSoftmax(Value first, Value rows, Value firstKey) {
    forStates(first, rows, [&](Value s, Value r) {
      Value pos = k_.row(r).pos;
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
        k_.store(e, k_.offset(row, p * kLanes * 4), 4);
        sum = sum ? k_.addf(sum, e) : e;
      }
      Value maximumAt = stateAt(maximum_, s), sumAt = stateAt(sum_, s);
      Value old = k_.loadScalar(maximumAt), merged = k_.maxf(old, blockMaximum);
      auto scaleOf = [&](Value m) {
        return k_.extract(emitExp(k_, k_.broadcast(k_.subf(m, merged))), 0);
      };
      Value oldScale = scaleOf(old), newScale = scaleOf(blockMaximum);
      k_.store(merged, maximumAt, 4);
      k_.store(k_.fma(k_.loadScalar(sumAt), oldScale, k_.mulf(k_.reduceAdd(sum), newScale)), sumAt,
               4);
      k_.store(oldScale, stateAt(oldScale_, s), 4);
      k_.store(newScale, stateAt(newScale_, s), 4);
    });
  }

  /// o = o * old scale + (p V) * new scale, over the block's `count` first keys (those after it
  /// have p = 0).
  void emitOutput(Value rows, Value count, Value values) {
    const int64_t bytes = storageBytes(kv_.storage);
    const Panels panels{values, kLanes * bytes, kv_.valueDimPadded * bytes, 1, kv_.storage};
    const int64_t numPanels = kv_.valueDimPadded / kLanes;
    const SmallVector<int64_t> sizes = rowTiles(k_.target());
    auto block = [&](Value s, int64_t states) {
      int64_t atOnce = panelsFor(k_.target(), states, kValuePanels);
      while (numPanels % atOnce) atOnce /= 2;
      k_.loop(k_.ci(0), k_.ci(numPanels), atOnce, [&](Value p) {
        Values acc(states * atOnce, k_.zero());
        Rows weights{k_.rowPtr(scores_, s, kBlock), kBlock * 4};
        acc = multiply(k_, weights, panels.from(k_, p), states, atOnce, count, acc);
        for (int64_t i = 0; i < states; ++i) {
          Value at = k_.add(s, i);
          Value oldScale = k_.broadcast(k_.loadScalar(stateAt(oldScale_, at)));
          Value newScale = k_.broadcast(k_.loadScalar(stateAt(newScale_, at)));
          for (int64_t j = 0; j < atOnce; ++j) {
            Value out = k_.offset(k_.rowPtr(output_, at, kv_.valueDimPadded),
                                  k_.mul(k_.add(p, j), kLanes * 4));
            k_.store(k_.fma(k_.loadF32(out), oldScale, k_.mulf(acc[i * atOnce + j], newScale)), out,
                     4);
          }
        }
      });
    };
    if (rowsPerTile_ == 1) return forBlocks(k_, k_.ci(groupHeads_), sizes, block);
    k_.loop(k_.ci(0), k_.ci(groupHeads_), 1, [&](Value g) {
      forBlocks(k_, rows, sizes, [&](Value r, int64_t states) { block(state(g, r), states); });
    });
  }

  void emitResult(Value head, Value first, Value rows) {
    const int64_t lanes = lanesFor(kv_.valueDim);
    k_.loop(k_.ci(0), k_.ci(groupHeads_), 1, [&](Value g) {
      k_.loop(k_.ci(0), rows, 1, [&](Value r) {
        Value s = state(g, r);
        Value inverse = k_.broadcast(k_.divf(k_.cf(1.0f), k_.loadScalar(stateAt(sum_, s))), lanes);
        Value column = k_.mul(k_.add(k_.mul(head, groupHeads_), g), kv_.valueDim * 4);
        Value out = k_.offset(k_.rowPtr(y_, k_.add(first, r), yStride_), column);
        k_.loop(k_.ci(0), k_.ci(kv_.valueDim), lanes, [&](Value i) {
          Value v =
              k_.loadF32(k_.offset(k_.rowPtr(output_, s, kv_.valueDimPadded), k_.mul(i, 4)), lanes);
          k_.store(k_.mulf(v, inverse), k_.offset(out, k_.mul(i, 4)), 4);
        });
      });
    });
  }

  KernelBuilder& k_;
  const KvLayout kv_;
  const double scale_, softcap_;
  const int64_t window_;
  const int64_t groupHeads_;      // query heads of a tile
  const int64_t partsPerKvHead_;  // tiles that share a KV head
  const int64_t rowsPerTile_, qStride_, yStride_;
  Value q_, keys_, values_, sinks_, y_;
  Value scores_, output_, maximum_, sum_, oldScale_, newScale_;
};

}  // namespace

// attention: [q, keys, values, (sinks), y]
void emitAttention(KernelBuilder& k, llm::AttentionOp op, const KernelShape& shape) {
  AttentionFrame(k, op, shape).emit();
}

}  // namespace llmc::cpu
