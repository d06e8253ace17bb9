// The MTP block of a model: what Transformers' own layers, put together by tests/golden's script,
// give for it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <utility>

#include "tests/e2e/golden_run.h"
#include "tests/e2e/plan_cache.h"
#include "tests/e2e/process.h"
#include "tests/e2e/running_model.h"

namespace e2e {
namespace {

using llmrt::MtpToken;
using llmrt::Session;
using testing::HasSubstr;

const std::vector<std::string> kFlags = {"--mtp", "--dtype", "f32", "--kv-dtype", "f32"};

/// The hidden rows that the last step left.
std::vector<float> hiddenRows(const Session& session) {
  const llmrt::StepOutput out = session.output("hidden");
  std::vector<float> rows;
  for (int64_t r = 0; r < out.rows; ++r) {
    const auto* row =
        reinterpret_cast<const float*>(out.data + r * static_cast<int64_t>(out.row_bytes));
    rows.insert(rows.end(), row, row + out.width);
  }
  return rows;
}

/// Appends `tokens` to sequence `seq` in steps of at most `chunk`; their hidden rows.
std::vector<float> append(Session& session, int32_t seq, std::span<const int32_t> tokens,
                          size_t chunk) {
  std::vector<float> hidden;
  for (size_t done = 0; done < tokens.size(); done += chunk) {
    std::vector<llmrt::StepToken> step;
    for (size_t i = done; i < std::min(done + chunk, tokens.size()); ++i)
      step.push_back({seq, tokens[i], i + 1 == tokens.size()});
    const llmrt::Status status = session.step(step);
    EXPECT_TRUE(status.ok()) << status.message();
    const std::vector<float> rows = hiddenRows(session);
    hidden.insert(hidden.end(), rows.begin(), rows.end());
  }
  return hidden;
}

/// Logits of every row of the MTP block over tokens[0..], which follow positions 0.. of `seq`; the
/// last row's hidden row is left in `hidden`.
std::vector<Logits> guess(Session& session, int32_t seq, std::span<const int32_t> tokens,
                          std::vector<float>& hidden, size_t chunk) {
  const auto width = static_cast<size_t>(session.hiddenSize());
  std::vector<Logits> logits;
  std::vector<float> left;
  for (size_t done = 0; done < tokens.size(); done += chunk) {
    const size_t n = std::min(chunk, tokens.size() - done);
    std::vector<MtpToken> step;
    for (size_t i = done; i < done + n; ++i)
      step.push_back({seq, tokens[i], static_cast<int32_t>(i), true});
    const llmrt::Status status =
        session.mtp(step, std::span(hidden).subspan(done * width, n * width));
    EXPECT_TRUE(status.ok()) << status.message();
    if (!status.ok()) return logits;
    for (size_t i = 0; i < n; ++i) {
      const auto row = session.logits(static_cast<int64_t>(i));
      logits.emplace_back(row.begin(), row.end());
    }
    left = hiddenRows(session);
  }
  hidden.assign(left.end() - session.hiddenSize(), left.end());
  return logits;
}

double worst(const Logits& actual, const Logits& expected) {
  double error = actual.size() == expected.size() ? 0 : INFINITY;
  for (size_t v = 0; v < std::min(actual.size(), expected.size()); ++v) {
    const double difference = std::abs(actual[v] - expected[v]);
    error = std::isnan(difference) ? INFINITY : std::max(error, difference);
  }
  return error;
}

/// A golden, and what its model's file or folder has behind its name.
class MtpGolden : public testing::TestWithParam<std::pair<std::string, std::string>> {};

TEST_P(MtpGolden, LogitsAndGuesses) {
  const auto [name, file] = GetParam();
  const nlohmann::json golden = goldenOf("mtp/" + name);
  std::vector<std::string> flags = kFlags;
  flags.insert(flags.end(), {"--max-batch", "2"});
  const RunningModel model(compiledPlan(goldenModel("mtp/" + name + file), flags));
  ASSERT_TRUE(model.ok());
  const Ids prompt = golden["prompt_ids"], positions = golden["positions"],
            drafts = golden["draft_ids"];
  const int32_t next = golden["next_id"];
  const double tolerance = golden["tolerance"];
  const auto session = model.session({.threads = 2, .max_batch = 2});
  ASSERT_TRUE(session);
  double error = 0;
  // The second time in other steps, behind another sequence's.
  for (int32_t seq = 0; seq < 2; ++seq) {
    std::vector<float> hidden = append(*session, seq, prompt, seq == 0 ? prompt.size() : 7);
    EXPECT_EQ(argmax(session->logits()), next);
    Ids tokens(prompt.begin() + 1, prompt.end());
    tokens.push_back(next);
    const std::vector<Logits> logits = guess(*session, seq, tokens, hidden, seq == 0 ? 16 : 5);
    ASSERT_EQ(logits.size(), prompt.size());
    EXPECT_EQ(session->mtpLen(seq), static_cast<int64_t>(prompt.size()));
    for (size_t i = 0; i < positions.size(); ++i)
      error = std::max(error, worst(logits[static_cast<size_t>(positions[i])],
                                    golden["logits"][i].get<Logits>()));
    // Then guesses of guesses, none of which is a token of the sequence.
    Logits last = logits.back();
    for (size_t i = 0; i < drafts.size(); ++i) {
      EXPECT_EQ(argmax(last), drafts[i]) << "guess " << i;
      error = std::max(error, worst(last, golden["draft_logits"][i].get<Logits>()));
      if (i + 1 == drafts.size()) break;
      const MtpToken token{seq, drafts[i], static_cast<int32_t>(prompt.size() + i), true};
      const llmrt::Status status = session->mtp({&token, 1}, hidden);
      ASSERT_TRUE(status.ok()) << status.message();
      last.assign(session->logits().begin(), session->logits().end());
      hidden = hiddenRows(*session);
    }
    EXPECT_EQ(session->kvLen(seq), static_cast<int64_t>(prompt.size()));
  }
  EXPECT_LE(error, tolerance);
  RecordProperty("worst_of_tolerance", std::to_string(error / tolerance));
}

INSTANTIATE_TEST_SUITE_P(Models, MtpGolden,
                         testing::Values(std::pair("qwen3_5", ""), std::pair("qwen3_5_moe", ""),
                                         std::pair("qwen3_next", ""), std::pair("deepseek_v3", ""),
                                         std::pair("glm4_moe", ""), std::pair("glm4_moe_lite", ""),
                                         std::pair("qwen3_5", ".gguf"),
                                         std::pair("deepseek_v3", ".gguf")),
                         [](const auto& info) {
                           return info.param.first + (info.param.second.empty() ? "" : "_gguf");
                         });

// The model's own numbers do not change, and neither do they where it goes on behind guesses.
TEST(Mtp, LeavesTheModelAsItIs) {
  const std::string path = goldenModel("mtp/qwen3_5");
  const RunningModel with(compiledPlan(path, kFlags)),
      without(compiledPlan(path, {"--dtype", "f32", "--kv-dtype", "f32"}));
  ASSERT_TRUE(with.ok() && without.ok());
  const auto session = with.session({.threads = 1}), plain = without.session({.threads = 1});
  ASSERT_TRUE(session && plain);
  EXPECT_EQ(plain->hiddenSize(), 0);
  EXPECT_EQ(plain->output("hidden").data, nullptr);
  const Ids text = somePrompt(63, with.plan->vocabSize());
  std::vector<float> hidden = append(*session, 0, text, text.size());
  Ids tokens(text.begin() + 1, text.end());
  tokens.push_back(5);
  guess(*session, 0, tokens, hidden, 16);
  // Into the next block of the cache.
  for (int32_t pos = 63; pos < 67; ++pos) {
    const MtpToken token{0, pos, pos, true};
    ASSERT_TRUE(session->mtp({&token, 1}, hidden).ok());
    hidden = hiddenRows(*session);
  }
  ASSERT_TRUE(plain->prefill(0, text).ok());
  for (int32_t token = 5; token < 9; ++token) {
    ASSERT_TRUE(session->decode(0, token).ok() && plain->decode(0, token).ok());
    const auto a = session->logits(), b = plain->logits();
    ASSERT_EQ(std::memcmp(a.data(), b.data(), b.size_bytes()), 0) << "token " << token;
  }
}

struct Guessed {
  Ids ids;
  int accepted = 0;    // of the guesses
  Logits logits = {};  // the MTP block's, behind the last token that the session has
};

/// Greedy text by guesses: each step looks at three of them, and keeps those that are right. As a
/// random model guesses wrong, the guesses are the block's in every second step alone, in the
/// others those of `truth`.
Guessed guessedText(Session& session, const Ids& prompt, const Ids& truth) {
  const auto width = static_cast<size_t>(session.hiddenSize());
  std::vector<float> hidden = append(session, 0, prompt, prompt.size());
  Guessed out{{argmax(session.logits())}};
  Ids& ids = out.ids;
  // What the block has yet to see: the token behind each position from where it is right on.
  Ids behind(prompt.begin() + 1, prompt.end());
  behind.push_back(ids.back());
  for (int round = 0;; ++round) {
    auto pos = static_cast<int32_t>(session.kvLen(0) - static_cast<int64_t>(behind.size()));
    for (size_t done = 0; done < behind.size(); done += 16) {
      const size_t n = std::min<size_t>(16, behind.size() - done);
      std::vector<MtpToken> rows;
      for (size_t i = done; i < done + n; ++i)
        rows.push_back({0, behind[i], pos++, i + 1 == behind.size()});
      EXPECT_TRUE(session.mtp(rows, std::span(hidden).subspan(done * width, n * width)).ok());
    }
    out.logits.assign(session.logits().begin(), session.logits().end());
    if (ids.size() + 4 > truth.size() || testing::Test::HasFailure()) return out;
    std::vector<llmrt::TreeToken> tree = {{0, ids.back(), -1}};
    for (int32_t i = 0; i < 3; ++i) {
      const int32_t own = argmax(session.logits());
      tree.push_back({0, round % 2 == 0 ? own : truth[ids.size() + static_cast<size_t>(i)], i});
      if (i == 2) break;
      std::vector<float> left = hiddenRows(session);
      left.erase(left.begin(), left.end() - static_cast<std::ptrdiff_t>(width));
      const MtpToken row{0, tree.back().token, pos++, true};
      EXPECT_TRUE(session.mtp({&row, 1}, left).ok());
    }
    EXPECT_TRUE(session.verify(tree).ok());
    hidden = hiddenRows(session);
    std::vector<int32_t> right;
    behind.clear();
    for (int32_t i = 0; i < 4; ++i) {
      right.push_back(i);
      behind.push_back(argmax(session.logits(i)));
      ids.push_back(behind.back());
      if (i == 3 || tree[static_cast<size_t>(i) + 1].token != ids.back()) break;
      ++out.accepted;
    }
    hidden.resize(right.size() * width);
    EXPECT_TRUE(session.commit(right).ok());
  }
}

class MtpText : public testing::TestWithParam<std::string> {};

TEST_P(MtpText, OfGuessesIsTheTextWithoutThem) {
  std::vector<std::string> flags = kFlags;
  flags.insert(flags.end(), {"--verify", "4"});
  const RunningModel model(compiledPlan(goldenModel("mtp/" + GetParam()), flags));
  ASSERT_TRUE(model.ok());
  const auto session = model.session({.threads = 2}), plain = model.session({.threads = 1});
  ASSERT_TRUE(session && plain);
  // Over the end of a block of the cache.
  const Ids prompt = somePrompt(40, model.plan->vocabSize());
  const Ids truth = continueGreedily(*plain, prompt, 60).ids;
  const Guessed guessed = guessedText(*session, prompt, truth);
  ASSERT_GT(guessed.ids.size(), 56U);
  EXPECT_TRUE(std::equal(guessed.ids.begin(), guessed.ids.end(), truth.begin()));
  EXPECT_GE(guessed.accepted, 30);
  // And the block has seen what it would have seen without guesses, to the bit.
  Ids text = prompt;
  text.insert(text.end(), guessed.ids.begin(), guessed.ids.end());
  ASSERT_EQ(session->kvLen(0), static_cast<int64_t>(text.size()) - 1);
  plain->reset(0);
  std::vector<float> hidden = append(*plain, 0, std::span(text).first(text.size() - 1), 512);
  const std::vector<Logits> logits = guess(*plain, 0, std::span(text).subspan(1), hidden, 16);
  ASSERT_EQ(logits.back().size(), guessed.logits.size());
  EXPECT_EQ(std::memcmp(logits.back().data(), guessed.logits.data(),
                        guessed.logits.size() * sizeof(float)),
            0);
}

INSTANTIATE_TEST_SUITE_P(Models, MtpText, testing::Values("qwen3_5", "deepseek_v3"),
                         [](const auto& info) { return info.param; });

TEST(Mtp, RowsThatAreNoneAreRefused) {
  const RunningModel model(compiledPlan(goldenModel("mtp/qwen3_5"), kFlags));
  ASSERT_TRUE(model.ok());
  const auto session = model.session({.threads = 1});
  ASSERT_TRUE(session);
  const std::vector<float> hidden(static_cast<size_t>(session->hiddenSize()) * 17);
  const auto refused = [&](std::vector<MtpToken> tokens) {
    return session
        ->mtp(tokens,
              std::span(hidden).first(tokens.size() * static_cast<size_t>(session->hiddenSize())))
        .message();
  };
  EXPECT_THAT(refused({{0, 5, 0}}), HasSubstr("sequence 0 has no tokens"));
  ASSERT_TRUE(session->prefill(0, somePrompt(20, model.plan->vocabSize())).ok());
  EXPECT_THAT(refused({}), HasSubstr("at least one"));
  EXPECT_THAT(refused({{0, 5, 1}}), HasSubstr("has seen 0 tokens"));
  EXPECT_THAT(refused({{0, 5, 0}, {0, 6, 2}}), HasSubstr("comes after position 0"));
  EXPECT_THAT(refused({{0, 131, 0}}), HasSubstr("not in the vocabulary"));
  EXPECT_THAT(refused({{1, 5, 0}}), HasSubstr("sequence 1 of 1"));
  EXPECT_THAT(session->mtp(std::vector<MtpToken>{{0, 5, 0}}, hidden).message(),
              HasSubstr("48 each"));
  std::vector<MtpToken> many;
  for (int32_t i = 0; i < 17; ++i) many.push_back({0, 5, i});
  EXPECT_THAT(refused(many), HasSubstr("compiled for fewer"));
  EXPECT_EQ(refused({{0, 5, 0}, {0, 6, 1}}), "");
  EXPECT_EQ(session->mtpLen(0), 2);
  EXPECT_EQ(session->truncate(0, 0), 0);
  EXPECT_EQ(session->mtpLen(0), 0);

  const RunningModel plain(compiledPlan(goldenModel("llama_mha"), {}));
  ASSERT_TRUE(plain.ok());
  const auto without = plain.session({.threads = 1});
  ASSERT_TRUE(without);
  EXPECT_THAT(without->mtp(std::vector<MtpToken>{{0, 5, 0}}, hidden).message(),
              HasSubstr("compile it with --mtp"));
}

// Blocks that are shared hold what another text made the MTP block see.
TEST(Mtp, ASequenceThatSharesItsBeginningIsRefused) {
  const RunningModel model(compiledPlan(goldenModel("mtp/deepseek_v3"), kFlags));
  ASSERT_TRUE(model.ok());
  const auto session = model.session({.threads = 1});
  ASSERT_TRUE(session);
  const Ids text = somePrompt(70, model.plan->vocabSize());
  ASSERT_TRUE(session->prefill(0, text).ok());
  session->keep(0, text);
  ASSERT_EQ(session->share(0, text).tokens, 64);
  const std::vector<float> hidden(static_cast<size_t>(session->hiddenSize()));
  const MtpToken token{0, 5, 0};
  EXPECT_THAT(session->mtp({&token, 1}, hidden).message(),
              HasSubstr("shares the beginning of another"));
  session->reset(0);
  ASSERT_TRUE(session->prefill(0, text).ok());
  EXPECT_TRUE(session->mtp({&token, 1}, hidden).ok());
}

TEST(Mtp, WhereThereIsNoneItIsSaid) {
  const auto compile = [](const std::string& model, std::vector<std::string> flags) {
    std::vector<std::string> command = {LLMC,    "compile", model,
                                        "--mtp", "-o",      testing::TempDir() + "mtp_none.fb"};
    command.insert(command.end(), flags.begin(), flags.end());
    return run(command);
  };
  auto done = compile(goldenModel("llama_mha"), {});
  EXPECT_EQ(done.status, 1);
  EXPECT_THAT(done.err, HasSubstr("not supported for model_type llama"));
  done = compile(goldenModel("qwen3_5"), {});
  EXPECT_EQ(done.status, 1);
  EXPECT_THAT(done.err, HasSubstr("--mtp: the model has no layers of multi-token prediction"));
  // Qwen3-Next has one; this checkpoint is without it.
  done = compile(goldenModel("qwen3_next"), {});
  EXPECT_EQ(done.status, 1);
  EXPECT_THAT(done.err, HasSubstr("--mtp needs the model's layers of multi-token prediction"));
  done = compile(goldenModel("mtp/qwen3_5"), {"--target", "cuda:sm_90a"});
  EXPECT_EQ(done.status, 1);
  EXPECT_THAT(done.err, HasSubstr("has no code for multi-token prediction yet"));
}

}  // namespace
}  // namespace e2e
