// norm_qkv: a product whose tiles are heads of q, k and v. Each finishes where its head goes: q
// to the arena, k and v to the cache.
#include "codegen/cpu/KvCache.h"
#include "codegen/cpu/Product.h"
#include "ir/QkvWeights.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace llmc::cpu {

namespace {

class QkvEpilogue {
 public:
  QkvEpilogue(KernelBuilder& k, llm::NormQkvOp op)
      : k_(k),
        kv_(llm::kvTypeOf(op, op.getStateAttr())),
        numHeads_(llm::widthOf(op.getQ()) / kv_.headDim),
        allHeads_(op.getTiling(llm::stepKindOf(op)).tiles),
        half_((op.getRopeAttr() ? llm::rotaryDim(op, op.getRopeAttr()) : kv_.headDim) / 2),
        qkEps_(op.getQkEps() ? op.getQkEps()->convertToDouble() : 0),
        keysAreValues_(op.getKProjAttr() && !op.getVProjAttr()),
        vNorm_(op.getVNorm()),
        bias_(k.operandIf(op.getQBiasAttr(), "bias")),
        qNorm_(k.operandIf(op.getQNormAttr(), "q_norm")),
        kNorm_(k.operandIf(op.getKNormAttr(), "k_norm")),
        rope_(k.operandIf(op.getRopeAttr(), "rope")) {
    if (vNorm_) normed_ = k.scratch(kv_.headDim * 4);
  }

  /// Cuts the product of a weight of `heads` heads so that a tile is one head.
  void setTiles(ProductSpec& spec, int64_t firstHead, int64_t heads) const {
    spec.tilePanels = kv_.headDimPadded / kLanes;
    spec.numPanels = heads * spec.tilePanels;
    if (heads == allHeads_) return;
    spec.firstTile = firstHead;
    spec.numTiles = heads;
  }

  void emit(const OutputTile& tile) {
    auto less = [&](Value a, int64_t b) { return k_.cmp(arith::CmpIPredicate::slt, a, k_.ci(b)); };
    auto atLeast = [&](Value a, int64_t b) {
      return k_.cmp(arith::CmpIPredicate::sge, a, k_.ci(b));
    };
    if (allHeads_ == numHeads_) return emitQueries(tile);
    k_.ifThen(less(tile.index, numHeads_), [&] { emitQueries(tile); });
    Value keyHead = k_.add(tile.index, -numHeads_);
    k_.ifThen(atLeast(keyHead, 0),
              [&] { k_.ifThen(less(keyHead, kv_.numKvHeads), [&] { emitKeys(tile, keyHead); }); });
    if (keysAreValues_) return;
    Value valueHead = k_.add(keyHead, -kv_.numKvHeads);
    k_.ifThen(atLeast(valueHead, 0), [&] { emitValues(tile, valueHead); });
  }

 private:
  /// One row's outputs of a tile.
  struct Head {
    Value row;          // of the step
    Value outputs;      // [headDim] floats
    Value firstColumn;  // of all heads, as the bias counts them
  };

  void emitQueries(const OutputTile& tile) {
    forHeads(tile, [&](const Head& head) {
      Value out = k_.offset(k_.rowOf("q", head.row), k_.mul(head.firstColumn, 4));
      // Nothing else than the rotation goes by positions.
      forRotated(head, rope_ ? k_.inputOf("pos", head.row) : Value(), qNorm_,
                 [&](Value i, Value v) { k_.store(v, k_.offset(out, k_.mul(i, 4)), 4); });
    });
  }

  void emitKeys(const OutputTile& tile, Value kvHead) {
    forHeads(tile, [&](const Head& head) {
      const Place place = placeOf(k_, head.row);
      if (keysAreValues_) storeValuesOf(head, place, kvHead);
      forRotated(head, k_.inputOf("pos", head.row), kNorm_,
                 [&](Value i, Value v) { storeKeys(k_, kv_, place, kvHead, i, v); });
    });
  }

  void emitValues(const OutputTile& tile, Value kvHead) {
    forHeads(tile, [&](const Head& head) { storeValuesOf(head, placeOf(k_, head.row), kvHead); });
  }

  /// The head as values, normed where they are; it stays as it is.
  void storeValuesOf(const Head& head, const Place& place, Value kvHead) {
    const int64_t lanes = lanesFor(kv_.headDim);
    if (vNorm_) {
      k_.loop(k_.ci(0), k_.ci(kv_.headDim), lanes, [&](Value i) {
        k_.store(loadBiased(head, i, lanes), k_.offset(normed_, k_.mul(i, 4)), 4);
      });
      normHead(k_, {.eps = qkEps_}, normed_, normed_, kv_.headDim);
    }
    k_.loop(k_.ci(0), k_.ci(kv_.headDim), lanes, [&](Value i) {
      Value v =
          vNorm_ ? k_.loadF32(k_.offset(normed_, k_.mul(i, 4)), lanes) : loadBiased(head, i, lanes);
      storeValues(k_, kv_, place, kvHead, i, v);
    });
  }

  void forHeads(const OutputTile& tile, const std::function<void(const Head&)>& body) {
    k_.loop(k_.ci(0), tile.rows, 1, [&](Value r) {
      body({k_.add(tile.firstRow, r), k_.rowPtr(tile.outputs, r, tile.stride),
            k_.mul(tile.index, kv_.headDim)});
    });
  }

  Value at(const Head& head, Value i) { return k_.offset(head.outputs, k_.mul(i, 4)); }

  /// Elements [i, i + lanes) plus their bias.
  Value loadBiased(const Head& head, Value i, int64_t lanes) {
    Value v = k_.loadF32(at(head, i), lanes);
    if (!bias_) return v;
    Value column = k_.add(head.firstColumn, i);
    return k_.addf(v, k_.loadF32(k_.offset(bias_, k_.mul(column, 4)), lanes));
  }

  /// Brings a head to its bias and its norm, where it lies.
  void normInPlace(const Head& head, Value norm) {
    const int64_t lanes = lanesFor(kv_.headDim);
    if (bias_)
      k_.loop(k_.ci(0), k_.ci(kv_.headDim), lanes,
              [&](Value i) { k_.store(loadBiased(head, i, lanes), at(head, i), 4); });
    normHead(k_, {.weight = norm, .eps = qkEps_}, head.outputs, head.outputs, kv_.headDim);
  }

  /// body(element, values) over a head of q or k after its bias, its norm (null: none) and RoPE.
  void forRotated(const Head& head, Value pos, Value norm,
                  const std::function<void(Value, Value)>& body) {
    if (norm) normInPlace(head, norm);
    auto element = [&](Value i, int64_t lanes) {
      return norm ? k_.loadF32(at(head, i), lanes) : loadBiased(head, i, lanes);
    };
    const int64_t lanes = lanesFor(half_);
    k_.loop(k_.ci(0), k_.ci(half_), lanes, [&](Value i) {
      Value upper = k_.add(i, half_);
      Value low = element(i, lanes), high = element(upper, lanes);
      if (rope_) std::tie(low, high) = rotate(k_, rope_, pos, i, half_, low, high);
      body(i, low);
      body(upper, high);
    });
    if (2 * half_ == kv_.headDim) return;
    const int64_t rest = lanesFor(kv_.headDim - 2 * half_);
    k_.loop(k_.ci(2 * half_), k_.ci(kv_.headDim), rest,
            [&](Value i) { body(i, element(i, rest)); });
  }

  KernelBuilder& k_;
  const KvLayout kv_;
  const int64_t numHeads_;  // of queries
  const int64_t allHeads_;  // and of what is cached
  const int64_t half_;      // of the elements that are rotated
  const double qkEps_;
  const bool keysAreValues_;  // before norm and rotation
  const bool vNorm_;
  Value bias_, qNorm_, kNorm_, rope_;  // null: none
  Value normed_;                       // [headDim] of scratch, where values have a norm
};

}  // namespace

// Each weight is a product of its own, over the tiles that are its heads.
void emitNormQkv(KernelBuilder& k, llm::NormQkvOp op) {
  QkvEpilogue epilogue(k, op);
  int64_t firstHead = 0;
  for (const llm::QkvWeight& weight : llm::qkvWeightsOf(op)) {
    ProductSpec spec = normProductOf(k, op, weight.projections.front(), weight.operand);
    epilogue.setTiles(spec, firstHead, weight.heads);
    firstHead += weight.heads;
    spec.epilogue = [&](const OutputTile& tile) { epilogue.emit(tile); };
    emitProduct(k, spec);
  }
}

}  // namespace llmc::cpu
