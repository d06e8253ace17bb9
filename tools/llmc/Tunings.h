// Which tuning each target is compiled with.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "codegen/tuning/TuningFile.h"
#include "runtime/io/status.h"

namespace llmc {

/// The CPU of this machine: LLVM's name, and its own.
struct HostCpu {
  std::string cpu, model;
};
HostCpu hostCpu();

/// $XDG_CONFIG_HOME/llmc/tuning.json, or that in ~/.config; empty where neither is known.
std::string userTuningPath();

/// --tuning that asks for none.
inline constexpr const char* kNoTuning = "none";

/// For each target what was measured for it: in the file that --tuning names, else, of this
/// machine's CPU, in the user's file, else in llmc's own tables.
class Tunings {
 public:
  /// `option`: what --tuning says; empty: nothing. A file of the option that has nothing for any of
  /// the CPUs among `targets` is an error; so is the user's file where it cannot be read.
  static llmrt::Result<Tunings> load(const std::string& option,
                                     const std::vector<std::string>& targets);

  /// Null: none is known for the target.
  const cpu::CpuTuning* find(const std::string& target) const;
  /// Where the target's comes from, for people: "tuning.json: znver4 (AMD EPYC), 2 threads".
  std::string source(const std::string& target) const;
  /// All of it that there is, as text: what makes another plan.
  std::string text() const;

 private:
  struct Found {
    cpu::CpuTuning tuning;
    std::string source;
  };
  std::map<std::string, Found> found_;  // by target
};

}  // namespace llmc
