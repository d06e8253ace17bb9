#include "tools/llmc/Tunings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <system_error>

#include "codegen/cpu/Target.h"
#include "llvm/TargetParser/Host.h"
#include "runtime/executor/cpu_features.h"
#include "tools/cli/user_folders.h"

namespace llmc {

using cpu::CpuTuning;
using llmrt::Result;
using llmrt::Status;

HostCpu hostCpu() {
  HostCpu host{llvm::sys::getHostCPUName().str(), ""};
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line) && host.model.empty();) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos)
      host.model = line.substr(colon + 2, 100);
  }
  if (host.model.empty()) host.model = host.cpu;
  return host;
}

std::string userTuningPath() {
  const std::string folder = llmrt::userFolder("XDG_CONFIG_HOME", ".config");
  return folder.empty() ? "" : folder + "/tuning.json";
}

namespace {

/// The CPU whose tuning code for `target` is meant to have: this machine's where it runs the
/// target, else the one that the target is called after.
HostCpu cpuFor(const std::string& target) {
  const std::vector<std::string> here = llmrt::supportedCpuTargets();
  if (std::find(here.begin(), here.end(), target) != here.end()) return hostCpu();
  return {target, ""};
}

/// Of the file's tunings of `target` that of `cpu`, the same model before others. Null: none.
const CpuTuning* ofCpu(const TuningFile& file, const std::string& target, const HostCpu& cpu) {
  const CpuTuning* found = nullptr;
  for (const CpuTuning& tuning : file.cpus)
    if (tuning.target == target && tuning.cpu == cpu.cpu && (!found || tuning.model == cpu.model))
      found = &tuning;
  return found;
}

/// The same of a file that was asked for by name: where it knows the target from one other CPU
/// alone, that one is meant.
Result<const CpuTuning*> ofAny(const TuningFile& file, const std::string& path,
                               const std::string& target) {
  if (const CpuTuning* found = ofCpu(file, target, cpuFor(target))) return found;
  std::vector<std::string> cpus;
  const CpuTuning* found = nullptr;
  for (const CpuTuning& tuning : file.cpus) {
    if (tuning.target != target) continue;
    found = &tuning;
    cpus.push_back(fmt::format("{} ({})", tuning.cpu, tuning.model));
  }
  if (cpus.size() > 1) {
    return llmrt::invalidArgument(fmt::format(
        "--tuning {}: has target {} measured on {}, and not on this machine's CPU; leave "
        "one in the file",
        path, target, fmt::join(cpus, " and ")));
  }
  return found;
}

}  // namespace

Result<Tunings> Tunings::load(const std::string& option, const std::vector<std::string>& targets) {
  Tunings all;
  if (option == kNoTuning) return all;
  const auto add = [&](const std::string& target, const CpuTuning& tuning,
                       const std::string& from) {
    all.found_[target] = {tuning,
                          fmt::format("{}: {} ({}), {} thread{}", from, tuning.cpu, tuning.model,
                                      tuning.threads, tuning.threads == 1 ? "" : "s")};
  };
  TuningFile file;
  const std::string user = option.empty() ? userTuningPath() : "";
  std::error_code ignored;
  if (!option.empty()) {
    LLMRT_ASSIGN_OR_RETURN(file, readTuning(option));
  } else if (!user.empty() && std::filesystem::exists(user, ignored)) {
    auto read = readTuning(user);
    if (!read.ok())
      return Status(read.status().code(),
                    read.status().message() + " (--tuning none compiles without it)");
    file = *std::move(read);
  }
  bool cpus = false;
  for (const std::string& target : targets) {
    if (!cpu::findCpuTarget(target)) continue;
    cpus = true;
    const CpuTuning* tuning = nullptr;
    if (option.empty()) {
      tuning = ofCpu(file, target, cpuFor(target));
    } else {
      LLMRT_ASSIGN_OR_RETURN(tuning, ofAny(file, option, target));
    }
    if (tuning)
      add(target, *tuning, std::filesystem::path(option.empty() ? user : option).filename());
  }
  if (!option.empty() && cpus && all.found_.empty()) {
    std::set<std::string> has;
    for (const CpuTuning& tuning : file.cpus) has.insert(tuning.target);
    return llmrt::invalidArgument(fmt::format(
        "--tuning {}: has nothing for target {}, {}", option, fmt::join(targets, ", "),
        has.empty() ? "nor for any other" : fmt::format("but for {}", fmt::join(has, ", "))));
  }
  for (const std::string& target : targets) {
    if (!cpu::findCpuTarget(target) || all.found_.contains(target)) continue;
    if (const CpuTuning* tuning = builtinTuning(cpuFor(target).cpu, target))
      add(target, *tuning, "built in");
  }
  return all;
}

const CpuTuning* Tunings::find(const std::string& target) const {
  const auto found = found_.find(target);
  return found == found_.end() ? nullptr : &found->second.tuning;
}

std::string Tunings::source(const std::string& target) const {
  const auto found = found_.find(target);
  return found == found_.end() ? "" : found->second.source;
}

std::string Tunings::text() const {
  TuningFile file;
  std::string sources;
  for (const auto& [target, found] : found_) {
    file.cpus.push_back(found.tuning);
    sources += found.source + "\n";
  }
  return found_.empty() ? "" : sources + file.text();
}

}  // namespace llmc
