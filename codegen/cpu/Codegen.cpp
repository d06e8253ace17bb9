#include "codegen/cpu/Codegen.h"

#include <algorithm>

#include "codegen/cpu/Kernels.h"
#include "codegen/cpu/Lower.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace llmc::cpu {

static void emitKernel(KernelBuilder& k, Operation* op, const KernelShape& shape) {
  llvm::TypeSwitch<Operation*>(op)
      .Case([&](llm::EmbedOp o) { emitEmbed(k, o, shape); })
      .Case([&](llm::RmsNormOp o) { emitRmsNorm(k, o, shape); })
      .Case([&](llm::LinearOp o) { emitLinear(k, o, shape); })
      .Case([&](llm::BiasOp o) { emitBias(k, o, shape); })
      .Case([&](llm::RopeOp o) { emitRope(k, o, shape); })
      .Case([&](llm::KvWriteOp o) { emitKvWrite(k, o, shape); })
      .Case([&](llm::AttentionOp o) { emitAttention(k, o, shape); })
      .Case([&](llm::ActivationOp o) { emitActivation(k, o, shape); })
      .Case([&](llm::MulOp o) { emitMul(k, o, shape); })
      .Case([&](llm::AddOp o) { emitAdd(k, o, shape); })
      .Case([&](llm::LayerNormOp o) { emitLayerNorm(k, o, shape); })
      .Case([&](llm::QkNormOp o) { emitQkNorm(k, o, shape); })
      .Case([&](llm::ScaleOp o) { emitScale(k, o, shape); })
      .Case([&](llm::ScaleRowsOp o) { emitScaleRows(k, o, shape); })
      .Case([&](llm::ConcatOp o) { emitConcat(k, o, shape); })
      .Case([&](llm::HeadLinearOp o) { emitHeadLinear(k, o, shape); })
      .Case([&](llm::RouteOp o) { emitRoute(k, o, shape); })
      .Case([&](llm::ExpertGluOp o) { emitExpertGlu(k, o, shape); })
      .Case([&](llm::ExpertDownOp o) { emitExpertDown(k, o, shape); })
      .Case([&](llm::NormLinearOp o) { emitNormLinear(k, o, shape); })
      .Case([&](llm::NormResidualOp o) { emitNormResidual(k, o, shape); })
      .Case([&](llm::LogitsOp o) { emitLogits(k, o, shape); })
      .Case([&](llm::NormQkvOp o) { emitNormQkv(k, o, shape); })
      .Case([&](llm::NormGluOp o) { emitNormGlu(k, o, shape); })
      .Case([&](llm::LinearResidualOp o) { emitLinearResidual(k, o, shape); })
      .Case([&](llm::NormLogitsOp o) { emitNormLogits(k, o, shape); })
      .Default([](Operation*) { llvm_unreachable("an op without a CPU kernel"); });
}

llvm::Expected<TargetImage> compileKernels(llm::ModelOp model, const CpuTarget& target, Emit emit) {
  MLIRContext& context = *model.getContext();
  loadKernelDialects(context);
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
  TargetImage result;
  result.target = target.name;
  for (auto kernel : model.getOps<llm::KernelOp>()) {
    KernelBuilder builder(*module, kernel.getSymName(), target);
    emitKernel(builder, kernel.getComputeOp(),
               {int64_t(kernel.getMaxRows()), kernel.getRowStrides()});
    builder.finish();
    result.scratchBytes = std::max(result.scratchBytes, builder.scratchBytes());
  }
  auto object = compileToObject(*module, target, emit, result.text);
  if (!object) return object.takeError();
  if (emit != Emit::none) return result;
  auto image = linkShared(*object, target);
  if (!image) return image.takeError();
  result.image = std::move(*image);
  return result;
}

}  // namespace llmc::cpu
