// Sessions on the tests' driver, with hand-written kernels that are the CPU's: whatever states,
// inputs and outputs a plan has, both compute the same bits. No compiler is needed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "runtime/abi/cuda_abi.h"
#include "runtime/cuda/device.h"
#include "runtime/sampling/sampler.h"
#include "tests/runtime/operand_cases.h"

namespace llmrt {
namespace {

using example::Model;
using schema::PlanT;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;

/// Adds code for a GPU to a plan() that has been changed.
void addGpu(PlanT& p) {
  auto target = std::make_unique<schema::TargetT>();
  target->name = "cuda:sm_80";
  target->image = example::readFile(EXAMPLE_DEVICE);
  target->image_hash = XXH3_64bits(target->image.data(), target->image.size());
  target->abi_version = LLMC_CUDA_ABI_VERSION;
  target->scratch_bytes = LLMC_CUDA_COUNTER_BYTES + 4096;
  target->cuda_operands = EXAMPLE_OPERANDS;
  std::vector<bool> launched(p.kernels.size());
  for (const auto& entry : p.entry_points)
    for (const auto& section : entry->sections)
      for (const auto& phase : section->phases) {
        if (launched[phase->kernel]) continue;
        launched[phase->kernel] = true;
        auto launch = std::make_unique<schema::CudaLaunchT>();
        launch->kernel = phase->kernel;
        launch->symbol = p.kernels[phase->kernel]->symbol;
        launch->min_rows = 1;
        launch->max_rows = 1000;
        launch->threads = 1;
        launch->blocks = static_cast<uint32_t>(phase->tiles);
        launch->rows_per_block = phase->rows_per_tile;
        launch->parts = 1;
        target->cuda_launches.push_back(std::move(launch));
      }
  p.targets.push_back(std::move(target));
}

/// A plan() with code for both, opened on both.
struct Models {
  explicit Models(const std::function<void(PlanT&)>& change)
      : device(*cuda::CudaDevice::open("cuda")), cpu([&](PlanT& p) {
          if (change) change(p);
          addGpu(p);
        }) {
    auto opened = Plan::open(cpu.path, {.device = device.get()});
    EXPECT_TRUE(opened.ok()) << opened.status().message();
    if (opened.ok()) gpu = *std::move(opened);
  }
  std::unique_ptr<Session> onGpu(SessionOptions options = {}) const {
    options.device = device.get();
    auto session = Session::create(*gpu, *cpu.weights, options);
    EXPECT_TRUE(session.ok()) << session.status().message();
    return session.ok() ? *std::move(session) : nullptr;
  }
  std::unique_ptr<Session> onCpu(SessionOptions options = {}) const {
    options.threads = 1;
    return cpu.session(options);
  }

  std::unique_ptr<cuda::CudaDevice> device;
  Model cpu;
  std::unique_ptr<Plan> gpu;
};

Ids prompt(int n, int from = 3) {
  Ids tokens;
  for (int i = 0; i < n; ++i) tokens.push_back((i * 7 + from) % example::kVocab);
  return tokens;
}

const auto kWindow = [](PlanT& p) {
  p.model->max_seq_len = 2000;
  example::addWindow(p);
};
const auto kRecurrent = [](PlanT& p) { example::addRecurrent(p); };
const auto kAllStates = [](PlanT& p) {
  kWindow(p);
  kRecurrent(p);
};

void expectSameLogits(const Session& a, const Session& b) {
  ASSERT_EQ(a.numLogitsRows(), b.numLogitsRows());
  for (int64_t i = 0; i < a.numLogitsRows(); ++i) {
    const auto x = a.logits(i), y = b.logits(i);
    ASSERT_TRUE(std::equal(x.begin(), x.end(), y.begin(), y.end())) << i;
  }
}

TEST(CudaSession, StatesAreTheCpus) {
  for (const auto& change : std::initializer_list<std::function<void(PlanT&)>>{
           nullptr, kWindow, kRecurrent, kAllStates}) {
    const Models models(change);
    const auto gpu = models.onGpu({.max_batch = 3}), cpu = models.onCpu({.max_batch = 3});
    const int n = static_cast<int>(std::min<int64_t>(models.gpu->maxSeqLen() - 40, 700));
    // Blocks change hands, uncleared.
    for (const int32_t seq : {0, 2}) {
      ASSERT_TRUE(gpu->prefill(seq, prompt(n, seq)).ok());
      ASSERT_TRUE(cpu->prefill(seq, prompt(n, seq)).ok());
      expectSameLogits(*gpu, *cpu);
    }
    gpu->reset(0);
    cpu->reset(0);
    for (int i = 0; i < 20; ++i) {
      const StepToken step[] = {{2, i, true}, {0, 9, i % 2 == 0}, {1, 40 - i, true}};
      ASSERT_TRUE(gpu->step(step).ok());
      ASSERT_TRUE(cpu->step(step).ok());
      expectSameLogits(*gpu, *cpu);
    }
    ASSERT_EQ(gpu->truncate(2, n), cpu->truncate(2, n));
    ASSERT_TRUE(gpu->prefill(2, prompt(20)).ok());
    ASSERT_TRUE(cpu->prefill(2, prompt(20)).ok());
    expectSameLogits(*gpu, *cpu);
  }
}

/// Queues steps of `rows`, as many as may run ahead, and takes `count`: what was chosen of each.
std::vector<Ids> queueAndTake(Session& session, std::vector<StepToken> rows, int count) {
  std::vector<Sampler> samplers;
  std::vector<TokenChooser*> choosers;
  for (size_t i = 0; i < rows.size(); ++i)
    samplers.push_back(*Sampler::create(example::kVocab, {}));
  for (Sampler& sampler : samplers) choosers.push_back(&sampler);
  std::vector<Ids> out;
  Status s = session.queue(rows, choosers);
  EXPECT_TRUE(s.ok()) << s.message();
  while (static_cast<int>(out.size()) < count) {
    while (session.canQueueNext()) EXPECT_TRUE(session.queueNext().ok());
    const auto chosen = session.take();
    EXPECT_TRUE(chosen.ok()) << chosen.status().message();
    if (!chosen.ok()) break;
    out.emplace_back(chosen->begin(), chosen->end());
    for (size_t i = 0; i < rows.size(); ++i) samplers[i].accept(out.back()[i]);
  }
  EXPECT_TRUE(session.finish().ok());
  return out;
}

// Steps run ahead of the host, which gives blocks back behind them; not so where a state goes on.
TEST(CudaSession, ChoosesTokensAsTheHostWould) {
  for (const auto& change :
       std::initializer_list<std::function<void(PlanT&)>>{nullptr, kWindow, kAllStates}) {
    const Models models(change);
    const auto gpu = models.onGpu(), cpu = models.onCpu();
    for (const int told : {150, 7}) {
      for (Session* session : {&*gpu, &*cpu}) ASSERT_TRUE(session->prefill(0, prompt(10)).ok());
      EXPECT_EQ(queueAndTake(*gpu, {{0, 5, true}}, told), queueAndTake(*cpu, {{0, 5, true}}, told));
      EXPECT_EQ(gpu->kvLen(0), 10 + told);
      EXPECT_EQ(cpu->kvLen(0), 10 + told);
      // What ran ahead is as if it had not.
      ASSERT_TRUE(gpu->prefill(0, prompt(5)).ok());
      ASSERT_TRUE(cpu->prefill(0, prompt(5)).ok());
      expectSameLogits(*gpu, *cpu);
      gpu->reset(0);
      cpu->reset(0);
    }
  }
}

// Several sequences go on together; and a step with rows of prompts, of which some are chosen.
TEST(CudaSession, ChoosesTokensOfManyRowsAsTheHostWould) {
  for (const auto& change :
       std::initializer_list<std::function<void(PlanT&)>>{nullptr, kWindow, kAllStates}) {
    const Models models(change);
    const auto gpu = models.onGpu({.max_batch = 3}), cpu = models.onCpu({.max_batch = 3});
    for (Session* session : {&*gpu, &*cpu})
      for (const int32_t seq : {0, 1, 2})
        ASSERT_TRUE(session->prefill(seq, prompt(10 + 30 * seq, seq)).ok());
    const std::vector<StepToken> rows = {{2, 5, true}, {0, 6, true}, {1, 7, true}};
    EXPECT_EQ(queueAndTake(*gpu, rows, 100), queueAndTake(*cpu, rows, 100));
    const std::vector<StepToken> mixed = {{1, 4, false}, {1, 5, true}, {2, 8, true}, {0, 3, true}};
    std::vector<Ids> chosen;
    for (Session* session : {&*gpu, &*cpu}) {
      Sampler greedy = *Sampler::create(example::kVocab, {});
      TokenChooser* const choosers[] = {&greedy, nullptr, &greedy};
      ASSERT_TRUE(session->queue(mixed, choosers).ok());
      EXPECT_FALSE(session->canQueueNext());
      const auto taken = session->take();
      ASSERT_TRUE(taken.ok()) << taken.status().message();
      chosen.emplace_back(taken->begin(), taken->end());
    }
    EXPECT_EQ(chosen[0], chosen[1]);
    EXPECT_EQ(chosen[0].size(), 2u);
    for (const int32_t seq : {0, 1, 2}) {
      EXPECT_EQ(gpu->kvLen(seq), cpu->kvLen(seq));
      ASSERT_TRUE(gpu->prefill(seq, prompt(5)).ok());
      ASSERT_TRUE(cpu->prefill(seq, prompt(5)).ok());
      expectSameLogits(*gpu, *cpu);
    }
  }
}

TEST(CudaSession, SnapshotsOfRecurrentStatesGoBack) {
  const Models models(kRecurrent);
  const auto gpu = models.onGpu({.max_batch = 2}), cpu = models.onCpu({.max_batch = 2});
  for (Session* session : {gpu.get(), cpu.get()}) {
    ASSERT_TRUE(session->prefill(1, prompt(50)).ok());
    const auto snapshot = session->snapshot(1);
    ASSERT_TRUE(snapshot.ok());
    ASSERT_TRUE(session->prefill(1, prompt(40)).ok());
    ASSERT_TRUE(session->restore(*snapshot).ok());
    EXPECT_EQ(session->kvLen(1), 50);
    ASSERT_TRUE(session->prefill(1, prompt(30, 8)).ok());
  }
  expectSameLogits(*gpu, *cpu);
  // A new sequence begins with zeroes.
  for (Session* session : {gpu.get(), cpu.get()}) {
    session->reset(1);
    ASSERT_TRUE(session->prefill(1, prompt(9)).ok());
  }
  expectSameLogits(*gpu, *cpu);
}

// A sequence that goes on behind another's tokens writes into a copy of its last block.
TEST(CudaSession, SharedBlocksAreCopiedOnTheDevice) {
  for (const auto& change : std::initializer_list<std::function<void(PlanT&)>>{
           nullptr, kWindow, kRecurrent, kAllStates}) {
    const Models models(change);
    const auto gpu = models.onGpu({.max_batch = 3}), alone = models.onGpu();
    const Ids text = prompt(100);
    ASSERT_TRUE(gpu->prefill(0, text).ok());
    gpu->keepAll(0, text);
    for (const int32_t seq : {1, 2}) {
      Ids next = text;
      next.push_back(20 + seq);
      ASSERT_EQ(gpu->share(seq, next).tokens, 100);
      ASSERT_TRUE(gpu->decode(seq, next.back()).ok());
      alone->reset(0);
      ASSERT_TRUE(alone->prefill(0, text).ok());
      ASSERT_TRUE(alone->decode(0, next.back()).ok());
      expectSameLogits(*gpu, *alone);
    }
    ASSERT_TRUE(gpu->decode(0, 5).ok());
    alone->reset(0);
    ASSERT_TRUE(alone->prefill(0, text).ok());
    ASSERT_TRUE(alone->decode(0, 5).ok());
    expectSameLogits(*gpu, *alone);
  }
}

TEST(CudaSession, TakesAsManyTokensAsItsMemoryHolds) {
  const Models models([](PlanT& p) { p.model->max_seq_len = 1 << 20; });
  const auto session = models.onGpu({.memory_bytes = 32 << 20});
  ASSERT_TRUE(session);
  const int64_t tokens = session->options().max_seq_len;
  EXPECT_GT(tokens, 1 << 14);
  EXPECT_LT(tokens, 1 << 16);
  EXPECT_EQ(models.onGpu({.max_seq_len = tokens})->options().max_seq_len, tokens);
  SessionOptions bounded{.device = models.device.get()};
  ASSERT_TRUE(Session::boundMemory(*models.gpu, bounded).ok());
  EXPECT_GT(bounded.memory_bytes, uint64_t{1} << 30);
}

TEST(CudaSession, AFailedStepLeavesSequencesAsTheyWere) {
  const auto refusing = [](PlanT& p) {
    kWindow(p);
    for (auto& entry : p.entry_points) {
      auto phase = std::make_unique<schema::PhaseT>(*entry->sections[2]->phases[0]);
      phase->operands.clear();
      example::refuse13(*phase);
      entry->sections[2]->phases.push_back(std::move(phase));
    }
  };
  const Models models(refusing);
  const auto cpu = models.onCpu();
  const Ids begin(100, 5), rest(70, 6);
  ASSERT_TRUE(cpu->prefill(0, begin).ok());
  ASSERT_TRUE(cpu->prefill(0, rest).ok());
  // An error of a launch ends the stream: a session for each.
  const auto gpu = models.onGpu();
  ASSERT_TRUE(gpu->prefill(0, begin).ok());
  EXPECT_FALSE(gpu->decode(0, 13).ok());
  EXPECT_EQ(gpu->kvLen(0), 100);
  ASSERT_TRUE(gpu->prefill(0, rest).ok());
  expectSameLogits(*gpu, *cpu);
}

// By the kind of a step, not by its rows.
TEST(CudaSession, StepsOfDecodingAreGraphs) {
  const auto graphs = [](schema::StepKind kind) {
    const Models models([&](PlanT& p) { p.entry_points[1]->kind = kind; });
    const auto gpu = models.onGpu();
    const example::TempDir dir;
    const std::string log = dir / "log";
    setenv("LLMC_FAKE_CUDA_LOG", log.c_str(), 1);
    EXPECT_TRUE(gpu->prefill(0, prompt(20)).ok());  // more rows than the first entry point takes
    unsetenv("LLMC_FAKE_CUDA_LOG");
    const auto bytes = example::readFile(log);
    const std::string lines(bytes.begin(), bytes.end());
    EXPECT_NE(lines.find("graph ") != std::string::npos,
              lines.find("launch ") != std::string::npos);
    return lines.find("graph ") != std::string::npos;
  };
  EXPECT_TRUE(graphs(schema::StepKind::decode));
  EXPECT_FALSE(graphs(schema::StepKind::prefill));
}

TEST(CudaSession, AKernelTakesNoMoreOperandsThanItsTargetSays) {
  const Models models([](PlanT&) {});
  PlanT plan;
  const auto file = example::readFile(models.cpu.path);
  schema::GetPlan(file.data())->UnPackTo(&plan);
  plan.targets[1]->cuda_operands = 7;
  const example::TempDir dir;
  example::writeFile(dir / "p.fb", example::serialize(plan));
  const auto opened = Plan::open(dir / "p.fb", {.device = models.device.get()});
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  SessionOptions options;
  options.device = models.device.get();
  EXPECT_THAT(Session::create(**opened, *models.cpu.weights, options).status().message(),
              HasSubstr("'attention' has 8 operands, kernels take 7"));
}

TEST(CudaSession, RefusesWeightsInBlocksByName) {
  const Models models(example::addBlocks);
  SessionOptions options;
  options.device = models.device.get();
  const Status s = Session::create(*models.gpu, *models.cpu.weights, options).status();
  EXPECT_EQ(s.code(), StatusCode::kUnsupported);
  EXPECT_THAT(s.message(), HasSubstr("weights of the format 'q8_0' are not laid out for a "
                                     "GPU: 'blocks'"));
  EXPECT_NE(models.onCpu(), nullptr);
}

class CudaOperands : public testing::TestWithParam<example::OperandCase> {};

TEST_P(CudaOperands, AreAddedWithoutAnyOtherChange) {
  const Models models(GetParam().change);
  SessionOptions options{.max_batch = 3};
  options.inputs = GetParam().inputs;
  const auto session = models.onGpu(options);
  ASSERT_NE(session, nullptr);
  GetParam().run(models.cpu, *session);
}

INSTANTIATE_TEST_SUITE_P(, CudaOperands, testing::ValuesIn(example::operandCases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace llmrt
