// A plan around example_kernels.c, built with FlatBuffers' object API, and its weights.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/executor/plan.h"
#include "runtime/executor/weights.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/session/session.h"

namespace llmrt::example {

/// The kernels of plan(), in its order: those of example_kernels.c.
enum KernelIndex {
  kEmbed,
  kKvWrite,
  kAttention,
  kLinearResidual,
  kLogits,
  kRefuse13,
  kAttentionWindow,
  kAccumulate
};
enum BufferIndex { kX, kA, kLogitsBuffer };

constexpr int kHidden = 32, kNumHeads = 2, kHeadDim = 16, kVocab = 50, kLayers = 2;
constexpr int kMaxSeqLen = 200, kMaxBatch = 3, kDecodeRows = 4, kPrefillRows = 24,
              kWindow = 40;  // of example_attention_window

/// The tokenizer's alphabet: ids 2 and up; 0 is BOS, 1 is EOS.
constexpr char kCharacters[] = "abcdefghijklmnopqrstuvwxyz .,!?ABCDEFGHIJKLMNOPQ";
static_assert(sizeof kCharacters - 1 + 2 == kVocab);

/// The toy model's plan, code-only, for the target this machine runs.
schema::PlanT plan();

/// Gives a plan() a window in its second layer: a state of its own, and code that knows it.
void addWindow(schema::PlanT& plan);
/// Gives a plan() a recurrent state in its first layer.
void addRecurrent(schema::PlanT& plan);
/// Gives a plan() rows kept from verify steps, which none of its steps are.
void addKept(schema::PlanT& plan);
/// Makes a weight of [32, 32] in panels int8 in blocks, which no kernel reads: 1024 bytes of
/// quants, 64 of scales.
void inBlocks(schema::WeightT& weight);
/// Gives a plan() such a weight, "blocks".
void addBlocks(schema::PlanT& plan);

/// Makes a phase of a plan() fail on token 13, in place of what it did.
void refuse13(schema::PhaseT& phase);
/// Gives a plan() such a phase at the end of its last layer.
void addRefusing(schema::PlanT& plan);

struct OperandSpec {
  schema::Space space;
  uint32_t index;
  schema::Access access = schema::Access::read;
};
std::unique_ptr<schema::PhaseT> phase(std::string op, uint32_t kernel,
                                      std::vector<OperandSpec> operands, uint64_t tiles,
                                      uint32_t rows_per_tile);
std::unique_ptr<schema::InputT> input(std::string name, schema::Axis axis,
                                      schema::DType dtype = schema::DType::i32, uint32_t width = 1);
/// Appends to an entry point a buffer of its own bytes; its index.
uint32_t addBuffer(schema::EntryPointT& entry, std::string name, uint32_t rows, uint32_t width,
                   schema::DType dtype = schema::DType::f32);
/// Appends a kernel; its index.
uint32_t addKernel(schema::PlanT& plan, std::string symbol);

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
