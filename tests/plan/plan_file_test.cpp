#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "codegen/plan/PlanFile.h"
#include "runtime/schema/plan_hash.h"
#include "runtime/schema/version.h"
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

/// A plan and its weights as commitPlanAndWeights() leaves them at each point where it may end.
class KilledBetween : public CommitPlanAndWeights {
 protected:
  static std::string planBytes(uint64_t hash) {
    llmrt::schema::PlanT plan;
    plan.id = 5;
    plan.weights_bytes = sizeof(llmrt::WeightsHeader);
    plan.has_weights = true;
    plan.weights.push_back(std::make_unique<llmrt::schema::WeightT>());
    plan.weights[0]->hash = hash;
    const std::vector<uint8_t> bytes = llmrt::packPlan(plan);
    return {bytes.begin(), bytes.end()};
  }
  static std::string weightsBytes(uint64_t hash) {
    llmrt::WeightsHeader header{};
    std::memcpy(header.magic, llmrt::kWeightsMagic, sizeof header.magic);
    header.version = llmrt::kWeightsVersion;
    header.plan_id = 5;
    header.bytes = sizeof header;
    header.content = llmrt::weightsContent(std::vector<uint64_t>{hash});
    return llmc_tests::rawBytes(header);
  }
  AtomicFile file(const std::string& name, const std::string& bytes) {
    auto file = AtomicFile::create(dir_.path(name));
    EXPECT_TRUE(file->write(bytes.data(), bytes.size()).ok());
    return *std::move(file);
  }
  /// The plan, and the weights that the runtime takes for it, are of one compilation.
  void expectPair() {
    const std::string plan = read("p.fb");
    for (const char* name : {"p.weights", "p.weights.new"}) {
      llmrt::WeightsHeader header{};
      const std::string bytes = read(name);
      std::memcpy(&header, bytes.data(), std::min(bytes.size(), sizeof header));
      if (llmrt::weightsBelong(*llmrt::schema::GetPlan(plan.data()), header)) return;
    }
    ADD_FAILURE() << "the plan has no weights";
  }
};

TEST_F(KilledBetween, TheNextRunSettlesWhatIsLeft) {
  for (const bool plan_is_new : {false, true}) {
    dir_.write("p.fb", planBytes(plan_is_new ? 2 : 1));
    dir_.write("p.weights", weightsBytes(1));
    dir_.write("p.weights.new", weightsBytes(2));
    expectPair();
    AtomicFile plan = file("p.fb", planBytes(3)), weights = file("p.weights", weightsBytes(3));
    ASSERT_TRUE(commitPlanAndWeights(plan, &weights).ok());
    EXPECT_EQ(read("p.fb"), planBytes(3));
    EXPECT_EQ(read("p.weights"), weightsBytes(3));
    EXPECT_EQ(dir_.entries(), 2u);
  }
}

TEST_F(KilledBetween, AtAnyMomentAPairIsLeft) {
  // The same commit again and again, killed a little later each time, until it comes to its end.
  uint64_t last = 1;
  dir_.write("p.fb", planBytes(last));
  dir_.write("p.weights", weightsBytes(last));
  for (int delay_us = 0, finished = 0; finished < 5 && delay_us < 1000000; delay_us += 50) {
    const uint64_t next = ++last;
    const pid_t child = ::fork();
    if (child == 0) {
      AtomicFile plan = file("p.fb", planBytes(next)),
                 weights = file("p.weights", weightsBytes(next));
      ::_exit(commitPlanAndWeights(plan, &weights).ok() ? 0 : 1);
    }
    ::usleep(static_cast<useconds_t>(delay_us));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    finished += WIFEXITED(status) && WEXITSTATUS(status) == 0;
    expectPair();
    EXPECT_LE(dir_.entries(), 4u);  // the pair, weights that wait, a plan under its first name
    if (HasFailure()) FAIL() << "after " << delay_us << " us";
  }
  AtomicFile plan = file("p.fb", planBytes(0)), weights = file("p.weights", weightsBytes(0));
  ASSERT_TRUE(commitPlanAndWeights(plan, &weights).ok());
  EXPECT_EQ(dir_.entries(), 2u);
}

}  // namespace
}  // namespace llmc
