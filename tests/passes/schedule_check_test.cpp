// The schedule checker accepts a right schedule and names what is wrong with each mutation of it.
#include "runtime/schema/schedule_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "runtime/schema/plan_generated.h"

namespace llmrt {
namespace {

using schema::Access;
using schema::Space;
using schema::StateKind;
using testing::HasSubstr;

enum BufferIndex : uint32_t { kResidual, kQ, kAttention, kMiddle, kMlp, kLogits };

std::unique_ptr<schema::OperandT> operand(Access access, Space space, uint32_t index) {
  auto o = std::make_unique<schema::OperandT>();
  o->access = access;
  o->space = space;
  o->index = index;
  return o;
}

std::unique_ptr<schema::PhaseT> phase(const char* op, std::vector<uint32_t> reads,
                                      std::vector<uint32_t> writes) {
  auto p = std::make_unique<schema::PhaseT>();
  p->op = op;
  p->tiles = 1;
  for (uint32_t b : reads) p->operands.push_back(operand(Access::read, Space::arena, b));
  for (uint32_t b : writes) p->operands.push_back(operand(Access::write, Space::arena, b));
  return p;
}

/// A decoder of three layers: q and attention share bytes with the MLP, as their lives do not
/// overlap.
class ScheduleCheck : public testing::Test {
 protected:
  ScheduleCheck() {
    entry_.name = "decode";
    entry_.max_rows = 4;
    entry_.max_logits_rows = 4;
    for (const char* name : {"residual", "q", "attention", "middle", "mlp", "logits"}) {
      auto b = std::make_unique<schema::BufferT>();
      b->name = name;
      b->rows = 4;
      b->width = b->row_stride = 16;
      b->bytes = 256;
      entry_.buffers.push_back(std::move(b));
    }
    // residual | middle | q, mlp | attention, logits
    entry_.buffers[kResidual]->offset_bytes = 0;
    entry_.buffers[kMiddle]->offset_bytes = 256;
    entry_.buffers[kQ]->offset_bytes = entry_.buffers[kMlp]->offset_bytes = 512;
    entry_.buffers[kAttention]->offset_bytes = entry_.buffers[kLogits]->offset_bytes = 768;
    entry_.arena_bytes = 1024;
    entry_.kind = schema::StepKind::decode;
    entry_.inputs.push_back(std::make_unique<schema::InputT>());
    entry_.inputs[0]->name = "token_id";
    entry_.inputs[0]->dtype = schema::DType::i32;
    entry_.outputs.push_back(std::make_unique<schema::OutputT>());
    entry_.outputs[0]->name = "logits";
    entry_.outputs[0]->axis = schema::Axis::logits_row;
    entry_.outputs[0]->buffer = kLogits;

    section(false, 0, 1).push_back(phase("embed", {}, {kResidual}));
    entry_.sections.back()->phases.back()->operands.push_back(
        operand(Access::read, Space::input, 0));
    auto& layers = section(true, 0, 3);
    layers.push_back(phase("norm_qkv", {kResidual}, {kQ}));
    layers.back()->operands.push_back(operand(Access::read, Space::weights, 1));
    layers.back()->operands.push_back(operand(Access::read, Space::rope, 0));
    layers.back()->operands.push_back(operand(Access::write, Space::keys, 0));
    layers.back()->operands.push_back(operand(Access::write, Space::values, 0));
    layers.push_back(phase("attention", {kQ}, {kAttention}));
    layers.back()->operands.push_back(operand(Access::read, Space::keys, 0));
    layers.back()->operands.push_back(operand(Access::read, Space::values, 0));
    layers.push_back(phase("o_proj", {kAttention, kResidual}, {kMiddle}));
    layers.push_back(phase("norm_glu", {kMiddle}, {kMlp}));
    layers.push_back(phase("down_proj", {kMlp, kMiddle}, {kResidual}));
    section(false, 0, 1).push_back(phase("norm_logits", {kResidual}, {kLogits}));
    entry_.sections.back()->phases.back()->axis = schema::Axis::logits_row;
    entry_.sections.back()->phases.back()->operands.push_back(
        operand(Access::read, Space::weights, 0));

    context_.num_layers = 3;
    context_.vocab_size = 16;
    context_.num_kernels = 1;
    context_.num_rope_tables = 1;
    context_.weights = {{0, 0}, {0, 3}};
    context_.max_batch = 2;
    context_.states = {{StateKind::kv, 0, {0, 1, 2}}};
  }

  std::vector<std::unique_ptr<schema::PhaseT>>& section(bool isLayers, uint32_t first,
                                                        uint32_t count) {
    auto s = std::make_unique<schema::SectionT>();
    s->is_layers = isLayers;
    s->first_layer = first;
    s->num_layers = count;
    entry_.sections.push_back(std::move(s));
    return entry_.sections.back()->phases;
  }
  std::vector<std::unique_ptr<schema::PhaseT>>& layers() { return entry_.sections[1]->phases; }
  schema::BufferT& buffer(uint32_t i) { return *entry_.buffers[i]; }

  /// A recurrent state of all layers, read and written in place by the first phase.
  void addRecurrent() {
    context_.states.push_back({StateKind::recurrent, 0, {0, 1, 2}});
    layers()[0]->operands.push_back(operand(Access::read, Space::slots, 1));
    layers()[0]->operands.push_back(operand(Access::read_write, Space::recurrent, 1));
  }
  void expectOk() {
    const Status s = checkSchedule(entry_, context_);
    EXPECT_TRUE(s.ok()) << s.message();
  }

  void expectError(const std::string& text) {
    const Status s = checkSchedule(entry_, context_);
    EXPECT_EQ(s.code(), StatusCode::kInvalidData);
    EXPECT_THAT(s.message(), HasSubstr(text));
  }

  schema::EntryPointT entry_;
  ScheduleContext context_;
};

TEST_F(ScheduleCheck, AcceptsASchedule) {
  const Status s = checkSchedule(entry_, context_);
  EXPECT_TRUE(s.ok()) << s.message();
}

TEST_F(ScheduleCheck, FindsSwappedPhases) {
  std::swap(layers()[2], layers()[3]);
  expectError("section 1 phase 2 (norm_glu): reads buffer middle before it is written");
}

TEST_F(ScheduleCheck, FindsAttentionBeforeTheKvWrite) {
  std::swap(layers()[0]->operands[4], layers()[0]->operands.back());
  layers()[0]->operands.pop_back();
  expectError("section 1 phase 1 (attention): reads the ");
}

TEST_F(ScheduleCheck, EachLayerWritesKeysOfItsOwn) {
  // Written before the layers would be one layer's; the second layer finds none.
  layers()[0]->operands.erase(layers()[0]->operands.begin() + 4, layers()[0]->operands.end());
  expectError("reads the keys of its layer before they are written");
}

TEST_F(ScheduleCheck, EachStateIsWrittenInAllOfItsLayers) {
  // Attention of layer 2 has a state of its own.
  context_.states = {{StateKind::kv, 0, {0, 1}}, {StateKind::kv, 0, {2}}};
  expectError("(norm_qkv): state 0 is not one of every layer of section 1");
  entry_.sections[1]->num_layers = 2;
  auto last = std::make_unique<schema::SectionT>(*entry_.sections[1]);
  last->first_layer = 2;
  last->num_layers = 1;
  for (auto& phase : last->phases)
    for (auto& o : phase->operands)
      if (o->space == Space::keys || o->space == Space::values) o->index = 1;
  entry_.sections.insert(entry_.sections.begin() + 2, std::move(last));
  expectOk();
  auto& operands = entry_.sections[2]->phases[0]->operands;
  operands.back()->index = 0;
  expectError("(norm_qkv): state 0 is not one of every layer of section 2");
  operands.pop_back();
  expectError("section 2 phase 1 (attention): reads the values of its layer before");
  entry_.sections[2]->phases[1]->operands.resize(2);
  operands.pop_back();
  expectError("its phases write state 1 in 0 of its 1 layers");
}

TEST_F(ScheduleCheck, ALayerWithoutKeysReadsThoseOfTheLastBeforeIt) {
  context_.states = {{StateKind::kv, 0, {0, 1}}};
  expectError("(norm_qkv): state 0 is not one of every layer of section 1");
  entry_.sections[1]->num_layers = 2;
  auto last = std::make_unique<schema::SectionT>(*entry_.sections[1]);
  last->first_layer = 2;
  last->num_layers = 1;
  auto& operands = last->phases[0]->operands;
  entry_.sections.insert(entry_.sections.begin() + 2, std::move(last));
  expectError("(norm_qkv): state 0 is not one of every layer of section 2");  // writes it
  operands.resize(operands.size() - 2);
  expectOk();
  // No layer before has one: the first of these is the one that reads.
  context_.states = {{StateKind::kv, 0, {2}}};
  expectError("(norm_qkv): state 0 is not one of every layer of section 1");
  // One before has it, but nothing wrote it in this step.
  context_.states = {{StateKind::kv, 0, {0}}, {StateKind::kv, 0, {0, 1}}};
  for (auto& o : entry_.sections[2]->phases[1]->operands)
    if (o->space == Space::keys || o->space == Space::values) o->index = 0;
  for (size_t i = 0; i < 2; ++i)
    for (auto& o : layers()[i]->operands)
      if (o->space == Space::keys || o->space == Space::values) o->index = 1;
  expectError("section 2 phase 1 (attention): reads the keys of its layer before they are written");
}

TEST_F(ScheduleCheck, ALayersOwnColumnsAreInTheBuffer) {
  schema::OperandT& own = *layers()[3]->operands[0];
  own.layer_columns = 5;
  expectOk();
  own.layer_columns = 6;
  expectError("(norm_glu): 6 columns of buffer middle of 16 for each of 3 layers");
  own.layer_columns = 0;
  layers()[3]->operands[1]->layer_columns = 5;
  expectError("(norm_glu): 5 columns of buffer mlp");  // written
  layers()[3]->operands[1]->layer_columns = 0;
  entry_.sections[2]->phases[0]->operands[0]->layer_columns = 5;
  expectError("(norm_logits): 5 columns of buffer residual");  // there is no layer
}

TEST_F(ScheduleCheck, RecurrentStatesAreReadBeforeTheyAreWritten) {
  addRecurrent();
  expectOk();
  layers()[0]->operands.back()->access = Access::read;
  expectError("its phases write state 1 in 0 of its 3 layers");
}

TEST_F(ScheduleCheck, StatesAreUsedAsWhatTheyAre) {
  addRecurrent();
  auto& operands = layers()[0]->operands;
  operands.back()->index = 0;
  expectError("(norm_qkv): state 0 is of kind kv, the operand recurrent of kind recurrent");
  operands.back()->index = 2;
  expectError("(norm_qkv): state 2 of 2");
  operands.back() = operand(Access::read, Space::block_table, 1);
  expectError("(norm_qkv): state 1 is of kind recurrent, the operand block_table of kind kv");
  operands.back() = operand(Access::write, Space::slots, 1);
  expectError("(norm_qkv): writes the slots' numbers of state 1");
  operands.back() = operand(Access::write, Space::block_table, 0);
  expectError("(norm_qkv): writes the block table of state 0");
}

TEST_F(ScheduleCheck, AVerifyStepWritesNoRecurrentState) {
  addRecurrent();
  entry_.kind = schema::StepKind::verify;
  expectError("(norm_qkv): writes recurrent state 1, which a verify step leaves as it is");
  layers()[0]->operands.back()->access = Access::read;
  expectOk();
}

TEST_F(ScheduleCheck, OnlyACommitMovesKeysThatTheStepHasNotWritten) {
  auto& operands = layers()[0]->operands;
  operands[operands.size() - 2]->access = operands.back()->access = Access::read_write;
  expectError("(norm_qkv): reads the keys of its layer before they are written");
  entry_.kind = schema::StepKind::commit;
  expectOk();
  operands.back()->access = Access::read;
  expectError("(norm_qkv): reads the values of its layer before they are written");
}

TEST_F(ScheduleCheck, VerifyAndCommitWriteTheKeysOfEveryLayer) {
  context_.states.push_back({StateKind::kv, 0, {1}});
  for (schema::StepKind kind : {schema::StepKind::verify, schema::StepKind::commit}) {
    entry_.kind = kind;
    expectError("its phases write state 1 in 0 of its 1 layers");
  }
  entry_.kind = schema::StepKind::embed;
  expectOk();
}

TEST_F(ScheduleCheck, ACommitBringsRecurrentStatesUpToDate) {
  addRecurrent();
  entry_.kind = schema::StepKind::commit;
  expectOk();
  layers()[0]->operands.back()->access = Access::read;
  expectError("its phases write state 1 in 0 of its 3 layers");
}

TEST_F(ScheduleCheck, AVerifyStepKeepsWhatItsCommitReads) {
  context_.states.push_back({StateKind::kept, 4, {0, 1, 2}});
  entry_.kind = schema::StepKind::verify;
  expectError("its phases write state 1 in 0 of its 3 layers");
  auto& operands = layers()[0]->operands;
  operands.push_back(operand(Access::write, Space::kept, 1));
  expectOk();
  context_.states[1].rows = 3;
  expectError("(norm_qkv): state 1 keeps 3 rows of 4");
  context_.states[1].rows = 4;
  operands.back()->access = Access::read;
  expectError("(norm_qkv): read kept rows of state 1, which a verify step writes and a commit");
  entry_.kind = schema::StepKind::commit;
  expectOk();
  for (Access access : {Access::write, Access::read_write}) {
    operands.back()->access = access;
    expectError("kept rows of state 1, which a verify step writes and a commit step reads");
  }
  operands.back() = operand(Access::read, Space::recurrent, 1);
  expectError("(norm_qkv): state 1 is of kind kept, the operand recurrent of kind recurrent");
  operands.pop_back();
  entry_.kind = schema::StepKind::decode;  // others do not know of it
  expectOk();
}

TEST_F(ScheduleCheck, ACommitAloneOfStepsOnTokensMayGiveNoLogits) {
  entry_.outputs.clear();
  entry_.kind = schema::StepKind::verify;
  expectError("no output is called logits");
  entry_.max_logits_rows = 0;
  expectError("0 wanted rows of 4");
  entry_.kind = schema::StepKind::commit;
  entry_.sections.back()->phases.clear();
  expectOk();
}

TEST_F(ScheduleCheck, AnMtpStepRunsItsOwnLayerOnItsOwnState) {
  context_.states.push_back({StateKind::kv, 0, {0}, true});
  expectOk();  // others leave it alone
  layers()[0]->operands.push_back(operand(Access::write, Space::keys, 1));
  expectError("(norm_qkv): state 1 is the MTP block's");
  layers()[0]->operands.pop_back();

  entry_.kind = schema::StepKind::mtp;
  expectError("section 1: layers 0 + 3 after layer 0 of a model of 1");
  entry_.sections[1]->num_layers = 1;
  expectError("(norm_qkv): weight 1 is not one of every layer");
  context_.weights[1] = {0, 0};
  expectError("(norm_qkv): state 0 is not the MTP block's");
  for (const auto& phase : layers())
    for (const auto& o : phase->operands)
      if (o->space == Space::keys || o->space == Space::values) o->index = 1;
  expectOk();
  std::erase_if(layers()[0]->operands, [](const auto& o) { return o->space == Space::values; });
  std::erase_if(layers()[1]->operands, [](const auto& o) { return o->space == Space::values; });
  expectError("its phases write state 1 in 0 of its 1 layers");
  entry_.outputs.clear();
  expectError("no output is called logits");
}

TEST_F(ScheduleCheck, FindsInputsThatAreNone) {
  auto& operand_of_embed = *entry_.sections[0]->phases[0]->operands.back();
  operand_of_embed.index = 1;
  expectError("(embed): input 1 of 1");
  operand_of_embed.index = 0;
  operand_of_embed.access = Access::read_write;
  expectError("(embed): writes input token_id");
  operand_of_embed.access = Access::read;
  entry_.inputs[0]->width = 0;
  expectError("input token_id: its width is 0");
  entry_.inputs[0]->width = 1;
  entry_.inputs[0]->axis = static_cast<schema::Axis>(4);
  expectError("input token_id: its axis is unknown");
  entry_.inputs[0]->axis = schema::Axis::row;
  entry_.inputs[0]->dtype = static_cast<schema::DType>(6);
  expectError("input token_id: its dtype is unknown");
  entry_.inputs[0]->dtype = schema::DType::i32;
  entry_.inputs.push_back(std::make_unique<schema::InputT>(*entry_.inputs[0]));
  expectError("two inputs are called token_id");
}

TEST_F(ScheduleCheck, FindsOutputsThatAreNone) {
  entry_.outputs[0]->buffer = kQ;
  expectError("at the end buffer mlp has taken bytes of the output logits");
  entry_.outputs[0]->buffer = 6;
  expectError("output logits: buffer 6 of 6");
  entry_.outputs[0]->buffer = kLogits;
  entry_.outputs[0]->axis = schema::Axis::row;
  expectError("logits are f32 by row, not f32 by logits_row");
  entry_.outputs[0]->axis = static_cast<schema::Axis>(4);
  expectError("output logits: its axis is unknown");
  entry_.outputs[0]->axis = schema::Axis::logits_row;
  buffer(kLogits).dtype = schema::DType::i32;
  expectError("logits are i32 by logits_row");
  buffer(kLogits).dtype = schema::DType::f32;
  entry_.outputs.push_back(std::make_unique<schema::OutputT>(*entry_.outputs[0]));
  expectError("two outputs are called logits");
  entry_.outputs[1]->name = "hidden";
  expectOk();
  entry_.outputs[1]->axis = schema::Axis::sequence;
  context_.max_batch = 5;
  expectError("output hidden: 5 rows in buffer logits of 4");
  entry_.outputs[0]->name = "scores";
  context_.max_batch = 2;
  expectError("no output is called logits");
  entry_.kind = schema::StepKind::embed;
  expectOk();
}

TEST_F(ScheduleCheck, ABufferHoldsRowsOfItsType) {
  buffer(kQ).dtype = schema::DType::i8;
  buffer(kQ).bytes = 64;
  expectOk();
  buffer(kQ).dtype = schema::DType::bf16;
  expectError("buffer q: 4 rows of 16 bf16 in 64 bytes");
  buffer(kQ).dtype = static_cast<schema::DType>(-1);
  expectError("buffer q: its dtype is unknown");
}

TEST_F(ScheduleCheck, APhaseOnSequencesWritesAsManyRows) {
  entry_.sections[2]->phases.push_back(phase("pool", {kResidual}, {kMlp}));
  entry_.sections[2]->phases.back()->axis = schema::Axis::sequence;
  buffer(kMlp).rows = 1;
  layers()[3]->operands.back()->index = layers()[4]->operands[0]->index = kQ;
  expectError("(pool): writes 2 rows to buffer mlp of 1");
  buffer(kMlp).rows = 2;
  expectOk();
  entry_.sections[2]->phases.back()->axis = static_cast<schema::Axis>(4);
  expectError("(pool): its axis is unknown");
}

TEST_F(ScheduleCheck, FindsADroppedWriter) {
  layers().erase(layers().begin() + 3);
  expectError("(down_proj): reads buffer mlp before it is written");
}

TEST_F(ScheduleCheck, FindsADroppedWriterOfTheResidual) {
  entry_.sections.erase(entry_.sections.begin());
  expectError("section 0 phase 0 (norm_qkv): reads buffer residual before it is written");
}

TEST_F(ScheduleCheck, FindsLiveBuffersThatOverlap) {
  buffer(kMiddle).offset_bytes = 512;  // q's, which is dead, and mlp's, which is written from it
  expectError("(norm_glu): writes buffer mlp over bytes of its other operand middle");
}

TEST_F(ScheduleCheck, FindsAnOverlapOfOneRow) {
  buffer(kAttention).offset_bytes = 0;
  buffer(kResidual).offset_bytes = 192;
  buffer(kMiddle).offset_bytes = 448;
  buffer(kQ).offset_bytes = buffer(kMlp).offset_bytes = buffer(kLogits).offset_bytes = 704;
  expectError("(o_proj): reads buffer residual after buffer attention has taken its bytes");
}

TEST_F(ScheduleCheck, FindsWhatOnlyTheNextLayerMisses) {
  // residual is read at the top of the layer only; mlp takes its bytes and the layer writes another
  // buffer instead.
  layers()[4]->operands.back()->index = kAttention;
  layers()[2]->operands[1]->index = kAttention;
  buffer(kMlp).offset_bytes = 0;
  expectError(
      "section 1 phase 0 (norm_qkv): reads buffer residual after buffer mlp has taken its bytes");
}

TEST_F(ScheduleCheck, OneLayerHasNoNext) {
  layers()[4]->operands.back()->index = kAttention;
  layers()[2]->operands[1]->index = kAttention;
  buffer(kMlp).offset_bytes = 0;
  entry_.sections[1]->num_layers = context_.num_layers = 1;
  context_.states[0].layers = {0};
  entry_.sections[2]->phases[0]->operands[0]->index = kMiddle;
  const Status s = checkSchedule(entry_, context_);
  EXPECT_TRUE(s.ok()) << s.message();
}

TEST_F(ScheduleCheck, FindsAPhaseThatWritesWhatItReads) {
  layers()[3]->operands.back()->index = kMiddle;
  expectError("(norm_glu): writes buffer middle over bytes of its other operand middle");
}

TEST_F(ScheduleCheck, FindsAShrunkenArena) {
  entry_.arena_bytes -= 64;
  expectError("buffer attention: 256 bytes at 768 end outside an arena of 960");
}

TEST_F(ScheduleCheck, FindsOffsetsThatWrapAround) {
  buffer(kQ).offset_bytes = ~uint64_t{63};
  expectError("buffer q: 256 bytes at 18446744073709551552 end outside");
}

TEST_F(ScheduleCheck, FindsUnalignedBuffers) {
  buffer(kQ).offset_bytes += 4;
  expectError("buffer q: offset 516 is not aligned to 64");
}

TEST_F(ScheduleCheck, FindsBuffersOfTooFewBytesOrRows) {
  buffer(kQ).bytes = 255;
  expectError("buffer q: 4 rows of 16 f32 in 255 bytes");
  buffer(kQ).bytes = 256;
  buffer(kQ).rows = 3;
  expectError("(norm_qkv): writes 4 rows to buffer q of 3");
}

TEST_F(ScheduleCheck, FindsIndicesOutOfRange) {
  layers()[1]->operands[0]->index = 6;
  expectError("section 1 phase 1 (attention): buffer 6 of 6");
  layers()[1]->operands[0]->index = kQ;
  layers()[1]->kernel = 1;
  expectError("section 1 phase 1 (attention): kernel 1 of 1");
  layers()[1]->kernel = 0;
  context_.num_rope_tables = 0;
  expectError("(norm_qkv): rope table 0 of 0");
  context_.num_rope_tables = 1;
  context_.weights.pop_back();
  expectError("(norm_qkv): weight 1 of 1");
}

TEST_F(ScheduleCheck, FindsWeightsAndCachesOfOtherLayers) {
  context_.weights[1] = {1, 2};
  expectError("(norm_qkv): weight 1 is not one of every layer of section 1");
  context_.weights[1] = {0, 3};
  context_.states[0].layers = {0, 1};
  expectError("(norm_qkv): state 0 is not one of every layer of section 1");
  context_.states[0].layers = {0, 2, 3};
  expectError("(norm_qkv): state 0 is not one of every layer of section 1");
}

TEST_F(ScheduleCheck, FindsLogitsThatNobodyWritesOrThatAreOverwritten) {
  entry_.sections[2]->phases[0]->operands[1]->index = kQ;
  expectError("no phase writes the output logits");
  entry_.sections[2]->phases[0]->operands[1]->index = kLogits;
  entry_.sections[2]->phases.push_back(phase("late", {kResidual}, {kAttention}));
  expectError("at the end buffer attention has taken bytes of the output logits");
}

TEST_F(ScheduleCheck, FindsWhatWouldNotEnd) {
  layers()[0]->tiles = 0;
  expectError("section 1 phase 0 (norm_qkv): no tiles");
  layers()[0]->tiles = 1;
  entry_.sections[1]->num_layers = 4;
  expectError("section 1: layers 0 + 4 after layer 0 of a model of 3");
  entry_.sections[1]->num_layers = 0;
  expectError("section 1: layers 0 + 0");
}

TEST_F(ScheduleCheck, FindsLayersThatAreLeftOut) {
  entry_.sections[1]->num_layers = 2;
  expectError("its sections run 2 layers of 3");
  entry_.sections[1]->first_layer = 1;
  expectError("section 1: layers 1 + 2 after layer 0 of a model of 3");
}

TEST_F(ScheduleCheck, ChecksEveryEntryPointOfAPlan) {
  schema::PlanT plan;
  plan.model = std::make_unique<schema::ModelT>();
  plan.model->num_layers = 3;
  plan.model->vocab_size = 16;
  plan.kernels.push_back(std::make_unique<schema::KernelT>());
  plan.rope_tables.push_back(std::make_unique<schema::RopeTableT>());
  for (uint32_t layers : {0u, 3u}) {
    auto w = std::make_unique<schema::WeightT>();
    w->num_layers = layers;
    plan.weights.push_back(std::move(w));
  }
  plan.states.push_back(std::make_unique<schema::StateT>());
  plan.states[0]->layers = {0, 1, 2};
  entry_.buffers[kMlp]->offset_bytes = 256;
  plan.entry_points.push_back(std::make_unique<schema::EntryPointT>(std::move(entry_)));
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(schema::Plan::Pack(builder, &plan));
  const Status s = checkSchedules(*flatbuffers::GetRoot<schema::Plan>(builder.GetBufferPointer()));
  EXPECT_THAT(s.message(),
              HasSubstr("entry point decode: section 1 phase 3 (norm_glu): writes buffer mlp"));
}

}  // namespace
}  // namespace llmrt
