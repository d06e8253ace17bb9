// Plans as the tools read them: verified, but no code of them mapped or run.
#pragma once

#include <string>

#include "runtime/io/mapped_file.h"
#include "runtime/io/status.h"

namespace llmrt::schema {
struct Plan;
}

namespace llmc {

struct OpenPlan {
  llmrt::MappedFile file;
  const llmrt::schema::Plan* plan = nullptr;  // in `file`
};

/// Fails where `path` is not a plan of this version.
llmrt::Result<OpenPlan> openPlan(const std::string& path);

/// Whether the file begins as a plan does; false where it cannot be read.
bool looksLikePlan(const std::string& path);

}  // namespace llmc
