// Tunings as text: files that people can read, keep and ship, and the tables that llmc brings.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "codegen/cpu/Tuning.h"
#include "runtime/io/status.h"

namespace llmc {

/// JSON; README.md has the format.
struct TuningFile {
  std::vector<cpu::CpuTuning> cpus;  // each cpu, model and target once

  /// Puts `measured` in: products that are there get the new numbers, others stay.
  void merge(const cpu::CpuTuning& measured);
  std::string text() const;
};

/// Refuses what it does not know, by the field's place in `name`: a tuning that is not used as it
/// was meant is worse than none.
llmrt::Result<TuningFile> parseTuning(std::string_view text, const std::string& name);
llmrt::Result<TuningFile> readTuning(const std::string& path);

/// What was measured for `target` on the CPU that LLVM calls `cpu`, and is part of llmc; null: none
/// was.
const cpu::CpuTuning* builtinTuning(std::string_view cpu, std::string_view target);

}  // namespace llmc
