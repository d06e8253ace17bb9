// llmc's CUDA targets: readable source, NVRTC's machine code for every architecture, resources in
// the plan.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>

#include "tests/cuda/fake_run.h"
#include "tests/sampling.h"

namespace llmc::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// How often `pattern` is found in `text`.
int64_t countOf(const std::string& text, const char* pattern) {
  const std::regex regex(pattern);
  return std::distance(std::sregex_iterator(text.begin(), text.end(), regex), {});
}

/// A __global__ function: perhaps what it asks of shared memory, that it waits, and one call.
constexpr char kThinFunction[] =
    R"(extern "C" __global__ void __launch_bounds__\([0-9, ]+\) \w+\([^\n]*\) \{\n)"
    R"((  static_assert\([^\n]*\);\n)?(  letNextKernelBegin\(\);\n  waitForEarlierKernels\(\);\n)?)"
    R"(  [A-Za-z][^\n]*\);\n\}\n)";

/// The kernels of models/mistral.json for a target, with further flags behind it.
e2e::Output mistralSource(const Strings& target_and_flags) {
  Strings command = {LLMC,     "compile", sourcePath("models/mistral.json"),
                     "--emit", "cuda",    "--max-seq-len",
                     "4096",   "--target"};
  command.insert(command.end(), target_and_flags.begin(), target_and_flags.end());
  return e2e::run(command);
}

TEST(CudaCompile, EmitsSourceWithTheOpAboveEachKernel) {
  const e2e::Output output = mistralSource({"cuda:sm_80"});
  ASSERT_EQ(output.status, 0) << output.err;
  EXPECT_THAT(output.out, HasSubstr("// %q = llm.norm_qkv %x, %rows, @kv norm @input_norm"));
  // Every kernel: its op, on how many rows, then functions that do no more than to name a body.
  const std::string kernels = output.out.substr(output.out.find("\n// %"));
  EXPECT_EQ(countOf(kernels, "extern \"C\""), countOf(kernels, kThinFunction));
  EXPECT_EQ(countOf(kernels, "\n// %"),
            countOf(kernels,
                    "\n// %\\w+ = llm\\.\\w+ [^\n]*\n// at most [0-9]+ "
                    "rows\n(// [0-9]+ bytes of dynamic shared memory\n)?(#ifn?def "
                    "[^\n]*\n)?(extern|// is )"));
  EXPECT_THAT(
      output.out,
      HasSubstr("productOfFewRows<Product<BF16, 4096, 384, 4112, false, true>, 1, true, 1>(args"));
  const e2e::Output four = mistralSource({"cuda:sm_80", "--cuda-panels", "4"});
  EXPECT_THAT(
      four.out,
      HasSubstr("productOfFewRows<Product<BF16, 4096, 384, 4112, false, true>, 1, true, 4>(args"));
  EXPECT_THAT(output.out,
              HasSubstr("Attention<KvPool<BF16, 8, 128>, 32, 0, 4112, 4112>::split(args"));
  EXPECT_THAT(
      output.out,
      AllOf(HasSubstr("#ifdef LLMC_WGMMA\nextern \"C\" __global__ void __launch_bounds__(384, 1)"),
            HasSubstr("productOnWgmma<Product<BF16, 4096, 384, 4112, false, true>, 128>(args"),
            testing::Not(HasSubstr("__cluster_dims__"))));
  const e2e::Output two = mistralSource({"cuda:sm_90a", "--cuda-clusters", "2"});
  EXPECT_THAT(
      two.out,
      AllOf(HasSubstr("__launch_bounds__(384, 1) __cluster_dims__(2, 1, 1) norm_qkv_"),
            HasSubstr("productOnWgmma<Product<BF16, 4096, 384, 4112, false, true>, 128, 2>(args")));
  const e2e::Output small = mistralSource({"cuda:sm_90a", "--cuda-tile-rows", "64"});
  // Up to 256 rows leave processors idle with tiles of 128; gate and up have blocks enough.
  EXPECT_THAT(
      small.out,
      AllOf(HasSubstr("productOnWgmma<Product<BF16, 4096, 384, 4112, false, true>, 64>(args"),
            HasSubstr("productOnWgmma<Product<BF16, 4096, 384, 4112, false, true>, 128>(args"),
            testing::Not(HasSubstr(
                "productOnWgmma<Product<BF16, 4096, 1792, 4112, false, true>, 64>(args"))));
}

// 6104 columns are no multiple of a block's 16, so four rows of them are staged: 95.5 KB, which
// with what the kernel declares is more than the 99 KB of some GPUs.
TEST(CudaCompile, RefusesRowsThatNotEveryGpuCanStage) {
  const e2e::ScratchDir dir;
  auto config = nlohmann::json::parse(e2e::readFile(sourcePath("models/mistral.json")));
  for (const int cols : {5976, 6104}) {
    config["intermediate_size"] = cols;
    std::ofstream(dir / "m.json") << config;
    const e2e::Output output = e2e::run({LLMC, "compile", dir / "m.json", "--emit", "cuda"});
    EXPECT_EQ(output.status, cols == 5976 ? 0 : 1) << output.err;
    if (cols == 6104) {
      EXPECT_THAT(output.err, HasSubstr("a matrix with 6104 columns, which is no multiple of 16"));
    }
  }
}

TEST(CudaCompile, KeepsTheCompilersReportInThePlan) {
  const std::string plan =
      fakePlan(sourcePath("models/demo"), {"--target", "cuda:sm_80,cuda:sm_90a,x86-64-v3,aarch64"});
  const e2e::Output output = e2e::run({LLMC, "inspect", plan, "--json", "--bandwidth", "10"});
  ASSERT_EQ(output.status, 0) << output.err;
  const auto json = nlohmann::json::parse(output.out);
  std::set<std::string> targets;
  for (const auto& t : json["targets"]) {
    targets.insert(t["name"]);
    // The tests' NVRTC is that of CUDA 13.0.
    const bool cuda = t["name"].get<std::string>().starts_with("cuda:");
    EXPECT_EQ(t.value("cuda_min_driver", 0), cuda ? 13000 : 0) << t;
  }
  EXPECT_EQ(targets, (std::set<std::string>{"x86-64-v3", "aarch64", "cuda:sm_80", "cuda:sm_90a",
                                            "cuda:compute_80"}));
  int reported = 0;
  for (const auto& kernel : json["kernels"])
    for (const auto& launch : kernel["cuda"]["cuda:sm_80"]) {
      EXPECT_EQ(launch["registers"], 42);
      EXPECT_EQ(launch["spill_bytes"], 0);
      EXPECT_EQ(launch["shared_bytes"], 1152);
      ++reported;
    }
  EXPECT_GE(reported, 14);
  EXPECT_THAT(e2e::run({LLMC, "inspect", plan, "--bandwidth", "10"}).out,
              HasSubstr("needs an NVIDIA driver for CUDA 13.0 or later\n"));
  const std::string alone =
      fakePlan(sourcePath("models/demo"), {"--target", "cuda:sm_80", "--no-ptx"});
  const auto only = nlohmann::json::parse(
      e2e::run({LLMC, "inspect", alone, "--json", "--bandwidth", "10"}).out)["targets"];
  ASSERT_EQ(only.size(), 1U) << only;
  EXPECT_EQ(only[0]["name"], "cuda:sm_80");
}

TEST(CudaCompile, WithoutNvrtcSaysHowToGetItAndDoesTheRest) {
  const e2e::ScratchDir dir;
  const std::string model = sourcePath("models/demo");
  const e2e::Output cuda = runWithoutCuda(
      {LLMC, "compile", model, "--target", "x86-64-v3,cuda:sm_80", "-o", dir / "p.fb"});
  EXPECT_EQ(cuda.status, 1);
  EXPECT_THAT(cuda.err, AllOf(HasSubstr("--target cuda: NVIDIA's compiler NVRTC is not installed"),
                              HasSubstr("pip install nvidia-cuda-nvrtc"), HasSubstr("toolkit")));
  EXPECT_EQ(std::count(cuda.err.begin(), cuda.err.end(), '\n'), 1) << cuda.err;
  EXPECT_FALSE(std::filesystem::exists(dir / "p.fb"));
  const e2e::Output cpu =
      runWithoutCuda({LLMC, "compile", model, "--target", "x86-64-v3", "-o", dir / "p.fb"});
  EXPECT_EQ(cpu.status, 0) << cpu.err;
  EXPECT_EQ(runWithoutCuda({LLMC, "compile", model, "--emit", "cuda"}).status, 0);
  EXPECT_THAT(runWithoutCuda({LLMC, "targets"}).out, HasSubstr("pip install nvidia-cuda-nvrtc"));
}

TEST(CudaCompile, ShowsTheCompilersLogWhereItFails) {
  const e2e::ScratchDir dir;
  const e2e::Output output = runWithFakes(
      {LLMC, "compile", sourcePath("models/demo"), "--target", "cuda:sm_80", "-o", dir / "p.fb"},
      {"LLMC_FAKE_NVRTC_FAIL=llmc.cu(7): error: no such thing"});
  EXPECT_EQ(output.status, 1);
  EXPECT_THAT(output.err,
              AllOf(HasSubstr("NVRTC for sm_80"), HasSubstr("llmc.cu(7): error: no such thing")));
  std::smatch source;
  ASSERT_TRUE(std::regex_search(output.err, source, std::regex(R"(\(source: ([^)]+)\))")));
  EXPECT_THAT(e2e::readFile(source[1]), HasSubstr("// %x = llm.embed"));
  std::filesystem::remove(source[1].str());
}

// The last of several blocks to end takes up what the others left. The shim runs one block at a
// time, so this is read from the text: what a block leaves lies behind a barrier before one of its
// threads counts it, and the last one reads behind a barrier; the counting itself orders memory.
TEST(CudaCompile, BlocksThatAreCountedHaveBarriersOnBothSides) {
  int64_t counted = 0;
  for (const auto& file : std::filesystem::directory_iterator(sourcePath("codegen/cuda/device"))) {
    SCOPED_TRACE(file.path().string());
    const std::string text = e2e::readFile(file.path().string());
    const int64_t here = countOf(text, R"(last = countArrival\()");
    EXPECT_EQ(countOf(text, R"(countArrival\()"), here + countOf(text, "u32 countArrival"));
    EXPECT_EQ(
        countOf(text, "__syncthreads\\(\\);[^\n]*\n([^\n]*\n){0,2}[^\n]*last = countArrival\\("),
        here);
    EXPECT_EQ(countOf(text,
                      "last = countArrival\\([^\n]*\n([^\n]*\n){0,2} *__syncthreads\\(\\);\n *if "
                      "\\(!(shared\\.)?last\\) return;"),
              here);
    counted += here;
  }
  EXPECT_EQ(counted, 2) << "attention that is split, the choice of a token";
}

// Sums in floating point have a fixed order: what blocks or threads add up as they come are
// integers (the shim's atomics take no others).
TEST(CudaCompile, AtomicsAreOfIntegers) {
  const std::string shim = e2e::readFile(sourcePath("tests/cuda/shim.h"));
  EXPECT_EQ(countOf(shim, R"(\natomic\w+\(|inline [^\n]* atomic\w+\()"), 3);
  EXPECT_EQ(countOf(shim, R"(inline unsigned( long long)? atomic(Add|Max)\(unsigned)"), 3);
  for (const auto& file : std::filesystem::directory_iterator(sourcePath("codegen/cuda/device")))
    EXPECT_EQ(countOf(e2e::readFile(file.path().string()),
                      R"("(red|atom)\.(?!acq_rel\.gpu\.global\.add\.u32 ))"),
              0)
        << file.path();
}

// A shuffle orders shared memory in the shim, on a GPU a barrier does: in attention a lane clears
// the scores that another lane of its warp then writes.
TEST(CudaCompile, ClearedScoresLieBehindABarrier) {
  const std::string text = e2e::readFile(sourcePath("codegen/cuda/device/attention.cuh"));
  EXPECT_EQ(
      countOf(text,
              R"(= -infinity\(\);\n *__syncwarp\(\);[^\n]*\n(.*load.*\n)? *key_vectors\.forKeys)"),
      1);
}

struct ModelFor {
  const char* model;
  const char* targets;
  int wgmma = 4;    // products of a prefill: qkv, o, gate and up, down
  int experts = 0;  // those of experts
  const char* clusters = "1";
  bool verify = true;  // code for trees, too
  bool ptx = true;
};
constexpr bool kNoVerify = false, kNoPtx = false;

/// Real NVRTC: every kernel of a model for these architectures; none spills. In parts, which run at
/// once.
class CudaArchitectures : public testing::TestWithParam<ModelFor> {};

TEST_P(CudaArchitectures, SpillNothing) {
  const e2e::ScratchDir dir;
  Strings command = {LLMC,
                     "compile",
                     sourcePath(GetParam().model),
                     "--no-weights",
                     "--dtype",
                     "bf16",
                     "--max-batch",
                     "16",
                     "--target",
                     GetParam().targets,
                     "--cuda-clusters",
                     GetParam().clusters,
                     "-o",
                     dir / "p.fb"};
  if (GetParam().verify) command.insert(command.end(), {"--verify", "64"});
  if (!GetParam().ptx) command.push_back("--no-ptx");
  const e2e::Output compiled = e2e::run(command);
  if (compiled.err.find("NVRTC is not installed") != std::string::npos)
    GTEST_SKIP() << compiled.err;
  ASSERT_EQ(compiled.status, 0) << compiled.err;
  const e2e::Output inspected =
      e2e::run({LLMC, "inspect", dir / "p.fb", "--json", "--bandwidth", "10"});
  ASSERT_EQ(inspected.status, 0) << inspected.err;
  const auto json = nlohmann::json::parse(inspected.out);
  std::set<std::string> targets;
  int launches = 0, wgmma = 0, experts = 0;
  for (const auto& kernel : json["kernels"])
    for (const auto& [target, of_target] : kernel["cuda"].items())
      for (const auto& launch : of_target) {
        SCOPED_TRACE(target + ' ' + launch["symbol"].get<std::string>());
        targets.insert(target);
        EXPECT_EQ(launch["spill_bytes"], 0);
        if (target != "cuda:compute_80") {
          EXPECT_GT(launch["registers"], 0);
        }
        // 48 KB without asking; a block that asks gets 99 KB everywhere, on Hopper 227.
        EXPECT_LE(launch["shared_bytes"].get<int>() + launch["dynamic_shared_bytes"].get<int>(),
                  (target == "cuda:sm_90a" ? 227 : 99) << 10);
        const std::string symbol = launch["symbol"];
        wgmma += symbol.ends_with("_wgmma128");
        experts += symbol.starts_with("expert_") && symbol.ends_with("_wgmma");
        ++launches;
      }
  EXPECT_GE(launches, 30 * static_cast<int>(targets.size()));
  const bool hopper = std::string(GetParam().targets).find("sm_90a") != std::string::npos;
  EXPECT_EQ(wgmma, hopper ? GetParam().wgmma : 0);
  EXPECT_EQ(experts, hopper ? GetParam().experts : 0);
  EXPECT_EQ(compiled.err.find("warning"), std::string::npos) << compiled.err;
  if (!GetParam().ptx) return;
  // No product that a sum may be joined to: which would be differs from one kernel to the next.
  const std::string plan = e2e::readFile(dir / "p.fb");
  EXPECT_NE(plan.find("mul.rn.f32"), std::string::npos);
  EXPECT_EQ(plan.find("mul.f32"), std::string::npos);
}

// The short form has every architecture, and every model but one that has another's kernels: NVRTC
// takes ten seconds and more for one model and one architecture, and half of that for PTX and for
// trees, which one model each has there.
const llmc_tests::Sweep<ModelFor> kModels = {
    {{"models/mistral.json", "cuda:sm_90a", 4, 0, "1", true, kNoPtx},
     {"models/llama-3.2-1b.json", "cuda:sm_89", 0, 0, "1", kNoVerify, kNoPtx},
     // experts, sinks, clamped products, biases everywhere
     {"tests/golden/gpt_oss", "cuda:sm_80", 0, 0, "1", kNoVerify},
     // narrow heads, rows that are no whole blocks
     {"tests/golden/llama_mqa_head_dim_24", "cuda:sm_86,cuda:sm_120", 0, 0, "1", kNoVerify, kNoPtx},
     // DeepSeek-V3's heads
     {"tests/cuda/latents.json", "cuda:sm_100a", 0, 0, "1", kNoVerify, kNoPtx},
     // experts with biases and a limit, of gpt-oss' width
     {"tests/gpu/experts.json", "cuda:sm_90a", 3, 2, "2", kNoVerify, kNoPtx}},
    {{"models/mistral.json", "cuda:sm_90a"},
     {"models/llama-3.2-1b.json", "cuda:sm_89"},
     {"tests/golden/gpt_oss", "cuda:sm_80"},
     {"tests/golden/llama_mqa_head_dim_24", "cuda:sm_86,cuda:sm_120"},
     {"tests/cuda/latents.json", "cuda:sm_100a"},
     {"tests/gpu/experts.json", "cuda:sm_90a", 3, 2, "2"},
     {"models/mistral.json", "cuda:sm_80,cuda:sm_86"},
     {"models/mistral.json", "cuda:sm_89"},
     {"models/mistral.json", "cuda:sm_100a,cuda:sm_120"},
     {"models/llama-3.2-1b.json", "cuda:sm_80,cuda:sm_86"},
     {"models/llama-3.2-1b.json", "cuda:sm_90a,cuda:sm_100a,cuda:sm_120"},
     {"models/llama-3.2-1b.json", "cuda:sm_90a", 4, 0, "2"},
     {"tests/golden/llama_mqa_head_dim_24", "cuda:sm_100a"},
     // narrow latents
     {"tests/golden/deepseek_v3", "cuda:sm_120"},
     {"tests/cuda/latents.json", "cuda:sm_80,cuda:sm_90a,cuda:sm_120", 11, 2},
     {"tests/gpu/experts.json", "cuda:sm_90a", 3, 2}}};

LLMC_INSTANTIATE_SWEEP(CudaArchitectures, kModels, [](const auto& info) {
  const std::string model = info.param.model;
  std::string name = model.substr(model.rfind('/') + 1) + '_' + info.param.targets;
  if (*info.param.clusters != '1') name += "_clusters";
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return name;
});

}  // namespace
}  // namespace llmc::test
