#include "tests/cuda/fake_run.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <memory>

#include "runtime/schema/plan_hash.h"

namespace llmc::test {

namespace fs = std::filesystem;

e2e::Output runWithFakes(const Strings& args, const Strings& environment) {
  Strings all = {"/usr/bin/env", "LD_LIBRARY_PATH=" FAKE_DIR};
  all.insert(all.end(), environment.begin(), environment.end());
  all.insert(all.end(), args.begin(), args.end());
  return e2e::run(all);
}

e2e::Output runWithoutCuda(const Strings& args) {
  // A sanitizer's library would be first otherwise, and says so.
  Strings all = {"/usr/bin/env", "LD_PRELOAD=" NO_CUDA, "ASAN_OPTIONS=verify_asan_link_order=0"};
  all.insert(all.end(), args.begin(), args.end());
  return e2e::run(all);
}

std::string fakePlan(const std::string& model, Strings flags) {
  std::string name = fs::path(model).filename().string() + ' ' + e2e::commandLine(flags);
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  const std::string dir = std::string(PLAN_DIR) + '/' + name, plan = dir + "/plan.fb";
  fs::create_directories(dir);
  // Tests are processes that may run at once: one compiles, the others wait.
  const int lock = open((dir + "/lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  flock(lock, LOCK_EX);
  std::error_code ignored;
  const auto compiled = fs::last_write_time(plan, ignored);
  const bool fresh = !ignored && compiled > fs::last_write_time(LLMC, ignored) &&
                     compiled > fs::last_write_time(FAKE_DIR "/libnvrtc.so.13", ignored) &&
                     compiled > fs::last_write_time(sourcePath("tests/cuda/shim.h"), ignored);
  std::string result = plan;
  if (!fresh) {
    Strings args = {LLMC, "compile", model, "-o", plan};
    args.insert(args.end(), flags.begin(), flags.end());
    const e2e::Output output = runWithFakes(args);
    if (output.status != 0) {
      ADD_FAILURE() << e2e::commandLine(args) << "\nexit status " << output.status << ": "
                    << output.err;
      result = "";
    }
  }
  close(lock);
  return result;
}

void rewritePlan(const std::string& from, const std::string& to,
                 const std::function<void(llmrt::schema::PlanT&)>& change) {
  const std::string bytes = e2e::readFile(from);
  ASSERT_NE(bytes, "") << from;
  std::unique_ptr<llmrt::schema::PlanT> plan(llmrt::schema::GetPlan(bytes.data())->UnPack());
  change(*plan);
  const std::vector<uint8_t> changed = llmrt::packPlan(*plan);
  std::ofstream(to, std::ios::binary)
      .write(reinterpret_cast<const char*>(changed.data()),
             static_cast<std::streamsize>(changed.size()));
}

nlohmann::json runOnFake(const std::string& plan, const Strings& flags,
                         const Strings& environment) {
  if (plan.empty()) return nullptr;
  Strings args = {LLMRUN, plan, "--device", "cuda", "--json"};
  args.insert(args.end(), flags.begin(), flags.end());
  const e2e::Output output = runWithFakes(args, environment);
  if (output.status == 0) return nlohmann::json::parse(output.out);
  ADD_FAILURE() << e2e::commandLine(args) << "\nexit status " << output.status << ": "
                << output.err;
  return nullptr;
}

std::string sourcePath(const std::string& name) {
  return std::string(LLMC_SOURCE_DIR) + '/' + name;
}
std::string material(const std::string& name) {
  return std::string(LLMC_MATERIAL_DIR) + '/' + name;
}

}  // namespace llmc::test
