#include "tests/e2e/running_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "tests/e2e/process.h"

namespace e2e {

RunningModel::RunningModel(const std::string& plan_path, const std::string& cpu_target) {
  if (plan_path.empty()) return;
  auto opened = llmrt::Plan::open(plan_path, {.cpu_target = cpu_target});
  if (!opened.ok()) {
    ADD_FAILURE() << opened.status().message();
    return;
  }
  plan = *std::move(opened);
  auto mapped = llmrt::Weights::map(*plan);
  if (!mapped.ok()) {
    ADD_FAILURE() << mapped.status().message();
    return;
  }
  weights = *std::move(mapped);
}

std::unique_ptr<llmrt::Session> RunningModel::session(const llmrt::SessionOptions& options) const {
  auto session = llmrt::Session::create(*plan, *weights, options);
  if (session.ok()) return *std::move(session);
  ADD_FAILURE() << session.status().message();
  return nullptr;
}

Logits prefill(llmrt::Session& session, std::span<const int32_t> tokens) {
  if (const llmrt::Status s = session.prefill(0, tokens); !s.ok()) {
    ADD_FAILURE() << s.message();
    return {};
  }
  const auto logits = session.logits();
  return {logits.begin(), logits.end()};
}

Logits decode(llmrt::Session& session, int32_t token) {
  if (const llmrt::Status s = session.decode(0, token); !s.ok()) {
    ADD_FAILURE() << s.message();
    return {};
  }
  const auto logits = session.logits();
  return {logits.begin(), logits.end()};
}

int32_t argmax(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

Continuation continueGreedily(llmrt::Session& session, std::span<const int32_t> prompt, int count) {
  Continuation c;
  c.logits.push_back(prefill(session, prompt));
  while (!c.logits.back().empty()) {
    c.ids.push_back(argmax(c.logits.back()));
    if (static_cast<int>(c.ids.size()) == count) break;
    c.logits.push_back(decode(session, c.ids.back()));
  }
  return c;
}

nlohmann::json llmrunJson(const std::string& plan, const std::vector<std::string>& flags) {
  std::vector<std::string> args = {LLMRUN, plan, "--json"};
  args.insert(args.end(), flags.begin(), flags.end());
  const Output output = run(args);
  EXPECT_EQ(output.status, 0) << commandLine(args) << '\n' << output.err;
  nlohmann::json json = nlohmann::json::parse(output.out, nullptr, /*allow_exceptions=*/false);
  if (json.is_object()) return json;
  ADD_FAILURE() << commandLine(args) << ": no JSON object: " << output.out;
  return {};
}

std::string joined(const Ids& ids) {
  std::string text;
  for (int32_t id : ids) {
    if (!text.empty()) text += ',';
    text += std::to_string(id);
  }
  return text;
}

Ids somePrompt(int count, int64_t vocab_size) {
  Ids ids = {1};
  uint32_t state = 12345;
  while (static_cast<int>(ids.size()) < count) {
    state = state * 1664525u +
            1013904223u;  // Numerical Recipes' generator; its high bits are the random ones
    ids.push_back(static_cast<int32_t>(3 + (state >> 8) % static_cast<uint32_t>(vocab_size - 3)));
  }
  return ids;
}

void expectSameBits(const Continuation& actual, const Continuation& expected) {
  EXPECT_EQ(actual.ids, expected.ids);
  ASSERT_EQ(actual.logits.size(), expected.logits.size());
  for (size_t s = 0; s < actual.logits.size(); ++s) {
    EXPECT_EQ(std::memcmp(actual.logits[s].data(), expected.logits[s].data(),
                          actual.logits[s].size() * sizeof(float)),
              0)
        << "step " << s;
  }
}

}  // namespace e2e
