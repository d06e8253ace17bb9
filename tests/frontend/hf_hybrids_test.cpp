// Configs of models whose layers are not all of attention: published ones, whose parameters
// Transformers counts, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "frontend/HfConfig.h"
#include "runtime/io/json.h"

namespace llmc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Optional;

// LiquidAI/LFM2-1.2B and LFM2-350M, as first published.
constexpr const char* kLfm2 = R"({"architectures": ["Lfm2ForCausalLM"], "model_type": "lfm2",
    "block_auto_adjust_ff_dim": true, "block_dim": 2048, "block_ff_dim": 12288, "block_ffn_dim_multiplier": 1.0,
    "block_multiple_of": 256, "conv_L_cache": 3, "conv_bias": false, "full_attn_idxs": [2, 5, 8, 10, 12, 14],
    "hidden_size": 2048, "max_position_embeddings": 128000, "norm_eps": 1e-05, "num_attention_heads": 32,
    "num_hidden_layers": 16, "num_key_value_heads": 8, "rope_theta": 1000000.0, "tie_embedding": true,
    "torch_dtype": "bfloat16", "vocab_size": 65536, "bos_token_id": 1, "eos_token_id": 7})";
constexpr const char* kSmallLfm2 =
    R"({"block_dim": 1024, "block_ff_dim": 6656, "hidden_size": 1024, "num_attention_heads": 16})";
// What LFM3-1.7B's configuration class assumes, and what is left to say.
constexpr const char* kLfm3 = R"({"architectures": ["Lfm3ForCausalLM"], "model_type": "lfm3",
    "hidden_size": 2048, "num_hidden_layers": 24})";
// state-spaces/mamba2-130m, in Transformers' form.
constexpr const char* kMamba2 = R"({"architectures": ["Mamba2ForCausalLM"], "model_type": "mamba2",
    "chunk_size": 256, "conv_kernel": 4, "expand": 2, "head_dim": 64, "hidden_act": "silu", "hidden_size": 768,
    "layer_norm_epsilon": 1e-05, "n_groups": 1, "num_heads": 24, "num_hidden_layers": 24, "residual_in_fp32": true,
    "rms_norm": true, "state_size": 128, "tie_word_embeddings": true, "time_step_limit": [0.0, Infinity],
    "use_bias": false, "use_conv_bias": true, "vocab_size": 50288})";
// ibm-granite/granite-4.0-h-tiny, less its list of layers.
constexpr const char* kGranite = R"({"architectures": ["GraniteMoeHybridForCausalLM"],
    "model_type": "granitemoehybrid", "attention_bias": false, "attention_multiplier": 0.0078125,
    "embedding_multiplier": 12, "hidden_act": "silu", "hidden_size": 1536, "intermediate_size": 512,
    "logits_scaling": 6, "mamba_chunk_size": 256, "mamba_conv_bias": true, "mamba_d_conv": 4, "mamba_d_head": 64,
    "mamba_d_state": 128, "mamba_expand": 2, "mamba_n_groups": 1, "mamba_n_heads": 48, "mamba_proj_bias": false,
    "max_position_embeddings": 131072, "num_attention_heads": 12, "num_experts_per_tok": 6,
    "num_hidden_layers": 40, "num_key_value_heads": 4, "num_local_experts": 64,
    "position_embedding_type": "nope", "residual_multiplier": 0.22, "rms_norm_eps": 1e-05,
    "rope_theta": 10000, "shared_intermediate_size": 1024, "tie_word_embeddings": true, "vocab_size": 100352})";
// nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B.
constexpr const char* kNemotron =
    R"({"architectures": ["NemotronHForCausalLM"], "model_type": "nemotron_h",
    "attention_bias": false, "conv_kernel": 4, "expand": 2, "head_dim": 128, "hidden_size": 2688,
    "hybrid_override_pattern": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME", "intermediate_size": 1856,
    "layer_norm_epsilon": 1e-05, "mamba_head_dim": 64, "mamba_hidden_act": "silu", "mamba_num_heads": 64,
    "max_position_embeddings": 262144, "mlp_bias": false, "mlp_hidden_act": "relu2", "moe_intermediate_size": 1856,
    "moe_shared_expert_intermediate_size": 3712, "n_group": 1, "n_groups": 8, "n_routed_experts": 128,
    "n_shared_experts": 1, "norm_topk_prob": true, "num_attention_heads": 32, "num_experts_per_tok": 6,
    "num_hidden_layers": 52, "num_key_value_heads": 2, "routed_scaling_factor": 2.5, "ssm_state_size": 128,
    "tie_word_embeddings": false, "time_step_limit": [0.0, Infinity], "time_step_max": 0.1, "time_step_min": 0.001,
    "topk_group": 1, "use_bias": false, "use_conv_bias": true, "vocab_size": 131072})";

nlohmann::json with(const char* config, const char* fields = "{}") {
  nlohmann::json json = *llmrt::parseJson(config, "config.json");
  json.update(*llmrt::parseJson(fields, "fields"));
  return json;
}
nlohmann::json granite(const char* fields = "{}") {
  nlohmann::json json = with(kGranite, fields);
  if (!json.contains("layer_types"))
    for (int i = 0; i < 40; ++i) json["layer_types"].push_back(i % 10 == 5 ? "attention" : "mamba");
  return json;
}
ModelSpec parsed(const nlohmann::json& config) {
  auto spec = parseHfConfig(config, "config.json", "small");
  EXPECT_TRUE(spec.ok()) << spec.status().message();
  return spec.ok() ? *spec : ModelSpec{};
}
std::string refusal(const nlohmann::json& config) {
  auto spec = parseHfConfig(config, "config.json", "small");
  EXPECT_FALSE(spec.ok()) << config;
  return spec.ok() ? "" : spec.status().message();
}

TEST(HfHybrids, HaveAsManyParametersAsTransformersCounts) {
  EXPECT_EQ(numParameters(parsed(with(kLfm2))), 1170340608);
  EXPECT_EQ(numParameters(parsed(with(kLfm2, kSmallLfm2))), 354483968);
  EXPECT_EQ(numParameters(parsed(with(kLfm3))), 1728801536);
  EXPECT_EQ(numParameters(parsed(with(kMamba2))), 128989632);
  EXPECT_EQ(numParameters(parsed(granite())), 6939037248);
  EXPECT_EQ(numParameters(parsed(with(kNemotron))), 31577940288);
}

TEST(HfHybrids, OfLfm2HaveConvolutionsBetweenTheirAttention) {
  const ModelSpec spec = parsed(with(kLfm2));
  EXPECT_EQ(spec.intermediate_size, 8192);
  EXPECT_EQ(spec.short_conv.size, 3);
  EXPECT_TRUE(spec.tie_word_embeddings);
  EXPECT_EQ(spec.rope.theta, 1e6);
  for (int64_t layer = 0; layer < 16; ++layer) {
    const bool attends = (layer % 3 == 2 && layer < 9) || layer == 10 || layer == 12 || layer == 14;
    EXPECT_EQ(spec.layerForm(layer).mixer, attends ? Mixer::kAttention : Mixer::kConv) << layer;
  }
  // What later files say instead.
  const ModelSpec listed = parsed(with(kLfm2, R"({"num_hidden_layers": 3, "block_multiple_of": 1000,
      "layer_types": ["conv", "full_attention", "conv"], "block_ffn_dim_multiplier": 1.5})"));
  EXPECT_THAT(listed.mixers, ElementsAre(Mixer::kConv, Mixer::kAttention, Mixer::kConv));
  EXPECT_EQ(listed.intermediate_size, 13000);
}

TEST(HfHybrids, OfLfm3HaveWindowsBetweenTheirConvolutions) {
  const ModelSpec spec = parsed(with(kLfm3));
  EXPECT_EQ(spec.short_conv.size, 7);
  for (int64_t layer = 0; layer < 24; ++layer) {
    const LayerForm form = spec.layerForm(layer);
    const bool full = layer % 4 == 2, windowed = layer % 4 == 0 && layer > 0;
    EXPECT_EQ(form.mixer, full || windowed ? Mixer::kAttention : Mixer::kConv) << layer;
    EXPECT_EQ(form.window, windowed ? 256 : 0) << layer;
    EXPECT_EQ(form.rope, windowed ? 1 : full ? 0 : -1) << layer;
  }
  // Half of a head turns without a window, all of it within one.
  EXPECT_EQ(spec.rope.inv_freq[31], 1 / std::pow(1e6f, 62 / 128.0f));
  EXPECT_EQ(spec.rope.inv_freq[32], 0);
  EXPECT_GT(spec.local_rope->inv_freq[63], 0);
  EXPECT_TRUE(spec.form.post_norm && spec.form.head_gate);
  const ModelSpec plain =
      parsed(with(kLfm3, R"({"use_sandwich_norm": false, "use_attention_gate": false,
      "attention_bias": true})"));
  EXPECT_FALSE(plain.form.post_norm || plain.form.head_gate);
  EXPECT_TRUE(plain.qkv_bias && plain.o_bias);
}

TEST(HfHybrids, OfMamba2HaveNothingElse) {
  const ModelSpec spec = parsed(with(kMamba2));
  EXPECT_EQ(spec.state_space.innerSize(), 1536);
  EXPECT_EQ(spec.state_space.convSize(), 1792);
  EXPECT_FALSE(spec.state_space.least_step || spec.state_space.most_step);
  for (int64_t layer = 0; layer < spec.num_layers; ++layer)
    EXPECT_EQ(spec.layerForm(layer),
              (LayerForm{.mixer = Mixer::kStateSpace, .mlp = Mlp::kNone, .rope = -1}));
  const ModelSpec bounded = parsed(with(kMamba2, R"({"time_step_limit": [0.001, 0.5]})"));
  EXPECT_THAT(bounded.state_space.least_step, Optional(0.001));
  EXPECT_THAT(bounded.state_space.most_step, Optional(0.5));
}

TEST(HfHybrids, OfGraniteEncodePositionsWhereTheySay) {
  const ModelSpec spec = parsed(granite());
  EXPECT_EQ(spec.layerForm(5).mixer, Mixer::kAttention);
  EXPECT_EQ(spec.layerForm(5).rope, -1);
  EXPECT_EQ(spec.layerForm(6).mixer, Mixer::kStateSpace);
  EXPECT_EQ(spec.layerForm(6).mlp, Mlp::kExperts);
  EXPECT_EQ(spec.experts.shared_intermediate_size, 1024);
  EXPECT_EQ(parsed(granite(R"({"position_embedding_type": "rope"})")).layerForm(5).rope, 0);
  const ModelSpec dense = parsed(granite(R"({"num_local_experts": 0})"));
  EXPECT_EQ(dense.layerForm(6).mlp, Mlp::kDense);
  EXPECT_EQ(dense.intermediate_size, 1024);
}

TEST(HfHybrids, OfNemotronHaveOneBlockALayer) {
  const ModelSpec spec = parsed(with(kNemotron));
  EXPECT_EQ(spec.num_layers, 52);
  EXPECT_EQ(spec.activation, Activation::kRelu2);
  EXPECT_THAT(spec.state_space.least_step, Optional(0.001));
  const auto is = [&](int64_t layer, Mixer mixer, Mlp mlp) {
    const LayerForm form = spec.layerForm(layer);
    EXPECT_EQ(form.mixer, mixer) << layer;
    EXPECT_EQ(form.mlp, mlp) << layer;
    EXPECT_EQ(form.rope, -1) << layer;
  };
  is(0, Mixer::kStateSpace, Mlp::kNone);
  is(1, Mixer::kNone, Mlp::kExperts);
  is(5, Mixer::kAttention, Mlp::kNone);
  const ModelSpec listed = parsed(with(kNemotron, R"({"layers_block_type":
      ["mamba", "mlp", "attention"], "num_hidden_layers": null, "attention_head_dim": 64})"));
  EXPECT_EQ(listed.num_layers, 3);
  EXPECT_EQ(listed.head_dim, 64);
  EXPECT_EQ(listed.experts.num_experts, 0);
  EXPECT_EQ(listed.layerForm(1).mlp, Mlp::kDense);
  // Beside that list, layer_types says nothing.
  const ModelSpec both = parsed(with(kNemotron, R"({"layers_block_type": ["mamba", "mlp"],
      "layer_types": ["full_attention", "full_attention"], "attention_bias": true})"));
  EXPECT_EQ(both.layerForm(0).mixer, Mixer::kStateSpace);
  EXPECT_EQ(both.layerForm(1).mixer, Mixer::kNone);
  EXPECT_TRUE(both.qkv_bias && both.o_bias);
}

TEST(HfHybrids, AreRefusedByTheFieldThatIsWrong) {
  struct Case {
    nlohmann::json config;
    const char* message;
  };
  const Case cases[] = {
      {with(kLfm2, R"({"full_attn_idxs": [16]})"), "full_attn_idxs holds 16, which is no layer"},
      {with(kLfm2, R"({"conv_L_cache": 1})"), "conv_L_cache is 1"},
      {with(kLfm2, R"({"layer_types": ["conv", "mamba"], "num_hidden_layers": 2})"),
       "layer_types holds \"mamba\""},
      {with(kLfm2, R"({"block_ffn_dim_multiplier": 1e9})"), "block_ffn_dim_multiplier"},
      {with(kLfm3, R"({"layer_types": ["conv", "linear_attention"], "num_hidden_layers": 2})"),
       "layer_types holds \"linear_attention\", full_attention, sliding_attention and conv are "
       "supported"},
      {with(kMamba2, R"({"num_heads": 23})"), "23 Mamba heads of 64 are not expand (2) times"},
      {with(kMamba2, R"({"n_groups": 5})"), "is not a multiple of that of groups (5)"},
      {with(kMamba2, R"({"time_step_limit": [0.1]})"), "time_step_limit is [0.1]"},
      {with(kMamba2, R"({"time_step_limit": [0.0, {"__float__": 1}]})"), "expected two numbers"},
      {with(kMamba2, R"({"time_step_limit": [1, 0.5]})"), "must be ascending and not negative"},
      {with(kNemotron, R"({"hybrid_override_pattern": "MX"})"), "holds \"X\""},
      {with(kNemotron, R"({"layers_block_type": ["mamba", "conv"]})"),
       "layers_block_type holds \"conv\""},
      {with(kNemotron, R"({"hybrid_override_pattern": null})"), "neither layers_block_type nor"},
      {with(kNemotron, R"({"moe_latent_size": -1})"), "moe_latent_size is -1"},
  };
  for (const Case& c : cases) EXPECT_THAT(refusal(c.config), HasSubstr(c.message));
}

}  // namespace
}  // namespace llmc
