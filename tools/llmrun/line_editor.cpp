#include "tools/llmrun/line_editor.h"

#include <fmt/format.h>
#include <histedit.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "runtime/io/printable.h"
#include "runtime/text/utf8.h"
#include "tools/llmrun/history_file.h"
#include "tools/llmrun/interrupt.h"
#include "tools/llmrun/terminal.h"

namespace llmrt {
namespace {

constexpr wchar_t kCtrlC = 3;
constexpr std::string_view kQuotes = "\"\"\"";
constexpr std::string_view kPasteEnd = "\033[201~";

class EditLineEditor : public LineEditor {
 public:
  explicit EditLineEditor(Completer completer) : completer_(std::move(completer)) {}
  ~EditLineEditor() override {
    if (editor_) el_end(editor_);
    if (history_) history_end(history_);
  }

  Status open(const std::string& history_path) {
    // libedit shows characters through the locale; text is UTF-8 whatever that says.
    if (!std::setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
    editor_ = el_init("llmrun", stdin, stdout, stderr);
    history_ = history_init();
    if (!editor_ || !history_) return outOfMemory("out of memory: the line editor");
    HistEvent event;
    history(history_, &event, H_SETSIZE, static_cast<int>(HistoryFile::kMaxEntries));
    history(history_, &event, H_SETUNIQUE, 1);
    el_set(editor_, EL_CLIENTDATA, this);
    el_set(editor_, EL_HIST, history, history_);
    el_set(editor_, EL_EDITOR, "emacs");
    el_set(editor_, EL_PROMPT, &EditLineEditor::prompt);
    el_set(editor_, EL_GETCFN, &EditLineEditor::readCharacter);
    // Between two reads the terminal has libedit's "execute" modes. Keys are kept as they come, as
    // while a line is edited, and not shown; a signal does not throw them away. A carriage return
    // stays what it is: it tells a pasted line's end from two.
    el_set(editor_, EL_SETTY, "-x", "-echo", "-icanon", "-icrnl", "-inlcr", "+noflsh", nullptr);
    el_set(editor_, EL_SETTY, "-d", "-icrnl", "-inlcr", "+noflsh", nullptr);
    bind("^C", "llmrun-interrupt", "Ends the line", &EditLineEditor::onInterrupt);
    bind("\033[200~", "llmrun-paste", "Inserts what is pasted", &EditLineEditor::onPaste);
    bind("\033\r", "llmrun-newline", "Begins a line", &EditLineEditor::onNewline);
    bind("\033\n", "llmrun-newline", nullptr, nullptr);
    bind("^I", "llmrun-complete", "Completes a command or a file's name",
         &EditLineEditor::onComplete);
    bind("\033[A", "llmrun-up", "The line above, or the history", &EditLineEditor::onUp);
    bind("\033OA", "llmrun-up", nullptr, nullptr);
    bind("\033[B", "llmrun-down", "The line below, or the history", &EditLineEditor::onDown);
    bind("\033OB", "llmrun-down", nullptr, nullptr);
    el_set(editor_, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    if (const Status s = openHistory(history_path); !s.ok()) forgetFile(s);
    return {};
  }

  Input read() override {
    Input input = readLine("> ");
    if (input.kind != Kind::kText) return input;
    const size_t begin = input.text.find_first_not_of(" \t");
    const bool quoted = begin != std::string::npos && input.text.substr(begin, 3) == kQuotes;
    if (quoted) input.text.erase(0, begin + kQuotes.size());
    std::string text;
    for (;;) {
      const bool more = quoted ? !endsInQuotes(input.text) : input.text.ends_with('\\');
      if (!quoted && more) input.text.pop_back();
      text += input.text;
      if (!more) break;
      text += '\n';
      input = readLine(". ");
      if (input.kind != Kind::kText) return input;
    }
    if (quoted) text.erase(text.rfind(kQuotes));
    // The quotes stand on lines of their own as often as not.
    if (quoted && text.starts_with('\n')) text.erase(0, 1);
    if (quoted && text.ends_with('\n')) text.pop_back();
    remember(text);
    return {Kind::kText, std::move(text)};
  }

  Input ask(const std::string& question) override { return readLine(question); }

 private:
  void bind(const char* keys, const char* name, const char* what,
            unsigned char (*function)(EditLine*, int)) {
    if (function) el_set(editor_, EL_ADDFN, name, what, function);
    el_set(editor_, EL_BIND, keys, name, nullptr);
  }

  static bool endsInQuotes(std::string_view text) {
    while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
    return text.ends_with(kQuotes);
  }

  Status openHistory(const std::string& path) {
    if (path.empty()) return {};
    file_.emplace(path);
    LLMRT_ASSIGN_OR_RETURN(const std::vector<std::string> entries, file_->load());
    HistEvent event;
    for (const std::string& entry : entries) history(history_, &event, H_ENTER, entry.c_str());
    return {};
  }

  void remember(const std::string& text) {
    if (text.find_first_not_of(" \t\n") == std::string::npos) return;
    HistEvent event;
    history(history_, &event, H_ENTER, text.c_str());
    if (!file_) return;
    if (const Status s = file_->append(text); !s.ok()) forgetFile(s);
  }
  // A conversation without a history is better than none.
  void forgetFile(const Status& status) {
    fmt::print("(the history is this run's alone: {})\n", printableText(status.message()));
    file_.reset();
  }

  // Without the newline at its end.
  Input readLine(const std::string& prompt) {
    prompt_ = prompt;
    interrupt_ = false;
    forgetRedraw();  // of an answer
    el_resize(editor_);
    int count = 0;
    const char* line = el_gets(editor_, &count);
    if (interrupt_) {
      takeInterrupt();
      std::fputs("\n", stdout);
      return {Kind::kInterrupt, ""};
    }
    if (!line || count <= 0) {
      std::fputs("\n", stdout);
      return {Kind::kEnd, ""};
    }
    std::string text(line, static_cast<size_t>(count));
    if (text.ends_with('\n')) text.pop_back();
    return {Kind::kText, std::move(text)};
  }

  static EditLineEditor& self(EditLine* editor) {
    void* data = nullptr;
    el_get(editor, EL_CLIENTDATA, &data);
    return *static_cast<EditLineEditor*>(data);
  }
  static char* prompt(EditLine* editor) { return self(editor).prompt_.data(); }

  enum class Byte { kRead, kNone, kInterrupt };
  Byte readByte(char* byte) {
    for (;;) {
      if (takeKeptKey(byte)) return Byte::kRead;
      switch (waitForInput()) {
        case Wake::kInterrupt:
          ::tcflush(STDIN_FILENO, TCIFLUSH);  // the rest of the line that it throws away
          return Byte::kInterrupt;
        case Wake::kRedraw:
          // Somebody else had the terminal, or it has another size: its modes and what it shows
          // are made anew.
          el_set(editor_, EL_PREP_TERM, 0);
          el_set(editor_, EL_PREP_TERM, 1);
          el_resize(editor_);
          std::fputs("\r\033[J", stdout);
          el_set(editor_, EL_REFRESH);
          continue;
        case Wake::kInput:
          return ::read(STDIN_FILENO, byte, 1) == 1 ? Byte::kRead : Byte::kNone;
      }
    }
  }

  // In place of libedit's own, which reads on when a signal comes: Ctrl-C becomes a key here.
  static int readCharacter(EditLine* editor, wchar_t* out) {
    std::string bytes;
    for (size_t length = 1; bytes.size() < length;) {
      char byte = 0;
      const Byte got = self(editor).readByte(&byte);
      if (got == Byte::kInterrupt) *out = kCtrlC;
      if (got != Byte::kRead) return got == Byte::kInterrupt;
      if (bytes.empty()) length = utf8Length(static_cast<unsigned char>(byte));
      bytes += byte;
    }
    *out = isValidUtf8(bytes) ? static_cast<wchar_t>(codePointAt(bytes, 0)) : L'\uFFFD';
    return 1;
  }

  static unsigned char onInterrupt(EditLine* editor, int) {
    self(editor).interrupt_ = true;
    return CC_NEWLINE;
  }

  static unsigned char onNewline(EditLine* editor, int) {
    return el_winsertstr(editor, L"\n") == 0 ? CC_REFRESH : CC_ERROR;
  }

  // Up to the terminal's mark of the end, not one key of it a command.
  static unsigned char onPaste(EditLine* editor, int) {
    std::string bytes;
    while (!bytes.ends_with(kPasteEnd)) {
      char byte = 0;
      const Byte got = self(editor).readByte(&byte);
      if (got == Byte::kInterrupt) return onInterrupt(editor, 0);
      if (got == Byte::kNone) return CC_EOF;
      bytes += byte;
    }
    bytes.resize(bytes.size() - kPasteEnd.size());
    std::string text;
    LossyUtf8 utf8;
    utf8.push(bytes, text);
    utf8.finish(text);
    std::wstring wide;
    for (size_t i = 0; i < text.size(); i += utf8Length(static_cast<unsigned char>(text[i]))) {
      // Terminals send a line's end as the key Enter.
      if (text[i] == '\n' && i > 0 && text[i - 1] == '\r') continue;
      if (text[i] != '\0')
        wide += text[i] == '\r' ? L'\n' : static_cast<wchar_t>(codePointAt(text, i));
    }
    if (wide.empty()) return CC_NORM;
    return el_winsertstr(editor, wide.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
  }

  static unsigned char onUp(EditLine* editor, int) { return moveLine(editor, true); }
  static unsigned char onDown(EditLine* editor, int) { return moveLine(editor, false); }

  // Within a text of several lines the arrows go from line to line; at its first and last they are
  // the history's, which libedit has on Ctrl-P and Ctrl-N.
  static unsigned char moveLine(EditLine* editor, bool up) {
    const LineInfoW* line = el_wline(editor);
    const std::wstring_view text(line->buffer, static_cast<size_t>(line->lastchar - line->buffer));
    const auto at = static_cast<size_t>(line->cursor - line->buffer);
    const size_t begin = at == 0 ? 0 : text.rfind(L'\n', at - 1) + 1;  // npos + 1 is 0
    const size_t column = at - begin;
    size_t to;
    if (up) {
      if (begin == 0) return push(editor, "\020");
      const size_t above = begin == 1 ? 0 : text.rfind(L'\n', begin - 2) + 1;
      to = std::min(above + column, begin - 1);
    } else {
      const size_t end = text.find(L'\n', at);
      if (end == std::wstring_view::npos) return push(editor, "\016");
      to = std::min(end + 1 + column, std::min(text.find(L'\n', end + 1), text.size()));
    }
    el_cursor(editor, static_cast<int>(to) - static_cast<int>(at));
    return CC_REFRESH;
  }
  static unsigned char push(EditLine* editor, const char* keys) {
    el_push(editor, keys);
    return CC_NORM;
  }

  static unsigned char onComplete(EditLine* editor, int) {
    const LineInfo* line = el_line(editor);
    const std::string before(line->buffer, static_cast<size_t>(line->cursor - line->buffer));
    const Completions completions = self(editor).completer_(before);
    const std::vector<std::string>& words = completions.words;
    if (words.empty())
      return before.starts_with('/') ? CC_REFRESH_BEEP
                                     : (el_insertstr(editor, "\t") == 0 ? CC_REFRESH : CC_ERROR);
    std::string common = words[0];
    for (const std::string& word : words)
      common.erase(std::mismatch(common.begin(), common.end(), word.begin(), word.end()).first,
                   common.end());
    while (!isValidUtf8(common)) common.pop_back();  // two characters that begin alike
    const std::string_view typed = std::string_view(before).substr(completions.from);
    std::string more = common.size() > typed.size() ? common.substr(typed.size()) : "";
    if (words.size() == 1 && !common.ends_with('/')) more += ' ';
    if (!more.empty()) return el_insertstr(editor, more.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
    showWords(words);
    return CC_REDISPLAY;
  }

  // Below the line, in columns.
  static void showWords(const std::vector<std::string>& words) {
    struct winsize size = {};
    const size_t columns =
        ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    size_t width = 0;
    for (const std::string& word : words) width = std::max(width, word.size() + 2);
    const size_t per_line = std::max<size_t>(1, columns / width);
    for (size_t i = 0; i < words.size(); ++i)
      fmt::print("{}{:<{}}", i % per_line == 0 ? "\n" : "", printableText(words[i]), width);
    fmt::print("\n");
  }

  Completer completer_;
  TerminalLoan loan_;  // is given back behind libedit
  EditLine* editor_ = nullptr;
  History* history_ = nullptr;
  std::optional<HistoryFile> file_;
  std::string prompt_;
  bool interrupt_ = false;
};

}  // namespace

Result<std::unique_ptr<LineEditor>> LineEditor::create(const std::string& history_path,
                                                       Completer completer) {
  auto editor = std::make_unique<EditLineEditor>(std::move(completer));
  LLMRT_RETURN_IF_ERROR(editor->open(history_path));
  return std::unique_ptr<LineEditor>(std::move(editor));
}

}  // namespace llmrt
