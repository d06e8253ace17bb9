#include "tools/llmc/Compile.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "codegen/cpu/Codegen.h"
#include "codegen/cuda/Codegen.h"
#include "codegen/plan/PlanBuilder.h"
#include "frontend/Checkpoint.h"
#include "frontend/import/ImportModel.h"
#include "frontend/tokenizer/ImportTokenizer.h"
#include "llvm/Support/raw_ostream.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Pipeline.h"
#include "passes/Remarks.h"
#include "runtime/executor/cpu_features.h"
#include "runtime/executor/memory.h"
#include "runtime/io/printable.h"
#include "tools/cli/version.h"
#include "tools/llmc/Tunings.h"

namespace llmc {
namespace {

using llmrt::Result;
using llmrt::Status;

// LLVM does not survive an allocation that fails, so what compiling takes (143 MB for a 7B model
// and three targets) must be there before it begins.
constexpr uint64_t kWorkingBytes = uint64_t{256} << 20;

/// Keeps MLIR's first error, as one line; what is no error goes nowhere.
class ErrorCollector {
 public:
  explicit ErrorCollector(mlir::MLIRContext* context)
      : handler_(context, [this](mlir::Diagnostic& diagnostic) {
          if (diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error && error_.empty())
            error_ = diagnostic.str();
          return mlir::success();
        }) {}

  /// A failure of a pass: the module came from us, so it is our bug.
  Status status(const std::string& what) const {
    std::string line = error_.substr(0, error_.find('\n'));
    return llmrt::internalError(what + ": " + (line.empty() ? "failed" : line));
  }

 private:
  std::string error_;
  mlir::ScopedDiagnosticHandler handler_;
};

Result<std::unique_ptr<llmrt::schema::TokenizerT>> loadTokenizer(const TokenizerOrigin& origin) {
  switch (origin.kind) {
    case TokenizerOrigin::Kind::kNone:
      break;
    case TokenizerOrigin::Kind::kFile:
      return importTokenizer(origin.path);
    case TokenizerOrigin::Kind::kGguf: {
      auto table = readTokenizerGguf(*origin.gguf);
      // A GGUF file of a model without text is legal.
      if (!table.ok() && table.status().code() == llmrt::StatusCode::kNotFound) break;
      return table;
    }
  }
  return std::unique_ptr<llmrt::schema::TokenizerT>();
}

void addChat(ChatFiles chat, PlanParts& parts) {
  parts.chat_template = std::move(chat.templates.text);
  for (llmrt::ChatTemplates::Named& one : chat.templates.named) {
    auto& added =
        parts.chat_templates.emplace_back(std::make_unique<llmrt::schema::NamedTemplateT>());
    added->name = std::move(one.name);
    added->text = std::move(one.text);
  }
  for (llmrt::SpecialToken& token : chat.special.tokens) {
    auto& added =
        parts.special_tokens.emplace_back(std::make_unique<llmrt::schema::SpecialTokenT>());
    added->name = std::move(token.name);
    added->text = std::move(token.text);
  }
}

std::string printed(mlir::Operation* op) {
  std::string text;
  llvm::raw_string_ostream os(text);
  op->print(os);
  return text + "\n";
}

/// The model's own maximum; of models whose frequencies follow the length of a session, the length
/// that the plain ones are for: with more, short texts would have those of long ones.
int64_t defaultMaxSeqLen(const ModelSpec& spec) {
  const bool follows =
      spec.rope.scaling == RopeScaling::kLongrope || spec.rope.scaling == RopeScaling::kDynamic;
  const int64_t original = spec.rope.original_max_position_embeddings;
  const int64_t most = std::min(spec.max_position_embeddings, kMaxSeqLen);
  return follows && original > 0 ? std::min(most, original) : most;
}

/// A remark without the layers that names of weights end with where others begin, and without what
/// those of an MTP block begin with: "@v_proj_4" and "@mtp_v_proj" are "@v_proj".
std::string withoutLayers(const std::string& remark) {
  std::string text;
  constexpr std::string_view kMtp = "@mtp_";
  for (size_t at = 0; at < remark.size(); ++at) {
    if (remark.compare(at, kMtp.size(), kMtp) == 0) {
      text += '@';
      at += kMtp.size() - 1;
      continue;
    }
    size_t end = remark[at] == '_' ? remark.find_first_not_of("0123456789", at + 1) : at + 1;
    end = std::min(end, remark.size());
    if (end > at + 1 && (end == remark.size() || remark[end] == ' '))
      at = end - 1;
    else
      text += remark[at];
  }
  return text;
}

class Compilation {
 public:
  explicit Compilation(const CompileOptions& options)
      : options_(options), context_(mlir::MLIRContext::Threading::DISABLED), errors_(&context_) {}

  Result<CompiledModel> run() {
    LLMRT_RETURN_IF_ERROR(open());
    if (options_.emit == Emit::kIr) return text(printed(module()));
    stage("fusing");
    LLMRT_RETURN_IF_ERROR(fuse());
    std::string fused = printed(module());
    if (options_.emit == Emit::kFused) return text(std::move(fused));
    stage("scheduling");
    LLMRT_RETURN_IF_ERROR(runPasses(buildSchedulePipeline, "scheduling"));
    if (options_.emit == Emit::kScheduled) return text(printed(module()));

    LLMRT_RETURN_IF_ERROR(keepOneKernel());
    PlanParts parts;
    LLMRT_ASSIGN_OR_RETURN(parts.images, generateCode());
    std::string cudaText;
    LLMRT_ASSIGN_OR_RETURN(parts.cuda_images, generateCudaCode(cudaText));
    if (options_.emit != Emit::kPlan) {
      std::string all = std::move(cudaText);
      for (cpu::TargetImage& image : parts.images) all += image.text;
      return text(std::move(all));
    }
    if (!withoutTokenizer()) {
      stage("reading the tokenizer");
      LLMRT_ASSIGN_OR_RETURN(parts.tokenizer, loadTokenizer(checkpoint_.tokenizer));
      if (parts.tokenizer) {
        warnAboutVocabulary(*parts.tokenizer);
      } else {
        result_.notes.push_back(
            "the model has no tokenizer beside it: llmrun will take --prompt-ids, not --prompt; "
            "--tokenizer PATH gives the plan one");
      }
    }
    if (parts.tokenizer) addTokenizersTokens(*parts.tokenizer, checkpoint_.chat.special);
    addChat(std::move(checkpoint_.chat), parts);
    parts.fused_ir = std::move(fused);
    parts.command = options_.command;
    parts.producer = "llmc " + llmrt::versionText() + tunedBy_;
    Result<llmrt::schema::PlanT> plan = buildPlan(model(), checkpoint_.spec, std::move(parts));
    if (!plan.ok()) return std::move(plan).status();
    result_.plan = *std::move(plan);
    result_.weights = std::move(checkpoint_.weights);
    return std::move(result_);
  }

  Status visitScheduled(const std::function<Status(llm::ModelOp)>& visit) {
    LLMRT_RETURN_IF_ERROR(open());
    stage("fusing and scheduling");
    LLMRT_RETURN_IF_ERROR(fuse());
    LLMRT_RETURN_IF_ERROR(runPasses(buildSchedulePipeline, "scheduling"));
    return visit(model());
  }

 private:
  bool withoutTokenizer() const { return options_.tokenizer == "none"; }
  mlir::ModuleOp module() { return *module_; }
  llm::ModelOp model() { return *module().getOps<llm::ModelOp>().begin(); }

  void stage(const std::string& what) {
    if (options_.onStage) options_.onStage(what);
  }

  /// Drops the kernels that --kernel does not name: what is generated then is that one's code.
  Status keepOneKernel() {
    if (options_.kernel.empty()) return {};
    std::vector<llm::KernelOp> others;
    std::vector<std::string> names;
    for (auto kernel : model().getOps<llm::KernelOp>()) {
      names.push_back(kernel.getSymName().str());
      if (names.back() != options_.kernel) others.push_back(kernel);
    }
    if (others.size() == names.size()) {
      return llmrt::invalidArgument(fmt::format("--kernel: there is no {}, this model has {}",
                                                llmrt::quotedName(options_.kernel),
                                                fmt::join(names, ", ")));
    }
    for (llm::KernelOp kernel : others) kernel.erase();
    return {};
  }

  Result<CompiledModel> text(std::string text) {
    result_.text = std::move(text);
    return std::move(result_);
  }

  /// Reads the model and imports it.
  Status open() {
    LLMRT_ASSIGN_OR_RETURN(targets_, resolveTargets(options_.targets));
    for (const std::string& name : targets_)
      if (options_.mtp && cuda::findCudaTarget(name))
        return llmrt::unsupported("--mtp: target " + name +
                                  " has no code for multi-token prediction yet, CPUs have");
    stage("reading the model");
    LLMRT_ASSIGN_OR_RETURN(
        checkpoint_,
        openCheckpoint(options_.model, {.weights = options_.weights,
                                        .tokenizer = withoutTokenizer() ? "" : options_.tokenizer,
                                        .no_weights = options_.noWeights,
                                        .mtp = options_.mtp}));
    result_.warnings = checkpoint_.warnings;
    result_.notes = checkpoint_.spec.notes;
    stage("importing");
    return import();
  }

  Status import() {
    ModelSpec& spec = checkpoint_.spec;
    ImportOptions import;
    if (options_.quantize) {
      if (Status s = quantizeModel(spec, *options_.quantize); !s.ok())
        return std::move(s).withContext("--quantize");
    }
    if (options_.dtype) {
      std::erase_if(spec.stored_formats,
                    [](const auto& stored) { return stored.second->isPlain(); });
    }
    if (!spec.generation.unused.empty()) {
      result_.warnings.push_back(
          fmt::format("the model recommends for generation what is not supported and not used: {}",
                      fmt::join(spec.generation.unused, ", ")));
    }
    if (!spec.unread_dtype.empty()) {
      result_.warnings.push_back(
          fmt::format("the checkpoint stores weights as {}, which is not supported: this is code "
                      "for bf16, without weights",
                      spec.unread_dtype));
    }
    import.maxSeqLen = options_.maxSeqLen.value_or(defaultMaxSeqLen(spec));
    if (import.maxSeqLen > spec.max_position_embeddings) {
      result_.warnings.push_back(fmt::format(
          "--max-seq-len {}: the model was trained for {} positions, text beyond them may be poor",
          import.maxSeqLen, spec.max_position_embeddings));
      if (spec.rope.scaling == RopeScaling::kDynamic) {
        result_.warnings.push_back(
            fmt::format("rope_scaling dynamic: sessions of more than {} tokens use the frequencies "
                        "of {}, whatever the length of the text",
                        spec.max_position_embeddings, import.maxSeqLen));
      }
    }
    import.maxBatch = options_.maxBatch;
    import.prefillChunk = options_.prefillChunk;
    import.verifyRows = options_.verifyRows;
    import.dtype = options_.dtype.value_or(spec.defaultDtype());
    import.kvDtype = options_.kvDtype;
    import.int8Activations = !options_.floatActivations;
    module_ = importModel(context_, spec, import);
    return module_ ? Status() : errors_.status("importing the model");
  }

  Status fuse() {
    const RemarkCollector remarks(&context_);
    LLMRT_RETURN_IF_ERROR(runPasses(buildFusionPipeline, "fusing"));
    // Each entry point says so of its own copy of each run of layers ("@v_proj_4"): once is enough.
    for (const std::string& remark : remarks.remarks()) {
      if (remark.find(" not fused: ") == std::string::npos) continue;
      std::string note = withoutLayers(remark);
      if (std::find(result_.notes.begin(), result_.notes.end(), note) == result_.notes.end())
        result_.notes.push_back(std::move(note));
    }
    return {};
  }

  template <typename Build>
  Status runPasses(Build build, const std::string& what) {
    mlir::PassManager pm(&context_);
    build(pm, {.disabledPasses = options_.disabledPasses});
    if (!options_.dumpIr.empty())
      LLMRT_RETURN_IF_ERROR(printIrAfter(pm, options_.dumpIr, llvm::errs()));
    return mlir::succeeded(pm.run(module())) ? Status() : errors_.status(what);
  }

  Result<std::vector<cpu::TargetImage>> generateCode() {
    const cpu::Emit emit = options_.emit == Emit::kLlvm  ? cpu::Emit::llvm
                           : options_.emit == Emit::kAsm ? cpu::Emit::assembly
                                                         : cpu::Emit::none;
    std::vector<cpu::TargetImage> images;
    if (options_.emit == Emit::kCuda || options_.emit == Emit::kPtx) return images;
    LLMRT_ASSIGN_OR_RETURN(const Tunings tunings, Tunings::load(options_.tuning, targets_));
    for (const std::string& name : targets_) {
      if (cuda::findCudaTarget(name)) continue;
      stage("compiling the kernels for " + name);
      auto image =
          cpu::compileKernels(model(), *cpu::findCpuTarget(name), emit, tunings.find(name));
      if (!image) {
        std::string message = llvm::toString(image.takeError());
        std::replace(message.begin(), message.end(), '\n', ' ');
        return llmrt::internalError(fmt::format("generating code for {}: {}", name, message));
      }
      const std::string& problem = image->cacheProblem;
      if (!problem.empty() && std::find(result_.warnings.begin(), result_.warnings.end(),
                                        problem) == result_.warnings.end())
        result_.warnings.push_back(problem);
      if (!image->tuned.empty())
        tunedBy_ += fmt::format(", {} tuned by {}", name, tunings.source(name));
      images.push_back(std::move(*image));
    }
    if (images.empty() && emit != cpu::Emit::none)
      return llmrt::invalidArgument(
          "--emit llvm and --emit asm show code of CPU targets (--emit cuda and --emit ptx that of "
          "CUDA targets): --target names none");
    return images;
  }

  /// Images of the CUDA targets, and of PTX for GPUs to come; none where no target is CUDA's.
  /// `text`: what --emit asks for.
  Result<std::vector<cuda::CudaImage>> generateCudaCode(std::string& text) {
    std::vector<const cuda::CudaTarget*> targets;
    for (const std::string& name : targets_)
      if (const cuda::CudaTarget* target = cuda::findCudaTarget(name)) targets.push_back(target);
    const bool wanted = options_.emit == Emit::kCuda || options_.emit == Emit::kPtx ||
                        (options_.emit == Emit::kPlan && !targets.empty());
    std::vector<cuda::CudaImage> images;
    if (!wanted) return images;
    if (!options_.noPtx &&
        std::find(targets.begin(), targets.end(), &cuda::ptxTarget()) == targets.end())
      targets.push_back(&cuda::ptxTarget());
    const auto failure = [](llvm::Error error, bool ours) {
      std::string message = llvm::toString(std::move(error));
      std::replace(message.begin(), message.end(), '\n', ' ');
      return ours ? llmrt::internalError("generating CUDA code: " + message)
                  : llmrt::unsupported("--target cuda: " + message);
    };
    auto source = cuda::emitCuda(model(), {.panelsPerBlock = options_.cudaPanels,
                                           .clusterBlocks = options_.cudaClusters,
                                           .tileRows = options_.cudaTileRows});
    if (!source) return failure(source.takeError(), false);
    if (options_.emit == Emit::kCuda) {
      text = std::move(source->text);
      return images;
    }
    if (llvm::Error missing = cuda::checkNvrtc()) return failure(std::move(missing), false);
    if (options_.emit == Emit::kPtx) targets = {&cuda::ptxTarget()};
    for (const cuda::CudaTarget* target : targets) {
      stage(fmt::format("compiling the kernels for {} with NVRTC", target->name));
      auto image = cuda::compileKernels(*source, *target);
      if (!image) return failure(image.takeError(), true);
      for (const std::string& warning : image->binary.warnings)
        result_.warnings.push_back(fmt::format("{}: {}", target->name, warning));
      if (options_.emit == Emit::kPtx)
        text.assign(image->binary.image.begin(), image->binary.image.end() - 1);
      images.push_back(std::move(*image));
    }
    return images;
  }

  void warnAboutVocabulary(const llmrt::schema::TokenizerT& tokenizer) {
    const auto pieces = static_cast<int64_t>(tokenizer.piece_offsets.size()) - 1;
    if (pieces > checkpoint_.spec.vocab_size) {
      result_.warnings.push_back(
          fmt::format("the tokenizer has {} tokens, the model {}: those above have no embedding",
                      pieces, checkpoint_.spec.vocab_size));
    }
  }

  const CompileOptions& options_;
  std::vector<std::string> targets_;
  Checkpoint checkpoint_;
  mlir::MLIRContext context_;
  ErrorCollector errors_;
  mlir::OwningOpRef<mlir::ModuleOp> module_;
  std::string tunedBy_;  // where targets' tunings come from, for people
  CompiledModel result_;
};

}  // namespace

Result<CompiledModel> compileModel(const CompileOptions& options) {
  if (auto room = llmrt::AnonymousMemory::allocate(kWorkingBytes, "compiling"); !room.ok())
    return std::move(room).status();
  return Compilation(options).run();
}

Status withScheduled(const CompileOptions& options,
                     const std::function<Status(llm::ModelOp)>& visit) {
  if (auto room = llmrt::AnonymousMemory::allocate(kWorkingBytes, "compiling"); !room.ok())
    return std::move(room).status();
  return Compilation(options).visitScheduled(visit);
}

Result<std::vector<std::string>> resolveTargets(const std::vector<std::string>& names) {
  std::vector<std::string> resolved;
  for (std::string name : names) {
    if (name == "host") {
      const std::vector<std::string> supported = llmrt::supportedCpuTargets();
      const auto best = std::find_if(supported.begin(), supported.end(), [](const auto& target) {
        return cpu::findCpuTarget(target) != nullptr;
      });
      if (best == supported.end()) {
        return llmrt::unsupported(fmt::format(
            "--target host: this machine runs none of {}; name the target to compile for",
            fmt::join(cpu::cpuTargetNames(), ", ")));
      }
      name = *best;
    }
    if (!cpu::findCpuTarget(name) && !cuda::findCudaTarget(name)) {
      return llmrt::invalidArgument(fmt::format(
          "there is no target {}, use host or one of {}, {}", llmrt::quotedName(name),
          fmt::join(cpu::cpuTargetNames(), ", "), fmt::join(cuda::cudaTargetNames(), ", ")));
    }
    if (std::find(resolved.begin(), resolved.end(), name) == resolved.end())
      resolved.push_back(std::move(name));
  }
  return resolved;
}

}  // namespace llmc
