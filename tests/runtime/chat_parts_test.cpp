// What a conversation on a terminal is made of: thinking told from the answer, commands, settings,
// files, the history.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "tests/runtime/example_plan.h"
#include "tools/llmrun/answer_view.h"
#include "tools/llmrun/chat_commands.h"
#include "tools/llmrun/chat_settings.h"
#include "tools/llmrun/history_file.h"

namespace llmrt {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// "[thinking]answer", whatever the portions.
std::string split(std::string_view head, std::string_view text, size_t portion) {
  ThinkingSplitter splitter(head);
  std::string thinking, answer;
  const auto emit = [&](std::string_view part, bool thinks) {
    (thinks ? thinking : answer) += part;
  };
  for (size_t i = 0; i < text.size(); i += portion) splitter.push(text.substr(i, portion), emit);
  splitter.finish(emit);
  return "[" + thinking + "]" + answer;
}

TEST(Thinking, IsWhatStandsBetweenItsMarksAtTheBeginning) {
  for (size_t portion = 1; portion < 40; ++portion) {
    SCOPED_TRACE(portion);
    EXPECT_EQ(split("", "<think>\nso\n</think>\n\nYes", portion), "[so\n]Yes");
    EXPECT_EQ(split("", "\n<think>a < b</thin</think>Yes", portion), "[a < b</thin]Yes");
    EXPECT_EQ(split("", "<|channel>thought\nso<channel|>Yes", portion), "[so]Yes");
    EXPECT_EQ(split("", "[THINK]so[/THINK]Yes", portion), "[so]Yes");
    EXPECT_EQ(split("...<think>\n", "so</think>Yes", portion), "[so]Yes") << "by the template";
    EXPECT_EQ(split("<think>\n\n</think>\n\n", "Yes", portion), "[]Yes") << "it forbade it";
    EXPECT_EQ(split("", "<think>cut", portion), "[cut]");
    EXPECT_EQ(split("", "<thi", portion), "[]<thi");
    EXPECT_EQ(split("", " Write <think>x</think>", portion), "[] Write <think>x</think>");
    EXPECT_EQ(split("", "", portion), "[]");
  }
}

std::string viewed(bool show_thinking, std::string_view text) {
  setenv("TERM", "xterm", 1);
  unsetenv("NO_COLOR");
  testing::internal::CaptureStdout();
  AnswerView view("", show_thinking);
  for (const char& c : text) view.push({&c, 1});
  view.finish();
  return testing::internal::GetCapturedStdout();
}

TEST(Thinking, IsShownDimmedAndApart) {
  std::string shown = viewed(true, "<think>so\a</think>Yes");
  for (size_t at; (at = shown.find("\033[22m\033[2m")) != std::string::npos;) shown.erase(at, 9);
  EXPECT_EQ(shown, "\033[2mso\033[22m\n\nYes\n");
  EXPECT_EQ(viewed(false, "<think>so</think>Yes"), "\033[2m(thinking)\n\033[22mYes\n");
  EXPECT_EQ(viewed(true, "Yes\n"), "Yes\n");
  EXPECT_EQ(viewed(true, ""), "\n");
}

TEST(Commands, AreToldFromMessages) {
  const auto parse = [](std::string_view text) { return parseCommand(text); };
  EXPECT_FALSE(parse("hello")->has_value());
  EXPECT_FALSE(parse(" /help")->has_value()) << "a space makes it a message";
  EXPECT_FALSE(parse("/etc/hosts is a file")->has_value());
  EXPECT_EQ((*parse("/help "))->command, ChatCommand::kHelp);
  EXPECT_EQ((*parse("/clear"))->command, ChatCommand::kReset);
  EXPECT_EQ((*parse("/save  a file "))->argument, "a file");
  EXPECT_EQ((*parse("/system be\nterse"))->argument, "be\nterse");
  EXPECT_THAT(parse("/nope").status().message(), HasSubstr("there is no command '/nope'"));
  EXPECT_THAT(parse("/save").status().message(), HasSubstr("/save: takes a file's name"));
  for (const char* name :
       {"/help", "/reset", "/retry", "/system", "/set", "/save", "/load", "/exit"})
    EXPECT_THAT(commandHelp(), HasSubstr(name));
}

TEST(Commands, CompleteNamesSettingsAndFiles) {
  EXPECT_THAT(completeCommand("/s").words, ElementsAre("/system", "/set", "/save"));
  EXPECT_TRUE(completeCommand("hello").words.empty());
  const Completions setting = completeCommand("/set top_");
  EXPECT_EQ(setting.from, 5u);
  EXPECT_THAT(setting.words, ElementsAre("top_k", "top_p"));
  const example::TempDir dir;
  example::writeFile(dir / "a b", {});
  example::writeFile(dir / ".hidden", {});
  mkdir((dir / "ab").c_str(), 0700);
  EXPECT_THAT(completeCommand("/load " + (dir / "")).words, ElementsAre(dir / "a b", dir / "ab/"));
  EXPECT_THAT(completeCommand("/load " + (dir / ".h")).words, ElementsAre(dir / ".hidden"));
  EXPECT_TRUE(completeCommand("/load /no/such/folder/").words.empty());
}

TEST(Messages, AreReadAsTheyWereWritten) {
  const example::TempDir dir;
  const std::vector<ChatMessage> messages = {
      {"system", "be \"terse\""}, {"user", "\u4f60\n\t"}, {"assistant", ""}};
  ASSERT_TRUE(saveMessages(messages, dir / "f").ok());
  const auto read = loadMessages(dir / "f");
  ASSERT_TRUE(read.ok()) << read.status().message();
  ASSERT_EQ(read->size(), messages.size());
  for (size_t i = 0; i < messages.size(); ++i) {
    EXPECT_EQ((*read)[i].role, messages[i].role);
    EXPECT_EQ((*read)[i].content, messages[i].content);
  }
  const auto error = [&](const std::string& text) {
    example::writeFile(dir / "f", {text.begin(), text.end()});
    const auto wrong = loadMessages(dir / "f");
    EXPECT_FALSE(wrong.ok());
    EXPECT_THAT(wrong.status().message(), HasSubstr(dir / "f"));
    return std::string(wrong.status().message());
  };
  EXPECT_THAT(error("{"), HasSubstr("malformed JSON"));
  EXPECT_THAT(error("[]"), HasSubstr("has no list of messages"));
  EXPECT_THAT(error(R"({"messages": [1]})"), HasSubstr("message 0 has no role"));
  EXPECT_THAT(error(R"({"messages": [{"role": "user", "content": []}]})"),
              HasSubstr("message 0 has no content that is a text"));
  EXPECT_THAT(error(R"({"messages": [{"role": "user", "content": ""},
                                     {"role": "tool", "content": ""}]})"),
              HasSubstr("message 1 is of the role 'tool'"));
}

TEST(Settings, AreCheckedAndGoBackToWhatTheyWere) {
  GenerateOptions start;
  start.sampler.top_k = 40;
  ChatSettings settings(start, 100);
  EXPECT_TRUE(settings.set("top_k 5").ok());
  EXPECT_TRUE(settings.set("top-p  0.5").ok());
  EXPECT_TRUE(settings.set("seed 18446744073709551615").ok());
  EXPECT_TRUE(settings.set("figures off").ok());
  EXPECT_EQ(settings.options.sampler.top_k, 5);
  EXPECT_EQ(settings.options.sampler.top_p, 0.5f);
  EXPECT_EQ(settings.options.sampler.seed, UINT64_MAX);
  EXPECT_FALSE(settings.figures);
  for (const char* wrong : {"top_p 0", "top_p nan", "top_p 0.5x", "top_k -1", "top_k 1.5",
                            "seed -1", "max_tokens -1", "think maybe", "nothing 1", "top_k", ""})
    EXPECT_FALSE(settings.set(wrong).ok()) << wrong;
  EXPECT_EQ(settings.options.sampler.top_k, 5) << "what is wrong changes nothing";
  EXPECT_EQ(settings.options.sampler.top_p, 0.5f);
  EXPECT_TRUE(settings.set("top_k default").ok());
  EXPECT_EQ(settings.options.sampler.top_k, 40);
}

TEST(History, IsKeptInOrderForItsUserAlone) {
  const example::TempDir dir;
  const HistoryFile history(dir / "state/llmc/history");
  EXPECT_TRUE(history.load()->empty());
  for (const char* entry : {"one", "two\nlines \"x\"", "\u4f60"})
    ASSERT_TRUE(history.append(entry).ok());
  EXPECT_THAT(*history.load(), ElementsAre("one", "two\nlines \"x\"", "\u4f60"));
  struct stat file;
  ASSERT_EQ(stat((dir / "state/llmc/history").c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777, 0600u);
  EXPECT_FALSE(HistoryFile("/dev/null/x").append("a").ok());
  EXPECT_TRUE(history.append(std::string(HistoryFile::kMaxEntryBytes + 1, 'a')).ok());
  EXPECT_EQ(history.load()->size(), 3u) << "too long to be kept";
}

TEST(History, PassesOverWhatIsNoEntry) {
  const example::TempDir dir;
  std::ofstream(dir / "h") << "\"one\"\n\x01garbage\n17\n\"cut";
  const HistoryFile history(dir / "h");
  ASSERT_TRUE(history.append("two").ok());
  EXPECT_THAT(*history.load(), ElementsAre("one", "two"));
}

TEST(History, OfProcessesAtOnceLosesNothingAndIsBounded) {
  constexpr int kProcesses = 4, kEach = 200;
  const example::TempDir dir;
  const HistoryFile history(dir / "h");
  // So that it grows over its bound, and is rewritten, while all write.
  {
    std::ofstream old(dir / "h");
    for (size_t i = 0; i < HistoryFile::kMaxEntries; ++i) old << "\"old\"\n";
  }
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p) {
    children.push_back(fork());
    if (children.back() != 0) continue;
    bool ok = true;
    for (int i = 0; i < kEach; ++i)
      ok = ok && history.append(std::to_string(p) + " " + std::to_string(i)).ok();
    _exit(ok ? 0 : 1);
  }
  for (const pid_t child : children) {
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  const std::vector<std::string> entries = *history.load();
  ASSERT_EQ(entries.size(), HistoryFile::kMaxEntries);
  std::vector<int> next(kProcesses);
  for (const std::string& entry : entries) {
    if (entry == "old") continue;
    const int p = entry[0] - '0';
    EXPECT_EQ(entry, std::to_string(p) + " " + std::to_string(next[static_cast<size_t>(p)]++));
  }
  EXPECT_THAT(next, testing::Each(kEach));
}

}  // namespace
}  // namespace llmrt
