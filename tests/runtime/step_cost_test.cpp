// runtime/executor/cost against counting: every token that is read, every product, every choice of
// experts, one by one.
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <vector>

#include "runtime/executor/cost.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {
namespace {

using Step = std::vector<SequenceRows>;

// Two sections of phases with every kind of figure, and an entry point that takes 8 rows and one
// that takes 64.
class StepCost : public ::testing::Test {
 protected:
  StepCost() {
    schema::PlanT plan;
    plan.entry_points.push_back(entry(8, 0));
    plan.entry_points.push_back(entry(64, 1000000));
    addWeight(plan, "q4_0", 3);
    addWeight(plan, "q8_0", 1);
    addWeight(plan, "", 2);  // f16
    builder_.Finish(schema::Plan::Pack(builder_, &plan));
    plan_ = schema::GetPlan(builder_.GetBufferPointer());
  }

  static std::unique_ptr<schema::PhaseT> phase(const schema::PhaseT& from) {
    return std::make_unique<schema::PhaseT>(from);
  }
  /// `mark` more bytes of weights in the last phase: which entry point a cost is of.
  static std::unique_ptr<schema::EntryPointT> entry(uint32_t rows, uint64_t mark) {
    auto e = std::make_unique<schema::EntryPointT>();
    e->max_rows = e->max_logits_rows = rows;
    schema::PhaseT attention, window, experts, logits;
    attention.kv_bytes_per_token = 64;
    attention.flops_per_row_per_token = 100;
    window.kv_bytes_per_token = 48;
    window.flops_per_row_per_token = 70;
    window.window = 5;
    experts.expert_bytes = 1000;
    experts.experts_per_row = 2;
    experts.num_experts = 4;
    experts.weight_bytes = 17;
    experts.flops_per_row = 11;
    logits.axis = schema::Axis::logits_row;
    logits.weight_bytes = 300 + mark;
    logits.flops_per_row = 13;
    for (uint32_t weight : {0u, 1u}) experts.operands.push_back(reads(weight));
    logits.operands.push_back(reads(2));
    auto layers = std::make_unique<schema::SectionT>();
    layers->num_layers = 3;
    for (const schema::PhaseT& p : {attention, window, experts}) layers->phases.push_back(phase(p));
    auto last = std::make_unique<schema::SectionT>();
    last->num_layers = 1;
    last->phases.push_back(phase(logits));
    e->sections.push_back(std::move(layers));
    e->sections.push_back(std::move(last));
    return e;
  }

  static std::unique_ptr<schema::OperandT> reads(uint32_t weight) {
    auto operand = std::make_unique<schema::OperandT>();
    operand->space = schema::Space::weights;
    operand->index = weight;
    return operand;
  }
  static void addWeight(schema::PlanT& plan, const char* format, uint64_t panels) {
    auto weight = std::make_unique<schema::WeightT>();
    weight->format = format;
    weight->dtype = *format ? schema::DType::i8 : schema::DType::f16;
    weight->layout = schema::Layout::panels;
    weight->panels = panels;
    weight->cols = 32;
    plan.weights.push_back(std::move(weight));
  }

  const schema::Phase& phase(uint32_t section, uint32_t index) const {
    return *plan_->entry_points()->Get(0)->sections()->Get(section)->phases()->Get(index);
  }

  flatbuffers::FlatBufferBuilder builder_;
  const schema::Plan* plan_ = nullptr;
};

struct Counted {
  double tokens_read = 0, products = 0, rows = 0, logits_rows = 0;
};

/// Marks what each row of each sequence attends to.
Counted count(const Step& step, int64_t window) {
  Counted sum;
  for (const SequenceRows& s : step) {
    std::set<int64_t> read;
    for (int64_t pos = s.first_pos; pos < s.first_pos + s.rows; ++pos)
      for (int64_t key = 0; key <= pos; ++key) {
        if (window > 0 && key <= pos - window) continue;
        read.insert(key);
        sum.products += 1;
      }
    sum.tokens_read += static_cast<double>(read.size());
    sum.rows += static_cast<double>(s.rows);
    sum.logits_rows += static_cast<double>(s.logits_rows);
  }
  return sum;
}

/// The mean number of different experts over every choice that `rows` rows can make of 2 of 4.
double meanExperts(int64_t rows) {
  const std::vector<unsigned> pairs = {0b0011, 0b0101, 0b1001, 0b0110, 0b1010, 0b1100};
  double sum = 0, choices = 1;
  for (int64_t i = 0; i < rows; ++i) choices *= 6;
  for (int64_t c = 0; c < static_cast<int64_t>(choices); ++c) {
    unsigned chosen = 0;
    for (int64_t i = 0, rest = c; i < rows; ++i, rest /= 6)
      chosen |= pairs[static_cast<size_t>(rest % 6)];
    sum += __builtin_popcount(chosen);
  }
  return sum / choices;
}

const std::vector<Step> kSteps = {
    {{1, 0, 1}},                                    // the first token
    {{1, 41, 1}},                                   // a decode
    {{1, 41, 1}, {1, 3, 1}, {1, 0, 1}, {1, 4, 1}},  // a batch of decodes
    {{6, 0, 1}},                                    // a prompt
    {{3, 2, 0}},                                    // a chunk that grows past the window
    {{3, 30, 3}},                                   // a chunk behind it, of a perplexity
    {{4, 9, 0}, {1, 12, 1}, {1, 70, 1}},            // a chunk and decodes
};

TEST_F(StepCost, TheCacheIsReadOnceASequenceAndMultipliedByEveryRow) {
  for (const Step& step : kSteps)
    for (uint32_t p : {0u, 1u}) {
      const schema::Phase& attention = phase(0, p);
      const Counted counted = count(step, attention.window());
      const Cost cost = phaseCost(attention, step);
      EXPECT_EQ(cost.kv_bytes,
                counted.tokens_read * static_cast<double>(attention.kv_bytes_per_token()));
      EXPECT_EQ(cost.flops,
                counted.products * static_cast<double>(attention.flops_per_row_per_token()));
    }
}

TEST_F(StepCost, ExpertsAreThoseThatAllRowsTogetherChoose) {
  for (const Step& step : kSteps) {
    const Counted counted = count(step, 0);
    const Cost cost = phaseCost(phase(0, 2), step);
    EXPECT_NEAR(cost.weight_bytes, 17 + 1000 * meanExperts(static_cast<int64_t>(counted.rows)),
                1e-9);
    EXPECT_EQ(cost.flops, 11 * counted.rows);
  }
}

TEST_F(StepCost, LogitsAreOfTheRowsThatWantThem) {
  for (const Step& step : kSteps) {
    const Counted counted = count(step, 0);
    const Cost cost = phaseCost(phase(1, 0), step);
    EXPECT_EQ(cost.weight_bytes, counted.logits_rows > 0 ? 300 : 0);
    EXPECT_EQ(cost.flops, 13 * counted.logits_rows);
  }
}

TEST_F(StepCost, AStepIsTheSumOfItsPhasesOverItsLayers) {
  for (const Step& step : kSteps) {
    Cost sum = phaseCost(phase(1, 0), step);
    for (uint32_t p = 0; p < 3; ++p) sum += phaseCost(phase(0, p), step) * 3;
    const Cost cost = stepCost(*plan_, step);
    EXPECT_DOUBLE_EQ(cost.weight_bytes, sum.weight_bytes);
    EXPECT_EQ(cost.kv_bytes, sum.kv_bytes);
    EXPECT_EQ(cost.flops, sum.flops);
  }
}

TEST_F(StepCost, AStepOfMoreRowsGoesThroughTheEntryPointThatTakesThem) {
  const auto weightBytes = [&](const Step& step) { return stepCost(*plan_, step).weight_bytes; };
  EXPECT_LT(weightBytes({{7, 0, 1}, {1, 5, 1}}), 1000000);
  EXPECT_GT(weightBytes({{7, 0, 1}, {2, 5, 1}}), 1000000);
}

TEST_F(StepCost, APromptIsItsChunks) {
  Cost sum;
  for (const SequenceRows& rows : {SequenceRows{16, 3, 0}, {16, 19, 0}, {5, 35, 1}})
    sum += stepCost(*plan_, {&rows, 1});
  const Cost cost = prefillCost(*plan_, 3, 37, 16);
  EXPECT_DOUBLE_EQ(cost.weight_bytes, sum.weight_bytes);
  EXPECT_EQ(cost.kv_bytes, sum.kv_bytes);
  EXPECT_EQ(cost.flops, sum.flops);
}

TEST_F(StepCost, FlopsAreOfTheFormatsThatTheyMultiplyByTheirSizes) {
  for (const Step& step : kSteps) {
    const double of_experts = 3 * phaseCost(phase(0, 2), step).flops;
    const FlopsByFormat expected = {
        {"", 3 * (phaseCost(phase(0, 0), step).flops + phaseCost(phase(0, 1), step).flops)},
        {"q4_0", of_experts * 3 / 4},
        {"q8_0", of_experts / 4},
        {"f16", phaseCost(phase(1, 0), step).flops}};
    EXPECT_EQ(stepFlops(*plan_, step), expected);
  }
  double sum = 0;
  for (const auto& [format, flops] : prefillFlops(*plan_, 3, 37, 16)) sum += flops;
  EXPECT_DOUBLE_EQ(sum, prefillCost(*plan_, 3, 37, 16).flops);
}

}  // namespace
}  // namespace llmrt
