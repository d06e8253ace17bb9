#include "codegen/cpu/Multiply.h"

#include "llvm/Support/ErrorHandling.h"

using namespace mlir;

namespace llmc::cpu {

Panels Panels::from(KernelBuilder& k, Value p) const {
  Panels moved = *this;
  moved.base = k.offset(base, k.mul(p, panelBytes));
  if (scales.base) moved.scales.base = k.offset(scales.base, k.mul(p, scales.panelBytes));
  return moved;
}

Panels Panels::fromK(KernelBuilder& k, Value k0) const {
  Panels moved = *this;
  moved.base = k.offset(base, k.mul(k0, stepBytes / kPerStep));
  if (scales.base) moved.firstK = firstK ? k.add(firstK, k0) : k0;
  return moved;
}

int64_t bytesPerK(const llmrt::WeightFormat& format) {
  return kLanes * llmrt::dtypeBytes(format.planes[0].dtype);
}

Panels weightPanels(KernelBuilder& k, Value base, const llmrt::WeightFormat& format, int64_t cols,
                    int64_t numPanels, int64_t numExperts, Value expert) {
  llmrt::PlaneExtent planes[llmrt::WeightFormat::kMaxPlanes];
  const bool fits = llmrt::layOutPlanes(format, /*in_panels=*/true, uint64_t(numPanels), cols,
                                        uint64_t(std::max<int64_t>(numExperts, 1)), planes);
  if (!fits) llvm::report_fatal_error("a weight of a petabyte");
  /// The first panel of the expert in a plane.
  auto plane = [&](int index) {
    Value at = k.offset(base, int64_t(planes[index].offset_bytes));
    if (!expert) return at;
    return k.offset(at, k.mul(expert, numPanels * format.unitBytes(index, true, cols)));
  };
  const llmrt::FormatPlane& values = format.planes[0];
  Panels panels{plane(0), format.unitBytes(0, true, cols), values.group * bytesPerK(format),
                values.group, storageOf(values.dtype)};
  switch (format.scheme) {
    case llmrt::FormatScheme::kPlain:
      break;
    case llmrt::FormatScheme::kQuant:
      panels.scales = {plane(1), format.unitBytes(1, true, cols), format.block,
                       storageOf(format.planes[1].dtype)};
      break;
  }
  return panels;
}

WeightRow weightRow(KernelBuilder& k, Value base, const llmrt::WeightFormat& format, int64_t rows,
                    int64_t cols, bool inPanels, Value row) {
  llmrt::PlaneExtent planes[llmrt::WeightFormat::kMaxPlanes];
  const int64_t units = inPanels ? (rows + kLanes - 1) / kLanes : rows;
  if (!llmrt::layOutPlanes(format, inPanels, uint64_t(units), cols, 1, planes))
    llvm::report_fatal_error("a weight of a petabyte");
  /// The output's first element in a plane.
  auto first = [&](int p) {
    Value plane = k.offset(base, int64_t(planes[p].offset_bytes));
    const int64_t unitBytes = format.unitBytes(p, inPanels, cols);
    if (!inPanels) return k.offset(plane, k.mul(row, unitBytes));
    const int64_t bytes = format.planes[p].group * llmrt::dtypeBytes(format.planes[p].dtype);
    Value panel = k.offset(plane, k.mul(k.div(row, kLanes), unitBytes));
    return k.offset(panel, k.mul(k.rem(row, kLanes), bytes));
  };
  WeightRow out{first(0), inPanels ? format.planes[0].group : 0, storageOf(format.planes[0].dtype)};
  switch (format.scheme) {
    case llmrt::FormatScheme::kPlain:
      break;
    case llmrt::FormatScheme::kQuant:
      out.scales = {first(1), 0, format.block, storageOf(format.planes[1].dtype)};
      out.scaleStep = inPanels ? kLanes : 1;
      break;
  }
  return out;
}

Value WeightRow::load(KernelBuilder& k, Value i, int64_t lanes) const {
  const int64_t bytes = storageBytes(storage);
  Value at = group == 0   ? k.mul(i, bytes)
             : group == 1 ? k.mul(i, kLanes * bytes)
                          : k.add(k.mul(k.div(i, group), group * kLanes * bytes),
                                  k.mul(k.rem(i, group), bytes));
  Value v = k.loadAs(storage, k.offset(base, at), lanes);
  if (!scales.base) return v;
  Value block = k.div(i, scales.block);
  Value from = k.offset(scales.base, k.mul(block, scaleStep * storageBytes(scales.storage)));
  return k.mulf(v, k.broadcast(k.extract(k.loadAs(scales.storage, from, 1), 0), lanes));
}

/// The elements of one step at `at`: kPerStep vectors of floats.
static Values loadValues(KernelBuilder& k, const Panels& b, Value at) {
  if (b.kPerStep == 1) return {k.loadAs(b.storage, at)};
  Value words = k.load(k.vecI(kLanes, 32), at, 4);
  switch (b.storage) {
    case Storage::bf16: {
      auto [even, odd] = k.bf16Pairs(words);
      return {even, odd};
    }
    case Storage::i8:
      return k.i8Quads(words);
    case Storage::f32:
    case Storage::f16:
      break;
  }
  llvm_unreachable("no several elements of this type fill a word");
}

/// The values of one step of panel `p` at `at`, which is value `kAt` of its k: kPerStep vectors.
static Values loadStep(KernelBuilder& k, const Panels& b, int64_t p, Value at, Value kAt) {
  Values values = loadValues(k, b, at);
  if (!b.scales.base) return values;
  Value block = k.div(b.firstK ? k.add(b.firstK, kAt) : kAt, b.scales.block);
  Value from = k.offset(b.scales.base, k.mul(block, kLanes * storageBytes(b.scales.storage)));
  Value scale = k.loadAs(b.scales.storage, k.offset(from, p * b.scales.panelBytes));
  for (Value& v : values) v = k.mulf(v, scale);
  return values;
}

/// One step: acc += a[:, kAt...] * b[kAt...]; `take` values of k of the step are used. Of rows of
/// bf16 all are, a pair at once.
static void multiplyStep(KernelBuilder& k, const Rows& rowsOfA, Value a, const Panels& b, Value at,
                         Value kAt, int64_t rows, int64_t panels, int64_t take, Values& acc) {
  const bool pairs = rowsOfA.bf16;
  SmallVector<Values> weights;
  for (int64_t q = 0; q < panels; ++q) {
    Value from = k.offset(at, q * b.panelBytes);
    weights.push_back(pairs ? Values{k.load(k.vecI(kLanes, 32), from, 4)}
                            : loadStep(k, b, q, from, kAt));
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
    Value kAt = b.scales.base ? k.add(k0, first) : Value();
    multiplyStep(k, a, aAt, b, bAt, kAt, rows, panels, std::min(count, b.kPerStep), c);
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
