// The engine: every request gets what it would get alone, whatever else runs, is cancelled, fails,
// or takes the blocks of the cache.
#include "runtime/engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "runtime/schema/plan_generated.h"
#include "tests/engine/plain_loop.h"
#include "tests/runtime/allocation_counter.h"
#include "tests/runtime/example_plan.h"
#include "tests/runtime/shared_texts.h"

namespace llmrt {
namespace {

using example::Case;
using example::everyState;
using example::Ids;
using example::kRefused;
using example::Model;
using example::plain;
using example::someTokens;
using testing::HasSubstr;

/// What became of a request.
struct Outcome {
  Ids ids;
  std::vector<std::vector<std::pair<int32_t, float>>> logits;
  std::vector<TokenLogprob> prompt_logprobs, logprobs;
  std::string text;
  bool ended = false;
  FinishReason reason = FinishReason::kLength;
  std::string error;
  RequestStats stats;
};

class Outcomes {
 public:
  void add(const std::vector<Event>& events) {
    for (const Event& e : events) {
      Outcome& o = outcomes_[e.request];
      EXPECT_FALSE(o.ended) << "request " << e.request << " goes on after its end";
      o.text += e.text;
      if (e.kind == Event::Kind::kPrompt) {
        EXPECT_TRUE(o.ids.empty());
        o.prompt_logprobs.insert(o.prompt_logprobs.end(), e.prompt_logprobs.begin(),
                                 e.prompt_logprobs.end());
        continue;
      }
      if (e.kind == Event::Kind::kToken) {
        if (e.logprob) o.logprobs.push_back(*e.logprob);
        o.ids.push_back(e.token);
        o.logits.push_back(e.top_logits);
        continue;
      }
      o.ended = true;
      o.reason = e.reason;
      o.error = e.status.message();
      o.stats = e.stats;
    }
  }
  const Outcome& operator[](uint64_t id) { return outcomes_[id]; }

 private:
  std::map<uint64_t, Outcome> outcomes_;
};

struct Fixture {
  explicit Fixture(SessionOptions options, const std::function<void(schema::PlanT&)>& change = {})
      : model(change), session(model.session(options)) {}

  Model model;
  std::unique_ptr<Session> session;
  Tokenizer tokenizer = *Tokenizer::create(model.plan->schema().tokenizer());

  Result<GenerateResult> alone(const Request& r) const {
    const auto one = model.session();
    return plainLoop(*one, &tokenizer, r);
  }
};

void runAll(Engine& engine, Outcomes& outcomes) {
  std::vector<Event> events;
  for (int steps = 0; steps < 100'000; ++steps) {
    events.clear();
    const bool more = engine.step(events);
    outcomes.add(events);
    if (!more) return;
  }
  FAIL() << "the engine never comes to an end";
}

/// The same from logits that are told in the order of their size.
TokenLogprob logprobOf(const std::vector<std::pair<int32_t, float>>& logits, int32_t token,
                       int32_t count) {
  std::vector<float> dense(logits.size());
  for (const auto& [id, logit] : logits) dense[static_cast<size_t>(id)] = logit;
  return tokenLogprob(dense, token, count);
}

void expectEqual(const std::vector<TokenLogprob>& got, const std::vector<TokenLogprob>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].token, want[i].token);
    EXPECT_EQ(got[i].logprob, want[i].logprob);
    EXPECT_EQ(got[i].top, want[i].top);
  }
}

class EngineCases : public testing::TestWithParam<Case> {};

TEST_P(EngineCases, GivesEachRequestWhatItGetsAlone) {
  int64_t preemptions = 0, cached = 0;
  for (unsigned seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    Fixture f({.threads = 1, .max_batch = 3, .kv_tokens = GetParam().kv_tokens}, GetParam().change);
    ASSERT_TRUE(f.session);
    Engine engine(*f.session, &f.tokenizer, {.scheduler = {.steps_per_priority = 20}});
    std::map<uint64_t, Request> requests;
    std::map<uint64_t, bool> cancelled;
    Outcomes outcomes;
    std::vector<Event> events;
    Ids shared = someTokens(90, random);
    while (requests.size() < 40) {
      if (requests.size() < 40 && random() % 3 == 0) {
        Request r;
        switch (random() % 3) {
          case 0:
            r.prompt.assign(shared.begin(), shared.begin() + 1 + random() % 89);
            break;
          case 1:
            if (!requests.empty()) {  // the next turn of an earlier one, or its last anew
              const auto& [id, earlier] = *std::next(requests.begin(), random() % requests.size());
              r.prompt = earlier.prompt;
              const Ids& answer = outcomes[id].ids;
              if (random() % 2) r.prompt.insert(r.prompt.end(), answer.begin(), answer.end());
              std::replace(r.prompt.begin(), r.prompt.end(), kRefused, 14);
              r.prompt.resize(std::min<size_t>(r.prompt.size(), 1 + random() % 90));
            }
        }
        const Ids more = someTokens(1 + random() % 80, random);
        r.prompt.insert(r.prompt.end(), more.begin(), more.end());
        if (random() % 8 == 0) r.prompt.back() = kRefused;
        r.max_tokens = 1 + random() % 40;
        r.top_logits = example::kVocab;
        r.priority = static_cast<int32_t>(random() % 3);
        r.sampler.temperature = random() % 2 ? 0.9f : 0.0f;
        r.sampler.seed = random();
        r.eos_ids = {static_cast<int32_t>(random() % example::kVocab)};
        if (requests.size() % 4 == 0) {
          r.logprobs = 2;
          r.prompt_logprobs = true;
        }
        if (requests.size() % 3 == 0) {
          r.sampler.frequency_penalty = 0.7f;
          r.sampler.logit_bias = {{5, 1.5f}};
        }
        const Result<uint64_t> id = engine.submit(r);
        ASSERT_TRUE(id.ok()) << id.status().message();
        requests[*id] = r;
      }
      events.clear();
      (void)engine.step(events);
      outcomes.add(events);
      if (!requests.empty() && random() % 25 == 0) {
        const uint64_t id = 1 + random() % requests.size();
        if (engine.cancel(id)) cancelled[id] = true;
      }
    }
    runAll(engine, outcomes);
    for (const auto& [id, request] : requests) {
      SCOPED_TRACE("request " + std::to_string(id));
      const Outcome& got = outcomes[id];
      EXPECT_TRUE(got.ended);
      preemptions += got.stats.preemptions;
      cached += got.stats.cached_tokens;
      const Result<GenerateResult> alone = f.alone(request);
      if (cancelled[id]) {
        EXPECT_EQ(got.reason, FinishReason::kCancelled);
        if (!alone.ok()) continue;
        ASSERT_LE(got.ids.size(), alone->ids.size());
        EXPECT_TRUE(std::equal(got.ids.begin(), got.ids.end(), alone->ids.begin()));
        EXPECT_TRUE(std::equal(got.logits.begin(), got.logits.end(), alone->top_logits.begin()));
        continue;
      }
      if (!alone.ok()) {
        EXPECT_EQ(got.error, alone.status().message());
        continue;
      }
      EXPECT_EQ(got.error, "");
      EXPECT_EQ(got.ids, alone->ids);
      EXPECT_EQ(got.logits, alone->top_logits);
      EXPECT_EQ(got.text, alone->text);
      if (request.prompt_logprobs) {
        expectEqual(got.prompt_logprobs, *plainPromptLogprobs(*f.model.session(), request));
        ASSERT_EQ(got.logprobs.size(), got.ids.size());
        for (size_t i = 0; i < got.ids.size(); ++i)  // all logits are told
          expectEqual({got.logprobs[i]}, {logprobOf(got.logits[i], got.ids[i], 2)});
      }
      EXPECT_EQ(got.reason, alone->finish_reason);
    }
    EXPECT_EQ(engine.stats().waiting, 0);
    EXPECT_EQ(engine.stats().finished + engine.stats().failed, requests.size());
    // Nothing has leaked: one sequence can have the whole cache, and nothing holds what is not
    // kept.
    f.session->planStep();
    EXPECT_TRUE(f.session->planRows(0, f.session->options().max_seq_len));
    f.session->forgetKept();
    EXPECT_EQ(f.session->states().numUsedBlocks(), 0);
    EXPECT_EQ(f.session->states().index().numNodes(), 0u);
    EXPECT_EQ(f.session->states().index().numSnapshots(), 0u);
  }
  EXPECT_GT(cached, 0);
  if (GetParam().kv_tokens > 0) {
    EXPECT_GT(preemptions, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Plans, EngineCases,
                         testing::Values(Case{"plain", plain, 0}, Case{"tight", plain, 256},
                                         Case{"states", everyState, 0},
                                         Case{"tight_states", everyState, 256}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Engine, RefusesWhatCanNeverRun) {
  Fixture f({.threads = 1, .max_seq_len = 100});
  Engine engine(*f.session, nullptr, {.max_waiting = 1});
  const auto error = [&](Request r) { return engine.submit(std::move(r)).status().message(); };
  EXPECT_THAT(error({}), HasSubstr("at least one token"));
  EXPECT_THAT(error({.prompt = Ids(101, 1)}), HasSubstr("101 tokens, the context holds 100"));
  EXPECT_THAT(error({.prompt = {-1}}), HasSubstr("token id -1"));
  EXPECT_THAT(error({.prompt = {1}, .max_tokens = 0}), HasSubstr("max_tokens 0"));
  EXPECT_THAT(error({.prompt = {1}, .stops = {"x"}}), HasSubstr("no tokenizer"));
  ASSERT_TRUE(engine.submit({.prompt = {1}}).ok());
  EXPECT_THAT(error({.prompt = {1}}), HasSubstr("1 requests wait already"));
}

TEST(Engine, ARequestThatFailsTakesNoOtherWithIt) {
  for (const auto change : {plain, everyState}) {
    Fixture f({.threads = 1, .max_batch = 3}, change);
    Engine engine(*f.session, &f.tokenizer);
    const Request good{.prompt = {3, 4, 5}, .max_tokens = 10, .top_logits = 2};
    const uint64_t first = *engine.submit(good), bad = *engine.submit({.prompt = {3, 4, kRefused}}),
                   last = *engine.submit(good);
    Outcomes outcomes;
    runAll(engine, outcomes);
    EXPECT_THAT(outcomes[bad].error, HasSubstr("returned 7"));
    const GenerateResult alone = *f.alone(good);
    for (const uint64_t id : {first, last}) {
      EXPECT_EQ(outcomes[id].ids, alone.ids);
      EXPECT_EQ(outcomes[id].logits, alone.top_logits);
    }
  }
}

TEST(Engine, HigherPrioritiesGoFirstButNobodyWaitsForEver) {
  Fixture f({.threads = 1, .max_batch = 1});
  Engine engine(*f.session, nullptr, {.scheduler = {.steps_per_priority = 4}});
  const uint64_t low = *engine.submit({.prompt = {1}, .max_tokens = 4});
  const uint64_t high = *engine.submit({.prompt = {2}, .max_tokens = 4, .priority = 1});
  Outcomes outcomes;
  std::vector<Event> events;
  for (int i = 0; i < 100 && !outcomes[low].ended; ++i) {
    (void)engine.submit({.prompt = {2}, .max_tokens = 4, .priority = 1});
    events.clear();
    engine.step(events);
    outcomes.add(events);
    if (i == 3) {
      EXPECT_TRUE(outcomes[high].ended);
      EXPECT_TRUE(outcomes[low].ids.empty());
    }
  }
  EXPECT_TRUE(outcomes[low].ended);
}

TEST(Engine, DecodesGoOnWhileAPromptIsRead) {
  Fixture f({.threads = 1, .max_batch = 2, .prefill_chunk = 16});
  Engine engine(*f.session, nullptr, {.scheduler = {.prefill_rows_beside_decodes = 4}});
  const uint64_t first = *engine.submit({.prompt = {1}, .max_tokens = 30});
  std::vector<Event> events;
  engine.step(events);
  const uint64_t second = *engine.submit({.prompt = Ids(40, 2), .max_tokens = 1});
  int64_t firsts = 0;
  for (bool ended = false; !ended;) {
    events.clear();
    ASSERT_TRUE(engine.step(events));
    for (const Event& e : events) {
      firsts += e.request == first;
      ended |= e.request == second && e.kind == Event::Kind::kToken;
    }
  }
  EXPECT_EQ(firsts, 10);  // one in each of the ten steps that 40 tokens take by fours
}

TEST(Engine, TextsThatBeginAlikeShareTheirBeginning) {
  Fixture f({.threads = 1, .max_batch = 2});
  Engine engine(*f.session, nullptr);
  std::mt19937 random(4);
  const Ids text = someTokens(70, random);
  Outcomes outcomes;
  const uint64_t first = *engine.submit({.prompt = text, .max_tokens = 5});
  runAll(engine, outcomes);
  Ids longer = text;
  longer.insert(longer.end(), outcomes[first].ids.begin(), outcomes[first].ids.end());
  longer.push_back(7);
  const Request next{.prompt = longer, .max_tokens = 5, .top_logits = 3};
  const uint64_t second = *engine.submit(next),
                 again = *engine.submit({.prompt = text, .max_tokens = 2});
  runAll(engine, outcomes);
  EXPECT_EQ(outcomes[second].stats.cached_tokens, 74);  // the last token chosen had no step
  EXPECT_EQ(outcomes[second].logits, f.alone(next)->top_logits);
  EXPECT_EQ(outcomes[again].stats.cached_tokens, 69);  // all but the last, whose logits it needs
}

// What a window has passed is given back: prompts longer than all its blocks still run side by
// side.
TEST(Engine, LongPromptsBehindAWindowRunAtOnce) {
  Fixture f({.threads = 1, .max_batch = 2}, [](schema::PlanT& p) {
    example::addWindow(p);
    p.model->max_seq_len = 2000;
  });
  Engine engine(*f.session, nullptr);
  std::mt19937 random(9);
  const Request a{.prompt = someTokens(1500, random), .max_tokens = 3, .top_logits = 1},
      b{.prompt = someTokens(1400, random), .max_tokens = 3, .top_logits = 1};
  const uint64_t first = *engine.submit(a), second = *engine.submit(b);
  std::vector<Event> events;
  engine.step(events);
  EXPECT_EQ(engine.stats().running, 2);
  Outcomes outcomes;
  runAll(engine, outcomes);
  EXPECT_EQ(outcomes[first].logits, f.alone(a)->top_logits);
  EXPECT_EQ(outcomes[second].logits, f.alone(b)->top_logits);
}

// What one computes is there for all that begin alike while it runs: none computes it again.
TEST(Engine, RequestsWithOneBeginningComputeItOnce) {
  for (const auto change : {plain, everyState}) {
    Fixture f({.threads = 1, .max_batch = 3, .prefill_chunk = 20}, change);
    Engine engine(*f.session, nullptr);
    std::mt19937 random(6);
    const Ids beginning = someTokens(140, random);
    std::map<uint64_t, Request> requests;
    for (int i = 0; i < 6; ++i) {
      Request r{.prompt = beginning, .max_tokens = 8, .top_logits = 2};
      const Ids own = someTokens(10 + i, random);
      if (i > 1) r.prompt.insert(r.prompt.end(), own.begin(), own.end());  // two are the same
      requests[*engine.submit(r)] = r;
    }
    Outcomes outcomes;
    runAll(engine, outcomes);
    for (const auto& [id, request] : requests) {
      SCOPED_TRACE(id);
      EXPECT_EQ(outcomes[id].logits, f.alone(request)->top_logits);
      if (id > 1) {
        EXPECT_GE(outcomes[id].stats.cached_tokens, 128);
      }
    }
    EXPECT_EQ(outcomes[1].stats.cached_tokens, 0);
  }
}

// A recurrent state goes back to where two texts were seen to part, also where neither ends.
TEST(Engine, AThirdTextSharesTheStateWhereTwoHavePartedWays) {
  Fixture f({.threads = 1, .max_batch = 2}, everyState);
  Engine engine(*f.session, nullptr);
  std::mt19937 random(8);
  const Ids beginning = someTokens(75, random);
  Outcomes outcomes;
  for (const int64_t cached : {0, 0, 75, 75}) {
    Request r{.prompt = beginning, .max_tokens = 4, .top_logits = 2};
    r.prompt.push_back(20 + static_cast<int32_t>(random() % 30));
    const Ids own = someTokens(30, random);
    r.prompt.insert(r.prompt.end(), own.begin(), own.end());
    const uint64_t id = *engine.submit(r);
    runAll(engine, outcomes);
    EXPECT_EQ(outcomes[id].stats.cached_tokens, cached);
    EXPECT_EQ(outcomes[id].logits, f.alone(r)->top_logits);
  }
}

// What was used last is kept longest.
TEST(Engine, TheTextsLongestUnusedMakeRoom) {
  Fixture f({.threads = 1, .max_batch = 1, .kv_tokens = 256}, plain);  // four blocks
  Engine engine(*f.session, nullptr);
  std::mt19937 random(5);
  const Ids a = someTokens(70, random), b = someTokens(70, random), c = someTokens(70, random);
  const auto cached = [&](const Ids& text) {
    Outcomes outcomes;
    const uint64_t id = *engine.submit({.prompt = text, .max_tokens = 1});
    runAll(engine, outcomes);
    return outcomes[id].stats.cached_tokens;
  };
  EXPECT_EQ(cached(a), 0);
  EXPECT_EQ(cached(b), 0);
  EXPECT_EQ(cached(a), 69);  // goes on in a copy of its last block: the end of b is gone
  EXPECT_EQ(cached(b), 64);
  EXPECT_EQ(cached(c), 0);
  EXPECT_EQ(cached(b), 69);
  EXPECT_EQ(cached(a), 0);
}

TEST(Engine, EndsAtDeadlines) {
  Fixture f({.threads = 1});
  Engine engine(*f.session, nullptr);
  const auto now = EngineClock::now();
  const uint64_t late = *engine.submit({.prompt = {1}, .deadline = now}),
                 early = *engine.submit(
                     {.prompt = {1}, .max_tokens = 3, .deadline = now + std::chrono::hours(1)});
  Outcomes outcomes;
  runAll(engine, outcomes);
  EXPECT_EQ(outcomes[late].reason, FinishReason::kDeadline);
  EXPECT_TRUE(outcomes[late].ids.empty());
  EXPECT_EQ(outcomes[early].reason, FinishReason::kLength);
  EXPECT_EQ(outcomes[early].ids.size(), 3u);
}

TEST(Engine, AllocatesNothingWhileItDecodes) {
  Fixture f({.threads = 1, .max_batch = 3});
  Engine engine(*f.session, nullptr);
  for (int i = 0; i < 3; ++i)
    ASSERT_TRUE(engine.submit({.prompt = Ids(50, 1), .max_tokens = 100}).ok());
  std::vector<Event> events;
  for (int i = 0; i < 5; ++i) engine.step(events);
  events.clear();
  example::startCountingAllocations();
  for (int i = 0; i < 90; ++i) {  // into two blocks more
    engine.step(events);
    events.clear();
  }
  EXPECT_EQ(example::stopCountingAllocations(), 0);
}

}  // namespace
}  // namespace llmrt
