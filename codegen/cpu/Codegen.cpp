#include "codegen/cpu/Codegen.h"

#include <algorithm>

#include "codegen/cpu/KernelCache.h"
#include "codegen/cpu/Kernels.h"
#include "codegen/cpu/Lower.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace llmc::cpu {

static void emitKernel(KernelBuilder& k, Operation* op) {
  llvm::TypeSwitch<Operation*>(op)
      .Case([&](llm::EmbedOp o) { emitEmbed(k, o); })
      .Case([&](llm::RmsNormOp o) { emitRmsNorm(k, o); })
      .Case([&](llm::LinearOp o) { emitLinear(k, o); })
      .Case([&](llm::BiasOp o) { emitBias(k, o); })
      .Case([&](llm::RopeOp o) { emitRope(k, o); })
      .Case([&](llm::KvWriteOp o) { emitKvWrite(k, o); })
      .Case([&](llm::KvMoveOp o) { emitKvMove(k, o); })
      .Case([&](llm::KeepOp o) { emitKeep(k, o); })
      .Case([&](llm::HiddenOp o) { emitHidden(k, o); })
      .Case([&](llm::KeptOp o) { emitKept(k, o); })
      .Case([&](llm::AttentionOp o) { emitAttention(k, o); })
      .Case([&](llm::CausalConvOp o) { emitCausalConv(k, o); })
      .Case([&](llm::GatedDeltaOp o) { emitGatedDelta(k, o); })
      .Case([&](llm::SsdOp o) { emitSsd(k, o); })
      .Case([&](llm::ActivationOp o) { emitActivation(k, o); })
      .Case([&](llm::MulOp o) { emitMul(k, o); })
      .Case([&](llm::AddOp o) { emitAdd(k, o); })
      .Case([&](llm::LayerNormOp o) { emitLayerNorm(k, o); })
      .Case([&](llm::QkNormOp o) { emitQkNorm(k, o); })
      .Case([&](llm::ScaleOp o) { emitScale(k, o); })
      .Case([&](llm::ScaleRowsOp o) { emitScaleRows(k, o); })
      .Case([&](llm::ScaleByOp o) { emitScaleBy(k, o); })
      .Case([&](llm::ScaleByPosOp o) { emitScaleByPos(k, o); })
      .Case([&](llm::LayerSliceOp o) { emitLayerSlice(k, o); })
      .Case([&](llm::ConcatOp o) { emitConcat(k, o); })
      .Case([&](llm::HeadLinearOp o) { emitHeadLinear(k, o); })
      .Case([&](llm::RouteOp o) { emitRoute(k, o); })
      .Case([&](llm::ExpertGluOp o) { emitExpertGlu(k, o); })
      .Case([&](llm::ExpertDownOp o) { emitExpertDown(k, o); })
      .Case([&](llm::NormLinearOp o) { emitNormLinear(k, o); })
      .Case([&](llm::NormProjectionsOp o) { emitNormProjections(k, o); })
      .Case([&](llm::NormResidualOp o) { emitNormResidual(k, o); })
      .Case([&](llm::LogitsOp o) { emitLogits(k, o); })
      .Case([&](llm::NormQkvOp o) { emitNormQkv(k, o); })
      .Case([&](llm::NormGluOp o) { emitNormGlu(k, o); })
      .Case([&](llm::LinearResidualOp o) { emitLinearResidual(k, o); })
      .Case([&](llm::NormLogitsOp o) { emitNormLogits(k, o); })
      .Default([](Operation*) { llvm_unreachable("an op without a CPU kernel"); });
}

/// The tuning of a kernel, with a line about it where there is one.
static ProductTuning tuningOf(llm::KernelOp kernel, const CpuTuning* tuning,
                              std::vector<std::string>& lines) {
  const std::optional<ProductKey> key = tuning ? productKeyOf(kernel) : std::nullopt;
  const TunedProduct* found = key ? tuning->find(*key) : nullptr;
  if (!found || found->tuning == ProductTuning()) return {};
  lines.push_back(kernel.getSymName().str() + ": " + found->text() +
                  (found->key == *key ? "" : " (measured for " + found->key.text() + ")"));
  return found->tuning;
}

llvm::Expected<TargetImage> compileKernels(llm::ModelOp model, const CpuTarget& target, Emit emit,
                                           const CpuTuning* tuning) {
  MLIRContext& context = *model.getContext();
  loadKernelDialects(context);
  TargetImage result;
  result.target = target.name;
  const auto emitInto = [&](ModuleOp module, llm::KernelOp kernel) {
    KernelBuilder builder(module, kernel, target, tuningOf(kernel, tuning, result.tuned));
    emitKernel(builder, kernel.getComputeOp());
    builder.finish();
    result.scratchBytes = std::max(result.scratchBytes, builder.scratchBytes());
  };
  if (emit != Emit::none) {  // the text of one module, which other tools take
    OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
    for (auto kernel : model.getOps<llm::KernelOp>()) emitInto(*module, kernel);
    auto object = compileToObject(*module, target, emit, result.text);
    if (!object) return object.takeError();
    return result;
  }
  // An object for each kernel, whether there is a cache or not: the image is the same.
  const KernelCache cache = KernelCache::open(result.cacheProblem);
  std::vector<KernelObject> objects;
  for (auto kernel : model.getOps<llm::KernelOp>()) {
    OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
    emitInto(*module, kernel);
    const std::string name = cache.nameOf(*module, target);
    if (auto kept = cache.find(name)) {
      objects.push_back(std::move(*kept));
      continue;
    }
    auto object = compileToObject(*module, target, emit, result.text);
    if (!object) return object.takeError();
    cache.keep(name, *object);
    objects.push_back(std::move(*object));
  }
  auto image = linkShared(objects, target);
  if (!image) return image.takeError();
  result.image = std::move(*image);
  return result;
}

}  // namespace llmc::cpu
