// llmc compile --tune: measures on this machine what is free in how a model's products are
// computed.
#pragma once

#include <functional>
#include <string>

#include "codegen/cpu/Target.h"
#include "codegen/tuning/TuningFile.h"
#include "ir/LLM.h"
#include "runtime/io/status.h"

namespace llmc {

/// Measures every distinct product with weights of the scheduled `model`, with all the threads that
/// a session has. This machine runs `target`. `onStage` is told what is measured.
llmrt::Result<cpu::CpuTuning> measureTuning(llm::ModelOp model, const cpu::CpuTarget& target,
                                            const std::function<void(const std::string&)>& onStage);

}  // namespace llmc
