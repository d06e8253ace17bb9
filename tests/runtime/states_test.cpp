// What sequences carry: windows whose blocks are given back change no number, recurrent states go
// on, back and away.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "runtime/chat/conversation.h"
#include "runtime/generate/generate.h"
#include "tests/runtime/example_plan.h"

namespace llmrt {
namespace {

using example::Model;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;

constexpr int kLong = 2000;  // a context of many blocks

Ids prompt(int n, int from = 3) {
  Ids tokens;
  for (int i = 0; i < n; ++i) tokens.push_back((i * 7 + from) % example::kVocab);
  return tokens;
}

std::vector<float> logitsOf(const Session& session, int64_t i = 0) {
  return {session.logits(i).begin(), session.logits(i).end()};
}
std::vector<float> logitsAfter(Session& session, const Ids& tokens, int seq = 0) {
  const Status s = session.prefill(seq, tokens);
  EXPECT_TRUE(s.ok()) << s.message();
  return logitsOf(session);
}

/// Two layers, the second with a window; its blocks are given back.
const auto kWindow = [](schema::PlanT& p) {
  p.model->max_seq_len = kLong;
  example::addWindow(p);
};
/// The same code, but every block is kept: what the other must compute.
const auto kKeepsAll = [](schema::PlanT& p) {
  kWindow(p);
  p.states[1]->window = 0;
};
const auto kRecurrent = [](schema::PlanT& p) { example::addRecurrent(p); };

TEST(Windows, GivingBlocksBackChangesNoLogit) {
  const Model model(kWindow), keeps_all(kKeepsAll);
  for (const int threads : {1, 3}) {
    const auto session = model.session({.threads = threads}), other = keeps_all.session();
    EXPECT_EQ(logitsAfter(*session, prompt(1000)), logitsAfter(*other, prompt(1000)));
    for (int i = 0; i < 300; ++i) {
      ASSERT_TRUE(session->decode(0, i % example::kVocab).ok());
      ASSERT_TRUE(other->decode(0, i % example::kVocab).ok());
      ASSERT_EQ(logitsOf(*session), logitsOf(*other)) << i;
    }
  }
}

TEST(Windows, MemoryFollowsThem) {
  const Model model(kWindow), keeps_all(kKeepsAll);
  const auto kvBytes = [](const Model& m, int64_t max_seq_len, int64_t batch = 1) {
    return Session::memory(*m.plan, {.max_seq_len = max_seq_len, .max_batch = batch})->kv_bytes;
  };
  constexpr uint64_t kBlock = 2 * example::kNumHeads * example::kHeadDim * 64 * 4;
  // The layer without a window has all 32 blocks of 2000 tokens, the other 1 + 3.
  EXPECT_EQ(kvBytes(keeps_all, kLong), 64 * kBlock);
  EXPECT_EQ(kvBytes(model, kLong), (32 + 4) * kBlock);
  EXPECT_EQ(kvBytes(model, kLong, 3), 3 * (32 + 4) * kBlock);
  EXPECT_EQ(kvBytes(model, 1000) - kvBytes(model, 500), 8 * kBlock);
}

// Sequences come and go, cut and fail, in batches: always what a fresh session makes of their
// tokens.
TEST(Windows, AnyMixOfSequencesComputesTheSame) {
  const auto refusing = [](schema::PlanT& p) {
    kWindow(p);
    example::addRefusing(p);
  };
  const Model model(refusing), keeps_all(kKeepsAll);
  const auto session = model.session({.threads = 2, .max_batch = 3}), fresh = keeps_all.session();
  std::mt19937 random(7);
  std::vector<Ids> texts(3);
  for (int turn = 0; turn < 120; ++turn) {
    const auto seq = static_cast<int32_t>(random() % 3);
    Ids& text = texts[static_cast<size_t>(seq)];
    const uint32_t what = random() % 8;
    if (what == 0) {
      session->reset(seq);
      text.clear();
    } else if (what == 1 && !text.empty()) {
      const int64_t to =
          static_cast<int64_t>(text.size() - random() % std::min<size_t>(text.size(), 150));
      const int64_t kept = session->truncate(seq, to);
      ASSERT_TRUE(kept == to || kept == 0);
      text.resize(static_cast<size_t>(kept));
    } else if (what == 2) {
      ASSERT_FALSE(session->decode(seq, 13).ok());
    } else if (what == 3) {
      std::vector<StepToken> step;
      for (int32_t s = 0; s < 3; ++s) step.push_back({s, 5 + s, true});
      ASSERT_TRUE(session->step(step).ok());
      for (int32_t s = 0; s < 3; ++s) texts[static_cast<size_t>(s)].push_back(5 + s);
    } else {
      Ids more = prompt(1 + static_cast<int>(random() % 90), static_cast<int>(random() % 50));
      std::replace(more.begin(), more.end(), 13, 14);
      if (text.size() + more.size() > kLong - 100) continue;
      text.insert(text.end(), more.begin(), more.end());
      ASSERT_TRUE(session->prefill(seq, more).ok());
      fresh->reset(0);
      ASSERT_EQ(logitsOf(*session), logitsAfter(*fresh, text)) << "turn " << turn;
    }
    ASSERT_EQ(session->kvLen(seq), static_cast<int64_t>(text.size()));
  }
}

TEST(Windows, TruncatingGoesBackAsFarAsBlocksAreThere) {
  const Model model(kWindow);
  const auto session = model.session(), other = model.session();
  const Ids tokens = prompt(1000);
  for (const int64_t back : {1, 30, 64}) {
    session->reset(0);
    ASSERT_TRUE(session->prefill(0, tokens).ok());
    ASSERT_EQ(session->truncate(0, 1000 - back), 1000 - back);
    const auto kept = std::span(tokens).first(static_cast<size_t>(1000 - back));
    other->reset(0);
    ASSERT_TRUE(other->prefill(0, kept).ok());
    ASSERT_TRUE(session->decode(0, 9).ok() && other->decode(0, 9).ok());
    EXPECT_EQ(logitsOf(*session), logitsOf(*other));
  }
  session->reset(0);
  ASSERT_TRUE(session->prefill(0, tokens).ok());
  EXPECT_EQ(session->truncate(0, 400), 0);
  EXPECT_EQ(session->kvLen(0), 0);
}

// Within the toy's alphabet.
constexpr char kTemplate[] =
    "{% for m in messages %}{{ m.role[0] }} {{ m.content }}!{% endfor %}a ";

// A chat that has left its beginning behind: what the next turn shares with the cache is used where
// it is still there, and the answers are the same.
TEST(Windows, AConversationBehindAWindowSaysTheSame) {
  const Model model(kWindow), keeps_all(kKeepsAll);
  const Tokenizer tokenizer = *Tokenizer::create(model.plan->schema().tokenizer());
  const auto chat_template = *jinja::Template::parse(kTemplate, "t");
  const auto session = model.session(), other = keeps_all.session();
  Conversation chat(*session, tokenizer, chat_template, "be kind");
  Conversation right(*other, tokenizer, chat_template, "be kind");
  const auto ask = [](Conversation& c, const std::string& text) {
    auto answer = c.answer(text, {.max_tokens = 120});
    EXPECT_TRUE(answer.ok()) << answer.status().message();
    return *std::move(answer);
  };
  for (int turn = 0; turn < 4; ++turn) {
    const auto a = ask(chat, "and then what"), b = ask(right, "and then what");
    EXPECT_EQ(a.result.text, b.result.text);
    EXPECT_EQ(a.result.cached_tokens, b.result.cached_tokens) << "nothing was taken back";
  }
  // The same conversation with its last turn anew: that goes back behind the window.
  std::vector<ChatMessage> messages = chat.messages();
  messages.resize(messages.size() - 2);
  chat.setMessages(messages);
  right.setMessages(messages);
  const auto a = ask(chat, "or else"), b = ask(right, "or else");
  EXPECT_EQ(a.result.text, b.result.text);
  EXPECT_GT(b.result.cached_tokens, 100);
  EXPECT_EQ(a.result.cached_tokens + a.result.prompt_tokens,
            static_cast<int64_t>(a.prompt_ids.size()));
  // And from there on as ever.
  const auto next = ask(chat, "more"), right_next = ask(right, "more");
  EXPECT_EQ(next.result.text, right_next.result.text);
  EXPECT_EQ(next.result.cached_tokens, right_next.result.cached_tokens);
}

TEST(Recurrent, SequencesHaveEachTheirOwn) {
  const Model model(kRecurrent), plain;
  const auto session = model.session({.threads = 2, .max_batch = 3});
  const Ids a = prompt(70), b = prompt(30, 11);
  const std::vector<float> want_a = logitsAfter(*model.session(), a),
                           want_b = logitsAfter(*model.session(), b);
  EXPECT_NE(want_a, logitsAfter(*plain.session(), a)) << "the state changes nothing";
  EXPECT_EQ(logitsAfter(*session, a, 2), want_a);
  EXPECT_EQ(logitsAfter(*session, b, 0), want_b);
  for (const int64_t chunk : {1, 5, 23})
    EXPECT_EQ(logitsAfter(*model.session({.threads = 1, .prefill_chunk = chunk}), a), want_a);
  // Zero before the first token, whoever had the slot.
  session->reset(2);
  EXPECT_EQ(logitsAfter(*session, b, 2), want_b);
}

TEST(Recurrent, MemoryIsASlotForEachSequence) {
  const Model model(kRecurrent);
  EXPECT_EQ(Session::memory(*model.plan, {.max_batch = 3})->recurrent_bytes, 3 * 32 * 4u);
  EXPECT_EQ(Session::memory(*Model().plan, {})->recurrent_bytes, 0u);
}

TEST(Recurrent, CannotBeTruncated) {
  const Model model(kRecurrent);
  const auto session = model.session();
  const std::vector<float> want = logitsAfter(*session, prompt(30));
  EXPECT_EQ(session->truncate(0, 30), 30);
  EXPECT_EQ(session->truncate(0, 29), 0);
  EXPECT_EQ(session->kvLen(0), 0);
  EXPECT_EQ(logitsAfter(*session, prompt(30)), want);
}

TEST(Recurrent, SnapshotsGoBack) {
  const Model model(kRecurrent);
  const auto session = model.session({.threads = 1, .max_batch = 2});
  const Ids begin = prompt(70), more = prompt(80, 20);
  ASSERT_TRUE(session->prefill(0, begin).ok());
  const auto snapshot = session->snapshot(0);
  ASSERT_TRUE(snapshot.ok());
  const std::vector<float> want = logitsAfter(*session, more);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(session->restore(*snapshot).ok());
    EXPECT_EQ(session->kvLen(0), 70);
    EXPECT_EQ(logitsAfter(*session, more), want);
  }
  // Of a sequence without tokens, too.
  const auto empty = session->snapshot(1);
  ASSERT_TRUE(session->prefill(1, begin).ok());
  ASSERT_TRUE(session->restore(*empty).ok());
  ASSERT_TRUE(session->prefill(1, begin).ok());
  EXPECT_EQ(logitsAfter(*session, more, 1), want);
}

TEST(Recurrent, SnapshotsOfWhatIsGoneAreRefused) {
  const Model model(kRecurrent);
  const auto session = model.session();
  ASSERT_TRUE(session->prefill(0, prompt(20)).ok());
  const auto early = session->snapshot(0);
  ASSERT_TRUE(session->prefill(0, prompt(20)).ok());
  const auto late = session->snapshot(0);
  ASSERT_TRUE(session->restore(*early).ok());
  EXPECT_THAT(session->restore(*late).message(),
              HasSubstr("sequence 0 no longer has the 40 tokens of snapshot 1"));
  EXPECT_EQ(session->kvLen(0), 20);
  session->reset(0);
  ASSERT_TRUE(session->prefill(0, prompt(50)).ok());
  EXPECT_FALSE(session->restore(*early).ok());
  EXPECT_EQ(session->kvLen(0), 50);
  session->dropSnapshot(*early);
  EXPECT_THAT(session->restore(*early).message(), HasSubstr("no snapshot 0"));
  EXPECT_FALSE(session->snapshot(1).ok());
}

TEST(Recurrent, SnapshotsBehindAWindowAreRefused) {
  const Model model([](schema::PlanT& p) {
    kWindow(p);
    example::addRecurrent(p);
  });
  const auto session = model.session();
  ASSERT_TRUE(session->prefill(0, prompt(500)).ok());
  const auto snapshot = session->snapshot(0);
  ASSERT_TRUE(session->prefill(0, prompt(20)).ok());
  ASSERT_TRUE(session->restore(*snapshot).ok());
  ASSERT_TRUE(session->prefill(0, prompt(500)).ok());
  EXPECT_FALSE(session->restore(*snapshot).ok());
  EXPECT_EQ(session->kvLen(0), 1000);
}

// A recurrent state has gone on by the time a step fails.
TEST(Recurrent, AFailedStepResetsItsSequencesAlone) {
  const Model model([](schema::PlanT& p) {
    example::addRecurrent(p);
    example::addRefusing(p);
  });
  const auto session = model.session({.threads = 1, .max_batch = 2});
  const Ids a = {1, 2, 3}, b = {4, 5};
  const std::vector<float> want = logitsAfter(*model.session(), a);
  ASSERT_TRUE(session->prefill(0, a).ok());
  ASSERT_TRUE(session->prefill(1, b).ok());
  EXPECT_FALSE(session->decode(0, 13).ok());
  EXPECT_EQ(session->kvLen(0), 0);
  EXPECT_EQ(session->kvLen(1), 2);
  EXPECT_EQ(logitsAfter(*session, a), want);
}

// An answer that is asked for again begins before what the state knows.
TEST(Recurrent, AConversationSaysTheSame) {
  const Model model(kRecurrent);
  const Tokenizer tokenizer = *Tokenizer::create(model.plan->schema().tokenizer());
  const auto chat_template = *jinja::Template::parse(kTemplate, "t");
  const auto session = model.session(), fresh = model.session();
  Conversation chat(*session, tokenizer, chat_template, "");
  for (int turn = 0; turn < 3; ++turn) {
    const auto answer = chat.answer("hello", {.max_tokens = 10});
    ASSERT_TRUE(answer.ok()) << answer.status().message();
    fresh->reset(0);
    EXPECT_EQ(answer->result.ids,
              generate(*fresh, &tokenizer, answer->prompt_ids, {.max_tokens = 10})->ids);
    if (turn == 1) chat.reset();
  }
}

}  // namespace
}  // namespace llmrt
