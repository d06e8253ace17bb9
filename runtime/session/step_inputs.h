// What a step is given: the arrays of an entry point's inputs, filled in by their names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/abi/kernel_abi.h"
#include "runtime/executor/input_layout.h"
#include "runtime/executor/memory.h"
#include "runtime/io/status.h"
#include "runtime/io/weight_layout.h"

namespace llmrt {

namespace schema {
struct Plan;
}

/// One token of a step.
struct StepToken {
  int32_t seq = 0;
  int32_t token = 0;
  bool want_logits = false;
};

/// One token of a tree: a draft of what may come next.
struct TreeToken {
  int32_t seq = 0;
  int32_t token = 0;
  int32_t parent = -1;  // index in the step of the token it continues; -1: its sequence's last
};

/// One row of a step of the MTP block: the token behind that at `pos`, whose hidden row it reads.
struct MtpToken {
  int32_t seq = 0;
  int32_t token = 0;
  int32_t pos = 0;
  bool want_logits = false;
};

/// The rows of a step. Those of one sequence are adjacent, in order of pos; in trees, after the row
/// that they continue.
struct StepRows {
  std::span<const StepToken> tokens;
  const int32_t* pos = nullptr;          // of each token
  std::span<const int32_t> logits_rows;  // indices of tokens, ascending
  const int32_t* slot = nullptr;         // of each token; null: its pos
  const int32_t* parent = nullptr;       // of each token; null: no trees
  const int32_t* kept_row = nullptr;     // of each token; null: no commit
  std::span<const float> hidden = {};    // of each token, one after another; empty: no MTP step
};

/// An input that the session's user hands over (Session::setInput): [count of axis, width].
struct CallersInput {
  std::string name;
  DType dtype;
  schema::Axis axis;
  int64_t width = 1;
};

/// The inputs of all entry points of a session, in memory of its own.
class StepInputs {
 public:
  /// An error for an input that nobody fills in: neither the session, from a step's rows, nor its
  /// user; or one that wants another type, axis or width than it would get.
  static Status check(const schema::Plan& plan, std::span<const CallersInput> callers);
  /// Bytes of all entry points' inputs; as a double, since hostile plans have any.
  static double bytesNeeded(const schema::Plan& plan, int64_t max_batch);

  StepInputs() = default;
  /// The plan is check()ed.
  static Result<StepInputs> create(const schema::Plan& plan, int64_t max_batch,
                                   std::span<const CallersInput> callers);

  /// The array of each input of an entry point, as InputLayout says, one after another.
  const uint8_t* data(uint32_t entry_point) const { return entries_[entry_point].data; }

  /// Keeps a user's values for every entry point that has the input: bytes of whole elements of its
  /// axis, not more than fit.
  Status set(std::string_view name, std::span<const std::byte> values);

  /// Fills in what follows from the rows. An error where a user's input has values for another
  /// number of rows than the step.
  Status fill(uint32_t entry_point, const StepRows& rows, const LlmcStep& step);

 private:
  using Fill = void (*)(const StepRows& rows, uint8_t* out);
  struct Input {
    std::string name;
    Fill fill = nullptr;  // null: the user's
    schema::Axis axis{};
    uint64_t element_bytes = 0;  // of one element of the axis
    uint64_t most = 0;           // elements that have room
    uint64_t count = 0;          // elements that the user gave
  };
  struct Entry {
    std::string name;
    InputLayout layout;
    uint8_t* data = nullptr;
    std::vector<Input> inputs;
  };
  struct Source;
  static const Source* sourceOf(std::string_view name);
  std::vector<Entry> entries_;
  AnonymousMemory memory_;
};

}  // namespace llmrt
