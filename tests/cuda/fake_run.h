// llmc and llmrun as a user runs them, on a machine whose NVRTC and driver are the tests'.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/schema/plan_generated.h"
#include "tests/e2e/process.h"

namespace llmc::test {

using Strings = std::vector<std::string>;

/// Runs `args` where the fakes are what the loader finds. `environment`: "NAME=VALUE" each.
e2e::Output runWithFakes(const Strings& args, const Strings& environment = {});

/// Runs `args` where neither NVRTC nor a driver is installed.
e2e::Output runWithoutCuda(const Strings& args);

/// `llmc compile MODEL FLAGS` with the fake NVRTC, once per model and flags however many tests
/// share it; the plan's path,
/// "" after a test failure.
std::string fakePlan(const std::string& model, Strings flags);

/// Writes the plan at `from` to `to` as `change` leaves it.
void rewritePlan(const std::string& from, const std::string& to,
                 const std::function<void(llmrt::schema::PlanT&)>& change);

/// `llmrun PLAN --device cuda --json FLAGS`; null after a test failure.
nlohmann::json runOnFake(const std::string& plan, const Strings& flags,
                         const Strings& environment = {});

std::string sourcePath(const std::string& name);
std::string material(const std::string& name);

}  // namespace llmc::test
