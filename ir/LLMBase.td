// The llm dialect, its types and the base classes of its ops.
#ifndef LLMC_IR_LLMBASE_TD
#define LLMC_IR_LLMBASE_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/BuiltinTypes.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/CommonTypeConstraints.td"
include "mlir/IR/CommonAttrConstraints.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "ir/LLMInterfaces.td"

def LLM_Dialect : Dialect {
  let name = "llm";
  let cppNamespace = "::llmc::llm";
  let summary = "Inference of decoder-only transformers, one op per idea";
  let description = [{
    A model is a symbol table of weights, states and entry points. Activations are `tensor<?xNxf32>`: one row per token
    of the step, all in f32. What a row is (its token, position, sequence, ...) stands in the row table `!llm.rows`.
    Decoder layers are a region that runs once per layer; inside it a symbol of a weight or a state names what the
    current layer has of it.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let extraClassDeclaration = "void registerOps();";
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

class LLM_Type<string name, string typeMnemonic> : TypeDef<LLM_Dialect, name> {
  let mnemonic = typeMnemonic;
}

def LLM_RowsType : LLM_Type<"Rows", "rows"> {
  let summary = "the row table of a step: token, position, sequence, place in a tree and wanted logits of each row";
}

def LLM_KvCacheType : LLM_Type<"KvCache", "kv"> {
  let summary = "a paged state: keys and values of every token of a sequence, rounded to their element type";
  let description = [{
    Example: `!llm.kv<8x128xbf16>`, 8 KV heads of 128. Values may be narrower than keys, as in a cache of latents
    (arXiv 2405.04434): `!llm.kv<1x576x512xbf16>` is one head with keys of 576 and values of 512.
  }];
  let parameters = (ins "int64_t":$numKvHeads, "int64_t":$headDim, "int64_t":$valueDim, "::mlir::Type":$elementType);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def LLM_RecurrentType : LLM_Type<"Recurrent", "recurrent"> {
  let summary = "a state of fixed size: one tensor a sequence";
  let description = "Example: `!llm.recurrent<48x128x128xf32>`. It is zero before a sequence's first token.";
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape, "::mlir::Type":$elementType);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def LLM_KeptType : LLM_Type<"Kept", "kept"> {
  let summary = "rows that a verify step keeps for the commit after it: of the step, not of a sequence";
  let description = "Example: `!llm.kept<64x8192xf32>`, of verify steps of at most 64 rows. Always f32.";
  let parameters = (ins "int64_t":$rows, "int64_t":$width);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def LLM_QuantizedType : LLM_Type<"Quantized", "q"> {
  let summary = "an element of a weight that is stored in blocks";
  let description = [{
    Example: `tensor<4096x4096x!llm.q<q8_0>>`. The name is one of runtime/io/weight_format.h, where it is written
    what a block holds and what its values are. f32, f16 and bf16 are MLIR's own.
  }];
  let parameters = (ins StringRefParameter<>:$format);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

/// Activations: any number of rows, a static width, f32.
def LLM_Rows2D : Type<CPred<[{
    ::llvm::isa<::mlir::RankedTensorType>($_self) &&
    ::llvm::cast<::mlir::RankedTensorType>($_self).getRank() == 2 &&
    ::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(0) &&
    !::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(1) &&
    ::llvm::cast<::mlir::RankedTensorType>($_self).getElementType().isF32()}]>,
    "tensor of shape ?xN of f32 values", "::mlir::RankedTensorType">;

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

def LLM_WeightKind : I32EnumAttr<"WeightKind", "what a weight is used for", [
    I32EnumAttrCase<"matrix", 0>, I32EnumAttrCase<"norm", 1>, I32EnumAttrCase<"bias", 2>]> {
  let cppNamespace = "::llmc::llm";
  let genSpecializedAttr = 0;
}
def LLM_WeightKindAttr : EnumAttr<LLM_Dialect, LLM_WeightKind, "weight_kind">;

def LLM_ActivationKind : I32EnumAttr<"ActivationKind", "the nonlinearity of an MLP", [
    I32EnumAttrCase<"silu", 0>, I32EnumAttrCase<"gelu", 1>, I32EnumAttrCase<"gelu_tanh", 2>,
    I32EnumAttrCase<"relu", 3>, I32EnumAttrCase<"relu2", 4>, I32EnumAttrCase<"sigmoid", 5>,
    I32EnumAttrCase<"quick_gelu", 6>, I32EnumAttrCase<"none", 7>]> {
  let cppNamespace = "::llmc::llm";
  let genSpecializedAttr = 0;
}
def LLM_ActivationKindAttr : EnumAttr<LLM_Dialect, LLM_ActivationKind, "activation">;

def LLM_RouteScoring : I32EnumAttr<"RouteScoring", "how a router's outputs become weights of experts", [
    I32EnumAttrCase<"softmax", 0>, I32EnumAttrCase<"sigmoid", 1>, I32EnumAttrCase<"softmax_chosen", 2>]> {
  let cppNamespace = "::llmc::llm";
  let genSpecializedAttr = 0;
}
def LLM_RouteScoringAttr : EnumAttr<LLM_Dialect, LLM_RouteScoring, "route_scoring">;

/// Where a weight lies in a stored tensor of another shape.
def LLM_ViewAttr : AttrDef<LLM_Dialect, "View"> {
  let mnemonic = "view";
  let summary = "a weight as a part of a stored tensor, or with its rows in another order";
  let description = [{
    The checkpoint's tensor has the shape `stored`. Element (row, col) of expert e of the weight is the stored element
    (counted row-major) `begin + e * expert + (row / run) * outer + p(row % run) * inner + col * col_step`. p is the
    identity but for a run's rows [pair_begin, pair_begin + pair_size): there the stored rows are pairs (2i, 2i + 1) and
    the weight's are halves (i, i + pair_size / 2), as rotary embeddings here rotate them.
    ```mlir
    // k_proj in Phi-3's qkv_proj: 4096 rows of 3072 before it are q's
    #llm.view<stored[9216, 3072] begin 9437184 run 3072 outer 0 inner 3072 col 1>
    ```
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$stored, "int64_t":$begin, "int64_t":$run, "int64_t":$outer,
      "int64_t":$inner, "int64_t":$col, DefaultValuedParameter<"int64_t", "0">:$expert,
      DefaultValuedParameter<"int64_t", "0">:$pairBegin, DefaultValuedParameter<"int64_t", "0">:$pairSize);
  let assemblyFormat = [{
    `<` `stored` `[` $stored `]` `begin` $begin `run` $run `outer` $outer `inner` $inner `col` $col
    (`expert` $expert^)? (`pairs` $pairSize^)? (`at` $pairBegin^)? `>`
  }];
}

/// One of llm.norm_projections.
def LLM_ProjectionAttr : AttrDef<LLM_Dialect, "Projection"> {
  let mnemonic = "projection";
  let summary = "a product with a matrix, its bias, and an activation";
  let description = [{
    ```mlir
    #llm.projection<@in_proj_z bias @in_proj_z_bias act silu>
    ```
  }];
  let parameters = (ins "::mlir::FlatSymbolRefAttr":$weight, OptionalParameter<"::mlir::FlatSymbolRefAttr">:$bias,
      DefaultValuedParameter<"::llmc::llm::ActivationKind", "::llmc::llm::ActivationKind::none">:$activation);
  let assemblyFormat = "`<` $weight (`bias` $bias^)? (`act` $activation^)? `>`";
}

def LLM_Layout : I32EnumAttr<"Layout", "how a packed weight lies in memory", [
    I32EnumAttrCase<"rows", 0>, I32EnumAttrCase<"panels", 1>]> {
  let cppNamespace = "::llmc::llm";
  let genSpecializedAttr = 0;
}
def LLM_LayoutAttr : EnumAttr<LLM_Dialect, LLM_Layout, "layout">;

def LLM_PanelOrder : I32EnumAttr<"PanelOrder", "the order of the panels of several sources", [
    I32EnumAttrCase<"concat", 0>, I32EnumAttrCase<"interleave", 1>, I32EnumAttrCase<"heads", 2>]> {
  let cppNamespace = "::llmc::llm";
  let genSpecializedAttr = 0;
}
def LLM_PanelOrderAttr : EnumAttr<LLM_Dialect, LLM_PanelOrder, "panel_order">;

def LLM_Space : I32EnumAttr<"Space", "where an operand of a phase lives", [
    I32EnumAttrCase<"arena", 0>, I32EnumAttrCase<"weights", 1>, I32EnumAttrCase<"keys", 2>,
    I32EnumAttrCase<"values", 3>, I32EnumAttrCase<"rope", 4>, I32EnumAttrCase<"input", 5>,
    I32EnumAttrCase<"block_table", 6>, I32EnumAttrCase<"recurrent", 7>, I32EnumAttrCase<"slots", 8>,
    I32EnumAttrCase<"kept", 9>]> {
  let cppNamespace = "::llmc::llm";
  let genSpecializedAttr = 0;
}
def LLM_SpaceAttr : EnumAttr<LLM_Dialect, LLM_Space, "space">;

def LLM_Access : I32EnumAttr<"Access", "how a phase uses an operand", [
    I32EnumAttrCase<"read", 0>, I32EnumAttrCase<"write", 1>, I32EnumAttrCase<"read_write", 2>]> {
  let cppNamespace = "::llmc::llm";
  let genSpecializedAttr = 0;
}
def LLM_AccessAttr : EnumAttr<LLM_Dialect, LLM_Access, "access">;

def LLM_StepKind : I32EnumAttr<"StepKind", "what a step is for", [
    I32EnumAttrCase<"prefill", 0>, I32EnumAttrCase<"decode", 1>, I32EnumAttrCase<"verify", 2>,
    I32EnumAttrCase<"commit", 3>, I32EnumAttrCase<"embed", 4>, I32EnumAttrCase<"mtp", 5>]> {
  let cppNamespace = "::llmc::llm";
  let genSpecializedAttr = 0;
}
def LLM_StepKindAttr : EnumAttr<LLM_Dialect, LLM_StepKind, "step_kind">;

/// An operand of a scheduled phase: `#llm.operand<read arena @h>`, `#llm.operand<read keys @kv>`. What it names depends
/// on the space: a buffer, a packed weight, a rope table, a step's input, a state.
def LLM_OperandAttr : AttrDef<LLM_Dialect, "Operand"> {
  let mnemonic = "operand";
  let parameters = (ins "::llmc::llm::Access":$access, "::llmc::llm::Space":$space,
                        "::mlir::FlatSymbolRefAttr":$symbol);
  let assemblyFormat = "`<` $access $space $symbol `>`";
}

//===----------------------------------------------------------------------===//
// Op bases
//===----------------------------------------------------------------------===//

class LLM_Op<string mnemonic, list<Trait> traits = []> : Op<LLM_Dialect, mnemonic, traits>;

/// An op that becomes one kernel, one phase of the schedule. `verifySymbolUses` checks its weights and tables, once all
/// of the model has been verified. Its result is named for what it is (`%q`, `%norm`, `%logits`), so that dumps read.
class LLM_ComputeOp<string mnemonic, list<Trait> traits = []>
    : LLM_Op<mnemonic, !listconcat([DeclareOpInterfaceMethods<LLM_KernelOpInterface>,
                                    DeclareOpInterfaceMethods<SymbolUserOpInterface>,
                                    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>,
                                    ParentOneOf<["EntryOp", "LayersOp", "KernelOp"]>], traits)> {
  let extraClassDefinition = [{
    void $cppClass::getAsmResultNames(::mlir::OpAsmSetValueNameFn setName) { nameResults(*this, setName); }
  }];
}

#endif
