// The goldens of tests/golden, whose README describes the files, and a session held to one of them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/session/session.h"

namespace e2e {

/// The cases that have a model, sorted.
std::vector<std::string> goldenNames();

/// tests/golden/NAME/golden.json.
nlohmann::json goldenOf(const std::string& name);

/// The model_type of its config.json, and what that says its weights are stored in, as float32.
/// Those choose the cases, in the process of every test: golden.json takes too long to read.
std::string goldenModelType(const std::string& name);
std::string goldenStoredType(const std::string& name);
/// Of llmc compile, for what its golden is of: quantised weights are multiplied as they are.
std::vector<std::string> goldenFlags(const std::string& name);

/// `names`, and a case of each architecture that is not among them.
std::vector<std::string> withEveryArchitecture(std::vector<std::string> names = {});

/// The run with these dtypes; null after a test failure.
const nlohmann::json* goldenRun(const nlohmann::json& golden, const std::string& weights,
                                const std::string& kv);

/// Feeds the prompt to an empty session, piece by piece, each ending where golden logits are, then
/// every golden id: all logits within the run's tolerance, all ids equal.
void expectGoldenRun(llmrt::Session& session, const nlohmann::json& golden,
                     const nlohmann::json& run);

/// --disable-pass: every op gets a kernel of its own.
inline constexpr char kEveryFusion[] =
    "llm-fuse-norm-qkv,llm-fuse-norm-glu,llm-fuse-norm-projections,llm-fuse-norm-linear,"
    "llm-fuse-residual,llm-fuse-norm-residual,llm-fuse-norm-logits";

}  // namespace e2e
