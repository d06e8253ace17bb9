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
  ArrayRef<int64_t> shape = w.getLayerShape();  // of one expert, where there are some
  // Norms and biases are packed as f32, whatever the checkpoint has.
  if (w.getKind() != WeightKind::matrix) return shape[0] * 4;
  return shape[0] * weightFormatOf(w.getTensorType().getElementType()).rowBytes(shape[1]);
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

/// What is read and computed per expert of a route.
Cost expertCost(Operation* op, Value route, ArrayRef<FlatSymbolRefAttr> symbols) {
  Cost cost;
  cost.expertBytes = weightBytes(op, symbols);
  cost.expertsPerRow = width(route) / 2;
  if (WeightOp w = lookupWeight(op, symbols.front())) cost.numExperts = w.getNumExperts();
  for (FlatSymbolRefAttr s : symbols) {
    WeightOp w = lookupWeight(op, s);
    if (w && w.getKind() == WeightKind::matrix)
      cost.flopsPerRow += cost.expertsPerRow * matrixFlops(op, s);
  }
  return cost;
}

/// A fused op's norm: [weight, (bias)].
template <typename Op>
void addNorm(Operands& operands, Op op) {
  operands.push_back(vectorOf(op.getNormAttr()));
  if (op.getNormBiasAttr()) operands.push_back(vectorOf(op.getNormBiasAttr()));
}
template <typename Op>
int64_t normBytes(Op op) {
  return weightBytes(op, op.getNormAttr()) +
         (op.getNormBiasAttr() ? weightBytes(op, op.getNormBiasAttr()) : 0);
}

template <typename Op>
int64_t biasBytes(Op op) {
  return op.getBiasAttr() ? weightBytes(op, op.getBiasAttr()) : 0;
}

/// A norm and one matrix: [x, norm, (norm_bias), weight, (bias), y].
template <typename Op>
Operands normProduct(Op op) {
  Operands operands = {input(op.getX())};
  addNorm(operands, op);
  operands.push_back(panelsOf({op.getWeightAttr()}));
  if (op.getBiasAttr()) operands.push_back(vectorOf(op.getBiasAttr()));
  operands.push_back(output(op.getY()));
  return operands;
}
template <typename Op>
Cost normProductCost(Op op) {
  return {.weightBytes = normBytes(op) + weightBytes(op, op.getWeightAttr()) + biasBytes(op),
          .flopsPerRow = matrixFlops(op, op.getWeightAttr())};
}

}  // namespace

// embed: [weight, (positions), y]. The embedding lies as the logits' matrix does when the two are
// tied, else row by row.
Operands EmbedOp::getKernelOperands() {
  WeightOp w = lookupWeight(*this, getWeightAttr());
  bool tied = false;
  if (w) {
    auto uses = SymbolTable::getSymbolUses(w, &w->getParentOfType<ModelOp>().getBody());
    for (SymbolTable::SymbolUse use : uses.value_or(SymbolTable::UseRange({})))
      tied |= isa<LogitsOp, NormLogitsOp>(use.getUser());
  }
  Operands operands = {tied ? panelsOf({getWeightAttr()}) : vectorOf(getWeightAttr())};
  if (getPositionsAttr()) operands.push_back(vectorOf(getPositionsAttr()));
  operands.push_back(output(getY()));
  return operands;
}
Tiling EmbedOp::getTiling(int64_t) { return perRow(); }
Cost EmbedOp::getCost() {
  WeightOp w = lookupWeight(*this, getWeightAttr());
  // One row of each table.
  Cost cost{.weightBytes = w ? weightBytes(*this, getWeightAttr()) / w.getLayerShape()[0] : 0};
  if (WeightOp p = getPositionsAttr() ? lookupWeight(*this, getPositionsAttr()) : WeightOp())
    cost.weightBytes += weightBytes(*this, getPositionsAttr()) / p.getLayerShape()[0];
  return cost;
}

// rms_norm: [x, weight, y]
Operands RmsNormOp::getKernelOperands() {
  return {input(getX()), vectorOf(getWeightAttr()), output(getY())};
}
Tiling RmsNormOp::getTiling(int64_t) { return perRow(); }
Cost RmsNormOp::getCost() {
  return {.weightBytes = weightBytes(*this, getWeightAttr()), .flopsPerRow = 4 * width(getX())};
}

// layer_norm: [x, (weight), (bias), y]
Operands LayerNormOp::getKernelOperands() {
  Operands operands = {input(getX())};
  if (getWeightAttr()) operands.push_back(vectorOf(getWeightAttr()));
  if (getBiasAttr()) operands.push_back(vectorOf(getBiasAttr()));
  operands.push_back(output(getY()));
  return operands;
}
Tiling LayerNormOp::getTiling(int64_t) { return perRow(); }
Cost LayerNormOp::getCost() {
  return {
      .weightBytes = biasBytes(*this) + (getWeightAttr() ? weightBytes(*this, getWeightAttr()) : 0),
      .flopsPerRow = 7 * width(getX())};
}

// qk_norm: [x, weight, y]
Operands QkNormOp::getKernelOperands() {
  return {input(getX()), vectorOf(getWeightAttr()), output(getY())};
}
Tiling QkNormOp::getTiling(int64_t) { return perRow(); }
Cost QkNormOp::getCost() {
  return {.weightBytes = weightBytes(*this, getWeightAttr()),
          .flopsPerRow = (getLayer() ? 7 : 4) * width(getX())};
}

// scale: [x, y]
Operands ScaleOp::getKernelOperands() { return {input(getX()), output(getY())}; }
Tiling ScaleOp::getTiling(int64_t) { return perRow(); }
Cost ScaleOp::getCost() { return {.flopsPerRow = width(getX())}; }

// scale_rows: [x, by, y]
Operands ScaleRowsOp::getKernelOperands() {
  return {input(getX()), input(getBy()), output(getY())};
}
Tiling ScaleRowsOp::getTiling(int64_t) { return perRow(); }
Cost ScaleRowsOp::getCost() { return {.flopsPerRow = width(getX())}; }

// concat: [a, b, y]
Operands ConcatOp::getKernelOperands() { return {input(getA()), input(getB()), output(getY())}; }
Tiling ConcatOp::getTiling(int64_t) { return perRow(); }
Cost ConcatOp::getCost() { return {}; }

// head_linear: [x, weight, y]. A tile is one head.
Operands HeadLinearOp::getKernelOperands() {
  int64_t headRows = width(getY()) / getHeads();
  return {input(getX()), panelsOf({getWeightAttr()}, PanelOrder::heads, headRows), output(getY())};
}
Tiling HeadLinearOp::getTiling(int64_t) { return {.tiles = static_cast<int64_t>(getHeads())}; }
Cost HeadLinearOp::getCost() {
  return {.weightBytes = weightBytes(*this, getWeightAttr()),
          .flopsPerRow = matrixFlops(*this, getWeightAttr())};
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

// attention: [q, keys, values, (sinks), y]
Operands AttentionOp::getKernelOperands() {
  Operands operands = {input(getQ()), cache(Space::kv_keys, Access::read),
                       cache(Space::kv_values, Access::read)};
  if (getSinksAttr()) operands.push_back(vectorOf(getSinksAttr()));
  operands.push_back(output(getY()));
  return operands;
}
// A tile is the query heads of one KV head, or an equal part of them where they are many.
Tiling AttentionOp::getTiling(int64_t maxRows) {
  auto kv = cast<KvCacheType>(getKv().getType());
  int64_t heads = width(getQ()) / kv.getHeadDim(), group = heads / kv.getNumKvHeads();
  int64_t part = std::clamp<int64_t>(group, 1, kAttentionHeads);
  while (group % part != 0) --part;
  return {.tiles = heads / part, .rowsPerTile = maxRows <= kDecodeMaxRows ? 1 : kAttentionRows};
}
Cost AttentionOp::getCost() {
  auto kv = cast<KvCacheType>(getKv().getType());
  return {.weightBytes = getSinksAttr() ? weightBytes(*this, getSinksAttr()) : 0,
          .kvBytesPerToken = kv.getNumKvHeads() * (kv.getHeadDim() + kv.getValueDim()) *
                             elementBytes(kv.getElementType()),
          .flopsPerRowPerToken = 2 * (width(getQ()) + width(getY())),
          .window = static_cast<int64_t>(getWindow())};
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

// route: [x, (bias), y]
Operands RouteOp::getKernelOperands() {
  Operands operands = {input(getX())};
  if (getBiasAttr()) operands.push_back(vectorOf(getBiasAttr()));
  operands.push_back(output(getY()));
  return operands;
}
Tiling RouteOp::getTiling(int64_t) { return perRow(); }
Cost RouteOp::getCost() {
  return {.weightBytes = biasBytes(*this),
          .flopsPerRow = static_cast<int64_t>(getTopK() + 4) * width(getX())};
}

// expert_glu: [x, route, gate|up, (gate_bias, up_bias), y]. Panels of gate and up alternate, expert
// by expert; a tile holds the same panels of every expert.
Operands ExpertGluOp::getKernelOperands() {
  Operands operands = {input(getX()), input(getRoute()),
                       panelsOf({getGateProjAttr(), getUpProjAttr()}, PanelOrder::interleave)};
  if (getGateBiasAttr()) {
    operands.push_back(vectorOf(getGateBiasAttr()));
    operands.push_back(vectorOf(getUpBiasAttr()));
  }
  operands.push_back(output(getY()));
  return operands;
}
Tiling ExpertGluOp::getTiling(int64_t) {
  return overPanels(2 * panels(width(getY()) / (width(getRoute()) / 2)));
}
Cost ExpertGluOp::getCost() {
  SmallVector<FlatSymbolRefAttr> weights = {getGateProjAttr(), getUpProjAttr()};
  if (getGateBiasAttr()) weights.append({getGateBiasAttr(), getUpBiasAttr()});
  return expertCost(*this, getRoute(), weights);
}

// expert_down: [x, route, weight, (bias), y]
Operands ExpertDownOp::getKernelOperands() {
  Operands operands = {input(getX()), input(getRoute()), panelsOf({getWeightAttr()})};
  if (getBiasAttr()) operands.push_back(vectorOf(getBiasAttr()));
  operands.push_back(output(getY()));
  return operands;
}
Tiling ExpertDownOp::getTiling(int64_t) { return overPanels(panels(width(getY()))); }
Cost ExpertDownOp::getCost() {
  SmallVector<FlatSymbolRefAttr> weights = {getWeightAttr()};
  if (getBiasAttr()) weights.push_back(getBiasAttr());
  return expertCost(*this, getRoute(), weights);
}

// logits: [x, weight, (bias), y]
Operands LogitsOp::getKernelOperands() {
  Operands operands = {input(getX()), panelsOf({getWeightAttr()})};
  if (getBiasAttr()) operands.push_back(vectorOf(getBiasAttr()));
  operands.push_back(output(getY()));
  return operands;
}
Tiling LogitsOp::getTiling(int64_t) { return overPanels(panels(width(getY()))); }
Cost LogitsOp::getCost() {
  return {.weightBytes = weightBytes(*this, getWeightAttr()) + biasBytes(*this),
          .flopsPerRow = matrixFlops(*this, getWeightAttr())};
}
bool LogitsOp::onLogitsRows() { return true; }

// norm_qkv: [x, norm, (norm_bias), qkv, (bias), (q_norm, k_norm), (rope), keys, values, q]. A tile
// is one head of q, k or v.
Operands NormQkvOp::getKernelOperands() {
  int64_t headDim = cast<KvCacheType>(getKv().getType()).getHeadDim();
  Operands operands = {input(getX())};
  addNorm(operands, *this);
  operands.push_back(
      panelsOf({getQProjAttr(), getKProjAttr(), getVProjAttr()}, PanelOrder::heads, headDim));
  if (getQBiasAttr())
    operands.push_back(vectorsOf({getQBiasAttr(), getKBiasAttr(), getVBiasAttr()}));
  if (getQNormAttr()) {
    operands.push_back(vectorOf(getQNormAttr()));
    operands.push_back(vectorOf(getKNormAttr()));
  }
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
      normBytes(*this) + weightBytes(*this, {getQProjAttr(), getKProjAttr(), getVProjAttr()});
  if (getQNormAttr()) cost.weightBytes += weightBytes(*this, {getQNormAttr(), getKNormAttr()});
  if (getQBiasAttr())
    cost.weightBytes += weightBytes(*this, {getQBiasAttr(), getKBiasAttr(), getVBiasAttr()});
  for (FlatSymbolRefAttr w : {getQProjAttr(), getKProjAttr(), getVProjAttr()})
    cost.flopsPerRow += matrixFlops(*this, w);
  return cost;
}
void NormQkvOp::getEffects(SmallVectorImpl<MemoryEffects::EffectInstance>& effects) {
  effects.emplace_back(MemoryEffects::Write::get(), KvCacheResource::get());
}

// norm_glu: [x, norm, (norm_bias), gate|up, (bias), y]. Panels of gate and up alternate; a tile
// holds whole pairs.
Operands NormGluOp::getKernelOperands() {
  Operands operands = {input(getX())};
  addNorm(operands, *this);
  operands.push_back(panelsOf({getGateProjAttr(), getUpProjAttr()}, PanelOrder::interleave));
  if (getGateBiasAttr()) operands.push_back(vectorsOf({getGateBiasAttr(), getUpBiasAttr()}));
  operands.push_back(output(getY()));
  return operands;
}
Tiling NormGluOp::getTiling(int64_t) { return overPanels(2 * panels(width(getY()))); }
Cost NormGluOp::getCost() {
  Cost cost;
  cost.weightBytes = normBytes(*this) + weightBytes(*this, {getGateProjAttr(), getUpProjAttr()});
  if (getGateBiasAttr())
    cost.weightBytes += weightBytes(*this, {getGateBiasAttr(), getUpBiasAttr()});
  cost.flopsPerRow = matrixFlops(*this, getGateProjAttr()) + matrixFlops(*this, getUpProjAttr());
  return cost;
}

// norm_linear: [x, norm, (norm_bias), weight, (bias), y]
Operands NormLinearOp::getKernelOperands() { return normProduct(*this); }
Tiling NormLinearOp::getTiling(int64_t) { return overPanels(panels(width(getY()))); }
Cost NormLinearOp::getCost() { return normProductCost(*this); }

// norm_residual: [x, residual, norm, y]
Operands NormResidualOp::getKernelOperands() {
  return {input(getX()), input(getResidual()), vectorOf(getNormAttr()), output(getY())};
}
Tiling NormResidualOp::getTiling(int64_t) { return perRow(); }
Cost NormResidualOp::getCost() {
  return {.weightBytes = weightBytes(*this, getNormAttr()), .flopsPerRow = 5 * width(getX())};
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
  return {.weightBytes = weightBytes(*this, getWeightAttr()) + biasBytes(*this),
          .flopsPerRow = matrixFlops(*this, getWeightAttr())};
}

// norm_logits: [x, norm, (norm_bias), weight, (bias), y]
Operands NormLogitsOp::getKernelOperands() { return normProduct(*this); }
Tiling NormLogitsOp::getTiling(int64_t) { return overPanels(panels(width(getY()))); }
Cost NormLogitsOp::getCost() { return normProductCost(*this); }
bool NormLogitsOp::onLogitsRows() { return true; }
