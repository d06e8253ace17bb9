#include "tools/llmrun/terminal.h"

#include <poll.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <string_view>

#include "tools/llmrun/interrupt.h"

namespace llmrt {
namespace {

struct termios given;  // as the terminal was
bool marks_pastes = false;

constexpr int kEnding[] = {SIGTERM, SIGHUP, SIGQUIT};

bool isDumb() {
  const char* term = std::getenv("TERM");
  return !term || !*term || std::string_view(term) == "dumb";
}

// Keys that waited when Ctrl-Z came, a ring: the shell would take them for commands.
char kept[4096];
std::atomic<size_t> kept_begin{0}, kept_end{0};

void keepKeys() {
  struct pollfd keys = {STDIN_FILENO, POLLIN, 0};
  char key;
  while (kept_end - kept_begin < sizeof kept && ::poll(&keys, 1, 0) == 1 &&
         ::read(STDIN_FILENO, &key, 1) == 1) {
    kept[kept_end % sizeof kept] = key;
    ++kept_end;
  }
}

void writeAll(std::string_view text) {
  [[maybe_unused]] const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
}
void markPastes(bool on) {
  if (marks_pastes) writeAll(on ? "\033[?2004h" : "\033[?2004l");
}

void catchSignal(int signal, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigaction(signal, &action, nullptr);
}

// By whoever started the program: nohup, a shell without job control.
bool isIgnored(int signal) {
  struct sigaction action = {};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

// As if the signal had not been caught.
void obey(int signal) {
  catchSignal(signal, SIG_DFL);
  sigset_t only, before;
  sigemptyset(&only);
  sigaddset(&only, signal);
  pthread_sigmask(SIG_UNBLOCK, &only, &before);
  raise(signal);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// The handlers call only what POSIX allows there: tcgetattr, tcsetattr, poll, read, write,
// sigaction, raise.
void onStop(int signal) {
  const int error = errno;
  struct termios now;
  const bool known = tcgetattr(STDIN_FILENO, &now) == 0;
  keepKeys();
  markPastes(false);
  tcsetattr(STDIN_FILENO, TCSANOW, &given);
  obey(signal);  // stops here until somebody says fg
  catchSignal(signal, onStop);
  // In the background this stops the program anew: it cannot go on without its terminal.
  if (known) tcsetattr(STDIN_FILENO, TCSANOW, &now);
  markPastes(true);
  wakeForRedraw();
  errno = error;
}

void onEnd(int signal) {
  markPastes(false);
  tcsetattr(STDIN_FILENO, TCSANOW, &given);
  obey(signal);
}

void onChange(int) {
  const int error = errno;
  wakeForRedraw();
  errno = error;
}

}  // namespace

TerminalLoan::TerminalLoan() {
  tcgetattr(STDIN_FILENO, &given);
  marks_pastes = !isDumb();
  markPastes(true);
  if (!isIgnored(SIGTSTP)) catchSignal(SIGTSTP, onStop);
  for (const int signal : kEnding)
    if (!isIgnored(signal)) catchSignal(signal, onEnd);
  catchSignal(SIGWINCH, onChange);
  catchSignal(SIGCONT, onChange);
}

TerminalLoan::~TerminalLoan() {
  for (const int signal : {SIGTSTP, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGCONT})
    if (!isIgnored(signal)) catchSignal(signal, SIG_DFL);
  markPastes(false);
  tcsetattr(STDIN_FILENO, TCSADRAIN, &given);
}

bool takeKeptKey(char* key) {
  if (kept_begin == kept_end) return false;
  *key = kept[kept_begin % sizeof kept];
  ++kept_begin;
  return true;
}

bool terminalHasStyles() {
  const char* plain = std::getenv("NO_COLOR");
  return !isDumb() && !(plain && *plain);
}

}  // namespace llmrt
