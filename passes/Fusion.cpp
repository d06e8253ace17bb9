#include "passes/Fusion.h"

using namespace mlir;

namespace llmc {

std::string spelled(FlatSymbolRefAttr symbol) { return ("@" + symbol.getValue()).str(); }

Norm normOf(Value value) {
  if (auto rms = value.getDefiningOp<llm::RmsNormOp>())
    return {rms, rms.getX(), rms.getY(), rms.getWeightAttr(), nullptr, rms.getEpsAttr(), nullptr};
  if (auto layer = value.getDefiningOp<llm::LayerNormOp>(); layer && layer.getWeightAttr())
    return {layer,
            layer.getX(),
            layer.getY(),
            layer.getWeightAttr(),
            layer.getBiasAttr(),
            layer.getEpsAttr(),
            UnitAttr::get(layer.getContext())};
  return {};
}

bool feedsLinearsAlone(const Norm& norm) {
  return llvm::all_of(norm.y.getUsers(), [&](Operation* user) {
    return isa<llm::LinearOp>(user) && user->getBlock() == norm.op->getBlock();
  });
}

void eraseIfUnused(RewriterBase& rewriter, const Norm& norm) {
  if (norm.y.use_empty()) rewriter.eraseOp(norm.op);
}

Projection traceProjection(Value value, std::string& why, Operation* other) {
  auto hasOneUse = [&](Value used) {
    return llvm::count_if(used.getUsers(), [&](Operation* user) { return user != other; }) == 1;
  };
  Projection p;
  if ((p.rope = value.getDefiningOp<llm::RopeOp>())) value = p.rope.getX();
  if (p.rope && !hasOneUse(value)) {
    why = "the input of rope has another use";
    return {};
  }
  if ((p.qkNorm = value.getDefiningOp<llm::QkNormOp>())) value = p.qkNorm.getX();
  if (p.qkNorm && !hasOneUse(value)) {
    why = "the input of qk_norm has another use";
    return {};
  }
  if ((p.bias = value.getDefiningOp<llm::BiasOp>())) value = p.bias.getX();
  p.linear = value.getDefiningOp<llm::LinearOp>();
  if (!p.linear) {
    why = kNotALinear.str();
    return {};
  }
  if ((p.rope || p.qkNorm || p.bias) && !hasOneUse(value)) {
    why = spelled(p.weight()) + " has another use";
    return {};
  }
  return p;
}

Projection followProjection(llm::LinearOp linear) {
  Projection p{.linear = linear};
  Value value = linear.getY();
  auto next = [&]() { return value.hasOneUse() ? *value.user_begin() : nullptr; };
  if ((p.bias = dyn_cast_or_null<llm::BiasOp>(next()))) value = p.bias.getY();
  if ((p.qkNorm = dyn_cast_or_null<llm::QkNormOp>(next()))) value = p.qkNorm.getY();
  p.rope = dyn_cast_or_null<llm::RopeOp>(next());
  return p;
}

Value resultOf(const Projection& projection) {
  Projection p = projection;  // op getters are not const
  if (p.rope) return p.rope.getY();
  if (p.qkNorm) return p.qkNorm.getY();
  return p.bias ? p.bias.getY() : p.linear.getY();
}

void eraseProjection(RewriterBase& rewriter, const Projection& p) {
  if (p.rope) rewriter.eraseOp(p.rope);
  if (p.qkNorm) rewriter.eraseOp(p.qkNorm);
  if (p.bias) rewriter.eraseOp(p.bias);
  rewriter.eraseOp(p.linear);
}

static std::string whyNotTogether(Operation* from, ArrayRef<FlatSymbolRefAttr> weights,
                                  llvm::function_ref<bool(Type, Type)> mayMeet) {
  llm::WeightOp first = llm::lookupWeight(from, weights.front());
  if (!first) return spelled(weights.front()) + " is not a weight";
  for (FlatSymbolRefAttr symbol : weights.drop_front()) {
    llm::WeightOp w = llm::lookupWeight(from, symbol);
    if (!w) return spelled(symbol) + " is not a weight";
    if (w.getNumExperts() != first.getNumExperts())
      return spelled(symbol) + " and " + spelled(weights.front()) + " have different experts";
    std::string both = spelled(symbol) + " and " + spelled(weights.front());
    if (!mayMeet(w.getTensorType().getElementType(), first.getTensorType().getElementType()))
      return both + " have different types";
    if (w.isPerLayer() != first.isPerLayer() || w.getFirstLayer() != first.getFirstLayer() ||
        (w.isPerLayer() && w.getTensorType().getDimSize(0) != first.getTensorType().getDimSize(0)))
      return both + " are of different layers";
  }
  return {};
}

std::string whyNotPackable(Operation* from, ArrayRef<FlatSymbolRefAttr> weights) {
  return whyNotTogether(from, weights, [](Type a, Type b) { return a == b; });
}

std::string whyNotPackableApart(Operation* from, ArrayRef<FlatSymbolRefAttr> weights) {
  return whyNotTogether(from, weights, [](Type a, Type b) {
    return a == b || !llm::weightFormatOf(a).isPlain() || !llm::weightFormatOf(b).isPlain();
  });
}

std::string whyNotOfSameLayers(Operation* from, ArrayRef<FlatSymbolRefAttr> weights) {
  return whyNotTogether(from, weights, [](Type, Type) { return true; });
}

LogicalResult notFused(PatternRewriter& rewriter, Operation* op, StringRef name, StringRef why) {
  emitRemark(op->getLoc()) << name << " not fused: " << why;
  return rewriter.notifyMatchFailure(op, why);
}

}  // namespace llmc
