// Whole runs of `llmrun --device cuda` on the fake driver, whose kernels are the generated ones
// under the shim: the goldens of others to the tolerance they were made for, texts to the letter.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "tests/cuda/fake_run.h"
#include "tests/sampling.h"

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

// The short form runs each model in one of three ways.
class CudaGoldenRows : public CudaGolden {};
class CudaGoldenChunks : public CudaGolden {};
class CudaGoldenAtOnce : public CudaGolden {};

// One row a step: every product sums f32 operands, as on a CPU.
TEST_P(CudaGoldenRows, EqualTransformers) {
  expectRun({"--prefill-chunk", "1"}, run_["tolerance"].get<double>());
}

// A few rows a step, as a batch has them: so do these.
TEST_P(CudaGoldenChunks, EqualTransformers) {
  for (const char* rows : {"6", "11"})
    expectRun({"--prefill-chunk", rows}, run_["tolerance"].get<double>());
}

// The prompt at once: on tensor cores where weights are bf16 or f16, which rounds the operands of
// each product to 2^-9 (2^-12) of their size. Random errors of K terms stay at that relative size
// in their sum, and some ten products a logit depends on add up: 2^-5 (2^-8) of the logits' size is
// far beyond what they reach.
TEST_P(CudaGoldenAtOnce, EqualTransformers) {
  const std::string weights = GetParam().weights;
  const double rounding = weights == "f32" ? 0 : weights == "bf16" ? 0x1p-5 : 0x1p-8;
  double largest = 0;
  for (const auto& step : run_["steps"])
    largest = std::max(largest, std::abs(step["top"][0][1].get<double>()));
  expectRun({}, run_["tolerance"].get<double>() + rounding * largest);
}

// Of the short form.
const std::vector<Case> kCases = {
    {"llama_gqa_biases", "f32", "f32"},
    {"llama_mqa_head_dim_24", "f32", "f32"},
    {"mistral_window", "f32", "f32"},
    {"llama_head_dim_20_bf16", "bf16", "bf16"},
    // softcaps, norms after, scales
    {"gemma2", "bf16", "bf16"},
    // qk-norm
    {"gemma3", "f32", "f32"},
    // heads by kind of layer, keys as values, keys of other layers, tables by layer
    {"gemma4", "bf16", "bf16"},
    {"gemma4_e2b", "f32", "f32"},
    {"olmo2", "f32", "f32"},
    // layer norms, parallel residuals, parts that turn, learned positions, MLPs without a gate
    {"cohere_qk_norm", "f32", "f32"},
    {"gpt2", "f32", "f32"},
    {"gpt_neox_sequential", "bf16", "bf16"},
    {"falcon_40b", "f32", "f32"},
    // linear attention, an output gate
    {"qwen3_next", "f32", "f32"},
    // short convolutions with gates, state spaces alone and beside attention, experts without a
    // gate
    {"lfm2_bias", "bf16", "bf16"},
    {"mamba2_groups", "f32", "f32"},
    {"granitemoehybrid", "f32", "f32"},
    {"nemotron_h_moe", "f32", "f32"},
    // experts: beside a shared one, with biases and sinks, after latents
    {"qwen2_moe", "f32", "f32"},
    {"gpt_oss", "bf16", "bf16"},
    {"deepseek_v3", "f32", "f32"},
    {"gemma4_moe", "f32", "f32"},
    // the same on tensor cores
    {"mixtral", "bf16", "bf16"},
    {"qwen3_moe", "f16", "f16"},
    {"deepseek_v3", "bf16", "bf16"}};

// Of each, what makes it differ is in one of those above.
const std::vector<Case> kMoreCases = {{"llama_rope_llama3", "f32", "f32"},
                                      {"mistral_no_window_f16", "f16", "f16"},
                                      {"qwen3", "bf16", "bf16"},
                                      {"granite", "f32", "f32"},
                                      {"phi", "f32", "f32"},
                                      {"qwen3_5", "bf16", "bf16"},
                                      {"mixtral", "f32", "f32"},
                                      {"deepseek_v2_lite", "f16", "f16"}};

/// The first, second or third of three ways to run each.
llmc_tests::Sweep<Case> casesOfWay(size_t way) {
  llmc_tests::Sweep<Case> sweep = llmc_tests::everyNth(kCases, 3, way);
  sweep.others.insert(sweep.others.end(), kMoreCases.begin(), kMoreCases.end());
  return sweep;
}

std::string nameOf(const testing::TestParamInfo<Case>& info) {
  return std::string(info.param.model) + '_' + info.param.weights;
}

LLMC_INSTANTIATE_SWEEP(CudaGoldenRows, casesOfWay(0), nameOf);
LLMC_INSTANTIATE_SWEEP(CudaGoldenChunks, casesOfWay(1), nameOf);
LLMC_INSTANTIATE_SWEEP(CudaGoldenAtOnce, casesOfWay(2), nameOf);

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

// While one pinned buffer is on its way the next is filled from the file, and none before what it
// held has arrived. The fake's stream works as late as a GPU may: only when it is waited for.
TEST(CudaRun, ReadsWeightsWhileOthersAreOnTheirWay) {
  const std::string plan =
      fakePlan(sourcePath("models/demo"), {"--target", "cuda:sm_80,cuda:sm_90a,x86-64-v3,aarch64"});
  const e2e::ScratchDir dir;
  Strings flags = {"--prompt-ids", joined(Ids(21, 7)), "-n", "9", "--ignore-eos"};
  const auto late = [&](const Strings& more = {}) {
    Strings environment = {"LLMC_FAKE_CUDA_LATE=1"};
    environment.insert(environment.end(), more.begin(), more.end());
    return runOnFake(plan, flags, environment);
  };
  EXPECT_EQ(late({"LLMC_FAKE_CUDA_LOG=" + (dir / "log")})["ids"], runOnFake(plan, flags)["ids"]);
  std::istringstream lines(e2e::readFile(dir / "log"));
  int copies = 0, overlapped = 0;
  // Up to the first step: RoPE tables, which are waited for, then weights.
  for (std::string line; std::getline(lines, line);) {
    long bytes = 0;
    int others = 0;
    if (std::sscanf(line.c_str(), "copy %ld %d", &bytes, &others) == 2) {
      EXPECT_LE(others, 1);
      ++copies;
      overlapped += others == 1;
    } else if (line.rfind("launch llmc_relayout", 0) != 0 && line.rfind("carveout", 0) != 0) {
      break;
    }
  }
  EXPECT_GT(copies, 20);
  EXPECT_GE(overlapped, copies - 5);
  // Steps too, whoever chooses the token.
  flags.insert(flags.end(), {"--temperature", "1", "--top-k", "20", "--top-p", "0.9"});
  const auto alone = late();
  EXPECT_EQ(alone["ids"], runOnFake(plan, flags)["ids"]);
  flags.insert(flags.end(), {"--top-logits", "1", "--prefill-chunk", "4"});
  EXPECT_EQ(late()["ids"], runOnFake(plan, flags)["ids"]);
}

// Sampling on the device, with no logits read back, tells the story that the host's sampler tells
// from the same logits, whatever the options: of each the same seed, once with the logits shown
// (--top-logits), which keeps the choice here.
TEST(CudaRun, SamplesAloneWhatTheHostWouldSample) {
  const std::string plan =
      fakePlan(sourcePath("models/demo"), {"--target", "cuda:sm_80,cuda:sm_90a,x86-64-v3,aarch64"});
  const e2e::ScratchDir dir;
  const struct {
    Strings flags;
    int launches;  // of llmc_sample in a step
  } cases[] = {{{"--temperature", "1.1", "--seed", "7"}, 2},
               {{"--temperature", "0.9", "--top-k", "20", "--seed", "8"}, 4},
               {{"--temperature", "1.3", "--top-p", "0.8", "--min-p", "0.01", "--seed", "9"}, 5},
               {{"--temperature", "1.2", "--top-k", "50", "--top-p", "0.9", "--repetition-penalty",
                 "1.2", "--seed", "10"},
                7},
               {{"--temperature", "0", "--repetition-penalty", "1.3"}, 1}};
  // The last graph of a run is that of its steps, used for all of them; the prompt's is before it.
  const auto graphOf = [](const std::string& log) {
    const std::string lines = e2e::readFile(log);
    int nodes = 0, graphs = 0;
    for (size_t at = 0; (at = lines.find("graph ", at)) != std::string::npos; ++at, ++graphs)
      std::sscanf(lines.c_str() + at, "graph %d", &nodes);
    return std::pair(nodes, graphs);
  };
  const std::string greedy_log = dir / "greedy";
  runOnFake(plan, {"--prompt", "Once upon a time", "-n", "4", "--ignore-eos"},
            {"LLMC_FAKE_CUDA_LOG=" + greedy_log});
  const auto [without, graphs] = graphOf(greedy_log);
  std::set<std::string> texts;
  for (const auto& c : cases) {
    SCOPED_TRACE(e2e::commandLine(c.flags));
    Strings flags = {"--prompt", "Once upon a time", "-n", "8", "--ignore-eos"};
    flags.insert(flags.end(), c.flags.begin(), c.flags.end());
    const std::string log = dir / std::to_string(&c - cases);
    const auto alone = runOnFake(plan, flags, {"LLMC_FAKE_CUDA_LOG=" + log});
    flags.insert(flags.end(), {"--top-logits", "1"});
    const auto here = runOnFake(plan, flags);
    ASSERT_TRUE(alone.is_object() && here.is_object());
    EXPECT_EQ(alone["ids"], here["ids"]);
    texts.insert(alone["text"]);
    EXPECT_EQ(graphOf(log), std::pair(without - 1 + c.launches, graphs));
  }
  EXPECT_GT(texts.size(), 3u) << "the options change nothing";
}

// The fake's kernels take a microsecond a block: the times of a step's kernels, and of its ops, add
// up to the step.
TEST(CudaRun, ProfilesEveryKernel) {
  const std::string plan =
      fakePlan(sourcePath("models/demo"), {"--target", "cuda:sm_80,cuda:sm_90a,x86-64-v3,aarch64"});
  const e2e::Output output =
      runWithFakes({LLMRUN, plan, "--device", "cuda", "--profile", "--prompt-ids",
                    "5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22", "-n", "4", "--ignore-eos",
                    "--temperature", "1", "--top-k", "5"});
  ASSERT_EQ(output.status, 0) << output.err;
  std::istringstream lines(output.err);
  std::map<std::string, double> step, ops, kernels;
  std::map<std::string, int> counted;
  std::string entry;
  for (std::string line; std::getline(lines, line);) {
    char name[100];
    double us = 0;
    int steps = 0;
    if (line.rfind("    ", 0) == 0) {
      ASSERT_EQ(std::sscanf(line.c_str(), " %99s %lf", name, &us), 2) << line;
      kernels[entry] += us;
      ++counted[name];
    } else if (std::sscanf(line.c_str(), "%99[a-z]: %d steps, %lf us each", name, &steps, &us) ==
               3) {
      step[entry = name] = us;
      EXPECT_EQ(steps, entry == "decode" ? 3 : 1) << line;
    } else if (std::sscanf(line.c_str(), " %99s %lf", name, &us) == 2) {
      ops[entry] += us;
    }
  }
  for (const std::string name : {"decode", "prefill"}) {
    EXPECT_GT(step[name], 10) << output.err;
    EXPECT_NEAR(ops[name], step[name], 0.05) << output.err;
    EXPECT_NEAR(kernels[name], step[name], 0.05) << output.err;
  }
  EXPECT_EQ(counted["llmc_sample"], 1) << output.err;
  EXPECT_GT(counted.size(), 15u) << output.err;
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
    EXPECT_THAT(lines, testing::HasSubstr(capability == "90" ? "_wgmma" : "_mma"));
  }
}

/// How often `what` stands in `text`.
int countOf(const std::string& text, const std::string& what) {
  int count = 0;
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; ++at) ++count;
  return count;
}

// So may every kernel of a prompt's step but its first; all have the same share of shared memory,
// for which a processor would run dry; and both can be had otherwise, to compare.
TEST(CudaRun, LaunchesAsTheDeviceSays) {
  const std::string plan =
      fakePlan(sourcePath("models/demo"), {"--target", "cuda:sm_80,cuda:sm_90a,x86-64-v3,aarch64"});
  const e2e::ScratchDir dir;
  std::set<std::string> ids;
  for (const std::string device :
       {"cuda", "cuda:0,serial", "cuda,carveout=-1", "cuda,carveout=50,serial"}) {
    const std::string log = dir / device;
    const e2e::Output output =
        runWithFakes({LLMRUN, plan, "--device", device, "--json", "--prompt-ids",
                      "5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21", "-n", "3", "--ignore-eos"},
                     {"LLMC_FAKE_CUDA_CAPABILITY=90", "LLMC_FAKE_CUDA_LOG=" + log});
    ASSERT_EQ(output.status, 0) << output.err;
    ids.insert(nlohmann::json::parse(output.out)["ids"].dump());
    const std::string lines = e2e::readFile(log);
    const int relayouts = countOf(lines, "launch llmc_relayout"),
              launches = countOf(lines, "launch ") - relayouts;
    EXPECT_GT(launches, 20);
    // All but the first, and the choice behind the prompt.
    EXPECT_EQ(countOf(lines, " programmatic\n"),
              device.find("serial") == std::string::npos ? launches - 2 : 0);
    EXPECT_EQ(lines.find("programmatic") < lines.find("launch embed"), false)
        << "the first waits for the upload";
    const std::string share = device.find("50") != std::string::npos ? "50" : "100";
    EXPECT_EQ(countOf(lines, "carveout "), device.find("-1") == std::string::npos
                                               ? countOf(lines, "carveout " + share + "\n")
                                               : 0);
    EXPECT_EQ(countOf(lines, "carveout ") > 20, device.find("-1") == std::string::npos);
  }
  EXPECT_EQ(ids.size(), 1u);
  for (const std::string device : {"cuda,fast", "cuda,carveout=101", "cuda:0,", "cuda,carveout="}) {
    const e2e::Output output = runWithFakes(
        {LLMRUN, plan, "--device", device, "--prompt-ids", "5", "-n", "1", "--ignore-eos"});
    EXPECT_EQ(output.status, 1);
    EXPECT_THAT(output.err, testing::HasSubstr("after a GPU come ,serial and ,carveout=PERCENT"));
  }
}

/// A prompt of 90 tokens through a plan of tests/cuda/experts.json: its logits, once each kernel of
/// the experts was launched whose name ends so.
nlohmann::json runExperts(const std::string& plan, const std::string& capability,
                          const std::string& suffix) {
  const e2e::ScratchDir dir;
  const std::string log = dir / "log";
  Ids prompt;
  for (int i = 0; i < 90; ++i) prompt.push_back(3 + i * 7919 % 497);
  const auto result =
      runOnFake(plan,
                {"--prompt-ids", joined(prompt), "-n", "2", "--ignore-eos", "--top-logits", "8",
                 "--synthetic-weights"},
                {"LLMC_FAKE_CUDA_CAPABILITY=" + capability, "LLMC_FAKE_CUDA_LOG=" + log});
  const std::string lines = e2e::readFile(log);
  for (const std::string op : {"expert_glu_256x192", "expert_down_192x128"})
    EXPECT_NE(lines.find(op + "_bf16_prefill_" + suffix + '\n'), std::string::npos)
        << lines.substr(0, 4000);
  return result.is_object() ? result["steps"] : nlohmann::json();
}

// Experts of as many rows as a prompt brings them, on wgmma and on mma.sync: both add up k in
// ascending order under the shim, so a model's logits are the same. So are those of clusters, on
// any GPU: only who copies differs.
TEST(CudaRun, ExpertsOnWgmmaSayWhatMmaSyncSays) {
  const std::string model = sourcePath("tests/cuda/experts.json");
  const std::string plan =
      fakePlan(model, {"--target", "cuda:sm_80,cuda:sm_90a", "--no-weights", "--dtype", "bf16"});
  const std::string clusters = fakePlan(model, {"--target", "cuda:sm_90a", "--no-weights",
                                                "--dtype", "bf16", "--cuda-clusters", "2"});
  const auto mma = runExperts(plan, "80", "mma");
  EXPECT_TRUE(mma.is_array());
  EXPECT_EQ(mma, runExperts(plan, "90", "wgmma programmatic"));
  EXPECT_EQ(mma, runExperts(clusters, "90", "wgmma programmatic"));
}

// PTX on a GPU that came later. Nobody has told how much shared memory its kernels declare, and
// they hold no instruction that waits for the kernel ahead: every edge of a graph must. The fake
// has no compiler for PTX: sm_80's code stands in for what the driver would make of it.
TEST(CudaRun, RunsPtxOnALaterGpu) {
  const std::string plan =
      fakePlan(sourcePath("models/demo"), {"--target", "cuda:sm_80,cuda:sm_90a,x86-64-v3,aarch64"});
  const e2e::ScratchDir dir;
  const std::string ptx = dir / "p.fb", log = dir / "log";
  rewritePlan(plan, ptx, [](llmrt::schema::PlanT& p) {
    const auto target = [&](const char* name) {
      return std::find_if(p.targets.begin(), p.targets.end(),
                          [&](const auto& t) { return t->name == name; });
    };
    auto& image = (*target("cuda:compute_80"))->image;
    image = (*target("cuda:sm_80"))->image;
    image.push_back(0);
    (*target("cuda:compute_80"))->image_hash = XXH3_64bits(image.data(), image.size());
    p.targets.erase(target("cuda:sm_90a"));
  });
  const Strings flags = {"--prompt-ids", "5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21",
                         "-n",           "5",
                         "--ignore-eos", "--synthetic-weights"};
  const auto later =
      runOnFake(ptx, flags, {"LLMC_FAKE_CUDA_CAPABILITY=90", "LLMC_FAKE_CUDA_LOG=" + log});
  const auto exact = runOnFake(plan, flags);
  ASSERT_TRUE(later.is_object() && exact.is_object());
  EXPECT_EQ(later["ids"], exact["ids"]);
  const std::string lines = e2e::readFile(log);
  const size_t graph = lines.find("graph ");
  ASSERT_NE(graph, std::string::npos);
  int nodes = 0, programmatic = -1;
  std::sscanf(lines.c_str() + graph, "graph %d %d", &nodes, &programmatic);
  EXPECT_EQ(programmatic, 0);
}

}  // namespace
}  // namespace llmc::test
