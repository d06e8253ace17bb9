// llmrun --chat on a terminal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "tests/runtime/chat_models.h"
#include "tests/runtime/example_plan.h"
#include "tests/runtime/terminal.h"

namespace llmrt {
namespace {

using example::Model;
using testing::HasSubstr;

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
  ASSERT_TRUE(full.waitFor("(the context of 30 tokens is full: /reset begins a new conversation"))
      << full.shown();
  ASSERT_TRUE(full.waitForPrompt());
  full.type("a message of more than the context holds\r");
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

struct ChatOnTerminal : testing::Test {
  std::vector<std::string> args(const Model& model, const std::vector<std::string>& more = {}) {
    std::vector<std::string> all = {LLMRUN,      model.path, "--synthetic-weights", "--chat",
                                    "--threads", "1",        "--ignore-eos"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  // Types a line, and waits for what it gives and for the next prompt.
  static void enter(Terminal& terminal, const std::string& line, const std::string& shown) {
    terminal.type(line + "\r");
    ASSERT_TRUE(terminal.waitFor(shown)) << shown << " in\n" << terminal.shown();
    ASSERT_TRUE(terminal.waitForPrompt()) << terminal.shown();
  }
  // The same for a line that gives nothing.
  static void enterQuietly(Terminal& terminal, const std::string& line) {
    terminal.type(line + "\r");
    ASSERT_TRUE(terminal.waitFor("\r\n")) << terminal.shown();
    ASSERT_TRUE(terminal.waitForPrompt()) << terminal.shown();
  }
  nlohmann::json saved(Terminal& terminal) {
    const std::string file = dir / "saved";
    enter(terminal, "/save " + file, "(saved in ");
    return nlohmann::json::parse(readText(file))["messages"];
  }
  static void end(Terminal& terminal) {
    terminal.type("\x04");
    EXPECT_EQ(terminal.wait(), 0) << terminal.shown();
    EXPECT_TRUE(terminal.isOrdinary());
  }

  example::TempDir dir;
  Model model{addTemplate};
  Model endless{[](schema::PlanT& p) {
    addTemplate(p);
    p.model->max_seq_len = 1 << 16;
  }};
};

TEST_F(ChatOnTerminal, WhatIsPastedIsOneMessage) {
  Terminal terminal(args(model, {"-n", "3"}));
  ASSERT_TRUE(terminal.waitFor("\x1b[?2004h")) << "asks the terminal to mark pastes";
  ASSERT_TRUE(terminal.waitForPrompt()) << terminal.shown();
  terminal.type("say \x1b[200~one\r/reset\r\ntwo\ttwo\n\x1b[201~");
  enter(terminal, "\x7f!", "context ");  // Backspace takes the last line end
  EXPECT_EQ(saved(terminal)[0]["content"], "say one\n/reset\ntwo\ttwo!");
  terminal.type("\x1b[200~a \xf0\x9f\x99\x82 b\x1b[201~\x1b[D\x1b[D\x7f");  // a wide character
  enter(terminal, "", "context ");
  EXPECT_EQ(saved(terminal)[2]["content"], "a  b");
  end(terminal);
  EXPECT_THAT(terminal.shown(), HasSubstr("\x1b[?2004l"));
}

TEST_F(ChatOnTerminal, SeveralLinesMayBeTyped) {
  Terminal terminal(args(model, {"-n", "3"}));
  ASSERT_TRUE(terminal.waitForPrompt());
  terminal.type("\"\"\"\r");
  terminal.type("one\\\r");
  terminal.type("two \"x\"\r");
  enter(terminal, "\"\"\"", "context ");
  enter(terminal, "\"\"\"one line\"\"\"", "context ");
  terminal.type(
      "above\x1b\r"
      "below\x1b[A"
      "X");  // Alt-Enter, the line above
  enter(terminal, "", "context ");
  const auto messages = saved(terminal);
  EXPECT_EQ(messages[0]["content"], "one\\\ntwo \"x\"");
  EXPECT_EQ(messages[2]["content"], "one line");
  EXPECT_EQ(messages[4]["content"], "aboveX\nbelow");
  end(terminal);
}

TEST_F(ChatOnTerminal, KeysTypedDuringAnAnswerWaitUnseen) {
  Terminal terminal(args(endless));
  ASSERT_TRUE(terminal.waitForPrompt());
  terminal.type("hello\r");
  ASSERT_TRUE(terminal.waitFor("hello\r\n"));
  ASSERT_TRUE(terminal.waitForMore());
  const size_t begin = terminal.shown().size();
  terminal.type("/set seed 7\r/set seed 8\r");
  usleep(100'000);
  terminal.type("\x03");  // the key, which throws away what waits on most terminals
  ASSERT_TRUE(terminal.waitFor("(stopped)")) << terminal.shown();
  const std::string answer =
      terminal.shown().substr(begin, terminal.shown().find("(stopped)") - begin);
  EXPECT_EQ(answer.find('/'), std::string::npos) << answer;
  ASSERT_TRUE(terminal.waitFor("/set seed 7")) << terminal.shown();
  ASSERT_TRUE(terminal.waitFor("/set seed 8")) << terminal.shown();
  ASSERT_TRUE(terminal.waitForPrompt());
  enter(terminal, "/set", "seed                8 ");
  end(terminal);
}

TEST_F(ChatOnTerminal, CtrlZGivesTheTerminalBackAndFgRedraws) {
  Terminal terminal({"/bin/bash", "--norc", "--noprofile", "-i"});
  terminal.type("PS1='rea''dy$ '\r");
  ASSERT_TRUE(terminal.waitFor("ready$ ")) << terminal.shown();
  std::string command;
  for (const std::string& arg : args(endless)) command += arg + " ";
  terminal.type(command + "\r");
  ASSERT_TRUE(terminal.waitFor("lists the commands.")) << terminal.shown();
  ASSERT_TRUE(terminal.waitForPrompt());
  terminal.type("half a");
  ASSERT_TRUE(terminal.waitFor("half a"));
  terminal.type("\x1a");
  ASSERT_TRUE(terminal.waitFor("ready$ ")) << terminal.shown();
  terminal.type("stty -a | grep -o ' icanon'; fg\r");
  ASSERT_TRUE(terminal.waitFor(" icanon\r\n")) << terminal.shown();
  ASSERT_TRUE(terminal.waitFor("> half a")) << terminal.shown();
  terminal.type(" line\r");
  ASSERT_TRUE(terminal.waitFor(" line\r\n")) << terminal.shown();
  ASSERT_TRUE(terminal.waitForMore());
  terminal.type("\x1a");  // within an answer
  ASSERT_TRUE(terminal.waitFor("ready$ ")) << terminal.shown();
  terminal.type("fg\r");
  ASSERT_TRUE(terminal.waitFor(LLMRUN)) << terminal.shown();
  ASSERT_TRUE(terminal.waitFor("\n")) << terminal.shown();
  ASSERT_TRUE(terminal.waitForMore());
  terminal.type("\x03");
  ASSERT_TRUE(terminal.waitFor("(stopped)")) << terminal.shown();
  ASSERT_TRUE(terminal.waitForPrompt());
  EXPECT_EQ(saved(terminal)[0]["content"], "half a line");
  terminal.type("\x04");
  ASSERT_TRUE(terminal.waitFor("ready$ ")) << terminal.shown();
  terminal.type("exit\r");
  EXPECT_EQ(terminal.wait(), 0);
}

TEST_F(ChatOnTerminal, ASignalThatEndsItGivesTheTerminalBack) {
  for (const int signal : {SIGTERM, SIGHUP}) {
    Terminal terminal(args(model));
    ASSERT_TRUE(terminal.waitForPrompt());
    EXPECT_FALSE(terminal.isOrdinary());
    terminal.signal(signal);
    EXPECT_EQ(terminal.wait(), -1) << "ended by the signal";
    EXPECT_TRUE(terminal.isOrdinary());
    EXPECT_THAT(terminal.shown(), HasSubstr("\x1b[?2004l"));
  }
}

TEST_F(ChatOnTerminal, TheHistoryOutlivesTheRunAndOtherRuns) {
  const std::string state = dir / "state";
  Terminal first(args(model, {"-n", "1"}), state), second(args(model, {"-n", "1"}), state);
  ASSERT_TRUE(first.waitForPrompt());
  ASSERT_TRUE(second.waitForPrompt());
  enter(first, "one", "context ");
  enter(second, "two", "context ");
  enter(first, "three", "context ");
  end(first);
  end(second);
  Terminal third(args(model, {"-n", "1"}), state);
  ASSERT_TRUE(third.waitForPrompt());
  third.type("\x1b[A");
  ASSERT_TRUE(third.waitFor("three")) << third.shown();
  third.type("\x1b[A");
  ASSERT_TRUE(third.waitFor("wo")) << third.shown();  // libedit rewrites what differs
  third.type("\x1b[A");
  enter(third, "", "context ");
  EXPECT_EQ(saved(third)[0]["content"], "one");
  end(third);
}

TEST_F(ChatOnTerminal, CommandsChangeTheConversation) {
  Terminal terminal(args(model, {"-n", "4", "--temperature", "2"}));
  ASSERT_TRUE(terminal.waitForPrompt());
  enter(terminal, "/retry", "there is no message to answer yet");
  enter(terminal, "/system", "(no system message)");
  enterQuietly(terminal, "/system be terse");
  enter(terminal, "hello", "[prompt 21 tokens, 0 of them cached, ");
  const auto once = saved(terminal);
  ASSERT_EQ(once.size(), 3u);
  EXPECT_EQ(once[0]["content"], "be terse");
  enter(terminal, "/retry", "context ");
  const auto twice = saved(terminal);
  ASSERT_EQ(twice.size(), 3u);
  EXPECT_EQ(twice[1], once[1]);
  EXPECT_NE(twice[2], once[2]) << "drawn with the same numbers";

  enterQuietly(terminal, "/set temperature 0");
  enterQuietly(terminal, "/set max-tokens 2");
  enter(terminal, "again", "answer 2 tokens");
  enter(terminal, "/retry", "(the same again at temperature 0");
  enter(terminal, "/set temperature warm", "/set temperature 'warm': is no value of it");
  enter(terminal, "/set temperature -1", "/set temperature '-1': must be 0 (greedy) or more");
  enter(terminal, "/set temperature", "is 0; give a value");
  enter(terminal, "/set warmth 1", "/set 'warmth': there is no such setting");
  enterQuietly(terminal, "/set max_tokens default");
  enter(terminal, "/set", "max_tokens          4 ");

  const std::string file = dir / "kept.json";
  enter(terminal, "/save " + file, "(saved in ");
  enter(terminal, "/clear", "(a new conversation)");
  EXPECT_EQ(saved(terminal).size(), 1u) << "the system message";
  enter(terminal, "/load " + file, "(5 messages of ");
  EXPECT_EQ(saved(terminal).size(), 5u);
  enter(terminal, "/load " + (dir / "none"), "no such file");
  enter(terminal, "/load " + model.path, "llmrun: error: " + model.path);
  EXPECT_EQ(saved(terminal).size(), 5u) << "a failure changes nothing";
  enter(terminal, "/reset now", "/reset: takes nothing behind it");
  enterQuietly(terminal, "/system \"\"");
  EXPECT_EQ(saved(terminal)[0]["role"], "user");
  end(terminal);
}

TEST_F(ChatOnTerminal, TabCompletes) {
  example::writeFile(dir / "some talk.json",
                     {'{', '"', 'm', 'e', 's', 's', 'a', 'g', 'e', 's', '"', ':', '[', ']', '}'});
  Terminal terminal(args(model));
  ASSERT_TRUE(terminal.waitForPrompt());
  enter(terminal, "/he\t", "begins a new conversation");
  terminal.type("/re\t\t");
  ASSERT_TRUE(terminal.waitFor("/reset  /retry")) << terminal.shown();
  enter(terminal, "s\t", "(a new conversation)");
  enter(terminal, "/load " + (dir / "some\t"), "(0 messages of ");
  enterQuietly(terminal, "/set tem\t3");
  enter(terminal, "/set", "temperature         3 ");
  end(terminal);
}

TEST_F(ChatOnTerminal, AFullContextOffersToDropTheOldestTurns) {
  Terminal terminal(args(model, {"--max-seq-len", "64", "-n", "20", "--system", "s"}));
  ASSERT_TRUE(terminal.waitForPrompt());
  enter(terminal, "the first", "context ");
  enter(terminal, "the second", "(the context of 64 tokens is full");
  terminal.type("the third\r");
  ASSERT_TRUE(terminal.waitFor("Drop the oldest turn of it, to ")) << terminal.shown();
  enter(terminal, "n", "(not sent; ");
  EXPECT_EQ(saved(terminal).size(), 5u);
  terminal.type("the third\r");
  ASSERT_TRUE(terminal.waitFor("[y/n] ")) << terminal.shown();
  enter(terminal, "y", "(dropped: the first)");
  const auto messages = saved(terminal);
  ASSERT_EQ(messages.size(), 5u);
  EXPECT_EQ(messages[0]["content"], "s");
  EXPECT_EQ(messages[1]["content"], "the second");
  EXPECT_EQ(messages[3]["content"], "the third");
  end(terminal);
}

// A template may refuse what is left: it is not the conversation yet.
TEST_F(ChatOnTerminal, NothingIsDroppedUnasked) {
  const Model refusing([](schema::PlanT& plan) {
    addTemplate(plan);
    plan.chat_template =
        "{% if messages[0].content == 'the second' %}{{ raise_exception('refused') }}{% endif %}" +
        plan.chat_template;
  });
  Terminal terminal(args(refusing, {"--max-seq-len", "64", "-n", "20"}));
  ASSERT_TRUE(terminal.waitForPrompt());
  enter(terminal, "the first", "context ");
  enter(terminal, "the second", "(the context of 64 tokens is full");
  enter(terminal, "the third", "refused");
  EXPECT_EQ(saved(terminal).size(), 4u);
  end(terminal);
}

// As if the template had opened the model's thinking.
void beginThinking(schema::PlanT& plan) {
  respell(plan, 'A', '<');
  respell(plan, 'B', '>');
  plan.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}<think>";
}

TEST_F(ChatOnTerminal, ThinkingIsDimmedOrLeftOut) {
  const Model thinking(beginThinking);
  Terminal terminal(args(thinking, {"-n", "5"}));
  ASSERT_TRUE(terminal.waitForPrompt());
  terminal.type("hello\r");
  ASSERT_TRUE(terminal.waitFor("hello\r\n\x1b[2m")) << terminal.shown();
  ASSERT_TRUE(terminal.waitForPrompt());
  enterQuietly(terminal, "/set think off");
  enter(terminal, "/reset", "(a new conversation)");
  const size_t begin = terminal.shown().size();
  enter(terminal, "hello", "(thinking)");
  EXPECT_EQ(terminal.shown().find("(thinking)", begin), terminal.shown().rfind("(thinking)"));
  end(terminal);
}

// Every control character that a model could say, one in two tokens.
void sayControls(schema::PlanT& plan) {
  addTemplate(plan);
  for (const auto& [letter, byte] :
       {std::pair{'A', '\x1b'}, {'B', '\r'}, {'C', '\a'}, {'D', '\xc2'}, {'E', '\x9b'}})
    respell(plan, letter, byte);
}

TEST_F(ChatOnTerminal, ATerminalIsShownNoControlCharacters) {
  const Model controls(sayControls);
  const auto llmrun = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all = {LLMRUN,
                                    controls.path,
                                    "--synthetic-weights",
                                    "--ignore-eos",
                                    "--temperature",
                                    "50",
                                    "-n",
                                    "150",
                                    "--prompt",
                                    "hi"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  for (const std::vector<std::string>& more : {std::vector<std::string>(), {"--chat"}}) {
    Terminal terminal(llmrun(more));
    EXPECT_EQ(terminal.wait(), 0);
    // Its own: dimmed figures, line ends.
    std::string shown = terminal.shown();
    for (const std::string& own : {std::string("\x1b[2m"), std::string("\x1b[22m")})
      if (const size_t at = shown.find(own); at != std::string::npos) shown.erase(at, own.size());
    for (size_t at; (at = shown.find("\r\n")) != std::string::npos;) shown.erase(at, 1);
    EXPECT_EQ(shown.find_first_of("\x1b\r\a"), std::string::npos);
    EXPECT_EQ(shown.find("\xc2\x9b"), std::string::npos);
    std::string command;
    for (const std::string& arg : llmrun(more)) command += arg + " ";
    ASSERT_EQ(std::system((command + ">" + (dir / "out")).c_str()), 0);
    EXPECT_NE(readText(dir / "out").find_first_of("\x1b\r\a"), std::string::npos)
        << "a pipe gets the text as it is";
  }
}

TEST_F(ChatOnTerminal, APromptReadFromATerminalSaysHowItEnds) {
  Terminal terminal({LLMRUN, model.path, "--synthetic-weights", "--ignore-eos", "-n", "3"});
  ASSERT_TRUE(terminal.waitFor("Ctrl-D on a new line ends it")) << terminal.shown();
  terminal.type("abc\n\x04");
  ASSERT_TRUE(terminal.waitFor("tokens in a context of 200 tokens]")) << terminal.shown();
  EXPECT_EQ(terminal.wait(), 0);
}

TEST_F(ChatOnTerminal, SaysWhatOfTheContextIsTaken) {
  const Model longer([](schema::PlanT& p) {
    addTemplate(p);
    p.model->trained_seq_len = 5000;
  });
  const auto first = [&](const std::vector<std::string>& more, const std::string& expected) {
    Terminal terminal(args(longer, more));
    EXPECT_TRUE(terminal.waitFor(expected)) << terminal.shown();
    ASSERT_TRUE(terminal.waitForPrompt());
    end(terminal);
  };
  first({}, "a context of 200 tokens of the model's 5000 (llmc compile --max-seq-len).");
  first({"--max-seq-len", "60"},
        "a context of 60 tokens of the plan's 200 (--max-seq-len), of the "
        "model's 5000 (llmc compile --max-seq-len).");
}

}  // namespace
}  // namespace llmrt
