// Sampler: the meaning of each option, and that a seed is a text.
#include "runtime/sampling/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "runtime/abi/sampling.h"
#include "tests/runtime/allocation_counter.h"

namespace llmrt {
namespace {

using testing::HasSubstr;

Sampler sampler(SamplerOptions options, int64_t vocab = 4) {
  Result<Sampler> s = Sampler::create(vocab, options);
  EXPECT_TRUE(s.ok()) << s.status().message();
  return *std::move(s);
}

std::map<int32_t, int> draw(SamplerOptions options, const std::vector<float>& logits, int count) {
  Sampler s = sampler(options, static_cast<int64_t>(logits.size()));
  std::map<int32_t, int> drawn;
  for (int i = 0; i < count; ++i) {
    const int32_t token = s.sample(logits);
    ++drawn[token];
    s.accept(token);
  }
  return drawn;
}

std::set<int32_t> reachable(SamplerOptions options, const std::vector<float>& logits) {
  std::set<int32_t> ids;
  for (const auto& [id, n] : draw(options, logits, 2000)) ids.insert(id);
  return ids;
}

std::vector<float> logs(std::vector<float> probabilities) {
  for (float& p : probabilities) p = std::log(p);
  return probabilities;
}

TEST(Sampler, GreedyTakesTheLargestAndTheFirstOfEquals) {
  EXPECT_EQ(sampler({}).sample(std::vector<float>{1, 3, 3, 2}), 1);
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  for (const float penalty : {1.0f, 1.5f}) {  // the plain search, and the one that knows penalties
    const SamplerOptions options{.repetition_penalty = penalty};
    EXPECT_EQ(sampler(options).sample(std::vector<float>{nan, -5, nan, -7}), 1);
    EXPECT_EQ(sampler(options).sample(std::vector<float>{nan, -inf, -inf, nan}), 1);
    EXPECT_EQ(sampler(options).sample(std::vector<float>(4, nan)), 0);
    EXPECT_EQ(sampler(options).sample(std::vector<float>{-1, inf, inf, nan}), 1);
    EXPECT_EQ(sampler(options).sample(std::vector<float>{-0.0f, 0.0f, -1, -1}), 0);
  }
}

TEST(Sampler, DrawsInProportion) {
  constexpr int kDraws = 20000;
  const auto drawn = draw({.temperature = 1, .seed = 1}, logs({0.5f, 0.3f, 0.15f, 0.05f}), kDraws);
  const double expected[] = {0.5, 0.3, 0.15, 0.05};
  for (int id = 0; id < 4; ++id) {
    const double p = expected[id];  // five standard deviations of a binomial
    EXPECT_NEAR(drawn.at(id), kDraws * p, 5 * std::sqrt(kDraws * p * (1 - p))) << id;
  }
}

TEST(Sampler, TemperatureDividesLogits) {
  constexpr int kDraws = 20000;
  // p^2, normalised: 0.8 and 0.2 of odds 2 : 1.
  const auto drawn = draw({.temperature = 0.5f, .seed = 2}, {std::log(2.0f), 0}, kDraws);
  EXPECT_NEAR(drawn.at(0), kDraws * 0.8, 5 * std::sqrt(kDraws * 0.16));
}

TEST(Sampler, TopKKeepsTheLargestAndTies) {
  using Set = std::set<int32_t>;
  EXPECT_EQ(reachable({.temperature = 1, .top_k = 2}, {1, 0, 2, 1.5f}), (Set{2, 3}));
  EXPECT_EQ(reachable({.temperature = 1, .top_k = 2}, {1, 0, 2, 1}), (Set{0, 2, 3}));
  EXPECT_EQ(reachable({.temperature = 1, .top_k = 100}, {1, 0, 2, 1}), (Set{0, 1, 2, 3}));
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  using Set = std::set<int32_t>;
  const std::vector<float> logits = logs({0.15f, 0.5f, 0.05f, 0.3f});
  EXPECT_EQ(reachable({.temperature = 1, .top_p = 0.4f}, logits), (Set{1}));
  EXPECT_EQ(reachable({.temperature = 1, .top_p = 0.6f}, logits), (Set{1, 3}));
  EXPECT_EQ(reachable({.temperature = 1, .top_p = 0.9f}, logits), (Set{0, 1, 3}));
  EXPECT_EQ(reachable({.temperature = 1, .top_p = 1e-6f}, logits), (Set{1}));
  // After top-k: of the two kept, the first alone has 0.625.
  EXPECT_EQ(reachable({.temperature = 1, .top_k = 2, .top_p = 0.6f}, logits), (Set{1}));
}

TEST(Sampler, TopPWorksOnVocabulariesLargerThanOneSort) {
  // 1000 equal tokens: exactly the first half of them.
  const auto ids = draw({.temperature = 1, .top_p = 0.4995f}, std::vector<float>(1000, 0), 20000);
  EXPECT_EQ(ids.rbegin()->first, 499);
  EXPECT_GT(ids.size(), 490u);
}

TEST(Sampler, MinPDropsTokensFarBelowTheBest) {
  using Set = std::set<int32_t>;
  const std::vector<float> logits = logs({0.15f, 0.5f, 0.05f, 0.3f});
  EXPECT_EQ(reachable({.temperature = 1, .min_p = 0.29f}, logits), (Set{0, 1, 3}));
  EXPECT_EQ(reachable({.temperature = 1, .min_p = 0.31f}, logits), (Set{1, 3}));
  EXPECT_EQ(reachable({.temperature = 1, .min_p = 1}, logits), (Set{1}));
}

TEST(Sampler, RepetitionPenaltyDividesPositiveAndMultipliesNegativeLogits) {
  Sampler s = sampler({.repetition_penalty = 2}, 3);
  s.accept(0);
  EXPECT_EQ(s.sample(std::vector<float>{3, 2, 0}), 1);  // 1.5 < 2
  EXPECT_EQ(s.sample(std::vector<float>{5, 2, 0}), 0);
  EXPECT_EQ(s.sample(std::vector<float>{-1, -1.5f, -9}), 1);  // -2 < -1.5
  s.accept(0);                                                // once is enough
  EXPECT_EQ(s.sample(std::vector<float>{5, 2, 0}), 0);
}

TEST(Sampler, PresenceAndFrequencyPenaltiesCountWhatWasGenerated) {
  const std::vector<float> logits = {3, 2.5f, 0};
  Sampler presence = sampler({.presence_penalty = 1}, 3);
  presence.accept(0);  // of the prompt
  EXPECT_EQ(presence.sample(logits), 0);
  presence.accept(0);
  EXPECT_EQ(presence.sample(logits), 1);  // 2 < 2.5
  presence.accept(1);
  presence.accept(0);
  EXPECT_EQ(presence.sample(logits), 0) << "once is enough: 2 > 1.5";
  Sampler frequency = sampler({.frequency_penalty = 0.4f}, 3);
  for (const int32_t want : {0, 0, 1, 0, 1}) {  // 3 2.5, 2.6 2.5, 2.2 2.5, 2.2 2.1, 1.8 2.1
    const int32_t got = frequency.sample(logits);
    EXPECT_EQ(got, want);
    frequency.accept(got);
  }
  Sampler encourages = sampler({.presence_penalty = -1}, 3);
  (void)encourages.sample(logits);
  encourages.accept(1);
  EXPECT_EQ(encourages.sample(logits), 1);
}

TEST(Sampler, ABiasIsAddedToALogit) {
  const std::vector<float> logits = {3, 2.5f, 0};
  EXPECT_EQ(sampler({.logit_bias = {{2, 100}}}, 3).sample(logits), 2);
  EXPECT_EQ(sampler({.logit_bias = {{0, -100}, {1, -100}}}, 3).sample(logits), 2);
  EXPECT_EQ(reachable({.logit_bias = {{0, -100}}, .temperature = 1},
                      std::vector<float>{3, 2.5f, 2.4f, 2.4f}),
            (std::set<int32_t>{1, 2, 3}));
  EXPECT_FALSE(sampler({.logit_bias = {{2, 1}}}, 3).choosableElsewhere());
  EXPECT_FALSE(sampler({.presence_penalty = 1}, 3).choosableElsewhere());
  EXPECT_THAT(Sampler::check(3, {.logit_bias = {{3, 1}}}).message(), HasSubstr("token id 3"));
  EXPECT_THAT(Sampler::check(3, {.frequency_penalty = NAN}).message(),
              HasSubstr("frequency_penalty"));
}

TEST(Sampler, LogprobsAreOfTheModelsDistribution) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.2f), std::log(0.3f)};
  std::vector<float> shifted = logits;
  for (float& logit : shifted) logit += 700;  // exp() of which no float holds
  for (const auto& l : {logits, shifted}) {
    const TokenLogprob got = tokenLogprob(l, 1, 2);
    EXPECT_EQ(got.token, 1);
    EXPECT_NEAR(got.logprob, std::log(0.2), 1e-4);
    ASSERT_EQ(got.top.size(), 2u);
    EXPECT_EQ(got.top[0].first, 0);
    EXPECT_NEAR(got.top[0].second, std::log(0.5), 1e-4);
    EXPECT_EQ(got.top[1].first, 2);
  }
  EXPECT_TRUE(tokenLogprob(logits, 0, 0).top.empty());
}

TEST(Sampler, SameSeedSameTokens) {
  const std::vector<float> logits = {0.3f, 0.1f, 0.2f, 0.4f};
  const auto tokens = [&](uint64_t seed) {
    Sampler s = sampler({.temperature = 1, .seed = seed});
    std::vector<int32_t> out;
    for (int i = 0; i < 50; ++i) {
      out.push_back(s.sample(logits));
      s.accept(out.back());
    }
    return out;
  };
  EXPECT_EQ(tokens(7), tokens(7));
  EXPECT_NE(tokens(7), tokens(8));
}

TEST(Sampler, BannedTokensAreNeverChosen) {
  const std::vector<float> logits = {1, 4, 3, 2};
  EXPECT_EQ(sampler({.bans = {.suppress_tokens = {1, -1, 99}}}).sample(logits), 2);
  Sampler begin = sampler({.bans = {.begin_suppress_tokens = {1, 2}}});
  EXPECT_EQ(begin.sample(logits), 3);
  EXPECT_EQ(begin.sample(logits), 1) << "the first token alone";
  Sampler repeats = sampler({.bans = {.no_repeat_ngram_size = 2}});
  for (const int32_t id : {1, 1, 2, 1}) repeats.accept(id);
  EXPECT_EQ(repeats.sample(logits), 3) << "1 1 and 1 2 were there";
  Sampler words = sampler({.bans = {.bad_words = {{2}, {3, 0, 1}, {}}}});
  for (const int32_t id : {3, 0}) words.accept(id);
  EXPECT_EQ(words.sample(logits), 3);
  words.accept(3);
  EXPECT_EQ(words.sample(logits), 1);
}

TEST(Sampler, OnlyWhatCountsForTheFirstTokenIsADevicesToo) {
  EXPECT_TRUE(sampler({.repetition_penalty = 2, .temperature = 1}).choosableElsewhere());
  Sampler first = sampler({.bans = {.begin_suppress_tokens = {1}}});
  EXPECT_FALSE(first.choosableElsewhere());
  first.sample(std::vector<float>{1, 2, 3, 4});
  EXPECT_TRUE(first.choosableElsewhere());
  EXPECT_FALSE(sampler({.bans = {.suppress_tokens = {1}}}).choosableElsewhere());
  EXPECT_FALSE(sampler({.bans = {.no_repeat_ngram_size = 2}}).choosableElsewhere());
  EXPECT_FALSE(sampler({.bans = {.bad_words = {{1}}}}).choosableElsewhere());
}

SamplerOptions optionsOf(const nlohmann::json& fields) {
  SamplerOptions o;
  o.temperature = fields["temperature"];
  o.repetition_penalty = fields.value("repetition_penalty", 1.0f);
  o.top_k = fields.value("top_k", 0);
  o.top_p = fields.value("top_p", 1.0f);
  o.min_p = fields.value("min_p", 0.0f);
  o.bans.no_repeat_ngram_size = fields.value("no_repeat_ngram_size", 0);
  o.bans.suppress_tokens = fields.value("suppress_tokens", std::vector<int32_t>());
  o.bans.begin_suppress_tokens = fields.value("begin_suppress_tokens", std::vector<int32_t>());
  o.bans.bad_words = fields.value("bad_words_ids", std::vector<std::vector<int32_t>>());
  return o;
}

// tests/golden/make_sampler_golden.py: all options together, in Transformers' order.
TEST(Sampler, ChoosesAsTransformersDoes) {
  std::ifstream file(LLMC_GOLDEN_DIR "/sampler.json");
  const nlohmann::json golden = nlohmann::json::parse(file);
  ASSERT_GE(golden["cases"].size(), 50u);
  constexpr int kDraws = 3000;
  for (const nlohmann::json& c : golden["cases"]) {
    SCOPED_TRACE(c.dump());
    const auto logits = c["logits"].get<std::vector<float>>();
    SamplerOptions options = optionsOf(c["options"]);
    const auto choose = [&] {
      Sampler s = sampler(options, static_cast<int64_t>(logits.size()));
      const auto ids = c["ids"].get<std::vector<int32_t>>();
      for (size_t i = 0; i < ids.size(); ++i) {
        // The last of the tokens so far is the first that was generated.
        if (i + 1 == ids.size() && !c["first"].get<bool>()) (void)s.sample(logits);
        s.accept(ids[i]);
      }
      return s.sample(logits);
    };
    std::map<int32_t, int> drawn;
    for (int i = 0; i < kDraws; ++i) {
      ++options.seed;
      ++drawn[choose()];
    }
    for (size_t id = 0; id < logits.size(); ++id) {
      const double p = c["probabilities"][id];  // five standard deviations of a binomial
      EXPECT_NEAR(drawn[static_cast<int32_t>(id)], kDraws * p,
                  5 * std::sqrt(kDraws * p * (1 - p)) + (p > 0 ? 1 : 0))
          << id;
    }
    options.temperature = 0;
    EXPECT_EQ(choose(), c["greedy"].get<int32_t>());
  }
}

// The first numbers of java.util.SplittableRandom, which is SplitMix64, for the seed 0.
TEST(Random, IsSplitMix64) {
  EXPECT_EQ(llmcSplitMix(0, 0), 0xe220a8397b1dcdafu);
  EXPECT_EQ(llmcSplitMix(0, 1), 0x6e789e6aa1b965f4u);
  EXPECT_EQ(llmcRandomAt(0, 1), llmcSplitMix(0xe220a8397b1dcdafu, 1));
}

// A thousand seeds at a thousand positions: every bit is set half of the time, and no number comes
// twice.
TEST(Random, IsEvenOverSeedsAndPositions) {
  std::array<int, 64> set{};
  std::set<uint64_t> numbers;
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    for (uint64_t position = 0; position < 1000; ++position) {
      const uint64_t number = llmcRandomAt(seed, position);
      for (size_t bit = 0; bit < set.size(); ++bit) set[bit] += static_cast<int>(number >> bit & 1);
      if (seed < 100) numbers.insert(number);
    }
  }
  // Of a million throws of a coin, six standard deviations are 3000.
  for (const int count : set) EXPECT_NEAR(count, 500000, 3000);
  EXPECT_EQ(numbers.size(), 100u * 1000);
}

// What was sampled, and how often, makes no difference: a text that is computed again goes on the
// same way.
TEST(Sampler, DrawsTheSameAtAPositionWhateverCameBefore) {
  const std::vector<float> logits(1000, 1.0f);
  const SamplerOptions options{.temperature = 1, .seed = 5};
  Sampler one = sampler(options, 1000), again = sampler(options, 1000);
  for (int i = 0; i < 20; ++i) {
    const int32_t token = one.sample(logits);
    EXPECT_EQ(one.sample(logits), token);
    one.accept(token);
    again.accept(999 - token);
    if (i % 3 == 0) (void)again.sample(logits);
  }
  EXPECT_EQ(one.sample(logits), again.sample(logits));
}

// In units of 2^-40, over the whole range, against the C library's exponential.
TEST(SampleWeight, IsTheExponential) {
  EXPECT_EQ(llmcSampleWeight(3, 3), LLMC_SAMPLE_ONE);
  EXPECT_EQ(llmcSampleWeight(-28, 0), 0u);
  EXPECT_EQ(llmcSampleWeight(-3e38f, 3e38f), 0u);
  uint64_t before = LLMC_SAMPLE_ONE;
  for (float d = 0; d < 30; d += 0.0037f) {
    const uint64_t weight = llmcSampleWeight(5 - d, 5);
    const double exact = std::exp(double{5 - d} - 5) * static_cast<double>(LLMC_SAMPLE_ONE);
    EXPECT_LE(weight, before) << d;
    EXPECT_NEAR(static_cast<double>(weight), exact, 1.01) << d;
    before = weight;
  }
}

TEST(Sampler, SurvivesLogitsThatAreNotNumbers) {
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(sampler({.temperature = 1}).sample(std::vector<float>{nan, 0, nan, -inf}), 1);
  EXPECT_EQ(sampler({.temperature = 1}).sample(std::vector<float>{0, 1, inf, 2}), 2);
  EXPECT_EQ(
      sampler({.temperature = 1, .top_k = 2, .top_p = 0.5f}).sample(std::vector<float>(4, nan)), 0);
  EXPECT_EQ(sampler({.temperature = 1}).sample(std::vector<float>(4, -inf)), 0);
}

TEST(Sampler, AllocatesOnlyWhenCreated) {
  const std::vector<float> logits(5000, 1.0f);
  Sampler s = sampler(
      {.repetition_penalty = 1.1f, .temperature = 1, .top_k = 900, .top_p = 0.9f, .min_p = 0.01f},
      5000);
  example::startCountingAllocations();
  for (int i = 0; i < 3; ++i) s.accept(s.sample(logits));
  EXPECT_EQ(example::stopCountingAllocations(), 0);
}

TEST(Sampler, NamesTheFieldThatIsOutOfRange) {
  const auto message = [](SamplerOptions o) { return Sampler::create(4, o).status().message(); };
  EXPECT_THAT(message({.temperature = -1}), HasSubstr("`temperature` -1"));
  EXPECT_THAT(message({.temperature = std::nanf("")}), HasSubstr("`temperature` nan"));
  EXPECT_THAT(message({.top_k = -1}), HasSubstr("`top_k` -1"));
  EXPECT_THAT(message({.top_p = 0}), HasSubstr("`top_p` 0"));
  EXPECT_THAT(message({.top_p = 1.5f}), HasSubstr("`top_p` 1.5"));
  EXPECT_THAT(message({.min_p = -0.5f}), HasSubstr("`min_p` -0.5"));
  EXPECT_THAT(message({.repetition_penalty = 0}), HasSubstr("`repetition_penalty` 0"));
}

}  // namespace
}  // namespace llmrt
