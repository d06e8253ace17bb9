// What can go wrong between a plan and a GPU: each is one line and exit status 1, and gives back
// what it took.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "runtime/cuda/device.h"
#include "runtime/schema/plan_generated.h"
#include "tests/cuda/fake_run.h"
#include "tests/sampling.h"

namespace llmc::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string plan() {
  return fakePlan(sourcePath("models/demo"),
                  {"--target", "cuda:sm_80,cuda:sm_90a,x86-64-v3,aarch64"});
}

/// For tests of many runs: a run takes a tenth of the demo's time.
std::string smallPlan() {
  return fakePlan(sourcePath("tests/golden/llama_mha"),
                  {"--target", "cuda:sm_80", "--dtype", "f32"});
}

std::string errorOf(const Strings& environment, const Strings& flags = {"--device", "cuda"}) {
  Strings args = {LLMRUN, plan(), "--prompt-ids", "1,2,3", "-n", "3"};
  args.insert(args.end(), flags.begin(), flags.end());
  const e2e::Output output = runWithFakes(args, environment);
  EXPECT_EQ(output.status, 1) << output.out << output.err;
  EXPECT_EQ(std::count(output.err.begin(), output.err.end(), '\n'), 1) << output.err;
  return output.err;
}

TEST(CudaErrors, NoDriver) {
  const e2e::Output output =
      runWithoutCuda({LLMRUN, plan(), "--prompt-ids", "1", "--device", "cuda"});
  EXPECT_EQ(output.status, 1);
  EXPECT_THAT(output.err, HasSubstr("--device cuda: this machine has no NVIDIA driver"));
  EXPECT_EQ(runWithoutCuda({LLMRUN, plan(), "--prompt-ids", "1", "-n", "1"}).status, 0);
}

TEST(CudaErrors, DriverOfBefore) {
  const auto with = [](const std::string& driver) {
    return Strings{"LD_LIBRARY_PATH=" FAKE_DIR "_" + driver};
  };
  EXPECT_THAT(errorOf(with("11040")),
              HasSubstr("the NVIDIA driver is too old, it has no cuGraphInstantiateWithFlags"));
  // Without cuGraphAddNode_v2 a step is so many launches.
  const e2e::ScratchDir dir;
  const Strings flags = {"--prompt-ids", "1,2,3", "-n", "3", "--ignore-eos"};
  Strings environment = with("12030");
  environment.push_back("LLMC_FAKE_CUDA_LOG=" + (dir / "log"));
  EXPECT_EQ(runOnFake(plan(), flags, environment)["ids"], runOnFake(plan(), flags)["ids"]);
  const std::string lines = e2e::readFile(dir / "log");
  EXPECT_EQ(lines.find("graph "), std::string::npos);
  EXPECT_THAT(lines, HasSubstr("launch llmc_sample"));
}

TEST(CudaErrors, NoDevice) {
  EXPECT_THAT(errorOf({"LLMC_FAKE_CUDA_FAIL_INIT=1"}), HasSubstr("cuInit: CUDA_ERROR_NO_DEVICE"));
  EXPECT_THAT(errorOf({"LLMC_FAKE_CUDA_DEVICES=0"}), HasSubstr("finds no GPU"));
  EXPECT_THAT(errorOf({}, {"--device", "cuda:3"}),
              HasSubstr("--device cuda:3: this machine has 1 GPU, cuda:0"));
  EXPECT_THAT(errorOf({}, {"--device", "cuda:x"}), HasSubstr("takes cpu, cuda or cuda:NUMBER"));
  EXPECT_THAT(errorOf({}, {"--device", "metal"}), HasSubstr("takes cpu, cuda or cuda:NUMBER"));
  EXPECT_THAT(errorOf({}, {"--device", "cuda", "--cpu-target", "x86-64-v3"}),
              HasSubstr("--cpu-target"));
}

TEST(CudaErrors, NoCodeForThisGpuOrDriver) {
  EXPECT_THAT(errorOf({"LLMC_FAKE_CUDA_CAPABILITY=75"}),
              AllOf(HasSubstr("8.0 and later"), HasSubstr("Fake GPU"), HasSubstr("7.5")));
  EXPECT_THAT(errorOf({"LLMC_FAKE_CUDA_DRIVER=12080"}),
              AllOf(HasSubstr("needs an NVIDIA driver for CUDA 13.0"), HasSubstr("12.8")));
}

// The bound is what is taken: a byte less is refused before anything is uploaded, and with it no
// allocation fails.
TEST(CudaErrors, TooLittleMemoryIsSaidBeforeAnythingIsUploaded) {
  const e2e::ScratchDir dir;
  const std::string log = dir / "log";
  int64_t refused = 0, fits = int64_t{1} << 30;
  while (refused + 1 < fits) {
    const int64_t free = refused + (fits - refused) / 2;
    const e2e::Output output = runWithFakes(
        {LLMRUN, plan(), "--prompt-ids", "1", "-n", "1", "--device", "cuda"},
        {"LLMC_FAKE_CUDA_MEMORY=" + std::to_string(free), "LLMC_FAKE_CUDA_LOG=" + log});
    if (output.status == 0) {
      fits = free;
      std::filesystem::remove(log);
      continue;
    }
    refused = free;
    ASSERT_THAT(output.err, AllOf(testing::AnyOf(HasSubstr("out of GPU memory: weights need"),
                                                 HasSubstr("beside the weights, there may be")),
                                  HasSubstr("--max-seq-len"), Not(HasSubstr("CUDA_ERROR"))));
    ASSERT_FALSE(std::filesystem::exists(log)) << e2e::readFile(log);
  }
  EXPECT_GT(refused, 1 << 20);
}

TEST(CudaErrors, EachAllocationThatFails) {
  int failed = 0;
  for (int n = 1; n < 30; ++n) {
    const e2e::Output output =
        runWithFakes({LLMRUN, smallPlan(), "--prompt-ids", "1,2,3", "-n", "2", "--device", "cuda"},
                     {"LLMC_FAKE_CUDA_FAIL_ALLOCATION=" + std::to_string(n)});
    if (output.status == 0) break;  // there are fewer
    EXPECT_EQ(output.status, 1) << n << output.err;
    EXPECT_THAT(output.err, HasSubstr("CUDA_ERROR_OUT_OF_MEMORY")) << n;
    ++failed;
  }
  EXPECT_GE(failed, 6);
}

// The n-th call of each function of the driver that can fail, on a stream that works as late as it
// may: what is on its way then is waited for, and everything is given back (the fake looks).
TEST(CudaErrors, EachCallThatFails) {
  const Strings decoding = {"--prompt-ids", "1,2,3", "-n", "3", "--device", "cuda"};
  const std::string functions[] = {"cuInit",
                                   "cuDriverGetVersion",
                                   "cuDeviceGetCount",
                                   "cuDeviceGet",
                                   "cuDeviceGetName",
                                   "cuDeviceGetAttribute",
                                   "cuDevicePrimaryCtxRetain",
                                   "cuCtxSetCurrent",
                                   "cuMemGetInfo_v2",
                                   "cuModuleLoadData",
                                   "cuModuleGetFunction",
                                   "cuFuncSetAttribute",
                                   "cuMemAlloc_v2",
                                   "cuMemHostAlloc",
                                   "cuMemcpyHtoDAsync_v2",
                                   "cuMemcpyDtoHAsync_v2",
                                   "cuMemsetD8Async",
                                   "cuStreamCreate",
                                   "cuStreamSynchronize",
                                   "cuStreamQuery",
                                   "cuEventCreate",
                                   "cuEventRecord",
                                   "cuEventSynchronize",
                                   "cuEventElapsedTime",
                                   "cuLaunchKernel",
                                   "cuGraphCreate",
                                   "cuGraphAddNode_v2",
                                   "cuGraphInstantiateWithFlags",
                                   "cuGraphLaunch"};
  for (const std::string& function : functions) {
    int failed = 0;
    for (int n = 1; n < 500; n *= llmc_tests::fullTests() ? 3 : 9) {
      const std::string call = function + ':' + std::to_string(n);
      SCOPED_TRACE(call);
      Strings args = {LLMRUN, smallPlan()};
      args.insert(args.end(), decoding.begin(), decoding.end());
      // Times are read back with --profile, logits with --top-logits.
      if (function == "cuEventElapsedTime") args.push_back("--profile");
      if (function == "cuMemcpyDtoHAsync_v2")
        args.insert(args.end(), {"--json", "--top-logits", "1"});
      const e2e::Output output =
          runWithFakes(args, {"LLMC_FAKE_CUDA_LATE=1", "LLMC_FAKE_CUDA_FAIL_CALL=" + call});
      if (output.status == 0) break;  // there are fewer, or it is the one that ends the session
      ++failed;
      EXPECT_EQ(output.status, 1) << output.err;
      EXPECT_EQ(std::count(output.err.begin(), output.err.end(), '\n'), 1) << output.err;
      EXPECT_THAT(output.err, HasSubstr("CUDA_ERROR_UNKNOWN: as the test asked"));
    }
    EXPECT_GE(failed, 1) << function;
  }
}

TEST(CudaErrors, KernelsThatFail) {
  EXPECT_THAT(errorOf({"LLMC_FAKE_CUDA_FAIL_LAUNCH=1"}),
              HasSubstr("laying out weights: CUDA_ERROR_LAUNCH_FAILED"));
  EXPECT_THAT(errorOf({"LLMC_FAKE_CUDA_FAIL_LAUNCH=60"}),
              HasSubstr("a step on cuda:0 (Fake GPU): CUDA_ERROR_LAUNCH_FAILED"));
  // On a GPU it shows where the stream is waited for.
  EXPECT_THAT(errorOf({"LLMC_FAKE_CUDA_LATE=1", "LLMC_FAKE_CUDA_FAIL_LAUNCH=1"}),
              HasSubstr("uploading weights: CUDA_ERROR_LAUNCH_FAILED"));
  EXPECT_THAT(errorOf({"LLMC_FAKE_CUDA_LATE=1", "LLMC_FAKE_CUDA_FAIL_LAUNCH=60"}),
              HasSubstr("a step on cuda:0 (Fake GPU): CUDA_ERROR_LAUNCH_FAILED"));
}

// Of a prompt the host looks at the logits, of a step that the device goes on from by itself the
// device does.
TEST(CudaErrors, LogitsThatAreNotFinite) {
  const std::string untied = smallPlan();
  ASSERT_NE(untied, "");
  const Strings flags = {"--prompt-ids", "1,2,3", "-n", "6", "--ignore-eos"};
  const auto first = runOnFake(untied, flags)["ids"][0].get<uint64_t>();
  const std::string plan_bytes = e2e::readFile(untied);
  std::string weights = e2e::readFile(untied.substr(0, untied.size() - 3) + ".weights");
  for (const auto* w : *llmrt::schema::GetPlan(plan_bytes.data())->weights())
    if (w->sources()->Get(0)->name()->str() == "model.embed_tokens.weight")
      std::fill_n(weights.begin() +
                      static_cast<ptrdiff_t>(w->offset_bytes() + first * w->cols() * sizeof(float)),
                  sizeof(float), '\xff');
  const e2e::ScratchDir dir;
  e2e::writeFile(dir / "damaged.weights", weights);
  for (const Strings& prompt : {Strings{"1,2,3"}, Strings{std::to_string(first)}}) {
    for (const Strings& more : {Strings{}, Strings{"--temperature", "0.5", "--top-k", "1"},
                                Strings{"--json", "--top-logits", "1"}}) {
      Strings args = {
          LLMRUN,         untied,    "--device", "cuda", "--weights",   dir / "damaged.weights",
          "--prompt-ids", prompt[0], "-n",       "6",    "--ignore-eos"};
      args.insert(args.end(), more.begin(), more.end());
      const e2e::Output output = runWithFakes(args);
      EXPECT_EQ(output.status, 1) << e2e::commandLine(args) << output.out;
      EXPECT_THAT(output.err, HasSubstr("the model's logits are not finite numbers"));
      EXPECT_EQ(std::count(output.err.begin(), output.err.end(), '\n'), 1) << output.err;
    }
  }
}

TEST(CudaTargets, AreRankedByHowWellTheyFit) {
  using llmrt::cuda::targetRank;
  EXPECT_GT(targetRank("cuda:sm_90a", 90), targetRank("cuda:sm_90", 90));
  EXPECT_EQ(targetRank("cuda:sm_90a", 100), 0);  // "a" code runs on its chip alone
  EXPECT_EQ(targetRank("cuda:sm_100a", 103), 0);
  EXPECT_GT(targetRank("cuda:sm_100f", 103), 0);  // "f" code within its family
  EXPECT_GT(targetRank("cuda:sm_89", 89), targetRank("cuda:sm_86", 89));
  EXPECT_GT(targetRank("cuda:sm_86", 89), targetRank("cuda:sm_80", 89));
  EXPECT_EQ(targetRank("cuda:sm_89", 86), 0);
  EXPECT_GT(targetRank("cuda:sm_120", 121), 0);
  EXPECT_GT(targetRank("cuda:sm_80", 86), targetRank("cuda:compute_80", 86));
  EXPECT_GT(targetRank("cuda:compute_80", 130), 0);
  EXPECT_EQ(targetRank("x86-64-v3", 80), 0);
  EXPECT_EQ(targetRank("cuda:sm_", 80), 0);
}

}  // namespace
}  // namespace llmc::test
