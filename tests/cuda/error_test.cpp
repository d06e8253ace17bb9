// What can go wrong between a plan and a GPU: each is one line and exit status 1, and gives back
// what it took.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "runtime/cuda/device.h"
#include "tests/cuda/fake_run.h"

namespace llmc::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string plan() {
  return fakePlan(sourcePath("models/demo"),
                  {"--target", "cuda:sm_80,cuda:sm_90a,x86-64-v3,aarch64"});
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
  const e2e::Output output = e2e::run({LLMRUN, plan(), "--prompt-ids", "1", "--device", "cuda"});
  if (output.status == 0) GTEST_SKIP() << "this machine has a GPU";
  EXPECT_EQ(output.status, 1);
  EXPECT_THAT(output.err, HasSubstr("--device cuda: "));
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

TEST(CudaErrors, TooLittleMemoryIsSaidBeforeAnythingIsUploaded) {
  EXPECT_THAT(errorOf({"LLMC_FAKE_CUDA_MEMORY=1000000"}),
              AllOf(HasSubstr("out of GPU memory"), HasSubstr("--max-seq-len")));
}

TEST(CudaErrors, EachAllocationThatFails) {
  int failed = 0;
  for (int n = 1; n < 30; ++n) {
    const e2e::Output output =
        runWithFakes({LLMRUN, plan(), "--prompt-ids", "1,2,3", "-n", "2", "--device", "cuda"},
                     {"LLMC_FAKE_CUDA_FAIL_ALLOCATION=" + std::to_string(n)});
    if (output.status == 0) break;  // there are fewer
    EXPECT_EQ(output.status, 1) << n << output.err;
    EXPECT_THAT(output.err, HasSubstr("CUDA_ERROR_OUT_OF_MEMORY")) << n;
    ++failed;
  }
  EXPECT_GE(failed, 6);
}

TEST(CudaErrors, KernelsThatFail) {
  EXPECT_THAT(errorOf({"LLMC_FAKE_CUDA_FAIL_LAUNCH=1"}),
              HasSubstr("laying out weights: CUDA_ERROR_LAUNCH_FAILED"));
  EXPECT_THAT(errorOf({"LLMC_FAKE_CUDA_FAIL_LAUNCH=40"}),
              HasSubstr("a step on cuda:0 (Fake GPU): CUDA_ERROR_LAUNCH_FAILED"));
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
