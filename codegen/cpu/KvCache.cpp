#include "codegen/cpu/KvCache.h"

#include "codegen/cpu/Amx.h"

using namespace mlir;

namespace llmc::cpu {

KvLayout::KvLayout(llm::KvCacheType type)
    : storage(storageOf(type.getElementType())),
      numKvHeads(type.getNumKvHeads()),
      headDim(type.getHeadDim()),
      headDimPadded(roundUp(headDim, kLanes)),
      valueDim(type.getValueDim()),
      valueDimPadded(roundUp(valueDim, kLanes)) {}

int64_t KvLayout::keyBlockBytes() const {
  return roundUp(headDim, kPerStep()) * kBlock * storageBytes(storage);
}
int64_t KvLayout::valueBlockBytes() const {
  return valueDimPadded * kBlock * storageBytes(storage);
}

Value KvLayout::blockHead(KernelBuilder& k, Value seq, Value block) const {
  Value entry = k.add(k.mul(seq, k.step().blocksPerSeq), block);
  return k.mul(k.loadI32(k.offset(k.operand("block_table"), k.mul(entry, 4))), numKvHeads);
}

KvBlock KvLayout::blockOf(KernelBuilder& k, Value seq, Value block, Value head) const {
  Value at = k.add(blockHead(k, seq, block), head);
  return {k.offset(k.operand("keys"), k.mul(at, keyBlockBytes())),
          k.offset(k.operand("values"), k.mul(at, valueBlockBytes()))};
}

Panels KvLayout::keyPanels(Value base) const {
  const int64_t lane = kPerStep() * storageBytes(storage);
  return {.base = base,
          .panelBytes = kLanes * lane,
          .stepBytes = kBlock * lane,
          .kPerStep = kPerStep(),
          .storage = storage};
}

Panels KvLayout::valuePanels(Value base) const {
  const int64_t lane = kPerStep() * storageBytes(storage);
  return {.base = base,
          .panelBytes = kLanes * lane,
          .stepBytes = valueDimPadded * lane,
          .kPerStep = kPerStep(),
          .storage = storage};
}

Bf16Product cacheProduct(const CpuTarget& target, Storage storage, int64_t headDim) {
  const int64_t unit = target.bf16Product == Bf16Product::amx ? kTileCols : 2;
  return storage == Storage::bf16 && headDim % unit == 0 ? target.bf16Product : Bf16Product::fma;
}

/// Where value `index` of k of lane `lane` lies in a block whose steps have `lanes` lanes.
static Value blockOffset(KernelBuilder& k, const KvLayout& kv, Value index, Value lane,
                         int64_t lanes) {
  const int64_t bytes = storageBytes(kv.storage), perStep = kv.kPerStep();
  Value first = k.mul(k.add(k.mul(k.div(index, perStep), lanes), lane), perStep * bytes);
  return perStep == 1 ? first : k.add(first, k.mul(k.rem(index, perStep), bytes));
}

Place placeOf(KernelBuilder& k, Value row) {
  const bool inTree = k.shape().kind == llm::StepKind::verify;
  return {k.inputOf("seq", row), k.inputOf(inTree ? "slot" : "pos", row)};
}

void storeKeys(KernelBuilder& k, const KvLayout& kv, const Place& place, Value head, Value element,
               Value keys) {
  const int64_t lanes = cast<VectorType>(keys.getType()).getDimSize(0);
  const int64_t bytes = storageBytes(kv.storage);
  Value block = k.add(kv.blockHead(k, place.seq, k.div(place.slot, kBlock)), head);
  Value p = k.offset(k.operand("keys"),
                     k.add(k.mul(block, kv.keyBlockBytes()),
                           blockOffset(k, kv, element, k.rem(place.slot, kBlock), kBlock)));
  Value stored = k.roundTo(kv.storage, keys);
  // Elements side by side are written at once.
  const int64_t perStep = std::min(lanes, kv.kPerStep());
  if (perStep > 1) stored = k.bitcast(k.vecI(lanes / perStep, perStep * bytes * 8), stored);
  for (int64_t i = 0; i < lanes / perStep; ++i)
    k.store(k.extract(stored, i), k.offset(p, i * kBlock * perStep * bytes), bytes);
}

void storeValues(KernelBuilder& k, const KvLayout& kv, const Place& place, Value head,
                 Value element, Value values) {
  const int64_t lanes = cast<VectorType>(values.getType()).getDimSize(0);
  const int64_t bytes = storageBytes(kv.storage), perStep = kv.kPerStep();
  Value block = k.add(kv.blockHead(k, place.seq, k.div(place.slot, kBlock)), head);
  Value p =
      k.offset(k.operand("values"),
               k.add(k.mul(block, kv.valueBlockBytes()),
                     blockOffset(k, kv, k.rem(place.slot, kBlock), element, kv.valueDimPadded)));
  Value stored = k.roundTo(kv.storage, values);
  if (perStep == 1) return k.store(stored, p, bytes);
  for (int64_t i = 0; i < lanes; ++i)
    k.store(k.extract(stored, i), k.offset(p, i * perStep * bytes), bytes);
}

void copyToken(KernelBuilder& k, const KvLayout& kv, const KvBlock& from, Value fromToken,
               const KvBlock& to, Value toToken) {
  const auto bits = unsigned(storageBytes(kv.storage) * 8);
  auto copy = [&](Type type, Value source, Value sourceBytes, Value target, Value targetBytes) {
    const int64_t align = storageBytes(kv.storage);
    k.store(k.load(type, k.offset(source, sourceBytes), align), k.offset(target, targetBytes),
            align);
  };
  // Elements of keys that lie side by side are a word.
  const int64_t perStep = kv.kPerStep();
  Type word = k.builder().getIntegerType(unsigned(perStep) * bits);
  k.loop(k.ci(0), k.ci(roundUp(kv.headDim, perStep)), perStep, [&](Value i) {
    copy(word, from.keys, blockOffset(k, kv, i, fromToken, kBlock), to.keys,
         blockOffset(k, kv, i, toToken, kBlock));
  });
  // Elements of values do where tokens do not.
  const int64_t lanes = perStep == 1 ? kLanes : 1;
  k.loop(k.ci(0), k.ci(kv.valueDimPadded), lanes, [&](Value i) {
    copy(k.vecI(lanes, bits), from.values, blockOffset(k, kv, fromToken, i, kv.valueDimPadded),
         to.values, blockOffset(k, kv, toToken, i, kv.valueDimPadded));
  });
}

void emitKvMove(KernelBuilder& k, llm::KvMoveOp op) {
  const KvLayout kv(llm::kvTypeOf(op, op.getStateAttr()));
  k.loop(k.tileBegin(), k.tileEnd(), 1, [&](Value head) {
    k.loop(k.ci(0), k.step().numRows, 1, [&](Value r) {
      Value seq = k.inputOf("seq", r), slot = k.inputOf("slot", r), pos = k.inputOf("pos", r);
      copyToken(k, kv, kv.blockOf(k, seq, k.div(slot, kBlock), head), k.rem(slot, kBlock),
                kv.blockOf(k, seq, k.div(pos, kBlock), head), k.rem(pos, kBlock));
    });
  });
}

void emitKvWrite(KernelBuilder& k, llm::KvWriteOp op) {
  const KvLayout kv(llm::kvTypeOf(op, op.getStateAttr()));
  const int64_t keyLanes = lanesFor(kv.headDim), valueLanes = lanesFor(kv.valueDim);
  forRows(k, [&](Value r) {
    const Place place = placeOf(k, r);
    k.loop(k.ci(0), k.ci(kv.numKvHeads), 1, [&](Value head) {
      k.loop(k.ci(0), k.ci(kv.headDim), keyLanes, [&](Value i) {
        Value at = k.mul(k.add(k.mul(head, kv.headDim), i), 4);
        storeKeys(k, kv, place, head, i, k.loadF32(k.offset(k.rowOf("k", r), at), keyLanes));
      });
      k.loop(k.ci(0), k.ci(kv.valueDim), valueLanes, [&](Value i) {
        Value at = k.mul(k.add(k.mul(head, kv.valueDim), i), 4);
        storeValues(k, kv, place, head, i, k.loadF32(k.offset(k.rowOf("v", r), at), valueLanes));
      });
    });
  });
}

}  // namespace llmc::cpu
