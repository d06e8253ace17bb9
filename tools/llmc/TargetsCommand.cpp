// llmc targets
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "codegen/cpu/Target.h"
#include "codegen/cuda/Codegen.h"
#include "runtime/executor/cpu_features.h"
#include "tools/llmc/Commands.h"

namespace llmc {
namespace {

llmrt::Status printTargets() {
  const std::vector<std::string> supported = llmrt::supportedCpuTargets();
  const auto runs = [&](const std::string& name) {
    return std::find(supported.begin(), supported.end(), name) != supported.end();
  };
  bool host = true;  // names come best first
  for (const std::string& name : cpu::cpuTargetNames()) {
    fmt::print("{:<16}{}\n", name,
               !runs(name)                  ? "compiles"
               : std::exchange(host, false) ? "compiles, runs here (host)"
                                            : "compiles, runs here");
  }
  llvm::Error missing = cuda::checkNvrtc();
  const std::string how =
      missing ? "needs NVRTC: pip install nvidia-cuda-nvrtc, or the CUDA toolkit" : "compiles";
  llvm::consumeError(std::move(missing));
  for (const std::string& name : cuda::cudaTargetNames()) fmt::print("{:<16}{}\n", name, how);
  return {};
}

}  // namespace

void addTargetsCommand(CLI::App& app, Command& chosen) {
  app.add_subcommand("targets",
                     "What this program can compile for, and what of it this machine runs")
      ->callback([&chosen] { chosen = printTargets; });
}

}  // namespace llmc
