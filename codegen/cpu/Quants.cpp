#include "codegen/cpu/Quants.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
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

/// A word of each output's quants in a plane, shifted so that value `at` + j is in its lowest bits;
/// `at` is a multiple of `aligned`.
Value QuantPlanes::word(KernelBuilder& k, int plane, Value at, int64_t aligned, int64_t j,
                        int64_t panel) const {
  const int64_t bits = bitsOf(plane), perWord = 32 / bits, bytes = kLanes * kWordBytes;
  Value from = k.offset(base[plane], panel * panelBytes[plane]);
  auto load = [&](Value index) {
    return k.load(k.vecI(kLanes, 32), k.offset(from, k.mul(index, bytes)), kWordBytes);
  };
  // Four values of k are a shift.
  if (aligned % perWord == 0)
    return k.shiftRight(load(k.add(k.div(at, perWord), j / perWord)), j % perWord / 4 * bits);
  at = k.add(at, j);
  return k.shiftRight(load(k.div(at, perWord)), k.mul(k.div(k.rem(at, perWord), 4), bits));
}

/// The bits of the perStep() quants from `at` + j on, unsigned: a word of each output has four of
/// them in its bytes.
Values QuantPlanes::rawBytes(KernelBuilder& k, Value at, int64_t aligned, int64_t j,
                             int64_t panel) const {
  const int64_t low = lowBits();
  Value lows = word(k, 0, at, aligned, j, panel);
  if (low == 8) return {lows};
  const int highPlane = format->plane(PlaneRole::kHighBits);
  Value highs = highPlane < 0 ? Value() : word(k, highPlane, at, aligned, j, panel);
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
    Value words = word(k, 0, at, aligned, 0, panel), values = k.constant(table);
    return [&k, words, values](int64_t j) {
      return k.lookUpFloats(values, k.shiftRight(words, j / 4 * 4 + j % 4 * 8));
    };
  }
  Values bytes = rawBytes(k, at, aligned, 0, panel);
  const bool isSigned = lowBits() == 8 || quant.codebook || quant.offset;
  if (quant.codebook || quant.offset) {
    for (Value& word : bytes) {
      word = quant.codebook ? k.lookUpBytes({quant.codebook, 16}, word)
                            : k.addBytes(word, -quant.offset);
    }
  }
  return [&k, bytes, isSigned](int64_t j) { return k.byteAsFloat(bytes[j / 4], j % 4, isSigned); };
}

/// Where element `index` of a plane lies, of each output in turn.
Value QuantPlanes::element(KernelBuilder& k, int plane, Value index, int64_t panel) const {
  const int64_t bytes = llmrt::dtypeBytes(format->planes[plane].dtype);
  return k.offset(k.offset(base[plane], panel * panelBytes[plane]), k.mul(index, outputs * bytes));
}

Value QuantPlanes::load(KernelBuilder& k, PlaneRole role, Value index, int64_t panel) const {
  const int p = format->plane(role);
  if (p < 0) return {};
  return k.loadAs(storageOf(format->planes[p].dtype), element(k, p, index, panel), lanes);
}

ScaleAndMin QuantPlanes::subScaleAndMin(KernelBuilder& k, Value sub, int64_t panel) const {
  auto load = [&](PlaneRole role) -> Value {
    const int p = format->plane(role);
    if (p < 0) return {};
    Value bytes = k.load(k.vecI(lanes, 8), element(k, p, sub, panel), 1);
    if (role == PlaneRole::kSubPairs)
      return arith::ExtUIOp::create(k.builder(), bytes.getLoc(), k.vecI(lanes, 32), bytes);
    return arith::ExtSIOp::create(k.builder(), bytes.getLoc(), k.vecI(lanes, 32), bytes);
  };
  if (Value pairs = load(PlaneRole::kSubPairs))
    return {k.andBits(pairs, 15), k.shiftRight(pairs, 4)};
  return {load(PlaneRole::kSubScales), load(PlaneRole::kSubMins)};
}

Value QuantPlanes::subMinPairs(KernelBuilder& k, Value sub, int64_t panel) const {
  OpBuilder& b = k.builder();
  const int pairs = format->plane(PlaneRole::kSubPairs);
  const int plane = pairs < 0 ? format->plane(PlaneRole::kSubMins) : pairs;
  Value bytes = k.load(k.vecI(2 * lanes, 8), element(k, plane, sub, panel), 1);
  SmallVector<int64_t> order;
  for (int64_t n = 0; n < lanes; ++n) order.append({n, lanes + n});
  bytes = vector::ShuffleOp::create(b, bytes.getLoc(), bytes, bytes, order);
  auto i16 = k.vecI(2 * lanes, 16);
  Value mins;
  if (pairs < 0) {
    mins = arith::ExtSIOp::create(b, bytes.getLoc(), i16, bytes);
  } else {
    mins = arith::ExtUIOp::create(b, bytes.getLoc(), i16, bytes);
    Value four =
        arith::ConstantOp::create(b, bytes.getLoc(), DenseElementsAttr::get(i16, int16_t{4}));
    mins = arith::ShRUIOp::create(b, bytes.getLoc(), mins, four);
  }
  return k.bitcast(k.vecI(lanes, 32), mins);
}

ScaleAndMin QuantPlanes::scaleAndMin(KernelBuilder& k, Value at, int64_t panel) const {
  Value block = k.div(at, format->block);
  ScaleAndMin out{load(k, PlaneRole::kScales, block, panel),
                  load(k, PlaneRole::kMins, block, panel)};
  if (!format->quant.sub_block) return out;
  const ScaleAndMin sub = subScaleAndMin(k, k.div(at, format->quant.sub_block), panel);
  out.scale = k.mulf(out.scale, toFloat(k, sub.scale));
  if (sub.min) out.min = k.mulf(out.min, toFloat(k, sub.min));
  return out;
}

/// vpdpbusd takes bytes of weights without a sign. Others take bytes of eight bits with it:
/// vpmaddubsw takes magnitudes, as sums of two products of larger bytes would saturate.
bool QuantPlanes::areSigned(const CpuTarget& target, const llmrt::WeightFormat& format) {
  return target.bytes != ByteInstructions::avx512Vnni &&
         (!format.planes[0].bits || format.quant.codebook);
}
int32_t QuantPlanes::byteOffset(const CpuTarget& target, const llmrt::WeightFormat& format) {
  if (format.planes[0].bits && !format.quant.codebook) return format.quant.offset;
  return areSigned(target, format) ? 0 : 128;
}

Values QuantPlanes::bytes(KernelBuilder& k, Value at, int64_t j, int64_t panel) const {
  Values words = rawBytes(k, at, period(), j, panel);
  const bool isSigned = bytesAreSigned(k.target());
  for (Value& word : words) {
    if (lowBits() == 8) {
      if (!isSigned) word = k.addBytes(word, 128);
    } else if (format->quant.codebook) {
      int8_t table[16];
      for (int i = 0; i < 16; ++i)
        table[i] = static_cast<int8_t>(format->quant.codebook[i] + (isSigned ? 0 : 128));
      word = k.lookUpBytes(table, word);
    }
  }
  return words;
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
