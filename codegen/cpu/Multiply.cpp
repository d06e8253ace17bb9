#include "codegen/cpu/Multiply.h"

#include "llvm/Support/ErrorHandling.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace llmc::cpu {

Panels Panels::from(KernelBuilder& k, Value p) const {
  Panels moved = *this;
  moved.base = k.offset(base, k.mul(p, panelBytes));
  moved.quants = quants.from(k, p);
  return moved;
}

Panels Panels::fromK(KernelBuilder& k, Value k0) const {
  Panels moved = *this;
  moved.base = k.offset(base, k.mul(k0, bytesPerK()));
  if (quants) moved.firstK = firstK ? k.add(firstK, k0) : k0;
  return moved;
}

SmallVector<Panels::Stream> Panels::streams() const {
  if (!quants) return {{base, panelBytes, bytesPerK(), 1}};
  SmallVector<Stream> out;
  const llmrt::WeightFormat& format = *quants.format;
  for (int p = 0; p < format.num_planes; ++p) {
    const llmrt::FormatPlane& plane = format.planes[p];
    out.push_back({quants.base[p], quants.panelBytes[p],
                   kLanes * plane.per_block * llmrt::dtypeBytes(plane.dtype), format.block});
  }
  return out;
}

int64_t bytesPerK(const llmrt::WeightFormat& format) {
  int64_t bytes = 0;
  for (const llmrt::FormatPlane& plane : llvm::ArrayRef(format.planes, format.num_planes)) {
    if (plane.bits)
      bytes += kLanes * plane.bits / 8;
    else if (plane.role == llmrt::PlaneRole::kValues || plane.role == llmrt::PlaneRole::kQuants)
      bytes += kLanes * llmrt::dtypeBytes(plane.dtype);
  }
  return bytes;
}

/// Where the planes of a weight lie: `units` panels or rows of each expert.
static void layOut(const llmrt::WeightFormat& format, bool inPanels, int64_t units, int64_t cols,
                   int64_t experts, llmrt::PlaneExtent (&planes)[llmrt::WeightFormat::kMaxPlanes]) {
  if (!llmrt::layOutPlanes(format, inPanels, uint64_t(units), cols, uint64_t(experts), planes))
    llvm::report_fatal_error("a weight of a petabyte");
}

Panels weightPanels(KernelBuilder& k, Value base, const llmrt::WeightFormat& format, int64_t cols,
                    int64_t numPanels, int64_t numExperts, Value expert) {
  llmrt::PlaneExtent planes[llmrt::WeightFormat::kMaxPlanes];
  layOut(format, /*inPanels=*/true, numPanels, cols, std::max<int64_t>(numExperts, 1), planes);
  /// The first panel of the expert in a plane.
  auto plane = [&](int index) {
    Value at = k.offset(base, int64_t(planes[index].offset_bytes));
    if (!expert) return at;
    return k.offset(at, k.mul(expert, numPanels * format.unitBytes(index, true, cols)));
  };
  const llmrt::FormatPlane& values = format.planes[0];
  Panels panels{.base = plane(0),
                .panelBytes = format.unitBytes(0, true, cols),
                .kPerStep = values.group,
                .storage = storageOf(values.dtype)};
  switch (format.scheme) {
    case llmrt::FormatScheme::kPlain:
      panels.stepBytes = values.group * bytesPerK(format);
      break;
    case llmrt::FormatScheme::kQuant: {
      QuantPlanes& quants = panels.quants;
      quants.format = &format;
      for (int p = 0; p < format.num_planes; ++p) {
        quants.base[p] = plane(p);
        quants.panelBytes[p] = format.unitBytes(p, true, cols);
      }
      panels.kPerStep = quants.perStep();
      panels.stepBytes = panels.kPerStep * kLanes * quants.lowBits() / 8;
      break;
    }
  }
  return panels;
}

WeightRow weightRow(KernelBuilder& k, Value base, const llmrt::WeightFormat& format, int64_t rows,
                    int64_t cols, bool inPanels, Value row) {
  llmrt::PlaneExtent planes[llmrt::WeightFormat::kMaxPlanes];
  layOut(format, inPanels, inPanels ? (rows + kLanes - 1) / kLanes : rows, cols, 1, planes);
  /// The output's first element in a plane.
  auto first = [&](int p) {
    Value plane = k.offset(base, int64_t(planes[p].offset_bytes));
    const int64_t unitBytes = format.unitBytes(p, inPanels, cols);
    if (!inPanels) return k.offset(plane, k.mul(row, unitBytes));
    const int64_t bytes = format.planes[p].group * llmrt::dtypeBytes(format.planes[p].dtype);
    Value panel = k.offset(plane, k.mul(k.div(row, kLanes), unitBytes));
    return k.offset(panel, k.mul(k.rem(row, kLanes), bytes));
  };
  WeightRow out;
  switch (format.scheme) {
    case llmrt::FormatScheme::kPlain:
      out.base = first(0);
      out.group = inPanels ? format.planes[0].group : 0;
      out.storage = storageOf(format.planes[0].dtype);
      break;
    case llmrt::FormatScheme::kQuant:
      out.quants.format = &format;
      out.quants.outputs = inPanels ? kLanes : 1;
      out.quants.lanes = 1;
      for (int p = 0; p < format.num_planes; ++p) out.quants.base[p] = first(p);
      break;
  }
  return out;
}

Value WeightRow::load(KernelBuilder& k, Value i, int64_t lanes) const {
  if (quants) return quants.valuesOfOutput(k, i, lanes);
  const int64_t bytes = storageBytes(storage);
  Value at = group == 0   ? k.mul(i, bytes)
             : group == 1 ? k.mul(i, kLanes * bytes)
                          : k.add(k.mul(k.div(i, group), group * kLanes * bytes),
                                  k.mul(k.rem(i, group), bytes));
  return k.loadAs(storage, k.offset(base, at), lanes);
}

/// The values of one step at `at`: kPerStep vectors of floats.
static Values loadStep(KernelBuilder& k, const Panels& b, Value at) {
  if (b.kPerStep == 1) return {k.loadAs(b.storage, at)};
  assert(b.storage == Storage::bf16 && "only these lie in pairs");
  auto [even, odd] = k.bf16Pairs(k.load(k.vecI(kLanes, 32), at, 4));
  return {even, odd};
}

/// acc += a[:, j] * weights(panel), one value of k; `word`: what a word of a is taken as.
static void multiplyOne(KernelBuilder& k, const Rows& rowsOfA, Value a, int64_t rows,
                        int64_t panels, Values& acc,
                        const std::function<Value(int64_t panel)>& weights) {
  const Type word = rowsOfA.bf16 ? Type(k.builder().getI32Type()) : k.f32();
  Values w;
  for (int64_t q = 0; q < panels; ++q) w.push_back(weights(q));
  for (int64_t i = 0; i < rows; ++i) {
    Value x = k.broadcast(k.load(word, k.offset(a, i * rowsOfA.strideBytes), 4));
    for (int64_t q = 0; q < panels; ++q) {
      Value& c = acc[i * panels + q];
      c = rowsOfA.bf16 ? k.dotBf16(w[q], x, c) : k.fma(w[q], x, c);
    }
  }
}

/// One step: acc += a * b[at...]; `take` values of k of the step are used. Of rows of bf16 all are,
/// a pair at once.
static void multiplyStep(KernelBuilder& k, const Rows& rowsOfA, Value a, const Panels& b, Value at,
                         int64_t rows, int64_t panels, int64_t take, Values& acc) {
  const bool pairs = rowsOfA.bf16;
  SmallVector<Values> weights;
  for (int64_t q = 0; q < panels; ++q) {
    Value from = k.offset(at, q * b.panelBytes);
    weights.push_back(pairs ? Values{k.load(k.vecI(kLanes, 32), from, 4)} : loadStep(k, b, from));
  }
  for (int64_t j = 0; j < (pairs ? 1 : take); ++j)
    multiplyOne(k, rowsOfA, k.offset(a, j * 4), rows, panels, acc,
                [&](int64_t q) { return weights[q][j]; });
}

/// multiply() with weights of quants: their scales are brought once for all values of k that share
/// them.
static Values multiplyQuants(KernelBuilder& k, const Rows& a, const Panels& b, int64_t rows,
                             int64_t panels, int64_t kCount, Values acc,
                             const std::function<void(Value)>& each) {
  const int64_t period = b.quants.period(), perStep = b.kPerStep;
  /// `count` values of k from `k0` on, which share their scales.
  auto multiplyPeriod = [&](Value k0, int64_t count, Values c) {
    auto absolute = [&](Value at) { return b.firstK ? k.add(b.firstK, at) : at; };
    SmallVector<ScaleAndMin> scales;
    for (int64_t q = 0; q < panels; ++q) scales.push_back(b.quants.scaleAndMin(k, absolute(k0), q));
    auto step = [&](Value at, int64_t take, Values& sums) {
      if (each) each(at);
      SmallVector<QuantPlanes::Floats> quants;
      for (int64_t q = 0; q < panels; ++q)
        quants.push_back(b.quants.floats(k, absolute(at), perStep, q));
      Value left = k.offset(a.base, k.mul(at, a.bytesPerK()));
      for (int64_t j = 0; j < take; ++j)
        multiplyOne(k, a, k.offset(left, j * a.bytesPerK()), rows, panels, sums,
                    [&](int64_t q) { return scales[q].apply(k, quants[q](j)); });
    };
    const int64_t whole = count / perStep * perStep;
    c = k.loop(k0, k.add(k0, whole), perStep, c, [&](Value at, ValueRange state) {
      Values sums(state);
      step(at, perStep, sums);
      return sums;
    });
    if (count > whole) step(k.add(k0, whole), count - whole, c);
    return c;
  };
  const int64_t whole = kCount / period * period;
  acc = k.loop(k.ci(0), k.ci(whole), period, acc, [&](Value k0, ValueRange state) {
    return multiplyPeriod(k0, period, Values(state));
  });
  return kCount > whole ? multiplyPeriod(k.ci(whole), kCount - whole, acc) : acc;
}

/// Four values of k an iteration are enough to hide the loop's own instructions.
int64_t kPerIteration(const Panels& b) { return b.quants ? b.kPerStep : 4; }

Values multiply(KernelBuilder& k, const Rows& a, const Panels& b, int64_t rows, int64_t panels,
                int64_t kCount, Values acc, const std::function<void(Value)>& each) {
  if (b.quants) return multiplyQuants(k, a, b, rows, panels, kCount, acc, each);
  const int64_t unroll = kPerIteration(b), main = kCount / unroll * unroll;
  auto step = [&](Value k0, int64_t first, int64_t count, Values& c) {
    Value aAt = k.offset(a.base, k.add(k.mul(k0, a.bytesPerK()), first * a.bytesPerK()));
    Value bAt = k.offset(b.base, k.add(k.mul(k0, b.bytesPerK()), first * b.bytesPerK()));
    multiplyStep(k, a, aAt, b, bAt, rows, panels, std::min(count, b.kPerStep), c);
  };
  acc = k.loop(k.ci(0), k.ci(main), unroll, acc, [&](Value k0, ValueRange state) {
    Values c(state.begin(), state.end());
    if (each) each(k0);
    for (int64_t j = 0; j < unroll; j += b.kPerStep) step(k0, j, b.kPerStep, c);
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
