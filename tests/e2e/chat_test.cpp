// A chat model from directory to conversation: its template travels in the plan.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/e2e/plan_cache.h"
#include "tests/e2e/process.h"
#include "tests/e2e/running_model.h"

namespace e2e {
namespace {

using testing::HasSubstr;

constexpr char kTemplate[] =
    "{{ bos_token }}{% for m in messages %}{{ m.role | capitalize }}: {{ m.content | trim }}\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}";

struct Chat : testing::Test {
  ScratchDir dir;
  std::string plan;

  // The demo model with a chat template, compiled.
  void SetUp() override {
    std::filesystem::copy(demoModel(), dir / "model", std::filesystem::copy_options::recursive);
    writeFile(dir / "model/chat_template.jinja", kTemplate);
    plan = dir / "plan.fb";
    const Output o = run({LLMC, "compile", dir / "model", "-o", plan, "--dtype", "f32"});
    ASSERT_EQ(o.status, 0) << o.err;
  }
  Output render(const std::string& model, const std::string& context) {
    writeFile(dir / "context.json", context);
    return run({LLMC, "render", model, dir / "context.json"});
  }
};

TEST_F(Chat, TheTemplateTravelsInThePlan) {
  const std::string context =
      R"({"messages": [{"role": "user", "content": " Tell me. "}], "add_generation_prompt": true})";
  const std::string expected = "<s>User: Tell me.\nAssistant:";
  writeFile(dir / "t.jinja", kTemplate);
  EXPECT_EQ(render(plan, context).out, expected);
  EXPECT_EQ(render(dir / "model", context).out, expected);
  EXPECT_EQ(render(dir / "model/config.json", context).out, expected);
  EXPECT_EQ(render(dir / "t.jinja", context).out, expected.substr(3)) << "no model, no BOS";
  EXPECT_EQ(render(plan, R"({"messages": [], "bos_token": "B"})").out, "B");
}

TEST_F(Chat, RenderSaysWhatIsWrongInOneLine) {
  const auto error = [&](const std::string& model, const std::string& context) {
    const Output o = render(model, context);
    EXPECT_EQ(o.status, 1);
    EXPECT_EQ(o.out, "");
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
    return o.err;
  };
  EXPECT_THAT(error(demoModel(), "{}"), HasSubstr("has no chat template"));
  EXPECT_THAT(error(plan, "[]"), HasSubstr("context.json: is not a JSON object"));
  EXPECT_THAT(error(plan, "{"), HasSubstr("context.json: malformed JSON"));
  EXPECT_THAT(error(plan, R"({"messages": [1]})"), HasSubstr("plan.fb:1: "));
  EXPECT_THAT(error(dir / "nope", "{}"), HasSubstr("nope: no such file"));
}

TEST_F(Chat, TurnsShareTheCacheAndEqualACompletion) {
  const Output o = run({LLMRUN, plan, "--chat", "--json", "-n", "24", "--temperature", "0",
                        "--repetition-penalty", "1", "--system", "Tell short stories."},
                       "Who is Lily?\nAnd then?\n");
  ASSERT_EQ(o.status, 0) << o.err;
  std::istringstream lines(o.out);
  std::vector<nlohmann::json> turns;
  for (std::string line; std::getline(lines, line);) turns.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(turns.size(), 2u);
  EXPECT_EQ(turns[0]["cached_tokens"], 0);
  EXPECT_GE(turns[1]["cached_tokens"].get<size_t>(), turns[0]["prompt_ids"].size());
  for (const auto& turn : turns) {
    EXPECT_EQ(turn["cached_tokens"].get<size_t>() + turn["prefilled_tokens"].get<size_t>(),
              turn["prompt_ids"].size());
    const auto alone =
        llmrunJson(plan, {"--prompt-ids", joined(turn["prompt_ids"].get<Ids>()), "-n", "24",
                          "--temperature", "0", "--repetition-penalty", "1"});
    EXPECT_EQ(alone["ids"], turn["ids"]);
  }
  const std::string first = "<s>System: Tell short stories.\nUser: Who is Lily?\nAssistant:";
  writeFile(dir / "first", first);
  const Output ids = run({LLMC, "tokenize", plan, dir / "first", "--no-bos"});
  std::istringstream words(ids.out);
  EXPECT_EQ(Ids(std::istream_iterator<int32_t>(words), {}), turns[0]["prompt_ids"].get<Ids>());
}

}  // namespace
}  // namespace e2e
