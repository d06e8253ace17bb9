#include "tests/cuda/fake_run.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "runtime/schema/plan_hash.h"
#include "tests/cache/test_cache.h"
#include "tests/cuda/shim_key.h"

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
  // Plans of the compiler as it is, and of the compiler of the shim.
  static const llmc_tests::TestCache* const plans = [] {
    llmc_tests::CacheKey makers;
    makers.addContents(LLMC);
    std::istringstream libraries(LLMC_LIBRARIES);
    for (std::string library; std::getline(libraries, library, ':');) makers.addStamp(library);
    addShim(makers, sourcePath("tests/cuda"));
    makers.addContents(FAKE_DIR "/libnvrtc.so.13");
    return new llmc_tests::TestCache(PLAN_DIR, makers);
  }();
  const std::string name = fs::path(model).filename().string();
  llmc_tests::CacheKey key;
  key.add(name);
  key.addContents(model);
  for (const std::string& flag : flags) key.add(flag);
  const std::string folder =
      plans->folder(name + ' ' + e2e::commandLine(flags), key, [&](const std::string& to) {
        Strings args = {LLMC, "compile", model, "-o", to + "/plan.fb"};
        args.insert(args.end(), flags.begin(), flags.end());
        const e2e::Output output = runWithFakes(args);
        if (output.status == 0) return true;
        ADD_FAILURE() << e2e::commandLine(args) << "\nexit status " << output.status << ": "
                      << output.err;
        return false;
      });
  return folder.empty() ? "" : folder + "/plan.fb";
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
