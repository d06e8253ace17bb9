// Declares the packed weights that the kernels of all entry points read.
#include "mlir/IR/Builders.h"
#include "passes/Fusion.h"
#include "passes/PackedWeights.h"
#include "passes/Passes.h"

using namespace mlir;

namespace llmc {

#define GEN_PASS_DEF_PACKWEIGHTS
#include "passes/Passes.h.inc"

namespace {

/// Attributes are unique in their context, so one attribute that holds everything is a key.
Attribute keyOf(MLIRContext* context, ArrayAttr sources, llm::Layout layout, llm::PanelOrder order,
                int64_t headRows) {
  Builder b(context);
  return b.getArrayAttr({sources, llm::LayoutAttr::get(context, layout),
                         llm::PanelOrderAttr::get(context, order), b.getI64IntegerAttr(headRows)});
}

/// "q_proj.k_proj.v_proj.heads", "o_proj.panels", "input_norm.rows".
std::string nameOf(const llm::KernelOperand& operand) {
  std::string name;
  llvm::raw_string_ostream os(name);
  llvm::interleave(
      operand.symbols, os, [&](FlatSymbolRefAttr source) { os << source.getValue(); }, ".");
  const bool plain = operand.order == llm::PanelOrder::concat;
  os << '.' << (plain ? stringifyLayout(operand.layout) : stringifyPanelOrder(operand.order));
  return name;
}

struct PackWeights : impl::PackWeightsBase<PackWeights> {
  void runOnOperation() override {
    llm::ModelOp model = getOperation();
    auto entries = model.getBody().getOps<llm::EntryOp>();
    if (entries.empty()) return;
    // They stand before the entry points that use them.
    OpBuilder builder(*entries.begin());
    SymbolTable symbols(model);
    PackedWeights packed(model);
    WalkResult result = model.walk([&](llm::KernelOpInterface op) {
      for (const llm::KernelOperand& operand : op.getKernelOperands()) {
        if (operand.space != llm::Space::weights || packed.lookup(operand)) continue;
        if (std::string why = whyNotPackable(op, operand.symbols); !why.empty()) {
          op->emitOpError() << "cannot be given packed weights: " << why;
          return WalkResult::interrupt();
        }
        llm::WeightOp source = llm::lookupWeight(op, operand.symbols.front());
        Type type = source.getKind() == llm::WeightKind::matrix
                        ? source.getTensorType().getElementType()
                        : builder.getF32Type();
        auto weight = llm::PackedWeightOp::create(
            builder, source.getLoc(), builder.getStringAttr(nameOf(operand)),
            llm::LayoutAttr::get(&getContext(), operand.layout),
            llm::PanelOrderAttr::get(&getContext(), operand.order),
            sourcesOf(&getContext(), operand), builder.getI64IntegerAttr(operand.headRows),
            TypeAttr::get(type));
        weight->remove();
        symbols.insert(weight, builder.getInsertionPoint());
        packed.insert(weight);
        ++numPacked;
      }
      return WalkResult::advance();
    });
    if (result.wasInterrupted()) signalPassFailure();
  }
};

}  // namespace

ArrayAttr sourcesOf(MLIRContext* context, const llm::KernelOperand& operand) {
  SmallVector<Attribute> sources(operand.symbols.begin(), operand.symbols.end());
  return ArrayAttr::get(context, sources);
}

PackedWeights::PackedWeights(llm::ModelOp model) : context_(model.getContext()) {
  for (auto packed : model.getBody().getOps<llm::PackedWeightOp>()) insert(packed);
}

llm::PackedWeightOp PackedWeights::lookup(const llm::KernelOperand& operand) const {
  return byContent_.lookup(keyOf(context_, sourcesOf(context_, operand), operand.layout,
                                 operand.order, operand.headRows));
}

void PackedWeights::insert(llm::PackedWeightOp packed) {
  byContent_[keyOf(context_, packed.getSources(), packed.getLayout(), packed.getOrder(),
                   static_cast<int64_t>(packed.getHeadRows()))] = packed;
}

}  // namespace llmc
