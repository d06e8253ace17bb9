#include "codegen/cpu/Quants.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace llmc::cpu {

using llmrt::PlaneRole;

static constexpr int64_t kWordBytes = 4;

/// The integers as floats.
static Value toFloat(KernelBuilder& k, Value v) {
  const int64_t lanes = cast<VectorType>(v.getType()).getDimSize(0);
  return arith::SIToFPOp::create(k.builder(), v.getLoc(), k.vec(lanes), v);
}

/// `mask` in each byte of a word.
static int32_t inEachByte(uint32_t mask) { return static_cast<int32_t>(mask * 0x01010101U); }
static int32_t maskOf(int64_t bits) { return (1 << bits) - 1; }

QuantPlanes QuantPlanes::from(KernelBuilder& k, Value panel) const {
  QuantPlanes moved = *this;
  if (!format) return moved;
  for (int p = 0; p < format->num_planes; ++p)
    moved.base[p] = k.offset(base[p], k.mul(panel, panelBytes[p]));
  return moved;
}

/// A word of each output's quants in a plane, shifted so that value `at` is in its lowest bits.
Value QuantPlanes::word(KernelBuilder& k, int plane, Value at, int64_t aligned,
                        int64_t panel) const {
  const int64_t bits = bitsOf(plane), perWord = 32 / bits;
  Value from = k.offset(base[plane], panel * panelBytes[plane]);
  Value words = k.load(k.vecI(kLanes, 32),
                       k.offset(from, k.mul(k.div(at, perWord), kLanes * kWordBytes)), kWordBytes);
  if (aligned % perWord == 0) return words;
  // Four values of k are a shift.
  return k.shiftRight(words, k.mul(k.div(k.rem(at, perWord), 4), bits));
}

/// The bits of the kPerStep quants from `at` on, unsigned: a word of each output has four of them
/// in its bytes.
Values QuantPlanes::rawBytes(KernelBuilder& k, Value at, int64_t aligned, int64_t panel) const {
  const int64_t low = lowBits();
  Value lows = word(k, 0, at, aligned, panel);
  if (low == 8) return {lows};
  const int highPlane = format->plane(PlaneRole::kHighBits);
  Value highs = highPlane < 0 ? Value() : word(k, highPlane, at, aligned, panel);
  Values out;
  for (int64_t g = 0; g < perStep() / 4; ++g) {
    Value bytes = k.andBits(k.shiftRight(lows, g * low), inEachByte(maskOf(low)));
    if (highs) {
      const int64_t high = bitsOf(highPlane);
      // To where they stand above the low ones, in one shift.
      Value moved =
          g * high > low ? k.shiftRight(highs, g * high - low) : k.shiftLeft(highs, low - g * high);
      bytes = k.orBits(bytes, k.andBits(moved, inEachByte(maskOf(high) << low)));
    }
    out.push_back(bytes);
  }
  return out;
}

QuantPlanes::Floats QuantPlanes::floats(KernelBuilder& k, Value at, int64_t aligned,
                                        int64_t panel) const {
  const llmrt::WeightFormat::Quant& quant = format->quant;
  const bool allInFour = lowBits() == 4 && format->plane(PlaneRole::kHighBits) < 0;
  if (allInFour && k.hasFloatTable()) {
    float table[kLanes];
    for (int32_t i = 0; i < kLanes; ++i)
      table[i] = static_cast<float>(quant.codebook ? quant.codebook[i] : i - quant.offset);
    Value words = word(k, 0, at, aligned, panel), values = k.constant(table);
    return [&k, words, values](int64_t j) {
      return k.lookUpFloats(values, k.shiftRight(words, j / 4 * 4 + j % 4 * 8));
    };
  }
  Values bytes = rawBytes(k, at, aligned, panel);
  const bool isSigned = lowBits() == 8 || quant.codebook || quant.offset;
  if (quant.codebook || quant.offset) {
    for (Value& word : bytes) {
      Value of = k.bitcast(k.vecI(kLanes * kWordBytes, 8), word);
      of = quant.codebook ? k.lookUpBytes({quant.codebook, 16}, of) : k.addBytes(of, -quant.offset);
      word = k.bitcast(k.vecI(kLanes, 32), of);
    }
  }
  return [&k, bytes, isSigned](int64_t j) { return k.byteAsFloat(bytes[j / 4], j % 4, isSigned); };
}

/// Where element `index` of a plane lies, of each output in turn.
Value QuantPlanes::element(KernelBuilder& k, int plane, Value index, int64_t panel) const {
  const int64_t bytes = llmrt::dtypeBytes(format->planes[plane].dtype);
  return k.offset(k.offset(base[plane], panel * panelBytes[plane]), k.mul(index, outputs * bytes));
}

ScaleAndMin QuantPlanes::scaleAndMin(KernelBuilder& k, Value at, int64_t panel) const {
  Value block = k.div(at, format->block);
  Value sub = format->quant.sub_block ? k.div(at, format->quant.sub_block) : Value();
  auto load = [&](PlaneRole role, Value index) -> Value {
    const int p = format->plane(role);
    if (p < 0) return {};
    return k.loadAs(storageOf(format->planes[p].dtype), element(k, p, index, panel), lanes);
  };
  ScaleAndMin out{load(PlaneRole::kScales, block), load(PlaneRole::kMins, block)};
  if (const int p = format->plane(PlaneRole::kSubPairs); p >= 0) {
    Value pairs = k.load(k.vecI(lanes, 8), element(k, p, sub, panel), 1);
    pairs = arith::ExtUIOp::create(k.builder(), pairs.getLoc(), k.vecI(lanes, 32), pairs);
    out.scale = k.mulf(out.scale, toFloat(k, k.andBits(pairs, 15)));
    out.min = k.mulf(out.min, toFloat(k, k.shiftRight(pairs, 4)));
  }
  if (Value scales = load(PlaneRole::kSubScales, sub)) out.scale = k.mulf(out.scale, scales);
  if (Value mins = load(PlaneRole::kSubMins, sub)) out.min = k.mulf(out.min, mins);
  return out;
}

Value QuantPlanes::valuesOfOutput(KernelBuilder& k, Value i, int64_t count) const {
  // A lane has the bits of its value lowest in its word, others above them.
  auto bitsAbove = [&](int plane) {
    const int64_t bits = bitsOf(plane), perWord = 32 / bits;
    const int64_t words = std::max<int64_t>(count / perWord, 1);
    Value from = k.offset(base[plane], k.mul(k.div(i, perWord), outputs * kWordBytes));
    Value v = k.load(k.vecI(words, 32), from, kWordBytes);
    SmallVector<int64_t> wordOf;
    SmallVector<int32_t> shifts;
    for (int64_t lane = 0; lane < count; ++lane) {
      wordOf.push_back(lane / perWord);
      shifts.push_back(static_cast<int32_t>(lane % perWord / 4 * bits + lane % 4 * 8));
    }
    v = vector::ShuffleOp::create(k.builder(), v.getLoc(), v, v, wordOf);
    Value first = k.add(k.mul(k.div(k.rem(i, perWord), 4), bits), k.mul(k.rem(i, 4), 8));
    if (count % perWord) v = k.shiftRight(v, first);
    return k.shiftRight(v, ArrayRef<int32_t>(shifts));
  };
  const int64_t low = lowBits();
  const llmrt::WeightFormat::Quant& quant = format->quant;
  Value v = bitsAbove(0);
  if (low == 8) {
    v = k.signOfByte(v);
  } else {
    v = k.andBits(v, maskOf(low));
    if (const int p = format->plane(PlaneRole::kHighBits); p >= 0)
      v = k.orBits(v, k.shiftLeft(k.andBits(bitsAbove(p), maskOf(bitsOf(p))), low));
    if (quant.codebook) v = k.lookUpWords({quant.codebook, 16}, v);
    if (quant.offset) v = k.addWords(v, -quant.offset);
  }
  ScaleAndMin s = scaleAndMin(k, i, 0);
  s.scale = k.broadcast(k.extract(s.scale, 0), count);
  if (s.min) s.min = k.broadcast(k.extract(s.min, 0), count);
  return s.apply(k, toFloat(k, v));
}

}  // namespace llmc::cpu
