// llmc: compiles language models ahead of time.
#include <llvm/Support/ErrorHandling.h>
#include <pthread.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

#include "runtime/io/mapped_file_fault.h"
#include "runtime/io/printable.h"
#include "tools/cli/command_line.h"
#include "tools/cli/version.h"
#include "tools/llmc/Commands.h"

namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

// Messages quote names of files and what stands in them.
int fail(const std::string& message) {
  std::fprintf(stderr, "llmc: error: %s\n", llmrt::printableLine(message).c_str());
  return kFailed;
}

// Where memory runs out in code that cannot throw: one line, no core dump. No file is open for
// writing there.
[[noreturn]] void outOfMemory() {
  constexpr char kText[] = "llmc: error: out of memory\n";
  (void)!::write(STDERR_FILENO, kText, sizeof kText - 1);
  ::_exit(kFailed);
}

void terminateHandler() {
  try {
    if (std::exception_ptr current = std::current_exception()) std::rethrow_exception(current);
  } catch (const std::bad_alloc&) {
    outOfMemory();
  } catch (...) {
  }
  std::abort();
}

int run(int argc, char** argv) {
  CLI::App app(
      "Compiles language models ahead of time: a config, a Hugging Face directory or a GGUF file "
      "becomes a "
      "plan that llmrun executes.",
      "llmc");
  app.set_version_flag("--version", "llmc " + llmrt::versionText());
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  llmc::Command command;
  llmc::addCompileCommand(app, command);
  llmc::addPackCommand(app, command);
  llmc::addInspectCommand(app, command);
  llmc::addTokenizeCommand(app, command);
  llmc::addRenderCommand(app, command);
  llmc::addCacheCommand(app, command);
  llmc::addTargetsCommand(app, command);
  const llmrt::Result<bool> parsed = llmrt::parseCommandLine(app, argc, argv);
  if (!parsed.ok()) {
    std::fprintf(stderr, "llmc: %s\n", llmrt::printableLine(parsed.status().message()).c_str());
    return kUsage;
  }
  if (!*parsed) return 0;
  const llmrt::Status status = command();
  if (!status.ok()) return fail(status.message());
  // What stdout could not take (a full disk behind a pipe) is a failure too.
  if (std::fflush(stdout) != 0 || std::ferror(stdout))
    return fail("cannot write to standard output");
  return 0;
}

int runCaught(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc&) {
    return fail("out of memory");
  } catch (const std::exception& error) {
    return fail(std::string("internal error: ") + error.what());
  }
}

// LLVM's passes and the parsers recurse: with the stack that `ulimit -s` gives, which may be 64
// KiB, they would end in a crash. A thread's stack is as large as it is asked for: Linux's default.
int runOnLargeStack(int argc, char** argv) {
  struct Call {
    int argc;
    char** argv;
    int status;
  } call = {argc, argv, kFailed};
  constexpr size_t kStackBytes = size_t{8} << 20;
  pthread_attr_t attributes;
  pthread_t thread;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  const auto body = [](void* argument) -> void* {
    auto* const call = static_cast<Call*>(argument);
    call->status = runCaught(call->argc, call->argv);
    return nullptr;
  };
  if (::pthread_create(&thread, &attributes, body, &call) != 0)
    return fail("out of memory: no stack of 8 MiB can be had");
  ::pthread_join(thread, nullptr);
  return call.status;
}

}  // namespace

int main(int argc, char** argv) {
  llmrt::explainLostMappings("llmc");
  std::set_terminate(terminateHandler);
  // A file that would pass RLIMIT_FSIZE is then an error that is reported, like a full disk,
  // wherever it is written.
  std::signal(SIGXFSZ, SIG_IGN);
  llvm::install_bad_alloc_error_handler([](void*, const char*, bool) { outOfMemory(); });
  return runOnLargeStack(argc, argv);
}
