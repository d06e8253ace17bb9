// A plan opened with its weights, in this process and through llmrun.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "runtime/executor/plan.h"
#include "runtime/executor/weights.h"
#include "runtime/session/session.h"

namespace e2e {

using Logits = std::vector<float>;  // [vocab_size]
using Ids = std::vector<int32_t>;

struct RunningModel {
  std::unique_ptr<llmrt::Plan> plan;
  std::unique_ptr<llmrt::Weights> weights;

  /// Both null after a test failure, also for an empty path: what compiledPlan() gives when it
  /// failed.
  explicit RunningModel(const std::string& plan_path, const std::string& cpu_target = "");
  bool ok() const { return plan && weights; }
  /// Null after a test failure.
  std::unique_ptr<llmrt::Session> session(const llmrt::SessionOptions& options) const;
};

/// Appends `tokens` to sequence 0; the last one's logits. Empty after a test failure.
Logits prefill(llmrt::Session& session, std::span<const int32_t> tokens);
Logits decode(llmrt::Session& session, int32_t token);

/// The index of the largest; of equal ones the first.
int32_t argmax(std::span<const float> logits);

/// `prompt`, then greedily chosen tokens; the logits that each of `count` was chosen from, the bits
/// of every step.
struct Continuation {
  Ids ids;
  std::vector<Logits> logits;
};
Continuation continueGreedily(llmrt::Session& session, std::span<const int32_t> prompt, int count);
/// Fails the test where an id or a bit of a logit differs.
void expectSameBits(const Continuation& actual, const Continuation& expected);

/// `llmrun PLAN --json FLAGS`; null after a test failure.
nlohmann::json llmrunJson(const std::string& plan, const std::vector<std::string>& flags);

/// "1,2,3", as --prompt-ids takes them.
std::string joined(const Ids& ids);

/// `count` ids from 3 up (neither BOS nor EOS), behind a BOS of 1; the same for the same arguments.
Ids somePrompt(int count, int64_t vocab_size);

}  // namespace e2e
