// llmc compile --tune, from a model to the file that keeps what was measured.
#pragma once

#include <string>
#include <vector>

#include "codegen/tuning/TuningFile.h"
#include "tools/llmc/Compile.h"

namespace llmc {

struct TuneReport {
  TuningFile measured;
  std::string path;  // where it was kept
  double seconds = 0;

  /// For people: a line for each product.
  std::string text() const;
};

/// Measures the products of the model for each of `targets`, which must be CPUs that this machine
/// runs, and puts what it finds into the file that `options.tuning` names, or into the user's.
llmrt::Result<TuneReport> tuneModel(const CompileOptions& options,
                                    const std::vector<std::string>& targets);

}  // namespace llmc
