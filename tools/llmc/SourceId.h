// What a plan was made from, as one number, so that compiling again what is unchanged takes no
// time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/llmc/Compile.h"

namespace llmc {

/// Hash of the compiler (its executable, LLVM's version and, for CUDA targets, NVRTC's), of every
/// option that shapes the plan, and of every file that the compilation may read: the model's JSON,
/// Jinja, tokenizer and weights files, those of --weights and --tokenizer, whatever lies beside
/// them under such names. A file that is added or removed changes it too. Files up to 64 MiB count
/// by their bytes, larger ones by name, size, inode and times of change.
///
/// `targets`: of resolveTargets(). `outputs` are left out. 0: not known, a file cannot be read.
uint64_t sourceId(const CompileOptions& options, const std::vector<std::string>& targets,
                  const std::vector<std::string>& outputs);

/// Whether the plan at `path` is of `source_id`, whole, and has its weights beside it where it has
/// any: weights by their header and size alone.
bool isUpToDate(const std::string& path, uint64_t source_id);

}  // namespace llmc
