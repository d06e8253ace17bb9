#include "tests/e2e/plan_cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <functional>

#include "runtime/executor/cpu_features.h"
#include "tests/e2e/process.h"

namespace e2e {
namespace {

namespace fs = std::filesystem;

// Size and time of every file that the plan depends on.
std::string stampOf(const std::string& model) {
  std::vector<fs::path> files = {LLMC};
  if (fs::is_directory(model)) {
    for (const auto& entry : fs::directory_iterator(model)) files.push_back(entry.path());
  } else {
    files.push_back(model);
  }
  std::sort(files.begin(), files.end());
  std::string stamp;
  for (const fs::path& file : files) {
    std::error_code ignored;
    stamp += file.string() + ' ' + std::to_string(fs::file_size(file, ignored)) + ' ' +
             std::to_string(fs::last_write_time(file, ignored).time_since_epoch().count()) + '\n';
  }
  return stamp;
}

// Held by one process at a time.
class Lock {
 public:
  explicit Lock(const std::string& path)
      : fd_(open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)) {
    flock(fd_, LOCK_EX);
  }
  ~Lock() { close(fd_); }
  Lock(const Lock&) = delete;

 private:
  int fd_;
};

}  // namespace

std::string floatTarget() {
  for (const std::string& name : llmrt::supportedCpuTargets())
    if (name != "sapphirerapids" && name != "znver4") return name;
  return "";
}

std::string compiledPlan(const std::string& model, std::vector<std::string> flags) {
  if (std::find(flags.begin(), flags.end(), "--target") == flags.end())
    flags.insert(flags.end(), {"--target", floatTarget()});
  std::string name = fs::path(model).filename().string() + ' ' + commandLine(flags);
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  const std::string dir = std::string(PLAN_CACHE_DIR) + '/' + name;
  fs::create_directories(dir);
  const Lock lock(dir + "/lock");
  const std::string plan = dir + "/plan.fb", stamp = stampOf(model);
  if (readFile(dir + "/stamp") == stamp) return plan;
  fs::remove(dir + "/stamp");
  std::vector<std::string> args = {LLMC, "compile", model, "-o", plan};
  args.insert(args.end(), flags.begin(), flags.end());
  const Output output = run(args);
  if (output.status != 0) {
    ADD_FAILURE() << commandLine(args) << "\nexit status " << output.status << ": " << output.err;
    return "";
  }
  writeFile(dir + "/stamp", stamp);
  return plan;
}

std::string goldenModel(const std::string& name) {
  return std::string(LLMC_SOURCE_DIR) + "/tests/golden/" + name;
}
std::string demoModel() { return std::string(LLMC_SOURCE_DIR) + "/models/demo"; }
std::string material(const std::string& name) {
  return std::string(LLMC_MATERIAL_DIR) + '/' + name;
}

std::string storiesPlan(std::vector<std::string> more_flags) {
  more_flags.insert(more_flags.end(), {"--dtype", "f32", "--max-seq-len", "512", "--target",
                                       "x86-64-v3,x86-64-v4,aarch64"});
  return compiledPlan(material(kStoriesModel), more_flags);
}

}  // namespace e2e
