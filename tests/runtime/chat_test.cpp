// llmrun --chat, piped.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/runtime/chat_models.h"
#include "tests/runtime/example_plan.h"

namespace llmrt {
namespace {

using example::Model;
using testing::HasSubstr;

struct Output {
  int status = -1;
  std::string out, err;
};

// Runs with `input` on stdin.
Output chat(const std::string& plan, const std::string& flags, const std::string& input) {
  example::TempDir dir;
  example::writeFile(dir / "in", {input.begin(), input.end()});
  const int status = std::system(
      (std::string(LLMRUN) + " " + plan + " --synthetic-weights --chat --threads 1 --ignore-eos " +
       flags + " <" + (dir / "in") + " >" + (dir / "out") + " 2>" + (dir / "err"))
          .c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, readText(dir / "out"),
          readText(dir / "err")};
}

std::vector<nlohmann::json> jsonLines(const std::string& text) {
  std::vector<nlohmann::json> out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) out.push_back(nlohmann::json::parse(line));
  return out;
}

std::vector<nlohmann::json> chatJson(const std::string& plan, const std::string& flags,
                                     const std::string& input) {
  const Output o = chat(plan, "-n 6 --json " + flags, input);
  EXPECT_EQ(o.status, 0) << o.err;
  return jsonLines(o.out);
}

TEST(ChatPiped, AllOfStdinIsOneMessage) {
  const Model model([](schema::PlanT& p) {
    addTemplate(p);
    respell(p, 'Q', '\n');
  });
  const Output o = chat(model.path, "-n 6", "hello\n\nmore\n");
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_EQ(o.err, "");
  // The same message in other ways.
  example::writeFile(model.dir / "m", {'h', 'e', 'l', 'l', 'o', '\n', '\n', 'm', 'o', 'r', 'e'});
  const auto one = chatJson(model.path, "--prompt-file " + (model.dir / "m"), "");
  ASSERT_EQ(one.size(), 1u);
  // The output ends a line, whether the answer's own text does or not.
  std::string text = one[0]["text"];
  if (!text.ends_with('\n')) text += '\n';
  EXPECT_EQ(o.out, text);
  EXPECT_EQ(one[0]["prompt_ids"].size(), std::string("u hello..more!a ").size());
  const auto same =
      chatJson(model.path, "--prompt \"$(cat " + (model.dir / "m") + ")\"", "not read");
  EXPECT_EQ(same.at(0)["prompt_ids"], one[0]["prompt_ids"]);
}

TEST(ChatPiped, WithChatLinesOrJsonEachLineIsAMessage) {
  const Model model(addTemplate);
  const auto turns = chatJson(model.path, "--system sys", "hello\n\nmore\n");
  ASSERT_EQ(turns.size(), 2u);
  EXPECT_EQ(turns[0]["cached_tokens"], 0);
  const auto first = static_cast<int64_t>(turns[0]["prompt_ids"].size());
  EXPECT_EQ(turns[0]["prefilled_tokens"], first);
  EXPECT_GE(turns[1]["cached_tokens"], first);
  EXPECT_EQ(turns[1]["cached_tokens"].get<int64_t>() + turns[1]["prefilled_tokens"].get<int64_t>(),
            static_cast<int64_t>(turns[1]["prompt_ids"].size()));
  const Output o = chat(model.path, "-n 6 --system sys --chat-lines", "hello\n\nmore\n");
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_EQ(o.out, turns[0]["text"].get<std::string>() + "\n" +
                       turns[1]["text"].get<std::string>() + "\n");
}

TEST(ChatPiped, IsNeverACommand) {
  const Model model([](schema::PlanT& p) {
    addTemplate(p);
    respell(p, 'Q', '/');
  });
  const std::string file = model.dir / "saved";
  for (const char* flags : {"", "--chat-lines", "--json"}) {
    const Output o = chat(model.path, std::string("-n 6 ") + flags, "/save " + file + "\n");
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_FALSE(std::filesystem::exists(file)) << flags;
  }
  const auto turns = chatJson(model.path, "", "/exit\n/nope");
  ASSERT_EQ(turns.size(), 2u);
  EXPECT_EQ(turns[0]["prompt_ids"].size(), std::string("u /exit!a ").size());
}

TEST(ChatPiped, SaysWhatIsWrongInOneLine) {
  const Model model(addTemplate), bare,
      broken([](schema::PlanT&p) { p.chat_template = "\n{% if %}"; });
  const auto error = [](const std::string& plan, const std::string& flags, const std::string& input,
                        int status = 1) {
    const Output o = chat(plan, flags, input);
    EXPECT_EQ(o.status, status);
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
    return o.err;
  };
  EXPECT_THAT(error(bare.path, "", "a"),
              HasSubstr("has no chat template: give one with --chat-template FILE"));
  EXPECT_THAT(error(broken.path, "", "a"), HasSubstr("chat template:2: expected an expression"));
  EXPECT_THAT(error(model.path, "--chat-template /no/such", "a"),
              HasSubstr("/no/such: no such file"));
  EXPECT_THAT(error(model.path, "--max-seq-len 20", "a message that does not fit"),
              HasSubstr("the conversation no longer fits: it has 32 tokens, the context holds 20"));
  EXPECT_THAT(error(model.path, "", "\xff\n"), HasSubstr("not UTF-8 at byte 0"));
  EXPECT_THAT(error(model.path, "", " \n"), HasSubstr("stdin: is empty"));
  EXPECT_THAT(error(model.path, "--prompt ''", "a"), HasSubstr("--prompt: is empty"));
  EXPECT_THAT(error(model.path, "--prompt a --prompt-file b", "", 2), HasSubstr("--prompt"));
  EXPECT_THAT(error(model.path, "--prompt-ids 1", "", 2), HasSubstr("--prompt-ids"));
  const Output o = chat(bare.path, "-n 3 --chat-template " + (model.dir / "t.jinja"), "a");
  EXPECT_EQ(o.status, 1);
}

TEST(ChatPiped, AnErrorWithinAnAnswerLeavesAWholeLine) {
  const Model model(refuseAnL);
  const Output o = chat(model.path, "--temperature 3", "hi\n");
  EXPECT_EQ(o.status, 1);
  EXPECT_GT(o.out.size(), 1u) << "a part of the answer";
  EXPECT_EQ(o.out.find('\n'), o.out.size() - 1);
  EXPECT_EQ(o.err.find("llmrun: error: "), 0u) << o.err;
  EXPECT_THAT(o.err, HasSubstr("'example_refuse_13' of layer 0 returned 7"));
  EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
}

TEST(ChatPiped, CtrlCEndsTheRunThatWaitsForALine) {
  const Model model(addTemplate);
  const int status = std::system(
      ("sleep 3 | timeout --foreground --signal=INT --preserve-status 1 " + std::string(LLMRUN) +
       " " + model.path + " --synthetic-weights --chat --threads 1")
          .c_str());
  EXPECT_EQ(WEXITSTATUS(status), 130);
}

TEST(ChatPiped, TheTemplateMayComeFromAFile) {
  const Model bare;
  example::writeFile(bare.dir / "t.jinja", {'h', 'i'});
  const Output o = chat(bare.path, "-n 3 --json --chat-template " + (bare.dir / "t.jinja"), "a");
  ASSERT_EQ(o.status, 0) << o.err;
  EXPECT_EQ(nlohmann::json::parse(o.out)["prompt_ids"].size(), 2u);
}

}  // namespace
}  // namespace llmrt
