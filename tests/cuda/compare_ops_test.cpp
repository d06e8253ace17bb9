// tests/gpu/compare_ops on the tests' driver: what is right is right op by op, and of a kernel that
// does nothing, or never ends, the op is named.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "tests/cuda/fake_run.h"

namespace llmc::test {
namespace {

struct Compared {
  int status = 0;
  std::vector<nlohmann::json> lines;
};

Compared compareOps(const Strings& environment, const Strings& flags = {}) {
  Strings all = {"LLMC_FAKE_CUDA_CAPABILITY=90"};
  all.insert(all.end(), environment.begin(), environment.end());
  Strings args = {COMPARE_OPS, fakePlan(sourcePath("models/demo"),
                                        {"--target", "cuda:sm_80,cuda:sm_90a,x86-64-v3,aarch64"})};
  args.insert(args.end(), flags.begin(), flags.end());
  const e2e::Output output = runWithFakes(args, all);
  Compared compared{output.status, {}};
  std::istringstream lines(output.out);
  for (std::string line; std::getline(lines, line);)
    compared.lines.push_back(nlohmann::json::parse(line));
  EXPECT_FALSE(compared.lines.empty()) << output.err;
  return compared;
}

TEST(CudaCompareOps, OpsThatAreRightAre) {
  const Compared compared = compareOps({}, {"--seconds", "60"});
  EXPECT_EQ(compared.status, 0);
  ASSERT_EQ(compared.lines.size(), 1u) << compared.lines[0];
  EXPECT_EQ(compared.lines[0]["ok"], true);
  EXPECT_GT(compared.lines[0]["phases"], 50);
  EXPECT_GT(compared.lines[0]["worst"], 0) << "operands are rounded here, and not there";
}

TEST(CudaCompareOps, NamesTheOpThatWritesNothingInEveryLayerAndNoOther) {
  const Compared compared =
      compareOps({"LLMC_FAKE_CUDA_SKIP=norm_qkv"}, {"--decode", "1", "--seconds", "60"});
  EXPECT_EQ(compared.status, 1);
  // Queries, keys and values, of four layers, of a prompt and of a token.
  ASSERT_EQ(compared.lines.size(), 1u + 3 * 4 * 2);
  for (size_t i = 0; i + 1 < compared.lines.size(); ++i) {
    EXPECT_EQ(compared.lines[i]["op"], "norm_qkv");
    EXPECT_EQ(compared.lines[i]["layer"], i / 3 % 4);
    EXPECT_EQ(compared.lines[i]["row"], 0);
    EXPECT_EQ(compared.lines[i]["entry"], i < 12 ? "prefill" : "decode");
  }
  EXPECT_EQ(compared.lines.back()["ok"], false);
}

TEST(CudaCompareOps, NamesTheOpThatNeverEnds) {
  const Compared compared =
      compareOps({"LLMC_FAKE_CUDA_HANG=norm_glu_1024x192_bf16_decode"}, {"--seconds", "8"});
  EXPECT_EQ(compared.status, 1);
  ASSERT_EQ(compared.lines.size(), 1u);
  EXPECT_EQ(compared.lines[0]["op"], "norm_glu");
  EXPECT_EQ(compared.lines[0]["entry"], "decode");
  EXPECT_EQ(compared.lines[0]["error"], "hung: still running after 8 s");
}

}  // namespace
}  // namespace llmc::test
