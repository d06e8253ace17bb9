#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codegen/plan/WeightPacker.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>

#include "codegen/plan/Quantize.h"
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

/// One row of a tensor as `format` has it: of blocks in that format, or plain and then quantised.
std::vector<float> storedRow(const llmrt::WeightFormat& format, const llmrt::Tensor& tensor,
                             int64_t row) {
  const int64_t cols = tensor.shape[1];
  std::vector<float> values(static_cast<size_t>(cols));
  for (int64_t begin = 0; begin < cols; begin += format.block) {
    float* const block = values.data() + begin;
    llmrt::StoredBlock stored;
    if (tensor.blocks) {
      const uint8_t* data = tensor.data + row * tensor.blocks->rowBytes(cols);
      tensor.blocks->readPlanes(data + begin / format.block * tensor.blocks->bytes, stored.planes);
    } else {
      for (int64_t i = 0; i < format.block; ++i)
        block[i] = llmrt::loadAsF32(tensor.dtype, tensor.data, row * cols + begin + i);
      quantizeBlock(format, block, stored.planes);
    }
    llmrt::decodeBlock(format, stored.planes, block);
  }
  return values;
}

/// Every output of a weight of blocks has the values of its row, and padding is zero.
void expectBlocks(const std::string& file, const schema::WeightT& w, const MemoryTensors& tensors,
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
      std::vector<float> expected(static_cast<size_t>(cols));
      if (outputs[n].source >= 0) {
        const llmrt::Tensor& tensor =
            **tensors.find(nameOf(static_cast<size_t>(outputs[n].source), e));
        expected = storedRow(format, tensor, tensor.storedRow(outputs[n].row));
      }
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
              << w.name << " " << w.format << " expert " << e << " output " << n << " block " << b
              << " value " << i;
      }
    }
  }
}

schema::WeightT& addBlocks(schema::PlanT& plan, const char* name, std::string_view format,
                           schema::Layout layout,
                           schema::PanelOrder order = schema::PanelOrder::concat) {
  schema::WeightT& w = addWeight(plan, name, DType::kI8, layout, order);
  w.format = format;
  return w;
}

TEST(WeightPacker, BlocksAndScalesLieInPlanesOfTheirOwn) {
  schema::PlanT plan;
  schema::WeightT& glu = addBlocks(plan, "glu", "q8_0", schema::Layout::panels);
  addSource(glu, "t", 40, 96);
  layOutWeights(plan);
  ASSERT_EQ(glu.planes.size(), 2u);
  EXPECT_EQ(glu.planes[0]->name, "quants");
  EXPECT_EQ(glu.planes[1]->offset_bytes, 3u * 16 * 96);
  EXPECT_EQ(glu.bytes, 3u * 16 * (96 + 3 * 2));
}

TEST(WeightPacker, QuantisedWeightsKeepTheirValuesInEveryFormatAndLayout) {
  int formats = 0;
  for (uint32_t type = 0; type < 64; ++type) {
    const llmrt::StoredBlocks* blocks = llmrt::ggmlBlocks(type);
    if (!blocks) continue;
    ++formats;
    TemporaryDirectory dir;
    schema::PlanT plan;
    const std::string_view format = blocks->format->name;
    const auto panels = schema::Layout::panels;
    const auto cols = static_cast<uint64_t>(2 * blocks->format->block);
    schema::WeightT& glu = addBlocks(plan, "glu", format, panels, schema::PanelOrder::interleave);
    addSource(glu, "gate", 24, cols);
    addSource(glu, "up", 24, cols);
    schema::WeightT& heads = addBlocks(plan, "qkv", format, panels, schema::PanelOrder::heads);
    heads.head_rows = 20;
    addSource(heads, "q", 40, cols);
    addSource(heads, "k", 20, cols);
    addSource(addBlocks(plan, "rows", format, schema::Layout::rows), "embed", 11, cols);
    schema::WeightT& experts = addBlocks(plan, "down", format, panels);
    experts.num_experts = 3;
    addSource(experts, "{expert}.down", 17, cols);
    layOutWeights(plan);

    MemoryTensors tensors;
    const auto add = [&](const char* name, int64_t rows) -> llmrt::Tensor& {
      return tensors.addBlocks(name, *blocks, {rows, static_cast<int64_t>(cols)});
    };
    add("gate", 24);
    add("up", 24);
    add("q", 40).interleaved_heads = 2;
    add("k", 20).interleaved_heads = 1;
    add("embed", 11);
    for (const char* name : {"0.down", "1.down", "2.down"}) add(name, 17);
    const std::string file = packed(plan, tensors, dir);
    ASSERT_EQ(file.size(), plan.weights_bytes);
    expectBlocks(file, *plan.weights[0], tensors,
                 [](size_t s, uint32_t) { return s ? "up" : "gate"; });
    expectBlocks(file, *plan.weights[1], tensors, [](size_t s, uint32_t) { return s ? "k" : "q"; });
    expectBlocks(file, *plan.weights[2], tensors, [](size_t, uint32_t) { return "embed"; });
    expectBlocks(file, *plan.weights[3], tensors,
                 [](size_t, uint32_t e) { return std::to_string(e) + ".down"; });
  }
  EXPECT_EQ(formats, 13);
}

// Rows 6 to 11 and 18 to 23 of 24: whole rows are whole blocks.
TEST(WeightPacker, PlainValuesAreQuantisedAsTheyArePacked) {
  for (const DType dtype : kDTypes) {
    for (const char* format : {"q8_0", "q4_1", "q4_k", "q6_k"}) {
      TemporaryDirectory dir;
      schema::PlanT plan;
      schema::WeightT& glu =
          addBlocks(plan, "glu", format, schema::Layout::panels, schema::PanelOrder::interleave);
      addSource(glu, "gate", 24, 512);
      addSource(glu, "up", 24, 512);
      addSource(addBlocks(plan, "rows", format, schema::Layout::rows), "gate", 24, 512);
      layOutWeights(plan);
      MemoryTensors tensors;
      tensors.add("gate", dtype, {24, 512});
      tensors.add("up", dtype, {24, 512});
      const std::string file = packed(plan, tensors, dir);
      expectBlocks(file, *plan.weights[0], tensors,
                   [](size_t s, uint32_t) { return s ? "up" : "gate"; });
      expectBlocks(file, *plan.weights[1], tensors, [](size_t, uint32_t) { return "gate"; });
    }
  }
}

TEST(WeightPacker, APlainValueThatIsNotFiniteIsNotQuantised) {
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    TemporaryDirectory dir;
    schema::PlanT plan;
    addSource(addBlocks(plan, "w", "q4_k", schema::Layout::panels), "t", 16, 512);
    layOutWeights(plan);
    MemoryTensors tensors;
    tensors.add("t", DType::kF32, {16, 512});
    std::memcpy(tensors.bytesOf("t") + (5 * 512 + 300) * sizeof bad, &bad, sizeof bad);
    const auto file = packWeights(plan, tensors, dir.path("w"));
    EXPECT_THAT(file.status().message(), HasSubstr("tensor 't' has a value that is not finite"));
    EXPECT_EQ(dir.entries(), 0u);
  }
}

TEST(WeightPacker, PlanesOfALayerThatIsPackedInManyPiecesAreWhole) {
  const llmrt::StoredBlocks& blocks = *llmrt::ggmlBlocks(14);
  ASSERT_EQ(blocks.format->name, "q6_k");
  TemporaryDirectory dir;
  schema::PlanT plan;
  // 4 MiB a piece: two of each expert.
  schema::WeightT& w = addBlocks(plan, "w", "q6_k", schema::Layout::panels);
  w.num_experts = 2;
  addSource(w, "{expert}.t", 20000, 256);
  addSource(addBlocks(plan, "after", "q6_k", schema::Layout::rows), "after", 3, 256);
  layOutWeights(plan);
  MemoryTensors tensors;
  tensors.addBlocks("0.t", blocks, {20000, 256});
  tensors.addBlocks("1.t", blocks, {20000, 256});
  tensors.addBlocks("after", blocks, {3, 256});
  const std::string file = packed(plan, tensors, dir);
  expectBlocks(file, *plan.weights[0], tensors,
               [](size_t, uint32_t e) { return std::to_string(e) + ".t"; });
  expectBlocks(file, *plan.weights[1], tensors, [](size_t, uint32_t) { return "after"; });
}

TEST(WeightPacker, AViewOfRowsTakesWholeBlocksAndOneThatCutsThemIsRefused) {
  TemporaryDirectory dir;
  schema::PlanT plan;
  schema::WeightT& w = addBlocks(plan, "w", "q4_k", schema::Layout::rows);
  addSource(w, "t", 12, 512);
  schema::WeightViewT& view = *(w.sources[0]->view = std::make_unique<schema::WeightViewT>());
  view.stored = {24, 512};
  view.begin = 6 * 512;
  view.run = 6;
  view.outer = 12 * 512;
  view.inner = 512;
  view.col = 1;
  layOutWeights(plan);
  MemoryTensors tensors;
  const llmrt::Tensor& stored = tensors.addBlocks("t", *llmrt::ggmlBlocks(12), {24, 512});
  const std::string file = packed(plan, tensors, dir);
  MemoryTensors rows;  // as the view names them
  llmrt::Tensor& part = rows.addBlocks("part", *llmrt::ggmlBlocks(12), {12, 512});
  for (int64_t row = 0; row < 12; ++row)
    std::memcpy(rows.bytesOf("part") + row * 2 * 144,
                stored.data + (row + (row < 6 ? 6 : 12)) * 2 * 144, 2 * 144);
  ASSERT_EQ(storedRow(part.format(), part, 6), storedRow(stored.format(), stored, 18));
  expectBlocks(file, w, rows, [](size_t, uint32_t) { return "part"; });

  const auto refusal = [&] {
    const auto packedFile = packWeights(plan, tensors, dir.path("w"));
    return packedFile.status().message();
  };
  view.begin = 5 * 512 + 32;  // of columns
  EXPECT_THAT(refusal(), AllOf(HasSubstr("tensor 't' is stored in q4_k, in blocks of 256"),
                               HasSubstr("cut inside")));
  view.begin = 0;
  view.inner = 1;
  view.outer = 0;
  view.run = 12;
  view.col = 24;  // transposed
  EXPECT_THAT(refusal(), HasSubstr("tensor 't' is stored in q4_k, in blocks of 256"));
}

TEST(WeightPacker, WeightsOfAnotherFormatThanThePlansAreRefused) {
  TemporaryDirectory dir;
  MemoryTensors tensors;
  tensors.addBlocks("quantised", *llmrt::ggmlBlocks(2), {16, 256});
  tensors.add("plain", DType::kF16, {16, 256});
  const auto refusal = [&](const char* format, const char* tensor) {
    schema::PlanT plan;
    const bool plain = std::string_view(format) == "f16";
    schema::WeightT& w =
        addWeight(plan, "w", plain ? DType::kF16 : DType::kI8, schema::Layout::panels);
    if (!plain) w.format = format;
    addSource(w, tensor, 16, 256);
    layOutWeights(plan);
    return packWeights(plan, tensors, dir.path("w")).status().message();
  };
  EXPECT_THAT(refusal("q4_k", "quantised"),
              HasSubstr("tensor 'quantised' is stored in q4_0, the plan is for q4_k: compile it"));
  EXPECT_THAT(refusal("f16", "quantised"), HasSubstr("is stored in q4_0, the plan is for f16"));
  EXPECT_EQ(refusal("q4_k", "plain"), "") << "it is quantised here";
  EXPECT_EQ(refusal("q4_0", "quantised"), "");
  EXPECT_EQ(dir.entries(), 0u);
}

TEST(WeightPacker, AScaleThatIsNotFiniteIsRefusedByItsTensor) {
  for (uint32_t type = 0; type < 64; ++type) {
    const llmrt::StoredBlocks* blocks = llmrt::ggmlBlocks(type);
    if (!blocks) continue;
    for (const auto layout : {schema::Layout::panels, schema::Layout::rows}) {
      for (const int64_t at : {blocks->scale_at, blocks->min_at}) {
        for (const uint16_t bits : {0x7c00, 0xfc00, 0x7e01, 0x7bff}) {
          if (at < 0) continue;
          TemporaryDirectory dir;
          schema::PlanT plan;
          schema::WeightT& w = addBlocks(plan, "w", blocks->format->name, layout);
          addSource(w, "fine", 16, 512);
          addSource(w, "bad", 16, 512);
          layOutWeights(plan);
          MemoryTensors tensors;
          tensors.addBlocks("fine", *blocks, {16, 512});
          tensors.addBlocks("bad", *blocks, {16, 512});
          // The last block of row 3.
          uint8_t* const to =
              tensors.bytesOf("bad") + 4 * blocks->rowBytes(512) - blocks->bytes + at;
          if (blocks->format->planes[1].dtype == DType::kHalfE8M0)
            *to = bits == 0x7bff ? 0xfe : 0xff;
          else
            std::memcpy(to, &bits, 2);
          const auto file = packWeights(plan, tensors, dir.path("w"));
          if (bits == 0x7bff) {  // the largest there is
            EXPECT_TRUE(file.ok()) << file.status().message();
            continue;
          }
          EXPECT_THAT(file.status().message(),
                      AllOf(HasSubstr("tensor 'bad' is corrupt"), HasSubstr("not finite")));
          EXPECT_EQ(dir.entries(), 0u);
        }
      }
    }
  }
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
