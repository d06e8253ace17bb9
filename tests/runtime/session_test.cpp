// Session: numbers, threads, chunks, sequences, the KV cache, errors; and no allocation in a decode
// step.
#include "runtime/session/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "runtime/generate/generate.h"
#include "runtime/sampling/sampler.h"
#include "tests/runtime/allocation_counter.h"
#include "tests/runtime/example_plan.h"

namespace llmrt {
namespace {

using example::Model;
using testing::HasSubstr;

std::vector<int32_t> prompt(int n) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < n; ++i) tokens.push_back((i * 7 + 3) % example::kVocab);
  return tokens;
}

std::vector<float> logitsAfter(Session& session, const std::vector<int32_t>& tokens, int seq = 0) {
  const Status s = session.prefill(seq, tokens);
  EXPECT_TRUE(s.ok()) << s.message();
  return {session.logits().begin(), session.logits().end()};
}

TEST(Session, ComputesWhatThePlanSays) {
  const Model model;
  const auto session = model.session();
  const std::vector<int32_t> tokens = prompt(70);  // more than one KV block, several chunks
  const std::vector<float> got = logitsAfter(*session, tokens);
  const std::vector<float> want = example::referenceLogits(model, tokens);
  ASSERT_EQ(got.size(), want.size());
  // Sums of up to 70 * 32 products of values near 1, in f32 against double.
  const float tolerance = 70 * 32 * 0x1p-24f * 4;
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], tolerance) << "logit " << i;
}

TEST(Session, GivesTheSameBitsForAnyNumberOfThreads) {
  const Model model;
  const std::vector<int32_t> tokens = prompt(90);
  const std::vector<float> one = logitsAfter(*model.session({.threads = 1}), tokens);
  for (int threads = 2; threads <= 4; ++threads) {
    EXPECT_EQ(logitsAfter(*model.session({.threads = threads}), tokens), one) << threads;
  }
}

// Damaged weights: the step fails, and says which op's output they first reached.
TEST(Session, LogitsThatAreNotFiniteNameTheFirstOpThatMadeThem) {
  struct Damage {
    uint32_t weight, layer, element;
    const char* op;
  };
  const Damage damages[] = {{0, 0, 9 * example::kHidden, "made by embed:"},  // of token 9 alone
                            {1, 0, 3, "made by linear_residual of layer 0:"},
                            {1, 1, 3, "made by linear_residual of layer 1:"},
                            {2, 0, 3, "made by logits:"}};
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    for (const Damage& d : damages) {
      for (const int threads : {1, 3}) {
        const Model model;
        auto* const weights = const_cast<float*>(
            reinterpret_cast<const float*>(model.weights->data(d.weight, d.layer)));
        weights[d.element] = bad;
        const auto session = model.session({.threads = threads});
        // The fifth token of the second chunk is the first that is damaged where one token is.
        std::vector<int32_t> tokens(29, 1);
        EXPECT_EQ(session->prefill(0, tokens).ok(), d.weight == 0);
        tokens.push_back(9);
        session->reset(0);
        const Status s = session->prefill(0, tokens);
        EXPECT_EQ(s.code(), StatusCode::kInvalidData);
        EXPECT_THAT(s.message(), testing::AllOf(HasSubstr("plan.fb: the model's logits are not"),
                                                HasSubstr(d.op), HasSubstr("`verify_weights`")));
        EXPECT_EQ(session->numLogitsRows(), 0);
        EXPECT_EQ(session->kvLen(0), example::kPrefillRows);  // the chunk before stays
      }
    }
  }
}

// What stood in the cache is as before: the next step is not harmed.
TEST(Session, AStepWithoutFiniteLogitsLeavesNothingBehind) {
  const Model model;
  auto* const embedding =
      const_cast<float*>(reinterpret_cast<const float*>(model.weights->data(0, 0)));
  const auto session = model.session();
  const std::vector<float> good = logitsAfter(*session, prompt(5));
  ASSERT_TRUE(session->decode(0, 2).ok());
  const std::vector<float> next(session->logits().begin(), session->logits().end());
  session->reset(0);
  EXPECT_EQ(logitsAfter(*session, prompt(5)), good);
  embedding[49 * example::kHidden] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(session->decode(0, 49).ok());
  EXPECT_EQ(session->kvLen(0), 5);
  ASSERT_TRUE(session->decode(0, 2).ok());
  EXPECT_EQ(std::vector<float>(session->logits().begin(), session->logits().end()), next);
}

TEST(Session, GivesTheSameBitsForAnyChunking) {
  const Model model;
  const std::vector<int32_t> tokens = prompt(90);
  const std::vector<float> whole = logitsAfter(*model.session(), tokens);
  for (int64_t chunk : {1, 2, 5, 7, 23}) {
    EXPECT_EQ(logitsAfter(*model.session({.threads = 2, .prefill_chunk = chunk}), tokens), whole)
        << chunk;
  }
  const auto session = model.session();
  for (int32_t token : tokens) ASSERT_TRUE(session->decode(0, token).ok());
  EXPECT_EQ(std::vector<float>(session->logits().begin(), session->logits().end()), whole);
  EXPECT_EQ(session->kvLen(0), 90);
}

TEST(Session, KeepsSequencesApart) {
  const Model model;
  const auto session = model.session({.threads = 2, .max_batch = 3});
  const std::vector<int32_t> a = prompt(70), b = {5, 4, 3};
  const std::vector<float> want_a = logitsAfter(*model.session(), a),
                           want_b = logitsAfter(*model.session(), b);
  EXPECT_EQ(logitsAfter(*session, a, 2), want_a);
  EXPECT_EQ(logitsAfter(*session, b, 0), want_b);

  // One more token of each in a mixed step.
  std::vector<int32_t> a1 = a, b1 = b;
  a1.push_back(9);
  b1.push_back(8);
  const std::vector<StepToken> step = {{2, 9, true}, {0, 8, true}, {1, 1, false}, {1, 2, true}};
  ASSERT_TRUE(session->step(step).ok());
  ASSERT_EQ(session->numLogitsRows(), 3);
  const auto row = [&](int i) {
    return std::vector<float>(session->logits(i).begin(), session->logits(i).end());
  };
  EXPECT_EQ(row(0), logitsAfter(*model.session(), a1));
  EXPECT_EQ(row(1), logitsAfter(*model.session(), b1));
  EXPECT_EQ(row(2), logitsAfter(*model.session(), {1, 2}));
  EXPECT_TRUE(session->logits(3).empty());
}

TEST(Session, ResetSequenceStartsAnewInBlocksOfOthers) {
  const Model model;
  const auto session = model.session({.threads = 1, .max_batch = 2});
  const std::vector<float> first = logitsAfter(*session, prompt(150), 0);
  logitsAfter(*session, prompt(65), 1);
  session->reset(0);
  session->reset(1);
  EXPECT_EQ(session->kvLen(0), 0);
  EXPECT_EQ(logitsAfter(*session, prompt(150), 1), first);
}

TEST(Session, DecodeAllocatesNothing) {
  const Model model;
  for (int threads : {1, 3}) {
    const auto session = model.session({.threads = threads, .profile = true});
    logitsAfter(*session, prompt(60));
    example::startCountingAllocations();
    bool ok = true;
    for (int i = 0; i < 10; ++i)
      ok &= session->decode(0, i).ok();  // crosses into the next KV block
    EXPECT_EQ(example::stopCountingAllocations(), 0) << threads << " threads";
    EXPECT_TRUE(ok);
  }
}

TEST(Session, NamesBothLengthsOfAPromptThatIsTooLong) {
  const Model model;
  const auto session = model.session({.threads = 1, .max_seq_len = 100});
  const Status s = session->prefill(0, prompt(101));
  EXPECT_EQ(s.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(s.message(), HasSubstr("101"));
  EXPECT_THAT(s.message(), HasSubstr("100"));
  EXPECT_EQ(session->kvLen(0), 0);
  logitsAfter(*session, prompt(100));
  EXPECT_THAT(session->decode(0, 1).message(), HasSubstr("context is full: 100"));
  EXPECT_EQ(session->kvLen(0), 100);
}

TEST(Session, RefusesStepsThatMakeNoSense) {
  const Model model;
  const auto session = model.session({.threads = 1, .max_batch = 2});
  using Tokens = std::vector<StepToken>;
  EXPECT_THAT(session->step({}).message(), HasSubstr("at least one token"));
  EXPECT_THAT(session->step(Tokens{{0, example::kVocab, true}}).message(),
              HasSubstr("vocabulary of 50"));
  EXPECT_THAT(session->step(Tokens{{0, -1, true}}).message(), HasSubstr("token id -1"));
  EXPECT_THAT(session->step(Tokens{{2, 1, true}}).message(), HasSubstr("sequence 2 of 2"));
  EXPECT_THAT(session->step(Tokens{{0, 1}, {1, 1}, {0, 1}}).message(), HasSubstr("not adjacent"));
  EXPECT_THAT(session->step(Tokens(25)).message(), HasSubstr("25 tokens in a step"));
  EXPECT_THAT(session->prefill(0, {}).message(), HasSubstr("at least one token"));
  EXPECT_THAT(session->prefill(7, prompt(1)).message(), HasSubstr("sequence 7"));
  EXPECT_EQ(session->kvLen(0), 0);
}

TEST(Session, RefusesOptionsThePlanWasNotCompiledFor) {
  const Model model;
  const auto message = [&](SessionOptions o) {
    Result<std::unique_ptr<Session>> r = Session::create(*model.plan, *model.weights, o);
    return r.ok() ? "ok" : r.status().message();
  };
  EXPECT_THAT(message({.max_seq_len = 201}), HasSubstr("`max_seq_len` 201"));
  EXPECT_THAT(message({.max_seq_len = -1}), HasSubstr("`max_seq_len` -1"));
  EXPECT_THAT(message({.max_batch = 4}), HasSubstr("max_batch 4"));
  EXPECT_THAT(message({.prefill_chunk = 25}), HasSubstr("`prefill_chunk` 25"));
  EXPECT_THAT(message({.threads = -1}), HasSubstr("threads must be"));
  EXPECT_THAT(message({.threads = 1025}), HasSubstr("threads must be 1 to 1024, got 1025"));
  EXPECT_FALSE(Session::memory(*model.plan, {.threads = -1}).ok());
  EXPECT_EQ(message({}), "ok");
}

TEST(Session, EndsAStepWhoseKernelFails) {
  const Model model([](schema::PlanT& p) {
    for (auto& entry : p.entry_points) example::refuse13(*entry->sections[1]->phases[0]);
  });
  const auto session = model.session({.threads = 3});
  EXPECT_TRUE(session->decode(0, 1).ok());
  const Status s = session->decode(0, 13);
  EXPECT_EQ(s.code(), StatusCode::kInternal);
  EXPECT_THAT(s.message(), HasSubstr("'example_refuse_13' of layer 0 returned 7"));
  EXPECT_EQ(session->kvLen(0), 1);
  EXPECT_TRUE(session->logits().empty());
  EXPECT_TRUE(session->decode(0, 2).ok());
}

TEST(Session, IsAfterAFailedStepAsBeforeIt) {
  // The refusing kernel is the last of the layers: keys and values have been written by then.
  const Model model(example::addRefusing);
  const auto session = model.session({.threads = 2, .max_batch = 2});
  const std::vector<int32_t> tokens(60, 2), more(80, 3), other(130, 4);
  const std::vector<float> want = [&] {
    const auto undisturbed = model.session();
    logitsAfter(*undisturbed, tokens);
    return logitsAfter(*undisturbed, more);
  }();
  logitsAfter(*session, tokens);
  // Ten tokens more cross into the next block; the last is refused.
  std::vector<StepToken> failing(10, StepToken{0, 5});
  failing.back().token = 13;
  EXPECT_EQ(session->step(failing).code(), StatusCode::kInternal);
  EXPECT_EQ(session->kvLen(0), 60);
  const std::vector<float> want_other = logitsAfter(*model.session(), other);
  EXPECT_EQ(logitsAfter(*session, other, 1), want_other);
  EXPECT_EQ(logitsAfter(*session, more), want);
  EXPECT_EQ(session->kvLen(0), 140);
}

TEST(Session, StopsBetweenChunksWhenCancelled) {
  const Model model;
  const auto session = model.session();
  const std::atomic<bool> cancel{true};
  EXPECT_EQ(session->prefill(0, prompt(50), &cancel).code(), StatusCode::kCancelled);
  EXPECT_EQ(session->kvLen(0), 0);
}

TEST(Session, TakesAsManyTokensAsItsMemoryHolds) {
  for (const bool recurrent : {false, true}) {
    const Model model([&](schema::PlanT& p) {
      p.model->max_seq_len = 1 << 20;
      if (recurrent) example::addRecurrent(p);
    });
    // Snapshots may take as much as the keys and values.
    const auto bytes = [&](int64_t max_seq_len, int64_t batch, int64_t kv_tokens) {
      const SessionMemory m = *Session::memory(
          *model.plan,
          {.threads = 1, .max_seq_len = max_seq_len, .max_batch = batch, .kv_tokens = kv_tokens});
      return m.total() + (recurrent ? m.kv_bytes : 0);
    };
    for (const uint64_t memory : {1u << 20, 20u << 20}) {
      for (const int64_t batch : {1, 3}) {
        SessionOptions o{.threads = 1, .max_batch = batch, .memory_bytes = memory};
        const auto session = model.session(o);
        ASSERT_TRUE(session);
        const SessionOptions& got = session->options();
        EXPECT_EQ(got.max_seq_len, got.kv_tokens);
        EXPECT_LE(bytes(got.max_seq_len, batch, got.kv_tokens), memory);
        EXPECT_GT(bytes(got.max_seq_len + 64, batch, got.kv_tokens + 64), memory);
        o.max_seq_len = 300;  // asked for: the others have what is left
        const auto shorter = model.session(o);
        EXPECT_EQ(shorter->options().max_seq_len, 300);
        o.max_seq_len = 1 << 19;
        EXPECT_THAT(
            Session::memory(*model.plan, o).status().message(),
            testing::AllOf(HasSubstr("524288 tokens of context"), HasSubstr("there may be")));
      }
    }
    const auto whole = Session::memory(*model.plan, {.threads = 1, .memory_bytes = 1ull << 40});
    EXPECT_EQ(whole->total() + (recurrent ? whole->kv_bytes : 0), bytes(1 << 20, 1, 0));
    EXPECT_THAT(Session::memory(*model.plan, {.memory_bytes = 100}).status().message(),
                HasSubstr("64 tokens of context"));
  }
}

// Several sessions that are made one after another leave room for each other: none of them has
// touched its memory when the next asks what is free.
TEST(Session, WhatIsFreeIsShared) {
  const Model model;
  const auto bound = [&](uint64_t shares) {
    SessionOptions o{.memory_shares = shares};
    EXPECT_TRUE(Session::boundMemory(*model.plan, o).ok());
    return static_cast<double>(o.memory_bytes);
  };
  const double all = bound(1);
  // Others' memory comes and goes in between.
  EXPECT_NEAR(bound(4) / all, 1 / 4.0, 1 / 16.0);
  SessionOptions asked{.memory_bytes = 12345, .memory_shares = 4};
  ASSERT_TRUE(Session::boundMemory(*model.plan, asked).ok());
  EXPECT_EQ(asked.memory_bytes, 12345u);
}

TEST(Session, SaysWhenTheContextDoesNotFitInMemory) {
  const Model model([](schema::PlanT& p) {
    p.model->max_seq_len = 1 << 28;
    p.model->max_batch = 4;
    p.states[0]->head_dim = p.states[0]->head_dim_padded = 4096;
  });
  Result<std::unique_ptr<Session>> r =
      Session::create(*model.plan, *model.weights, {.max_batch = 4});
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.status().code(), StatusCode::kOutOfMemory);
  EXPECT_THAT(r.status().message(), HasSubstr("out of memory"));
}

/// A device that always chooses token 7, and does nothing else. Its logits say 9, then 7.
class SevenDevice : public Device {
  struct Seven : public Executor {
    Seven(const Plan& plan, int64_t max_choices) : Executor(plan, max_choices) {}
    Status execute(uint32_t, const Step&) override { return {}; }
    const uint8_t* outputData(uint32_t) const override {
      static const std::vector<float> logits = [] {
        std::vector<float> all(example::kVocab);
        all[7] = 1;
        all[9] = 2;
        return all;
      }();
      return reinterpret_cast<const uint8_t*>(logits.data());
    }
    bool choosesTokens() const override { return true; }
    Status queueChoices(uint32_t, const Step&, std::span<const Choice>, bool) override {
      return {};
    }
    Status takeChoices(std::span<int32_t> chosen) override {
      std::fill(chosen.begin(), chosen.end(), 7);
      return {};
    }
    void clearBlock(uint32_t, int32_t, int64_t) override {}
    Status copyBlock(uint32_t, int32_t, int32_t) override { return {}; }
    Status readSlots(int32_t, std::span<uint8_t>) override { return {}; }
    Status writeSlots(int32_t, std::span<const uint8_t>) override { return {}; }
    Status clearSlots(int32_t) override { return {}; }
  };
  std::string name() const override { return "seven"; }
  Result<uint32_t> chooseTarget(const schema::Plan&) const override { return uint32_t{0}; }
  Result<Room> room(const Plan&, const ExecutorOptions&) const override { return Room{}; }
  Result<std::unique_ptr<Executor>> createExecutor(const Plan& plan, const Weights&,
                                                   const ExecutorOptions& options) override {
    return std::unique_ptr<Executor>(std::make_unique<Seven>(plan, options.max_choices));
  }
};

// Steps run ahead of the tokens that are taken: they do not count.
TEST(Session, StepsInFlightAreNoneOfTheSequencesTokens) {
  const Model model;
  SevenDevice device;
  for (Device* where : {static_cast<Device*>(&device), static_cast<Device*>(nullptr)}) {
    SCOPED_TRACE(where ? "device" : "CPU");
    const auto session = model.session({.threads = 1, .device = where});
    auto queued = Sampler::create(example::kVocab, {.temperature = 1, .seed = 3});
    ASSERT_TRUE(queued.ok());
    const StepToken first{0, 5, true};
    TokenChooser* const chooser = &*queued;
    ASSERT_TRUE(session->queue({&first, 1}, {&chooser, 1}).ok());
    for (int told = 0; told < 4; ++told) {
      int ahead = 0;
      for (; session->canQueueNext(); ++ahead) ASSERT_TRUE(session->queueNext().ok());
      EXPECT_EQ(ahead, told == 0 ? (where ? 1 : 0) : 1);
      const auto chosen = session->take();
      ASSERT_TRUE(chosen.ok()) << chosen.status().message();
      EXPECT_EQ(session->kvLen(0), told + 1);
    }
    ASSERT_TRUE(session->finish().ok());
    EXPECT_EQ(session->kvLen(0), 4);
    EXPECT_FALSE(session->canQueueNext());
    EXPECT_FALSE(session->queueNext().ok());
    EXPECT_FALSE(session->take().ok());
  }
}

// Rows of several sequences, some of them prompts, of which not all have a token chosen: what the
// samplers make of the logits of the same step.
TEST(Session, ChoosesTheTokensOfSomeRows) {
  const Model model([](schema::PlanT& p) { p.model->max_batch = 3; });
  const auto queued = model.session({.threads = 2, .max_batch = 3});
  const auto plain = model.session({.threads = 2, .max_batch = 3});
  const SamplerOptions options[] = {{.repetition_penalty = 1.5f, .temperature = 1, .seed = 4},
                                    {.temperature = 0},
                                    {.temperature = 2, .top_k = 9, .seed = 5}};
  std::vector<Sampler> a, b;
  for (const SamplerOptions& o : options) {
    a.push_back(*Sampler::create(example::kVocab, o));
    b.push_back(*Sampler::create(example::kVocab, o));
  }
  const std::vector<StepToken> mixed = {{1, 7, false}, {1, 8, true},  {2, 3, true},
                                        {0, 4, false}, {0, 5, false}, {0, 6, true}};
  TokenChooser* const choosers[] = {&a[1], nullptr, &a[0]};
  ASSERT_TRUE(queued->queue(mixed, choosers).ok());
  EXPECT_FALSE(queued->canQueueNext());  // a row has no token
  auto chosen = queued->take();
  ASSERT_TRUE(chosen.ok()) << chosen.status().message();
  ASSERT_TRUE(plain->step(mixed).ok());
  std::vector<int32_t> want = {b[1].sample(plain->logits(0)), b[0].sample(plain->logits(2))};
  EXPECT_EQ(std::vector<int32_t>(chosen->begin(), chosen->end()), want);
  EXPECT_EQ(queued->kvLen(0), 3);
  // Now one row each, and on from there.
  std::vector<StepToken> rows = {{2, 9, true}, {0, want[1], true}, {1, want[0], true}};
  TokenChooser* const each[] = {&a[2], &a[0], &a[1]};
  for (int step = 0; step < 20; ++step) {
    ASSERT_TRUE((step == 0 ? queued->queue(rows, each) : queued->queueNext()).ok());
    chosen = queued->take();
    ASSERT_TRUE(chosen.ok()) << chosen.status().message();
    ASSERT_TRUE(plain->step(rows).ok());
    want = {b[2].sample(plain->logits(0)), b[0].sample(plain->logits(1)),
            b[1].sample(plain->logits(2))};
    ASSERT_EQ(std::vector<int32_t>(chosen->begin(), chosen->end()), want) << step;
    for (size_t i = 0; i < 3; ++i) {
      rows[i].token = want[i];
      const size_t sampler = i == 0 ? 2 : i - 1;
      a[sampler].accept(want[i]);
      b[sampler].accept(want[i]);
    }
  }
}

// What is queued and not taken was not: whatever comes next.
TEST(Session, ForgetsStepsThatAreNotTaken) {
  const Model model;
  const auto session = model.session({.threads = 1}), plain = model.session({.threads = 1});
  auto greedy = Sampler::create(example::kVocab, {});
  TokenChooser* const chooser = &*greedy;
  const StepToken first{0, 5, true}, other{0, 9, true};
  ASSERT_TRUE(session->queue({&first, 1}, {&chooser, 1}).ok());
  ASSERT_TRUE(session->step({&other, 1}).ok());
  EXPECT_EQ(session->kvLen(0), 1);
  ASSERT_TRUE(plain->step({&other, 1}).ok());
  EXPECT_TRUE(std::equal(session->logits().begin(), session->logits().end(),
                         plain->logits().begin(), plain->logits().end()));
  EXPECT_FALSE(session->queue({&first, 1}, {}).ok());  // a chooser, or null, for each wanted row
  EXPECT_EQ(session->kvLen(0), 1);
}

// A device knows no bans: the host chooses then.
TEST(Session, ADeviceChoosesWhatItCanAlone) {
  const Model model;
  SevenDevice device;
  const auto ids = [&](BanRules bans) {
    const auto session = model.session({.threads = 1, .device = &device});
    const auto r = generate(*session, nullptr, std::vector<int32_t>{1, 2},
                            {.max_tokens = 3, .sampler = {.bans = std::move(bans)}});
    EXPECT_TRUE(r.ok()) << r.status().message();
    return r.ok() ? r->ids : std::vector<int32_t>();
  };
  EXPECT_EQ(ids({}), (std::vector<int32_t>{7, 7, 7}));
  EXPECT_EQ(ids({.begin_suppress_tokens = {9}}), (std::vector<int32_t>{7, 7, 7}));
  EXPECT_EQ(ids({.suppress_tokens = {7}}), (std::vector<int32_t>{9, 9, 9}));
  EXPECT_EQ(ids({.no_repeat_ngram_size = 1}), (std::vector<int32_t>{9, 7, 0}));
  EXPECT_EQ(ids({.bad_words = {{9, 9}}}), (std::vector<int32_t>{9, 7, 9}));
}

// By kind first, then the fewest rows that suffice.
TEST(Session, AStepRunsThroughAnEntryPointOfItsKind) {
  const Model model([](schema::PlanT& p) {
    for (const auto kind : {schema::StepKind::verify, schema::StepKind::embed}) {
      auto entry = std::make_unique<schema::EntryPointT>(*p.entry_points[0]);
      entry->kind = kind;
      entry->name = schema::EnumNameStepKind(kind);
      entry->max_rows = entry->max_logits_rows = 2;
      p.entry_points.insert(p.entry_points.begin(), std::move(entry));
    }
  });
  const schema::Plan& plan = model.plan->schema();  // embed, verify, decode, prefill
  EXPECT_EQ(selectEntryPoint(plan, 1, 1), 2);
  EXPECT_EQ(selectEntryPoint(plan, example::kDecodeRows, 1), 2);
  EXPECT_EQ(selectEntryPoint(plan, example::kDecodeRows + 1, 1), 3);
  EXPECT_EQ(selectEntryPoint(plan, example::kPrefillRows + 1, 1), -1);
  EXPECT_EQ(selectEntryPoint(plan, 1, 1, {schema::StepKind::verify}), 1);
  EXPECT_EQ(selectEntryPoint(plan, 3, 1, {schema::StepKind::verify}), -1);
  const auto session = model.session();
  EXPECT_EQ(session->maxRows(), example::kPrefillRows);
  EXPECT_EQ(logitsAfter(*session, prompt(40)), logitsAfter(*Model().session(), prompt(40)));
}

TEST(Session, ProfileGivesTimeAndCostOfEveryOp) {
  const Model model;
  const auto session = model.session({.threads = 2, .profile = true});
  logitsAfter(*session, prompt(30));  // chunks of 24 and 6 rows, both through prefill
  ASSERT_TRUE(session->decode(0, 1).ok());
  const std::vector<OpProfile> ops = session->profile()->ops();
  ASSERT_EQ(ops.size(),
            10u);  // embed, kv_write, attention, linear_residual, logits; decode, then prefill
  for (const OpProfile& op : ops) {
    EXPECT_GT(op.seconds, 0) << op.op;
    EXPECT_EQ(op.steps, op.entry_point == "decode" ? 1 : 2) << op.op;
  }
  EXPECT_EQ(ops[2].op, "attention");
  EXPECT_EQ(ops[2].cost.kv_bytes, example::kLayers * 31 * 256.0);  // the 31st token attends to 31
  EXPECT_EQ(ops[3].cost.weight_bytes, example::kLayers * 4096.0);
  // Each chunk reads every token before its last one once.
  EXPECT_EQ(ops[7].cost.kv_bytes, example::kLayers * 256.0 * (24 + 30));
  EXPECT_EQ(ops[8].cost.weight_bytes, 2 * example::kLayers * 4096.0);
  EXPECT_EQ(ops[8].cost.flops, 30 * example::kLayers * 2.0 * 32 * 32);
  EXPECT_EQ(ops[9].cost.flops, 1 * 2.0 * 64 * 32);  // one row wanted logits
}

// Two decodes and a chunk in one step: whose rows they are changes what is read.
TEST(Session, AProfiledBatchIsCountedAsOneStep) {
  const Model model([](schema::PlanT& p) {
    for (auto& entry : p.entry_points) {
      schema::PhaseT& linear = *entry->sections[1]->phases[2];
      ASSERT_EQ(linear.op, "linear_residual");
      linear.num_experts = 4;
      linear.experts_per_row = 2;
      linear.expert_bytes = 1024;
    }
  });
  const auto session = model.session({.threads = 2, .max_batch = 3, .profile = true});
  ASSERT_TRUE(session->prefill(0, prompt(9)).ok());
  ASSERT_TRUE(session->prefill(2, prompt(4)).ok());
  session->clearProfile();
  const std::vector<StepToken> step = {
      {2, 5, true}, {1, 6, false}, {1, 7, true}, {0, 8, true}};  // at 4, at 0 and 1, at 9
  ASSERT_TRUE(session->step(step).ok());
  const std::vector<OpProfile> ops = session->profile()->ops();
  ASSERT_EQ(ops[2].op, "attention");
  EXPECT_EQ(ops[2].cost.kv_bytes, example::kLayers * 256.0 * (5 + 2 + 10));
  // Each expert is left out by a row with probability 1 / 2.
  ASSERT_EQ(ops[3].op, "linear_residual");
  EXPECT_EQ(ops[3].cost.weight_bytes, example::kLayers * (4096.0 + 4 * 1024 * (1 - 1 / 16.0)));
  EXPECT_EQ(ops[4].cost.flops, 3 * 2.0 * 64 * 32);
}

}  // namespace
}  // namespace llmrt
