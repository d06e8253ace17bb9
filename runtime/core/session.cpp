#include "runtime/core/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "runtime/core/operand_address.h"

namespace llmrt {
namespace {

bool makesText(const schema::EntryPoint& entry) {
  return entry.kind() == schema::StepKind::prefill || entry.kind() == schema::StepKind::decode;
}

/// Most rows of a step of any kind.
int64_t mostRows(const schema::Plan& plan) {
  int64_t rows = 0;
  for (const schema::EntryPoint* e : *plan.entry_points())
    rows = std::max<int64_t>(rows, e->max_rows());
  return rows;
}

/// Rows of the largest step of a kind; 0: the plan has no such step.
int64_t mostRowsOf(const schema::Plan& plan, schema::StepKind kind) {
  int64_t rows = 0;
  for (const schema::EntryPoint* entry : *plan.entry_points())
    if (entry->kind() == kind) rows = std::max<int64_t>(rows, entry->max_rows());
  return rows;
}

StateCacheOptions cacheOptions(const schema::Plan& plan, const SessionOptions& options) {
  // A device runs two steps of one row before the host takes the first as done.
  return {options.max_batch, options.max_seq_len, std::max<int64_t>(mostRows(plan), 2)};
}

Result<SessionOptions> withDefaults(const schema::Plan& plan, SessionOptions options) {
  const int64_t max_seq_len = plan.model()->max_seq_len();
  if (options.threads == 0) options.threads = defaultThreads();
  if (options.threads < 1 || options.threads > kMaxThreads) {
    return invalidArgument(
        fmt::format("threads must be 1 to {}, got {}", kMaxThreads, options.threads));
  }
  if (options.max_seq_len == 0) options.max_seq_len = max_seq_len;
  if (options.max_seq_len < 1 || options.max_seq_len > max_seq_len) {
    return invalidArgument(fmt::format("--max-seq-len {}: the plan was compiled for 1 to {} tokens",
                                       options.max_seq_len, max_seq_len));
  }
  if (options.max_batch < 1 || options.max_batch > plan.model()->max_batch()) {
    return invalidArgument(fmt::format("max_batch {}: the plan was compiled for 1 to {} sequences",
                                       options.max_batch, plan.model()->max_batch()));
  }
  int64_t max_rows = 0;
  for (const schema::EntryPoint* e : *plan.entry_points())
    if (makesText(*e)) max_rows = std::max<int64_t>(max_rows, e->max_rows());
  if (options.prefill_chunk == 0) options.prefill_chunk = max_rows;
  if (max_rows > 0 && (options.prefill_chunk < 1 || options.prefill_chunk > max_rows)) {
    return invalidArgument(fmt::format("--prefill-chunk {}: the plan was compiled for 1 to {} rows",
                                       options.prefill_chunk, max_rows));
  }
  return options;
}

uint64_t arenaBytes(const schema::Plan& plan) {
  uint64_t bytes = 0;  // steps follow one another: entry points share one arena
  for (const schema::EntryPoint* e : *plan.entry_points())
    bytes = std::max(bytes, e->arena_bytes());
  return alignUp(bytes);
}

uint64_t ropeBytes(const schema::RopeTable& table, int64_t max_seq_len) {
  return alignUp(static_cast<uint64_t>(max_seq_len) * 2 * table.inv_freq()->size() * sizeof(float));
}

}  // namespace

Result<SessionMemory> Session::memory(const Plan& plan, const SessionOptions& options) {
  return memory(plan.schema(), plan.target().scratch_bytes(), options);
}

Result<SessionMemory> Session::memory(const schema::Plan& p, uint64_t scratch_bytes,
                                      const SessionOptions& options) {
  LLMRT_ASSIGN_OR_RETURN(const SessionOptions o, withDefaults(p, options));
  // Verified sizes are far from 64 bits, but not so their products for many sequences: sum in
  // double and refuse early.
  constexpr double kMost = 0x1p50;
  SessionMemory memory;
  const double inputs = StepInputs::bytesNeeded(p, o.max_batch);
  if (inputs > kMost)
    return outOfMemory(
        fmt::format("out of memory: the inputs of a step need {:.0f} GiB", inputs / 0x1p30));
  memory.activation_bytes = static_cast<uint64_t>(inputs);
  if (o.device) return memory;  // which checks its own
  memory.activation_bytes +=
      arenaBytes(p) + static_cast<uint64_t>(o.threads) * alignUp(scratch_bytes);
  const StateCache::Bytes states = StateCache::bytesNeeded(p, cacheOptions(p, o));
  if (states.blocks > INT32_MAX) {
    return invalidArgument(
        "max_batch times max_seq_len needs more KV blocks than a block table can number");
  }
  double rope = 0;
  for (uint32_t i = 0; p.rope_tables() && i < p.rope_tables()->size(); ++i)
    rope += static_cast<double>(ropeBytes(*p.rope_tables()->Get(i), o.max_seq_len));
  if (const double total = states.kv + states.recurrent + rope; total > kMost) {
    return outOfMemory(fmt::format("out of memory: the KV cache needs {:.0f} GiB", total / 0x1p30));
  }
  memory.kv_bytes = static_cast<uint64_t>(states.kv);
  memory.recurrent_bytes = static_cast<uint64_t>(states.recurrent);
  memory.rope_bytes = static_cast<uint64_t>(rope);
  return memory;
}

Result<std::unique_ptr<Session>> Session::create(const Plan& plan, const Weights& weights,
                                                 const SessionOptions& options) {
  LLMRT_ASSIGN_OR_RETURN(const SessionMemory memory, Session::memory(plan, options));
  LLMRT_ASSIGN_OR_RETURN(const SessionOptions o, withDefaults(plan.schema(), options));
  if (Status s = StepInputs::check(plan.schema(), o.inputs); !s.ok())
    return std::move(s).withContext(plan.path());
  const std::string what =
      fmt::format("{} tokens of context ({:.2f} GiB of KV cache; --max-seq-len lowers it)",
                  o.max_batch * o.max_seq_len, static_cast<double>(memory.kv_bytes) / 0x1p30);
  LLMRT_RETURN_IF_ERROR(checkMemoryAvailable(memory.total(), what));
  std::unique_ptr<Session> session(new Session(plan, o));
  LLMRT_ASSIGN_OR_RETURN(session->memory_, AnonymousMemory::allocate(memory.total(), what));
  LLMRT_RETURN_IF_ERROR(session->initialize(weights, memory));
  return session;
}

Session::Session(const Plan& plan, SessionOptions options)
    : plan_(plan),
      options_(std::move(options)),
      states_(plan.schema(), cacheOptions(plan.schema(), options_)) {}

Status Session::initialize(const Weights& weights, const SessionMemory& memory) {
  const schema::Plan& p = plan_.schema();
  LLMRT_ASSIGN_OR_RETURN(team_, ThreadTeam::create(options_.device ? 1 : options_.threads));
  tile_shares_ = std::make_unique<TileShares>(team_->size());
  int64_t most_logits_rows = 0;
  for (const schema::EntryPoint* entry : *p.entry_points()) {
    int logits = -1;
    for (uint32_t i = 0; entry->outputs() && i < entry->outputs()->size(); ++i)
      if (entry->outputs()->Get(i)->name()->string_view() == "logits") logits = static_cast<int>(i);
    logits_output_.push_back(logits);
    most_logits_rows = std::max<int64_t>(most_logits_rows, entry->max_logits_rows());
    if (!makesText(*entry)) continue;
    max_rows_ = std::max<int64_t>(max_rows_, entry->max_rows());
    max_logits_rows_ = std::max<int64_t>(max_logits_rows_, entry->max_logits_rows());
  }
  kv_len_.resize(static_cast<size_t>(options_.max_batch));
  num_changes_.resize(kv_len_.size());
  seen_.resize(kv_len_.size());
  pos_.resize(static_cast<size_t>(mostRows(p)));
  chunk_.resize(pos_.size());
  slot_.resize(pos_.size());
  parent_.resize(static_cast<size_t>(mostRowsOf(p, schema::StepKind::verify)));
  tree_.reserve(parent_.size());
  in_tree_.resize(kv_len_.size());
  logits_rows_.resize(static_cast<size_t>(most_logits_rows));
  sequences_.reserve(kv_len_.size());
  if (options_.profile) profile_ = std::make_unique<Profile>(plan_);
  inputs_ = StepInputs(p, options_.max_batch, options_.inputs, memory_.data());
  if (!options_.device) {
    bindSchedules(weights, memory);
    return {};
  }
  LLMRT_ASSIGN_OR_RETURN(device_,
                         options_.device->createSession(plan_, weights,
                                                        {.max_seq_len = options_.max_seq_len,
                                                         .max_batch = options_.max_batch,
                                                         .num_blocks = states_.numBlocks(),
                                                         .profile = profile_.get()}));
  states_.setDevice(device_.get());
  return {};
}

void Session::bindSchedules(const Weights& weights, const SessionMemory& memory) {
  const schema::Plan& p = plan_.schema();
  uint8_t* next = memory_.data();
  const auto take = [&next](uint64_t bytes) { return std::exchange(next, next + bytes); };
  OperandPlaces<uint8_t*> places;
  scratch_stride_ = alignUp(plan_.target().scratch_bytes());
  const uint64_t scratch_bytes = scratch_stride_ * static_cast<uint64_t>(options_.threads);
  uint8_t* inputs = take(memory.activation_bytes - arenaBytes(p) - scratch_bytes);
  for (uint32_t e = 0; e < p.entry_points()->size(); ++e) {
    places.inputs.emplace_back();
    for (const uint64_t offset : inputs_.layout(e).offsets)
      places.inputs.back().push_back(inputs + offset);
    inputs += inputs_.layout(e).bytes;
  }
  places.arena = arena_ = take(arenaBytes(p));
  scratch_ = take(scratch_bytes);
  for (uint32_t i = 0; p.rope_tables() && i < p.rope_tables()->size(); ++i) {
    uint8_t* const table = take(ropeBytes(*p.rope_tables()->Get(i), options_.max_seq_len));
    fillRopeTable(p, i, options_.max_seq_len, reinterpret_cast<float*>(table));
    places.rope.push_back(table);
  }
  states_.place(next);
  places.states = states_.places();
  for (uint32_t e = 0; e < p.entry_points()->size(); ++e)
    schedules_.emplace_back(plan_, e, places, weights);
}

void fillRopeTable(const schema::Plan& plan, uint32_t table, int64_t max_seq_len, float* out) {
  const schema::RopeTable& t = *plan.rope_tables()->Get(table);
  const uint32_t half = t.inv_freq()->size();
  // One table for the life of the session: rotated keys cannot be turned again.
  const bool longer =
      t.long_inv_freq() && t.long_inv_freq()->size() == half && max_seq_len > t.long_above();
  const auto& inv_freq = longer ? *t.long_inv_freq() : *t.inv_freq();
  for (int64_t pos = 0; pos < max_seq_len; ++pos, out += 2 * half) {
    for (uint32_t k = 0; k < half; ++k) {
      const double angle = static_cast<double>(pos) * inv_freq.Get(k);
      out[k] = static_cast<float>(std::cos(angle) * t.scale());
      out[half + k] = static_cast<float>(std::sin(angle) * t.scale());
    }
  }
}

Status Session::prefill(int32_t seq, std::span<const int32_t> tokens,
                        const std::atomic<bool>* cancel) {
  if (tokens.empty()) return invalidArgument("a prompt needs at least one token");
  if (seq < 0 || seq >= options_.max_batch) {
    return invalidArgument(fmt::format("sequence {} of {}", seq, options_.max_batch));
  }
  const auto length = static_cast<int64_t>(tokens.size());
  if (length > options_.max_seq_len - kvLen(seq)) {
    return invalidArgument(
        fmt::format("the prompt has {} tokens{}, the context holds {} (--max-seq-len)", length,
                    kvLen(seq) > 0 ? fmt::format(" after {} already there", kvLen(seq)) : "",
                    options_.max_seq_len));
  }
  for (int64_t done = 0; done < length;) {
    if (cancel && cancel->load(std::memory_order_relaxed)) {
      return {StatusCode::kCancelled, "cancelled"};
    }
    const int64_t n = std::min(length - done, options_.prefill_chunk);
    for (int64_t i = 0; i < n; ++i) {
      chunk_[static_cast<size_t>(i)] = {seq, tokens[static_cast<size_t>(done + i)],
                                        done + i == length - 1};
    }
    LLMRT_RETURN_IF_ERROR(step({chunk_.data(), static_cast<size_t>(n)}));
    done += n;
  }
  return {};
}

Status Session::decode(int32_t seq, int32_t token) {
  const StepToken one{seq, token, true};
  return step({&one, 1});
}

void Session::reset(int32_t seq) {
  if (seq < 0 || seq >= options_.max_batch) return;
  forgetTrees();
  states_.reset(seq);
  kv_len_[static_cast<size_t>(seq)] = 0;
  ++num_changes_[static_cast<size_t>(seq)];
  for (auto& [id, snapshot] : snapshots_)
    if (snapshot.seq == seq) snapshot.is_past = false;
}

int64_t Session::truncate(int32_t seq, int64_t tokens) {
  if (seq < 0 || seq >= options_.max_batch) return 0;
  const int64_t now = kvLen(seq);
  if (tokens < 0 || tokens >= now) return now;
  forgetTrees();
  if (tokens == 0 || !states_.holds(seq, tokens, now)) {
    reset(seq);
    return 0;
  }
  kv_len_[static_cast<size_t>(seq)] = tokens;
  ++num_changes_[static_cast<size_t>(seq)];
  states_.drop(seq, tokens);
  for (auto& [id, snapshot] : snapshots_)
    if (snapshot.seq == seq && snapshot.tokens > tokens) snapshot.is_past = false;
  return tokens;
}

Result<uint32_t> Session::snapshot(int32_t seq) {
  if (seq < 0 || seq >= options_.max_batch)
    return invalidArgument(fmt::format("sequence {} of {}", seq, options_.max_batch));
  Snapshot snapshot{seq, kvLen(seq), true, std::vector<uint8_t>(states_.slotsBytes())};
  // Of a sequence without tokens they are zero, whatever its slots hold.
  if (snapshot.tokens > 0) LLMRT_RETURN_IF_ERROR(states_.readSlots(seq, snapshot.slots));
  snapshots_[next_snapshot_] = std::move(snapshot);
  return next_snapshot_++;
}

Status Session::restore(uint32_t id) {
  const auto found = snapshots_.find(id);
  if (found == snapshots_.end()) return invalidArgument(fmt::format("no snapshot {}", id));
  const Snapshot& snapshot = found->second;
  const auto seq = static_cast<size_t>(snapshot.seq);
  if (!snapshot.is_past || !states_.holdsKeys(snapshot.seq, snapshot.tokens)) {
    return invalidArgument(fmt::format("sequence {} no longer has the {} tokens of snapshot {}",
                                       seq, snapshot.tokens, id));
  }
  forgetTrees();
  LLMRT_RETURN_IF_ERROR(states_.writeSlots(snapshot.seq, snapshot.slots));
  kv_len_[seq] = snapshot.tokens;
  ++num_changes_[seq];
  states_.drop(snapshot.seq, snapshot.tokens);
  for (auto& [other_id, other] : snapshots_)
    if (other.seq == snapshot.seq && other.tokens > snapshot.tokens) other.is_past = false;
  return {};
}

}  // namespace llmrt
