#include "tools/llmc/TuneModel.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <system_error>

#include "runtime/executor/cpu_features.h"
#include "runtime/io/atomic_file.h"
#include "tools/llmc/Tune.h"
#include "tools/llmc/Tunings.h"

namespace llmc {

using llmrt::Result;
using llmrt::Status;

namespace {

Status checkRunsHere(const std::vector<std::string>& targets) {
  const std::vector<std::string> here = llmrt::supportedCpuTargets();
  for (const std::string& target : targets)
    if (std::find(here.begin(), here.end(), target) == here.end())
      return llmrt::unsupported(fmt::format(
          "--tune: this machine does not run code for {}, but that for {}; tune where it "
          "is run, and ship the file to --tuning",
          target,
          here.empty() ? "no CPU that llmc knows" : fmt::format("{}", fmt::join(here, ", "))));
  return {};
}

Result<std::string> pathFor(const CompileOptions& options) {
  namespace fs = std::filesystem;
  if (!options.tuning.empty()) return options.tuning;
  const std::string path = userTuningPath();
  if (path.empty())
    return llmrt::invalidArgument(
        "--tune: neither XDG_CONFIG_HOME nor HOME says where to keep what is measured; name a file "
        "with --tuning");
  std::error_code error;
  if (fs::create_directories(fs::path(path).parent_path(), error); error)
    return llmrt::ioError(
        fmt::format("{}: {}", fs::path(path).parent_path().string(), error.message()));
  return path;
}

}  // namespace

Result<TuneReport> tuneModel(const CompileOptions& options,
                             const std::vector<std::string>& targets) {
  const auto start = std::chrono::steady_clock::now();
  LLMRT_RETURN_IF_ERROR(checkRunsHere(targets));
  TuneReport report;
  LLMRT_ASSIGN_OR_RETURN(report.path, pathFor(options));
  // What cannot be kept is not measured.
  TuningFile file;
  std::error_code ignored;
  if (std::filesystem::exists(report.path, ignored)) {
    LLMRT_ASSIGN_OR_RETURN(file, readTuning(report.path));
  }
  LLMRT_ASSIGN_OR_RETURN(llmrt::AtomicFile out, llmrt::AtomicFile::create(report.path));
  LLMRT_RETURN_IF_ERROR(withScheduled(options, [&](llm::ModelOp model) -> Status {
    for (const std::string& target : targets) {
      LLMRT_ASSIGN_OR_RETURN(
          const cpu::CpuTuning measured,
          measureTuning(model, *cpu::findCpuTarget(target), [&](const std::string& stage) {
            if (options.onStage) options.onStage(stage + " for " + target);
          }));
      report.measured.merge(measured);
      file.merge(measured);
    }
    return {};
  }));
  const std::string text = file.text();
  LLMRT_RETURN_IF_ERROR(out.write(text.data(), text.size()));
  LLMRT_RETURN_IF_ERROR(out.commit());
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

std::string TuneReport::text() const {
  std::string out;
  for (const cpu::CpuTuning& tuning : measured.cpus) {
    out += fmt::format("tuned {} on {} ({}), {} thread{}\n", tuning.target, tuning.cpu,
                       tuning.model, tuning.threads, tuning.threads == 1 ? "" : "s");
    for (const cpu::TunedProduct& product : tuning.products) {
      const std::string choices = product.text();
      out += fmt::format(
          "  {:<52}{:>6.2f}x{:>16}  {}\n", product.key.text(), product.gain,
          product.ofLimit > 0 ? fmt::format("{:.0f} % of limit", product.ofLimit * 100) : "",
          choices.empty() ? "as it was" : choices);
    }
  }
  return out + fmt::format("kept in {} after {:.0f} s\n", path, seconds);
}

}  // namespace llmc
