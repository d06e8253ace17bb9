#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "codegen/plan/PlanFile.h"
#include "tests/io/checkpoint_files.h"

namespace llmc {
namespace {

namespace fs = std::filesystem;
using llmc_tests::TemporaryDirectory;
using llmrt::AtomicFile;

class CommitPlanAndWeights : public ::testing::Test {
 protected:
  AtomicFile fresh(const std::string& name) {
    auto file = AtomicFile::create(dir_.path(name));
    EXPECT_TRUE(file.ok()) << file.status().message();
    EXPECT_TRUE(file->write("new", 3).ok());
    return *std::move(file);
  }
  std::string read(const std::string& name) {
    std::ifstream in(dir_.path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  TemporaryDirectory dir_;
};

TEST_F(CommitPlanAndWeights, BothGetTheirNamesAndNothingElseStays) {
  for (const char* before : {"", "old"}) {
    if (*before) {
      dir_.write("p.fb", before);
      dir_.write("p.weights", before);
    }
    AtomicFile plan = fresh("p.fb"), weights = fresh("p.weights");
    ASSERT_TRUE(commitPlanAndWeights(plan, &weights).ok());
    EXPECT_EQ(read("p.fb"), "new");
    EXPECT_EQ(read("p.weights"), "new");
    EXPECT_EQ(dir_.entries(), 2u);
  }
}

TEST_F(CommitPlanAndWeights, APlanAloneLeavesTheWeights) {
  dir_.write("p.weights", "old");
  AtomicFile plan = fresh("p.fb");
  ASSERT_TRUE(commitPlanAndWeights(plan, nullptr).ok());
  EXPECT_EQ(read("p.fb"), "new");
  EXPECT_EQ(read("p.weights"), "old");
}

// A directory that appears under the plan's name makes its rename fail.
TEST_F(CommitPlanAndWeights, OldWeightsSurviveAPlanThatCannotBeRenamed) {
  dir_.write("p.weights", "old");
  AtomicFile plan = fresh("p.fb"), weights = fresh("p.weights");
  fs::create_directory(dir_.path("p.fb"));
  EXPECT_FALSE(commitPlanAndWeights(plan, &weights).ok());
  EXPECT_EQ(read("p.weights"), "old");
  EXPECT_EQ(dir_.entries(), 2u);
}

TEST_F(CommitPlanAndWeights, NoWeightsStayWithoutTheirPlan) {
  AtomicFile plan = fresh("p.fb"), weights = fresh("p.weights");
  fs::create_directory(dir_.path("p.fb"));
  EXPECT_FALSE(commitPlanAndWeights(plan, &weights).ok());
  EXPECT_FALSE(fs::exists(dir_.path("p.weights")));
  EXPECT_EQ(dir_.entries(), 1u);
}

}  // namespace
}  // namespace llmc
