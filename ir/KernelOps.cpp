// KernelOpInterface of every op: operands in ABI order, tiles, cost. Code generation, the scheduler
// and every report read these; an op's operand order is written here and nowhere else.
#include "ir/LLM.h"

using namespace mlir;
using namespace llmc::llm;

namespace {

using Operands = SmallVector<KernelOperand>;

KernelOperand input(Value v) { return {.space = Space::arena, .access = Access::read, .value = v}; }
KernelOperand output(Value v) {
  return {.space = Space::arena, .access = Access::write, .value = v};
}

/// A norm or a bias: f32, row-major.
KernelOperand vectorOf(FlatSymbolRefAttr symbol) {
  KernelOperand o;
  o.space = Space::weights;
  o.symbols = {symbol};
  return o;
}
/// The biases of several projections, as one vector after another.
KernelOperand vectorsOf(ArrayRef<FlatSymbolRefAttr> symbols) {
  KernelOperand o;
  o.space = Space::weights;
  o.symbols.append(symbols.begin(), symbols.end());
  return o;
}
KernelOperand panelsOf(ArrayRef<FlatSymbolRefAttr> symbols, PanelOrder order = PanelOrder::concat,
                       int64_t headRows = 0) {
  KernelOperand o = vectorsOf(symbols);
  o.layout = Layout::panels;
  o.order = order;
  o.headRows = headRows;
  return o;
}
KernelOperand ropeTable(FlatSymbolRefAttr symbol) {
  KernelOperand o;
  o.space = Space::rope;
  o.symbols = {symbol};
  return o;
}
KernelOperand cache(Space space, Access access) { return {.space = space, .access = access}; }

int64_t width(Value v) { return cast<RankedTensorType>(v.getType()).getDimSize(1); }
int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t panels(int64_t n) { return ceilDiv(n, 16); }

int64_t weightBytes(Operation* op, FlatSymbolRefAttr symbol) {
  WeightOp w = lookupWeight(op, symbol);
  if (!w) return 0;
  int64_t elements = 1;
  for (int64_t d : w.getLayerShape()) elements *= d;
  // Norms and biases are packed as f32, whatever the checkpoint has.
  int64_t bytes = w.getKind() == WeightKind::matrix
                      ? w.getTensorType().getElementType().getIntOrFloatBitWidth() / 8
                      : 4;
  return elements * bytes;
}
int64_t weightBytes(Operation* op, ArrayRef<FlatSymbolRefAttr> symbols) {
  int64_t sum = 0;
  for (FlatSymbolRefAttr s : symbols) sum += weightBytes(op, s);
  return sum;
}
/// 2 N K of a weight.
int64_t matrixFlops(Operation* op, FlatSymbolRefAttr symbol) {
  WeightOp w = lookupWeight(op, symbol);
  return w ? 2 * w.getLayerShape()[0] * w.getLayerShape()[1] : 0;
}

/// One tile a row: elementwise ops and what else is cheap.
Tiling perRow() { return {.tiles = 1, .rowsPerTile = 1}; }
/// Tiles of kTilePanels panels over N outputs.
Tiling overPanels(int64_t numPanels) { return {.tiles = ceilDiv(numPanels, kTilePanels)}; }

}  // namespace

// embed: [weight, y]. The embedding lies as the logits' matrix does when the two are tied, else row
// by row.
Operands EmbedOp::getKernelOperands() {
  WeightOp w = lookupWeight(*this, getWeightAttr());
  bool tied = false;
  if (w) {
    auto uses = SymbolTable::getSymbolUses(w, &w->getParentOfType<ModelOp>().getBody());
    for (SymbolTable::SymbolUse use : uses.value_or(SymbolTable::UseRange({})))
      tied |= isa<LogitsOp, NormLogitsOp>(use.getUser());
  }
  return {tied ? panelsOf({getWeightAttr()}) : vectorOf(getWeightAttr()), output(getY())};
}
Tiling EmbedOp::getTiling(int64_t) { return perRow(); }
Cost EmbedOp::getCost() {
  WeightOp w = lookupWeight(*this, getWeightAttr());
  return {.weightBytes = w ? weightBytes(*this, getWeightAttr()) / w.getLayerShape()[0] : 0};
}

// rms_norm: [x, weight, y]
Operands RmsNormOp::getKernelOperands() {
  return {input(getX()), vectorOf(getWeightAttr()), output(getY())};
}
Tiling RmsNormOp::getTiling(int64_t) { return perRow(); }
Cost RmsNormOp::getCost() {
  return {.weightBytes = weightBytes(*this, getWeightAttr()), .flopsPerRow = 4 * width(getX())};
}

// linear: [x, weight, y]
Operands LinearOp::getKernelOperands() {
  return {input(getX()), panelsOf({getWeightAttr()}), output(getY())};
}
Tiling LinearOp::getTiling(int64_t) { return overPanels(panels(width(getY()))); }
Cost LinearOp::getCost() {
  return {.weightBytes = weightBytes(*this, getWeightAttr()),
          .flopsPerRow = matrixFlops(*this, getWeightAttr())};
}

// bias: [x, bias, y]
Operands BiasOp::getKernelOperands() {
  return {input(getX()), vectorOf(getWeightAttr()), output(getY())};
}
Tiling BiasOp::getTiling(int64_t) { return perRow(); }
Cost BiasOp::getCost() {
  return {.weightBytes = weightBytes(*this, getWeightAttr()), .flopsPerRow = width(getX())};
}

// rope: [x, table, y]
Operands RopeOp::getKernelOperands() {
  return {input(getX()), ropeTable(getTableAttr()), output(getY())};
}
Tiling RopeOp::getTiling(int64_t) { return perRow(); }
Cost RopeOp::getCost() { return {.flopsPerRow = 3 * width(getX())}; }

// kv_write: [k, v, keys, values]
Operands KvWriteOp::getKernelOperands() {
  return {input(getK()), input(getV()), cache(Space::kv_keys, Access::write),
          cache(Space::kv_values, Access::write)};
}
Tiling KvWriteOp::getTiling(int64_t) { return perRow(); }
Cost KvWriteOp::getCost() { return {}; }
void KvWriteOp::getEffects(SmallVectorImpl<MemoryEffects::EffectInstance>& effects) {
  effects.emplace_back(MemoryEffects::Write::get(), KvCacheResource::get());
}

// attention: [q, keys, values, y]
Operands AttentionOp::getKernelOperands() {
  return {input(getQ()), cache(Space::kv_keys, Access::read), cache(Space::kv_values, Access::read),
          output(getY())};
}
Tiling AttentionOp::getTiling(int64_t maxRows) {
  return {.tiles = cast<KvCacheType>(getKv().getType()).getNumKvHeads(),
          .rowsPerTile = maxRows <= kDecodeMaxRows ? 1 : kAttentionRows};
}
Cost AttentionOp::getCost() {
  auto kv = cast<KvCacheType>(getKv().getType());
  return {.kvBytesPerToken = 2 * kv.getNumKvHeads() * kv.getHeadDim() *
                             kv.getElementType().getIntOrFloatBitWidth() / 8,
          .flopsPerRowPerToken = 4 * width(getQ())};
}
void AttentionOp::getEffects(SmallVectorImpl<MemoryEffects::EffectInstance>& effects) {
  effects.emplace_back(MemoryEffects::Read::get(), KvCacheResource::get());
}

// activation: [x, y]
Operands ActivationOp::getKernelOperands() { return {input(getX()), output(getY())}; }
Tiling ActivationOp::getTiling(int64_t) { return perRow(); }
Cost ActivationOp::getCost() { return {.flopsPerRow = 4 * width(getX())}; }

// mul, add: [a, b, y]
Operands MulOp::getKernelOperands() { return {input(getA()), input(getB()), output(getY())}; }
Tiling MulOp::getTiling(int64_t) { return perRow(); }
Cost MulOp::getCost() { return {.flopsPerRow = width(getA())}; }
Operands AddOp::getKernelOperands() { return {input(getA()), input(getB()), output(getY())}; }
Tiling AddOp::getTiling(int64_t) { return perRow(); }
Cost AddOp::getCost() { return {.flopsPerRow = width(getA())}; }

// logits: [x, weight, y]
Operands LogitsOp::getKernelOperands() {
  return {input(getX()), panelsOf({getWeightAttr()}), output(getY())};
}
Tiling LogitsOp::getTiling(int64_t) { return overPanels(panels(width(getY()))); }
Cost LogitsOp::getCost() {
  return {.weightBytes = weightBytes(*this, getWeightAttr()),
          .flopsPerRow = matrixFlops(*this, getWeightAttr())};
}
bool LogitsOp::onLogitsRows() { return true; }

// norm_qkv: [x, norm, qkv, (bias), (rope), keys, values, q]. A tile is one head of q, k or v.
Operands NormQkvOp::getKernelOperands() {
  int64_t headDim = cast<KvCacheType>(getKv().getType()).getHeadDim();
  Operands operands = {
      input(getX()), vectorOf(getNormAttr()),
      panelsOf({getQProjAttr(), getKProjAttr(), getVProjAttr()}, PanelOrder::heads, headDim)};
  if (getQBiasAttr())
    operands.push_back(vectorsOf({getQBiasAttr(), getKBiasAttr(), getVBiasAttr()}));
  if (getRopeAttr()) operands.push_back(ropeTable(getRopeAttr()));
  operands.push_back(cache(Space::kv_keys, Access::write));
  operands.push_back(cache(Space::kv_values, Access::write));
  operands.push_back(output(getQ()));
  return operands;
}
Tiling NormQkvOp::getTiling(int64_t) {
  auto kv = cast<KvCacheType>(getKv().getType());
  return {.tiles = width(getQ()) / kv.getHeadDim() + 2 * kv.getNumKvHeads()};
}
Cost NormQkvOp::getCost() {
  Cost cost;
  cost.weightBytes =
      weightBytes(*this, {getNormAttr(), getQProjAttr(), getKProjAttr(), getVProjAttr()});
  if (getQBiasAttr())
    cost.weightBytes += weightBytes(*this, {getQBiasAttr(), getKBiasAttr(), getVBiasAttr()});
  for (FlatSymbolRefAttr w : {getQProjAttr(), getKProjAttr(), getVProjAttr()})
    cost.flopsPerRow += matrixFlops(*this, w);
  return cost;
}
void NormQkvOp::getEffects(SmallVectorImpl<MemoryEffects::EffectInstance>& effects) {
  effects.emplace_back(MemoryEffects::Write::get(), KvCacheResource::get());
}

// norm_glu: [x, norm, gate|up, (bias), y]. Panels of gate and up alternate; a tile holds whole
// pairs.
Operands NormGluOp::getKernelOperands() {
  Operands operands = {input(getX()), vectorOf(getNormAttr()),
                       panelsOf({getGateProjAttr(), getUpProjAttr()}, PanelOrder::interleave)};
  if (getGateBiasAttr()) operands.push_back(vectorsOf({getGateBiasAttr(), getUpBiasAttr()}));
  operands.push_back(output(getY()));
  return operands;
}
Tiling NormGluOp::getTiling(int64_t) { return overPanels(2 * panels(width(getY()))); }
Cost NormGluOp::getCost() {
  Cost cost;
  cost.weightBytes = weightBytes(*this, {getNormAttr(), getGateProjAttr(), getUpProjAttr()});
  if (getGateBiasAttr())
    cost.weightBytes += weightBytes(*this, {getGateBiasAttr(), getUpBiasAttr()});
  cost.flopsPerRow = matrixFlops(*this, getGateProjAttr()) + matrixFlops(*this, getUpProjAttr());
  return cost;
}

// linear_residual: [x, residual, weight, (bias), y]
Operands LinearResidualOp::getKernelOperands() {
  Operands operands = {input(getX()), input(getResidual()), panelsOf({getWeightAttr()})};
  if (getBiasAttr()) operands.push_back(vectorOf(getBiasAttr()));
  operands.push_back(output(getY()));
  return operands;
}
Tiling LinearResidualOp::getTiling(int64_t) { return overPanels(panels(width(getY()))); }
Cost LinearResidualOp::getCost() {
  return {.weightBytes = weightBytes(*this, getWeightAttr()) +
                         (getBiasAttr() ? weightBytes(*this, getBiasAttr()) : 0),
          .flopsPerRow = matrixFlops(*this, getWeightAttr())};
}

// norm_logits: [x, norm, weight, y]
Operands NormLogitsOp::getKernelOperands() {
  return {input(getX()), vectorOf(getNormAttr()), panelsOf({getWeightAttr()}), output(getY())};
}
Tiling NormLogitsOp::getTiling(int64_t) { return overPanels(panels(width(getY()))); }
Cost NormLogitsOp::getCost() {
  return {.weightBytes = weightBytes(*this, {getNormAttr(), getWeightAttr()}),
          .flopsPerRow = matrixFlops(*this, getWeightAttr())};
}
bool NormLogitsOp::onLogitsRows() { return true; }
