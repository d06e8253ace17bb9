// A plan that is shared is the one that llmc would make now.
#include "tests/e2e/plan_cache.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/e2e/process.h"

namespace e2e {
namespace {

namespace fs = std::filesystem;

std::string weightsOf(const std::string& plan) {
  return readFile(fs::path(plan).replace_extension("weights").string());
}

TEST(PlanCache, KnowsAModelByItsBytesAndItsFlags) {
  const std::vector<std::string> flags = {"--dtype", "f32"};
  const std::string plan = compiledPlan(goldenModel("llama_mha"), flags);
  ASSERT_NE(plan, "");
  EXPECT_NE(compiledPlan(goldenModel("llama_mha"), {}), plan);
  const ScratchDir dir;
  const std::string copy = dir / "llama_mha", tensors = copy + "/model.safetensors";
  fs::copy(goldenModel("llama_mha"), copy, fs::copy_options::recursive);
  EXPECT_EQ(compiledPlan(copy, flags), plan) << "where the files lie does not matter";
  // The last bit of a weight, in a file of the same size and time.
  const auto time = fs::last_write_time(tensors);
  std::string bytes = readFile(tensors);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  writeFile(tensors, bytes);
  fs::last_write_time(tensors, time);
  const std::string changed = compiledPlan(copy, flags);
  ASSERT_NE(changed, plan);
  EXPECT_NE(weightsOf(changed), weightsOf(plan));
}

}  // namespace
}  // namespace e2e
