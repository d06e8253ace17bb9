#include "codegen/cpu/Multiply.h"

using namespace mlir;

namespace llmc::cpu {

Panels Panels::from(KernelBuilder& k, Value p) const {
  Panels moved = *this;
  moved.base = k.offset(base, k.mul(p, panelBytes));
  return moved;
}

Panels weightPanels(Value base, Storage storage, int64_t cols) {
  switch (storage) {
    case Storage::f32:
      return {base, cols * 64, 64, 1, storage};
    case Storage::f16:
      return {base, cols * 32, 32, 1, storage};
    case Storage::bf16:
      return {base, (cols + 1) / 2 * 64, 64, 2, storage};
  }
  return {};
}

/// The values of one step of one panel: kPerStep vectors.
static Values loadStep(KernelBuilder& k, const Panels& b, Value at) {
  if (b.kPerStep == 1) return {k.loadAs(b.storage, at)};
  auto [even, odd] = k.bf16Pairs(k.load(k.vecI(kLanes, 32), at, 4));
  return {even, odd};
}

/// One step: acc += a[:, kAt...] * b[kAt...]; `take` values of k of the step are used. Of rows of
/// bf16 all are, a pair at once.
static void multiplyStep(KernelBuilder& k, const Rows& rowsOfA, Value a, const Panels& b, Value at,
                         int64_t rows, int64_t panels, int64_t take, Values& acc) {
  const bool pairs = rowsOfA.bf16;
  SmallVector<Values> weights;
  for (int64_t q = 0; q < panels; ++q) {
    Value from = k.offset(at, q * b.panelBytes);
    weights.push_back(pairs ? Values{k.load(k.vecI(kLanes, 32), from, 4)} : loadStep(k, b, from));
  }
  const Type word = pairs ? Type(k.builder().getI32Type()) : k.f32();
  for (int64_t j = 0; j < (pairs ? 1 : take); ++j) {
    for (int64_t i = 0; i < rows; ++i) {
      Value x = k.broadcast(k.load(word, k.offset(a, i * rowsOfA.strideBytes + j * 4), 4));
      for (int64_t q = 0; q < panels; ++q) {
        Value& c = acc[i * panels + q];
        c = pairs ? k.dotBf16(weights[q][j], x, c) : k.fma(weights[q][j], x, c);
      }
    }
  }
}

Values multiply(KernelBuilder& k, const Rows& a, const Panels& b, int64_t rows, int64_t panels,
                int64_t kCount, Values acc, const std::function<void(Value)>& each) {
  // Four values of k an iteration: enough to hide the loop's own instructions.
  constexpr int64_t kUnroll = 4;
  const int64_t main = kCount / kUnroll * kUnroll;
  auto step = [&](Value k0, int64_t first, int64_t count, Values& c) {
    Value aAt = k.offset(a.base, k.add(k.mul(k0, a.bytesPerK()), first * a.bytesPerK()));
    Value bAt = k.offset(
        b.base, k.add(k.mul(k0, b.stepBytes / b.kPerStep), first / b.kPerStep * b.stepBytes));
    multiplyStep(k, a, aAt, b, bAt, rows, panels, std::min(count, b.kPerStep), c);
  };
  acc = k.loop(k.ci(0), k.ci(main), kUnroll, acc, [&](Value k0, ValueRange state) {
    Values c(state.begin(), state.end());
    if (each) each(k0);
    for (int64_t j = 0; j < kUnroll; j += b.kPerStep) step(k0, j, b.kPerStep, c);
    return c;
  });
  for (int64_t j = main; j < kCount; j += b.kPerStep) step(k.ci(0), j, kCount - j, acc);
  return acc;
}

int64_t panelsFor(const CpuTarget& target, int64_t rows, int64_t most) {
  const int64_t perVector = kLanes / target.vectorFloats;
  // Three quarters of the registers for accumulators leave room for the weights of one k and the
  // broadcast.
  const int64_t accumulators = target.registers * 3 / 4 / perVector;
  int64_t panels = 1;
  while (panels * 2 <= most && panels * 2 * rows <= accumulators) panels *= 2;
  return panels;
}

SmallVector<int64_t> rowTiles(const CpuTarget& target) {
  SmallVector<int64_t> sizes = {4, 2, 1};
  if (target.gemmRows > 4) sizes.insert(sizes.begin(), target.gemmRows);
  return sizes;
}

void forBlocks(KernelBuilder& k, Value count, ArrayRef<int64_t> sizes,
               const std::function<void(Value, int64_t)>& body) {
  forBlocks(k, count, sizes, Value(), body);
}

void forBlocks(KernelBuilder& k, Value count, ArrayRef<int64_t> sizes, Value cap,
               const std::function<void(Value, int64_t)>& body) {
  Value begin = k.ci(0);
  for (int64_t size : sizes) {
    Value end = k.add(begin, k.mul(k.div(k.sub(count, begin), size), size));
    if (cap) end = k.select(k.cmp(arith::CmpIPredicate::sle, k.ci(size), cap), end, begin);
    k.loop(begin, end, size, [&](Value first) { body(first, size); });
    begin = end;
  }
}

}  // namespace llmc::cpu
