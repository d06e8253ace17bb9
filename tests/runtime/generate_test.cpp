// Generation: what ends a text, what is shown when, and perplexity.
#include "runtime/generate/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "runtime/engine/stop_strings.h"
#include "runtime/generate/perplexity.h"
#include "runtime/schema/plan_generated.h"
#include "tests/runtime/example_plan.h"
#include "tests/text/tiny_tokenizer.h"

namespace llmrt {
namespace {

using example::Model;

TEST(StopStrings, AreFoundAcrossPieces) {
  StopStrings stops({"</end>", "xyz"});
  EXPECT_EQ(stops.push("ab<"), "ab");
  EXPECT_EQ(stops.push("/e"), "");
  EXPECT_EQ(stops.push("lse </en"), "</else ");
  EXPECT_FALSE(stops.stopped());
  EXPECT_EQ(stops.push("d> more"), "");
  EXPECT_TRUE(stops.stopped());
  EXPECT_EQ(stops.push("more"), "");
  EXPECT_EQ(stops.finish(), "");
}

TEST(StopStrings, HoldBackOnlyWhatMayBegin) {
  StopStrings stops({"aab"});
  EXPECT_EQ(stops.push("aaa"), "a");
  EXPECT_EQ(stops.push("a"), "a");
  EXPECT_EQ(stops.finish(), "aa");
  StopStrings none({""});
  EXPECT_EQ(none.push("abc"), "abc");
}

TEST(StopStrings, TheFirstInTheTextWins) {
  StopStrings stops({"late", "early"});
  EXPECT_EQ(stops.push("so early, not late"), "so ");
}

// A special token is no text, but a stop string may name it.
TEST(StopStrings, AreFoundInHiddenTextToo) {
  StopStrings stops({"<|end|>", "a<|x|>b", "cd"});
  EXPECT_EQ(stops.push("hello"), "hello");
  EXPECT_EQ(stops.pushHidden("<|x|>"), "");
  EXPECT_EQ(stops.push("yes a"), "yes ");
  EXPECT_EQ(stops.pushHidden("<|x|>"), "");
  EXPECT_EQ(stops.push("c"), "a");
  EXPECT_EQ(stops.pushHidden("<|"), "") << "what is shown alone may still become cd";
  StopStrings shown = stops;
  EXPECT_EQ(stops.pushHidden("end|>"), "c");
  EXPECT_TRUE(stops.stopped());
  EXPECT_EQ(stops.finish(), "");
  EXPECT_EQ(shown.push("d"), "");
  EXPECT_TRUE(shown.stopped());
}

TEST(StopStrings, HiddenTextIsNeverShown) {
  StopStrings stops({"<|x|>y"});
  EXPECT_EQ(stops.push("a"), "a");
  EXPECT_EQ(stops.pushHidden("<|x|>"), "");
  EXPECT_EQ(stops.finish(), "");
  StopStrings none({});
  EXPECT_EQ(none.pushHidden("a"), "");
  EXPECT_EQ(none.push("b"), "b");
}

// A model may say nothing else to its end.
TEST(StopStrings, AnyNumberOfHiddenTokensIsCheap) {
  StopStrings stops({"<|x|>"});
  EXPECT_EQ(stops.push("a<"), "a");
  for (int i = 0; i < 1'000'000; ++i) ASSERT_EQ(stops.pushHidden("<|pad|>"), "");
  EXPECT_EQ(stops.push("|x|"), "");
  EXPECT_EQ(stops.push("> b"), "");
  EXPECT_TRUE(stops.stopped());
}

struct Fixture {
  explicit Fixture(const std::function<void(schema::PlanT&)>& change = {}) : model(change) {}

  Model model;
  std::unique_ptr<Session> session = model.session();
  Tokenizer tokenizer = *Tokenizer::create(model.plan->schema().tokenizer());

  GenerateResult operator()(GenerateOptions options, std::vector<int32_t> prompt = {0, 2, 3, 4}) {
    session->reset(0);
    Result<GenerateResult> r = generate(*session, &tokenizer, prompt, options);
    EXPECT_TRUE(r.ok()) << r.status().message();
    return r.ok() ? *std::move(r) : GenerateResult();
  }
};

TEST(Generate, GivesTheGreedyTokensThatStepsGive) {
  Fixture run;
  const GenerateResult r = run({.max_tokens = 12, .top_logits = 3});
  ASSERT_EQ(r.ids.size(), 12u);
  EXPECT_EQ(r.finish_reason, FinishReason::kLength);
  EXPECT_EQ(r.text, run.tokenizer.decode(r.ids));
  EXPECT_EQ(r.decode_steps, 11);
  run.session->reset(0);
  ASSERT_TRUE(run.session->prefill(0, std::vector<int32_t>{0, 2, 3, 4}).ok());
  for (size_t i = 0; i < r.ids.size(); ++i) {
    const auto logits = run.session->logits();
    EXPECT_EQ(r.ids[i], std::max_element(logits.begin(), logits.end()) - logits.begin());
    ASSERT_EQ(r.top_logits[i].size(), 3u);
    EXPECT_EQ(r.top_logits[i][0].first, r.ids[i]);
    EXPECT_EQ(r.top_logits[i][0].second, logits[static_cast<size_t>(r.ids[i])]);
    EXPECT_GE(r.top_logits[i][1].second, r.top_logits[i][2].second);
    ASSERT_TRUE(run.session->decode(0, r.ids[i]).ok());
  }
}

TEST(Generate, EndsAtEosWhichIsNoText) {
  Fixture run;
  const GenerateResult free = run({.max_tokens = 8});
  const int32_t eos = free.ids[5];
  const GenerateResult r = run({.max_tokens = 8, .eos_ids = {eos}});
  EXPECT_EQ(r.finish_reason, FinishReason::kEos);
  EXPECT_EQ(r.ids.back(), eos);
  EXPECT_EQ(r.text, run.tokenizer.decode(std::vector<int32_t>(r.ids.begin(), r.ids.end() - 1)));
}

TEST(Generate, EndsAtAStopStringAndStreamsTheSameText) {
  Fixture run;
  const GenerateResult free = run({.max_tokens = 20});
  ASSERT_GE(free.text.size(), 10u);
  const std::string stop = free.text.substr(5, 3);
  std::string streamed;
  const GenerateResult r =
      run({.max_tokens = 20, .stops = {stop}, .on_text = [&](std::string_view text) {
             streamed += text;
           }});
  EXPECT_EQ(r.finish_reason, FinishReason::kStop);
  EXPECT_EQ(r.text, free.text.substr(0, free.text.find(stop)));
  EXPECT_EQ(streamed, r.text);
}

TEST(Generate, EndsWhenTheContextIsFull) {
  Fixture run;
  run.session = run.model.session({.threads = 1, .max_seq_len = 10});
  const GenerateResult r = run({.max_tokens = 100});
  EXPECT_EQ(r.finish_reason, FinishReason::kLength);
  EXPECT_EQ(r.ids.size(), 7u);  // 4 + 6 tokens in the cache, and one that needs no place there
}

// In Llama 2's vocabulary a line's end is a byte, which a decoder holds back: more may follow.
TEST(Generate, NoByteOfThePromptIsText) {
  Fixture run([](schema::PlanT& p) {
    p.tokenizer = std::make_unique<schema::TokenizerT>(testing::sentencePieceTable());
  });
  const std::vector<int32_t> prompt = {'#', '\n'};
  EXPECT_EQ(run({.max_tokens = 0}, prompt).text, "");
  const GenerateResult r = run({.max_tokens = 5, .stops = {"\n"}}, prompt);
  EXPECT_EQ(r.finish_reason, FinishReason::kLength);
  std::vector<int32_t> all = prompt;
  all.insert(all.end(), r.ids.begin(), r.ids.end());
  EXPECT_EQ("#\n" + r.text, run.tokenizer.decode(all));
}

TEST(Generate, EndsAtASpecialTokenThatAStopTextNames) {
  const GenerateResult free = Fixture()({.max_tokens = 8});
  size_t at = 3;
  while (std::find(free.ids.begin(), free.ids.begin() + static_cast<ptrdiff_t>(at), free.ids[at]) !=
         free.ids.begin() + static_cast<ptrdiff_t>(at))
    ++at;
  Fixture run(
      [&](schema::PlanT& p) { p.tokenizer->token_flags[static_cast<size_t>(free.ids[at])] = 1; });
  const std::string stop(run.tokenizer.piece(free.ids[at]));
  const GenerateResult r = run({.max_tokens = 8, .stops = {stop}});
  EXPECT_EQ(r.finish_reason, FinishReason::kStop);
  EXPECT_EQ(r.ids, std::vector<int32_t>(free.ids.begin(),
                                        free.ids.begin() + static_cast<ptrdiff_t>(at) + 1));
  EXPECT_EQ(r.text, run.tokenizer.decode(r.ids));
}

TEST(Generate, ItsOwnTextHasNoSpaceOfAContinuation) {
  Fixture run([](schema::PlanT& p) {
    p.tokenizer->decoder.clear();  // tokens are joined by spaces
  });
  const GenerateResult continued = run({.max_tokens = 3}),
                       own = run({.max_tokens = 3, .own_text = true});
  EXPECT_EQ(continued.text, " " + own.text);
  EXPECT_EQ(own.text, run.tokenizer.decode(own.ids));
}

TEST(Generate, NoTokensWantedNoneMade) { EXPECT_TRUE(Fixture()({.max_tokens = 0}).ids.empty()); }

TEST(Generate, StopsWhenCancelled) {
  Fixture run;
  std::atomic<bool> cancel{false};
  int shown = 0;
  const GenerateResult r =
      run({.max_tokens = 50, .cancel = &cancel, .on_text = [&](std::string_view) {
             if (++shown == 3) cancel = true;
           }});
  EXPECT_EQ(r.finish_reason, FinishReason::kCancelled);
  EXPECT_EQ(shown, 3);
  EXPECT_LT(r.ids.size(), 50u);
}

TEST(Generate, SameSeedSameText) {
  Fixture run;
  const auto text = [&](uint64_t seed) {
    return run({.max_tokens = 30, .sampler = {.temperature = 1, .seed = seed}}).text;
  };
  EXPECT_EQ(text(5), text(5));
  EXPECT_NE(text(5), text(6));
}

TEST(Generate, DefaultsComeFromThePlan) {
  const Model greedy;
  EXPECT_EQ(defaultSamplerOptions(*greedy.plan).temperature, 0);
  EXPECT_TRUE(defaultEosIds(*greedy.plan, nullptr).empty());
  const Tokenizer tokenizer = *Tokenizer::create(greedy.plan->schema().tokenizer());
  EXPECT_EQ(defaultEosIds(*greedy.plan, &tokenizer), std::vector<int32_t>{1});
  const Model sampling([](schema::PlanT& p) {
    p.generation = std::make_unique<schema::GenerationT>();
    p.generation->do_sample = true;
    p.generation->temperature = 0.6f;
    p.generation->top_k = 40;
    p.generation->top_p = 0.9f;
    p.generation->eos_token_ids = {7, 8};
  });
  const SamplerOptions o = defaultSamplerOptions(*sampling.plan);
  EXPECT_EQ(o.temperature, 0.6f);
  EXPECT_EQ(o.top_k, 40);
  EXPECT_EQ(o.top_p, 0.9f);
  EXPECT_EQ(defaultEosIds(*sampling.plan, &tokenizer), (std::vector<int32_t>{7, 8}));
  EXPECT_TRUE(defaultStops(*sampling.plan).empty());
}

TEST(Generate, EverythingThatThePlanRecommendsIsTaken) {
  const Model model([](schema::PlanT& p) {
    p.generation = std::make_unique<schema::GenerationT>();
    p.generation->do_sample = true;
    p.generation->min_p = 0.1f;
    p.generation->repetition_penalty = 1.1f;
    p.generation->no_repeat_ngram_size = 4;
    p.generation->suppress_tokens = {5};
    p.generation->begin_suppress_tokens = {6, 7};
    p.generation->bad_words.push_back(std::make_unique<schema::TokenSequenceT>());
    p.generation->bad_words[0]->ids = {8, 9};
    p.generation->stop_strings = {"a", "b"};
  });
  const SamplerOptions o = defaultSamplerOptions(*model.plan);
  EXPECT_EQ(o.temperature, 1);
  EXPECT_EQ(o.min_p, 0.1f);
  EXPECT_EQ(o.repetition_penalty, 1.1f);
  EXPECT_EQ(o.bans.no_repeat_ngram_size, 4);
  EXPECT_EQ(o.bans.suppress_tokens, (std::vector<int32_t>{5}));
  EXPECT_EQ(o.bans.begin_suppress_tokens, (std::vector<int32_t>{6, 7}));
  EXPECT_EQ(o.bans.bad_words, (std::vector<std::vector<int32_t>>{{8, 9}}));
  EXPECT_EQ(defaultStops(*model.plan), (std::vector<std::string>{"a", "b"}));
}

TEST(Generate, AChatIsSampledUnlessTheModelSaysOtherwise) {
  const auto temperatures = [](const std::function<void(schema::GenerationT&)>& change) {
    const Model model([&](schema::PlanT& p) {
      if (!change) return;
      p.generation = std::make_unique<schema::GenerationT>();
      change(*p.generation);
    });
    return std::pair(defaultSamplerOptions(*model.plan).temperature,
                     chatSamplerOptions(*model.plan).temperature);
  };
  using Pair = std::pair<float, float>;
  EXPECT_EQ(temperatures({}), Pair(0, 0.7f));
  EXPECT_EQ(temperatures([](schema::GenerationT&) {}), Pair(0, 0.7f));
  EXPECT_EQ(temperatures([](schema::GenerationT& g) { g.chat_temperature = 0; }), Pair(0, 0));
  EXPECT_EQ(temperatures([](schema::GenerationT& g) {
              g.do_sample = true;
              g.temperature = 0.3f;
            }),
            Pair(0.3f, 0.3f));
}

TEST(Perplexity, IsTheMeanOverDisjointWindows) {
  Fixture run;
  run.session = run.model.session({.threads = 1, .max_seq_len = 30});
  std::vector<int32_t> ids;
  for (int i = 0; i < 70; ++i) ids.push_back(i * 11 % example::kVocab);
  Result<Perplexity> r = measurePerplexity(*run.session, ids);
  ASSERT_TRUE(r.ok()) << r.status().message();
  EXPECT_EQ(r->tokens, 29 + 29 + 9);

  double sum = 0;
  for (size_t begin : {0, 30, 60}) {
    run.session->reset(0);
    for (size_t i = begin; i + 1 < std::min<size_t>(begin + 30, 70); ++i) {
      ASSERT_TRUE(run.session->decode(0, ids[i]).ok());
      double total = 0;
      for (float logit : run.session->logits()) total += std::exp(double{logit});
      sum += std::log(total) - run.session->logits()[static_cast<size_t>(ids[i + 1])];
    }
  }
  EXPECT_NEAR(r->nll_mean, sum / 67, 1e-12);
  EXPECT_NEAR(r->ppl, std::exp(sum / 67), 1e-9);
  EXPECT_FALSE(measurePerplexity(*run.session, std::vector<int32_t>{1}).ok());
}

TEST(Generate, StopsWithAnErrorAtLogitsThatAreNotFinite) {
  Fixture run;
  const GenerateResult good = run({.max_tokens = 3});
  // From the second step on: the first token generated has no embedding.
  auto* const embedding =
      const_cast<float*>(reinterpret_cast<const float*>(run.model.weights->data(0, 0)));
  embedding[good.ids[0] * example::kHidden] = std::nanf("");
  run.session->reset(0);
  const Status s =
      generate(*run.session, &run.tokenizer, std::vector<int32_t>{0, 2, 3, 4}, {.max_tokens = 3})
          .status();
  EXPECT_EQ(s.code(), StatusCode::kInvalidData);
  EXPECT_THAT(s.message(), ::testing::HasSubstr("not finite"));
}

TEST(Perplexity, OfLogitsThatAreNotFiniteIsAnError) {
  Fixture run;
  auto* const embedding =
      const_cast<float*>(reinterpret_cast<const float*>(run.model.weights->data(0, 0)));
  embedding[33 * example::kHidden] = std::nanf("");
  const std::vector<int32_t> ids = {1, 2, 3, 33, 4, 5};
  EXPECT_THAT(measurePerplexity(*run.session, ids).status().message(),
              ::testing::HasSubstr("not finite"));
}

// Against itself nothing is lost; against another model as much as plain sums say.
TEST(Perplexity, DivergesFromABaseByTheirDistributions) {
  const Model model;
  const auto session = model.session({.threads = 1}), same = model.session({.threads = 2});
  const std::vector<int32_t> ids = {3, 14, 15, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3};
  const Result<Divergence> none = measureDivergence(*session, *same, ids);
  ASSERT_TRUE(none.ok()) << none.status().message();
  EXPECT_EQ(none->kl_mean, 0);
  EXPECT_EQ(none->kl_p99, 0);
  EXPECT_EQ(none->same_top, 1);
  EXPECT_EQ(none->perplexity.nll_mean, measurePerplexity(*session, ids)->nll_mean);
  EXPECT_EQ(none->base.tokens, static_cast<int64_t>(ids.size()) - 1);

  const Model other([](schema::PlanT& p) { example::addWindow(p); });
  const auto a = other.session({.threads = 1});
  std::vector<int32_t> longer;
  for (int32_t i = 0; i < 150; ++i) longer.push_back((7 * i + i / 9) % example::kVocab);
  const Result<Divergence> got = measureDivergence(*a, *session, longer);
  ASSERT_TRUE(got.ok()) << got.status().message();
  std::vector<double> divergences;
  int same_top = 0;
  for (size_t i = 0; i + 1 < longer.size(); ++i) {
    ASSERT_TRUE(a->decode(0, longer[i]).ok() && session->decode(0, longer[i]).ok());
    const auto shares = [](std::span<const float> logits) {
      std::vector<double> p;
      double sum = 0;
      for (const float logit : logits) sum += p.emplace_back(std::exp(double{logit}));
      for (double& v : p) v /= sum;
      return p;
    };
    const std::vector<double> p = shares(session->logits()), q = shares(a->logits());
    double& divergence = divergences.emplace_back();
    for (size_t v = 0; v < p.size(); ++v) divergence += p[v] * std::log(p[v] / q[v]);
    same_top += std::ranges::max_element(p) - p.begin() == std::ranges::max_element(q) - q.begin();
  }
  double sum = 0;
  for (const double d : divergences) sum += d;
  const auto count = static_cast<double>(divergences.size());
  std::ranges::sort(divergences);
  EXPECT_GT(sum, 0);
  EXPECT_NEAR(got->kl_mean, sum / count, 1e-9);
  EXPECT_NEAR(got->kl_p99, divergences[147], 1e-9);  // of 149
  EXPECT_EQ(got->same_top, same_top / count);
}

TEST(Perplexity, NeedsAContextOfTwoTokens) {
  Fixture run;
  run.session = run.model.session({.threads = 1, .max_seq_len = 1});
  const Status s = measurePerplexity(*run.session, std::vector<int32_t>{1, 2, 3}).status();
  EXPECT_EQ(s.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(s.message(), ::testing::HasSubstr("`max_seq_len`"));
}

}  // namespace
}  // namespace llmrt
