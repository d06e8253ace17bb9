#include "frontend/import/ImportModel.h"

#include <algorithm>
#include <cassert>
#include <cctype>
#include <cmath>
#include <string>
#include <vector>

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/SaveAndRestore.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Verifier.h"
#include "models/Rope.h"

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
    case Activation::kRelu:
      return ActivationKind::relu;
    case Activation::kRelu2:
      return ActivationKind::relu2;
    case Activation::kQuickGelu:
      return ActivationKind::quick_gelu;
  }
  return ActivationKind::silu;
}

RouteScoring routeScoring(Experts::Scoring scoring) {
  switch (scoring) {
    case Experts::Scoring::kSoftmax:
      return RouteScoring::softmax;
    case Experts::Scoring::kSigmoid:
      return RouteScoring::sigmoid;
    case Experts::Scoring::kSoftmaxChosen:
      return RouteScoring::softmax_chosen;
  }
  return RouteScoring::softmax;
}

WeightKind weightKind(ModelWeight::Kind kind) {
  switch (kind) {
    case ModelWeight::Kind::kMatrix:
      return WeightKind::matrix;
    case ModelWeight::Kind::kNorm:
      return WeightKind::norm;
    case ModelWeight::Kind::kBias:
      return WeightKind::bias;
  }
  return WeightKind::matrix;
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
        loc_(NameLoc::get(builder_.getStringAttr(spec.name))) {}

  OwningOpRef<ModuleOp> run() {
    OwningOpRef<ModuleOp> module = ModuleOp::create(loc_);
    builder_.setInsertionPointToEnd(module->getBody());
    auto model = ModelOp::create(builder_, loc_, symbolName(spec_.name), spec_.architecture,
                                 spec_.hidden_size, spec_.intermediate_size, spec_.num_heads,
                                 spec_.num_kv_heads, spec_.head_dim, spec_.num_layers,
                                 spec_.vocab_size, options_.maxSeqLen, options_.maxBatch);
    if (options_.int8Activations && spec_.isQuantized())
      model->setAttr(kActivationsAttr, builder_.getStringAttr("int8"));
    builder_.setInsertionPointToEnd(&model.getBody().emplaceBlock());
    weights();
    states();
    // One row per sequence, the tail of a prompt, speculated tokens. A larger batch takes several
    // steps.
    entry("decode", StepKind::decode, kDecodeMaxRows);
    entry("prefill", StepKind::prefill, std::min(options_.prefillChunk, options_.maxSeqLen));
    if (const int64_t rows = verifyRows(); rows != 0) {
      entry("verify", StepKind::verify, rows);
      commit(rows);
    }
    if (spec_.mtp.compiled) mtp();
    if (failed(verify(*module))) return {};
    return module;
  }

 private:
  RankedTensorType rowsOf(int64_t width) {
    return RankedTensorType::get({ShapedType::kDynamic, width}, builder_.getF32Type());
  }
  FlatSymbolRefAttr symbol(const Twine& name) {
    return FlatSymbolRefAttr::get(builder_.getContext(), name.str());
  }

  /// The weight of this role in the layers that are being built; null where they have none.
  FlatSymbolRefAttr optional(StringRef role) {
    for (const ModelWeight& w : weights_)
      if (w.role == role && w.of_mtp == in_mtp_ &&
          (w.num_layers == 0 || (w.first_layer <= layer_ && layer_ < w.first_layer + w.num_layers)))
        return symbol(w.symbol);
    return {};
  }
  FlatSymbolRefAttr weight(StringRef role) {
    FlatSymbolRefAttr found = optional(role);
    assert(found && "a layer without a weight that its form needs");
    return found;
  }

  /// Of the MTP block where it has its own, otherwise the model's.
  FlatSymbolRefAttr ownOrModels(StringRef role) {
    FlatSymbolRefAttr own = optional(role);
    if (own || !in_mtp_) return own;
    const llvm::SaveAndRestore<bool> models(in_mtp_, false);
    return optional(role);
  }

  void weights() {
    for (const ModelWeight& w : weights_) {
      SmallVector<int64_t> shape;
      if (w.num_layers > 0) shape.push_back(w.num_layers);
      if (w.num_experts > 0) shape.push_back(w.num_experts);
      shape.push_back(w.rows);
      if (w.kind == ModelWeight::Kind::kMatrix) shape.push_back(w.cols);
      ViewAttr view;
      if (w.view)
        view = ViewAttr::get(builder_.getContext(), w.view->stored, w.view->begin, w.view->run,
                             w.view->outer, w.view->inner, w.view->col, w.view->expert,
                             w.view->pair_begin, w.view->pair_size);
      WeightOp::create(builder_, loc_, w.symbol, weightKind(w.kind), w.source, w.first_layer,
                       w.num_experts, view, APFloat(w.plus),
                       RankedTensorType::get(shape, typeOf(w)));
    }
    if (turns(0)) ropeTable("rope", spec_.rope);
    if (turns(1)) ropeTable("local_rope", *spec_.local_rope);
  }

  /// Whether a layer has the rope of that number.
  bool turns(int rope) {
    for (int64_t layer = 0; layer < spec_.num_layers; ++layer)
      if (layerForm(layer).rope == rope) return true;
    return false;
  }

  Type typeOf(const ModelWeight& w) {
    if (!w.format) return elementType(*builder_.getContext(), options_.dtype);
    if (w.format->isPlain()) return elementType(*builder_.getContext(), w.format->planes[0].dtype);
    return QuantizedType::get(builder_.getContext(), w.format->name);
  }

  Type kvType(const Heads& heads) {
    MLIRContext& context = *builder_.getContext();
    const llmrt::DType dtype = options_.kvDtype.value_or(defaultKvDtype(spec_, options_.dtype));
    return KvCacheType::get(&context, heads.num_kv_heads, heads.dim,
                            spec_.latent.kv_rank ? spec_.latent.kv_rank : heads.dim,
                            elementType(context, dtype));
  }

  /// The paged state of layers of this form: layers of one window share one.
  FlatSymbolRefAttr kvState(const LayerForm& form) {
    const char* base = spec_.latent.kv_rank ? "latent" : "kv";
    if (in_mtp_) return symbol(Twine(base) + "_mtp");
    return form.window ? symbol(Twine(base) + "_window" + Twine(form.window)) : symbol(base);
  }

  int64_t verifyRows() const { return std::min(options_.verifyRows, options_.maxSeqLen); }

  struct State {
    std::string name;
    Type type;
    int64_t window = 0;
    SmallVector<int64_t> layers = {};  // half-open ranges
  };
  Type recurrent(ArrayRef<int64_t> shape) {
    return RecurrentType::get(builder_.getContext(), shape, builder_.getF32Type());
  }
  /// What a verify step leaves to the commit: rows of `width`.
  State kept(std::string name, int64_t width) {
    return {std::move(name), KeptType::get(builder_.getContext(), verifyRows(), width)};
  }

  /// What layers of this form carry from step to step.
  std::vector<State> statesOf(const LayerForm& form) {
    std::vector<State> states;
    switch (form.mixer) {
      case Mixer::kNone:
        break;
      case Mixer::kAttention:
        if (!form.heads.shares_kv)
          states.push_back({kvState(form).getValue().str(), kvType(form.heads), form.window});
        break;
      case Mixer::kDelta: {
        const Delta& d = spec_.delta;
        states.push_back({"conv", recurrent({d.conv_size - 1, d.qkvSize()})});
        states.push_back({"delta", recurrent({d.num_value_heads, d.key_dim, d.value_dim})});
        if (verifyRows() == 0) break;
        states.push_back(kept("kept_qkv", d.qkvSize()));
        states.push_back(kept("kept_a", d.num_value_heads));
        states.push_back(kept("kept_b", d.num_value_heads));
        break;
      }
      case Mixer::kConv:
        states.push_back({"conv", recurrent({spec_.short_conv.size - 1, spec_.hidden_size})});
        if (verifyRows() != 0) states.push_back(kept("kept_x", spec_.hidden_size));
        break;
      case Mixer::kStateSpace: {
        const StateSpace& s = spec_.state_space;
        states.push_back({"conv", recurrent({s.conv_size - 1, s.convSize()})});
        states.push_back({"ssm", recurrent({s.num_heads, s.state_size, s.head_dim})});
        if (verifyRows() == 0) break;
        states.push_back(kept("kept_xbc", s.convSize()));
        states.push_back(kept("kept_dt", s.num_heads));
        break;
      }
    }
    return states;
  }

  void states() {
    llvm::MapVector<StringAttr, State> states;
    for (int64_t layer = 0; layer < spec_.num_layers; ++layer)
      for (State& needed : statesOf(layerForm(layer))) {
        const StringAttr name = builder_.getStringAttr(needed.name);
        State& s = states.insert({name, std::move(needed)}).first->second;
        if (!s.layers.empty() && s.layers.back() == layer)
          ++s.layers.back();
        else
          s.layers.append({layer, layer + 1});
      }
    for (auto& [name, s] : states)
      StateOp::create(builder_, loc_, name.getValue(), s.type, s.window, /*mtp=*/false, s.layers);
    if (!spec_.mtp.compiled) return;
    const llvm::SaveAndRestore<bool> inMtp(in_mtp_, true);
    const LayerForm form = spec_.mtpForm();
    StateOp::create(builder_, loc_, kvState(form).getValue(), kvType(form.heads), /*window=*/0,
                    /*mtp=*/true, ArrayRef<int64_t>{0, 1});
  }

  void ropeTable(StringRef name, const Rope& rope) {
    std::vector<double> longer = rope.long_inv_freq;
    if (rope.scaling == RopeScaling::kDynamic) longer = dynamicInvFreq(rope, options_.maxSeqLen);
    // No session of this plan is that long.
    if (options_.maxSeqLen <= rope.original_max_position_embeddings) longer.clear();
    RopeTableOp::create(
        builder_, loc_, name, rope.inv_freq, APFloat(rope.attention_factor),
        longer.empty() ? 0 : rope.original_max_position_embeddings,
        longer.empty() ? DenseF64ArrayAttr() : builder_.getDenseF64ArrayAttr(longer));
  }

  FloatAttr number(double value) { return builder_.getF64FloatAttr(value); }

  /// The model's norm with the weights `name`.
  Value norm(Value x, const std::string& name) {
    if (spec_.form.norm == NormKind::kRms) return rmsNorm(x, name);
    return LayerNormOp::create(builder_, loc_, x.getType(), x, optional(name),
                               optional(biasSymbol(name)), number(spec_.rms_norm_eps));
  }
  Value rmsNorm(Value x, const std::string& name) { return rmsNorm(x, name, spec_.rms_norm_eps); }
  Value rmsNorm(Value x, const std::string& name, double eps) {
    return RmsNormOp::create(builder_, loc_, x.getType(), x, weight(name), number(eps));
  }
  /// As wide as the weight has rows; with its bias, where it has one.
  Value linear(Value x, const std::string& name, int64_t n) {
    Value y = LinearOp::create(builder_, loc_, rowsOf(n), x, weight(name));
    if (FlatSymbolRefAttr bias = optional(biasSymbol(name)))
      y = BiasOp::create(builder_, loc_, y.getType(), y, bias);
    return y;
  }
  Value add(Value a, Value b) { return AddOp::create(builder_, loc_, a.getType(), a, b); }
  Value activation(Value x, ActivationKind kind) {
    return ActivationOp::create(builder_, loc_, x.getType(), x, kind);
  }
  Value scale(Value x, double factor) {
    return ScaleOp::create(builder_, loc_, x.getType(), x, number(factor));
  }
  Value mul(Value a, Value b) { return MulOp::create(builder_, loc_, a.getType(), a, b); }

  Value rope(Value x, Value rows, const LayerForm& form, int64_t headDim) {
    if (form.rope < 0) return x;
    return RopeOp::create(builder_, loc_, x.getType(), x, rows,
                          symbol(form.rope == 1 ? "local_rope" : "rope"),
                          builder_.getI64IntegerAttr(headDim));
  }
  Value qkNorm(Value x, const std::string& name, const Heads& heads) {
    switch (spec_.form.qk_norm) {
      case QkNorm::kNone:
        return x;
      case QkNorm::kWhole:
        return rmsNorm(x, name);
      case QkNorm::kHead:
      case QkNorm::kHeadLayer:
        return QkNormOp::create(
            builder_, loc_, x.getType(), x, weight(name),
            spec_.form.qk_norm == QkNorm::kHeadLayer ? builder_.getUnitAttr() : UnitAttr(),
            number(spec_.rms_norm_eps), builder_.getI64IntegerAttr(heads.dim));
    }
    return x;
  }

  Value attend(Value q, Value rows, const LayerForm& form, int64_t width) {
    const double scale = spec_.attention_scale != 0
                             ? spec_.attention_scale
                             : 1.0 / std::sqrt(static_cast<double>(form.heads.dim));
    return AttentionOp::create(builder_, loc_, rowsOf(width), q, rows, kvState(form), number(scale),
                               number(spec_.attention_softcap), optional("sinks"));
  }

  Value mixer(Value x, Value rows, const LayerForm& form) {
    switch (form.mixer) {
      case Mixer::kNone:
        break;
      case Mixer::kAttention:
        return spec_.latent.kv_rank ? latentAttention(x, rows, form) : attention(x, rows, form);
      case Mixer::kDelta:
        return delta(x, rows);
      case Mixer::kConv:
        return shortConv(x, rows);
      case Mixer::kStateSpace:
        return stateSpace(x, rows);
    }
    llvm_unreachable("a layer that brings no tokens together");
  }

  Value attention(Value x, Value rows, const LayerForm& form) {
    const Heads& heads = form.heads;
    const int64_t qSize = spec_.qSize(heads), kvSize = ModelSpec::kvSize(heads);
    Value q = linear(x, "q_proj", qSize);
    q = rope(qkNorm(q, "q_norm", heads), rows, form, heads.dim);
    if (!heads.shares_kv) {
      Value k = linear(x, "k_proj", kvSize);
      Value v = heads.key_is_value ? k : linear(x, "v_proj", kvSize);
      k = rope(qkNorm(k, "k_norm", heads), rows, form, heads.dim);
      if (spec_.form.value_norm)
        v = QkNormOp::create(builder_, loc_, v.getType(), v, FlatSymbolRefAttr(), UnitAttr(),
                             number(spec_.rms_norm_eps), builder_.getI64IntegerAttr(heads.dim));
      KvWriteOp::create(builder_, loc_, k, v, rows, kvState(form));
    }
    // No session of this plan has positions beyond max_seq_len.
    if (spec_.query_growth != 0 && spec_.query_growth_every < options_.maxSeqLen)
      q = ScaleByPosOp::create(builder_, loc_, q.getType(), q, rows, number(spec_.query_growth),
                               builder_.getI64IntegerAttr(spec_.query_growth_every));
    Value a = attend(q, rows, form, qSize);
    if (spec_.form.output_gate)
      a = mul(a, activation(linear(x, "output_gate", qSize), ActivationKind::sigmoid));
    if (spec_.form.head_gate) {
      Value gate = activation(linear(x, "head_gate", spec_.num_heads), ActivationKind::sigmoid);
      a = ScaleRowsOp::create(builder_, loc_, a.getType(), a, gate);
    }
    return linear(a, "o_proj", spec_.hidden_size);
  }

  /// The cache holds one head: what is rotated, then the latents, which are the values too.
  Value latentAttention(Value x, Value rows, const LayerForm& form) {
    const Latent& l = spec_.latent;
    const int64_t heads = spec_.num_heads;
    auto perHead = builder_.getI64IntegerAttr(heads);
    auto concat = [&](Value a, Value b, int64_t numHeads) -> Value {
      const int64_t width = cast<RankedTensorType>(a.getType()).getDimSize(1) +
                            cast<RankedTensorType>(b.getType()).getDimSize(1);
      return ConcatOp::create(builder_, loc_, rowsOf(width), a, b,
                              builder_.getI64IntegerAttr(numHeads));
    };
    constexpr double kEps = 1e-6;  // whatever the config's: the modelling code gives these none
    Value qIn = x;
    if (l.q_rank > 0) qIn = rmsNorm(linear(x, "q_a", l.q_rank), "q_a_norm", kEps);
    Value qNope = linear(qIn, "q_nope", heads * l.nope_dim);
    Value qLatent = HeadLinearOp::create(builder_, loc_, rowsOf(heads * l.kv_rank), qNope,
                                         weight("k_up"), perHead);
    Value qRope = rope(linear(qIn, "q_rope", heads * l.rope_dim), rows, form, l.rope_dim);
    Value latent = rmsNorm(linear(x, "kv_a", l.kv_rank), "kv_a_norm", kEps);
    Value kRope = rope(linear(x, "k_rope", l.rope_dim), rows, form, l.rope_dim);
    KvWriteOp::create(builder_, loc_, concat(kRope, latent, 1), latent, rows, kvState(form));
    Value a = attend(concat(qRope, qLatent, heads), rows, form, heads * l.kv_rank);
    Value o = HeadLinearOp::create(builder_, loc_, rowsOf(heads * l.value_dim), a, weight("v_up"),
                                   perHead);
    return linear(o, "o_proj", spec_.hidden_size);
  }

  /// The layer's convolution over tokens; `gate`: what it is multiplied by, or null.
  Value causalConv(Value x, Value rows, ActivationKind activation, Value gate = {}) {
    return CausalConvOp::create(builder_, loc_, x.getType(), x, rows, symbol("conv"),
                                weight("conv1d"), optional(biasSymbol("conv1d")),
                                ActivationKindAttr::get(builder_.getContext(), activation), gate);
  }

  Value shortConv(Value x, Value rows) {
    const int64_t hidden = spec_.hidden_size;
    Value bx = mul(linear(x, "conv_b", hidden), linear(x, "conv_x", hidden));
    if (kind_ == StepKind::verify) KeepOp::create(builder_, loc_, bx, symbol("kept_x"));
    Value y = causalConv(bx, rows, ActivationKind::none, linear(x, "conv_c", hidden));
    return linear(y, "out_proj", hidden);
  }

  Value stateSpace(Value x, Value rows) {
    const StateSpace& s = spec_.state_space;
    Value z = activation(linear(x, "in_proj_z", s.innerSize()), ActivationKind::silu);
    Value xbc = linear(x, "in_proj_xbc", s.convSize());
    Value dt = linear(x, "in_proj_dt", s.num_heads);
    if (kind_ == StepKind::verify)
      for (auto [value, name] : {std::pair(xbc, "kept_xbc"), {dt, "kept_dt"}})
        KeepOp::create(builder_, loc_, value, symbol(name));
    Value y = stateSpaceRule(xbc, dt, rows, z);
    // Each group by itself.
    if (s.num_groups == 1)
      y = rmsNorm(y, "state_space_norm");
    else
      y = QkNormOp::create(builder_, loc_, y.getType(), y, weight("state_space_norm"), UnitAttr(),
                           number(spec_.rms_norm_eps),
                           builder_.getI64IntegerAttr(s.innerSize() / s.num_groups));
    return linear(y, "out_proj", spec_.hidden_size);
  }
  /// What takes the tokens into the states of a layer.
  Value stateSpaceRule(Value xbc, Value dt, Value rows, Value gate) {
    const StateSpace& s = spec_.state_space;
    const auto bound = [&](std::optional<double> step) {
      return step ? number(*step) : FloatAttr();
    };
    Value c = causalConv(xbc, rows, ActivationKind::silu);
    return SsdOp::create(builder_, loc_, rowsOf(s.innerSize()), c, dt, rows, symbol("ssm"),
                         weight("a_log"), s.stores_rates ? builder_.getUnitAttr() : UnitAttr(),
                         weight("dt_bias"), weight("d"), bound(s.least_step), bound(s.most_step),
                         gate);
  }

  Value delta(Value x, Value rows) {
    const Delta& d = spec_.delta;
    Value qkv = optional("in_proj_qkv") ? linear(x, "in_proj_qkv", d.qkvSize()) : deltaParts(x);
    Value a = linear(x, "in_proj_a", d.num_value_heads);
    Value b = linear(x, "in_proj_b", d.num_value_heads);
    if (kind_ == StepKind::verify)
      for (auto [value, name] : {std::pair(qkv, "kept_qkv"), {a, "kept_a"}, {b, "kept_b"}})
        KeepOp::create(builder_, loc_, value, symbol(name));
    Value y = deltaRule(qkv, a, b, rows);
    y = QkNormOp::create(builder_, loc_, y.getType(), y, weight("delta_norm"), UnitAttr(),
                         number(spec_.rms_norm_eps), builder_.getI64IntegerAttr(d.value_dim));
    Value z = activation(linear(x, "in_proj_z", d.valueSize()), ActivationKind::silu);
    return linear(mul(y, z), "out_proj", spec_.hidden_size);
  }
  /// q, k and v of projections of their own.
  Value deltaParts(Value x) {
    const Delta& d = spec_.delta;
    const auto concat = [&](Value a, Value b, int64_t width) -> Value {
      return ConcatOp::create(builder_, loc_, rowsOf(width), a, b, builder_.getI64IntegerAttr(1));
    };
    Value q = linear(x, "in_proj_q", d.keySize()), k = linear(x, "in_proj_k", d.keySize());
    Value v = linear(x, "in_proj_v", d.valueSize());
    return concat(concat(q, k, 2 * d.keySize()), v, d.qkvSize());
  }
  /// What takes the tokens into the states of a layer.
  Value deltaRule(Value qkv, Value a, Value b, Value rows) {
    constexpr double kEps = 1e-6;  // of the norms of q and k, which the modelling code gives
    Value c = causalConv(qkv, rows, activationKind(spec_.activation));
    return GatedDeltaOp::create(builder_, loc_, rowsOf(spec_.delta.valueSize()), c, a, b, rows,
                                symbol("delta"), weight("a_log"), weight("dt_bias"), number(kEps),
                                spec_.form.delta_tiled ? builder_.getUnitAttr() : UnitAttr());
  }

  /// down(act(gate) * up), in a model whose MLPs are not gated down(act(up)).
  Value glu(Value x, const std::string& gate, const std::string& up, const std::string& down,
            int64_t n) {
    const ActivationKind kind = activationKind(spec_.activation);
    if (!spec_.form.gated)
      return linear(activation(linear(x, up, n), kind), down, spec_.hidden_size);
    Value g = linear(x, gate, n), u = linear(x, up, n);
    return linear(mul(activation(g, kind), u), down, spec_.hidden_size);
  }

  /// Of the residual stream `r`, whose norm the MLP reads is `x`.
  Value mlp(Value x, Value r, const LayerForm& form) {
    switch (form.mlp) {
      case Mlp::kNone:
        break;
      case Mlp::kDense:
        return denseMlp(x, form.intermediate_size);
      case Mlp::kExperts:
        return expertMlp(x, x);
      case Mlp::kBoth: {
        Value dense = norm(denseMlp(x, form.intermediate_size), "dense_out_norm");
        return add(dense, norm(expertMlp(norm(r, "expert_norm"), r), "expert_out_norm"));
      }
    }
    llvm_unreachable("a layer without an MLP");
  }

  Value denseMlp(Value x, int64_t n) { return glu(x, "gate_proj", "up_proj", "down_proj", n); }

  /// `r`: what a router that has a norm of its own reads.
  Value expertMlp(Value x, Value r) {
    const Experts& e = spec_.experts;
    auto integer = [&](int64_t value) { return builder_.getI64IntegerAttr(value); };
    auto bias = [&](const std::string& role) { return optional(biasSymbol(role)); };
    const bool normed = optional("router_norm") != nullptr;
    Value scores = LinearOp::create(builder_, loc_, rowsOf(e.num_experts),
                                    normed ? rmsNorm(r, "router_norm") : x, weight("router"));
    // Such a router divides its norm by the root of its length.
    if (normed) scores = scale(scores, 1 / std::sqrt(static_cast<double>(spec_.hidden_size)));
    if (FlatSymbolRefAttr b = bias("router"))
      scores = BiasOp::create(builder_, loc_, scores.getType(), scores, b);
    Value route =
        RouteOp::create(builder_, loc_, rowsOf(2 * e.top_k), scores, integer(e.top_k),
                        RouteScoringAttr::get(builder_.getContext(), routeScoring(e.scoring)),
                        e.normalize ? builder_.getUnitAttr() : UnitAttr(), number(e.scale),
                        optional("choice"), integer(e.num_groups), integer(e.keep_groups),
                        integer(e.group_top), optional("expert_scale"));
    const ActivationKind kind = activationKind(e.activation.value_or(spec_.activation));
    const int64_t width = e.latent_size > 0 ? e.latent_size : spec_.hidden_size;
    Value in = e.latent_size > 0 ? linear(x, "latent_down", width) : x;
    // Without a gate the one matrix takes its place.
    const std::string first = spec_.form.gated ? "expert_gate" : "expert_up";
    Value hidden = ExpertGluOp::create(
        builder_, loc_, rowsOf(e.top_k * e.intermediate_size), in, route, weight(first),
        spec_.form.gated ? weight("expert_up") : FlatSymbolRefAttr(), bias(first),
        spec_.form.gated ? bias("expert_up") : FlatSymbolRefAttr(),
        ActivationKindAttr::get(builder_.getContext(), kind), number(e.limit));
    Value y = ExpertDownOp::create(builder_, loc_, rowsOf(width), hidden, route,
                                   weight("expert_down"), bias("expert_down"));
    if (e.latent_size > 0) y = linear(y, "latent_up", spec_.hidden_size);
    if (e.shared_intermediate_size == 0) return y;
    Value shared = glu(x, "shared_gate", "shared_up", "shared_down", e.shared_intermediate_size);
    if (e.shared_gate) {
      Value share = activation(linear(x, "shared_weight", 1), ActivationKind::sigmoid);
      shared = ScaleRowsOp::create(builder_, loc_, shared.getType(), shared, share);
    }
    return add(y, shared);
  }

  /// What attention or MLP gives, on its way to the residual stream.
  Value joined(Value h, Value y, const std::string& outNorm) {
    if (spec_.form.post_norm) y = norm(y, outNorm);
    if (spec_.residual_scale != 1.0) y = scale(y, spec_.residual_scale);
    return add(h, y);
  }

  /// One decoder layer over the residual stream `h`.
  Value layer(Value h, Value rows, Value perLayer, const LayerForm& form) {
    const Form& model = spec_.form;
    auto input = [&](Value x, const char* name) { return model.pre_norm ? norm(x, name) : x; };
    Value r = h;
    if (form.mixer != Mixer::kNone)
      r = joined(h, mixer(input(h, "input_norm"), rows, form), "attention_out_norm");
    if (form.mlp == Mlp::kNone) return finished(ofOneHalf(r), perLayer);
    // Each half has a norm of its own even where they share the weights: so both can be fused.
    Value n =
        input(model.parallel ? h : r, model.shared_norm ? "input_norm" : "post_attention_norm");
    Value y = joined(r, mlp(n, r, form), "mlp_out_norm");
    return finished(form.mixer == Mixer::kNone ? ofOneHalf(y) : y, perLayer);
  }
  /// The residual stream after a layer of one half. It lives in one buffer, which one phase cannot
  /// both read and write: the sum is made elsewhere and brought back by a factor of 1.
  Value ofOneHalf(Value y) { return ScaleOp::create(builder_, loc_, y.getType(), y, number(1.0)); }
  /// What some layers end with: what they know of the token, and a number of their own.
  Value finished(Value h, Value perLayer) {
    if (perLayer) {
      const int64_t size = spec_.per_layer_size;
      Value gate =
          activation(linear(h, "per_layer_input_gate", size), activationKind(spec_.activation));
      Value own = LayerSliceOp::create(builder_, loc_, rowsOf(size), perLayer);
      Value y = linear(mul(gate, own), "per_layer_projection", spec_.hidden_size);
      h = add(h, norm(y, "post_per_layer_input_norm"));
    }
    if (spec_.form.layer_scale)
      h = ScaleByOp::create(builder_, loc_, h.getType(), h, weight("layer_scale"));
    return h;
  }

  /// What each layer knows of a token: half from a table, half from the embedding `x`.
  Value perLayerInputs(Value x, Value rows) {
    const int64_t size = spec_.per_layer_size, all = spec_.num_layers * size;
    Value known = EmbedOp::create(builder_, loc_, rowsOf(all), rows,
                                  weight("embed_tokens_per_layer"), FlatSymbolRefAttr(),
                                  number(spec_.trainedScale(std::sqrt(static_cast<double>(size)))));
    Value y = linear(x, "per_layer_model_projection", all);
    y = scale(y, 1 / std::sqrt(static_cast<double>(spec_.hidden_size)));
    y = QkNormOp::create(builder_, loc_, y.getType(), y, weight("per_layer_projection_norm"),
                         UnitAttr(), number(spec_.rms_norm_eps), builder_.getI64IntegerAttr(size));
    return scale(add(y, known), std::sqrt(0.5));
  }

  /// Whether weights of layers begin at `layer`.
  bool beginsWeights(int64_t layer) const {
    return llvm::any_of(
        weights_, [&](const ModelWeight& w) { return w.num_layers > 0 && w.first_layer == layer; });
  }

  void entry(StringRef name, StepKind kind, int64_t maxRows) {
    kind_ = kind;
    auto entry = EntryOp::create(builder_, loc_, name, kind, maxRows);
    OpBuilder::InsertionGuard guard(builder_);
    Block& block = entry.getBody().emplaceBlock();
    Value rows = block.addArgument(RowsType::get(builder_.getContext()), loc_);
    builder_.setInsertionPointToEnd(&block);

    RankedTensorType residual = rowsOf(spec_.hidden_size);
    Value x = EmbedOp::create(builder_, loc_, residual, rows, weight("embed_tokens"),
                              optional("positions"), number(spec_.embeddingScale()));
    Value perLayer = spec_.per_layer_size > 0 ? perLayerInputs(x, rows) : Value();
    for (int64_t first = 0; first < spec_.num_layers;) {
      const LayerForm form = layerForm(first);
      int64_t end = first + 1;
      while (end < spec_.num_layers && layerForm(end) == form && !beginsWeights(end)) ++end;
      layer_ = first;
      auto layers = LayersOp::create(builder_, loc_, residual, x, first, end - first);
      OpBuilder::InsertionGuard bodyGuard(builder_);
      Block& body = layers.getBody().emplaceBlock();
      Value h = body.addArgument(residual, loc_);
      builder_.setInsertionPointToEnd(&body);
      YieldOp::create(builder_, loc_, layer(h, rows, perLayer, form));
      x = layers.getResult();
      first = end;
    }
    // What a step of @mtp reads of this one: the normed row (vLLM, qwen3_5_mtp.py,
    // deepseek_mtp.py).
    Value n = norm(x, "norm");
    returned(logits(n, rows), spec_.mtp.compiled ? n : Value());
  }
  Value logits(Value x, Value rows) {
    FlatSymbolRefAttr head = in_mtp_ ? optional("lm_head") : FlatSymbolRefAttr();
    if (!head) head = ownOrModels(spec_.tie_word_embeddings ? "embed_tokens" : "lm_head");
    return LogitsOp::create(builder_, loc_, rowsOf(spec_.vocab_size), x, rows, head,
                            ownOrModels(biasSymbol("lm_head")), number(spec_.logit_scale),
                            number(spec_.logit_softcap));
  }
  void returned(Value logits, Value hidden) {
    SmallVector<Value> values = {logits};
    if (hidden) values.push_back(hidden);
    ReturnOp::create(builder_, loc_, values);
  }

  /// The MTP block: the embedding of a token beside the hidden row of the one before it, one layer,
  /// and logits of the token that follows.
  void mtp() {
    kind_ = StepKind::mtp;
    const llvm::SaveAndRestore<bool> inMtp(in_mtp_, true);
    auto entry = EntryOp::create(builder_, loc_, "mtp", kind_, kDecodeMaxRows);
    OpBuilder::InsertionGuard guard(builder_);
    Block& block = entry.getBody().emplaceBlock();
    Value rows = block.addArgument(RowsType::get(builder_.getContext()), loc_);
    builder_.setInsertionPointToEnd(&block);

    const int64_t width = spec_.hidden_size;
    RankedTensorType residual = rowsOf(width);
    Value x = EmbedOp::create(builder_, loc_, residual, rows, ownOrModels("embed_tokens"),
                              FlatSymbolRefAttr(), number(spec_.embeddingScale()));
    Value e = norm(x, "embedding_norm");
    Value h = norm(HiddenOp::create(builder_, loc_, residual, rows), "hidden_norm");
    Value both =
        ConcatOp::create(builder_, loc_, rowsOf(2 * width), e, h, builder_.getI64IntegerAttr(1));
    Value y = linear(both, "eh_proj", width);
    auto layers = LayersOp::create(builder_, loc_, residual, y, 0, 1);
    {
      OpBuilder::InsertionGuard bodyGuard(builder_);
      Block& body = layers.getBody().emplaceBlock();
      Value in = body.addArgument(residual, loc_);
      builder_.setInsertionPointToEnd(&body);
      YieldOp::create(builder_, loc_, layer(in, rows, Value(), spec_.mtpForm()));
    }
    Value n = norm(layers.getResult(), "norm");
    returned(logits(n, rows), spec_.form.mtp_chains_norm ? n : layers.getResult());
  }

  /// The accepted rows of a verify step, taken into the states of a layer.
  void commitRows(Value rows, const LayerForm& form) {
    const auto kept = [&](const char* name, int64_t width) -> Value {
      return KeptOp::create(builder_, loc_, rowsOf(width), rows, symbol(name));
    };
    switch (form.mixer) {
      case Mixer::kNone:
        return;
      case Mixer::kAttention:
        if (!form.heads.shares_kv) KvMoveOp::create(builder_, loc_, rows, kvState(form));
        return;
      case Mixer::kDelta: {
        const Delta& d = spec_.delta;
        Value qkv = kept("kept_qkv", d.qkvSize());
        Value a = kept("kept_a", d.num_value_heads), b = kept("kept_b", d.num_value_heads);
        deltaRule(qkv, a, b, rows);
        return;
      }
      case Mixer::kConv:
        causalConv(kept("kept_x", spec_.hidden_size), rows, ActivationKind::none);
        return;
      case Mixer::kStateSpace: {
        const StateSpace& s = spec_.state_space;
        Value xbc = kept("kept_xbc", s.convSize()), dt = kept("kept_dt", s.num_heads);
        stateSpaceRule(xbc, dt, rows, {});
        return;
      }
    }
  }
  /// Whether the two commit alike. Paged states read no weights.
  bool commitAlike(int64_t first, int64_t layer) {
    const LayerForm a = layerForm(first), b = layerForm(layer);
    if (a.mixer != b.mixer) return false;
    if (a.mixer == Mixer::kAttention)
      return a.heads.shares_kv == b.heads.shares_kv && kvState(a) == kvState(b);
    return !beginsWeights(layer);
  }

  void commit(int64_t maxRows) {
    auto entry = EntryOp::create(builder_, loc_, "commit", StepKind::commit, maxRows);
    OpBuilder::InsertionGuard guard(builder_);
    Block& block = entry.getBody().emplaceBlock();
    Value rows = block.addArgument(RowsType::get(builder_.getContext()), loc_);
    builder_.setInsertionPointToEnd(&block);
    for (int64_t first = 0; first < spec_.num_layers;) {
      int64_t end = first + 1;
      while (end < spec_.num_layers && commitAlike(first, end)) ++end;
      layer_ = first;
      auto layers =
          LayersOp::create(builder_, loc_, /*result=*/Type(), /*init=*/Value(), first, end - first);
      OpBuilder::InsertionGuard bodyGuard(builder_);
      builder_.setInsertionPointToEnd(&layers.getBody().emplaceBlock());
      commitRows(rows, layerForm(first));
      YieldOp::create(builder_, loc_, ValueRange());
      first = end;
    }
    ReturnOp::create(builder_, loc_, ValueRange());
  }

  /// Windows that no sequence can outgrow make no difference, but for which state is a layer's.
  LayerForm layerForm(int64_t layer) {
    LayerForm form = spec_.layerForm(layer);
    const bool apart = spec_.full_heads || spec_.num_kv_shared_layers > 0;
    if (form.window >= options_.maxSeqLen && !apart) form.window = 0;
    return form;
  }

  const ModelSpec& spec_;
  const ImportOptions& options_;
  OpBuilder builder_;
  Location loc_;
  const std::vector<ModelWeight> weights_ = modelWeights(spec_);
  int64_t layer_ = 0;                 // first of those that are being built
  StepKind kind_ = StepKind::decode;  // of the entry that is being built
  bool in_mtp_ = false;               // what is being built is the MTP block's
};

}  // namespace

llmrt::DType defaultKvDtype(const ModelSpec& spec, llmrt::DType dtype) {
  return spec.isQuantized() ? llmrt::DType::kF16 : dtype;
}

Type elementType(MLIRContext& context, llmrt::DType dtype) {
  switch (dtype) {
    case llmrt::DType::kF32:
      return Float32Type::get(&context);
    case llmrt::DType::kF16:
      return Float16Type::get(&context);
    case llmrt::DType::kBF16:
      return BFloat16Type::get(&context);
    default:
      llvm_unreachable("weights and caches are imported as floats");
  }
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
  if (spec.learned_positions && options.maxSeqLen > spec.max_position_embeddings) {
    emitError(UnknownLoc::get(&context))
        << "max_seq_len is " << options.maxSeqLen << ", but the model has "
        << spec.max_position_embeddings << " learned positions";
    return {};
  }
  return Importer(context, spec, options).run();
}

}  // namespace llmc
