// Goldens in GGUF, as llama.cpp's convert_hf_to_gguf.py would write them: the same logits and ids.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "runtime/io/float_convert.h"
#include "runtime/io/safetensors.h"
#include "tests/e2e/golden_run.h"
#include "tests/e2e/plan_cache.h"
#include "tests/e2e/process.h"
#include "tests/e2e/running_model.h"
#include "tests/io/checkpoint_files.h"

namespace e2e {
namespace {

using llmc_tests::GgufWriter;
using llmc_tests::rawBytes;

// gguf-py/gguf/tensor_mapping.py: names without "model.layers.N." and without suffix.
const std::map<std::string, std::string> kNames = {
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
    {"input_layernorm", "attn_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.qkv_proj", "attn_qkv"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.gate_up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
};
const std::map<std::string, std::string> kOlmo2Names = {
    {"post_attention_layernorm", "post_attention_norm"},
    {"post_feedforward_layernorm", "post_ffw_norm"},
};

class Converter {
 public:
  explicit Converter(const std::string& model)
      : model_(model),
        config_(nlohmann::json::parse(readFile(model + "/config.json"))),
        architecture_(config_["model_type"]) {}

  std::string bytes() {
    writer_.addString("general.architecture", architecture_);
    addSizes();
    addRope();
    if (architecture_ == "granite") {
      addFloat("embedding_scale", config_["embedding_multiplier"]);
      addFloat("residual_scale", config_["residual_multiplier"]);
      addFloat("attention.scale", config_["attention_multiplier"]);
      addFloat("logit_scale", config_["logits_scaling"]);
    }
    const auto source = llmrt::openSafetensors(model_);
    EXPECT_TRUE(source.ok()) << source.status().message();
    if (!source.ok()) return "";
    for (const std::string& name : (*source)->names()) addTensor(**(*source)->find(name));
    return writer_.bytes();
  }

 private:
  void addUint(const std::string& key, int64_t value) {
    writer_.addUint(architecture_ + "." + key, static_cast<uint32_t>(value));
  }
  void addFloat(const std::string& key, double value) {
    writer_.addFloat(architecture_ + "." + key, static_cast<float>(value));
  }
  int64_t headDim() const {
    const int64_t hidden = config_["hidden_size"], heads = config_["num_attention_heads"];
    return config_.value("head_dim", hidden / heads);
  }

  void addSizes() {
    addUint("embedding_length", config_["hidden_size"]);
    addUint("feed_forward_length", config_["intermediate_size"]);
    addUint("block_count", config_["num_hidden_layers"]);
    addUint("attention.head_count", config_["num_attention_heads"]);
    addUint("attention.head_count_kv", config_["num_key_value_heads"]);
    addUint("context_length", config_["max_position_embeddings"]);
    addUint("vocab_size", config_["vocab_size"]);
    addFloat("attention.layer_norm_rms_epsilon", config_["rms_norm_eps"]);
    if (!config_.contains("head_dim")) return;
    addUint("attention.key_length", headDim());
    addUint("attention.value_length", headDim());
  }

  void addRope() {
    const nlohmann::json rope = config_["rope_parameters"];
    addFloat("rope.freq_base", rope["rope_theta"]);
    addUint("rope.dimension_count", static_cast<int64_t>(static_cast<double>(headDim()) *
                                                         rope.value("partial_rotary_factor", 1.0)));
    if (architecture_ != "phi3") return;
    const double trained = config_["original_max_position_embeddings"];
    addUint("rope.scaling.original_context_length", static_cast<int64_t>(trained));
    addUint("attention.sliding_window", 0);
    if (!rope.contains("long_factor")) return;
    const double scale = config_["max_position_embeddings"].get<double>() / trained;
    addFloat("rope.scaling.attn_factor", std::sqrt(1 + std::log(scale) / std::log(trained)));
    for (const std::string length : {"long", "short"}) {
      const std::vector<float> factors = rope[length + "_factor"];
      writer_.tensor("rope_factors_" + length + ".weight", 0, {factors.size()}, rawBytes(factors));
    }
  }

  void addTensor(const llmrt::Tensor& tensor) {
    const size_t dot = tensor.name.rfind('.');
    std::string stem = tensor.name.substr(0, dot), prefix;
    if (stem.starts_with("model.layers.")) {
      const size_t end = stem.find('.', 13);
      prefix = "blk." + stem.substr(13, end - 12);
      stem = stem.substr(end + 1);
    }
    const bool own = architecture_ == "olmo2" && kOlmo2Names.contains(stem);
    const std::string name =
        prefix + (own ? kOlmo2Names : kNames).at(stem) + tensor.name.substr(dot);
    const std::vector<uint64_t> shape(tensor.shape.begin(), tensor.shape.end());
    // Vectors are f32; Gemma's norms are stored with the 1 that they lack.
    if (shape.size() == 1) {
      const float plus = architecture_ == "gemma" && stem.ends_with("norm") ? 1 : 0;
      std::vector<float> values(shape[0]);
      for (size_t i = 0; i < values.size(); ++i)
        values[i] = llmrt::loadAsF32(tensor.dtype, tensor.data, static_cast<int64_t>(i)) + plus;
      writer_.tensor(name, 0, shape, rawBytes(values));
      return;
    }
    std::string data(reinterpret_cast<const char*>(tensor.data), tensor.bytes);
    if (architecture_ == "granite" && (stem.ends_with("q_proj") || stem.ends_with("k_proj")))
      data = interleaved(data, shape[0], stem.ends_with("k_proj"));
    const uint32_t type = tensor.dtype == llmrt::DType::kF32   ? 0
                          : tensor.dtype == llmrt::DType::kF16 ? 1
                                                               : 30;
    writer_.tensor(name, type, shape, data);
  }

  // LlamaModel.permute(): rows i and i + head_dim / 2 of a head come one behind the other.
  std::string interleaved(const std::string& data, uint64_t rows, bool kv) const {
    const uint64_t heads = config_[kv ? "num_key_value_heads" : "num_attention_heads"];
    const uint64_t head = rows / heads, bytes = data.size() / rows;
    std::string out;
    for (uint64_t h = 0; h < heads; ++h)
      for (uint64_t i = 0; i < head / 2; ++i)
        for (uint64_t half = 0; half < 2; ++half)
          out += data.substr((h * head + half * head / 2 + i) * bytes, bytes);
    return out;
  }

  const std::string model_;
  const nlohmann::json config_;
  const std::string architecture_;
  GgufWriter writer_;
};

class GgufGolden : public testing::TestWithParam<std::string> {};

TEST_P(GgufGolden, EqualsTransformers) {
  const std::string file = std::string(PLAN_CACHE_DIR) + "/gguf/" + GetParam() + ".gguf";
  std::filesystem::create_directories(std::filesystem::path(file).parent_path());
  const std::string bytes = Converter(goldenModel(GetParam())).bytes();
  if (readFile(file) != bytes) writeFile(file, bytes);  // an unchanged one's plan is kept
  const auto golden = goldenOf(GetParam());
  const std::string dtype = golden["stored_dtype"];
  const nlohmann::json* run = goldenRun(golden, dtype, "f32");
  ASSERT_TRUE(run);
  // No --dtype: that of the file.
  std::vector<std::string> flags = {"--kv-dtype", "f32"};
  // Its golden is of the frequencies of a long context, which nobody gets unasked.
  if (GetParam() == "phi3_longrope") flags.insert(flags.end(), {"--max-seq-len", "128"});
  const RunningModel model(compiledPlan(file, flags));
  ASSERT_TRUE(model.ok());
  const auto session = model.session({.threads = 2});
  ASSERT_TRUE(session);
  expectGoldenRun(*session, golden, *run);
}

INSTANTIATE_TEST_SUITE_P(, GgufGolden,
                         testing::Values("qwen2", "qwen3", "gemma", "phi3", "phi3_longrope",
                                         "granite", "olmo2"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace e2e
