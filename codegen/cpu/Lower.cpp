#include "codegen/cpu/Lower.h"

#include <mutex>

#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/SmallVectorMemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include "llvm/TargetParser/Triple.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVMPass.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVMPass.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace llmc::cpu {

void loadKernelDialects(MLIRContext& context) {
  DialectRegistry registry;
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  context.appendDialectRegistry(registry);
  context.loadDialect<arith::ArithDialect, func::FuncDialect, scf::SCFDialect,
                      cf::ControlFlowDialect, vector::VectorDialect, LLVM::LLVMDialect>();
}

static llvm::Error failed(const Twine& what) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), what);
}

/// LLVM's rewriting of addresses in loops took 40 % of a compile. Without it code is 6 % smaller
/// and as fast on a Zen 4 (code for znver4 and x86-64-v3; a 1B shape in bf16 and q4, SmolLM2, Gemma
/// 3 270M): kernels step plain pointers, and constant offsets fit the instructions. Its speed on
/// other CPUs has not been compared. There is no other switch than this option of llc, which is the
/// process's.
static void disableLoopStrengthReduction() {
  auto& options = llvm::cl::getRegisteredOptions();
  const auto found = options.find("disable-lsr");
  assert(found != options.end() && "this LLVM has no -disable-lsr");
  if (found != options.end()) static_cast<llvm::cl::opt<bool>*>(found->second)->setValue(true);
}

static llvm::Expected<std::unique_ptr<llvm::TargetMachine>> makeMachine(const CpuTarget& target) {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeAllTargetInfos();
    llvm::InitializeAllTargets();
    llvm::InitializeAllTargetMCs();
    llvm::InitializeAllAsmPrinters();
  });
  // Anew each time: linking an image with LLD as a library resets LLVM's options.
  disableLoopStrengthReduction();
  llvm::Triple triple(target.triple);
  std::string error;
  const llvm::Target* llvmTarget = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!llvmTarget)
    return failed("this LLVM cannot generate code for " + target.triple + ": " + error);
  llvm::TargetOptions options;
  // The kernels say where a multiply and an add are one operation; nothing else may become one, or
  // two targets would give different bits.
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;
  return std::unique_ptr<llvm::TargetMachine>(llvmTarget->createTargetMachine(
      triple, target.cpu, target.features, options, llvm::Reloc::PIC_, llvm::CodeModel::Small,
      llvm::CodeGenOptLevel::Aggressive));
}

static LogicalResult lowerToLLVMDialect(ModuleOp module) {
  PassManager pm(module.getContext());
#ifdef NDEBUG
  // The kernels are verified before; doing so after each pass took a tenth of a compile.
  pm.enableVerifier(false);
#endif
  // Neither is there a canonicalizer at the end: LLVM's optimiser does its work.
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createLoopInvariantCodeMotionPass());
  pm.addPass(createSCFToControlFlowPass());
  pm.addPass(createConvertVectorToLLVMPass());
  pm.addPass(createConvertFuncToLLVMPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  return pm.run(module);
}

static void optimise(llvm::Module& module, llvm::TargetMachine& machine) {
  llvm::LoopAnalysisManager lam;
  llvm::FunctionAnalysisManager fam;
  llvm::CGSCCAnalysisManager cgam;
  llvm::ModuleAnalysisManager mam;
  // Kernels are unrolled and vectorised as they are written; LLVM doing it again only adds code.
  llvm::PipelineTuningOptions tuning;
  tuning.LoopUnrolling = false;
  tuning.LoopVectorization = false;
  tuning.SLPVectorization = false;
  llvm::PassBuilder builder(&machine, tuning);
  builder.registerModuleAnalyses(mam);
  builder.registerCGSCCAnalyses(cgam);
  builder.registerFunctionAnalyses(fam);
  builder.registerLoopAnalyses(lam);
  builder.crossRegisterProxies(lam, fam, cgam, mam);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2).run(module, mam);
}

std::string textForLowering(const CpuTarget& target) {
  return target.triple + ' ' + target.cpu + ' ' + target.features + ' ' +
         std::to_string(target.vectorFloats);
}

llvm::Expected<KernelObject> compileToObject(ModuleOp kernels, const CpuTarget& target, Emit emit,
                                             std::string& text) {
  if (mlir::failed(verify(kernels))) return failed("a generated kernel does not verify");
  if (mlir::failed(lowerToLLVMDialect(kernels)))
    return failed("a generated kernel does not lower to LLVM");
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> module = translateModuleToLLVMIR(kernels, context, "kernels");
  if (!module) return failed("a generated kernel does not translate to LLVM IR");

  auto machine = makeMachine(target);
  if (!machine) return machine.takeError();
  module->setTargetTriple(llvm::Triple(target.triple));
  module->setDataLayout((*machine)->createDataLayout());
  for (llvm::Function& f : *module) {
    if (f.isDeclaration()) continue;
    f.addFnAttr(llvm::Attribute::NoUnwind);
    f.addFnAttr("no-builtins");  // or a loop that stores zeros becomes a call of memset
    f.addFnAttr("target-cpu", target.cpu);
    if (!target.features.empty()) f.addFnAttr("target-features", target.features);
    f.addFnAttr("prefer-vector-width", std::to_string(target.vectorFloats * 32));
    if (target.vectorFloats == 16) f.addFnAttr("min-legal-vector-width", "512");
  }
  optimise(*module, **machine);
  if (emit == Emit::llvm) {
    llvm::raw_string_ostream out(text);
    module->print(out, nullptr);
    return KernelObject();
  }
  auto generate = [&](llvm::CodeGenFileType type, llvm::SmallVectorImpl<char>& bytes) {
    llvm::raw_svector_ostream out(bytes);
    llvm::legacy::PassManager pm;
    if ((*machine)->addPassesToEmitFile(pm, out, nullptr, type)) return false;
    pm.run(*module);
    return true;
  };
  if (emit == Emit::assembly) {
    llvm::SmallVector<char, 0> assembly;
    if (!generate(llvm::CodeGenFileType::AssemblyFile, assembly))
      return failed("LLVM cannot print assembly");
    text.assign(assembly.begin(), assembly.end());
    return KernelObject();  // code generation consumed the module
  }
  llvm::SmallVector<char, 0> object;
  if (!generate(llvm::CodeGenFileType::ObjectFile, object))
    return failed("LLVM cannot emit an object file");
  return KernelObject(object.begin(), object.end());
}

}  // namespace llmc::cpu
