// A model of two kinds of layers, linear attention and attention, written as IR: what no config
// imports.
#pragma once

#include <functional>
#include <string>

#include "codegen/plan/PlanBuilder.h"
#include "ir/LLM.h"

namespace llmc::test {

/// Rows of its verify steps; most sequences and tokens are 3 and 200.
constexpr int kHybridTreeRows = 20;
constexpr int64_t kHybridVocab = 50;

std::string hybridText();

/// The path of a plan of it, without weights; "" after a test failure. `addCode` gives the code of
/// the scheduled model to the plan, or false after a test failure. Who calls removes the file.
std::string hybridPlan(const std::function<bool(llm::ModelOp, PlanParts&)>& addCode);

}  // namespace llmc::test
