// An executor on a GPU: memory, and steps as graphs of kernels for few rows, launches for many.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/abi/cuda_abi.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/memory.h"
#include "runtime/cuda/upload.h"
#include "runtime/executor/executor.h"
#include "runtime/executor/input_layout.h"
#include "runtime/executor/operand_address.h"
#include "runtime/executor/plan.h"
#include "runtime/executor/token_chooser.h"

namespace llmrt::cuda {

class CudaSession : public Executor {
 public:
  static Result<std::unique_ptr<Executor>> create(const CudaDevice& device, const Plan& plan,
                                                  const Weights& weights,
                                                  const ExecutorOptions& options);
  static Result<Device::Room> room(const CudaDevice& device, const Plan& plan,
                                   const ExecutorOptions& options);
  ~CudaSession() override;

  void clearBlock(uint32_t, int32_t, int64_t) override {}  // kernels read only what was written
  Status copyBlock(uint32_t state, int32_t from, int32_t to) override;
  Status readSlots(int32_t seq, std::span<uint8_t> out) override;
  Status writeSlots(int32_t seq, std::span<const uint8_t> from) override;
  Status clearSlots(int32_t seq) override;

  /// Of a step, the launches of one phase of the flat schedule alone; returns when they have ended.
  /// For tests/gpu/compare_ops, which looks at what each phase made of its operands.
  Status runPhase(uint32_t entry_point, const Step& step, size_t phase);
  /// Where an operand of a phase lies on the device.
  CuDevicePtr operandAddress(uint32_t entry_point, size_t phase, uint32_t operand) const;

 private:
  static constexpr int kSamplePhases = 7;  // LlmcCudaSample
  /// A launch of the schedule, bound to memory.
  struct BoundLaunch {
    CuFunction function = nullptr;
    const schema::CudaLaunch* launch = nullptr;
    std::vector<uint64_t> argument;  // LlmcCudaArgs and the operands behind it
    schema::Axis axis{};             // what it works on
    size_t phase = 0;                // of the flat schedule
  };
  /// One launch of a step: of a kernel of the schedule, or of the choice of a token.
  struct KernelLaunch {
    CuFunction function = nullptr;
    const char* symbol = "";
    const void* argument = nullptr;
    unsigned grid[3] = {1, 1, 1}, threads = 1, dynamic_shared_bytes = 0;
    size_t phase = 0;  // or Profile::kChoice
  };
  /// What the shape of a step's launches depends on. `kv_len`: a power of two (or the longest
  /// context) that holds every sequence of the step.
  struct Shape {
    uint32_t entry_point = 0;
    int64_t rows = 0, logits_rows = 0, sequences = 0, kv_len = 0;
    uint32_t phases = 0;  // bits: the launches of llmc_sample that choose the token of each row
    auto operator<=>(const Shape&) const = default;
  };
  /// The choice of a row's token.
  struct BoundChoice {
    uint64_t token_id = 0, pos = 0;  // where the row's lie on the device
    uint64_t logits = 0;
    uint32_t phases = 0;
  };
  /// Where things lie in session_memory_.
  struct Places {
    /// A state's table, and its pools of each layer: keys and values, slots, or kept rows (both as
    /// keys).
    struct State {
      uint64_t table = 0, table_bytes = 0;
      uint64_t keys = 0, values = 0, key_layer_bytes = 0, value_layer_bytes = 0;
      uint64_t key_block_bytes = 0, value_block_bytes = 0;  // 0: no blocks
      uint64_t slot_bytes = 0;                              // 0: no recurrent state
      uint32_t num_layers = 0;
    };
    uint64_t step = 0, inputs = 0, arena = 0, scratch = 0, end = 0;
    uint64_t sample = 0, sample_bytes = 0, seen = 0, seen_bytes = 0;  // of each choice
    std::vector<uint64_t> rope;
    std::vector<State> states;
  };

  CudaSession(const CudaDevice& device, const Plan& plan, const ExecutorOptions& options)
      : Executor(plan, options.max_choices),
        device_(device),
        driver_(device.driver()),
        options_(options),
        weights_layout_(plan.schema()) {}
  Status initialize(const Weights& weights);
  Status execute(uint32_t entry_point, const Step& step) override;
  bool choosesTokens() const override { return true; }
  Status queueChoices(uint32_t entry_point, const Step& step, std::span<const Choice> choices,
                      bool follows) override;
  Status takeChoices(std::span<int32_t> chosen) override;
  Status finishChoices() override { return wait(); }
  /// For all that is queued.
  Status wait() const;
  const uint8_t* outputData(uint32_t index) const override;
  Status loadKernels();
  void place();
  /// Of the places.
  Result<Device::Room> room() const;
  Status checkMemory() const;
  Status uploadRopeTables();
  Status bindSchedules();
  OperandPlaces<uint64_t> operandPlaces() const;
  /// A launch's argument without operands.
  std::vector<uint64_t> argumentHead() const;
  Status uploadStep(uint32_t entry_point, const Step& step);
  Status startChoosing(uint32_t entry_point, std::span<const Choice> choices);
  /// Uploads what choice `i` goes on from.
  Status uploadSampler(size_t i, const SamplerState& from);
  /// What the host and the device tell each other of choice `i`, in memory of the host.
  struct ChoiceMail {
    uint64_t ring[LLMC_CUDA_RING];
    decltype(LlmcCudaSampleState::options) options;
    uint8_t* seen() { return reinterpret_cast<uint8_t*>(this + 1); }  // [vocab_size]
  };
  ChoiceMail* mail(size_t i) const {
    return reinterpret_cast<ChoiceMail*>(chosen_.data() + i * mail_bytes_);
  }
  /// Whether choice i is that of row i and logits row i, for all rows, and all are made alike.
  bool choosesEveryRow(const Step& step, std::span<const Choice> choices) const;
  LlmcCudaSample sampleArgument(size_t choice, int phase) const;
  /// body(KernelLaunch) for the launches of one choice.
  template <typename Body>
  Status forSampleLaunches(size_t choice, uint32_t phases, Body&& body) const;
  Status launch(const KernelLaunch& l) const;
  /// The choices of the step that has been started, where its shape has none.
  Status launchChoices() const;
  Status uploadTables();
  /// Where an input of an entry point lies; an error where it has none of this name.
  Result<uint64_t> inputAddress(uint32_t entry_point, std::string_view name) const;
  Shape shapeOf(uint32_t entry_point, const Step& step, uint32_t phases) const;
  /// body(address, bytes) of each slot of a sequence, as StateCache has them one after another.
  template <typename Body>
  Status forSlots(int32_t seq, Body&& body) const;
  Status start(const Shape& shape);
  /// Whether a kernel may begin while the one before it ends.
  bool isProgrammatic() const;
  Status launchAll(const Shape& shape);
  Result<CuGraphExec> graphFor(const Shape& shape);
  /// Of a step that has been started and is to be profiled: waits for it and takes its times.
  Status takeTimes(const Shape& shape);
  /// The i-th of the events between the launches of a profiled step.
  Result<CuEvent> timingEvent(size_t i);
  /// body(KernelLaunch) for every launch of a step of this shape, in order.
  template <typename Body>
  Status forLaunches(const Shape& shape, Body&& body) const;

  const CudaDevice& device_;
  const Driver& driver_;
  const ExecutorOptions options_;
  const DeviceWeights weights_layout_;
  Places places_;
  // In this order: what is destroyed last comes first.
  Owned<CuStream> stream_;
  Owned<CuModule> module_;
  RelayoutFunctions relayout_;
  std::vector<CuFunction> functions_;  // of the target's launches
  DeviceMemory weights_, session_memory_;
  PinnedMemory step_, outputs_, chosen_;
  std::vector<InputLayout> inputs_;                    // of each entry point
  std::vector<std::vector<uint64_t>> output_offsets_;  // of each entry point, in outputs_
  std::vector<Owned<CuEvent>> timing_events_;
  CuFunction sample_ = nullptr;
  std::vector<BoundChoice> choices_;  // of the steps that are queued
  uint32_t choice_phases_ = 0;        // Shape.phases of those; 0: they are launched one by one
  uint32_t chosen_taken_ = 0;
  uint64_t mail_bytes_ = 0;
  std::vector<std::vector<BoundLaunch>> schedules_;  // of each entry point
  std::map<Shape, Owned<CuGraphExec>> graphs_;
  bool tables_uploaded_ = false;
};

}  // namespace llmrt::cuda
