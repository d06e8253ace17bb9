#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codegen/plan/WeightPacker.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>

#include "codegen/plan/WeightTable.h"
#include "runtime/io/weight_format.h"
#include "runtime/schema/version.h"
#include "tests/io/checkpoint_files.h"
#include "tests/plan/plan_weights.h"

namespace llmc {
namespace {

using llmc_tests::addSource;
using llmc_tests::addWeight;
using llmc_tests::MemoryTensors;
using llmc_tests::TemporaryDirectory;
using llmrt::DType;
using ::testing::AllOf;
using ::testing::HasSubstr;
namespace schema = llmrt::schema;

constexpr DType kDTypes[] = {DType::kF32, DType::kF16, DType::kBF16};

std::string readFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Packs and commits; the file's bytes.
std::string packed(schema::PlanT& plan, const MemoryTensors& tensors,
                   const TemporaryDirectory& dir) {
  auto file = packWeights(plan, tensors, dir.path("w"));
  if (!file.ok()) {
    ADD_FAILURE() << file.status().message();
    return "";
  }
  EXPECT_TRUE(file->commit().ok());
  return readFile(dir.path("w"));
}

const uint8_t* layerData(const std::string& file, const schema::WeightT& w, uint32_t layer) {
  return reinterpret_cast<const uint8_t*>(file.data()) + w.offset_bytes +
         layer * w.layer_stride_bytes;
}

/// Every lane of every panel holds its row, and zero where it has none.
void expectPanels(const std::string& file, const schema::WeightT& w, uint32_t layer,
                  const std::vector<std::string>& names) {
  const auto dtype = static_cast<DType>(w.dtype);
  const auto cols = static_cast<int64_t>(w.cols);
  std::vector<int64_t> rows;
  for (const auto& s : w.sources) rows.push_back(static_cast<int64_t>(s->rows));
  const auto lanes = llmrt::panelRows(rows, static_cast<llmrt::PanelOrder>(w.order), w.head_rows);
  std::vector<int64_t> seeds;
  for (const std::string& name : names) seeds.push_back(MemoryTensors::seedOf(name));
  const uint8_t* data = layerData(file, w, layer);
  const int64_t padded_cols = llmrt::panelElements(dtype, cols) / llmrt::kPanelLanes;
  for (size_t i = 0; i < lanes.size(); ++i) {
    const auto panel = static_cast<int64_t>(i) / llmrt::kPanelLanes;
    for (int64_t k = 0; k < padded_cols; ++k) {
      const int64_t at = panel * llmrt::panelElements(dtype, cols) +
                         llmrt::panelOffset(dtype, static_cast<int64_t>(i) % llmrt::kPanelLanes, k);
      const float expected =
          lanes[i].source < 0 || k >= cols
              ? 0.0f
              : MemoryTensors::value(seeds[static_cast<size_t>(lanes[i].source)], lanes[i].row, k);
      ASSERT_EQ(llmrt::loadAsF32(dtype, data, at), expected)
          << w.name << " lane " << i << " k " << k << " " << llmrt::dtypeName(dtype);
    }
  }
}

TEST(WeightPacker, PanelsOfEveryDTypeFromEveryDTypeAtAndOffTileEdges) {
  for (const DType from : kDTypes) {
    for (const DType to : kDTypes) {
      for (const auto& [rows, cols] :
           {std::pair<int64_t, int64_t>{16, 64}, {1, 1}, {33, 67}, {48, 130}}) {
        TemporaryDirectory dir;
        schema::PlanT plan;
        addSource(addWeight(plan, "w", to, schema::Layout::panels), "t", rows, cols);
        layOutWeights(plan);
        MemoryTensors tensors;
        tensors.add("t", from, {rows, cols});
        const std::string file = packed(plan, tensors, dir);
        ASSERT_EQ(file.size(), plan.weights_bytes);
        expectPanels(file, *plan.weights[0], 0, {"t"});
      }
    }
  }
}

TEST(WeightPacker, EveryPanelOrderAndSourcesOfDifferentDTypes) {
  TemporaryDirectory dir;
  schema::PlanT plan;
  schema::WeightT& qkv =
      addWeight(plan, "qkv", DType::kBF16, schema::Layout::panels, schema::PanelOrder::heads);
  qkv.head_rows = 20;  // not a multiple of 16: every head is padded
  for (const auto& [name, rows] : {std::pair{"q", 80}, {"k", 40}, {"v", 40}})
    addSource(qkv, name, static_cast<uint64_t>(rows), 31);
  schema::WeightT& glu =
      addWeight(plan, "glu", DType::kF16, schema::Layout::panels, schema::PanelOrder::interleave);
  addSource(glu, "gate", 24, 40);
  addSource(glu, "up", 24, 40);
  schema::WeightT& concat = addWeight(plan, "concat", DType::kF32, schema::Layout::panels);
  addSource(concat, "gate", 24, 40);
  addSource(concat, "up", 24, 40);
  layOutWeights(plan);

  MemoryTensors tensors;
  tensors.add("q", DType::kF32, {80, 31});
  tensors.add("k", DType::kBF16, {40, 31});
  tensors.add("v", DType::kF16, {40, 31});
  tensors.add("gate", DType::kF16, {24, 40});
  tensors.add("up", DType::kBF16, {24, 40});
  const std::string file = packed(plan, tensors, dir);
  expectPanels(file, *plan.weights[0], 0, {"q", "k", "v"});
  expectPanels(file, *plan.weights[1], 0, {"gate", "up"});
  expectPanels(file, *plan.weights[2], 0, {"gate", "up"});
}

/// Every output of a weight of blocks is what the format makes of its row, and padding is zero.
void expectBlocks(const std::string& file, const schema::WeightT& w,
                  const std::function<std::string(size_t source, uint32_t expert)>& nameOf) {
  const llmrt::WeightFormat& format = *llmrt::findWeightFormat(w.format);
  const auto cols = static_cast<int64_t>(w.cols);
  const bool panels = w.layout == schema::Layout::panels;
  std::vector<int64_t> rows;
  for (const auto& s : w.sources) rows.push_back(static_cast<int64_t>(s->rows));
  std::vector<llmrt::PanelRow> outputs;
  if (panels) {
    outputs = llmrt::panelRows(rows, static_cast<llmrt::PanelOrder>(w.order), w.head_rows);
  } else {
    for (size_t s = 0; s < rows.size(); ++s)
      for (int64_t r = 0; r < rows[s]; ++r) outputs.push_back({static_cast<int32_t>(s), r});
  }
  const uint32_t experts = std::max(1u, w.num_experts);
  for (uint32_t e = 0; e < experts; ++e) {
    for (size_t n = 0; n < outputs.size(); ++n) {
      std::vector<float> expected(static_cast<size_t>(format.blocks(cols) * format.block));
      if (outputs[n].source >= 0)
        for (int64_t k = 0; k < cols; ++k)
          expected[static_cast<size_t>(k)] = MemoryTensors::value(
              nameOf(static_cast<size_t>(outputs[n].source), e), outputs[n].row, k);
      llmrt::roundToFormat(format, expected, static_cast<int64_t>(expected.size()));
      for (int64_t b = 0; b < format.blocks(cols); ++b) {
        llmrt::StoredBlock stored;
        for (int p = 0; p < format.num_planes; ++p) {
          const llmrt::FormatPlane& plane = format.planes[p];
          const schema::PlaneT& extent = *w.planes[static_cast<size_t>(p)];
          const int64_t bytes = llmrt::dtypeBytes(plane.dtype);
          const int64_t unit = static_cast<int64_t>(n) / (panels ? 16 : 1);
          const uint8_t* data = layerData(file, w, 0) + extent.offset_bytes +
                                e * (extent.bytes / experts) +
                                static_cast<uint64_t>(unit * format.unitBytes(p, panels, cols));
          for (int64_t i = 0; i < plane.per_block; ++i) {
            const int64_t element = b * plane.per_block + i;
            const int64_t at =
                panels ? format.panelOffset(p, static_cast<int64_t>(n) % 16, element) : element;
            std::memcpy(stored.planes[p] + i * bytes, data + at * bytes,
                        static_cast<size_t>(bytes));
          }
        }
        std::vector<float> values(static_cast<size_t>(format.block));
        llmrt::decodeBlock(format, stored.planes, values.data());
        for (int64_t i = 0; i < format.block; ++i)
          ASSERT_EQ(values[static_cast<size_t>(i)],
                    expected[static_cast<size_t>(b * format.block + i)])
              << w.name << " expert " << e << " output " << n << " block " << b << " value " << i;
      }
    }
  }
}

TEST(WeightPacker, BlocksAndScalesLieInPlanesOfTheirOwn) {
  TemporaryDirectory dir;
  schema::PlanT plan;
  const auto add = [&](const char* name, schema::Layout layout, schema::PanelOrder order) -> auto& {
    schema::WeightT& w = addWeight(plan, name, DType::kI8, layout, order);
    w.format = "q8_0";
    return w;
  };
  schema::WeightT& glu = add("glu", schema::Layout::panels, schema::PanelOrder::interleave);
  addSource(glu, "gate", 24, 70);
  addSource(glu, "up", 24, 70);
  addSource(add("rows", schema::Layout::rows, schema::PanelOrder::concat), "embed", 11, 33);
  schema::WeightT& experts = add("down", schema::Layout::panels, schema::PanelOrder::concat);
  experts.num_experts = 3;
  addSource(experts, "{expert}.down", 17, 32);
  layOutWeights(plan);
  ASSERT_EQ(glu.planes.size(), 2u);
  EXPECT_EQ(glu.planes[0]->name, "quants");
  EXPECT_EQ(glu.planes[1]->offset_bytes, 4u * 16 * 96);
  EXPECT_EQ(glu.bytes, 4u * 16 * (96 + 3 * 2));

  MemoryTensors tensors;
  tensors.add("gate", DType::kF32, {24, 70});
  tensors.add("up", DType::kBF16, {24, 70});
  tensors.add("embed", DType::kF16, {11, 33});
  for (const char* name : {"0.down", "1.down", "2.down"}) tensors.add(name, DType::kF32, {17, 32});
  const std::string file = packed(plan, tensors, dir);
  ASSERT_EQ(file.size(), plan.weights_bytes);
  expectBlocks(file, *plan.weights[0], [](size_t s, uint32_t) { return s ? "up" : "gate"; });
  expectBlocks(file, *plan.weights[1], [](size_t, uint32_t) { return "embed"; });
  expectBlocks(file, *plan.weights[2],
               [](size_t, uint32_t e) { return std::to_string(e) + ".down"; });
}

TEST(WeightPacker, RowsAreConcatenatedAndVectorsBecomeF32) {
  TemporaryDirectory dir;
  schema::PlanT plan;
  schema::WeightT& bias = addWeight(plan, "bias", DType::kF32, schema::Layout::rows);
  for (const auto& [name, rows] : {std::pair{"a", 5}, {"b", 3}, {"c", 3}})
    addSource(bias, name, static_cast<uint64_t>(rows), 1, 2);
  addSource(addWeight(plan, "embed", DType::kBF16, schema::Layout::rows), "e", 9, 13);
  layOutWeights(plan);
  MemoryTensors tensors;
  tensors.add("a", DType::kBF16, {5});
  tensors.add("b", DType::kF16, {3});
  tensors.add("c", DType::kF32, {3});
  tensors.add("e", DType::kBF16, {9, 13});
  const std::string file = packed(plan, tensors, dir);

  const uint8_t* data = layerData(file, *plan.weights[0], 0);
  int64_t at = 0;
  for (const auto& [name, rows] : {std::pair{"a", 5}, {"b", 3}, {"c", 3}})
    for (int64_t r = 0; r < rows; ++r)
      EXPECT_EQ(llmrt::loadAsF32(DType::kF32, data, at++), MemoryTensors::value(name, r, 0))
          << name;
  data = layerData(file, *plan.weights[1], 0);
  for (int64_t i = 0; i < 9 * 13; ++i)
    EXPECT_EQ(llmrt::loadAsF32(DType::kBF16, data, i), MemoryTensors::value("e", i / 13, i % 13));
}

TEST(WeightPacker, LayersTakeTheirOwnTensorsAndHashesAreOfTheBytes) {
  TemporaryDirectory dir;
  schema::PlanT plan;
  plan.id = 77;
  schema::WeightT& norm = addWeight(plan, "norm", DType::kF32, schema::Layout::rows);
  addSource(norm, "l.{layer}.norm", 20, 1, 1);
  norm.num_layers = 2;
  norm.first_layer = 3;
  schema::WeightT& proj = addWeight(plan, "proj", DType::kF16, schema::Layout::panels);
  addSource(proj, "l.{layer}.proj", 20, 24);
  proj.num_layers = 2;
  proj.first_layer = 3;
  layOutWeights(plan);
  MemoryTensors tensors;
  for (const char* name : {"l.3.proj", "l.4.proj"}) tensors.add(name, DType::kF16, {20, 24});
  for (const char* name : {"l.3.norm", "l.4.norm"}) tensors.add(name, DType::kF16, {20});
  const std::string file = packed(plan, tensors, dir);
  expectPanels(file, *plan.weights[1], 0, {"l.3.proj"});
  expectPanels(file, *plan.weights[1], 1, {"l.4.proj"});

  EXPECT_TRUE(plan.has_weights);
  for (const auto& w : plan.weights) {
    std::string bytes;
    for (uint32_t l = 0; l < 2; ++l)
      bytes.append(reinterpret_cast<const char*>(layerData(file, *w, l)), w->bytes);
    EXPECT_EQ(w->hash, XXH3_64bits(bytes.data(), bytes.size())) << w->name;
  }
  llmrt::WeightsHeader header;
  std::memcpy(&header, file.data(), sizeof header);
  EXPECT_EQ(std::memcmp(header.magic, llmrt::kWeightsMagic, 8), 0);
  EXPECT_EQ(header.plan_id, 77u);
  EXPECT_EQ(header.bytes, file.size());
}

TEST(WeightPacker, RowsOfInterleavedHeadsComeBackInHFsOrder) {
  TemporaryDirectory dir;
  schema::PlanT plan;
  addSource(addWeight(plan, "w", DType::kF32, schema::Layout::panels), "t", 32, 8);
  layOutWeights(plan);
  MemoryTensors tensors;
  llmrt::Tensor& t = tensors.add("t", DType::kF32, {32, 8});
  t.interleaved_heads = 2;
  const std::string file = packed(plan, tensors, dir);
  const uint8_t* data = layerData(file, *plan.weights[0], 0);
  for (int64_t row = 0; row < 32; ++row) {
    EXPECT_EQ(llmrt::loadAsF32(DType::kF32, data,
                               row / 16 * llmrt::panelElements(DType::kF32, 8) +
                                   llmrt::panelOffset(DType::kF32, row % 16, 5)),
              MemoryTensors::value("t", t.storedRow(row), 5))
        << row;
  }
}

TEST(WeightPacker, ManyBlocksGoThroughFewSlotsInOrder) {
  TemporaryDirectory dir;
  schema::PlanT plan;
  // 4 MiB blocks: 13 of them, the last one short.
  addSource(addWeight(plan, "w", DType::kF32, schema::Layout::panels), "t", 12500, 1024);
  layOutWeights(plan);
  MemoryTensors tensors;
  tensors.add("t", DType::kF32, {12500, 1024});
  uint64_t last = 0;
  auto file = packWeights(plan, tensors, dir.path("w"), [&](uint64_t done, uint64_t total) {
    EXPECT_GT(done, last);
    EXPECT_LE(done, total);
    last = done;
    return true;
  });
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(last, plan.weights[0]->offset_bytes + plan.weights[0]->bytes);
  ASSERT_TRUE(file->commit().ok());
  expectPanels(readFile(dir.path("w")), *plan.weights[0], 0, {"t"});
}

TEST(WeightPacker, NothingIsLeftBeforeTheCommitOrAfterAFailure) {
  TemporaryDirectory dir;
  schema::PlanT plan;
  addSource(addWeight(plan, "w", DType::kF32, schema::Layout::panels), "t", 16, 8);
  layOutWeights(plan);
  MemoryTensors tensors;
  tensors.add("t", DType::kF32, {16, 8});
  { auto dropped = packWeights(plan, tensors, dir.path("w")); }
  EXPECT_EQ(dir.entries(), 0u);
  auto cancelled =
      packWeights(plan, tensors, dir.path("w"), [](uint64_t, uint64_t) { return false; });
  EXPECT_EQ(cancelled.status().code(), llmrt::StatusCode::kCancelled);
  EXPECT_EQ(dir.entries(), 0u);
}

TEST(WeightPacker, MissingAndMisshapenTensorsAreNamed) {
  TemporaryDirectory dir;
  schema::PlanT plan;
  schema::WeightT& w = addWeight(plan, "w", DType::kF32, schema::Layout::panels);
  addSource(w, "l.{layer}.proj", 16, 8);
  w.num_layers = 2;
  layOutWeights(plan);
  MemoryTensors tensors;
  tensors.add("l.0.proj", DType::kF32, {16, 8});
  EXPECT_THAT(packWeights(plan, tensors, dir.path("w")).status().message(),
              AllOf(HasSubstr("checkpoint"), HasSubstr("l.1.proj"), HasSubstr("missing")));
  tensors.add("l.1.proj", DType::kF32, {8, 16});
  EXPECT_THAT(packWeights(plan, tensors, dir.path("w")).status().message(),
              AllOf(HasSubstr("l.1.proj"), HasSubstr("[8, 16]"), HasSubstr("[16, 8]")));
  EXPECT_EQ(dir.entries(), 0u);
}

TEST(WeightPacker, TensorsAreFoundBeforeMemoryIsTakenForAPlansSizes) {
  TemporaryDirectory dir;
  schema::PlanT plan;
  // A row map of this many rows would take 2^51 bytes.
  addSource(addWeight(plan, "w", DType::kF32, schema::Layout::panels), "t", uint64_t{1} << 47, 1);
  EXPECT_THAT(packWeights(plan, MemoryTensors(), dir.path("w")).status().message(),
              AllOf(HasSubstr("'t'"), HasSubstr("missing")));
}

}  // namespace
}  // namespace llmc
