#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "frontend/GgufConfig.h"
#include "models/Architectures.h"
#include "tests/io/checkpoint_files.h"

namespace llmc {
namespace {

using llmc_tests::GgufWriter;
using llmc_tests::rawBytes;
using llmc_tests::TemporaryDirectory;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Optional;

GgufWriter smallModel() {
  GgufWriter writer;
  writer.addString("general.architecture", "llama")
      .addUint("llama.embedding_length", 64)
      .addUint("llama.feed_forward_length", 172)
      .addUint("llama.block_count", 2)
      .addUint("llama.attention.head_count", 8)
      .addUint("llama.attention.head_count_kv", 4)
      .addUint("llama.context_length", 99)
      .addFloat("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  return writer;
}
GgufWriter small(const std::string& architecture,
                 const char* eps = "attention.layer_norm_rms_epsilon") {
  GgufWriter writer;
  writer.addString("general.architecture", architecture);
  for (const auto& [key, value] : {std::pair{"embedding_length", 64},
                                   {"feed_forward_length", 172},
                                   {"block_count", 2},
                                   {"attention.head_count", 8},
                                   {"context_length", 99},
                                   {"vocab_size", 3}})
    writer.addUint(architecture + "." + key, static_cast<uint32_t>(value));
  return writer.addFloat(architecture + "." + eps, 1e-5f);
}

GgufWriter withVocab(GgufWriter writer) {
  return writer.addString("tokenizer.ggml.model", "llama")
      .addStrings("tokenizer.ggml.tokens", {"a", "b", "c"});
}

llmrt::Result<ModelSpec> parse(const GgufWriter& writer) {
  TemporaryDirectory dir;
  auto file = llmrt::GgufFile::open(dir.write("x.gguf", writer.bytes()));
  if (!file.ok()) return file.status();
  return parseGgufConfig(**file, "x");
}
std::string refusal(const GgufWriter& writer) {
  auto spec = parse(writer);
  EXPECT_FALSE(spec.ok());
  return spec.ok() ? "" : spec.status().message();
}

TEST(GgufConfig, ReadsSizesAndDefaults) {
  auto parsed = parse(withVocab(smallModel()));
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  const ModelSpec& spec = *parsed;
  EXPECT_EQ(spec.architecture, "llama");
  EXPECT_EQ(spec.hidden_size, 64);
  EXPECT_EQ(spec.intermediate_size, 172);
  EXPECT_EQ(spec.num_layers, 2);
  EXPECT_EQ(spec.num_heads, 8);
  EXPECT_EQ(spec.num_kv_heads, 4);
  EXPECT_EQ(spec.head_dim, 8);
  EXPECT_EQ(spec.vocab_size, 3);
  EXPECT_EQ(spec.max_position_embeddings, 99);
  EXPECT_EQ(spec.rms_norm_eps, 1e-5f);
  EXPECT_EQ(spec.rope.theta, 10000.0);
  EXPECT_EQ(spec.rope.inv_freq.size(), 4u);
  EXPECT_THAT(spec.bos_token_id, Optional(1));
  EXPECT_THAT(spec.eos_token_ids, ElementsAre(2));
}

TEST(GgufConfig, TokenIdOfAllOnesMeansNone) {
  auto spec = parse(withVocab(smallModel())
                        .addUint("tokenizer.ggml.bos_token_id", 4294967295u)
                        .addUint("tokenizer.ggml.eos_token_id", 7)
                        .addUint("tokenizer.ggml.eot_token_id", 8));
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_FALSE(spec->bos_token_id);
  EXPECT_THAT(spec->eos_token_ids, ElementsAre(7, 8));
}

TEST(GgufConfig, RopeKeysAndFactors) {
  auto linear = parse(withVocab(smallModel())
                          .addFloat("llama.rope.freq_base", 500.0f)
                          .addString("llama.rope.scaling.type", "linear")
                          .addFloat("llama.rope.scaling.factor", 4.0f));
  ASSERT_TRUE(linear.ok()) << linear.status().message();
  EXPECT_EQ(linear->rope.theta, 500.0);
  EXPECT_EQ(linear->rope.scaling, RopeScaling::kLinear);
  EXPECT_EQ(linear->rope.inv_freq[0], 0.25);

  auto factors =
      parse(withVocab(smallModel())
                .tensor("rope_freqs.weight", 0, {4}, rawBytes(std::vector<float>{1, 1, 2, 32})));
  auto plain = parse(withVocab(smallModel()));
  ASSERT_TRUE(factors.ok()) << factors.status().message();
  const double divisors[] = {1, 1, 2, 32};
  for (size_t i = 0; i < 4; ++i)
    EXPECT_EQ(factors->rope.inv_freq[i], plain->rope.inv_freq[i] / divisors[i]);
  EXPECT_THAT(
      refusal(withVocab(smallModel()).tensor("rope_freqs.weight", 0, {3}, std::string(12, '\1'))),
      HasSubstr("'rope_freqs.weight' must be f32 [4]"));
  EXPECT_THAT(
      refusal(withVocab(smallModel()).tensor("rope_freqs.weight", 0, {4}, std::string(16, '\0'))),
      HasSubstr("a factor that is not above 0"));
}

TEST(GgufConfig, TensorsTellBiasesTyingAndDtype) {
  auto tied = parse(withVocab(smallModel())
                        .tensor("blk.0.attn_q.weight", 30, {1}, "12")
                        .tensor("blk.0.attn_q.bias", 0, {1}, "1234"));
  ASSERT_TRUE(tied.ok()) << tied.status().message();
  EXPECT_TRUE(tied->tie_word_embeddings);
  EXPECT_TRUE(tied->qkv_bias);
  EXPECT_FALSE(tied->o_bias || tied->mlp_bias);
  EXPECT_THAT(tied->dtype, Optional(llmrt::DType::kBF16));
  auto vocabulary = parse(small("gpt2", "attention.layer_norm_epsilon"));
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status().message();
  EXPECT_TRUE(vocabulary->qkv_bias && vocabulary->o_bias && vocabulary->mlp_bias);
  EXPECT_FALSE(vocabulary->tie_word_embeddings);
  auto untied = parse(withVocab(smallModel()).tensor("output.weight", 0, {1}, "1234"));
  ASSERT_TRUE(untied.ok());
  EXPECT_FALSE(untied->tie_word_embeddings);
}

// What llama has no use for: a test of each architecture's values is tests/e2e/gguf_test.cpp and
// gguf_families_test.cpp.
TEST(GgufConfig, RefusesWhatOtherArchitecturesHave) {
  EXPECT_TRUE(parse(small("qwen3")).ok());
  EXPECT_THAT(refusal(small("qwen3").addFloat("qwen3.logit_scale", 2)),
              HasSubstr("'qwen3.logit_scale' is not supported"));
  EXPECT_THAT(refusal(small("granite").addFloat("granite.logit_scale", 0)),
              HasSubstr("'granite.logit_scale' is 0.0, must be above 0"));
  EXPECT_THAT(refusal(small("olmo2").addUint("olmo2.attention.sliding_window_pattern", 4)),
              HasSubstr("'olmo2.attention.sliding_window_pattern' is not supported"));
  const char* layer_norm = "attention.layer_norm_epsilon";
  EXPECT_THAT(refusal(small("olmo", layer_norm).addFloat("olmo.attention.clamp_kqv", 8)),
              HasSubstr("'olmo.attention.clamp_kqv' is not supported"));
  EXPECT_TRUE(parse(small("olmo", layer_norm).addFloat("olmo.attention.clamp_kqv", 0)).ok());
  EXPECT_THAT(refusal(small("falcon", layer_norm).addFloat("falcon.attention.max_alibi_bias", 8)),
              HasSubstr("'falcon.attention.max_alibi_bias' is not supported"));
  EXPECT_THAT(refusal(small("qwen3").addUint("qwen3.expert_count", 8)),
              HasSubstr("'qwen3.expert_count' is not supported"));
  EXPECT_THAT(refusal(small("starcoder2")),
              HasSubstr("'starcoder2.attention.layer_norm_epsilon' is missing"));
  EXPECT_THAT(refusal(small("command-r", layer_norm)),
              HasSubstr("'command-r.logit_scale' is missing"));
  EXPECT_THAT(refusal(small("stablelm", layer_norm)
                          .tensor("blk.0.attn_q_norm.weight", 0, {8, 8}, std::string(256, 'x'))),
              HasSubstr("tensor 'blk.0.attn_q_norm.weight' is not supported"));
  EXPECT_THAT(refusal(small("phi3").addUint("phi3.rope.dimension_count", 0)),
              HasSubstr("'phi3.rope.dimension_count' 0 is not supported"));
  EXPECT_THAT(refusal(small("phi3").addUint("phi3.rope.dimension_count", 5)),
              HasSubstr("5 rotated elements"));
  const GgufWriter longrope = small("phi3")
                                  .addUint("phi3.rope.scaling.original_context_length", 50)
                                  .tensor("rope_factors_long.weight", 0, {4}, std::string(16, '?'));
  EXPECT_THAT(refusal(longrope), HasSubstr("short_factor has 0 factors"));
}

/// Of heads of 256, four of a hidden size of 640.
GgufWriter gemmaOf(const std::string& architecture, uint32_t layers) {
  GgufWriter writer;
  writer.addString("general.architecture", architecture);
  for (const auto& [key, value] : {std::pair{"embedding_length", 640u},
                                   {"feed_forward_length", 172},
                                   {"block_count", layers},
                                   {"attention.head_count", 4},
                                   {"attention.head_count_kv", 1},
                                   {"attention.key_length", 256},
                                   {"attention.value_length", 256},
                                   {"context_length", 99},
                                   {"vocab_size", 3}})
    writer.addUint(architecture + '.' + key, value);
  return writer.addFloat(architecture + ".attention.layer_norm_rms_epsilon", 1e-6f);
}

// What differs from layer to layer is not in the file.
TEST(GgufConfig, Gemma3HasAGlobalLayerEverySix) {
  const auto gemma = [](uint32_t layers) {
    return gemmaOf("gemma3", layers).addFloat("gemma3.rope.freq_base", 1e6f);
  };
  auto parsed = parse(gemma(13)
                          .addUint("gemma3.attention.sliding_window", 24)
                          .addString("gemma3.rope.scaling.type", "linear")
                          .addFloat("gemma3.rope.scaling.factor", 8.0f)
                          .addFloat("gemma3.final_logit_softcapping", 30.0f));
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  EXPECT_EQ(parsed->architecture, "gemma3_text");
  EXPECT_EQ(parsed->form.norm_plus, 0);
  EXPECT_EQ(parsed->attention_scale, 1.0 / 16);
  EXPECT_EQ(parsed->logit_softcap, 30.0);
  EXPECT_EQ(parsed->embedding_scale, std::sqrt(640.0));
  EXPECT_EQ(parsed->rope.inv_freq[0], 0.125);  // scaled, in global layers alone
  ASSERT_TRUE(parsed->local_rope);
  EXPECT_EQ(parsed->local_rope->theta, 10000.0);
  EXPECT_EQ(parsed->local_rope->inv_freq.size(), 128u);
  EXPECT_EQ(parsed->local_rope->inv_freq[0], 1.0);
  for (int64_t layer = 0; layer < 13; ++layer) {
    const LayerForm form = parsed->layerForm(layer);
    EXPECT_EQ(form.window, layer % 6 == 5 ? 0 : 24) << layer;
    EXPECT_EQ(form.rope, layer % 6 == 5 ? 0 : 1) << layer;
  }
  // Of 27B: by the hidden size, not by the heads'.
  auto large = parse(gemma(62));
  ASSERT_TRUE(large.ok()) << large.status().message();
  EXPECT_EQ(large->attention_scale, 1 / std::sqrt(160.0));
  EXPECT_EQ(large->layerForm(0).window, 0);
  EXPECT_EQ(large->layerForm(0).rope, 0);
}

TEST(GgufConfig, Gemma2HasAWindowInEverySecondLayer) {
  const auto gemma = [](uint32_t layers) { return gemmaOf("gemma2", layers); };
  auto parsed = parse(gemma(4)
                          .addUint("gemma2.attention.sliding_window", 24)
                          .addFloat("gemma2.attn_logit_softcapping", 40.0f)
                          .addFloat("gemma2.final_logit_softcapping", 20.0f));
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  EXPECT_EQ(parsed->attention_scale, 1.0 / 16);
  EXPECT_EQ(parsed->attention_softcap, 40.0);
  EXPECT_EQ(parsed->logit_softcap, 20.0);
  for (int64_t layer = 0; layer < 4; ++layer)
    EXPECT_EQ(parsed->layerForm(layer).window, layer % 2 == 0 ? 24 : 0) << layer;
  // What llama.cpp assumes of files that leave it out; and of 27B the scale by the hidden size.
  auto large = parse(gemma(46));
  ASSERT_TRUE(large.ok()) << large.status().message();
  EXPECT_EQ(large->attention_scale, 1 / std::sqrt(160.0));
  EXPECT_EQ(large->attention_softcap, 50.0);
  EXPECT_EQ(large->logit_softcap, 30.0);
  EXPECT_EQ(large->layerForm(0).window, 4096);
}

TEST(GgufConfig, SizesAndScalesThatOlderFilesLeaveOut) {
  const auto experts = [](const std::string& architecture) {
    return small(architecture)
        .addUint(architecture + ".expert_count", 6)
        .addUint(architecture + ".expert_used_count", 4);
  };
  auto mixtral = parse(experts("llama"));
  ASSERT_TRUE(mixtral.ok()) << mixtral.status().message();
  EXPECT_EQ(mixtral->architecture, "mixtral");
  EXPECT_EQ(mixtral->experts.num_experts, 6);
  EXPECT_EQ(mixtral->experts.top_k, 4);
  EXPECT_EQ(mixtral->experts.intermediate_size, 172);
  EXPECT_TRUE(mixtral->experts.normalize);
  auto qwen2 = parse(experts("qwen2moe"));
  ASSERT_TRUE(qwen2.ok()) << qwen2.status().message();
  EXPECT_EQ(qwen2->experts.intermediate_size, 172 / 4);
  EXPECT_EQ(qwen2->experts.shared_intermediate_size, 172);
  EXPECT_TRUE(qwen2->experts.shared_gate);
  EXPECT_FALSE(qwen2->experts.normalize);
  // MiniCPM's scales, which llama.cpp knows.
  auto minicpm = parse(small("minicpm"));
  ASSERT_TRUE(minicpm.ok()) << minicpm.status().message();
  EXPECT_EQ(minicpm->embedding_scale, 12);
  EXPECT_DOUBLE_EQ(minicpm->residual_scale, 1.4 / std::sqrt(2.0));
  EXPECT_EQ(minicpm->logit_scale, 4);
}

TEST(GgufConfig, LayersWithARouterAreRouted) {
  const auto qwen = [](uint32_t experts) {
    return small("qwen3moe")
        .addUint("qwen3moe.expert_count", experts)
        .addUint("qwen3moe.expert_used_count", 1)
        .addUint("qwen3moe.expert_feed_forward_length", 2)
        .tensor("blk.1.ffn_gate_inp.weight", 0, {2, 2}, std::string(16, 'x'))
        .tensor("blk.1.ffn_up_exps.weight", 0, {2, 2, 2}, std::string(32, 'x'));
  };
  auto parsed = parse(qwen(2));
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  EXPECT_EQ(parsed->layerForm(0).mlp, Mlp::kDense);
  EXPECT_EQ(parsed->layerForm(1).mlp, Mlp::kExperts);
  EXPECT_THAT(refusal(qwen(3)),
              HasSubstr("tensor 'blk.1.ffn_up_exps.weight' is of 2 experts, but metadata "
                        "'qwen3moe.expert_count' is 3"));
  EXPECT_THAT(refusal(qwen(2).addUint("qwen3moe.expert_gating_func", 2)),
              HasSubstr("'qwen3moe.expert_gating_func' is not supported as 2"));
  EXPECT_THAT(refusal(qwen(2).addUint("qwen3moe.expert_group_count", 4)),
              HasSubstr("'qwen3moe.expert_group_count' is not supported"));
  EXPECT_THAT(refusal(qwen(2).addFloat("qwen3moe.expert_weights_scale", -1)),
              HasSubstr("'qwen3moe.expert_weights_scale' is -1.0, must be above 0"));
  EXPECT_THAT(refusal(qwen(4000)), HasSubstr("'qwen3moe.expert_count' is 4000, must be 1 to 1024"));
}

TEST(GgufConfig, ReadsSigmoidExperts) {
  const auto glm = [] {
    return small("glm4moe")
        .addUint("glm4moe.expert_count", 8)
        .addUint("glm4moe.expert_used_count", 2)
        .addUint("glm4moe.expert_feed_forward_length", 16)
        .addUint("glm4moe.expert_shared_count", 2)
        .addFloat("glm4moe.expert_weights_scale", 1.5f);
  };
  auto parsed = parse(glm().addUint("glm4moe.nextn_predict_layers", 1));
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  EXPECT_EQ(parsed->num_layers, 1);  // of two, the last predicts more tokens
  EXPECT_EQ(parsed->experts.scoring, Experts::Scoring::kSigmoid);
  EXPECT_TRUE(parsed->experts.choice_bias);
  EXPECT_EQ(parsed->experts.shared_intermediate_size, 32);
  EXPECT_FALSE(parsed->experts.shared_gate);
  EXPECT_EQ(parsed->experts.scale, 1.5);
  EXPECT_THAT(refusal(glm().addUint("glm4moe.nextn_predict_layers", 2)),
              HasSubstr("'glm4moe.nextn_predict_layers' is 2, must be 0 to 1"));
  EXPECT_THAT(refusal(glm().addUint("glm4moe.expert_gating_func", 1)),
              HasSubstr("'glm4moe.expert_gating_func' is not supported as 1"));
  EXPECT_THAT(refusal(glm().addUint("glm4moe.expert_group_count", 4)),
              HasSubstr("'glm4moe.expert_group_used_count' is missing"));
}

TEST(GgufConfig, GptOssHasExpertsAndWindowsOfItsOwn) {
  const auto gptOss = [] {
    return small("gpt-oss")
        .addUint("gpt-oss.expert_count", 4)
        .addUint("gpt-oss.expert_used_count", 2);
  };
  const auto spec = parse(gptOss().addUint("gpt-oss.attention.sliding_window", 16));
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->sliding_window, 16);
  EXPECT_THAT(spec->windowed_layers, ElementsAre(true, false));
  EXPECT_FALSE(spec->rope.truncate);
  EXPECT_EQ(spec->experts.limit, 7.0);
  EXPECT_THAT(spec->experts.activation, Optional(Activation::kQuickGelu));
  EXPECT_THAT(refusal(gptOss()), HasSubstr("gpt-oss.attention.sliding_window"));
  EXPECT_THAT(refusal(gptOss()
                          .addUint("gpt-oss.attention.sliding_window", 16)
                          .addUint("gpt-oss.expert_gating_func", 2)),
              HasSubstr("expert_gating_func"));
}

TEST(GgufConfig, ReadsLatents) {
  const auto deepseek = [](bool mla, uint32_t gating) {
    GgufWriter writer = small("deepseek2");
    for (const auto& [key, value] : {std::pair{"attention.kv_lora_rank", 20},
                                     {"rope.dimension_count", 8},
                                     {"expert_count", 8},
                                     {"expert_used_count", 2},
                                     {"expert_feed_forward_length", 16},
                                     {"attention.head_count_kv", mla ? 1 : 8},
                                     {"attention.key_length", mla ? 28 : 24},
                                     {"attention.value_length", mla ? 20 : 12}})
      writer.addUint("deepseek2." + std::string(key), static_cast<uint32_t>(value));
    if (mla)
      writer.addUint("deepseek2.attention.key_length_mla", 24)
          .addUint("deepseek2.attention.value_length_mla", 12)
          .tensor("blk.0.attn_k_b.weight", 0, {8, 20, 16}, std::string(4 * 8 * 20 * 16, 'x'));
    return writer.addUint("deepseek2.expert_gating_func", gating);
  };
  for (bool mla : {true, false}) {
    auto parsed = parse(deepseek(mla, 2));
    ASSERT_TRUE(parsed.ok()) << parsed.status().message();
    EXPECT_EQ(parsed->architecture, "deepseek_v3");
    EXPECT_EQ(parsed->latent.kv_rank, 20);
    EXPECT_EQ(parsed->latent.rope_dim, 8);
    EXPECT_EQ(parsed->latent.nope_dim, 16);
    EXPECT_EQ(parsed->latent.value_dim, 12);
    EXPECT_EQ(parsed->head_dim, 28);
    EXPECT_EQ(parsed->num_kv_heads, 1);
    EXPECT_EQ(parsed->form.latent_parts, mla);
    EXPECT_DOUBLE_EQ(parsed->attention_scale, 1 / std::sqrt(24.0));
  }
  auto softmax = parse(deepseek(true, 1));
  ASSERT_TRUE(softmax.ok()) << softmax.status().message();
  EXPECT_EQ(softmax->architecture, "deepseek_v2");
  // DeepSeek's yarn, of a factor of 40.
  auto yarn = parse(deepseek(true, 2)
                        .addString("deepseek2.rope.scaling.type", "yarn")
                        .addFloat("deepseek2.rope.scaling.factor", 40)
                        .addFloat("deepseek2.rope.scaling.yarn_log_multiplier", 0.1f));
  ASSERT_TRUE(yarn.ok()) << yarn.status().message();
  const double scale = 1 + 0.1f * std::log(40.0);
  EXPECT_DOUBLE_EQ(yarn->attention_scale, scale * scale / std::sqrt(24.0));
  EXPECT_EQ(yarn->rope.attention_factor, 1);
  // A layer of two that predicts a further token.
  auto shorter = parse(deepseek(true, 2).addUint("deepseek2.nextn_predict_layers", 1));
  ASSERT_TRUE(shorter.ok()) << shorter.status().message();
  EXPECT_EQ(shorter->num_layers, 1);
  EXPECT_THAT(refusal(deepseek(true, 2)
                          .addString("deepseek2.rope.scaling.type", "yarn")
                          .addFloat("deepseek2.rope.scaling.factor", 40)
                          .addFloat("deepseek2.rope.scaling.attn_factor", 3)),
              HasSubstr("'deepseek2.rope.scaling.attn_factor' is not supported"));
  // Other families have none of it.
  EXPECT_THAT(refusal(small("arcee").addUint("arcee.attention.kv_lora_rank", 8)),
              HasSubstr("'arcee.attention.kv_lora_rank' is not supported"));
  EXPECT_THAT(refusal(small("arcee").addUint("arcee.nextn_predict_layers", 1)),
              HasSubstr("'arcee.nextn_predict_layers' is not supported"));
  EXPECT_THAT(refusal(deepseek(true, 2).addUint("deepseek2.attention.q_lora_rank", 1 << 21)),
              HasSubstr("'deepseek2.attention.q_lora_rank' is 2097152, must be 0 to 1048576"));
}

TEST(GgufConfig, RefusesByKeyAndValue) {
  EXPECT_THAT(refusal(GgufWriter()), HasSubstr("'general.architecture' is missing"));
  EXPECT_THAT(
      refusal(GgufWriter().addString("general.architecture", "mamba")),
      HasSubstr("general.architecture 'mamba' is not supported in GGUF files (supported: llama, "
                "mistral, mistral3, qwen2, qwen2moe, qwen3, "));
  EXPECT_THAT(refusal(GgufWriter().addString("general.type", "adapter")),
              HasSubstr("a LoRA adapter, not a model"));
  EXPECT_THAT(refusal(GgufWriter().addString("general.type", "mmproj")),
              HasSubstr("general.type 'mmproj': not a model"));
  EXPECT_THAT(refusal(GgufWriter().addString("general.architecture", "llama")),
              HasSubstr("'llama.embedding_length' is missing"));
  EXPECT_THAT(refusal(smallModel()), HasSubstr("are both missing"));
  EXPECT_THAT(refusal(withVocab(smallModel()).addUint("llama.rope.dimension_count", 4)),
              HasSubstr("'llama.rope.dimension_count' 4 is not supported"));
  EXPECT_THAT(refusal(withVocab(smallModel()).addString("llama.rope.scaling.type", "longrope")),
              HasSubstr("'longrope' is not supported (none, linear and yarn are)"));
  const auto yarn = [](float factor) {
    return withVocab(smallModel())
        .addString("llama.rope.scaling.type", "yarn")
        .addFloat("llama.rope.scaling.factor", factor);
  };
  EXPECT_TRUE(parse(yarn(4)).ok());
  EXPECT_THAT(refusal(yarn(-4)), HasSubstr("'llama.rope.scaling.factor' is -4.0, must be above 0"));
  EXPECT_THAT(refusal(yarn(4).addFloat("llama.rope.scaling.yarn_log_multiplier", 1)),
              HasSubstr("'llama.rope.scaling.yarn_log_multiplier' is not supported"));
  EXPECT_THAT(refusal(withVocab(smallModel()).addFloat("llama.attention.temperature_scale", 0.1f)),
              HasSubstr("'llama.attention.temperature_scale' is not supported"));
  EXPECT_THAT(refusal(withVocab(smallModel()).addUint("llama.attention.value_length", 16)),
              HasSubstr("value_length' 16"));
  EXPECT_THAT(refusal(withVocab(smallModel()).addUint("llama.attention.key_length", 3)),
              HasSubstr("head_dim is 3, must be even"));
}

TEST(GgufConfig, EveryArchitectureIsRead) {
  for (const Architecture& entry : architectures()) {
    // GGUF has no name for LFM3 yet.
    EXPECT_EQ(entry.gguf_architecture.empty(), entry.model_type == "lfm3") << entry.model_type;
  }
}

TEST(GgufConfig, ReadsStories260k) {
  const auto path = std::filesystem::path(LLMC_MATERIAL_DIR) / "weights" / "stories260K" /
                    "stories260Ktok512.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no material at " << path;
  auto file = llmrt::GgufFile::open(path.string());
  ASSERT_TRUE(file.ok()) << file.status().message();
  auto spec = parseGgufConfig(**file, "stories");
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->hidden_size, 64);
  EXPECT_EQ(spec->intermediate_size, 172);
  EXPECT_EQ(spec->num_layers, 5);
  EXPECT_EQ(spec->num_heads, 8);
  EXPECT_EQ(spec->num_kv_heads, 4);
  EXPECT_EQ(spec->vocab_size, 512);
  EXPECT_EQ(spec->rope.theta, 10000.0);
  EXPECT_EQ(spec->rms_norm_eps, 1e-5f);
  EXPECT_THAT(spec->dtype, Optional(llmrt::DType::kF32));
}

// What llama.cpp takes for ends of generation: by the metadata's ids and by text.
TEST(GgufConfig, WhatEndsATurnIsKnownByItsText) {
  const auto ids = [](const std::vector<std::string>& tokens, auto... keys) {
    GgufWriter writer = smallModel();
    writer.addString("tokenizer.ggml.model", "gpt2").addStrings("tokenizer.ggml.tokens", tokens);
    (writer.addUint(std::string("tokenizer.ggml.") + keys.first + "_token_id", keys.second), ...);
    auto spec = parse(writer);
    EXPECT_TRUE(spec.ok()) << spec.status().message();
    return spec.ok() ? spec->eos_token_ids : std::vector<int64_t>();
  };
  using Key = std::pair<const char*, uint32_t>;
  EXPECT_THAT(ids({"a", "<|end|>", "b", "<|endoftext|>"}, Key("eos", 3)), ElementsAre(3, 1))
      << "Phi-3's";
  EXPECT_THAT(ids({"<|eom_id|>", "<|eot_id|>", "a", "b"}, Key("eos", 2)), ElementsAre(2, 0, 1))
      << "Llama 3's";
  EXPECT_THAT(ids({"a", "b", "c", "d"}, Key("eos", 1), Key("eot", 3), Key("eom", 2)),
              ElementsAre(1, 2, 3));
  EXPECT_THAT(ids({"a", "b"}, Key("eos", 1), Key("eot", 1), Key("fim_pad", 4294967295)),
              ElementsAre(1));
  EXPECT_THAT(ids({"<end_of_turn>", "<|im_end|>", "<|file_sep|>", "<end_of_turn"}),
              ElementsAre(0, 1, 2));
  EXPECT_THAT(ids({"<|return|>", "<|call|>", "<|end|>", "<|endoftext|>"}, Key("eos", 0)),
              ElementsAre(0, 1, 3))
      << "gpt-oss says several messages in a turn";
  EXPECT_THAT(ids({"<eos>", "<turn|>", "<|tool_response>", "</s>"}, Key("eos", 0)),
              ElementsAre(0, 1, 2))
      << "Gemma 4's </s> is HTML";
  EXPECT_THAT(
      ids({"\uFF5Cend\u2581of\u2581sentence\uFF5C", "<\uFF5Cend\u2581of\u2581sentence\uFF5C>"}),
      ElementsAre(1))
      << "DeepSeek's";
  EXPECT_THAT(refusal(withVocab(smallModel()).addUint("tokenizer.ggml.eot_token_id", 3000000000u)),
              HasSubstr("'tokenizer.ggml.eot_token_id' is 3000000000, expected a token id"));
}

TEST(GgufConfig, ReadsWhatIsRecommendedForSampling) {
  auto with = parse(withVocab(smallModel())
                        .addFloat("general.sampling.temp", 0.5f)
                        .addUint("general.sampling.top_k", 20)
                        .addFloat("general.sampling.top_p", 0.75f)
                        .addFloat("general.sampling.min_p", 0.25f)
                        .addFloat("general.sampling.penalty_repeat", 1.5f));
  ASSERT_TRUE(with.ok()) << with.status().message();
  const GenerationDefaults& g = with->generation;
  EXPECT_TRUE(g.do_sample);
  EXPECT_EQ(g.temperature, 0.5);
  EXPECT_EQ(g.top_k, 20);
  EXPECT_EQ(g.top_p, 0.75);
  EXPECT_EQ(g.min_p, 0.25);
  EXPECT_EQ(g.repetition_penalty, 1.5);
  EXPECT_THAT(g.unused, ElementsAre());

  auto none = parse(withVocab(smallModel()));
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none->generation.do_sample);
  EXPECT_EQ(none->generation.chat_temperature, 0.7);

  auto others = parse(withVocab(smallModel())
                          .addFloat("general.sampling.penalty_repeat", 1.5f)
                          .addUint("general.sampling.penalty_last_n", 64)
                          .addFloat("general.sampling.xtc_probability", 0.5f)
                          .addUint("general.sampling.mirostat", 2)
                          .addString("general.sampling.sequence", "penalties;temperature"));
  ASSERT_TRUE(others.ok()) << others.status().message();
  EXPECT_FALSE(others->generation.do_sample);
  EXPECT_THAT(others->generation.unused,
              ElementsAre("general.sampling.penalty_last_n 64",
                          "general.sampling.xtc_probability 0.5", "general.sampling.mirostat 2.0",
                          "general.sampling.sequence 'penalties;temperature'"));

  // As llama.cpp says that something is off.
  auto off = parse(withVocab(smallModel())
                       .addFloat("general.sampling.temp", -1)
                       .addFloat("general.sampling.top_p", 2)
                       .addFloat("general.sampling.min_p", -1)
                       .addFloat("general.sampling.xtc_probability", 0));
  ASSERT_TRUE(off.ok()) << off.status().message();
  EXPECT_TRUE(off->generation.do_sample);
  EXPECT_EQ(off->generation.temperature, 0) << "greedy";
  EXPECT_EQ(off->generation.top_p, 1);
  EXPECT_EQ(off->generation.min_p, 0);
  EXPECT_THAT(off->generation.unused, ElementsAre());
  EXPECT_THAT(refusal(withVocab(smallModel()).addFloat("general.sampling.top_p", -1)),
              HasSubstr("metadata general.sampling: top_p is -1.0"));
}

}  // namespace
}  // namespace llmc
