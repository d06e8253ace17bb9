// Entry points with operands that today's models do not use. Each is run on CPUs by operands_test
// and on the tests' CUDA driver by tests/cuda: a session that is given them says whether the
// results are what they should be.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/runtime/example_plan.h"

namespace llmrt::example {

struct OperandCase {
  std::string name;
  std::function<void(schema::PlanT&)> change;       // of plan()
  std::vector<CallersInput> inputs;                 // of the session
  std::function<void(const Model&, Session&)> run;  // with EXPECT_*
  friend void PrintTo(const OperandCase& c, std::ostream* os) { *os << c.name; }
};

/// Sessions for them have a max_batch of 3.
const std::vector<OperandCase>& operandCases();

}  // namespace llmrt::example
