// Linear attention and state spaces: launches of device/linear_attention.cuh and
// device/state_space.cuh. Every row has its blocks, of which
// those at a sequence's first row work, or at the first of a part of a branch.
#include "codegen/cuda/KernelText.h"

using namespace mlir;

namespace llmc::cuda {

namespace {

constexpr int64_t kThreads = 128;         // kConvThreads and kStateThreads
constexpr int64_t kColumnsPerBlock = 32;  // of a head's state

Functions sequenceKernel(const std::string& body, int64_t blocks) {
  Functions result;
  result.functions.push_back(
      {"", body, {.threads = kThreads, .blocks = blocks, .rowsPerBlock = 1}});
  return result;
}

}  // namespace

Functions emit(llm::CausalConvOp op, const KernelForm& form) {
  const llm::Matrix weight = llm::matrixOf(op, op.getWeightAttr());
  const std::string gateStride =
      op.getGate() ? fmt::format(", {}", form.stride("gate")) : std::string();
  const std::string others = op.getBias() || op.getGate()
                                 ? fmt::format(", {}, {}", form.in("bias"), form.in("gate"))
                                 : std::string();
  return sequenceKernel(
      fmt::format("causalConv<{}, {}, {}, {}, {}, {}{}>(args, {}, {}, {}, {}, {}{});",
                  storageName(weight.type), weight.cols, weight.rows,
                  activationName(op.getActivation()), form.stride("x"), form.stride("y"),
                  gateStride, form.in("x"), form.any("weight"), form.slotRows(), form.any("state"),
                  form.out("y"), others),
      ceilDiv(weight.cols, kThreads));
}

Functions emit(llm::GatedDeltaOp op, const KernelForm& form) {
  const llm::DeltaHeads heads = op.getHeads();
  return sequenceKernel(
      fmt::format("gatedDelta<{}, {}, {}, {}, {}, {}, {}, {}, {}>(args, {}, {}, {}, {}, {}, {}, "
                  "{}, {}, {});",
                  heads.keyHeads, heads.valueHeads, op.getTiled(), heads.keyDim, heads.valueDim,
                  form.stride("qkv"), form.stride("gate"), form.stride("beta"), form.stride("y"),
                  form.in("qkv"), form.in("gate"), form.in("beta"), form.in("a_log"),
                  form.in("dt_bias"), form.slotRows(), form.any("state"), form.out("y"),
                  number(op.getEps().convertToDouble())),
      heads.valueHeads * ceilDiv(heads.valueDim, kColumnsPerBlock));
}

Functions emit(llm::SsdOp op, const KernelForm& form) {
  const llm::SsdHeads heads = op.getHeads();
  return sequenceKernel(
      fmt::format("stateSpace<{}, {}, {}, {}, {}, {}, {}, {}, {}>(args, {}, {}, {}, {}, {}, {}, "
                  "{}, {}, {}, {}, {});",
                  heads.heads, heads.groups, heads.stateSize, heads.headDim, boolean(op.getRate()),
                  form.stride("xbc"), form.stride("dt"), form.stride("y"),
                  op.getGate() ? form.stride("gate") : 0, form.in("xbc"), form.in("dt"),
                  form.in("gate"), form.in("a"), form.in("dt_bias"), form.in("d"), form.slotRows(),
                  form.any("state"), form.out("y"),
                  number(op.getFrom() ? op.getFrom()->convertToDouble() : 0.0),
                  op.getTo() ? number(op.getTo()->convertToDouble()) : "infinity()"),
      heads.heads * ceilDiv(heads.headDim, kColumnsPerBlock));
}

}  // namespace llmc::cuda
