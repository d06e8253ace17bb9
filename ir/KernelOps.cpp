// KernelOpInterface of every op: operands in ABI order, tiles, cost. Code generation, the scheduler
// and every report read these. An op's operand order is written here and nowhere else: who needs an
// operand asks for its name.
#include "ir/LLM.h"
#include "ir/QkvWeights.h"

using namespace mlir;
using namespace llmc::llm;

namespace {

using Operands = SmallVector<KernelOperand>;

KernelOperand input(StringRef name, Value v) { return {.name = name, .value = v}; }
KernelOperand output(StringRef name, Value v) {
  return {.name = name, .access = Access::write, .value = v};
}

/// What `symbols` name, in a space other than the arena.
KernelOperand named(StringRef name, Space space, ArrayRef<FlatSymbolRefAttr> symbols,
                    Access access = Access::read) {
  KernelOperand o{.name = name, .space = space, .access = access};
  o.symbols.append(symbols.begin(), symbols.end());
  return o;
}
/// Norms or biases (f32), or a matrix, one after another: row-major.
KernelOperand vectorOf(StringRef name, ArrayRef<FlatSymbolRefAttr> symbols) {
  return named(name, Space::weights, symbols);
}
KernelOperand panelsOf(StringRef name, ArrayRef<FlatSymbolRefAttr> symbols,
                       PanelOrder order = PanelOrder::concat, int64_t headRows = 0) {
  KernelOperand o = named(name, Space::weights, symbols);
  o.layout = Layout::panels;
  o.order = order;
  o.headRows = headRows;
  return o;
}
/// The step's input of that name.
KernelOperand stepInput(Operation* op, StringRef name) {
  return named(name, Space::input, {FlatSymbolRefAttr::get(op->getContext(), name)});
}
/// Whether rows lie at their slots in the steps that `op` is for, not at their positions.
bool inTrees(Operation* op) {
  const StepKind kind = stepKindOf(op);
  return kind == StepKind::verify || kind == StepKind::commit;
}
/// What says where the rows' tokens lie in the blocks of a paged state, and its keys and values.
/// `positions`: of rows in trees too.
void addCache(Operands& operands, Operation* op, FlatSymbolRefAttr state, Access access,
              bool positions = true) {
  const bool slots = inTrees(op);
  if (positions || !slots) operands.push_back(stepInput(op, "pos"));
  if (slots) operands.push_back(stepInput(op, "slot"));
  operands.push_back(stepInput(op, "seq"));
  operands.push_back(named("block_table", Space::block_table, {state}));
  operands.push_back(named("keys", Space::keys, {state}, access));
  operands.push_back(named("values", Space::values, {state}, access));
}

/// Whether the steps that `op` is for leave recurrent states as they are.
bool verifies(Operation* op) { return stepKindOf(op) == StepKind::verify; }
/// What says which slot of a recurrent state a row's sequence has, and the slots.
void addSlots(Operands& operands, Operation* op, FlatSymbolRefAttr state) {
  if (verifies(op)) operands.push_back(stepInput(op, "parent"));
  operands.push_back(stepInput(op, "seq"));
  operands.push_back(named("slots", Space::slots, {state}));
  operands.push_back(
      named("state", Space::recurrent, {state}, verifies(op) ? Access::read : Access::read_write));
}
using Effects = SmallVectorImpl<MemoryEffects::EffectInstance>;
void addRecurrentEffects(Effects& effects, Operation* op) {
  effects.emplace_back(MemoryEffects::Read::get(), StateResource::get());
  if (!verifies(op)) effects.emplace_back(MemoryEffects::Write::get(), StateResource::get());
}
/// Bytes of one slot.
int64_t slotBytes(Operation* op, FlatSymbolRefAttr state) {
  int64_t bytes = 4;
  for (int64_t size : recurrentShape(op, state)) bytes *= size;
  return bytes;
}

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

/// Tiles of kDeltaColumns columns of each head's state, or of all where they cannot be cut so.
Tiling overColumns(int64_t heads, int64_t columns) {
  return {.tiles = heads * (columns % kDeltaColumns == 0 ? columns / kDeltaColumns : 1)};
}

/// What is read and computed per expert of a route.
Cost expertCost(Operation* op, Value route, ArrayRef<FlatSymbolRefAttr> symbols) {
  Cost cost;
  cost.expertBytes = weightBytes(op, symbols);
  cost.expertsPerRow = widthOf(route) / 2;
  if (WeightOp w = lookupWeight(op, symbols.front())) cost.numExperts = w.getNumExperts();
  for (FlatSymbolRefAttr s : symbols) {
    WeightOp w = lookupWeight(op, s);
    if (w && w.getKind() == WeightKind::matrix)
      cost.flopsPerRow += cost.expertsPerRow * matrixFlops(op, s);
  }
  return cost;
}

/// A fused op's norm.
template <typename Op>
void addNorm(Operands& operands, Op op) {
  operands.push_back(vectorOf("norm", op.getNormAttr()));
  if (op.getNormBiasAttr()) operands.push_back(vectorOf("norm_bias", op.getNormBiasAttr()));
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

/// A norm and one matrix.
template <typename Op>
Operands normProduct(Op op, Value gated = {}) {
  Operands operands = {input("x", op.getX())};
  if (gated) operands.push_back(input("gated", gated));
  addNorm(operands, op);
  operands.push_back(panelsOf("weight", op.getWeightAttr()));
  if (op.getBiasAttr()) operands.push_back(vectorOf("bias", op.getBiasAttr()));
  if (op.onLogitsRows()) operands.push_back(stepInput(op, "logits_rows"));
  operands.push_back(output("y", op.getY()));
  return operands;
}
template <typename Op>
Cost normProductCost(Op op) {
  return {.weightBytes = normBytes(op) + weightBytes(op, op.getWeightAttr()) + biasBytes(op),
          .flopsPerRow = matrixFlops(op, op.getWeightAttr())};
}

}  // namespace

// The embedding lies as the logits' matrix does when the two are tied, else row by row.
Operands EmbedOp::getKernelOperands() {
  WeightOp w = lookupWeight(*this, getWeightAttr());
  bool tied = false;
  if (w) {
    auto uses = SymbolTable::getSymbolUses(w, &w->getParentOfType<ModelOp>().getBody());
    for (SymbolTable::SymbolUse use : uses.value_or(SymbolTable::UseRange({})))
      tied |= isa<LogitsOp, NormLogitsOp>(use.getUser());
  }
  Operands operands = {stepInput(*this, "token_id"), tied ? panelsOf("weight", getWeightAttr())
                                                          : vectorOf("weight", getWeightAttr())};
  if (getPositionsAttr()) {
    operands.push_back(stepInput(*this, "pos"));
    operands.push_back(vectorOf("positions", getPositionsAttr()));
  }
  operands.push_back(output("y", getY()));
  return operands;
}
Tiling EmbedOp::getTiling(StepKind) { return perRow(); }
Cost EmbedOp::getCost() {
  WeightOp w = lookupWeight(*this, getWeightAttr());
  // One row of each table.
  Cost cost{.weightBytes = w ? weightBytes(*this, getWeightAttr()) / w.getLayerShape()[0] : 0};
  if (WeightOp p = getPositionsAttr() ? lookupWeight(*this, getPositionsAttr()) : WeightOp())
    cost.weightBytes += weightBytes(*this, getPositionsAttr()) / p.getLayerShape()[0];
  return cost;
}

Operands RmsNormOp::getKernelOperands() {
  return {input("x", getX()), vectorOf("weight", getWeightAttr()), output("y", getY())};
}
Tiling RmsNormOp::getTiling(StepKind) { return perRow(); }
Cost RmsNormOp::getCost() {
  return {.weightBytes = weightBytes(*this, getWeightAttr()), .flopsPerRow = 4 * widthOf(getX())};
}

Operands LayerNormOp::getKernelOperands() {
  Operands operands = {input("x", getX())};
  if (getWeightAttr()) operands.push_back(vectorOf("weight", getWeightAttr()));
  if (getBiasAttr()) operands.push_back(vectorOf("bias", getBiasAttr()));
  operands.push_back(output("y", getY()));
  return operands;
}
Tiling LayerNormOp::getTiling(StepKind) { return perRow(); }
Cost LayerNormOp::getCost() {
  return {
      .weightBytes = biasBytes(*this) + (getWeightAttr() ? weightBytes(*this, getWeightAttr()) : 0),
      .flopsPerRow = 7 * widthOf(getX())};
}

Operands QkNormOp::getKernelOperands() {
  Operands operands = {input("x", getX())};
  if (getWeightAttr()) operands.push_back(vectorOf("weight", getWeightAttr()));
  operands.push_back(output("y", getY()));
  return operands;
}
Tiling QkNormOp::getTiling(StepKind) { return perRow(); }
Cost QkNormOp::getCost() {
  return {.weightBytes = getWeightAttr() ? weightBytes(*this, getWeightAttr()) : 0,
          .flopsPerRow = (getLayer() ? 7 : 4) * widthOf(getX())};
}

Operands ScaleOp::getKernelOperands() { return {input("x", getX()), output("y", getY())}; }
Tiling ScaleOp::getTiling(StepKind) { return perRow(); }
Cost ScaleOp::getCost() { return {.flopsPerRow = widthOf(getX())}; }

Operands ScaleRowsOp::getKernelOperands() {
  return {input("x", getX()), input("by", getBy()), output("y", getY())};
}
Tiling ScaleRowsOp::getTiling(StepKind) { return perRow(); }
Cost ScaleRowsOp::getCost() { return {.flopsPerRow = widthOf(getX())}; }

Operands ScaleByOp::getKernelOperands() {
  return {input("x", getX()), vectorOf("weight", getWeightAttr()), output("y", getY())};
}
Tiling ScaleByOp::getTiling(StepKind) { return perRow(); }
Cost ScaleByOp::getCost() {
  return {.weightBytes = weightBytes(*this, getWeightAttr()), .flopsPerRow = widthOf(getX())};
}

Operands ScaleByPosOp::getKernelOperands() {
  return {input("x", getX()), stepInput(*this, "pos"), output("y", getY())};
}
Tiling ScaleByPosOp::getTiling(StepKind) { return perRow(); }
Cost ScaleByPosOp::getCost() { return {.flopsPerRow = widthOf(getX())}; }

Operands LayerSliceOp::getKernelOperands() {
  KernelOperand x = input("x", getX());
  x.layerColumns = widthOf(getY());
  return {x, output("y", getY())};
}
Tiling LayerSliceOp::getTiling(StepKind) { return perRow(); }
Cost LayerSliceOp::getCost() { return {}; }

Operands ConcatOp::getKernelOperands() {
  return {input("a", getA()), input("b", getB()), output("y", getY())};
}
Tiling ConcatOp::getTiling(StepKind) { return perRow(); }
Cost ConcatOp::getCost() { return {}; }

// A tile is one head.
Operands HeadLinearOp::getKernelOperands() {
  int64_t headRows = widthOf(getY()) / getHeads();
  return {input("x", getX()), panelsOf("weight", getWeightAttr(), PanelOrder::heads, headRows),
          output("y", getY())};
}
Tiling HeadLinearOp::getTiling(StepKind) { return {.tiles = static_cast<int64_t>(getHeads())}; }
Cost HeadLinearOp::getCost() {
  return {.weightBytes = weightBytes(*this, getWeightAttr()),
          .flopsPerRow = matrixFlops(*this, getWeightAttr())};
}

Operands LinearOp::getKernelOperands() {
  return {input("x", getX()), panelsOf("weight", getWeightAttr()), output("y", getY())};
}
Tiling LinearOp::getTiling(StepKind) { return overPanels(panels(widthOf(getY()))); }
Cost LinearOp::getCost() {
  return {.weightBytes = weightBytes(*this, getWeightAttr()),
          .flopsPerRow = matrixFlops(*this, getWeightAttr())};
}

Operands BiasOp::getKernelOperands() {
  return {input("x", getX()), vectorOf("weight", getWeightAttr()), output("y", getY())};
}
Tiling BiasOp::getTiling(StepKind) { return perRow(); }
Cost BiasOp::getCost() {
  return {.weightBytes = weightBytes(*this, getWeightAttr()), .flopsPerRow = widthOf(getX())};
}

Operands RopeOp::getKernelOperands() {
  return {input("x", getX()), stepInput(*this, "pos"), named("table", Space::rope, getTableAttr()),
          output("y", getY())};
}
Tiling RopeOp::getTiling(StepKind) { return perRow(); }
Cost RopeOp::getCost() { return {.flopsPerRow = 3 * widthOf(getX())}; }

Operands KvWriteOp::getKernelOperands() {
  Operands operands = {input("k", getK()), input("v", getV())};
  addCache(operands, *this, getStateAttr(), Access::write, /*positions=*/false);
  return operands;
}
Tiling KvWriteOp::getTiling(StepKind) { return perRow(); }
Cost KvWriteOp::getCost() { return {}; }
void KvWriteOp::getEffects(SmallVectorImpl<MemoryEffects::EffectInstance>& effects) {
  effects.emplace_back(MemoryEffects::Write::get(), StateResource::get());
}

// A tile is one KV head: rows are moved one after another.
Operands KvMoveOp::getKernelOperands() {
  Operands operands;
  addCache(operands, *this, getStateAttr(), Access::read_write);
  return operands;
}
Tiling KvMoveOp::getTiling(StepKind) {
  return {.tiles = kvTypeOf(*this, getStateAttr()).getNumKvHeads()};
}
Cost KvMoveOp::getCost() { return {}; }
void KvMoveOp::getEffects(SmallVectorImpl<MemoryEffects::EffectInstance>& effects) {
  effects.emplace_back(MemoryEffects::Read::get(), StateResource::get());
  effects.emplace_back(MemoryEffects::Write::get(), StateResource::get());
}

Operands KeepOp::getKernelOperands() {
  return {input("x", getX()), named("kept", Space::kept, {getStateAttr()}, Access::write)};
}
Tiling KeepOp::getTiling(StepKind) { return perRow(); }
Cost KeepOp::getCost() { return {}; }
void KeepOp::getEffects(Effects& effects) {
  effects.emplace_back(MemoryEffects::Write::get(), StateResource::get());
}

Operands HiddenOp::getKernelOperands() { return {stepInput(*this, "hidden"), output("y", getY())}; }
Tiling HiddenOp::getTiling(StepKind) { return perRow(); }
Cost HiddenOp::getCost() { return {}; }

Operands KeptOp::getKernelOperands() {
  return {stepInput(*this, "kept_row"), named("kept", Space::kept, {getStateAttr()}),
          output("y", getY())};
}
Tiling KeptOp::getTiling(StepKind) { return perRow(); }
Cost KeptOp::getCost() { return {}; }
void KeptOp::getEffects(Effects& effects) {
  effects.emplace_back(MemoryEffects::Read::get(), StateResource::get());
}

Operands AttentionOp::getKernelOperands() {
  Operands operands = {input("q", getQ())};
  if (inTrees(*this)) operands.push_back(stepInput(*this, "parent"));
  addCache(operands, *this, getStateAttr(), Access::read);
  if (getSinksAttr()) operands.push_back(vectorOf("sinks", getSinksAttr()));
  operands.push_back(output("y", getY()));
  return operands;
}
// A tile is the query heads of one KV head, or an equal part of them where they are many.
Tiling AttentionOp::getTiling(StepKind kind) {
  KvCacheType kv = kvTypeOf(*this, getStateAttr());
  int64_t heads = widthOf(getQ()) / kv.getHeadDim(), group = heads / kv.getNumKvHeads();
  int64_t part = std::clamp<int64_t>(group, 1, kAttentionHeads);
  while (group % part != 0) --part;
  return {.tiles = heads / part, .rowsPerTile = kind == StepKind::prefill ? kAttentionRows : 1};
}
Cost AttentionOp::getCost() {
  KvCacheType kv = kvTypeOf(*this, getStateAttr());
  return {.weightBytes = getSinksAttr() ? weightBytes(*this, getSinksAttr()) : 0,
          .kvBytesPerToken = kv.getNumKvHeads() * (kv.getHeadDim() + kv.getValueDim()) *
                             elementBytes(kv.getElementType()),
          .flopsPerRowPerToken = 2 * (widthOf(getQ()) + widthOf(getY())),
          .window = static_cast<int64_t>(lookupState(*this, getStateAttr()).getWindow())};
}
void AttentionOp::getEffects(SmallVectorImpl<MemoryEffects::EffectInstance>& effects) {
  effects.emplace_back(MemoryEffects::Read::get(), StateResource::get());
}

Operands CausalConvOp::getKernelOperands() {
  Operands operands = {input("x", getX())};
  if (getGate()) operands.push_back(input("gate", getGate()));
  operands.push_back(vectorOf("weight", getWeightAttr()));
  if (getBiasAttr()) operands.push_back(vectorOf("bias", getBiasAttr()));
  addSlots(operands, *this, getStateAttr());
  operands.push_back(output("y", getY()));
  return operands;
}
// A tile has some columns of all rows: a row needs those before it.
Tiling CausalConvOp::getTiling(StepKind) {
  return {.tiles = ceilDiv(widthOf(getX()), kConvColumns)};
}
Cost CausalConvOp::getCost() {
  return {
      .weightBytes = weightBytes(*this, getWeightAttr()) + biasBytes(*this),
      .flopsPerRow = matrixFlops(*this, getWeightAttr()) + (getGate() ? 5 : 4) * widthOf(getX()),
      .stateBytes = slotBytes(*this, getStateAttr())};
}
void CausalConvOp::getEffects(Effects& effects) { addRecurrentEffects(effects, *this); }

Operands GatedDeltaOp::getKernelOperands() {
  Operands operands = {input("qkv", getQkv()), input("gate", getGate()), input("beta", getBeta()),
                       vectorOf("a_log", getALogAttr()), vectorOf("dt_bias", getDtBiasAttr())};
  addSlots(operands, *this, getStateAttr());
  operands.push_back(output("y", getY()));
  return operands;
}
// A tile is one head of v, or some of its columns, of all rows.
Tiling GatedDeltaOp::getTiling(StepKind) {
  const DeltaHeads heads = getHeads();
  return overColumns(heads.valueHeads, heads.valueDim);
}
// Per element of the state: one for its decay, two for each of k^T S, k delta^T and q^T S.
Cost GatedDeltaOp::getCost() {
  const DeltaHeads heads = getHeads();
  return {.weightBytes = weightBytes(*this, {getALogAttr(), getDtBiasAttr()}),
          .flopsPerRow = 7 * heads.valueHeads * heads.keyDim * heads.valueDim,
          .stateBytes = slotBytes(*this, getStateAttr())};
}
void GatedDeltaOp::getEffects(Effects& effects) { addRecurrentEffects(effects, *this); }

Operands SsdOp::getKernelOperands() {
  Operands operands = {input("xbc", getXbc()), input("dt", getDt())};
  if (getGate()) operands.push_back(input("gate", getGate()));
  operands.push_back(vectorOf("a", getAAttr()));
  operands.push_back(vectorOf("dt_bias", getDtBiasAttr()));
  operands.push_back(vectorOf("d", getDAttr()));
  addSlots(operands, *this, getStateAttr());
  operands.push_back(output("y", getY()));
  return operands;
}
// A tile is one head, or some of its columns, of all rows.
Tiling SsdOp::getTiling(StepKind) {
  const SsdHeads heads = getHeads();
  return overColumns(heads.heads, heads.headDim);
}
// Per element of the state: one for its decay, two for each of B (t x)^T and S^T C.
Cost SsdOp::getCost() {
  const SsdHeads heads = getHeads();
  return {.weightBytes = weightBytes(*this, {getAAttr(), getDtBiasAttr(), getDAttr()}),
          .flopsPerRow = 5 * heads.heads * heads.headDim * heads.stateSize +
                         (getGate() ? widthOf(getGate()) : 0),
          .stateBytes = slotBytes(*this, getStateAttr())};
}
void SsdOp::getEffects(Effects& effects) { addRecurrentEffects(effects, *this); }

Operands ActivationOp::getKernelOperands() { return {input("x", getX()), output("y", getY())}; }
Tiling ActivationOp::getTiling(StepKind) { return perRow(); }
Cost ActivationOp::getCost() { return {.flopsPerRow = 4 * widthOf(getX())}; }

Operands MulOp::getKernelOperands() {
  return {input("a", getA()), input("b", getB()), output("y", getY())};
}
Tiling MulOp::getTiling(StepKind) { return perRow(); }
Cost MulOp::getCost() { return {.flopsPerRow = widthOf(getA())}; }
Operands AddOp::getKernelOperands() {
  return {input("a", getA()), input("b", getB()), output("y", getY())};
}
Tiling AddOp::getTiling(StepKind) { return perRow(); }
Cost AddOp::getCost() { return {.flopsPerRow = widthOf(getA())}; }

Operands RouteOp::getKernelOperands() {
  Operands operands = {input("x", getX())};
  if (getBiasAttr()) operands.push_back(vectorOf("bias", getBiasAttr()));
  if (getExpertScaleAttr()) operands.push_back(vectorOf("expert_scale", getExpertScaleAttr()));
  operands.push_back(output("y", getY()));
  return operands;
}
Tiling RouteOp::getTiling(StepKind) { return perRow(); }
Cost RouteOp::getCost() {
  return {.weightBytes = biasBytes(*this) +
                         (getExpertScaleAttr() ? weightBytes(*this, getExpertScaleAttr()) : 0),
          .flopsPerRow = static_cast<int64_t>(getTopK() + 4) * widthOf(getX())};
}

// Panels of gate and up alternate, expert by expert; a tile holds the same panels of every expert.
Operands ExpertGluOp::getKernelOperands() {
  Operands operands = {input("x", getX()), input("route", getRoute()),
                       getUpProjAttr() ? panelsOf("weight", {getGateProjAttr(), getUpProjAttr()},
                                                  PanelOrder::interleave)
                                       : panelsOf("weight", getGateProjAttr())};
  if (getGateBiasAttr()) operands.push_back(vectorOf("gate_bias", getGateBiasAttr()));
  if (getUpBiasAttr()) operands.push_back(vectorOf("up_bias", getUpBiasAttr()));
  operands.push_back(output("y", getY()));
  return operands;
}
Tiling ExpertGluOp::getTiling(StepKind) {
  const int64_t matrices = getUpProjAttr() ? 2 : 1;
  return overPanels(matrices * panels(widthOf(getY()) / (widthOf(getRoute()) / 2)));
}
Cost ExpertGluOp::getCost() {
  SmallVector<FlatSymbolRefAttr> weights;
  for (FlatSymbolRefAttr weight :
       {getGateProjAttr(), getUpProjAttr(), getGateBiasAttr(), getUpBiasAttr()})
    if (weight) weights.push_back(weight);
  return expertCost(*this, getRoute(), weights);
}

Operands ExpertDownOp::getKernelOperands() {
  Operands operands = {input("x", getX()), input("route", getRoute()),
                       panelsOf("weight", getWeightAttr())};
  if (getBiasAttr()) operands.push_back(vectorOf("bias", getBiasAttr()));
  operands.push_back(output("y", getY()));
  return operands;
}
Tiling ExpertDownOp::getTiling(StepKind) { return overPanels(panels(widthOf(getY()))); }
Cost ExpertDownOp::getCost() {
  SmallVector<FlatSymbolRefAttr> weights = {getWeightAttr()};
  if (getBiasAttr()) weights.push_back(getBiasAttr());
  return expertCost(*this, getRoute(), weights);
}

Operands LogitsOp::getKernelOperands() {
  Operands operands = {input("x", getX()), panelsOf("weight", getWeightAttr())};
  if (getBiasAttr()) operands.push_back(vectorOf("bias", getBiasAttr()));
  operands.push_back(stepInput(*this, "logits_rows"));
  operands.push_back(output("y", getY()));
  return operands;
}
Tiling LogitsOp::getTiling(StepKind) { return overPanels(panels(widthOf(getY()))); }
Cost LogitsOp::getCost() {
  return {.weightBytes = weightBytes(*this, getWeightAttr()) + biasBytes(*this),
          .flopsPerRow = matrixFlops(*this, getWeightAttr())};
}
bool LogitsOp::onLogitsRows() { return true; }

SmallVector<QkvWeight, 3> llmc::llm::qkvWeightsOf(NormQkvOp op) {
  const KvCacheType kv = kvTypeOf(op, op.getStateAttr());
  const int64_t heads[] = {widthOf(op.getQ()) / kv.getHeadDim(), kv.getNumKvHeads(),
                           kv.getNumKvHeads()};
  const FlatSymbolRefAttr projections[] = {op.getQProjAttr(), op.getKProjAttr(), op.getVProjAttr()};
  const StringRef names[] = {"weight", "k_weight", "v_weight"};
  SmallVector<QkvWeight, 3> weights;
  Type typeBefore;
  for (int i = 0; i < 3; ++i) {
    if (!projections[i]) continue;
    WeightOp w = lookupWeight(op, projections[i]);
    const Type type = w ? w.getTensorType().getElementType() : Type();
    if (weights.empty() || type != typeBefore) weights.push_back({.operand = names[i]});
    typeBefore = type;
    weights.back().projections.push_back(projections[i]);
    weights.back().heads += heads[i];
  }
  return weights;
}

// A tile is one head of q, k or v; where the values are k_proj's, one of both.
Operands NormQkvOp::getKernelOperands() {
  int64_t headDim = kvTypeOf(*this, getStateAttr()).getHeadDim();
  Operands operands = {input("x", getX())};
  addNorm(operands, *this);
  for (const QkvWeight& weight : qkvWeightsOf(*this))
    operands.push_back(panelsOf(weight.operand, weight.projections, PanelOrder::heads, headDim));
  if (getQBiasAttr())
    operands.push_back(vectorOf("bias", {getQBiasAttr(), getKBiasAttr(), getVBiasAttr()}));
  if (getQNormAttr()) operands.push_back(vectorOf("q_norm", getQNormAttr()));
  if (getKNormAttr()) operands.push_back(vectorOf("k_norm", getKNormAttr()));
  if (getRopeAttr()) operands.push_back(named("rope", Space::rope, getRopeAttr()));
  if (getKProjAttr())
    addCache(operands, *this, getStateAttr(), Access::write);
  else if (getRopeAttr())
    operands.push_back(stepInput(*this, "pos"));
  operands.push_back(output("q", getQ()));
  return operands;
}
Tiling NormQkvOp::getTiling(StepKind) {
  int64_t heads = 0;
  for (const QkvWeight& weight : qkvWeightsOf(*this)) heads += weight.heads;
  return {.tiles = heads};
}
Cost NormQkvOp::getCost() {
  Cost cost;
  cost.weightBytes = normBytes(*this);
  for (FlatSymbolRefAttr w : {getQProjAttr(), getKProjAttr(), getVProjAttr(), getQNormAttr(),
                              getKNormAttr(), getQBiasAttr(), getKBiasAttr(), getVBiasAttr()})
    if (w) cost.weightBytes += weightBytes(*this, w);
  for (FlatSymbolRefAttr w : {getQProjAttr(), getKProjAttr(), getVProjAttr()})
    if (w) cost.flopsPerRow += matrixFlops(*this, w);
  return cost;
}
void NormQkvOp::getEffects(SmallVectorImpl<MemoryEffects::EffectInstance>& effects) {
  if (getKProjAttr()) effects.emplace_back(MemoryEffects::Write::get(), StateResource::get());
}

// Panels of gate and up alternate; a tile holds whole pairs.
Operands NormGluOp::getKernelOperands() {
  Operands operands = {input("x", getX())};
  addNorm(operands, *this);
  operands.push_back(
      panelsOf("weight", {getGateProjAttr(), getUpProjAttr()}, PanelOrder::interleave));
  if (getGateBiasAttr()) operands.push_back(vectorOf("bias", {getGateBiasAttr(), getUpBiasAttr()}));
  operands.push_back(output("y", getY()));
  return operands;
}
Tiling NormGluOp::getTiling(StepKind) { return overPanels(2 * panels(widthOf(getY()))); }
Cost NormGluOp::getCost() {
  Cost cost;
  cost.weightBytes = normBytes(*this) + weightBytes(*this, {getGateProjAttr(), getUpProjAttr()});
  if (getGateBiasAttr())
    cost.weightBytes += weightBytes(*this, {getGateBiasAttr(), getUpBiasAttr()});
  cost.flopsPerRow = matrixFlops(*this, getGateProjAttr()) + matrixFlops(*this, getUpProjAttr());
  return cost;
}

Operands NormLinearOp::getKernelOperands() { return normProduct(*this, getGated()); }
Tiling NormLinearOp::getTiling(StepKind) { return overPanels(panels(widthOf(getY()))); }
Cost NormLinearOp::getCost() { return normProductCost(*this); }

StringRef llmc::llm::resultOperand(size_t index) {
  static constexpr StringLiteral kNames[kMostProjections] = {"y",   "y_2", "y_3",
                                                             "y_4", "y_5", "y_6"};
  return kNames[index];
}
StringRef llmc::llm::biasOperand(size_t index) {
  static constexpr StringLiteral kNames[kMostProjections] = {"bias",   "bias_2", "bias_3",
                                                             "bias_4", "bias_5", "bias_6"};
  return kNames[index];
}

SmallVector<ProjectionsWeight> llmc::llm::projectionsWeightsOf(NormProjectionsOp op) {
  static constexpr StringLiteral kNames[kMostProjections] = {"weight",   "weight_2", "weight_3",
                                                             "weight_4", "weight_5", "weight_6"};
  SmallVector<ProjectionsWeight> weights;
  Type typeBefore;
  int64_t rowsBefore = 0;
  for (auto [i, projection] : llvm::enumerate(op.projections())) {
    WeightOp w = lookupWeight(op, projection.getWeight());
    const Type type = w ? w.getTensorType().getElementType() : Type();
    const int64_t rows = widthOf(op.getYs()[i]);
    if (weights.empty() || type != typeBefore || rowsBefore % 16 != 0)
      weights.push_back(
          {.operand = kNames[i],
           .firstTile = weights.empty() ? 0 : weights.back().firstTile + weights.back().tiles()});
    ProjectionsWeight& weight = weights.back();
    weight.parts.push_back({.projection = i,
                            .firstPanel = weight.parts.empty() ? 0 : weight.panels(),
                            .panels = panels(rows)});
    typeBefore = type;
    rowsBefore = rows;
  }
  return weights;
}

Operands NormProjectionsOp::getKernelOperands() {
  const auto projections = this->projections();
  Operands operands = {input("x", getX())};
  addNorm(operands, *this);
  for (const ProjectionsWeight& weight : projectionsWeightsOf(*this)) {
    SmallVector<FlatSymbolRefAttr> symbols;
    for (const ProjectionsWeight::Part& part : weight.parts)
      symbols.push_back(projections[part.projection].getWeight());
    operands.push_back(panelsOf(weight.operand, symbols));
  }
  for (auto [i, projection] : llvm::enumerate(projections))
    if (projection.getBias()) operands.push_back(vectorOf(biasOperand(i), projection.getBias()));
  for (auto [i, y] : llvm::enumerate(getYs())) operands.push_back(output(resultOperand(i), y));
  return operands;
}
Tiling NormProjectionsOp::getTiling(StepKind) {
  const auto weights = projectionsWeightsOf(*this);
  return {.tiles = weights.back().firstTile + weights.back().tiles()};
}
Cost NormProjectionsOp::getCost() {
  Cost cost{.weightBytes = normBytes(*this)};
  for (ProjectionAttr projection : projections()) {
    cost.weightBytes += weightBytes(*this, projection.getWeight());
    if (projection.getBias()) cost.weightBytes += weightBytes(*this, projection.getBias());
    cost.flopsPerRow += matrixFlops(*this, projection.getWeight());
  }
  return cost;
}

Operands NormResidualOp::getKernelOperands() {
  Operands operands = {input("x", getX()), input("residual", getResidual()),
                       vectorOf("norm", getNormAttr())};
  if (getScaleAttr()) operands.push_back(vectorOf("scale", getScaleAttr()));
  operands.push_back(output("y", getY()));
  return operands;
}
Tiling NormResidualOp::getTiling(StepKind) { return perRow(); }
Cost NormResidualOp::getCost() {
  return {.weightBytes = weightBytes(*this, getNormAttr()) +
                         (getScaleAttr() ? weightBytes(*this, getScaleAttr()) : 0),
          .flopsPerRow = (getScaleAttr() ? 6 : 5) * widthOf(getX())};
}

Operands LinearResidualOp::getKernelOperands() {
  Operands operands = {input("x", getX()), input("residual", getResidual()),
                       panelsOf("weight", getWeightAttr())};
  if (getBiasAttr()) operands.push_back(vectorOf("bias", getBiasAttr()));
  operands.push_back(output("y", getY()));
  return operands;
}
Tiling LinearResidualOp::getTiling(StepKind) { return overPanels(panels(widthOf(getY()))); }
Cost LinearResidualOp::getCost() {
  return {.weightBytes = weightBytes(*this, getWeightAttr()) + biasBytes(*this),
          .flopsPerRow = matrixFlops(*this, getWeightAttr())};
}

Operands NormLogitsOp::getKernelOperands() { return normProduct(*this); }
Tiling NormLogitsOp::getTiling(StepKind) { return overPanels(panels(widthOf(getY()))); }
Cost NormLogitsOp::getCost() { return normProductCost(*this); }
bool NormLogitsOp::onLogitsRows() { return true; }
