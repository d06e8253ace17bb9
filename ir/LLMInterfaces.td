// What every op that becomes a kernel can be asked. The roofline report, the scheduler, code generation and the
// benchmarks all ask here; nobody keeps a second formula.
#ifndef LLMC_IR_LLMINTERFACES_TD
#define LLMC_IR_LLMINTERFACES_TD

include "mlir/IR/OpBase.td"

def LLM_KernelOpInterface : OpInterface<"KernelOpInterface"> {
  let cppNamespace = "::llmc::llm";
  let description = "An op that is executed as one kernel over independent tiles.";
  let methods = [
    InterfaceMethod<[{The kernel's operands by name, in the order of its argument list: inputs, weights, tables, rows,
        states, results. They may depend on the kind of step that the op stands in (stepKindOf).}],
      "::llvm::SmallVector<::llmc::llm::KernelOperand>", "getKernelOperands">,
    InterfaceMethod<"How the work is cut in an entry point of this kind.",
      "::llmc::llm::Tiling", "getTiling", (ins "::llmc::llm::StepKind":$kind)>,
    InterfaceMethod<"Bytes and FLOPs of one execution (one layer).",
      "::llmc::llm::Cost", "getCost">,
    InterfaceMethod<"True when it works on the rows whose logits are wanted, and no others.",
      "bool", "onLogitsRows", (ins), "", "return false;">,
  ];
}

#endif
