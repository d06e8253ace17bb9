#include "runtime/io/weight_layout.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "runtime/io/tensor_source.h"

namespace llmrt {
namespace {

TEST(WeightLayout, ConcatPadsEachSourceToWholePanels) {
  const auto rows = panelRows({20, 3}, PanelOrder::kConcat, 0);
  ASSERT_EQ(rows.size(), 3u * 16);
  EXPECT_EQ(panelCount({20, 3}, PanelOrder::kConcat, 0), 3);
  EXPECT_EQ(rows[0].source, 0);
  EXPECT_EQ(rows[19].row, 19);
  EXPECT_EQ(rows[20].source, -1);
  EXPECT_EQ(rows[31].source, -1);
  EXPECT_EQ(rows[32].source, 1);
  EXPECT_EQ(rows[34].row, 2);
  EXPECT_EQ(rows[35].source, -1);
}

TEST(WeightLayout, InterleaveAlternatesPanelsOfTwoSources) {
  const auto rows = panelRows({40, 40}, PanelOrder::kInterleave, 0);
  ASSERT_EQ(rows.size(), 6u * 16);
  for (int64_t panel = 0; panel < 6; ++panel) {
    for (int64_t lane = 0; lane < 16; ++lane) {
      const PanelRow& got = rows[static_cast<size_t>(panel * 16 + lane)];
      const int64_t row = panel / 2 * 16 + lane;
      EXPECT_EQ(got.source, row < 40 ? panel % 2 : -1);
      EXPECT_EQ(got.row, row < 40 ? row : 0);
    }
  }
}

TEST(WeightLayout, HeadsPadsEachHead) {
  const auto rows = panelRows({40, 20}, PanelOrder::kHeads, 20);
  EXPECT_EQ(panelCount({40, 20}, PanelOrder::kHeads, 20), 6);
  ASSERT_EQ(rows.size(), 6u * 16);
  EXPECT_EQ(rows[19].row, 19);
  EXPECT_EQ(rows[20].source, -1);
  EXPECT_EQ(rows[32].row, 20);
  EXPECT_EQ(rows[64].source, 1);
  EXPECT_EQ(rows[64].row, 0);
}

TEST(WeightView, IsInsideWhereEveryElementIs) {
  // The second of two matrices [6, 4] that lie after one another in rows of 8.
  const WeightView good = {.stored = {6, 8},
                           .begin = 4,
                           .run = 3,
                           .outer = 24,
                           .inner = 8,
                           .col = 1,
                           .pair_begin = 0,
                           .pair_size = 2};
  EXPECT_TRUE(good.isInside(6, 4, 1));
  EXPECT_EQ(good.element(0, 5), 4 + 5 * 8);
  EXPECT_FALSE(good.isInside(6, 5, 1)) << "a column further";
  EXPECT_FALSE(good.isInside(9, 4, 1)) << "a run further";
  EXPECT_FALSE(good.isInside(5, 4, 1)) << "no whole runs";
  EXPECT_TRUE(good.isInside(6, 4, 2)) << "experts share it";
  const auto changed = [&](auto change) {
    WeightView view = good;
    change(view);
    return view.isInside(6, 4, 2);
  };
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  EXPECT_FALSE(changed([](WeightView& v) { v.expert = 1; }));
  EXPECT_FALSE(changed([](WeightView& v) { v.stored.clear(); }));
  EXPECT_FALSE(changed([](WeightView& v) { v.stored = {0, 8}; }));
  EXPECT_FALSE(changed([](WeightView& v) { v.stored = {kMost, kMost, kMost}; }));
  EXPECT_FALSE(changed([](WeightView& v) { v.run = 0; }));
  EXPECT_FALSE(changed([](WeightView& v) { v.begin = -1; }));
  EXPECT_FALSE(changed([](WeightView& v) { v.inner = kMost; }));
  EXPECT_FALSE(changed([](WeightView& v) { v.pair_size = 3; }));
  EXPECT_FALSE(changed([](WeightView& v) { v.pair_begin = 2; }));
}

TEST(TensorSource, StoredRowUndoesTheInterleavingOfEachHead) {
  Tensor tensor;
  tensor.shape = {16, 3};
  EXPECT_EQ(tensor.storedRow(5), 5);
  tensor.interleaved_heads = 2;  // heads of 8: HF's halves (0..3 | 4..7) stored as 0 4 1 5 2 6 3 7
  const int64_t expected[16] = {0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15};
  for (int64_t row = 0; row < 16; ++row) EXPECT_EQ(tensor.storedRow(row), expected[row]) << row;
}

}  // namespace
}  // namespace llmrt
