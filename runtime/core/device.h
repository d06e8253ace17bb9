// What a session needs of a processor that is not this machine's CPU: the seam between sessions,
// which know tokens, sequences and their states, and a back end (runtime/cuda), which knows memory
// and launches.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/abi/kernel_abi.h"
#include "runtime/io/status.h"

namespace llmrt {

class Plan;
class Profile;
class Weights;
struct SamplerState;
namespace schema {
struct Plan;
}

struct DeviceSessionOptions {
  int64_t max_seq_len = 0;
  int64_t max_batch = 0;
  std::vector<int64_t> num_blocks;  // of each state of the plan; 0 of recurrent ones
  /// Where every kernel's time goes, null: nowhere. Measured steps run their kernels one after the
  /// other, with nothing queued ahead.
  Profile* profile = nullptr;
};

/// A step as the host has it.
struct DeviceStep {
  LlmcStep step{};
  const uint8_t* inputs = nullptr;         // the entry point's, as InputLayout says
  std::span<const int32_t* const> tables;  // of each state: its block table, or its slots
  int64_t kv_len = 0;                      // of the longest sequence, with the step's rows
};

/// One session's memory on a device, and its steps. Used by one thread at a time. Its kernels never
/// read keys and values that the sequence at hand has not written, so blocks are handed from one
/// sequence to another as they are.
class DeviceSession {
 public:
  virtual ~DeviceSession() = default;

  /// Runs entry point `entry_point`. Returns when its outputs can be read.
  virtual Status run(uint32_t entry_point, const DeviceStep& step) = 0;
  /// Output `index` of the last step's entry point: its buffer's rows, valid until the next step.
  virtual const uint8_t* output(uint32_t index) const = 0;

  /// Decoding of one sequence, with no work for the host between steps: queues a step of the one
  /// row in `step` and the choice of its token, which is what Sampler::sample() and accept() would
  /// make of the same logits, bit for bit. Of the first step the inputs and the sampler's state are
  /// given; later ones (`first` null) run on what the step before chose, and only their kv_len and
  /// tables are read. At most 2 may be queued.
  virtual Status queueChoice(uint32_t entry_point, const DeviceStep& step,
                             const SamplerState* first) = 0;
  /// Waits for the earliest step that has not been taken; the token it chose.
  virtual Result<int32_t> takeChoice() = 0;
  /// Waits for all that is queued.
  virtual Status finish() = 0;

  /// A sequence's slots of all recurrent states and layers, one after another (StateCache).
  virtual Status readSlots(int32_t seq, std::span<uint8_t> out) = 0;
  virtual Status writeSlots(int32_t seq, std::span<const uint8_t> from) = 0;
  virtual Status clearSlots(int32_t seq) = 0;
};

/// A processor. Must outlive its sessions.
class Device {
 public:
  virtual ~Device() = default;
  virtual std::string name() const = 0;  // for people
  /// The index in plan.targets() of the code to run here; an error that begins as Plan::open's do
  /// ("holds code for").
  virtual Result<uint32_t> chooseTarget(const schema::Plan& plan) const = 0;
  /// Allocates all memory and brings the weights over. Checks that they fit before the first byte
  /// moves.
  virtual Result<std::unique_ptr<DeviceSession>> createSession(
      const Plan& plan, const Weights& weights, const DeviceSessionOptions& options) = 0;
};

/// Fills [max_seq_len, 2, half] with cos and sin of a RopeTable, computed in double, rounded to
/// f32.
void fillRopeTable(const schema::Plan& plan, uint32_t table, int64_t max_seq_len, float* out);

}  // namespace llmrt
