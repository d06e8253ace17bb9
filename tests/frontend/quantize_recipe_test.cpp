// Which formats --quantize gives the weights of a model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "frontend/HfConfig.h"
#include "runtime/io/json.h"
#include "models/QuantizeRecipe.h"

namespace llmc {
namespace {

using ::testing::HasSubstr;

ModelSpec specOf(const std::string& golden) {
  const std::string path = std::string(LLMC_GOLDEN_DIR) + "/" + golden + "/config.json";
  const auto config = llmrt::readJsonFile(path);
  EXPECT_TRUE(config.ok()) << config.status().message();
  auto spec = parseHfConfig(*config, path, golden);
  EXPECT_TRUE(spec.ok()) << spec.status().message();
  return *std::move(spec);
}

llmrt::Status quantize(ModelSpec& spec, const std::string& scheme) {
  auto options = parseQuantize(scheme);
  if (!options.ok()) return std::move(options).status();
  return quantizeModel(spec, *options);
}

/// The format of a role's weights in the first layer that has them; "" where they stay plain.
std::string formatOf(const ModelSpec& spec, const std::string& role) {
  for (const ModelWeight& w : modelWeights(spec))
    if (w.role == role) return w.format ? std::string(w.format->name) : "";
  ADD_FAILURE() << "no " << role;
  return "";
}

TEST(QuantizeRecipe, EachPartGetsTheFormatOfItsScheme) {
  ModelSpec spec = specOf("llama_mha");
  spec.hidden_size = 512;
  spec.intermediate_size = 1024;
  spec.num_heads = spec.num_kv_heads = 8;
  spec.head_dim = 64;
  ModelSpec q4 = spec, q8 = spec, own = spec;
  ASSERT_TRUE(quantize(q4, "q4").ok());
  EXPECT_EQ(formatOf(q4, "q_proj"), "q5_k");
  EXPECT_EQ(formatOf(q4, "down_proj"), "q4_k");
  EXPECT_EQ(formatOf(q4, "embed_tokens"), "q6_k");
  EXPECT_EQ(formatOf(q4, "input_norm"), "");
  ASSERT_TRUE(quantize(q8, "q8").ok());
  EXPECT_EQ(formatOf(q8, "q_proj"), "q8_0");
  ASSERT_TRUE(quantize(own, "q4,down_proj=q6_k,o_proj=plain,gate_proj=q8").ok());
  EXPECT_EQ(formatOf(own, "down_proj"), "q6_k");
  EXPECT_EQ(formatOf(own, "o_proj"), "");
  EXPECT_EQ(formatOf(own, "gate_proj"), "q8_0");
  EXPECT_EQ(formatOf(own, "up_proj"), "q4_k");
}

TEST(QuantizeRecipe, RowsThatAreNoWholeBlocksGetSmallerOnesOrStay) {
  ModelSpec spec = specOf("llama_mha");
  spec.hidden_size = 96;          // three blocks of 32
  spec.intermediate_size = 1000;  // none of any
  ASSERT_TRUE(quantize(spec, "q4").ok());
  EXPECT_EQ(formatOf(spec, "gate_proj"), "q4_1");
  EXPECT_EQ(formatOf(spec, "down_proj"), "");
}

// One tensor of several weights has one format, which all of them must fit.
TEST(QuantizeRecipe, WeightsOfOneTensorAgree) {
  ModelSpec phi = specOf("phi3");
  EXPECT_THAT(quantize(phi, "q4,q_proj=q8").message(), HasSubstr("are one tensor"));
  ModelSpec latent = specOf("deepseek_v3");
  latent.latent.kv_rank = 512;
  latent.latent.value_dim = 32;  // o_proj takes heads of these
  ASSERT_TRUE(quantize(latent, "q8").ok());
  // k_up is read along the rows of the tensor that v_up is a part of.
  EXPECT_EQ(formatOf(latent, "k_up"), "");
  EXPECT_EQ(formatOf(latent, "v_up"), "");
  EXPECT_EQ(formatOf(latent, "o_proj"), "q8_0");
  ModelSpec experts = specOf("mixtral");
  EXPECT_THAT(quantize(experts, "q4,expert_gate=q8").message(), HasSubstr("multiplied as one"));
  EXPECT_EQ(formatOf(experts, "router"), "");
}

TEST(QuantizeRecipe, WhatIsNoSchemeIsNamed) {
  for (const char* wrong :
       {"", "q3", "q4,", "q4,q8", "lm_head=q8", "q4,lm_head", "q4,lm_head=q9", "q4,=q8"}) {
    const auto parsed = parseQuantize(wrong);
    ASSERT_FALSE(parsed.ok()) << wrong;
    EXPECT_THAT(parsed.status().message(), HasSubstr("takes a scheme (q8, q6, q5, q4)")) << wrong;
  }
}

}  // namespace
}  // namespace llmc
