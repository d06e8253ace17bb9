// The tokens of a GGUF file that end what a model says.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/io/gguf.h"
#include "runtime/io/status.h"

namespace llmc {

/// Those that llama.cpp takes for ends of generation: the metadata's, and tokens known by their
/// text, since many files name the end of a text alone and not that of a turn. `eos_id`: the
/// metadata's EOS or its default, the first of the result; -1: none.
llmrt::Result<std::vector<int64_t>> endTokensOfGguf(const llmrt::GgufFile& file, int64_t eos_id);

}  // namespace llmc
