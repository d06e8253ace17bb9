// llmrun --chat, piped and on a terminal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/runtime/example_plan.h"
#include "tests/runtime/terminal.h"

namespace llmrt {
namespace {

using example::Model;
using testing::HasSubstr;

void addTemplate(schema::PlanT& plan) {
  plan.chat_template =
      "{% for m in messages %}{{ m.role[0] }} {{ m.content }}!{% endfor %}"
      "{% if add_generation_prompt %}a {% endif %}";
}

std::string readText(const std::string& path) {
  const std::vector<uint8_t> bytes = example::readFile(path);
  return {bytes.begin(), bytes.end()};
}

struct Output {
  int status = -1;
  std::string out, err;
};

// A model whose step fails at the letter l.
void refuseAnL(schema::PlanT& plan) {
  addTemplate(plan);
  for (auto& entry : plan.entry_points) {
    auto phase = std::make_unique<schema::PhaseT>(*entry->sections[1]->phases[0]);
    phase->kernel = 5;  // example_refuse_13
    phase->operands.clear();
    entry->sections[1]->phases.push_back(std::move(phase));
  }
}

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

TEST(ChatPiped, ALineIsAMessageAndItsAnswerALine) {
  const Model model(addTemplate);
  const Output o = chat(model.path, "-n 6", "hello\n\nmore\n");
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_EQ(o.err, "");
  EXPECT_GE(std::count(o.out.begin(), o.out.end(), '\n'), 2);
  EXPECT_EQ(o.out.find('>'), std::string::npos) << "no prompts";
}

TEST(ChatPiped, JsonCountsWhatIsPrefilled) {
  const Model model(addTemplate);
  const Output o =
      chat(model.path, "-n 6 --json --system sys --temperature 0", "hello\nmore\n/reset\nhello");
  ASSERT_EQ(o.status, 0) << o.err;
  std::istringstream lines(o.out);
  std::vector<nlohmann::json> turns;
  for (std::string line; std::getline(lines, line);) turns.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(turns.size(), 3u);
  EXPECT_EQ(turns[0]["cached_tokens"], 0);
  const auto first = static_cast<int64_t>(turns[0]["prompt_ids"].size());
  EXPECT_EQ(turns[0]["prefilled_tokens"], first);
  EXPECT_GE(turns[1]["cached_tokens"], first);
  EXPECT_EQ(turns[1]["cached_tokens"].get<int64_t>() + turns[1]["prefilled_tokens"].get<int64_t>(),
            static_cast<int64_t>(turns[1]["prompt_ids"].size()));
  EXPECT_EQ(turns[2]["prompt_ids"], turns[0]["prompt_ids"]);
  EXPECT_EQ(turns[2]["prefilled_tokens"], 1);
  EXPECT_EQ(turns[2]["ids"], turns[0]["ids"]);
}

TEST(ChatPiped, SavesTheConversationAsAContext) {
  const Model model(addTemplate);
  const std::string file = model.dir / "saved chat.json";
  const Output o = chat(model.path, "-n 6 --system sys", "hello\n/save " + file + "\n");
  ASSERT_EQ(o.status, 0) << o.err;
  const auto saved = nlohmann::json::parse(readText(file));
  ASSERT_EQ(saved["messages"].size(), 3u);
  EXPECT_EQ(saved["messages"][0], (nlohmann::json{{"role", "system"}, {"content", "sys"}}));
  EXPECT_EQ(saved["messages"][1], (nlohmann::json{{"role", "user"}, {"content", "hello"}}));
  EXPECT_EQ(saved["messages"][2]["role"], "assistant");
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
  EXPECT_THAT(error(model.path, "", "/sav\n"), HasSubstr("no command '/sav'"));
  EXPECT_THAT(error(model.path, "-n 2", "/save /no/such/dir/x\n"), HasSubstr("/no/such/dir/x"));
  EXPECT_THAT(error(model.path, "--prompt a", "", 2), HasSubstr("--prompt"));
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

TEST(ChatTerminal, IsAPleasantConversation) {
  const Model model([](schema::PlanT& p) {
    addTemplate(p);
    p.model->max_seq_len = 1 << 16;  // an answer that would take long
  });
  Terminal terminal(
      {LLMRUN, model.path, "--synthetic-weights", "--chat", "--threads", "1", "--ignore-eos"});
  ASSERT_TRUE(terminal.waitFor("/help lists the commands.")) << terminal.shown();
  ASSERT_TRUE(terminal.waitForPrompt()) << terminal.shown();

  terminal.type("hello\r");
  ASSERT_TRUE(terminal.waitFor("hello\r\n")) << terminal.shown();
  ASSERT_TRUE(terminal.waitForMore());
  terminal.type("\x03");  // stops the answer, not the program
  ASSERT_TRUE(terminal.waitFor("(stopped)")) << terminal.shown();
  ASSERT_TRUE(terminal.waitForPrompt()) << terminal.shown();

  terminal.type("half a line\x03");  // forgets the line, not the program
  ASSERT_TRUE(terminal.waitFor("(Ctrl-D or /exit ends the program)")) << terminal.shown();
  ASSERT_TRUE(terminal.waitForPrompt()) << terminal.shown();

  terminal.type(
      "/hp\x1b[D"
      "el\r");  // a cursor key: between h and p
  ASSERT_TRUE(terminal.waitFor("/save FILE")) << terminal.shown();
  ASSERT_TRUE(terminal.waitForPrompt()) << terminal.shown();

  terminal.type("\x1b[A\r");  // history
  ASSERT_TRUE(terminal.waitFor("/save FILE")) << terminal.shown();
  ASSERT_TRUE(terminal.waitForPrompt()) << terminal.shown();

  terminal.type("/nope\r");  // a mistake is a line, not the end
  ASSERT_TRUE(terminal.waitFor("there is no command '/nope'")) << terminal.shown();
  ASSERT_TRUE(terminal.waitForPrompt()) << terminal.shown();

  terminal.type("/save " + (model.dir / "saved") + "\r");
  ASSERT_TRUE(terminal.waitFor("(saved in ")) << terminal.shown();
  ASSERT_TRUE(terminal.waitForPrompt()) << terminal.shown();
  const auto saved = nlohmann::json::parse(readText(model.dir / "saved"));
  EXPECT_EQ(saved["messages"].size(), 2u) << "the part of the answer is kept";

  terminal.type("/reset\r");
  ASSERT_TRUE(terminal.waitFor("(a new conversation)")) << terminal.shown();
  ASSERT_TRUE(terminal.waitForPrompt()) << terminal.shown();
  terminal.type("\x04");
  EXPECT_EQ(terminal.wait(), 0) << terminal.shown();
}

// It comes between a line and its answer, within the answer, and behind it.
TEST(ChatTerminal, NoInterruptIsLostAndNoneEndsTheProgram) {
  const Model model([](schema::PlanT& p) {
    addTemplate(p);
    p.model->max_seq_len = 1 << 16;
  });
  Terminal terminal(
      {LLMRUN, model.path, "--synthetic-weights", "--chat", "--threads", "1", "--ignore-eos"});
  ASSERT_TRUE(terminal.waitForPrompt()) << terminal.shown();
  for (int i = 0; i < 40; ++i) {
    terminal.type("a\r");
    ASSERT_TRUE(terminal.waitFor("a\r\n")) << terminal.shown();  // the line is read
    usleep(static_cast<useconds_t>(i) * 50);
    terminal.interrupt();
    ASSERT_TRUE(terminal.waitFor("(stopped)")) << terminal.shown();
    ASSERT_TRUE(terminal.waitForPrompt()) << terminal.shown();
    terminal.type("/reset\r");
    ASSERT_TRUE(terminal.waitFor("(a new conversation)")) << terminal.shown();
    ASSERT_TRUE(terminal.waitForPrompt()) << terminal.shown();
  }
  terminal.type("a\r");
  ASSERT_TRUE(terminal.waitFor("a\r\n"));
  ASSERT_TRUE(terminal.waitForMore());
  for (int i = 0; i < 5; ++i) terminal.interrupt();  // impatient
  ASSERT_TRUE(terminal.waitFor("(stopped)")) << terminal.shown();
  ASSERT_TRUE(terminal.waitForPrompt()) << terminal.shown();
  terminal.type("/exit\r");
  EXPECT_EQ(terminal.wait(), 0) << terminal.shown();
}

TEST(ChatTerminal, AnErrorWithinAnAnswerBeginsALine) {
  const Model model(refuseAnL);
  Terminal terminal({LLMRUN, model.path, "--synthetic-weights", "--chat", "--threads", "1",
                     "--ignore-eos", "--temperature", "3"});
  ASSERT_TRUE(terminal.waitForPrompt()) << terminal.shown();
  terminal.type("hi\r");
  ASSERT_TRUE(terminal.waitFor("hi\r\n")) << terminal.shown();
  ASSERT_TRUE(terminal.waitForMore());
  ASSERT_TRUE(terminal.waitFor("\r\nllmrun: error: ")) << terminal.shown();
  ASSERT_TRUE(terminal.waitForPrompt()) << terminal.shown();
  terminal.type("/exit\r");
  EXPECT_EQ(terminal.wait(), 0) << terminal.shown();
}

TEST(ChatTerminal, EndsAnAnswerWhereTheFlagsOrTheContextDo) {
  const Model model(addTemplate);
  Terminal terminal({LLMRUN, model.path, "--synthetic-weights", "--chat", "--threads", "1",
                     "--ignore-eos", "-n", "5"});
  ASSERT_TRUE(terminal.waitForPrompt());
  terminal.type("hello\\\rthere\r");
  ASSERT_TRUE(terminal.waitFor("(ended by --max-tokens 5)")) << terminal.shown();
  ASSERT_TRUE(terminal.waitForPrompt());
  terminal.type("/exit\r");
  EXPECT_EQ(terminal.wait(), 0) << terminal.shown();

  Terminal full({LLMRUN, model.path, "--synthetic-weights", "--chat", "--threads", "1",
                 "--ignore-eos", "--max-seq-len", "30"});
  ASSERT_TRUE(full.waitForPrompt());
  full.type("hello\r");
  ASSERT_TRUE(full.waitFor("(the context of 30 tokens is full: /reset begins a new conversation)"))
      << full.shown();
  ASSERT_TRUE(full.waitForPrompt());
  full.type("more\r");
  ASSERT_TRUE(full.waitFor("the conversation no longer fits")) << full.shown();
  ASSERT_TRUE(full.waitForPrompt());
  full.type("/reset\r");
  ASSERT_TRUE(full.waitForPrompt());
  full.type("hello\r");
  ASSERT_TRUE(full.waitFor("is full")) << full.shown();
  ASSERT_TRUE(full.waitForPrompt());
  full.type("\x04");
  EXPECT_EQ(full.wait(), 0) << full.shown();
}

}  // namespace
}  // namespace llmrt
