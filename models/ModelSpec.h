// What a model is, as plain data: everything the importer needs to know of an architecture and a
// config.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/io/weight_format.h"
#include "runtime/io/weight_layout.h"

namespace llmc {

/// Of the MLP. kGeluTanh is HF's gelu_pytorch_tanh (also spelled gelu_new).
enum class Activation { kSilu, kGelu, kGeluTanh, kRelu, kRelu2, kQuickGelu };
const char* activationName(Activation activation);  // "silu", "gelu", "gelu_tanh", ...

enum class RopeScaling { kNone, kLinear, kLlama3, kYarn, kLongrope, kDynamic, kProportional };
const char* ropeScalingName(RopeScaling scaling);  // "none", "linear", "llama3", ...

/// Rotary position embedding over the first `dim` elements of a head, HF's order: pairs
/// (i, i + dim / 2).
struct Rope {
  double theta = 10000.0;
  int64_t dim = 0;
  RopeScaling scaling = RopeScaling::kNone;
  // Of all but kNone and kLongrope:
  double factor = 1.0;
  // Of kLlama3:
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  // Of kLlama3, kYarn, kLongrope, kDynamic: the length the frequencies were trained for
  int64_t original_max_position_embeddings = 0;
  // Of kYarn:
  double beta_fast = 32.0, beta_slow = 1.0;
  bool truncate = true;
  // Of kProportional: so much of a head turns, its frequencies those of the whole
  double proportion = 1.0;
  // Of kLongrope, [dim / 2]: each frequency is divided by its factor
  std::vector<double> short_factor, long_factor;

  double attention_factor = 1.0;  // multiplies cos and sin
  std::vector<double> inv_freq;  // [dim / 2], scaling applied; values of an f32 (see models/Rope.h)
  /// Of kLongrope and kDynamic: for sessions longer than original_max_position_embeddings.
  std::vector<double> long_inv_freq;
};

/// What the model's author recommends for generation. What is absent there has HF's default.
struct GenerationDefaults {
  bool do_sample = false;
  double temperature = 1.0;
  int64_t top_k = 0;  // 0: off
  double top_p = 1.0;
  double min_p = 0.0;  // 0: off
  double repetition_penalty = 1.0;
  int64_t no_repeat_ngram_size = 0;  // 0: off
  int64_t max_new_tokens = 0;        // of an output; 0: not said
  std::vector<int64_t> suppress_tokens, begin_suppress_tokens;
  std::vector<std::vector<int64_t>> bad_words;
  std::vector<std::string> stop_strings;
  double chat_temperature = 0.7;    // of a chat where do_sample is false; 0: greedy
  std::vector<std::string> unused;  // "typical_p 0.9": what is recommended and not supported
};

enum class NormKind { kRms, kLayer };

/// What is normed between the projections of q and k and their rotation: nothing, each head by
/// rms_norm or by layer_norm, or all of q (of k) by one rms_norm.
enum class QkNorm { kNone, kHead, kHeadLayer, kWhole };

/// How the checkpoint holds q, k and v: a tensor each; one tensor, q before k before v; one, head
/// by head (q, k and v of head 0, then of head 1); one, KV head by KV head (its queries, k, v).
enum class QkvLayout { kSeparate, kConcat, kByHead, kByGroup };

/// How the checkpoint holds the projections of experts: a tensor for each; one for all, [experts,
/// N, K], the rows of gate before those of up; gpt-oss's one, [experts, K, N], of alternate
/// columns; its one of quantised values, [experts, N, K], of alternate rows.
enum class ExpertLayout { kEach, kStacked, kAlternating, kAlternatingRows };

/// Names of tensors without ".weight" and ".bias", those of a layer behind `layer`. HF's names of
/// llama where a family does not say otherwise.
struct TensorNames {
  std::string_view embed = "model.embed_tokens";
  std::string_view positions = "";
  std::string_view norm = "model.norm";
  std::string_view lm_head = "lm_head";
  std::string_view layer = "model.layers.{layer}.";
  std::string_view input_norm = "input_layernorm";
  std::string_view mlp_norm = "post_attention_layernorm";
  std::string_view attention_out_norm = "";  // post-norms
  std::string_view mlp_out_norm = "";
  std::string_view q = "self_attn.q_proj", k = "self_attn.k_proj", v = "self_attn.v_proj";
  std::string_view qkv = "self_attn.qkv_proj";  // of a fused layout
  std::string_view o = "self_attn.o_proj";
  std::string_view head_gate = "self_attn.gate_proj";
  std::string_view q_norm = "self_attn.q_norm", k_norm = "self_attn.k_norm";
  std::string_view layer_scale = "layer_scalar";
  std::string_view delta = "linear_attn.";  // in_proj_qkv, conv1d, ...
  std::string_view conv = "conv.";          // in_proj, conv, out_proj
  std::string_view state_space = "mamba.";  // in_proj, conv1d, ...
  std::string_view gate = "mlp.gate_proj", up = "mlp.up_proj", down = "mlp.down_proj";
  std::string_view gate_up = "mlp.gate_up_proj";  // where the two are one
  std::string_view router = "mlp.gate";
  std::string_view router_norm = "", expert_scale = "";  // where the router has them
  std::string_view dense_out_norm = "", expert_norm = "", expert_out_norm = "";  // of Mlp::kBoth
  std::string_view choice = "";  // the bias of the choice; empty: the router's
  std::string_view expert_gate = "mlp.experts.{expert}.gate_proj";
  std::string_view expert_up = "mlp.experts.{expert}.up_proj";
  std::string_view expert_down = "mlp.experts.{expert}.down_proj";
  std::string_view experts_gate_up = "mlp.experts.gate_up_proj";  // of a layout of one tensor, and
  std::string_view experts_down = "mlp.experts.down_proj";        // as it is called
  std::string_view latent_down = "", latent_up = "";       // around experts that are narrower
  std::string_view shared = "mlp.shared_expert.";          // gate_proj, up_proj, down_proj
  std::string_view shared_gate_up = "", shared_down = "";  // where the two are one
  // Of the MTP block (ModelSpec::Mtp), whole but for those of its layer, which stand behind
  // `mtp_layer`; "{layer}" is the number of the model's layers. Empty: none is known.
  std::string_view mtp_layer = "";
  std::string_view mtp_embedding_norm = "", mtp_hidden_norm = "", mtp_proj = "", mtp_norm = "";
  std::string_view mtp_embed = "", mtp_lm_head = "";  // where it may have its own
};

/// What every model of an architecture has in common: the form of a layer, and how checkpoints hold
/// it. Defaults are llama's.
struct Form {
  NormKind norm = NormKind::kRms;
  bool norm_weight = true;
  bool norm_bias = false;
  double norm_plus = 0;      // what stored norms are short of (Gemma: 1)
  bool pre_norm = true;      // norms before attention and MLP
  bool post_norm = false;    // norms after them, before the residual sum
  bool parallel = false;     // attention and MLP both read the layer's input
  bool shared_norm = false;  // and its one norm
  bool gated = true;         // the MLP is act(gate) * up, otherwise act(up)
  QkNorm qk_norm = QkNorm::kNone;
  bool rope_pairs = false;   // checkpoints have the rotated rows of a head as pairs (2i, 2i + 1)
  bool value_norm = false;   // heads of v are normed too, by rms_norm without a weight
  bool sinks = false;        // attention sinks
  bool head_gate = false;    // what each head of attention gives times sigmoid of a number of it
  bool layer_scale = false;  // a layer ends with a product with a number of its own
  bool output_gate = false;  // what attention gives times sigmoid of a projection, which q_proj
                             // has the rows of: head by head, the query's, then the gate's
  QkvLayout qkv = QkvLayout::kSeparate;
  bool fused_gate_up = false;
  bool transposed = false;    // stored matrices are [K, N]
  bool latent_parts = false;  // latents' up-projections are two tensors, that of keys transposed
  ExpertLayout experts = ExpertLayout::kEach;
  // Linear attention: what q, k, v and z, and what b and a are cut from has its rows key head by
  // key head (in_proj_qkvz, in_proj_ba); head h of v goes with head h modulo their number of k.
  bool delta_by_group = false, delta_gates_by_group = false, delta_tiled = false;
  bool mtp_chains_norm = false;  // a further MTP step reads what the block's own last norm gives
  TensorNames names;
};

/// A routed MLP (arXiv 2101.03961).
struct Experts {
  int64_t num_experts = 0;  // 0: no layer has any
  int64_t top_k = 0;
  int64_t intermediate_size = 0;
  int64_t latent_size =
      0;  // the experts' input is projected to this, and what they give back; 0: no
  enum class Scoring { kSoftmax, kSigmoid, kSoftmaxChosen } scoring = Scoring::kSoftmax;
  bool normalize = false;                                  // weights are divided by their sum
  double scale = 1.0;                                      // and multiplied by this
  bool choice_bias = false;                                // a stored bias of the choice
  int64_t num_groups = 0, keep_groups = 0, group_top = 0;  // 0: no groups
  int64_t shared_intermediate_size = 0;                    // of an MLP beside the experts; 0: none
  bool shared_gate = false;              // its output times sigmoid(a linear of one output)
  bool biases = false;                   // of the router and the experts
  std::optional<Activation> activation;  // where it is not the model's
  double limit = 0;                      // clamps gate and up, see llm.expert_glu; 0: none
};

/// Multi-head latent attention (arXiv 2405.04434).
struct Latent {
  int64_t q_rank = 0;                                 // 0: q is projected directly
  int64_t kv_rank = 0;                                // 0: the model has none of this
  int64_t nope_dim = 0, rope_dim = 0, value_dim = 0;  // of a head
};

/// Linear attention by the gated delta rule (arXiv 2412.06464) behind a short convolution.
struct Delta {
  int64_t num_key_heads = 0, num_value_heads = 0;  // 0: no layer has any
  int64_t key_dim = 0, value_dim = 0;              // of a head
  int64_t conv_size = 0;                           // tokens that the convolution reads
  int64_t keySize() const { return num_key_heads * key_dim; }
  int64_t valueSize() const { return num_value_heads * value_dim; }
  int64_t qkvSize() const { return 2 * keySize() + valueSize(); }
};

/// A gated short convolution (LFM2): C times the convolution of B times x, all three projections.
struct ShortConv {
  int64_t size = 0;  // tokens that it reads; 0: no layer has any
  bool bias = false;
};

/// Mamba-2's state space layer (arXiv 2405.21060) behind a short convolution.
struct StateSpace {
  int64_t num_heads = 0;  // 0: no layer has any
  int64_t head_dim = 0, state_size = 0, num_groups = 0;
  int64_t conv_size = 0;  // tokens that the convolution reads
  bool bias = false, conv_bias = true;
  std::optional<double> least_step, most_step;  // bounds of time steps
  bool stores_rates = false;                    // A itself in place of log(-A)
  int64_t innerSize() const { return num_heads * head_dim; }
  int64_t convSize() const { return innerSize() + 2 * num_groups * state_size; }
};

/// What brings tokens together in a layer. One more is a member here, a struct of its sizes in
/// ModelSpec, a function in Lister (models/ModelWeights.cpp), and one in Importer
/// (frontend/import/ImportModel.cpp) with a line in its mixer(), statesOf() and commit().
enum class Mixer { kNone, kAttention, kDelta, kConv, kStateSpace };

/// kBoth: a dense MLP and experts read one residual stream, each with norms of its own.
enum class Mlp { kNone, kDense, kExperts, kBoth };

/// The heads of a layer's attention, beside those of queries.
struct Heads {
  int64_t num_kv_heads = 0, dim = 0;
  bool key_is_value = false;  // values are what k_proj gives, before its norm and rotation
  bool shares_kv = false;     // there are none: keys and values of a layer before it are read
  friend auto operator<=>(const Heads&, const Heads&) = default;
};

/// What differs from layer to layer.
struct LayerForm {
  Mixer mixer = Mixer::kAttention;
  Mlp mlp = Mlp::kDense;
  int64_t window = 0;             // a token attends to this many, itself included; 0: to all
  int rope = 0;                   // index in ModelSpec::ropes; -1: positions are not encoded
  Heads heads;                    // of Mixer::kAttention
  int64_t intermediate_size = 0;  // of Mlp::kDense and kBoth
  friend bool operator==(const LayerForm&, const LayerForm&) = default;
};

/// Multi-token prediction (arXiv 2412.19437): a block that guesses the token after the next. It
/// reads the embedding of a token and the hidden row of the one before it, each normed, through a
/// product with the two side by side, then runs one decoder layer and norms for the logits.
struct Mtp {
  int64_t num_blocks = 0;                            // that the config says there are
  bool compiled = false;                             // the first of them is asked for
  bool own_embeddings = false, own_lm_head = false;  // otherwise the model's
  ExpertLayout experts = ExpertLayout::kEach;
};

/// A decoder-only transformer: embed, num_layers x (norm, mixer, norm, MLP) in one of several
/// orders, norm, lm_head. A ModelSpec that a parse function returned is consistent: sizes are
/// positive, num_heads is a multiple of num_kv_heads, head_dim is even where there is RoPE.
struct ModelSpec {
  std::string architecture;  // HF model_type
  std::string name;          // for people: the stem of the config's file or directory
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t vocab_size = 0;
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;  // of every norm
  Activation activation = Activation::kSilu;
  Form form;
  Rope rope;
  std::optional<Rope> local_rope;     // of layers with a window, where they have their own
  int64_t sliding_window = 0;         // a token attends to this many, itself included; 0: to all
  std::vector<bool> windowed_layers;  // which layers have the window; empty: all
  std::vector<bool> nope_layers;      // which do not encode positions; empty: none
  std::optional<Heads> full_heads;    // of layers without a window, where they have their own
  // So many layers, the last, read keys and values of the last layer before them that has the same
  // window, or none, and is not among them; `wide_shared_mlps`: with MLPs of twice the width.
  int64_t num_kv_shared_layers = 0;
  bool wide_shared_mlps = false;
  bool qkv_bias = false;  // q_proj, k_proj, v_proj
  bool o_bias = false;    // o_proj
  bool mlp_bias = false;  // gate_proj, up_proj, down_proj
  bool lm_head_bias = false;
  bool learned_positions = false;  // max_position_embeddings of them, in place of RoPE
  bool tie_word_embeddings = false;
  double embedding_scale = 1.0, residual_scale = 1.0, logit_scale = 1.0;
  bool rounds_embedding_scale = false;              // to the dtype of the weights (Gemma)
  double attention_scale = 0;                       // 0: 1 / sqrt(head_dim)
  double attention_softcap = 0, logit_softcap = 0;  // 0: none
  // Queries are multiplied by 1 + query_growth ln(1 + floor(pos / query_growth_every)).
  double query_growth = 0;
  int64_t query_growth_every = 0;
  int64_t per_layer_size = 0;  // of what each layer knows of a token by a table; 0: nothing
  Experts experts;
  bool experts_beside = false;      // a dense MLP beside them
  std::vector<bool> expert_layers;  // which layers are routed; empty: all, if there are experts
  Latent latent;
  Delta delta;
  ShortConv short_conv;
  StateSpace state_space;
  Mtp mtp;
  std::vector<Mixer> mixers;                 // of each layer; empty: attention in all
  std::vector<bool> mlp_layers;              // which layers have an MLP; empty: all
  std::optional<llmrt::DType> dtype;         // what the config says the weights are in
  std::optional<llmrt::DType> stored_dtype;  // what the embeddings are in, once weights are opened
  // Of matrices that a plan keeps as the checkpoint has them, by the tensor's name; others become
  // what the plan is told.
  std::map<std::string, const llmrt::WeightFormat*, std::less<>> stored_formats;
  std::string unread_dtype;  // the stored dtype where it is none of ours: code only. Empty: none
  std::optional<int64_t> bos_token_id;
  std::vector<int64_t> eos_token_ids;
  GenerationDefaults generation;
  std::vector<std::string> notes;  // for people: what the config says to no effect

  /// What a plan keeps the weights in unless it is told otherwise.
  llmrt::DType defaultDtype() const { return dtype.value_or(llmrt::DType::kBF16); }
  /// Some weights are stored in blocks.
  bool isQuantized() const;
  /// A scale of embeddings (embedding_scale) as the model was trained with it.
  double trainedScale(double scale) const;
  double embeddingScale() const { return trainedScale(embedding_scale); }
  int64_t qSize(const Heads& heads) const { return num_heads * heads.dim; }
  static int64_t kvSize(const Heads& heads) { return heads.num_kv_heads * heads.dim; }
  /// Of the heads that a rope turns: `local`, those of layers with a window.
  int64_t ropeHeadDim(bool local) const;
  LayerForm layerForm(int64_t layer) const;
  /// Of the MTP block's layer: the last layer's, with attention to all tokens.
  LayerForm mtpForm() const;
  /// The mixer of layers that are called "linear_attention", "mamba" or "conv"; kNone where the
  /// model has none of the kind.
  Mixer mixerOfType(std::string_view layer_type) const;
};

/// Successive layers whose mixers, or MLPs, are of one kind and size: these have one set of
/// weights, [num_layers, ...].
template <typename Kind>
struct LayerRun {
  int64_t first_layer = 0, num_layers = 0;
  Kind kind = {};
  /// Of their weights' symbols: "up_proj" + suffix. Empty in the first run of a kind.
  std::string suffix;
};

/// All layers, in their order; those of kind kNone too. An MLP's size is that of its dense part.
std::vector<LayerRun<std::pair<Mixer, Heads>>> mixerRuns(const ModelSpec& spec);
std::vector<LayerRun<std::pair<Mlp, int64_t>>> mlpRuns(const ModelSpec& spec);

/// A tensor that a checkpoint of this model must hold.
struct TensorNeed {
  std::string name;            // HF name
  std::vector<int64_t> shape;  // outermost first
};

/// A weight as the compiler's IR names it, and where a checkpoint holds it. ir/LLMOps.td (weight)
/// says what the members mean.
struct ModelWeight {
  enum class Kind { kMatrix, kNorm, kBias };
  std::string role;    // "up_proj", "up_proj_bias": what it is to a layer
  std::string symbol;  // the role, and "_N" where other layers than the first begin at layer N
  Kind kind = Kind::kMatrix;
  std::string source;  // HF name with {layer} and {expert}
  int64_t rows = 0, cols = 1;
  int64_t first_layer = 0, num_layers = 0;  // 0: not per layer
  int64_t num_experts = 0;
  std::optional<llmrt::WeightView> view;
  double plus = 0;
  const llmrt::WeightFormat* format = nullptr;  // of ModelSpec::stored_formats; null: the plan's
  bool of_mtp = false;                          // the MTP block's; its symbol is "mtp_" + role

  /// The stored tensor's.
  std::vector<int64_t> storedShape() const;
};

/// What the bias of a weight is called.
std::string biasSymbol(const std::string& weight);

/// In the order of execution. With tied embeddings there is no lm_head. A weight has one format:
/// where one changes from layer to layer, the weights of all roles are cut, so that those of a
/// layer can still be packed together.
std::vector<ModelWeight> modelWeights(const ModelSpec& spec);

/// The tensors that hold modelWeights(), each once, in the order of execution.
std::vector<TensorNeed> requiredTensors(const ModelSpec& spec);

/// Elements of all requiredTensors().
int64_t numParameters(const ModelSpec& spec);

}  // namespace llmc
