#include "codegen/cpu/Recurrent.h"

#include "codegen/cpu/Kernels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace llmc::cpu {

void forSequences(KernelBuilder& k, int64_t slotElements,
                  const std::function<void(Value, Value, Value)>& body) {
  Value numRows = k.step().numRows;
  k.whileLess(k.ci(0), numRows, [&](Value first) {
    Value seq = k.inputOf("seq", first);
    // The end moves on as long as every row before it is of the sequence.
    Value end =
        k.loop(k.add(first, 1), numRows, 1, k.add(first, 1), [&](Value r, ValueRange state) {
          Value same = k.cmp(arith::CmpIPredicate::eq, k.inputOf("seq", r), seq);
          Value next = k.cmp(arith::CmpIPredicate::eq, state[0], r);
          Value both = arith::AndIOp::create(k.builder(), r.getLoc(), same, next);
          return Values{k.select(both, k.add(state[0], 1), state[0])};
        })[0];
    Value number = k.loadI32(k.offset(k.operand("slots"), k.mul(seq, sizeof(int32_t))));
    body(first, end, k.rowPtr(k.operand("state"), number, slotElements));
    return end;
  });
}

bool verifies(const KernelBuilder& k) { return k.shape().kind == llm::StepKind::verify; }

Value parentOf(KernelBuilder& k, Value row) {
  Value none = k.cmp(arith::CmpIPredicate::slt, row, k.ci(0));
  return k.select(none, row, k.inputOf("parent", k.max(row, k.ci(0))));
}

/// Whether t is r or an ancestor of it. The way up passes no row twice.
static Value isOnBranch(KernelBuilder& k, Value t, Value r) {
  Value at = k.loop(t, r, 1, r, [&](Value, ValueRange state) {
    // As soon as it is at t or above, it stays.
    Value below = k.cmp(arith::CmpIPredicate::sgt, state[0], t);
    return Values{k.select(below, parentOf(k, state[0]), state[0])};
  })[0];
  return k.cmp(arith::CmpIPredicate::eq, at, t);
}

void forTree(KernelBuilder& k, Value first, Value end, const std::function<void()>& begin,
             const std::function<void(Value)>& token) {
  k.loop(first, end, 1, [&](Value r) {
    Value jumps = k.cmp(arith::CmpIPredicate::ne, parentOf(k, r), k.add(r, -1));
    Value isFirst = k.cmp(arith::CmpIPredicate::eq, r, first);
    Value anew = arith::OrIOp::create(k.builder(), r.getLoc(), jumps, isFirst);
    k.ifThen(anew, begin);
    k.loop(k.select(anew, first, r), k.add(r, 1), 1,
           [&](Value t) { k.ifThen(isOnBranch(k, t, r), [&] { token(t); }); });
  });
}

void copyColumns(KernelBuilder& k, int64_t rows, int64_t columns, Value from, int64_t fromStride,
                 Value to, int64_t toStride) {
  const int64_t lanes = lanesFor(columns);
  k.loop(k.ci(0), k.ci(rows), 1, [&](Value i) {
    for (int64_t c = 0; c < columns; c += lanes)
      k.store(k.loadF32(k.offset(k.rowPtr(from, i, fromStride), c * 4), lanes),
              k.offset(k.rowPtr(to, i, toStride), c * 4), 4);
  });
}

}  // namespace llmc::cpu
