// Whole runs of `llmrun --device cuda` on the fake driver, whose kernels are the generated ones
// under the shim: the goldens of others to the tolerance they were made for, texts to the letter.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "tests/cuda/fake_run.h"

namespace llmc::test {
namespace {

using Ids = std::vector<int32_t>;

std::string joined(const Ids& ids) {
  std::string text;
  for (int32_t id : ids) text += (text.empty() ? "" : ",") + std::to_string(id);
  return text;
}

struct Case {
  const char* model;
  const char* weights;
  const char* kv;
};

class CudaGolden : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const std::string dir = sourcePath("tests/golden/") + GetParam().model;
    golden_ = nlohmann::json::parse(e2e::readFile(dir + "/golden.json"));
    for (const auto& run : golden_["runs"])
      if (run["weights_dtype"] == GetParam().weights && run["kv_dtype"] == GetParam().kv)
        run_ = run;
    ASSERT_TRUE(run_.is_object());
    plan_ = fakePlan(dir, {"--target", "cuda:sm_80", "--dtype", GetParam().weights, "--kv-dtype",
                           GetParam().kv});
  }

  /// The largest logit of every step within `tolerance`, every id.
  void expectRun(const Strings& flags, double tolerance) {
    Strings all = {"--prompt-ids",
                   joined(golden_["prompt_ids"].get<Ids>()),
                   "-n",
                   "20",
                   "--ignore-eos",
                   "--top-logits",
                   "5"};
    all.insert(all.end(), flags.begin(), flags.end());
    const auto json = runOnFake(plan_, all);
    ASSERT_TRUE(json.is_object());
    EXPECT_EQ(json["ids"], run_["greedy_ids"]);
    double worst = 0;
    for (size_t s = 0; s < run_["steps"].size(); ++s) {
      const double error = std::abs(json["steps"][s][0][1].get<double>() -
                                    run_["steps"][s]["top"][0][1].get<double>());
      worst = std::max(worst, std::isnan(error) ? INFINITY : error);
    }
    EXPECT_LE(worst, tolerance);
    RecordProperty("worst_of_tolerance", std::to_string(worst / tolerance));
  }

  nlohmann::json golden_, run_;
  std::string plan_;
};

// One row a step: every product sums f32 operands, as on a CPU.
TEST_P(CudaGolden, EqualsTransformersRowByRow) {
  expectRun({"--prefill-chunk", "1"}, run_["tolerance"].get<double>());
}

// The prompt at once: on tensor cores where weights are bf16 or f16, which rounds the operands of
// each product to 2^-9 (2^-12) of their size. Random errors of K terms stay at that relative size
// in their sum, and some ten products a logit depends on add up: 2^-5 (2^-8) of the logits' size is
// far beyond what they reach.
TEST_P(CudaGolden, EqualsTransformersInOneChunk) {
  const std::string weights = GetParam().weights;
  const double rounding = weights == "f32" ? 0 : weights == "bf16" ? 0x1p-5 : 0x1p-8;
  double largest = 0;
  for (const auto& step : run_["steps"])
    largest = std::max(largest, std::abs(step["top"][0][1].get<double>()));
  expectRun({}, run_["tolerance"].get<double>() + rounding * largest);
}

INSTANTIATE_TEST_SUITE_P(
    , CudaGolden,
    testing::Values(Case{"llama_gqa_biases", "f32", "f32"}, Case{"llama_rope_llama3", "f32", "f32"},
                    Case{"llama_mqa_head_dim_24", "f32", "f32"},
                    Case{"mistral_window", "f32", "f32"},
                    Case{"llama_head_dim_20_bf16", "bf16", "bf16"},
                    Case{"mistral_no_window_f16", "f16", "f16"},
                    // qk-norm
                    Case{"qwen3", "bf16", "bf16"},
                    // softcaps, norms after, scales
                    Case{"gemma2", "bf16", "bf16"}, Case{"gemma3", "f32", "f32"},
                    Case{"granite", "f32", "f32"}, Case{"olmo2", "f32", "f32"},
                    // layer norms, parallel residuals, parts that turn, learned
                    // positions, MLPs without a gate
                    Case{"cohere_qk_norm", "f32", "f32"}, Case{"gpt2", "f32", "f32"},
                    Case{"gpt_neox_sequential", "bf16", "bf16"}, Case{"phi", "f32", "f32"},
                    Case{"falcon_40b", "f32", "f32"},
                    // experts: plain, beside a shared one, with biases and
                    // sinks, after latents
                    Case{"mixtral", "f32", "f32"}, Case{"qwen2_moe", "f32", "f32"},
                    Case{"gpt_oss", "bf16", "bf16"}, Case{"deepseek_v3", "f32", "f32"}),
    [](const auto& info) { return info.param.model; });

TEST(CudaRun, TellsTheDemosStory) {
  const std::string plan =
      fakePlan(sourcePath("models/demo"), {"--target", "cuda:sm_80,cuda:sm_90a,x86-64-v3,aarch64"});
  const Strings flags = {"--prompt", "Once upon a time", "-n", "40", "--prefill-chunk", "1"};
  const auto gpu = runOnFake(plan, flags);
  ASSERT_TRUE(gpu.is_object());
  Strings args = {LLMRUN, plan, "--json"};
  args.insert(args.end(), flags.begin(), flags.end());
  const e2e::Output cpu = e2e::run(args);
  ASSERT_EQ(cpu.status, 0) << cpu.err;
  EXPECT_EQ(gpu["text"], nlohmann::json::parse(cpu.out)["text"]);
}

TEST(CudaRun, TellsLlama2csStoryToTheLetter) {
  const std::string model = material("weights/stories260K/stories260Ktok512.gguf");
  if (!std::filesystem::exists(model)) GTEST_SKIP() << model << " is absent (LLMC_MATERIAL_DIR)";
  const std::string plan =
      fakePlan(model, {"--target", "cuda:sm_80", "--dtype", "f32", "--max-seq-len", "512"});
  const std::string text = e2e::readFile(material("weights/stories260K/golden/gold_once_n200.txt"));
  const auto json = runOnFake(plan, {"--prompt", "Once upon a time", "-n", "60", "--ignore-eos"});
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["ids"].size(), 60u);
  EXPECT_THAT(text, testing::StartsWith("Once upon a time" + json["text"].get<std::string>()));
}

// From compute capability 9.0 on, every kernel of a step's graph but the first may begin before the
// one ahead has ended; and a step of a shape is built once.
TEST(CudaRun, DecodesThroughOneGraphPerShape) {
  const std::string plan =
      fakePlan(sourcePath("models/demo"), {"--target", "cuda:sm_80,cuda:sm_90a,x86-64-v3,aarch64"});
  const e2e::ScratchDir dir;
  for (const std::string capability : {"80", "90"}) {
    const std::string log = dir / capability;
    const auto json =
        runOnFake(plan,
                  {"--prompt-ids", "5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21", "-n", "9",
                   "--ignore-eos"},
                  {"LLMC_FAKE_CUDA_CAPABILITY=" + capability, "LLMC_FAKE_CUDA_LOG=" + log});
    ASSERT_TRUE(json.is_object());
    const std::string lines = e2e::readFile(log);
    const size_t graph = lines.find("graph ");
    ASSERT_NE(graph, std::string::npos);
    EXPECT_EQ(lines.find("graph ", graph + 1), std::string::npos) << "more than one graph:\n"
                                                                  << lines;
    int nodes = 0, programmatic = 0;
    std::sscanf(lines.c_str() + graph, "graph %d %d", &nodes, &programmatic);
    EXPECT_GT(nodes, 10);
    EXPECT_EQ(programmatic, capability == "90" ? nodes - 1 : 0);
    EXPECT_THAT(lines, testing::HasSubstr("prefill_mma"));
  }
}

}  // namespace
}  // namespace llmc::test
