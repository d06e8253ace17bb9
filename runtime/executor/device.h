// A processor that is not this machine's CPU (runtime/cuda): what of a plan runs on it, and
// executors on it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "runtime/io/status.h"

namespace llmrt {

class Executor;
class Plan;
class Weights;
struct ExecutorOptions;
namespace schema {
struct Plan;
}

/// Must outlive its executors.
class Device {
 public:
  virtual ~Device() = default;
  virtual std::string name() const = 0;  // for people
  /// The index in plan.targets() of the code to run here; an error that begins as Plan::open's do
  /// ("holds code for").
  virtual Result<uint32_t> chooseTarget(const schema::Plan& plan) const = 0;
  struct Room {
    uint64_t needed = 0;  // what createExecutor() takes beside the weights
    uint64_t free = 0;    // what the device has beside them
  };
  /// `options` need no row table.
  virtual Result<Room> room(const Plan& plan, const ExecutorOptions& options) const = 0;
  /// Allocates all memory and brings the weights over. Checks that they fit before the first byte
  /// moves.
  virtual Result<std::unique_ptr<Executor>> createExecutor(const Plan& plan, const Weights& weights,
                                                           const ExecutorOptions& options) = 0;
};

}  // namespace llmrt
