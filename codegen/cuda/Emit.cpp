// llm.kernels as CUDA C++: each becomes one or more __global__ functions, which name a __device__
// body of device/*.cuh and the constants that specialise it.
#include <algorithm>
#include <map>

#include "codegen/cuda/KernelText.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/raw_ostream.h"
#include "runtime/abi/cuda_abi.h"

using namespace mlir;

namespace llmc::cuda {

namespace {

const char kDeviceSources[] =
#include "device_sources.inc"
    ;

constexpr int64_t kMostRows = 65535;  // of a grid's y

/// What an op becomes; who adds an op adds it here and to KernelText.h.
Functions emitOp(Operation* op, const KernelForm& form) {
  return llvm::TypeSwitch<Operation*, Functions>(op)
      .Case<llm::EmbedOp, llm::RmsNormOp, llm::LayerNormOp, llm::NormResidualOp, llm::QkNormOp,
            llm::BiasOp, llm::ScaleOp, llm::ScaleByOp, llm::ScaleRowsOp, llm::LayerSliceOp,
            llm::ScaleByPosOp, llm::NormProjectionsOp, llm::ConcatOp, llm::RopeOp, llm::KvWriteOp,
            llm::KvMoveOp, llm::KeepOp, llm::KeptOp, llm::ActivationOp, llm::MulOp, llm::AddOp,
            llm::LinearOp, llm::LinearResidualOp, llm::LogitsOp, llm::NormQkvOp, llm::NormGluOp,
            llm::NormLinearOp, llm::NormLogitsOp, llm::AttentionOp, llm::CausalConvOp,
            llm::GatedDeltaOp, llm::SsdOp, llm::RouteOp, llm::ExpertGluOp, llm::ExpertDownOp,
            llm::HeadLinearOp>([&](auto o) { return emit(o, form); })
      .Default([](Operation* other) {
        Functions none;
        none.problem =
            fmt::format("llm.{} has no CUDA kernel yet", other->getName().stripDialect().str());
        return none;
      });
}

/// One kernel's functions.
class KernelEmitter {
 public:
  /// `symbolOf`: the functions there are, by their body; shared by the kernels of a model.
  KernelEmitter(llm::KernelOp kernel, uint32_t index, const EmitOptions& options,
                CudaSource& source, std::map<std::string, std::string>& symbolOf)
      : kernel_(kernel),
        op_(kernel.getComputeOp()),
        index_(index),
        form_(kernel, options),
        source_(source),
        symbolOf_(symbolOf) {}

  llvm::Error emit() {
    std::string text;
    llvm::raw_string_ostream os(text);
    op_->print(os, OpPrintingFlags().useLocalScope());
    source_.text += fmt::format("\n// {}\n// at most {} rows\n", text, form_.maxRows);
    std::string problem = unsupported();
    if (problem.empty()) {
      const Functions emitted = emitOp(op_, form_);
      problem = emitted.problem;
      const std::vector<llvm::StringRef> unused = form_.unused(emitted.functions);
      if (problem.empty() && !unused.empty())
        problem = fmt::format("llm.{} has no CUDA kernel with the operand {} yet",
                              op_->getName().stripDialect().str(), unused.front().str());
      for (const Function& f : emitted.functions) function(f);
      needScratch(emitted.scratchBytes, emitted.wgmmaScratchBytes);
    }
    if (problem.empty()) return llvm::Error::success();
    return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                   kernel_.getSymName().str() + ": " + problem);
  }

 private:
  /// Why a kernel has no CUDA form, whatever its op.
  std::string unsupported() {
    if (form_.kind == llm::StepKind::embed || form_.kind == llm::StepKind::mtp)
      return fmt::format("steps of kind {} have no CUDA kernels yet",
                         llm::stringifyStepKind(form_.kind).str());
    if (form_.maxRows > kMostRows) return fmt::format("more than {} rows in a step", kMostRows);
    return formatProblem(op_);
  }

  /// The text of a __global__ function and its launch, whose symbol and kernel are filled in.
  void function(const Function& f) {
    Launch launch = f.launch;
    launch.kernel = index_;
    launch.symbol = kernel_.getSymName().str() + f.suffix;
    if (launch.maxRows == 0) launch.maxRows = form_.maxRows;
    const auto [same, isNew] =
        symbolOf_.try_emplace(fmt::format("{} {}", launch.threads, f.body), launch.symbol);
    if (isNew) {
      const bool always = launch.where == Launch::kEverywhere;
      if (launch.dynamicSharedBytes > 0)
        source_.text +=
            fmt::format("// {} bytes of dynamic shared memory\n", launch.dynamicSharedBytes);
      source_.text += fmt::format(
          "{}extern \"C\" __global__ void __launch_bounds__({}{}) {}{}(const __grid_constant__ "
          "Args args) {{\n  {}\n}}\n{}",
          always                               ? ""
          : launch.where == Launch::kWithWgmma ? "#ifdef LLMC_WGMMA\n"
                                               : "#ifndef LLMC_WGMMA\n",
          launch.threads,
          launch.blocksPerProcessor ? fmt::format(", {}", launch.blocksPerProcessor) : "",
          launch.clusterBlocks > 1
              ? fmt::format("__cluster_dims__({}, 1, 1) ", launch.clusterBlocks)
              : "",
          launch.symbol, f.body, always ? "" : "#endif\n");
    } else {
      // A kernel of another bound on rows, say, came to the same code.
      launch.symbol = same->second;
      source_.text += fmt::format("// is {}\n", launch.symbol);
    }
    source_.launches.push_back(std::move(launch));
  }

  /// Behind the counters; `wgmmaBytes`: where the target has wgmma, if that is more.
  void needScratch(int64_t bytes, int64_t wgmmaBytes) {
    const auto grow = [](int64_t& all, int64_t needed) {
      all = std::max(all, LLMC_CUDA_COUNTER_BYTES + needed);
    };
    grow(source_.scratchBytes, bytes);
    grow(source_.wgmmaScratchBytes, std::max(bytes, wgmmaBytes));
  }

  llm::KernelOp kernel_;
  llm::KernelOpInterface op_;
  uint32_t index_;
  KernelForm form_;
  CudaSource& source_;
  std::map<std::string, std::string>& symbolOf_;
};

}  // namespace

llvm::Expected<CudaSource> emitCuda(llm::ModelOp model, const EmitOptions& options) {
  CudaSource source;
  for (auto kernel : model.getOps<llm::KernelOp>())
    source.operands = std::max(
        source.operands, static_cast<int64_t>(kernel.getComputeOp().getKernelOperands().size()));
  source.text = fmt::format("constexpr int kOperands = {};\n{}", source.operands, kDeviceSources);
  // What launches ask for is what kernels use; of wgmma and attention each function says so itself.
  source.text += fmt::format(
      "\nstatic_assert(kTensorSharedBytes == {} && kGroupedStages * kGroupedStageBytes == {} && "
      "kHeadsPerBlock == {} && kTreeRows == {});\n",
      kTensorTileBytes, kGroupedBytes, kHeadsPerBlock, llm::kTreeMaxRows);
  source.scratchBytes = source.wgmmaScratchBytes = LLMC_CUDA_COUNTER_BYTES;
  for (const char* type : {"F32", "F16", "BF16"}) {
    source.text += fmt::format(
        "\nextern \"C\" __global__ void __launch_bounds__({}) llmc_relayout_{}(const "
        "__grid_constant__ Relayout r) {{\n  relayout<{}, File{}>(r);\n}}\n",
        LLMC_CUDA_RELAYOUT_THREADS, llvm::StringRef(type).lower(), type, type);
  }
  source.text += fmt::format(
      "extern \"C\" __global__ void __launch_bounds__({}, 4) llmc_sample(const __grid_constant__ "
      "Sample s) {{\n  chooseToken(s);\n}}\n",
      LLMC_CUDA_SAMPLE_THREADS);
  std::map<std::string, std::string> symbolOf;
  uint32_t index = 0;
  for (auto kernel : model.getOps<llm::KernelOp>())
    if (llvm::Error error = KernelEmitter(kernel, index++, options, source, symbolOf).emit())
      return error;
  return source;
}

}  // namespace llmc::cuda
