#include "runtime/io/tensor_name.h"

#include <gtest/gtest.h>

namespace llmrt {
namespace {

TEST(TensorName, HasTheNumbersOfLayerAndExpert) {
  const std::string pattern = "layers.{layer}.experts.{expert}.up.weight";
  EXPECT_EQ(tensorName(pattern, 12, 3), "layers.12.experts.3.up.weight");
  EXPECT_TRUE(namesExpert(pattern));
}

TEST(TensorName, LeavesOutNumbersWithoutAPlace) {
  EXPECT_EQ(tensorName("layers.{layer}.q.weight", 0, 7), "layers.0.q.weight");
  EXPECT_EQ(tensorName("norm.weight", 4, 7), "norm.weight");
  EXPECT_FALSE(namesExpert("layers.{layer}.q.weight"));
}

}  // namespace
}  // namespace llmrt
