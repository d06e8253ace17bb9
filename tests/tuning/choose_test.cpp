// What is taken for faster, and which tunings are tried.
#include "codegen/tuning/Choose.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "codegen/tuning/Candidates.h"

namespace llmc {
namespace {

TEST(ChooseTest, GainsAreRatiosWithinARound) {
  // The machine is twice as fast in the second round: the candidate is not.
  const Times times = {{2, 1, 2}, {1.6, 0.8, 1.6}};
  EXPECT_DOUBLE_EQ(gainOf(times, 1).median, 1.25);
  EXPECT_DOUBLE_EQ(gainOf(times, 1).low, 1.25);
  EXPECT_TRUE(gainOf(times, 1).certain());
}

TEST(ChooseTest, WhatLiesWithinTheSpreadIsNotCertain) {
  const auto certain = [](std::vector<double> candidate) {
    const Times times = {std::vector<double>(candidate.size(), 1.0), std::move(candidate)};
    return gainOf(times, 1).certain();
  };
  EXPECT_TRUE(certain({0.9, 0.91, 0.89, 0.9, 0.92}));
  EXPECT_FALSE(certain({1, 1, 1, 1, 1}));
  EXPECT_FALSE(certain({0.995, 0.995, 0.995, 0.995, 0.995})) << "less than a percent";
  EXPECT_FALSE(certain({0.9, 1.1, 0.9, 1.1, 0.97})) << "slower in too many rounds";
  EXPECT_FALSE(certain({0.5, 0.6, 0.98, 0.99, 0.995})) << "a median of 2 % in a spread of 60";
  EXPECT_FALSE(certain({}));
}

TEST(ChooseTest, TheBestComeFirstAndTheDefaultIsNoneOfThem) {
  const Times times = {{1, 1}, {0.9, 0.9}, {1.1, 1.1}, {0.8, 0.8}};
  EXPECT_EQ(bestCandidates(times, 2), (std::vector<size_t>{3, 1}));
  EXPECT_EQ(bestCandidates(times, 9), (std::vector<size_t>{3, 1, 2}));
  EXPECT_TRUE(bestCandidates({{1.0}}, 3).empty());
}

cpu::ProductKey key(int64_t outputs, int64_t inputs, cpu::ProductRows rows, bool int8 = false) {
  return {.op = "linear",
          .outputs = outputs,
          .inputs = inputs,
          .weights = int8 ? "q4_0" : "f16",
          .int8 = int8,
          .rows = rows};
}

TEST(CandidatesTest, AreAllowedAndEachOnce) {
  for (const std::string& name : cpu::cpuTargetNames()) {
    const cpu::CpuTarget& target = *cpu::findCpuTarget(name);
    for (const bool int8 : {false, true})
      for (const bool amx : {false, true})
        for (const int64_t outputs : {32, 48, 4096}) {
          const TunedShape few{target, key(outputs, 2048, cpu::ProductRows::few, int8), 4, amx};
          const TunedShape many{target, key(outputs, 2048, cpu::ProductRows::many, int8), 4, amx};
          std::vector<cpu::ProductTuning> all = streamCandidates(few);
          if (!all.empty())
            for (const auto& t : aheadCandidates(few, all[0])) all.push_back(t);
          for (const auto& t : pieceCandidates(many, {})) all.push_back(t);
          EXPECT_GE(all.size(), amx && outputs < 64 ? 0u : 3u) << name;
          for (const cpu::ProductTuning& t : all) {
            EXPECT_LE(t.streamPanels.value_or(1) * 16, outputs);
            for (const cpu::TuningField& field : cpu::kTuningFields) {
              const auto v = t.*field.value;
              EXPECT_TRUE(!v || field.allows(*v)) << field.name;
            }
          }
          std::vector<cpu::ProductTuning> pieces = pieceCandidates(many, {});
          for (size_t i = 0; i < pieces.size(); ++i)
            EXPECT_EQ(std::count(pieces.begin(), pieces.end(), pieces[i]), 1);
        }
  }
}

TEST(CandidatesTest, WhatWasBetterAloneIsCombined) {
  const cpu::ProductTuning base{.streamPanels = 8};
  cpu::ProductTuning a = base, b = base, c = base;
  a.tileRows = 6, a.tilePanels = 4;
  b.tileRows = 24, b.tilePanels = 1;
  c.pieceCols = 512;
  const cpu::ProductTuning all = combine(base, {a, b, c});
  EXPECT_EQ(all, (cpu::ProductTuning{
                     .streamPanels = 8, .tileRows = 6, .tilePanels = 4, .pieceCols = 512}));
  EXPECT_EQ(combine(base, {}), base);
}

}  // namespace
}  // namespace llmc
