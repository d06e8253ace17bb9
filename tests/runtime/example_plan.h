// A plan around example_kernels.c, built with FlatBuffers' object API, and its weights.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/core/plan.h"
#include "runtime/core/session.h"
#include "runtime/core/weights.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt::example {

constexpr int kHidden = 32, kNumHeads = 2, kHeadDim = 16, kVocab = 50, kLayers = 2;
constexpr int kMaxSeqLen = 200, kMaxBatch = 3, kDecodeRows = 4, kPrefillRows = 24;

/// The tokenizer's alphabet: ids 2 and up; 0 is BOS, 1 is EOS.
constexpr char kCharacters[] = "abcdefghijklmnopqrstuvwxyz .,!?ABCDEFGHIJKLMNOPQ";
static_assert(sizeof kCharacters - 1 + 2 == kVocab);

/// The toy model's plan, code-only, for the target this machine runs.
schema::PlanT plan();

/// Gives a target of plan() the kernels of one of two images: example_refuse_13 of the one returns
/// 7 (plan()'s), of the other 8.
void setKernels(schema::TargetT& target, int refuse_status);

/// A folder of its own for the running test, removed at the end.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

std::vector<uint8_t> serialize(const schema::PlanT& plan);
void writeFile(const std::string& path, const std::vector<uint8_t>& bytes);
std::vector<uint8_t> readFile(const std::string& path);

/// plan() after `change`, written and opened with synthetic weights.
struct Model {
  explicit Model(const std::function<void(schema::PlanT&)>& change = {}, uint64_t seed = 1);
  std::unique_ptr<Session> session(SessionOptions options = {.threads = 1}) const;

  TempDir dir;
  std::string path;
  std::unique_ptr<Plan> plan;
  std::unique_ptr<Weights> weights;
};

/// Logits of the last of `tokens`, by plain loops over the same weights.
std::vector<float> referenceLogits(const Model& model, const std::vector<int32_t>& tokens,
                                   uint64_t seed = 1);

}  // namespace llmrt::example
