// Runs the entry points of a plan over tables of rows. Knows memory, kernels and threads; what the
// rows are, which sequences they belong to and what becomes of the outputs is for those above.
// CPUs (cpu_executor.h) and GPUs (runtime/cuda) are two implementations.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/abi/kernel_abi.h"
#include "runtime/executor/plan.h"
#include "runtime/io/status.h"
#include "runtime/io/weight_layout.h"

namespace llmrt {

class Profile;
class TokenChooser;
namespace schema {
struct EntryPoint;
}

struct ExecutorOptions {
  int threads = 1;  // of a step on CPUs
  int64_t max_seq_len = 0;
  int64_t max_batch = 0;
  int64_t max_choices = 0;          // a device makes of a step; the host makes more
  std::vector<int64_t> num_blocks;  // of each state of the plan; not looked at where it has none
  /// The row table: what a step reads of the host when it is run. Whoever made it writes it between
  /// steps, and it outlives the executor.
  std::vector<const uint8_t*> inputs;  // of each entry point, as InputLayout says
  std::vector<const int32_t*> tables;  // of each state: its block table, or its slots
  /// Positions whose rotations are there from the beginning: of all that an input may say which is
  /// not a step's kv_len.
  int64_t rope_positions = 0;
  /// Where every kernel's time goes, null: nowhere. On a device measured steps run their kernels
  /// one after the other, with nothing queued ahead.
  Profile* profile = nullptr;
};

/// What of a step is not in the row table.
struct Step {
  LlmcStep counts{};
  int64_t kv_len = 0;  // of the longest sequence, with the step's rows
};

/// An output of a step: [rows, width], rows lie row_bytes apart.
struct StepOutput {
  const uint8_t* data = nullptr;  // null: the last step had no such output
  DType dtype = DType::kF32;
  int64_t rows = 0, width = 0;
  uint64_t row_bytes = 0;
};

/// That the token which follows a row of a step is to be chosen. The row wants logits.
struct Choice {
  int32_t row = 0;         // of the step
  int32_t logits_row = 0;  // among those that want logits
  TokenChooser* chooser = nullptr;
};

/// Used by one thread at a time. Steps allocate nothing.
class Executor {
 public:
  virtual ~Executor() = default;

  /// Runs an entry point over the row table. Returns when its outputs can be read. A step whose
  /// logits are not finite has failed.
  Status run(uint32_t entry_point, const Step& step);

  /// An output of the last step, valid until the next: of its axis' count of rows.
  StepOutput output(std::string_view name) const;
  /// Logits of the last step, of the i-th of those rows that wanted them: [vocab_size].
  std::span<const float> logits(int64_t i) const;
  int64_t numLogitsRows() const { return has_outputs_ ? logitsRows() : 0; }

  /// Queues a step and the choice of the tokens that follow some of its rows: what the choosers'
  /// sample() makes of the logits, bit for bit, whoever makes the choice. take() waits for it.
  ///
  /// `follows`: the step's rows are those of the step queued before, each now the token that was
  /// chosen there, so that all of them were, in order, by the same choosers; which were told of
  /// these tokens, and of nothing else. A device then goes on by itself and reads kv_len and tables
  /// alone. The row table has the tokens if they were taken. Else nothing may be in flight.
  ///
  /// `wants_outputs`: they can be read after take(); else there may be none.
  Status queue(uint32_t entry_point, const Step& step, std::span<const Choice> choices,
               bool follows, bool wants_outputs);
  /// Waits for the earliest step in flight: the tokens that were chosen, and choosers as sample()
  /// leaves them. After an error, finish() comes next.
  Status take(std::span<int32_t> chosen);
  /// How many steps may be in flight, queued and not yet taken. More than one hides the host's part
  /// of a step, where a device needs it for nothing.
  int64_t depth(std::span<const Choice> choices, bool wants_outputs) const {
    return isHosts(choices, wants_outputs) ? 1 : kAhead;
  }
  /// Waits for all that is in flight, and drops it.
  Status finish();

  /// Before another sequence's tokens follow in tokens [first_token, LLMC_KV_BLOCK_TOKENS) of a
  /// block of a state: what it held (an infinity, say) must not reach them. Nothing to do where
  /// kernels never read keys and values that the sequence at hand has not written.
  virtual void clearBlock(uint32_t state, int32_t block, int64_t first_token) = 0;

  /// Fills a block of a state with what another holds, in all layers.
  virtual Status copyBlock(uint32_t state, int32_t from, int32_t to) = 0;

  /// What a block of a state holds, of all layers one after another: its keys and its values. The
  /// CPUs' alone.
  virtual Status readBlock(uint32_t state, int32_t block, std::span<uint8_t> out);
  virtual Status writeBlock(uint32_t state, int32_t block, std::span<const uint8_t> from);

  /// A sequence's slots of all recurrent states and layers, one after another.
  virtual Status readSlots(int32_t seq, std::span<uint8_t> out) = 0;
  virtual Status writeSlots(int32_t seq, std::span<const uint8_t> from) = 0;
  virtual Status clearSlots(int32_t seq) = 0;

 protected:
  /// `plan` must outlive the executor.
  explicit Executor(const Plan& plan, int64_t max_choices = 0);
  virtual Status execute(uint32_t entry_point, const Step& step) = 0;
  /// Whether it makes choices itself; then the functions below are there.
  virtual bool choosesTokens() const { return false; }
  virtual Status queueChoices(uint32_t entry_point, const Step& step,
                              std::span<const Choice> choices, bool follows);
  virtual Status takeChoices(std::span<int32_t> chosen);
  virtual Status finishChoices() { return {}; }
  /// Output `index` of the last step's entry point: its buffer's rows.
  virtual const uint8_t* outputData(uint32_t index) const = 0;

  // Of the step in progress, and when it has ended the last one.
  uint32_t running() const { return running_; }
  const LlmcStep& counts() const { return counts_; }
  const schema::EntryPoint& entry() const;
  /// Those of the step that want logits and get them: none where the entry point gives none.
  int64_t logitsRows() const { return logits_output_[running_] < 0 ? 0 : counts_.num_logits_rows; }
  /// As logits(), before the step has ended well.
  std::span<const float> logitsRow(int64_t i) const;

  const Plan& plan_;

 private:
  /// Whether the host makes the choices, in take().
  bool isHosts(std::span<const Choice> choices, bool wants_outputs) const;
  static constexpr int64_t kAhead = 2;
  void begin(uint32_t entry_point, const Step& step);

  std::vector<int> logits_output_;  // of each entry point; -1: it gives none
  uint32_t running_ = 0;
  LlmcStep counts_{};
  bool has_outputs_ = false;  // the last step has ended well
  const int64_t max_choices_;
  std::vector<Choice> choices_;  // of the steps in flight
  bool on_device_ = false;       // makes them
};

}  // namespace llmrt
