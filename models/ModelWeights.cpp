// The weights of a model: what the form of its layers needs, and where its checkpoints hold it.
#include <algorithm>
#include <set>
#include <type_traits>
#include <utility>

#include "models/ModelSpec.h"
#include "runtime/io/tensor_name.h"

namespace llmc {
namespace {

using Kind = ModelWeight::Kind;

constexpr std::string_view kBiasSuffix = "_bias";  // of symbols

/// Rows of a stored tensor: `run` of them every `stride`, from `begin` on; of each run the first
/// `pairs` rows lie as pairs (see llmrt::WeightView).
struct RowsAt {
  int64_t total = 0;  // rows of the stored tensor
  int64_t begin = 0, run = 0, stride = 0;
  int64_t pairs = 0;
};

/// A bias is called for its weight: "up_proj_4_bias".
std::string withSuffix(std::string role, const std::string& suffix) {
  const size_t bias = role.ends_with(kBiasSuffix) ? kBiasSuffix.size() : 0;
  return role.insert(role.size() - bias, suffix);
}
std::string suffixOf(int64_t layer) { return std::string("_").append(std::to_string(layer)); }

// Whether layers of two kinds have weights of one role.
bool shareRoles(bool a, bool b) { return a == b; }
bool shareRoles(const std::pair<Mixer, Heads>& a, const std::pair<Mixer, Heads>& b) {
  return a.first == b.first;
}
bool shareRoles(const std::pair<Mlp, int64_t>& a, const std::pair<Mlp, int64_t>& b) {
  return a.first == b.first || a.first == Mlp::kBoth || b.first == Mlp::kBoth;
}

/// All layers, in their order, as runs of which kindOf(layerForm) is the same.
template <typename F>
auto layerRuns(const ModelSpec& spec, F&& kindOf) {
  using Kind = std::invoke_result_t<F, const LayerForm&>;
  std::vector<LayerRun<Kind>> runs;
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    const Kind kind = kindOf(spec.layerForm(layer));
    if (runs.empty() || runs.back().kind != kind) {
      const bool again = std::ranges::any_of(
          runs, [&](const LayerRun<Kind>& run) { return shareRoles(run.kind, kind); });
      runs.push_back({.first_layer = layer, .kind = kind, .suffix = again ? suffixOf(layer) : ""});
    }
    ++runs.back().num_layers;
  }
  return runs;
}

class Lister {
 public:
  explicit Lister(const ModelSpec& spec) : spec_(spec), form_(spec.form), names_(spec.form.names) {}

  std::vector<ModelWeight> list() {
    matrix("embed_tokens", std::string(names_.embed), spec_.vocab_size, spec_.hidden_size);
    if (spec_.learned_positions)
      matrix("positions", std::string(names_.positions), spec_.max_position_embeddings,
             spec_.hidden_size);
    if (spec_.per_layer_size > 0) perLayerTable();
    const auto mixes = [](const LayerForm& form) { return form.mixer != Mixer::kNone; };
    const auto has_mlp = [](const LayerForm& form) { return form.mlp != Mlp::kNone; };
    if (form_.pre_norm) layerNorms("input_norm", names_.input_norm, mixes);
    for (const auto& run : mixerRuns(spec_)) {
      enter(run);
      mixer(run.kind.first, run.kind.second);
    }
    if (form_.post_norm) layerNorms("attention_out_norm", names_.attention_out_norm, mixes);
    if (form_.pre_norm && !form_.shared_norm)
      layerNorms("post_attention_norm", names_.mlp_norm, has_mlp);
    for (const auto& run : mlpRuns(spec_)) {
      enter(run);
      mlp(run.kind.first, run.kind.second);
    }
    if (form_.post_norm) layerNorms("mlp_out_norm", names_.mlp_out_norm, has_mlp);
    first_ = 0;
    count_ = spec_.num_layers;
    suffix_.clear();
    if (spec_.per_layer_size > 0) perLayerInput();
    if (form_.layer_scale) vector("layer_scale", Kind::kNorm, std::string(names_.layer_scale), 1);
    leaveLayers();
    norm("norm", names_.norm);
    if (!spec_.tie_word_embeddings)
      matrix("lm_head", std::string(names_.lm_head), spec_.vocab_size, spec_.hidden_size);
    if (spec_.lm_head_bias)
      vector(biasSymbol("lm_head"), Kind::kBias, std::string(names_.lm_head) + ".bias",
             spec_.vocab_size);
    if (spec_.mtp.compiled) mtp();
    return std::move(out_);
  }

 private:
  /// What is added next is of these layers.
  template <typename Kind>
  void enter(const LayerRun<Kind>& run) {
    first_ = run.first_layer;
    count_ = run.num_layers;
    suffix_ = run.suffix;
  }
  void leaveLayers() {
    first_ = count_ = 0;
    suffix_.clear();
  }

  ModelWeight& add(std::string symbol, Kind kind, std::string source, int64_t rows, int64_t cols) {
    ModelWeight w;
    w.role = std::move(symbol);
    w.symbol = in_mtp_ ? "mtp_" + w.role : withSuffix(w.role, suffix_);
    w.of_mtp = in_mtp_;
    w.kind = kind;
    w.source = (count_ > 0 ? std::string(names_.layer) : mtp_layer_) + source;
    w.rows = rows;
    w.cols = cols;
    w.first_layer = count_ > 0 ? first_ : 0;
    w.num_layers = count_;
    return out_.emplace_back(std::move(w));
  }
  ModelWeight& vector(std::string symbol, Kind kind, std::string source, int64_t rows) {
    return add(std::move(symbol), kind, std::move(source), rows, 1);
  }
  ModelWeight& matrix(std::string symbol, std::string name, int64_t rows, int64_t cols) {
    return add(std::move(symbol), Kind::kMatrix, std::move(name) + ".weight", rows, cols);
  }

  void norm(std::string symbol, std::string_view name) {
    const std::string source(name);
    normOf(std::move(symbol), source, spec_.hidden_size);
  }
  /// Of the layers that have what is normed.
  void layerNorms(const char* symbol, std::string_view name, bool (*has)(const LayerForm&)) {
    for (const auto& run : layerRuns(spec_, has)) {
      if (!run.kind) continue;
      enter(run);
      norm(symbol, name);
    }
  }
  void normOf(const std::string& symbol, const std::string& name, int64_t size) {
    if (!form_.norm_weight) return;
    vector(symbol, Kind::kNorm, name + ".weight", size).plus = form_.norm_plus;
    if (form_.norm_bias) vector(biasSymbol(symbol), Kind::kBias, name + ".bias", size);
  }

  /// A projection [rows, cols] in the rows `at` of the stored tensor, and its bias.
  void projection(const std::string& symbol, std::string_view name, int64_t rows, int64_t cols,
                  bool bias, RowsAt at = {}) {
    if (at.total == 0) at = {.total = rows, .run = rows, .stride = rows};
    const bool whole = at.total == rows && at.pairs == 0 && at.begin == 0 && at.stride == at.run;
    ModelWeight& w = matrix(symbol, std::string(name), rows, cols);
    if (form_.transposed)
      w.view = {.stored = {cols, at.total},
                .begin = at.begin,
                .run = at.run,
                .outer = at.stride,
                .inner = 1,
                .col = at.total,
                .pair_size = at.pairs};
    else if (!whole)
      w.view = {.stored = {at.total, cols},
                .begin = at.begin * cols,
                .run = at.run,
                .outer = at.stride * cols,
                .inner = cols,
                .col = 1,
                .pair_size = at.pairs};
    if (!bias) return;
    ModelWeight& b = vector(biasSymbol(symbol), Kind::kBias, std::string(name) + ".bias", rows);
    if (!whole)
      b.view = {.stored = {at.total},
                .begin = at.begin,
                .run = at.run,
                .outer = at.stride,
                .inner = 1,
                .col = 1,
                .pair_size = at.pairs};
  }

  void mtp() {
    in_mtp_ = true;
    const auto at = [&](std::string_view name) {
      return llmrt::tensorName(std::string(name), spec_.num_layers, 0);
    };
    const int64_t hidden = spec_.hidden_size;
    if (spec_.mtp.own_embeddings)
      matrix("embed_tokens", at(names_.mtp_embed), spec_.vocab_size, hidden);
    norm("embedding_norm", at(names_.mtp_embedding_norm));
    norm("hidden_norm", at(names_.mtp_hidden_norm));
    matrix("eh_proj", at(names_.mtp_proj), hidden, 2 * hidden);
    mtp_layer_ = at(names_.mtp_layer);
    const LayerForm form = spec_.mtpForm();
    norm("input_norm", names_.input_norm);
    mixer(form.mixer, form.heads);
    norm("post_attention_norm", names_.mlp_norm);
    mlp(form.mlp, form.intermediate_size);
    mtp_layer_.clear();
    norm("norm", at(names_.mtp_norm));
    if (spec_.mtp.own_lm_head) matrix("lm_head", at(names_.mtp_lm_head), spec_.vocab_size, hidden);
  }

  // What each layer knows of a token: columns of one table and of one projection.
  void perLayerTable() {
    const int64_t all = spec_.num_layers * spec_.per_layer_size;
    matrix("embed_tokens_per_layer", "model.embed_tokens_per_layer", spec_.vocab_size, all);
    projection("per_layer_model_projection", "model.per_layer_model_projection", all,
               spec_.hidden_size, false);
    normOf("per_layer_projection_norm", "model.per_layer_projection_norm", spec_.per_layer_size);
  }
  void perLayerInput() {
    const int64_t hidden = spec_.hidden_size, size = spec_.per_layer_size;
    projection("per_layer_input_gate", "per_layer_input_gate", size, hidden, false);
    projection("per_layer_projection", "per_layer_projection", hidden, size, false);
    normOf("post_per_layer_input_norm", "post_per_layer_input_norm", hidden);
  }

  void mixer(Mixer kind, const Heads& heads) {
    switch (kind) {
      case Mixer::kNone:
        return;
      case Mixer::kAttention:
        return spec_.latent.kv_rank > 0 ? latentAttention() : attention(heads);
      case Mixer::kDelta:
        return delta();
      case Mixer::kConv:
        return shortConv();
      case Mixer::kStateSpace:
        return stateSpace();
    }
  }

  void attention(const Heads& heads) {
    const int64_t hidden = spec_.hidden_size, q = spec_.qSize(heads), kv = ModelSpec::kvSize(heads);
    const int64_t head = heads.dim, pairs = form_.rope_pairs ? spec_.rope.dim : 0;
    const int64_t all = q + 2 * kv, group = spec_.num_heads / heads.num_kv_heads * head;
    RowsAt of_q, of_k, of_v;
    switch (form_.qkv) {
      case QkvLayout::kSeparate:
        if (pairs > 0) {
          of_q = {.total = q, .run = head, .stride = head, .pairs = pairs};
          of_k = {.total = kv, .run = head, .stride = head, .pairs = pairs};
        }
        if (form_.output_gate)
          of_q = {.total = 2 * q, .run = head, .stride = 2 * head, .pairs = pairs};
        break;
      case QkvLayout::kConcat: {
        // Without pairs, all rows are one run.
        const int64_t q_run = pairs > 0 ? head : q, k_run = pairs > 0 ? head : kv;
        of_q = {.total = all, .run = q_run, .stride = q_run, .pairs = pairs};
        of_k = {.total = all, .begin = q, .run = k_run, .stride = k_run, .pairs = pairs};
        of_v = {.total = all, .begin = q + kv, .run = kv, .stride = kv};
        break;
      }
      case QkvLayout::kByHead:
        of_q = {.total = all, .run = head, .stride = 3 * head, .pairs = pairs};
        of_k = {.total = all, .begin = head, .run = head, .stride = 3 * head, .pairs = pairs};
        of_v = {.total = all, .begin = 2 * head, .run = head, .stride = 3 * head};
        break;
      case QkvLayout::kByGroup: {
        const int64_t stride = group + 2 * head;
        of_q = {.total = all, .run = group, .stride = stride};
        of_k = {.total = all, .begin = group, .run = head, .stride = stride, .pairs = pairs};
        of_v = {.total = all, .begin = group + head, .run = head, .stride = stride};
        break;
      }
    }
    const bool fused = form_.qkv != QkvLayout::kSeparate;
    projection("q_proj", fused ? names_.qkv : names_.q, q, hidden, spec_.qkv_bias, of_q);
    if (!heads.shares_kv)
      projection("k_proj", fused ? names_.qkv : names_.k, kv, hidden, spec_.qkv_bias, of_k);
    if (!heads.shares_kv && !heads.key_is_value)
      projection("v_proj", fused ? names_.qkv : names_.v, kv, hidden, spec_.qkv_bias, of_v);
    if (form_.qk_norm != QkNorm::kNone) {
      qkNorm("q_norm", names_.q_norm, q, head);
      if (!heads.shares_kv) qkNorm("k_norm", names_.k_norm, kv, head);
    }
    if (form_.output_gate)
      projection("output_gate", names_.q, q, hidden, spec_.qkv_bias,
                 {.total = 2 * q, .begin = head, .run = head, .stride = 2 * head});
    if (form_.head_gate) projection("head_gate", names_.head_gate, spec_.num_heads, hidden, false);
    if (form_.sinks) vector("sinks", Kind::kBias, "self_attn.sinks", spec_.num_heads);
    projection("o_proj", names_.o, hidden, q, spec_.o_bias);
  }

  void qkNorm(const std::string& symbol, std::string_view name, int64_t width, int64_t head) {
    const bool shared = form_.qk_norm == QkNorm::kHead;
    ModelWeight& w =
        vector(symbol, Kind::kNorm, std::string(name) + ".weight", shared ? head : width);
    w.plus = form_.norm_plus;
    if (form_.qk_norm == QkNorm::kHeadLayer)
      w.view = {.stored = {width / head, head},
                .run = head,
                .outer = head,
                .inner = 1,
                .col = 1,
                .pair_size = form_.rope_pairs ? spec_.rope.dim : 0};
  }

  // The two in one tensor, head by head.
  void latentUpProjections() {
    const Latent& l = spec_.latent;
    const int64_t heads = spec_.num_heads, rank = l.kv_rank, kv_head = l.nope_dim + l.value_dim;
    const std::vector<int64_t> kv_b = {heads * kv_head, rank};
    // k_up is transposed: its rows are the stored columns.
    matrix("k_up", "self_attn.kv_b_proj", heads * rank, l.nope_dim).view = {
        .stored = kv_b, .run = rank, .outer = kv_head * rank, .inner = 1, .col = rank};
    matrix("v_up", "self_attn.kv_b_proj", heads * l.value_dim, rank).view = {
        .stored = kv_b,
        .begin = l.nope_dim * rank,
        .run = l.value_dim,
        .outer = kv_head * rank,
        .inner = rank,
        .col = 1};
  }

  // The up-projection of keys is applied to queries and that of values to what attention gives, so
  // that the cache holds latents (arXiv 2405.04434, 2.1.2).
  void latentAttention() {
    const Latent& l = spec_.latent;
    const int64_t hidden = spec_.hidden_size, heads = spec_.num_heads, rank = l.kv_rank;
    const int64_t q_head = l.nope_dim + l.rope_dim;
    const int64_t pairs = form_.rope_pairs ? l.rope_dim : 0;
    std::string_view q_name = names_.q;
    int64_t q_cols = hidden;
    if (l.q_rank > 0) {
      projection("q_a", "self_attn.q_a_proj", l.q_rank, hidden, false);
      normOf("q_a_norm", "self_attn.q_a_layernorm", l.q_rank);
      q_name = "self_attn.q_b_proj";
      q_cols = l.q_rank;
    }
    projection("q_nope", q_name, heads * l.nope_dim, q_cols, false,
               {.total = heads * q_head, .run = l.nope_dim, .stride = q_head});
    projection("q_rope", q_name, heads * l.rope_dim, q_cols, false,
               {.total = heads * q_head,
                .begin = l.nope_dim,
                .run = l.rope_dim,
                .stride = q_head,
                .pairs = pairs});
    const std::string_view kv_a = "self_attn.kv_a_proj_with_mqa";
    projection("kv_a", kv_a, rank, hidden, false,
               {.total = rank + l.rope_dim, .run = rank, .stride = rank});
    normOf("kv_a_norm", "self_attn.kv_a_layernorm", rank);
    projection("k_rope", kv_a, l.rope_dim, hidden, false,
               {.total = rank + l.rope_dim,
                .begin = rank,
                .run = l.rope_dim,
                .stride = l.rope_dim,
                .pairs = pairs});
    if (form_.latent_parts) {
      projection("k_up", "self_attn.k_b_proj", heads * rank, l.nope_dim, false);
      projection("v_up", "self_attn.v_b_proj", heads * l.value_dim, rank, false);
    } else {
      latentUpProjections();
    }
    projection("o_proj", names_.o, hidden, heads * l.value_dim, false);
  }

  void delta() {
    const Delta& d = spec_.delta;
    const std::string prefix(names_.delta);
    const int64_t hidden = spec_.hidden_size, heads = d.num_value_heads;
    if (form_.delta_by_group) {
      deltaByGroup(prefix);
    } else {
      projection("in_proj_qkv", prefix + "in_proj_qkv", d.qkvSize(), hidden, false);
      projection("in_proj_z", prefix + "in_proj_z", d.valueSize(), hidden, false);
    }
    if (form_.delta_gates_by_group) {
      const int64_t each = heads / d.num_key_heads;
      group("in_proj_b", prefix + "in_proj_ba", 0, each, 2 * each);
      group("in_proj_a", prefix + "in_proj_ba", each, each, 2 * each);
    } else {
      projection("in_proj_a", prefix + "in_proj_a", heads, hidden, false);
      projection("in_proj_b", prefix + "in_proj_b", heads, hidden, false);
    }
    conv("conv1d", prefix + "conv1d", d.conv_size, d.qkvSize());
    vector("a_log", Kind::kBias, prefix + "A_log", heads);
    vector("dt_bias", Kind::kBias, prefix + "dt_bias", heads);
    vector("delta_norm", Kind::kNorm, prefix + "norm.weight", d.value_dim);
    projection("out_proj", prefix + "out_proj", hidden, d.valueSize(), false);
  }

  void shortConv() {
    const int64_t hidden = spec_.hidden_size;
    const bool bias = spec_.short_conv.bias;
    const std::string prefix(names_.conv);
    int64_t begin = 0;
    for (const char* part : {"conv_b", "conv_c", "conv_x"}) {
      projection(part, prefix + "in_proj", hidden, hidden, bias,
                 {.total = 3 * hidden, .begin = begin, .run = hidden, .stride = hidden});
      begin += hidden;
    }
    conv("conv1d", prefix + "conv", spec_.short_conv.size, hidden);
    if (bias) vector("conv1d_bias", Kind::kBias, prefix + "conv.bias", hidden);
    projection("out_proj", prefix + "out_proj", hidden, hidden, bias);
  }

  // in_proj has the rows of the gate, of x, B and C, and of the time steps.
  void stateSpace() {
    const StateSpace& s = spec_.state_space;
    const std::string prefix(names_.state_space);
    const int64_t hidden = spec_.hidden_size, total = s.innerSize() + s.convSize() + s.num_heads;
    int64_t begin = 0;
    for (const auto& [part, rows] : {std::pair{"in_proj_z", s.innerSize()},
                                     {"in_proj_xbc", s.convSize()},
                                     {"in_proj_dt", s.num_heads}}) {
      projection(part, prefix + "in_proj", rows, hidden, s.bias,
                 {.total = total, .begin = begin, .run = rows, .stride = rows});
      begin += rows;
    }
    conv("conv1d", prefix + "conv1d", s.conv_size, s.convSize());
    if (s.conv_bias) vector("conv1d_bias", Kind::kBias, prefix + "conv1d.bias", s.convSize());
    vector("a_log", Kind::kBias, prefix + (s.stores_rates ? "A" : "A_log"), s.num_heads);
    vector("dt_bias", Kind::kBias, prefix + "dt_bias", s.num_heads);
    vector("d", Kind::kBias, prefix + "D", s.num_heads);
    vector("state_space_norm", Kind::kNorm, prefix + "norm.weight", s.innerSize());
    projection("out_proj", prefix + "out_proj", hidden, s.innerSize(), s.bias);
  }

  // For each head of q and k: its q, its k, and v and z of the heads of v that share them.
  void deltaByGroup(const std::string& prefix) {
    const Delta& d = spec_.delta;
    const int64_t k = d.key_dim, v = d.valueSize() / d.num_key_heads, stride = 2 * (k + v);
    const std::string name = prefix + "in_proj_qkvz";
    group("in_proj_q", name, 0, k, stride);
    group("in_proj_k", name, k, k, stride);
    group("in_proj_v", name, 2 * k, v, stride);
    group("in_proj_z", name, 2 * k + v, v, stride);
  }
  /// The same rows of each group, a head of q and k with what goes with it.
  void group(const char* symbol, const std::string& name, int64_t begin, int64_t run,
             int64_t stride) {
    const int64_t groups = spec_.delta.num_key_heads;
    projection(symbol, name, groups * run, spec_.hidden_size, false,
               {.total = groups * stride, .begin = begin, .run = run, .stride = stride});
  }

  /// The factors of a convolution over `size` tokens, which are stored column by column.
  void conv(const std::string& symbol, std::string name, int64_t size, int64_t columns) {
    matrix(symbol, std::move(name), size, columns).view = {
        .stored = {columns, 1, size}, .run = size, .inner = 1, .col = size};
  }

  void mlp(Mlp kind, int64_t n) {
    switch (kind) {
      case Mlp::kNone:
        return;
      case Mlp::kDense:
        return denseMlp(n);
      case Mlp::kExperts:
        return expertMlp();
      case Mlp::kBoth:
        denseMlp(n);
        norm("dense_out_norm", names_.dense_out_norm);
        norm("expert_norm", names_.expert_norm);
        expertMlp();
        norm("expert_out_norm", names_.expert_out_norm);
        return;
    }
  }

  void denseMlp(int64_t n) {
    const int64_t hidden = spec_.hidden_size;
    const bool bias = spec_.mlp_bias;
    if (form_.fused_gate_up) {
      projection("gate_proj", names_.gate_up, n, hidden, bias,
                 {.total = 2 * n, .run = n, .stride = n});
      projection("up_proj", names_.gate_up, n, hidden, bias,
                 {.total = 2 * n, .begin = n, .run = n, .stride = n});
    } else {
      if (form_.gated) projection("gate_proj", names_.gate, n, hidden, bias);
      projection("up_proj", names_.up, n, hidden, bias);
    }
    projection("down_proj", names_.down, hidden, n, bias);
  }

  void expertMlp() {
    const Experts& e = spec_.experts;
    const int64_t hidden = spec_.hidden_size, n = e.intermediate_size;
    const int64_t width = e.latent_size > 0 ? e.latent_size : hidden;  // of the experts' input
    if (!names_.router_norm.empty())
      vector("router_norm", Kind::kNorm, std::string(names_.router_norm), hidden);
    projection("router", names_.router, e.num_experts, hidden, e.biases);
    if (!names_.expert_scale.empty())
      vector("expert_scale", Kind::kNorm, std::string(names_.expert_scale), e.num_experts);
    if (e.choice_bias)
      vector("choice", Kind::kBias,
             names_.choice.empty() ? std::string(names_.router) + ".e_score_correction_bias"
                                   : std::string(names_.choice),
             e.num_experts);
    if (e.latent_size > 0) {
      projection("latent_down", names_.latent_down, width, hidden, spec_.mlp_bias);
      projection("latent_up", names_.latent_up, hidden, width, spec_.mlp_bias);
    }
    switch (in_mtp_ ? spec_.mtp.experts : form_.experts) {
      case ExpertLayout::kEach:
        if (form_.gated) eachExpert("expert_gate", names_.expert_gate, n, width);
        eachExpert("expert_up", names_.expert_up, n, width);
        eachExpert("expert_down", names_.expert_down, width, n);
        break;
      case ExpertLayout::kStacked:
        stackedExperts();
        break;
      case ExpertLayout::kAlternating:
      case ExpertLayout::kAlternatingRows:
        alternatingExperts(form_.experts == ExpertLayout::kAlternatingRows);
        break;
    }
    if (e.shared_intermediate_size > 0) sharedExpert();
  }
  // An MLP of the model's form beside the experts.
  void sharedExpert() {
    const Experts& e = spec_.experts;
    const int64_t hidden = spec_.hidden_size, n = e.shared_intermediate_size;
    const std::string shared(names_.shared);
    const bool bias = spec_.mlp_bias && !form_.gated;
    if (!names_.shared_gate_up.empty()) {
      projection("shared_gate", names_.shared_gate_up, n, hidden, false,
                 {.total = 2 * n, .run = n, .stride = n});
      projection("shared_up", names_.shared_gate_up, n, hidden, false,
                 {.total = 2 * n, .begin = n, .run = n, .stride = n});
      projection("shared_down", names_.shared_down, hidden, n, false);
    } else {
      if (form_.gated) projection("shared_gate", shared + "gate_proj", n, hidden, false);
      projection("shared_up", shared + "up_proj", n, hidden, bias);
      projection("shared_down", shared + "down_proj", hidden, n, bias);
    }
    if (e.shared_gate)
      projection("shared_weight", shared.substr(0, shared.size() - 1) + "_gate", 1, hidden, false);
  }
  ModelWeight& expert(ModelWeight& w) {
    w.num_experts = spec_.experts.num_experts;
    return w;
  }

  /// A tensor of each expert, and its bias.
  void eachExpert(const std::string& symbol, std::string_view name, int64_t rows, int64_t cols) {
    expert(matrix(symbol, std::string(name), rows, cols));
    if (spec_.experts.biases)
      expert(vector(biasSymbol(symbol), Kind::kBias, std::string(name) + ".bias", rows));
  }

  /// One tensor of all experts, `rows` of the `total` that each has.
  void stackedExpert(const char* symbol, std::string_view name, int64_t rows, int64_t cols,
                     int64_t begin, int64_t total) {
    expert(add(symbol, Kind::kMatrix, std::string(name), rows, cols)).view = {
        .stored = {spec_.experts.num_experts, total, cols},
        .begin = begin * cols,
        .run = rows,
        .inner = cols,
        .col = 1,
        .expert = total * cols};
  }
  void stackedExperts() {
    const int64_t hidden = spec_.hidden_size, n = spec_.experts.intermediate_size;
    stackedExpert("expert_gate", names_.experts_gate_up, n, hidden, 0, 2 * n);
    stackedExpert("expert_up", names_.experts_gate_up, n, hidden, n, 2 * n);
    stackedExpert("expert_down", names_.experts_down, hidden, n, 0, hidden);
  }

  // gpt-oss: [experts, hidden, 2 n] with gate and up in alternate columns, [experts, n, hidden]; or
  // both the other way around, where rows are quantised.
  void alternatingExperts(bool in_rows) {
    const Experts& e = spec_.experts;
    const int64_t hidden = spec_.hidden_size, n = e.intermediate_size;
    const std::string both(names_.experts_gate_up), down(names_.experts_down);
    const auto stored = [&](int64_t inputs, int64_t outputs) -> std::vector<int64_t> {
      if (in_rows) return {e.num_experts, outputs, inputs};
      return {e.num_experts, inputs, outputs};
    };
    for (int64_t i = 0; i < 2; ++i) {
      const std::string symbol = i == 0 ? "expert_gate" : "expert_up";
      expert(add(symbol, Kind::kMatrix, both, n, hidden)).view = {.stored = stored(hidden, 2 * n),
                                                                  .begin = in_rows ? i * hidden : i,
                                                                  .run = n,
                                                                  .inner = in_rows ? 2 * hidden : 2,
                                                                  .col = in_rows ? 1 : 2 * n,
                                                                  .expert = hidden * 2 * n};
      if (e.biases)
        expert(vector(biasSymbol(symbol), Kind::kBias, both + "_bias", n)).view = {
            .stored = {e.num_experts, 2 * n},
            .begin = i,
            .run = n,
            .inner = 2,
            .col = 1,
            .expert = 2 * n};
    }
    expert(add("expert_down", Kind::kMatrix, down, hidden, n)).view = {.stored = stored(n, hidden),
                                                                       .run = hidden,
                                                                       .inner = in_rows ? n : 1,
                                                                       .col = in_rows ? 1 : hidden,
                                                                       .expert = n * hidden};
    if (e.biases)
      expert(vector(biasSymbol("expert_down"), Kind::kBias, down + "_bias", hidden)).view = {
          .stored = {e.num_experts, hidden}, .run = hidden, .inner = 1, .col = 1, .expert = hidden};
  }

  const ModelSpec& spec_;
  const Form& form_;
  const TensorNames& names_;
  std::vector<ModelWeight> out_;
  int64_t first_ = 0, count_ = 0;  // the layers of what is added; count_ 0: outside the layers
  std::string suffix_;             // of symbols
  bool in_mtp_ = false;            // what is added is the MTP block's,
  std::string mtp_layer_;          // behind this its layer's
};

/// What the checkpoint stores the matrix of a layer in, where the plan keeps that.
const llmrt::WeightFormat* storedFormat(const ModelSpec& spec, const ModelWeight& w,
                                        int64_t layer) {
  if (w.kind != Kind::kMatrix) return nullptr;
  const auto found = spec.stored_formats.find(llmrt::tensorName(w.source, layer, 0));
  return found == spec.stored_formats.end() ? nullptr : found->second;
}

/// Gives weights their formats, cut where one changes.
std::vector<ModelWeight> withFormats(const ModelSpec& spec, std::vector<ModelWeight> weights) {
  std::set<int64_t> cuts;  // layers
  for (const ModelWeight& w : weights)
    for (int64_t layer = w.first_layer + 1; layer < w.first_layer + w.num_layers; ++layer)
      if (storedFormat(spec, w, layer) != storedFormat(spec, w, layer - 1)) cuts.insert(layer);
  std::vector<ModelWeight> out;
  for (const ModelWeight& w : weights) {
    ModelWeight part = w;
    part.format = storedFormat(spec, w, w.first_layer);
    const int64_t end = w.first_layer + w.num_layers;
    for (auto cut = cuts.upper_bound(w.first_layer); cut != cuts.end() && *cut < end; ++cut) {
      part.num_layers = *cut - part.first_layer;
      out.push_back(part);
      part.first_layer = *cut;
      part.symbol = withSuffix(w.role, suffixOf(*cut));
      part.format = storedFormat(spec, w, *cut);
    }
    if (w.num_layers > 0) part.num_layers = end - part.first_layer;
    out.push_back(std::move(part));
  }
  return out;
}

/// Far above what any checkpoint holds, and its sums stay within 62 bits.
constexpr double kManyElements = 0x1p56;

double elementsOf(const std::vector<int64_t>& shape) {
  double elements = 1;
  for (int64_t size : shape) elements *= static_cast<double>(size);
  return elements;
}

/// Calls f(weight) for every stored tensor, once each.
template <typename F>
void forTensors(const ModelSpec& spec, F&& f) {
  // Two weights that view one tensor name it alike.
  std::set<std::pair<std::string, int64_t>> seen;
  for (const ModelWeight& w : modelWeights(spec))
    if (seen.emplace(w.source, w.first_layer).second) f(w);
}

}  // namespace

std::vector<int64_t> ModelWeight::storedShape() const {
  if (view) return view->stored;
  if (kind == Kind::kMatrix) return {rows, cols};
  return {rows};
}

std::string biasSymbol(const std::string& weight) { return weight + std::string(kBiasSuffix); }

std::vector<LayerRun<std::pair<Mixer, Heads>>> mixerRuns(const ModelSpec& spec) {
  return layerRuns(spec, [](const LayerForm& f) { return std::pair(f.mixer, f.heads); });
}
std::vector<LayerRun<std::pair<Mlp, int64_t>>> mlpRuns(const ModelSpec& spec) {
  return layerRuns(spec, [](const LayerForm& f) { return std::pair(f.mlp, f.intermediate_size); });
}

std::vector<ModelWeight> modelWeights(const ModelSpec& spec) {
  return withFormats(spec, Lister(spec).list());
}

std::vector<TensorNeed> requiredTensors(const ModelSpec& spec) {
  std::vector<ModelWeight> weights;
  forTensors(spec, [&](const ModelWeight& w) { weights.push_back(w); });
  std::vector<TensorNeed> needs;
  const auto addLayer = [&](const ModelWeight& w, int64_t layer) {
    const bool own = llmrt::namesExpert(w.source);
    for (int64_t e = 0; e < (own ? w.num_experts : 1); ++e)
      needs.push_back({llmrt::tensorName(w.source, layer, e), w.storedShape()});
  };
  for (size_t i = 0; i < weights.size();) {
    if (weights[i].num_layers == 0) {
      addLayer(weights[i++], 0);
      continue;
    }
    std::vector<std::vector<const ModelWeight*>> of_layer(static_cast<size_t>(spec.num_layers));
    for (; i < weights.size() && weights[i].num_layers > 0; ++i)
      for (int64_t k = 0; k < weights[i].num_layers; ++k)
        of_layer[static_cast<size_t>(weights[i].first_layer + k)].push_back(&weights[i]);
    for (size_t layer = 0; layer < of_layer.size(); ++layer)
      for (const ModelWeight* w : of_layer[layer]) addLayer(*w, static_cast<int64_t>(layer));
  }
  return needs;
}

int64_t numParameters(const ModelSpec& spec) {
  int64_t total = 0;
  forTensors(spec, [&](const ModelWeight& w) {
    const bool own = llmrt::namesExpert(w.source);
    const double elements = elementsOf(w.storedShape()) *
                            static_cast<double>(std::max<int64_t>(1, w.num_layers)) *
                            static_cast<double>(own ? w.num_experts : 1);
    total += static_cast<int64_t>(std::min(elements, kManyElements));
  });
  return total;
}

}  // namespace llmc
