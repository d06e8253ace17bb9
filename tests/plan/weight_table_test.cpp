#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "codegen/plan/WeightTable.h"
#include "runtime/io/weight_layout.h"
#include "tests/plan/plan_weights.h"

namespace llmc {
namespace {

using llmc_tests::addSource;
using llmc_tests::addWeight;
using llmrt::DType;
namespace schema = llmrt::schema;

// An embedding, two weights of each of three layers (one of them large), and a last norm.
schema::PlanT somePlan() {
  schema::PlanT plan;
  addSource(addWeight(plan, "embed", DType::kBF16, schema::Layout::rows), "embed", 100, 7);
  schema::WeightT& norm = addWeight(plan, "norm", DType::kF32, schema::Layout::rows);
  addSource(norm, "layers.{layer}.norm", 33, 1, 1);
  norm.num_layers = 3;
  schema::WeightT& proj = addWeight(plan, "proj", DType::kBF16, schema::Layout::panels);
  addSource(proj, "layers.{layer}.proj", 1025, 1023);
  proj.num_layers = 3;
  addSource(addWeight(plan, "last", DType::kF32, schema::Layout::rows), "last", 33, 1, 1);
  layOutWeights(plan);
  return plan;
}

TEST(WeightTable, BytesFollowFromShapesWithPadding) {
  const schema::PlanT plan = somePlan();
  EXPECT_EQ(plan.weights[0]->bytes, 100u * 7 * 2);
  EXPECT_EQ(plan.weights[1]->bytes, 33u * 4);
  EXPECT_EQ(plan.weights[2]->panels, 65u);                 // ceil(1025 / 16)
  EXPECT_EQ(plan.weights[2]->bytes, 65u * 16 * 1024 * 2);  // bf16 pads K to even
  EXPECT_EQ(plan.weights[2]->cols, 1023u);
}

TEST(WeightTable, NothingOverlapsAndAllLiesInTheFile) {
  const schema::PlanT plan = somePlan();
  std::vector<std::pair<uint64_t, uint64_t>> ranges = {{0, 64}};
  for (const auto& w : plan.weights)
    for (uint32_t l = 0; l < std::max(1u, w->num_layers); ++l)
      ranges.emplace_back(w->offset_bytes + l * w->layer_stride_bytes,
                          w->offset_bytes + l * w->layer_stride_bytes + w->bytes);
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i) EXPECT_GE(ranges[i].first, ranges[i - 1].second) << i;
  // Kernels may read 64 bytes past a weight; there is no more than that and its alignment.
  EXPECT_GE(plan.weights_bytes, ranges.back().second + 64);
  EXPECT_LT(plan.weights_bytes, ranges.back().second + 128);
}

uint64_t bytesOf(const schema::PlanT& plan) {
  uint64_t bytes = 0;
  for (const auto& w : plan.weights) bytes += w->bytes * std::max(1u, w->num_layers);
  return bytes;
}

TEST(WeightTable, TensorsAreAlignedTo64Bytes) {
  const schema::PlanT plan = somePlan();
  for (const auto& w : plan.weights) {
    EXPECT_EQ(w->offset_bytes % 64, 0u) << w->name;
    EXPECT_EQ(w->layer_stride_bytes % 64, 0u) << w->name;
  }
}

// One layer is a norm and a projection of `panels` panels, 32 KiB each.
schema::PlanT planOf(uint64_t panels) {
  schema::PlanT plan;
  schema::WeightT& norm = addWeight(plan, "norm", DType::kF32, schema::Layout::rows);
  addSource(norm, "layers.{layer}.norm", 1024, 1, 1);
  norm.num_layers = 8;
  schema::WeightT& proj = addWeight(plan, "proj", DType::kBF16, schema::Layout::panels);
  addSource(proj, "layers.{layer}.proj", panels * 16, 1024);
  proj.num_layers = 8;
  layOutWeights(plan);
  return plan;
}

TEST(WeightTable, LargeTensorsAreAlignedTo2MiBWhereThatPadsByOnePercentAtMost) {
  constexpr uint64_t kLarge = 2 << 20;
  // 2 MiB before each of 8 tensors of 256 MiB, and of 4 MiB.
  const schema::PlanT large = planOf(256 * 32), small = planOf(4 * 32);
  EXPECT_EQ(large.weights[1]->offset_bytes % kLarge, 0u);
  EXPECT_EQ(large.weights[1]->layer_stride_bytes % kLarge, 0u);
  EXPECT_GT(large.weights_bytes - bytesOf(large), 8 * (kLarge - 8192));
  EXPECT_LE(large.weights_bytes - bytesOf(large), bytesOf(large) / 100);
  EXPECT_EQ(small.weights[1]->offset_bytes, 64u + 4096);
  EXPECT_EQ(small.weights[1]->layer_stride_bytes, 4096u + (4 << 20));
  EXPECT_EQ(small.weights_bytes, 64 + bytesOf(small) + 64);
}

TEST(WeightTable, AStepReadsLayersOneAfterAnother) {
  const schema::PlanT plan = somePlan();
  const schema::WeightT &norm = *plan.weights[1], &proj = *plan.weights[2];
  EXPECT_LT(norm.offset_bytes, proj.offset_bytes);
  EXPECT_LT(proj.offset_bytes, norm.offset_bytes + norm.layer_stride_bytes);
  EXPECT_EQ(norm.layer_stride_bytes, proj.layer_stride_bytes);
}

TEST(WeightTable, ThePlanIdChangesWithWhatTheWeightsFileHolds) {
  const schema::PlanT plan = somePlan();
  const uint64_t id = planId(plan);
  EXPECT_EQ(id, planId(somePlan()));
  schema::PlanT other = somePlan();
  other.weights[2]->sources[0]->name = "layers.{layer}.other";
  EXPECT_NE(id, planId(other));
  other = somePlan();
  other.weights[0]->dtype = schema::DType::f16;
  EXPECT_NE(id, planId(other));
  other = somePlan();
  other.command = "--target x86-64-v3";
  EXPECT_EQ(id, planId(other)) << "targets do not change the weights";
}

}  // namespace
}  // namespace llmc
