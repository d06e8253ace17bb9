// One or several sequences and their steps: tokens become rows, which an executor runs.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/abi/kernel_abi.h"
#include "runtime/executor/cpu_executor.h"
#include "runtime/executor/device.h"
#include "runtime/executor/executor.h"
#include "runtime/executor/memory.h"
#include "runtime/executor/plan.h"
#include "runtime/executor/profile.h"
#include "runtime/executor/token_chooser.h"
#include "runtime/executor/weights.h"
#include "runtime/io/status.h"
#include "runtime/session/prefix_store.h"
#include "runtime/session/state_cache.h"
#include "runtime/session/step_inputs.h"

namespace llmrt {

namespace schema {
enum class StepKind : int8_t;
}  // namespace schema

struct SessionOptions {
  int threads = 0;                   // 0: the CPUs of this process
  int64_t max_seq_len = 0;           // 0: the plan's; not more than that
  int64_t max_batch = 1;             // sequences in flight, not more than the plan's; 0: as many
  int64_t prefill_chunk = 0;         // most rows of a prefill step; 0: as many as the plan allows
  int64_t kv_tokens = 0;             // most tokens of all sequences together, not fewer than
                                     // max_seq_len; 0: max_batch * max_seq_len
  uint64_t memory_bytes = 0;         // most memory beside the weights: max_seq_len (where it is 0)
                                     // and kv_tokens become what it holds; 0: no bound
  uint64_t memory_shares = 1;        // into which boundMemory() divides what is free, with weights
  bool profile = false;              // measure every phase; read with profile()
  Device* device = nullptr;          // null: this machine's CPUs. Must outlive the session
  PrefixStoreOptions store;          // where what is kept outlives the session
  std::vector<CallersInput> inputs;  // those of the plan's that setInput() will hand over
};

/// What a session allocates on this machine: its executor's memory, with a step's inputs among the
/// activations.
using SessionMemory = ExecutorMemory;

/// Not thread-safe, but several sessions may share a plan and its weights. All memory is allocated
/// by create(): prefill, decode, step and reset allocate nothing. After a step that failed, every
/// sequence is as before it, but for those of a model with recurrent states: as these cannot go
/// back, the step's sequences are reset. The outputs of the step before may be gone. A step whose
/// logits are not finite has failed.
class Session {
 public:
  /// `plan` and `weights` must outlive the session.
  static Result<std::unique_ptr<Session>> create(const Plan& plan, const Weights& weights,
                                                 const SessionOptions& options = {});

  ~Session();

  /// What create() would allocate; checks the options.
  static Result<SessionMemory> memory(const Plan& plan, const SessionOptions& options);
  /// The same for a verified plan that is not opened, since it may be for another machine.
  /// `scratch_bytes`: the target's.
  static Result<SessionMemory> memory(const schema::Plan& plan, uint64_t scratch_bytes,
                                      const SessionOptions& options);

  /// Where `options` bound neither the context nor the KV cache nor the memory: sets memory_bytes
  /// to nine tenths of what is free now beside the plan's weights, on this machine or on
  /// options.device; the rest is for what else runs there. Stays 0 where nobody knows.
  static Status boundMemory(const Plan& plan, SessionOptions& options);

  /// Appends `tokens` to a sequence, in chunks. Logits of the last one are wanted. `cancel` (may be
  /// null) is looked at before each chunk; kCancelled leaves the chunks done so far in the cache,
  /// and so does a failure in a later chunk: kvLen() tells how far it came.
  Status prefill(int32_t seq, std::span<const int32_t> tokens,
                 const std::atomic<bool>* cancel = nullptr);

  /// Appends one token, whose logits are wanted.
  Status decode(int32_t seq, int32_t token);

  /// Runs any mix of tokens of any sequences as one step. Tokens of one sequence must be adjacent;
  /// they are appended to it in the given order. At most maxRows() tokens, of which maxLogitsRows()
  /// may want logits.
  Status step(std::span<const StepToken> tokens);
  /// The same through an entry point of this kind: prefill, decode or embed.
  Status step(std::span<const StepToken> tokens, schema::StepKind kind);

  /// Where SessionOptions.kv_tokens are fewer than sequences may have: forgets what planRows() has
  /// counted.
  void planStep() { states_.planStep(); }
  /// Whether a step has room for `rows` more tokens of a sequence, beside those that planRows()
  /// said so of since planStep().
  bool planRows(int32_t seq, int64_t rows) {
    return states_.planRows(seq, kvLen(seq), kvLen(seq) + rows);
  }
  /// The same of all the steps that `tokens` more tokens take: of what the sequence holds at once.
  bool planSequence(int32_t seq, int64_t tokens) {
    return states_.planSequence(seq, kvLen(seq), kvLen(seq) + tokens, options_.prefill_chunk);
  }
  /// Starts such a step, and the choice of the tokens that follow: `choosers` has one for each
  /// token that wants logits, in order; null where none is to be chosen. take() waits for it.
  /// Choosers must be there until the last step that goes on from it is taken. `wants_logits`:
  /// logits() can be read after take(); else a device may keep them to itself. Forgets what is
  /// queued and not taken, and so does whatever else is done with the session: then sequences are
  /// as after a step that failed.
  Status queue(std::span<const StepToken> tokens, std::span<TokenChooser* const> choosers,
               bool wants_logits = false);
  /// Starts one more: of each row of the step queued last, the token that was chosen there. Every
  /// row had a chooser, no two were of one sequence, and choosers hear of the tokens that were
  /// taken (Sampler::accept()), of nothing else. On a device no host work lies between the steps.
  Status queueNext();
  /// Whether queueNext() can be called now: it is as said above, the context has room, and not as
  /// many steps are in flight as run ahead of the host.
  bool canQueueNext();
  /// Waits for the earliest step in flight, whose tokens are then appended. The tokens that were
  /// chosen, one for each chooser, valid until the next call.
  Result<std::span<const int32_t>> take();
  /// Steps that were queued and not taken.
  int64_t numInFlight() const { return in_flight_; }
  /// Forgets what is in flight.
  Status finish();

  /// Looks at trees of drafted tokens in one step: logits(i) are those of tokens[i], as if the
  /// tokens on its branch, and no others, had been appended before it; to the bit. Appends nothing:
  /// that is for commit(), and whatever else is done with the session before it forgets the trees.
  /// Tokens of one sequence must be adjacent. Needs a plan compiled with --verify.
  Status verify(std::span<const TreeToken> tokens);
  /// Appends what was accepted of the trees that verify() has looked at: indices of its tokens,
  /// ascending, those of one sequence a branch from its root on. What is left out is forgotten.
  Status commit(std::span<const int32_t> accepted);

  /// Elements of a hidden row; 0: the plan has no code for multi-token prediction (--mtp).
  int64_t hiddenSize() const { return hidden_size_; }
  /// Runs the MTP block on rows of sequences: logits(i) guess the token behind that of the i-th row
  /// that wants them, which is itself the one behind `pos`. `hidden`: of each row, hiddenSize()
  /// elements, what output("hidden") was of the token at `pos` in an earlier step; where the model
  /// has not run that token yet, of the row before it in a step of this kind. output("hidden") is
  /// then this step's. Rows of one sequence are adjacent, each a position further. The block has
  /// keys and values of its own: a sequence's rows begin at or before mtpLen(), and what stands
  /// behind them counts no more. Whoever replaces a text's end runs the row before it again. At
  /// most as many rows as the plan's entry of kind mtp has. A sequence that began with share() has
  /// none.
  Status mtp(std::span<const MtpToken> tokens, std::span<const float> hidden);
  /// Positions of a sequence that the MTP block has seen, in order from the first.
  int64_t mtpLen(int32_t seq) const { return mtp_len_[static_cast<size_t>(seq)]; }

  /// Hands over one of SessionOptions.inputs: [count, width] of its dtype, for the next steps,
  /// until others follow. `count` is that of the input's axis in those steps (sequences:
  /// max_batch).
  Status setInput(std::string_view name, std::span<const std::byte> values);
  /// An output of the last step, valid until the next: of its axis' count of rows.
  StepOutput output(std::string_view name) const { return executor_->output(name); }

  /// Logits of the i-th token of the last step that wanted them: [vocab_size], valid until the next
  /// step.
  std::span<const float> logits(int64_t i = 0) const { return executor_->logits(i); }
  int64_t numLogitsRows() const { return executor_->numLogitsRows(); }

  /// Forgets a sequence's tokens.
  void reset(int32_t seq);
  /// Forgets a sequence's tokens but the first `tokens`, of those it has. How many it keeps: 0
  /// where they are no longer all there, as a window has passed some or a recurrent state has gone
  /// on. Then who wants them prefills them again.
  [[nodiscard]] int64_t truncate(int32_t seq, int64_t tokens);

  using Shared = StateCache::Shared;
  /// Begins a sequence anew with as many of a text's tokens as are still there of other sequences,
  /// all but the last at most, whose logits are wanted: those that keep() and keepAll() were told
  /// of, as long as their place was not needed. Those longest unused go first. To the bit what
  /// prefill() would make of them on CPUs.
  Shared share(int32_t seq, std::span<const int32_t> text);
  /// Says which tokens a sequence has, all kvLen(seq) of them: others can share whole blocks of
  /// them from now on, also after it has gone. Nothing is kept of sequences that depend on more
  /// than their tokens (SessionOptions.inputs).
  void keep(int32_t seq, std::span<const int32_t> tokens);
  /// The same of its last, unfilled block; and where the plan has recurrent states, a snapshot is
  /// taken of them, if they take no more memory than the keys and values of `tokens`. Sequences go
  /// on behind a snapshot alone.
  void keepAll(int32_t seq, std::span<const int32_t> tokens);
  /// Whether keepAll() would take one behind so many tokens.
  bool snapshotPays(int64_t tokens) const { return states_.snapshotPays(tokens); }
  /// Hands over to SessionOptions.store, which writes on a thread of its own, what it has room for
  /// of what was kept since. Whether more is left; the session's end waits for that.
  bool store() { return states_.store(); }
  /// Forgets all that was kept.
  void forgetKept() { states_.forgetKept(); }

  /// A copy of what a sequence's recurrent states are now, to go back to. Allocates. Its number.
  Result<uint32_t> snapshot(int32_t seq);
  /// Back to where the sequence was at a snapshot, with the tokens it had; an error that changes
  /// nothing where those are no longer all there. The snapshot stays.
  Status restore(uint32_t snapshot);
  void dropSnapshot(uint32_t snapshot) { snapshots_.erase(snapshot); }

  int64_t kvLen(int32_t seq) const { return kv_len_[static_cast<size_t>(seq)]; }

  const StateCache& states() const { return states_; }
  const Plan& plan() const { return plan_; }
  const SessionOptions& options() const { return options_; }  // with the defaults filled in
  int64_t maxRows() const { return max_rows_; }
  int64_t maxLogitsRows() const { return max_logits_rows_; }

  /// Null unless SessionOptions.profile.
  const Profile* profile() const { return profile_.get(); }
  void clearProfile() {
    if (profile_) profile_->clear();
  }

 private:
  struct Snapshot {
    int32_t seq = 0;
    int64_t tokens = 0;
    bool is_past = true;  // of the sequence as it is: nothing before it was forgotten since
    std::vector<uint8_t> slots;
  };
  Session(const Plan& plan, SessionOptions options);
  Status openStore(const Weights& weights);
  Status initialize(const Weights& weights);
  Status check(std::span<const StepToken> tokens, int64_t max_rows) const;
  Status runStep(std::span<const StepToken> tokens, int64_t max_rows,
                 std::initializer_list<schema::StepKind> kinds);
  /// Whether there are blocks for the step at hand.
  Status checkRoom();
  /// The step at hand: its inputs, room for its rows, and the walk.
  Status runRows(uint32_t entry_point);
  /// The rows of the step at hand are now tokens of their sequences.
  void keepRows();
  void profileStep(uint32_t entry_point);
  /// Ok, with the tokens in tree_.
  Status checkTrees(std::span<const TreeToken> tokens);
  /// Ok, with the tokens in chunk_ and what else is of their rows.
  Status checkMtp(std::span<const MtpToken> tokens, std::span<const float> hidden);
  void forgetTrees();
  /// The MTP block has seen no more than the sequence has.
  void limitMtp(int32_t seq) {
    int64_t& length = mtp_len_[static_cast<size_t>(seq)];
    length = std::min(length, kvLen(seq));
  }
  /// Rows, logits rows and counts of the step at hand; the entry point that runs it.
  Result<uint32_t> setRows(std::span<const StepToken> tokens, int64_t max_rows,
                           std::initializer_list<schema::StepKind> kinds);
  /// Inputs of the step at hand, and room for its rows behind those in flight.
  Status prepareRows(uint32_t entry_point);
  Status queueRows(bool follows);
  /// The step at hand as the executor takes it.
  Step executorStep() const;
  /// Undoes what a failed step may have left behind a sequence's kvLen().
  void undoStep(int32_t seq);
  /// body(seq, number of its rows in the step at hand).
  template <typename Body>
  void forSequences(Body&& body) const {
    for (size_t begin = 0, end = 0; begin < rows_.tokens.size(); begin = end) {
      const int32_t seq = rows_.tokens[begin].seq;
      while (end < rows_.tokens.size() && rows_.tokens[end].seq == seq) ++end;
      body(seq, static_cast<int64_t>(end - begin));
    }
  }

  const Plan& plan_;
  SessionOptions options_;
  std::unique_ptr<PrefixStore> store_;
  StateCache states_;
  StepInputs inputs_;
  std::unique_ptr<Profile> profile_;
  std::unique_ptr<Executor> executor_;  // reads what states_ and inputs_ hold
  int64_t max_rows_ = 0, max_logits_rows_ = 0;

  std::vector<int64_t> kv_len_;   // per sequence
  std::vector<int64_t> mtp_len_;  // per sequence; -1: its first tokens are another's
  int64_t hidden_size_ = 0;
  std::map<uint32_t, Snapshot> snapshots_;
  uint32_t next_snapshot_ = 0;
  // The step in progress.
  std::vector<int32_t> pos_;  // of each row
  std::vector<int32_t> logits_rows_;
  std::vector<SequenceRows> sequences_;  // profileStep()'s
  std::vector<StepToken> chunk_;         // prefill's
  // The trees that commit() may take from; empty: none. parent_ has room for as many rows as a
  // verify step.
  std::vector<StepToken> tree_;
  std::vector<int32_t> slot_, parent_;
  std::vector<uint8_t> in_tree_;  // per sequence
  mutable std::vector<uint8_t> seen_;
  // Steps in flight, all of the rows that the last of them has.
  int64_t in_flight_ = 0;
  bool can_follow_ = false;  // queueNext() may go on from the last
  bool wants_logits_ = false;
  uint32_t queued_entry_ = 0;
  std::vector<StepToken> queued_;
  std::vector<Choice> choices_;
  std::vector<int32_t> chosen_;
  StepRows rows_;
  LlmcStep step_{};
};

}  // namespace llmrt
