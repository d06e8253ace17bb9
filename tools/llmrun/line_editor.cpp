#include "tools/llmrun/line_editor.h"

#include <histedit.h>
#include <unistd.h>

#include <clocale>
#include <cstdio>
#include <cstdlib>

#include "runtime/text/utf8.h"
#include "tools/llmrun/interrupt.h"

namespace llmrt {
namespace {

constexpr wchar_t kCtrlC = 3;

class EditLineEditor : public LineEditor {
 public:
  EditLineEditor() = default;
  ~EditLineEditor() override {
    if (editor_) el_end(editor_);
    if (history_) history_end(history_);
  }

  Status open() {
    // libedit shows characters through the locale; text is UTF-8 whatever that says.
    if (!std::setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
    editor_ = el_init("llmrun", stdin, stdout, stderr);
    history_ = history_init();
    if (!editor_ || !history_) return outOfMemory("out of memory: the line editor");
    HistEvent event;
    history(history_, &event, H_SETSIZE, 1000);
    history(history_, &event, H_SETUNIQUE, 1);
    el_set(editor_, EL_CLIENTDATA, this);
    el_set(editor_, EL_HIST, history, history_);
    el_set(editor_, EL_EDITOR, "emacs");
    el_set(editor_, EL_PROMPT, &EditLineEditor::prompt);
    el_set(editor_, EL_GETCFN, &EditLineEditor::readCharacter);
    el_set(editor_, EL_ADDFN, "llmrun-interrupt", "Ends the line", &EditLineEditor::onInterrupt);
    el_set(editor_, EL_BIND, "^C", "llmrun-interrupt", nullptr);
    el_set(editor_, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    return {};
  }

  Input read() override {
    std::string text;
    for (continued_ = false;; continued_ = true) {
      interrupt_ = false;
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
      std::string_view part(line, static_cast<size_t>(count));
      while (part.ends_with('\n')) part.remove_suffix(1);
      const bool more = part.ends_with('\\');
      if (more) part.remove_suffix(1);
      text += part;
      if (!more) break;
      text += '\n';
    }
    if (text.find_first_not_of(" \t\n") != std::string::npos) {
      HistEvent event;
      history(history_, &event, H_ENTER, text.c_str());
    }
    return {Kind::kLine, std::move(text)};
  }

 private:
  static EditLineEditor& self(EditLine* editor) {
    void* data = nullptr;
    el_get(editor, EL_CLIENTDATA, &data);
    return *static_cast<EditLineEditor*>(data);
  }
  static char* prompt(EditLine* editor) {
    static char first[] = "> ", next[] = ". ";
    return self(editor).continued_ ? next : first;
  }

  // In place of libedit's own, which reads on when a signal comes: Ctrl-C becomes a key here.
  static int readCharacter(EditLine*, wchar_t* out) {
    std::string bytes;
    for (size_t length = 1; bytes.size() < length;) {
      if (!waitForInput()) {
        *out = kCtrlC;
        return 1;
      }
      char byte = 0;
      const ssize_t n = ::read(STDIN_FILENO, &byte, 1);
      if (n <= 0) return static_cast<int>(n);
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

  EditLine* editor_ = nullptr;
  History* history_ = nullptr;
  bool continued_ = false, interrupt_ = false;
};

}  // namespace

Result<std::unique_ptr<LineEditor>> LineEditor::create() {
  auto editor = std::make_unique<EditLineEditor>();
  LLMRT_RETURN_IF_ERROR(editor->open());
  return std::unique_ptr<LineEditor>(std::move(editor));
}

}  // namespace llmrt
