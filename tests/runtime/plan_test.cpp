// Plan: what is refused, and how it is said. Weights: mapped and made up.
#include "runtime/executor/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "runtime/executor/plan_verify.h"
#include "runtime/executor/thread_team.h"
#include "runtime/io/float_convert.h"
#include "runtime/schema/plan_hash.h"
#include "runtime/schema/version.h"
#include "tests/runtime/example_plan.h"

namespace llmrt {
namespace {

using example::Model;
using example::TempDir;
using schema::PlanT;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

Status open(const std::vector<uint8_t>& bytes, const PlanOptions& options = {}) {
  TempDir dir;
  example::writeFile(dir / "p.fb", bytes);
  Result<std::unique_ptr<Plan>> plan = Plan::open(dir / "p.fb", options);
  return plan.ok() ? Status() : plan.status();
}

Status openChanged(const std::function<void(PlanT&)>& change, const PlanOptions& options = {}) {
  PlanT p = example::plan();
  change(p);
  return open(example::serialize(p), options);
}

TEST(Plan, OpensTheExample) {
  const Model model;
  EXPECT_EQ(model.plan->vocabSize(), example::kVocab);
  EXPECT_EQ(model.plan->maxSeqLen(), example::kMaxSeqLen);
}

TEST(Plan, RefusesWhatIsNoPlan) {
  TempDir dir;
  EXPECT_THAT(Plan::open(dir / "none.fb").status().message(),
              EndsWith("none.fb: no such file or directory"));
  EXPECT_THAT(open({}).message(), HasSubstr("is not a plan"));
  EXPECT_THAT(open({1, 2, 3}).message(), HasSubstr("is not a plan"));
  EXPECT_THAT(open(std::vector<uint8_t>(1000, 'x')).message(), HasSubstr("is not a plan"));
}

TEST(Plan, RefusesOtherVersionsAndMachines) {
  const auto version = openChanged([](PlanT& p) { p.schema_version = 99; });
  EXPECT_EQ(version.code(), StatusCode::kUnsupported);
  EXPECT_THAT(version.message(), HasSubstr("schema version 99, this runtime reads version " +
                                           std::to_string(kPlanSchemaVersion)));
  EXPECT_THAT(openChanged([](PlanT& p) { p.targets[0]->abi_version = 7; }).message(),
              HasSubstr("kernel ABI version 7"));
  const auto machine = openChanged([](PlanT& p) { p.targets[0]->name = "cuda:sm_90a"; });
  EXPECT_EQ(machine.code(), StatusCode::kUnsupported);
  EXPECT_THAT(machine.message(), HasSubstr("holds code for 'cuda:sm_90a', this machine runs"));
  EXPECT_THAT(openChanged([](PlanT&) {}, {.cpu_target = "z80"}).message(),
              HasSubstr("`cpu_target` z80"));
}

TEST(Plan, TwoThatAreOpenHaveEachItsOwnCode) {
  const auto refuses = [](int status) {
    return [status](PlanT& p) {
      example::setKernels(*p.targets[0], status);
      for (auto& entry : p.entry_points) example::refuse13(*entry->sections[1]->phases[0]);
    };
  };
  const Model seven(refuses(7));
  for (int opened = 0; opened < 2; ++opened) {  // also after the first such has been closed
    const Model eight(refuses(8));
    EXPECT_NE(seven.plan->kernel(5), eight.plan->kernel(5));
    EXPECT_THAT(seven.session()->decode(0, 13).message(), EndsWith("returned 7"));
    EXPECT_THAT(eight.session()->decode(0, 13).message(), EndsWith("returned 8"));
  }
}

TEST(Plan, TakesTheBestTargetThatPlanAndMachineShare) {
  PlanT p = example::plan();
  p.targets.insert(p.targets.begin(), std::make_unique<schema::TargetT>());
  p.targets[0]->name = "cuda:sm_80";
  EXPECT_TRUE(open(example::serialize(p)).ok());
}

TEST(Plan, RefusesAFileWhoseHashDiffersOrIsAbsent) {
  const std::vector<uint8_t> good = example::serialize(example::plan());
  std::vector<uint8_t> bad = good;
  // A letter of the producer, which nothing reads.
  const char* const producer = schema::GetPlan(bad.data())->producer()->c_str();
  bad[static_cast<size_t>(reinterpret_cast<const uint8_t*>(producer) - bad.data())] ^= 1;
  EXPECT_THAT(open(bad).message(), HasSubstr("p.fb: is corrupt: its hash differs"));
  storePlanHash(bad);
  EXPECT_TRUE(open(bad).ok());
  // As FlatBuffers packs it.
  PlanT p = example::plan();
  flatbuffers::FlatBufferBuilder builder;
  FinishPlanBuffer(builder, schema::Plan::Pack(builder, &p));
  EXPECT_THAT(
      open({builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()}).message(),
      HasSubstr("p.fb: has no hash of itself: compile it again with llmc"));
}

TEST(Plan, ChecksTheCodesHashBeforeItIsMapped) {
  EXPECT_THAT(openChanged([](PlanT& p) { p.targets[0]->image[100] ^= 1; }).message(),
              HasSubstr("the hash of the code"));
  EXPECT_THAT(openChanged([](PlanT& p) { p.targets[0]->image.clear(); }).message(),
              HasSubstr("no code for"));
  EXPECT_THAT(openChanged([](PlanT& p) { p.kernels[0]->symbol = "nobody"; }).message(),
              HasSubstr("no kernel 'nobody'"));
  EXPECT_THAT(openChanged([](PlanT& p) {
                p.targets[0]->image.assign(100, 'x');
                p.targets[0]->image_hash = XXH3_64bits(p.targets[0]->image.data(), 100);
              }).message(),
              HasSubstr("the kernels cannot be loaded"));
}

struct Corruption {
  const char* message;
  void (*change)(PlanT&);
};

// Of the second weight: its source as the whole of a tensor of its shape, seen through a view.
schema::WeightViewT& viewSource(PlanT& p) {
  schema::WeightSourceT& source = *p.weights[1]->sources[0];
  source.view = std::make_unique<schema::WeightViewT>();
  source.view->stored = {source.rows, source.cols};
  source.view->run = source.rows;
  source.view->inner = source.cols;
  source.view->col = 1;
  return *source.view;
}

void inBlocks(PlanT& p) { example::inBlocks(*p.weights[1]); }

schema::PhaseT& attention(PlanT& p) { return *p.entry_points[0]->sections[1]->phases[1]; }

const Corruption kCorruptions[] = {
    {"model is missing", [](PlanT& p) { p.model.reset(); }},
    {"model.vocab_size 0", [](PlanT& p) { p.model->vocab_size = 0; }},
    {"model.max_seq_len 0", [](PlanT& p) { p.model->max_seq_len = 0; }},
    {"model.max_batch 0", [](PlanT& p) { p.model->max_batch = 0; }},
    {"model.num_layers", [](PlanT& p) { p.model->num_layers = 1 << 20; }},
    {"kernels[2] has no symbol", [](PlanT& p) { p.kernels[2]->symbol.clear(); }},
    {"targets is empty", [](PlanT& p) { p.targets.clear(); }},
    {"it has 65 targets, at most 64 are read",
     [](PlanT& p) {
       while (p.targets.size() < 65) p.targets.push_back(std::make_unique<schema::TargetT>());
     }},
    {"targets[0] has no name", [](PlanT& p) { p.targets[0]->name.clear(); }},
    {"targets[0].scratch_bytes", [](PlanT& p) { p.targets[0]->scratch_bytes = ~0ull; }},
    {"targets[0].cuda_operands is 65", [](PlanT& p) { p.targets[0]->cuda_operands = 65; }},
    {"states[0] has no name", [](PlanT& p) { p.states[0]->name = "two\nlines"; }},
    {"states[0]: kind is unknown",
     [](PlanT& p) { p.states[0]->kind = static_cast<schema::StateKind>(3); }},
    {"states[0]: kept rows are bf16",
     [](PlanT& p) {
       p.states[0]->kind = schema::StateKind::kept;
       p.states[0]->elements = 4;
       p.states[0]->dtype = schema::DType::bf16;
     }},
    {"states[0]: rows is 0",
     [](PlanT& p) {
       p.states[0]->kind = schema::StateKind::kept;
       p.states[0]->elements = 4;
       p.states[0]->dtype = schema::DType::f32;
     }},
    {"states[0]: dtype is unknown", [](PlanT& p) { p.states[0]->dtype = schema::DType::i32; }},
    {"states[0]: layers is empty", [](PlanT& p) { p.states[0]->layers.clear(); }},
    {"states[0]: layer 2 of a model of 2",
     [](PlanT& p) {
       p.states[0]->layers = {0, 2};
     }},
    {"states[0]: layer 0 comes after layer 1",
     [](PlanT& p) {
       p.states[0]->layers = {1, 0};
     }},
    {"states[0]: layer 1 comes after layer 1",
     [](PlanT& p) {
       p.states[0]->layers = {1, 1};
     }},
    {"states[0]: 0 kv heads", [](PlanT& p) { p.states[0]->num_kv_heads = 0; }},
    {"states[0]: head_dim_padded 24", [](PlanT& p) { p.states[0]->head_dim_padded = 24; }},
    {"states[0]: value_dim_padded 32", [](PlanT& p) { p.states[0]->value_dim_padded = 32; }},
    {"states[1]: elements is 0",
     [](PlanT& p) {
       example::addRecurrent(p);
       p.states[1]->elements = 0;
     }},
    {"states[1]: elements is 18446744073709551615",
     [](PlanT& p) {
       example::addRecurrent(p);
       p.states[1]->elements = ~0ull;
     }},
    {"it has 1025 states",
     [](PlanT& p) {
       while (p.states.size() < 1025)
         p.states.push_back(std::make_unique<schema::StateT>(*p.states[0]));
     }},
    {"rope_tables[0].inv_freq has 0 values", [](PlanT& p) { p.rope_tables[0]->inv_freq.clear(); }},
    {"weights_bytes is 0", [](PlanT& p) { p.weights_bytes = 0; }},
    {"weights[0] has no name", [](PlanT& p) { p.weights[0]->name.clear(); }},
    {"weights[0]: dtype", [](PlanT& p) { p.weights[0]->dtype = static_cast<schema::DType>(-1); }},
    {"weights[1]: format 'q9' is unknown", [](PlanT& p) { p.weights[1]->format = "q9"; }},
    {"weights[1]: format 'q8_0' is unknown, or not of its dtype",
     [](PlanT& p) { p.weights[1]->format = "q8_0"; }},
    {"weights[1]: bytes is 4096, its shape needs 1088",
     [](PlanT& p) {
       inBlocks(p);
       p.weights[1]->bytes = 4096;
     }},
    {"weights[1]: it has 0 planes, its format 2",
     [](PlanT& p) {
       inBlocks(p);
       p.weights[1]->planes.clear();
     }},
    {"weights[1]: it has 17 planes, its format 2",
     [](PlanT& p) {
       inBlocks(p);
       while (p.weights[1]->planes.size() < 17)
         p.weights[1]->planes.push_back(
             std::make_unique<schema::PlaneT>(*p.weights[1]->planes.back()));
     }},
    {"weights[1]: planes[0] is not the quants of its format",
     [](PlanT& p) {
       inBlocks(p);
       std::swap(p.weights[1]->planes[0], p.weights[1]->planes[1]);
     }},
    {"weights[1]: planes[1] is 64 bytes at 960, its shape makes 64 at 1024",
     [](PlanT& p) {
       inBlocks(p);
       p.weights[1]->planes[1]->offset_bytes = 960;
     }},
    {"plane 2 of 2",
     [](PlanT& p) {
       inBlocks(p);
       for (auto& entry : p.entry_points)
         for (auto& section : entry->sections)
           for (auto& phase : section->phases)
             for (auto& operand : phase->operands)
               if (operand->space == schema::Space::weights && operand->index == 1)
                 operand->plane = 2;
     }},
    {"weights[0]: layout", [](PlanT& p) { p.weights[0]->layout = static_cast<schema::Layout>(5); }},
    {"weights[1]: order is unknown",
     [](PlanT& p) { p.weights[1]->order = static_cast<schema::PanelOrder>(5); }},
    {"weights[1]: order interleave",
     [](PlanT& p) { p.weights[1]->order = schema::PanelOrder::interleave; }},
    {"weights[1]: order heads", [](PlanT& p) { p.weights[1]->order = schema::PanelOrder::heads; }},
    {"weights[1]: panels is 3, its sources make 2", [](PlanT& p) { p.weights[1]->panels = 3; }},
    {"weights[1]: layers 1 + 2", [](PlanT& p) { p.weights[1]->first_layer = 1; }},
    {"weights[1]: sources is empty", [](PlanT& p) { p.weights[1]->sources.clear(); }},
    {"weights[1]: cols is 0", [](PlanT& p) { p.weights[1]->cols = 0; }},
    {"weights[1]: a source has 31 columns", [](PlanT& p) { p.weights[1]->sources[0]->cols = 31; }},
    {"weights[1]: a source has 0 rows", [](PlanT& p) { p.weights[1]->sources[0]->rows = 0; }},
    {"weights[1]: a source has kind 3", [](PlanT& p) { p.weights[1]->sources[0]->kind = 3; }},
    {"weights[1]: a source has a view that leaves its tensor",
     [](PlanT& p) { viewSource(p).begin = 1; }},
    {"weights[1]: a source has a view that leaves its tensor",
     [](PlanT& p) { viewSource(p).run = 0; }},
    {"weights[1]: a source has a view that leaves its tensor",
     [](PlanT& p) { viewSource(p).stored.clear(); }},
    {"weights[1]: a source has a view that leaves its tensor",
     [](PlanT& p) { viewSource(p).col = ~0ull; }},
    {"weights[1]: bytes is 4160", [](PlanT& p) { p.weights[1]->bytes += 64; }},
    {"weights[1]: layer_stride_bytes is 64",
     [](PlanT& p) { p.weights[1]->layer_stride_bytes = 64; }},
    {"weights[0] and weights[1] overlap",
     [](PlanT& p) { p.weights[1]->offset_bytes = p.weights[0]->offset_bytes + 64; }},
    {"weights[1] and weights[2] overlap", [](PlanT& p) { p.weights[1]->layer_stride_bytes += 64; }},
    {"weights hold more than",
     [](PlanT& p) {
       p.model->num_layers = 1 << 16;
       p.weights_bytes = uint64_t{1} << 50;
       for (int i = 0; i < 100; ++i) {
         p.weights.push_back(std::make_unique<schema::WeightT>(*p.weights[1]));
         p.weights.back()->num_layers = 1 << 16;
         p.weights.back()->offset_bytes = uint64_t{1} << 40;
       }
     }},
    {"weights[1]: dtype is unknown", [](PlanT& p) { p.weights[1]->dtype = schema::DType::i8; }},
    {"phases[2]: operands[1]: plane 1 of 1",
     [](PlanT& p) { p.entry_points[0]->sections[1]->phases[2]->operands[1]->plane = 1; }},
    {"weights[2]: offset_bytes is 8", [](PlanT& p) { p.weights[2]->offset_bytes = 8; }},
    {"weights[2]: it ends after", [](PlanT& p) { p.weights[2]->offset_bytes += 64; }},
    {"weights[2]: it ends after", [](PlanT& p) { p.weights[2]->offset_bytes = ~0ull / 64 * 64; }},
    {"entry_points is empty", [](PlanT& p) { p.entry_points.clear(); }},
    {"entry_points[1]: max_rows is 0", [](PlanT& p) { p.entry_points[1]->max_rows = 0; }},
    {"max_logits_rows is 25 of 24", [](PlanT& p) { p.entry_points[1]->max_logits_rows = 25; }},
    {"entry point decode: buffer x: width 33 in a row stride of 32",
     [](PlanT& p) { p.entry_points[0]->buffers[0]->width = 33; }},
    {"buffers[0]: a row stride of 33",
     [](PlanT& p) { p.entry_points[0]->buffers[0]->row_stride = 33; }},
    {"entry_points[0]: it has no name", [](PlanT& p) { p.entry_points[0]->name.clear(); }},
    {"buffers[1] has no name",
     [](PlanT& p) { p.entry_points[0]->buffers[1]->name = "two\nlines"; }},
    {"buffers[1] has no name",
     [](PlanT& p) { p.entry_points[0]->buffers[1]->name.assign(257, 'a'); }},
    {"phases[1]: op is no name", [](PlanT& p) { attention(p).op.clear(); }},
    {"it has 4097 buffers",
     [](PlanT& p) {
       while (p.entry_points[0]->buffers.size() < 4097)
         p.entry_points[0]->buffers.push_back(
             std::make_unique<schema::BufferT>(*p.entry_points[0]->buffers[0]));
     }},
    {"phases[1]: it has 65 operands",
     [](PlanT& p) {
       while (attention(p).operands.size() < 65)
         attention(p).operands.push_back(
             std::make_unique<schema::OperandT>(*attention(p).operands[0]));
     }},
    {"entry point decode: its kind is unknown",
     [](PlanT& p) { p.entry_points[0]->kind = static_cast<schema::StepKind>(6); }},
    {"inputs[0] has no name", [](PlanT& p) { p.entry_points[0]->inputs[0]->name.clear(); }},
    {"inputs[0].width is 16777217",
     [](PlanT& p) { p.entry_points[0]->inputs[0]->width = (1 << 24) + 1; }},
    {"input token_id: its width is 0", [](PlanT& p) { p.entry_points[0]->inputs[0]->width = 0; }},
    {"two inputs are called pos", [](PlanT& p) { p.entry_points[0]->inputs[0]->name = "pos"; }},
    {"it has 65 inputs and 1 outputs",
     [](PlanT& p) {
       while (p.entry_points[0]->inputs.size() < 65)
         p.entry_points[0]->inputs.push_back(example::input("more", schema::Axis::row));
     }},
    {"outputs[0] has no name", [](PlanT& p) { p.entry_points[0]->outputs[0]->name.clear(); }},
    {"phases[1]: its kind is unknown",
     [](PlanT& p) { attention(p).kind = static_cast<schema::PhaseKind>(2); }},
    {"buffer a: its dtype is unknown",
     [](PlanT& p) { p.entry_points[0]->buffers[1]->dtype = static_cast<schema::DType>(6); }},
    {"buffer x: 5 rows", [](PlanT& p) { p.entry_points[0]->buffers[0]->rows = 5; }},
    {"writes 4 rows to buffer x of 3", [](PlanT& p) { p.entry_points[0]->buffers[0]->rows = 3; }},
    // All sizes agree, but the phases of a prefill write more rows than this.
    {"entry point prefill: section 1 phase 1 (attention): writes 24 rows to buffer a of 4",
     [](PlanT& p) {
       schema::BufferT& a = *p.entry_points[1]->buffers[1];
       a.rows = 4;
       a.bytes = 4 * 32 * 4;
     }},
    {"reads buffer a before it is written",
     [](PlanT& p) {
       auto& phases = p.entry_points[0]->sections[1]->phases;
       phases.erase(phases.begin() + 1);
     }},
    {"buffer a: offset 32", [](PlanT& p) { p.entry_points[0]->buffers[1]->offset_bytes = 32; }},
    {"bytes at 18446744073709551552",
     [](PlanT& p) { p.entry_points[0]->buffers[1]->offset_bytes = ~0ull / 64 * 64; }},
    {"outside an arena of 1024", [](PlanT& p) { p.entry_points[0]->arena_bytes = 1024; }},
    {"output logits: buffer 3 of 3", [](PlanT& p) { p.entry_points[0]->outputs[0]->buffer = 3; }},
    {"logits are 32 wide", [](PlanT& p) { p.entry_points[0]->outputs[0]->buffer = 0; }},
    {"no output is called logits", [](PlanT& p) { p.entry_points[0]->outputs.clear(); }},
    {"section 0 is no layers and runs 2 times",
     [](PlanT& p) { p.entry_points[0]->sections[0]->num_layers = 2; }},
    {"its sections run 1 layers of 2",
     [](PlanT& p) { p.entry_points[0]->sections[1]->num_layers = 1; }},
    {"section 1: layers 0 + 3", [](PlanT& p) { p.entry_points[0]->sections[1]->num_layers = 3; }},
    {"section 1 phase 1 (attention): kernel 8 of 8", [](PlanT& p) { attention(p).kernel = 8; }},
    {"phases[1]: tiles is 0", [](PlanT& p) { attention(p).tiles = 0; }},
    {"phases[1]: tiles is", [](PlanT& p) { attention(p).tiles = ~0ull; }},
    // Times the row blocks of a step and the threads it would not fit in 63 bits.
    {"phases[1]: tiles is 1099511627776",
     [](PlanT& p) {
       schema::PhaseT& phase = *p.entry_points[1]->sections[1]->phases[1];
       phase.tiles = uint64_t{1} << 40;
       phase.rows_per_tile = 1;
     }},
    {"(attention): buffer 3 of 3", [](PlanT& p) { attention(p).operands[0]->index = 3; }},
    {"(attention): input 4 of 4", [](PlanT& p) { attention(p).operands[1]->index = 4; }},
    {"(attention): state 1 of 1", [](PlanT& p) { attention(p).operands[4]->index = 1; }},
    {"(attention): rope table 1 of 1", [](PlanT& p) { attention(p).operands[6]->index = 1; }},
    {"(attention): writes rope table 0",
     [](PlanT& p) { attention(p).operands[6]->access = schema::Access::write; }},
    {"(attention): an operand's space is unknown",
     [](PlanT& p) { attention(p).operands[0]->space = static_cast<schema::Space>(77); }},
    {"(attention): an operand's access is unknown",
     [](PlanT& p) { attention(p).operands[0]->access = static_cast<schema::Access>(77); }},
    {"(linear_residual): weight 3 of 3",
     [](PlanT& p) { p.entry_points[0]->sections[1]->phases[2]->operands[1]->index = 3; }},
    {"(linear_residual): writes weight 1",
     [](PlanT& p) {
       p.entry_points[0]->sections[1]->phases[2]->operands[1]->access = schema::Access::read_write;
     }},
    {"state 0 is not one of every layer", [](PlanT& p) { p.states[0]->layers = {0}; }},
    {"weight 1 is not one of every layer", [](PlanT& p) { p.weights[1]->num_layers = 1; }},
    {"weight 1 is not one of every layer",
     [](PlanT& p) { p.entry_points[0]->sections[0]->phases[0]->operands[0]->index = 1; }},
};

// The contract is of the phase that was packed last: decode's, which comes first, then differs.
TEST(Plan, RefusesAPhaseThatItsKernelWasNotCompiledFor) {
  const std::pair<const char*, std::function<void(PlanT&)>> changes[] = {
      {"tiles", [](PlanT& p) { attention(p).tiles = 3; }},
      {"rows_per_tile", [](PlanT& p) { attention(p).rows_per_tile = 8; }},
      {"axis", [](PlanT& p) { attention(p).axis = schema::Axis::logits_row; }},
      {"kernel", [](PlanT& p) { attention(p).kernel = 3; }},
      {"an operand's buffer", [](PlanT& p) { attention(p).operands[0]->index = 2; }},
      {"an operand's space",
       [](PlanT& p) { attention(p).operands[4]->space = schema::Space::values; }},
      {"a state's window", [](PlanT& p) { p.states[0]->window = 7; }},
      {"a state's shape", [](PlanT& p) { p.states[0]->num_kv_heads = 1; }},
      {"a state's dtype", [](PlanT& p) { p.states[0]->dtype = schema::DType::bf16; }},
      {"an input", [](PlanT& p) { attention(p).operands[1]->index = 2; }},
      {"an input's name", [](PlanT& p) { p.entry_points[0]->inputs[1]->name = "depth"; }},
      {"an input's dtype",
       [](PlanT& p) { p.entry_points[0]->inputs[1]->dtype = schema::DType::f32; }},
      {"an input's axis",
       [](PlanT& p) { p.entry_points[0]->inputs[1]->axis = schema::Axis::sequence; }},
      {"an input's width", [](PlanT& p) { p.entry_points[0]->inputs[1]->width = 3; }},
      {"a weight's format", inBlocks},
      {"a weight's planes",
       [](PlanT& p) {
         schema::WeightT& w = *p.weights[1];
         w.planes.push_back(std::make_unique<schema::PlaneT>());
         w.planes.back()->name = "values";
         w.planes.back()->bytes = w.bytes;
       }},
      {"a target's operands", [](PlanT& p) { p.targets[0]->cuda_operands = 9; }},
      {"a buffer's dtype",
       [](PlanT& p) { p.entry_points[0]->buffers[1]->dtype = schema::DType::bf16; }},
      {"a buffer's stride",
       [](PlanT& p) {
         schema::BufferT& x = *p.entry_points[0]->buffers[0];
         x.width = x.row_stride = 16;
       }},
  };
  for (const auto& [what, change] : changes) {
    PlanT p = example::plan();
    // Contracts as they are of the whole plan, in a plan that is then changed.
    const std::vector<uint8_t> good = example::serialize(p);
    schema::GetPlan(good.data())->UnPackTo(&p);
    change(p);
    flatbuffers::FlatBufferBuilder builder;
    FinishPlanBuffer(builder, schema::Plan::Pack(builder, &p));
    std::vector<uint8_t> bad(builder.GetBufferPointer(),
                             builder.GetBufferPointer() + builder.GetSize());
    storePlanHash(bad);
    const Status s = open(bad);
    EXPECT_EQ(s.code(), StatusCode::kInvalidData) << what;
    EXPECT_THAT(s.message(),
                testing::AnyOf(HasSubstr("was compiled for"), HasSubstr("reads buffer logits")))
        << what;
  }
}

TEST(Plan, RefusesEveryCorruptField) {
  for (const Corruption& c : kCorruptions) {
    const Status s = openChanged(c.change);
    EXPECT_EQ(s.code(), StatusCode::kInvalidData) << c.message;
    EXPECT_THAT(s.message(), AllOf(HasSubstr("p.fb: is corrupt"), HasSubstr(c.message)));
    EXPECT_THAT(s.message(), testing::Not(HasSubstr("\n")));
  }
}

TEST(Plan, RefusesACollectiveByName) {
  const Status s = openChanged([](PlanT& p) {
    attention(p).kind = schema::PhaseKind::collective;
    attention(p).op = "all_reduce";
  });
  EXPECT_EQ(s.code(), StatusCode::kUnsupported);
  EXPECT_THAT(s.message(), HasSubstr("sections[1].phases[1]: all_reduce is a collective over"));
}

// One kernel writes keys of layers with a window and without.
TEST(Plan, AWindowIsTheReadersAlone) {
  const Model model(example::addWindow);
  ASSERT_NE(model.plan, nullptr);
  const auto& sections = *model.plan->schema().entry_points()->Get(0)->sections();
  EXPECT_EQ(sections.Get(1)->phases()->Get(0)->kernel(),
            sections.Get(2)->phases()->Get(0)->kernel());
}

TEST(Plan, TakesAViewOfAWholeTensor) {
  const Status s = openChanged([](PlanT& p) { viewSource(p); });
  EXPECT_TRUE(s.ok()) << s.message();
}

TEST(Plan, TakesAWeightInPlanes) {
  const Status s = openChanged(inBlocks);
  EXPECT_TRUE(s.ok()) << s.message();
}

TEST(Plan, RefusesEveryTruncation) {
  const std::vector<uint8_t> whole = example::serialize(example::plan());
  for (size_t size = 0; size + 64 < whole.size(); size += 64) {
    // On the heap at its exact size, so that a sanitizer sees every byte read past the end.
    const std::vector<uint8_t> part(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_FALSE(verifyPlan(part).ok()) << size << " bytes of " << whole.size();
  }
}

TEST(Plan, SurvivesEveryFlippedBit) {
  // The image's bytes are the hash's concern, and as many as all others: leave them out.
  PlanT p = example::plan();
  p.targets[0]->image.assign(64, 0);
  const std::vector<uint8_t> whole = example::serialize(p);
  ASSERT_TRUE(verifyPlan(whole).ok());
  int refused = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::vector<uint8_t> flipped = whole;
      flipped[i] ^= static_cast<uint8_t>(1 << bit);
      refused += !verifyPlan(flipped).ok();
      // What lies behind the hash must stand as well.
      flatbuffers::Verifier structure(flipped.data(), flipped.size());
      if (!schema::VerifyPlanBuffer(structure) || !hasPlanHash(flipped)) continue;
      storePlanHash(flipped);
      (void)verifyPlan(flipped);
    }
  }
  EXPECT_EQ(refused, 8 * static_cast<int>(whole.size()));
}

std::vector<uint8_t> weightsFile(const Model& model) {
  const uint64_t bytes = model.plan->schema().weights_bytes();
  std::vector<uint8_t> file(bytes);
  WeightsHeader header{};
  std::memcpy(header.magic, kWeightsMagic, sizeof header.magic);
  header.version = kWeightsVersion;
  header.plan_id = model.plan->schema().id();
  header.bytes = bytes;
  std::memcpy(file.data(), &header, sizeof header);
  const uint8_t* start =
      model.weights->data(0, 0) - model.plan->schema().weights()->Get(0)->offset_bytes();
  std::memcpy(file.data() + sizeof header, start + sizeof header, bytes - sizeof header);
  return file;
}

TEST(Weights, AreMappedFromTheFileBesideThePlan) {
  const Model model;
  EXPECT_EQ(defaultWeightsPath("a/plan.fb"), "a/plan.weights");
  EXPECT_EQ(defaultWeightsPath("a/plan"), "a/plan.weights");
  const std::string missing = Weights::map(*model.plan).status().message();
  EXPECT_THAT(missing, AllOf(HasSubstr("plan.weights: no such file"), HasSubstr("`weights`"),
                             HasSubstr("llmc pack"), HasSubstr("`synthetic_weights`")));
  const Model with_weights([](PlanT& p) { p.has_weights = true; });
  EXPECT_THAT(Weights::map(*with_weights.plan).status().message(),
              EndsWith("plan.weights: no such file: give the weights with `weights`, or put them "
                       "beside the plan"));

  example::writeFile(model.dir / "plan.weights", weightsFile(model));
  Result<std::unique_ptr<Weights>> mapped = Weights::map(*model.plan);
  ASSERT_TRUE(mapped.ok()) << mapped.status().message();
  EXPECT_EQ(std::memcmp((*mapped)->data(2, 0), model.weights->data(2, 0), 64 * 32 * 4), 0);
  EXPECT_EQ((*mapped)->data(1, 1) - (*mapped)->data(1, 0), 4096);
}

TEST(Weights, ThatDoNotBelongAreRefused) {
  const Model model;
  const std::vector<uint8_t> good = weightsFile(model);
  const auto message = [&](std::vector<uint8_t> bytes) {
    example::writeFile(model.dir / "w", bytes);
    return Weights::map(*model.plan, model.dir / "w").status().message();
  };
  const auto changed = [&](size_t at) {
    std::vector<uint8_t> bytes = good;
    bytes[at] ^= 0x40;
    return message(bytes);
  };
  EXPECT_THAT(message({}), HasSubstr("is not a weights file"));
  EXPECT_THAT(changed(0), HasSubstr("is not a weights file"));
  EXPECT_THAT(changed(offsetof(WeightsHeader, version)), HasSubstr("weights version"));
  EXPECT_THAT(changed(offsetof(WeightsHeader, plan_id)), HasSubstr("do not belong to the plan"));
  EXPECT_THAT(changed(offsetof(WeightsHeader, bytes)), HasSubstr("do not belong to the plan"));
  EXPECT_THAT(message({good.begin(), good.end() - 1}), HasSubstr("is truncated"));
}

// Two sets of numbers for one model, as a compiler that is killed may leave them side by side.
TEST(Weights, AreThoseThatThePlanWasWrittenWith) {
  const Model model([](PlanT& p) {
    p.has_weights = true;
    for (auto& w : p.weights) w->hash = 7;
  });
  std::vector<uint8_t> own = weightsFile(model), other = own;
  const uint64_t content = weightsContent(std::vector<uint64_t>{7, 7, 7});
  std::memcpy(own.data() + offsetof(WeightsHeader, content), &content, sizeof content);
  const std::string path = model.dir / "plan.weights";
  example::writeFile(path, other);
  EXPECT_THAT(Weights::map(*model.plan).status().message(),
              AllOf(HasSubstr("plan.weights: holds weights that do not belong to the plan"),
                    HasSubstr("compile the model again with llmc")));
  // New weights wait: the plan has its name already, they have not.
  example::writeFile(waitingWeightsPath(path), own);
  EXPECT_TRUE(Weights::map(*model.plan).ok());
  EXPECT_FALSE(Weights::map(*model.plan, path).ok());
  // Old ones do, of a run that went no further.
  example::writeFile(path, own);
  example::writeFile(waitingWeightsPath(path), other);
  EXPECT_TRUE(Weights::map(*model.plan).ok());
}

TEST(Weights, HashesAreCheckedOnRequest) {
  uint64_t hashes[3];
  std::vector<uint8_t> file;
  {
    const Model model;
    file = weightsFile(model);
    const auto* weights = model.plan->schema().weights();
    for (uint32_t i = 0; i < 3; ++i) {
      const uint64_t layers = std::max(1u, weights->Get(i)->num_layers());
      hashes[i] = XXH3_64bits(file.data() + weights->Get(i)->offset_bytes(),
                              layers * weights->Get(i)->bytes());
    }
  }
  const Model model([&](PlanT& p) {
    for (int i = 0; i < 3; ++i) p.weights[i]->hash = hashes[i];
  });
  example::writeFile(model.dir / "w", file);
  EXPECT_TRUE((*Weights::map(*model.plan, model.dir / "w"))->verifyHashes().ok());
  file.back() ^= 1;
  example::writeFile(model.dir / "w", file);
  EXPECT_THAT((*Weights::map(*model.plan, model.dir / "w"))->verifyHashes().message(),
              HasSubstr("the hash of 'lm_head' differs"));
}

TEST(SyntheticWeights, AreOneModelWhateverTheLayoutAndTheThreads) {
  const Model rows([](PlanT& p) {
    // The same tensor row-major, in bf16.
    auto& w = *p.weights[0];
    w.sources[0]->name = "lm_head.weight";
    w.dtype = schema::DType::bf16;
    w.bytes = example::kVocab * 32 * 2;
  });
  const Model panels;
  const auto* row_major = rows.weights->data(0, 0);
  const auto* packed = reinterpret_cast<const float*>(panels.weights->data(2, 0));
  for (int n = 0; n < example::kVocab; ++n) {
    for (int k = 0; k < 32; ++k) {
      const float value = packed[n / 16 * 512 + k * 16 + n % 16];
      EXPECT_EQ(value,
                synthetic::value(1, "lm_head.weight", static_cast<uint64_t>(n * 32 + k), 32, 0));
      EXPECT_EQ(loadAsF32(DType::kBF16, row_major, n * 32 + k), bf16ToF32(f32ToBf16(value)));
    }
  }
  for (int n = example::kVocab; n < 64; ++n) EXPECT_EQ(packed[n / 16 * 512 + n % 16], 0.0f);

  auto team = *ThreadTeam::create(3);
  auto threaded = *Weights::synthesize(*panels.plan, 1, *team);
  const uint64_t bytes = panels.plan->schema().weights_bytes() - 64;
  EXPECT_EQ(std::memcmp(threaded->data(0, 0), panels.weights->data(0, 0), bytes), 0);
  auto other = *Weights::synthesize(*panels.plan, 2, *team);
  EXPECT_NE(std::memcmp(other->data(0, 0), panels.weights->data(0, 0), bytes), 0);
}

TEST(SyntheticWeights, HaveTheVarianceOfTheirKind) {
  constexpr int kCount = 100000, kCols = 256;
  double sum = 0, squares = 0;
  for (int i = 0; i < kCount; ++i) {
    const double v = synthetic::value(3, "x", static_cast<uint64_t>(i), kCols, 0);
    sum += v;
    squares += v * v;
  }
  // The mean of n values of variance 1/K has deviation 1/sqrt(nK); five of them.
  EXPECT_NEAR(sum / kCount, 0, 5 / std::sqrt(double{kCount} * kCols));
  // A uniform value's square has relative deviation 0.9; five over sqrt(n).
  EXPECT_NEAR(squares / kCount * kCols, 1, 5 * 0.9 / std::sqrt(double{kCount}));
  for (uint64_t i = 0; i < 100; ++i) {
    EXPECT_NEAR(synthetic::value(3, "norm", i, 1, 1), 1, 0.1001);
    EXPECT_NEAR(synthetic::value(3, "bias", i, 1, 2), 0, 0.0101);
  }
}

}  // namespace
}  // namespace llmrt
