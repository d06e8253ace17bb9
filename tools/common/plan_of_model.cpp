#include "tools/common/plan_of_model.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "runtime/io/model_file.h"
#include "tools/cli/command_line.h"
#include "tools/cli/not_a_plan.h"

extern char** environ;

namespace llmrt {
namespace {

namespace fs = std::filesystem;

/// SIGINT and SIGQUIT are the child's to obey while this lives, as in system().
class SignalsIgnored {
 public:
  SignalsIgnored() {
    struct sigaction ignore = {};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGINT, &ignore, &interrupt_);
    ::sigaction(SIGQUIT, &ignore, &quit_);
  }
  ~SignalsIgnored() {
    ::sigaction(SIGINT, &interrupt_, nullptr);
    ::sigaction(SIGQUIT, &quit_, nullptr);
  }
  SignalsIgnored(const SignalsIgnored&) = delete;

 private:
  struct sigaction interrupt_, quit_;
};

Status cannotRun(const std::string& program, int error) {
  return ioError(fmt::format("{}: cannot be run: {}", program, std::strerror(error)));
}

/// The file beside this program; empty: there is none that may be run.
std::string programBeside(const char* name) {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  if (error) return "";
  const std::string path = self.parent_path() / name;
  return ::access(path.c_str(), X_OK) == 0 ? path : "";
}

std::string readAll(int fd) {
  std::string text;
  char buffer[512];
  for (ssize_t n; (n = ::read(fd, buffer, sizeof buffer)) != 0;) {
    if (n > 0) text.append(buffer, static_cast<size_t>(n));
    if (n < 0 && errno != EINTR) break;
  }
  return text;
}

/// What the program prints to stdout; stderr and the terminal are its own as well as ours.
Result<std::string> outputOf(const std::vector<std::string>& command) {
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) return cannotRun(command[0], errno);
  std::vector<char*> argv;
  for (const std::string& argument : command) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, pipe[1], STDOUT_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t obeyed;
  sigemptyset(&obeyed);
  sigaddset(&obeyed, SIGINT);
  sigaddset(&obeyed, SIGQUIT);
  posix_spawnattr_setsigdefault(&attributes, &obeyed);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  pid_t child = 0;
  std::string text;
  int status = 0, error = 0;
  {
    const SignalsIgnored ignored;
    error = ::posix_spawn(&child, argv[0], &files, &attributes, argv.data(), environ);
    ::close(pipe[1]);
    if (error == 0) {
      text = readAll(pipe[0]);
      while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
      }
    }
  }
  ::close(pipe[0]);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (error != 0) return cannotRun(command[0], error);
  if (WIFSIGNALED(status) ? WTERMSIG(status) == SIGINT : WEXITSTATUS(status) == kExitInterrupted)
    return Status(StatusCode::kCancelled, "");
  if (WIFSIGNALED(status))
    return internalError(fmt::format("{}: was ended by signal {}", command[0], WTERMSIG(status)));
  if (WEXITSTATUS(status) != 0) return invalidArgument("");  // it has said why
  return text;
}

Result<std::string> temporaryFolder() {
  const char* in = std::getenv("TMPDIR");
  std::string path = std::string(in && *in ? in : "/tmp") + "/llmrun-XXXXXX";
  if (!::mkdtemp(path.data())) return ioError(fmt::format("{}: {}", path, std::strerror(errno)));
  return path;
}

}  // namespace

PlanOfModel::PlanOfModel(PlanOfModel&& other) noexcept
    : plan_(std::move(other.plan_)), folder_(std::exchange(other.folder_, "")) {}

PlanOfModel::~PlanOfModel() {
  std::error_code ignored;
  if (!folder_.empty()) fs::remove_all(folder_, ignored);
}

Result<PlanOfModel> planOf(const ModelOptions& o) {
  LLMRT_ASSIGN_OR_RETURN(const std::string model, modelAt(o.plan_path));
  if (model.empty()) return PlanOfModel(o.plan_path);
  const std::string llmc = programBeside("llmc");
  if (llmc.empty()) return checkIsPlan(o.plan_path);
  if (o.device != "cpu") {
    const std::string plan = modelName(model) + ".fb";
    return invalidArgument(fmt::format(
        "{}: is a model, not a plan; this compiles it for a GPU: llmc compile {} -o {} --target "
        "host,cuda:sm_90a (llmc targets lists them)",
        o.plan_path, shellQuoted(model), shellQuoted(plan)));
  }
  std::vector<std::string> command = {llmc, "compile", model};
  const auto add = [&](const char* flag, const std::string& value) {
    command.insert(command.end(), {flag, value});
  };
  if (!o.cpu_target.empty()) add("--target", o.cpu_target);
  if (const int64_t most = std::max<int64_t>(o.session.max_batch, o.most_batch); most > 1)
    add("--max-batch", fmt::to_string(most));
  if (o.synthetic_seed) {
    command.push_back("--no-weights");
  } else if (!o.weights_path.empty()) {
    add("--weights", o.weights_path);
  }
  if (!o.no_cache) {
    command.push_back("--cached");
    LLMRT_ASSIGN_OR_RETURN(std::string plan, outputOf(command));
    if (plan.ends_with('\n')) plan.pop_back();
    return PlanOfModel(std::move(plan));
  }
  LLMRT_ASSIGN_OR_RETURN(const std::string folder, temporaryFolder());
  PlanOfModel plan(folder + '/' + modelName(model) + ".fb", folder);
  add("-o", plan.plan());
  LLMRT_RETURN_IF_ERROR(outputOf(command).status());
  return plan;
}

}  // namespace llmrt
