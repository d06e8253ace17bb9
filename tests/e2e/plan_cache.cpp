#include "tests/e2e/plan_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "runtime/executor/cpu_features.h"
#include "tests/cache/test_cache.h"
#include "tests/e2e/process.h"
#include "tests/sampling.h"

namespace e2e {
namespace {

namespace fs = std::filesystem;

using llmc_tests::CacheKey;
using llmc_tests::TestCache;

// Plans of the compiler as it is: llmc itself, to the byte, and the libraries that it is linked
// with.
const TestCache& plans() {
  static const TestCache* const cache = [] {
    CacheKey makers;
    makers.addContents(LLMC);
    std::istringstream libraries(LLMC_LIBRARIES);
    for (std::string library; std::getline(libraries, library, ':'); makers.addStamp(library))
      if (!fs::exists(library))  // a guest of tests/emulated, where llmc does not run
        return new TestCache(TestCache::asBroughtAlong(PLAN_CACHE_DIR));
    return new TestCache(PLAN_CACHE_DIR, makers);
  }();
  return *cache;
}

}  // namespace

std::string floatTarget() {
  std::vector<std::string> targets;
  for (const std::string& name : llmrt::supportedCpuTargets())
    if (name != "sapphirerapids" && name != "znver4") targets.push_back(name);
  if (targets.empty()) return "";
  return llmc_tests::fullTests() ? targets.front() : targets.back();
}

std::string compiledPlan(const std::string& model, std::vector<std::string> flags) {
  if (std::find(flags.begin(), flags.end(), "--target") == flags.end())
    flags.insert(flags.end(), {"--target", floatTarget()});
  // A plan is called as its model is.
  const std::string name = fs::path(model).filename().string();
  CacheKey key;
  key.add(name);
  key.addContents(model);
  for (const std::string& flag : flags) key.add(flag);
  const std::string folder =
      plans().folder(name + ' ' + commandLine(flags), key, [&](const std::string& to) {
        std::vector<std::string> args = {LLMC, "compile", model, "-o", to + "/plan.fb"};
        args.insert(args.end(), flags.begin(), flags.end());
        const Output output = run(args);
        if (output.status == 0) return true;
        ADD_FAILURE() << commandLine(args) << "\nexit status " << output.status << ": "
                      << output.err;
        return false;
      });
  return folder.empty() ? "" : folder + "/plan.fb";
}

std::string goldenModel(const std::string& name) {
  return std::string(LLMC_SOURCE_DIR) + "/tests/golden/" + name;
}
std::string demoModel() { return std::string(LLMC_SOURCE_DIR) + "/models/demo"; }
std::string material(const std::string& name) {
  return std::string(LLMC_MATERIAL_DIR) + '/' + name;
}

std::string storiesPlan() {
  return compiledPlan(material(kStoriesModel), {"--dtype", "f32", "--max-seq-len", "512",
                                                "--target", "x86-64-v3,x86-64-v4,aarch64"});
}

}  // namespace e2e
