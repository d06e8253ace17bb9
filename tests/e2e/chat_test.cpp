// A chat model from directory to conversation: its template travels in the plan.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
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
    plan = compiledPlan(dir / "model", {"--dtype", "f32"});
    ASSERT_FALSE(plan.empty());
  }
  Output render(const std::string& model, const std::string& context,
                const std::string& name = "") {
    writeFile(dir / "context.json", context);
    std::vector<std::string> command = {LLMC, "render", model, dir / "context.json"};
    if (!name.empty()) command.insert(command.end(), {"--template", name});
    return run(command);
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

// tests/golden/make_chat_files_golden.py: every way in which files name templates and tokens.
TEST(ChatFiles, AreReadAsTransformersReadsThem) {
  const auto golden =
      nlohmann::json::parse(std::ifstream(LLMC_SOURCE_DIR "/tests/golden/chat_files.json"));
  ASSERT_GT(golden["cases"].size(), 40u);
  for (const auto& one : golden["cases"]) {
    SCOPED_TRACE(one.dump());
    const ScratchDir dir;
    const std::string model = dir / "model";
    std::filesystem::create_directories(model + "/additional_chat_templates");
    for (const auto& [name, text] : one["files"].items()) writeFile(model + "/" + name, text);
    writeFile(model + "/tokenizer.json", golden["tokenizer"]);
    const nlohmann::json context = {{"messages", {{{"role", "user"}, {"content", "hi"}}}},
                                    {"tools", one["tools"]}};
    writeFile(dir / "context.json", context.dump());
    std::vector<std::string> command = {LLMC, "render", model, dir / "context.json"};
    if (!one["name"].is_null()) command.insert(command.end(), {"--template", one["name"]});
    const Output o = run(command);
    EXPECT_EQ(o.status, one["text"].is_null() ? 1 : 0) << o.err;
    EXPECT_EQ(o.out, one["text"].is_null() ? "" : one["text"].get<std::string>());
  }
}

TEST_F(Chat, NamedTemplatesAndTokensTravelInThePlan) {
  const std::string model = dir / "model";
  std::filesystem::create_directories(model + "/additional_chat_templates");
  const std::string tokens =
      "{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ unk_token }}{{ image_token }}"
      "{{ additional_special_tokens }}{{ mask_token is defined }}";
  writeFile(model + "/chat_template.jinja", "D" + tokens);
  writeFile(model + "/additional_chat_templates/tool_use.jinja", "T{{ tools }}" + tokens);
  writeFile(model + "/additional_chat_templates/rag.jinja", "R" + tokens);
  writeFile(
      model + "/tokenizer_config.json",
      R"({"bos_token": "<s>", "eos_token": null, "pad_token": "<p>", "unk_token": {"content": "<u>"},
                "image_token": "<i>", "additional_special_tokens": ["<x>"], "added_tokens_decoder": {}})");
  writeFile(model + "/special_tokens_map.json", R"({"mask_token": "not read"})");
  plan = compiledPlan(model, {"--dtype", "f32"});
  ASSERT_FALSE(plan.empty());
  const std::string written = "<s><p><u><i>['<x>']False";
  const std::string tools = R"({"tools": []})", none = R"({"tools": null})";
  for (const std::string& from : {model, plan}) {
    EXPECT_EQ(render(from, "{}").out, "D" + written);
    EXPECT_EQ(render(from, none).out, "D" + written);
    EXPECT_EQ(render(from, tools).out, "T[]" + written);
    EXPECT_EQ(render(from, tools, "rag").out, "R" + written);
    EXPECT_EQ(render(from, tools, "default").out, "D" + written);
    EXPECT_EQ(render(from, tools, "nope").err,
              "llmc: error: " + from +
                  ": has no chat template 'nope', only: default, rag, tool_use; choose with "
                  "--template\n");
  }
  EXPECT_THAT(run({LLMC, "inspect", plan}).out,
              testing::ContainsRegex("chat template +default, rag, tool_use\n"));
}

// Whatever template there is: a model's directory and its plan say the same.
TEST_F(Chat, EveryTemplateIsTheSameFromDirectoryAndPlan) {
  const std::string folder = LLMC_MATERIAL_DIR "/chat-templates";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is absent (LLMC_MATERIAL_DIR)";
  const std::string model = dir / "model";
  std::filesystem::copy(folder + "/jinja", model + "/additional_chat_templates");
  plan = compiledPlan(model, {"--dtype", "f32"});
  ASSERT_FALSE(plan.empty());
  int texts = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder + "/jinja")) {
    for (const char* context : {"simple", "tool_use"}) {
      const std::string name = file.path().stem(),
                        given = folder + "/contexts/" + context + ".json";
      SCOPED_TRACE(name + ", " + context);
      const Output of_model = run({LLMC, "render", model, given, "--template", name});
      const Output of_plan = run({LLMC, "render", plan, given, "--template", name});
      EXPECT_EQ(of_model.status, of_plan.status);
      EXPECT_EQ(of_model.out, of_plan.out);
      texts += of_plan.status == 0;
    }
  }
  EXPECT_GT(texts, 40);
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
  EXPECT_THAT(error(plan, R"({"messages": 1})"), HasSubstr("plan.fb"));
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
