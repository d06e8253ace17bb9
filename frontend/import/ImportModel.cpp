#include "frontend/import/ImportModel.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <string>

#include "mlir/IR/Builders.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;
using namespace llmc::llm;

namespace llmc {
namespace {

ActivationKind activationKind(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return ActivationKind::silu;
    case Activation::kGelu:
      return ActivationKind::gelu;
    case Activation::kGeluTanh:
      return ActivationKind::gelu_tanh;
  }
  return ActivationKind::silu;
}

/// A name that prints without quotes: letters, digits and '_', not beginning with a digit.
std::string symbolName(const std::string& name) {
  std::string symbol;
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0]))) symbol += '_';
  for (unsigned char c : name) symbol += std::isalnum(c) ? static_cast<char>(c) : '_';
  return symbol;
}

class Importer {
 public:
  Importer(MLIRContext& context, const ModelSpec& spec, const ImportOptions& options)
      : spec_(spec),
        options_(options),
        builder_(&context),
        loc_(NameLoc::get(builder_.getStringAttr(spec.name))),
        weightType_(elementType(context, options.dtype)),
        kvType_(KvCacheType::get(
            &context, spec.num_kv_heads, spec.head_dim,
            elementType(context, options.kvDtype.value_or(defaultKvDtype(options.dtype))))) {}

  OwningOpRef<ModuleOp> run() {
    OwningOpRef<ModuleOp> module = ModuleOp::create(loc_);
    builder_.setInsertionPointToEnd(module->getBody());
    auto model = ModelOp::create(builder_, loc_, symbolName(spec_.name), spec_.architecture,
                                 spec_.hidden_size, spec_.intermediate_size, spec_.num_heads,
                                 spec_.num_kv_heads, spec_.head_dim, spec_.num_layers,
                                 spec_.vocab_size, options_.maxSeqLen, options_.maxBatch);
    builder_.setInsertionPointToEnd(&model.getBody().emplaceBlock());
    weights();
    entry("decode", decodeRows(options_.maxBatch));
    entry("prefill", std::min(options_.prefillChunk, options_.maxSeqLen));
    if (failed(verify(*module))) return {};
    return module;
  }

 private:
  RankedTensorType rowsOf(int64_t width) {
    return RankedTensorType::get({ShapedType::kDynamic, width}, builder_.getF32Type());
  }
  FlatSymbolRefAttr symbol(StringRef name) {
    return FlatSymbolRefAttr::get(builder_.getContext(), name);
  }

  void weight(StringRef name, WeightKind kind, const std::string& source, ArrayRef<int64_t> shape) {
    WeightOp::create(builder_, loc_, name, kind, source, /*first_layer=*/0,
                     RankedTensorType::get(shape, weightType_));
  }
  void layerNorm(StringRef name, const std::string& source) {
    weight(name, WeightKind::norm, "model.layers.{layer}." + source + ".weight",
           {spec_.num_layers, spec_.hidden_size});
  }
  void projection(const std::string& name, const std::string& block, int64_t n, int64_t k,
                  bool bias) {
    std::string source = "model.layers.{layer}." + block + "." + name;
    weight(name, WeightKind::matrix, source + ".weight", {spec_.num_layers, n, k});
    if (bias) weight(name + "_bias", WeightKind::bias, source + ".bias", {spec_.num_layers, n});
  }

  void weights() {
    int64_t hidden = spec_.hidden_size, intermediate = spec_.intermediate_size;
    weight("embed_tokens", WeightKind::matrix, "model.embed_tokens.weight",
           {spec_.vocab_size, hidden});
    layerNorm("input_norm", "input_layernorm");
    projection("q_proj", "self_attn", spec_.qSize(), hidden, spec_.qkv_bias);
    projection("k_proj", "self_attn", spec_.kvSize(), hidden, spec_.qkv_bias);
    projection("v_proj", "self_attn", spec_.kvSize(), hidden, spec_.qkv_bias);
    projection("o_proj", "self_attn", hidden, spec_.qSize(), spec_.o_bias);
    layerNorm("post_attention_norm", "post_attention_layernorm");
    projection("gate_proj", "mlp", intermediate, hidden, spec_.mlp_bias);
    projection("up_proj", "mlp", intermediate, hidden, spec_.mlp_bias);
    projection("down_proj", "mlp", hidden, intermediate, spec_.mlp_bias);
    weight("norm", WeightKind::norm, "model.norm.weight", {hidden});
    if (!spec_.tie_word_embeddings)
      weight("lm_head", WeightKind::matrix, "lm_head.weight", {spec_.vocab_size, hidden});
    RopeTableOp::create(builder_, loc_, "rope", spec_.rope.inv_freq, APFloat(1.0));
  }

  Value rmsNorm(Value x, StringRef weight) {
    return RmsNormOp::create(builder_, loc_, x.getType(), x, symbol(weight),
                             builder_.getF64FloatAttr(spec_.rms_norm_eps));
  }
  Value linear(Value x, const std::string& weight, int64_t n, bool bias) {
    Value y = LinearOp::create(builder_, loc_, rowsOf(n), x, symbol(weight));
    if (bias) y = BiasOp::create(builder_, loc_, y.getType(), y, symbol(weight + "_bias"));
    return y;
  }
  Value rope(Value x, Value rows) {
    return RopeOp::create(builder_, loc_, x.getType(), x, rows, symbol("rope"),
                          builder_.getI64IntegerAttr(spec_.head_dim));
  }

  /// One decoder layer over the residual stream `h`.
  Value layer(Value h, Value rows, Value kv) {
    Value x = rmsNorm(h, "input_norm");
    Value q = linear(x, "q_proj", spec_.qSize(), spec_.qkv_bias);
    Value k = linear(x, "k_proj", spec_.kvSize(), spec_.qkv_bias);
    Value v = linear(x, "v_proj", spec_.kvSize(), spec_.qkv_bias);
    q = rope(q, rows);
    k = rope(k, rows);
    KvWriteOp::create(builder_, loc_, k, v, rows, kv);
    int64_t window = spec_.sliding_window < options_.maxSeqLen ? spec_.sliding_window : 0;
    Value a =
        AttentionOp::create(builder_, loc_, q.getType(), q, rows, kv,
                            APFloat(1.0 / std::sqrt(static_cast<double>(spec_.head_dim))), window);
    Value o = linear(a, "o_proj", spec_.hidden_size, spec_.o_bias);
    Value r = AddOp::create(builder_, loc_, h.getType(), h, o);

    Value n = rmsNorm(r, "post_attention_norm");
    Value gate = linear(n, "gate_proj", spec_.intermediate_size, spec_.mlp_bias);
    Value up = linear(n, "up_proj", spec_.intermediate_size, spec_.mlp_bias);
    Value act = ActivationOp::create(builder_, loc_, gate.getType(), gate,
                                     activationKind(spec_.activation));
    Value g = MulOp::create(builder_, loc_, act.getType(), act, up);
    Value down = linear(g, "down_proj", spec_.hidden_size, spec_.mlp_bias);
    return AddOp::create(builder_, loc_, r.getType(), r, down);
  }

  void entry(StringRef name, int64_t maxRows) {
    auto entry = EntryOp::create(builder_, loc_, name, maxRows);
    OpBuilder::InsertionGuard guard(builder_);
    Block& block = entry.getBody().emplaceBlock();
    Value rows = block.addArgument(RowsType::get(builder_.getContext()), loc_);
    Value kv = block.addArgument(kvType_, loc_);
    builder_.setInsertionPointToEnd(&block);

    RankedTensorType residual = rowsOf(spec_.hidden_size);
    Value x = EmbedOp::create(builder_, loc_, residual, rows, symbol("embed_tokens"));
    auto layers = LayersOp::create(builder_, loc_, residual, x, 0, spec_.num_layers);
    {
      OpBuilder::InsertionGuard bodyGuard(builder_);
      Block& body = layers.getBody().emplaceBlock();
      Value h = body.addArgument(residual, loc_);
      builder_.setInsertionPointToEnd(&body);
      YieldOp::create(builder_, loc_, layer(h, rows, kv));
    }
    Value n = rmsNorm(layers.getResult(), "norm");
    Value logits = LogitsOp::create(builder_, loc_, rowsOf(spec_.vocab_size), n, rows,
                                    symbol(spec_.tie_word_embeddings ? "embed_tokens" : "lm_head"));
    ReturnOp::create(builder_, loc_, logits);
  }

  const ModelSpec& spec_;
  const ImportOptions& options_;
  OpBuilder builder_;
  Location loc_;
  Type weightType_;
  KvCacheType kvType_;
};

}  // namespace

llmrt::DType defaultKvDtype(llmrt::DType weights) { return weights; }

int64_t decodeRows(int64_t maxBatch) { return std::clamp<int64_t>(maxBatch, 8, kDecodeMaxRows); }

Type elementType(MLIRContext& context, llmrt::DType dtype) {
  switch (dtype) {
    case llmrt::DType::kF32:
      return Float32Type::get(&context);
    case llmrt::DType::kF16:
      return Float16Type::get(&context);
    case llmrt::DType::kBF16:
      return BFloat16Type::get(&context);
  }
  return Float32Type::get(&context);
}

OwningOpRef<ModuleOp> importModel(MLIRContext& context, const ModelSpec& spec,
                                  const ImportOptions& options) {
  context.getOrLoadDialect<LLMDialect>();
  for (auto [name, value] : {std::pair{"max_seq_len", options.maxSeqLen},
                             {"max_batch", options.maxBatch},
                             {"prefill_chunk", options.prefillChunk}}) {
    if (value > 0) continue;
    emitError(UnknownLoc::get(&context)) << name << " is " << value << ": it must be positive";
    return {};
  }
  return Importer(context, spec, options).run();
}

}  // namespace llmc
