#include "runtime/session/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <new>
#include <thread>
#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "runtime/schema/plan_generated.h"

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
  // Of a sequence with one row in each, two steps run before the host takes the first as done.
  return {options.max_batch, options.max_seq_len, std::max<int64_t>(mostRows(plan), 2),
          options.kv_tokens};
}

Result<SessionOptions> withDefaults(const schema::Plan& plan, SessionOptions options) {
  const int64_t max_seq_len = plan.model()->max_seq_len();
  if (options.threads == 0) options.threads = defaultThreads();
  if (options.threads < 1 || options.threads > kMaxThreads) {
    return invalidArgument(
        fmt::format("threads must be 1 to {}, got {}", kMaxThreads, options.threads));
  }
  if (options.kv_tokens < 0)
    return invalidArgument(
        fmt::format("kv_tokens {}: it must be positive, or 0", options.kv_tokens));
  if (options.max_seq_len == 0)
    options.max_seq_len =
        options.kv_tokens > 0 ? std::min(max_seq_len, options.kv_tokens) : max_seq_len;
  if (options.max_seq_len < 1 || options.max_seq_len > max_seq_len) {
    return invalidArgument(fmt::format("`max_seq_len` {}: the plan was compiled for 1 to {} tokens",
                                       options.max_seq_len, max_seq_len));
  }
  if (options.kv_tokens > 0 && options.kv_tokens < options.max_seq_len) {
    return invalidArgument(fmt::format("kv_tokens {}: a sequence alone may have {} (max_seq_len)",
                                       options.kv_tokens, options.max_seq_len));
  }
  if (options.max_batch == 0) options.max_batch = plan.model()->max_batch();
  if (options.max_batch < 1 || options.max_batch > plan.model()->max_batch()) {
    return invalidArgument(fmt::format("max_batch {}: the plan was compiled for 1 to {} sequences",
                                       options.max_batch, plan.model()->max_batch()));
  }
  int64_t max_rows = 0;
  for (const schema::EntryPoint* e : *plan.entry_points())
    if (makesText(*e)) max_rows = std::max<int64_t>(max_rows, e->max_rows());
  if (options.prefill_chunk == 0) options.prefill_chunk = max_rows;
  if (max_rows > 0 && (options.prefill_chunk < 1 || options.prefill_chunk > max_rows)) {
    return invalidArgument(fmt::format("`prefill_chunk` {}: the plan was compiled for 1 to {} rows",
                                       options.prefill_chunk, max_rows));
  }
  return options;
}

/// Without the row table.
ExecutorOptions executorOptions(const schema::Plan& plan, const SessionOptions& options) {
  ExecutorOptions executor;
  executor.threads = options.threads;
  executor.max_seq_len = options.max_seq_len;
  executor.max_batch = options.max_batch;
  executor.max_choices = options.max_batch;
  if (!options.inputs.empty()) executor.rope_positions = options.max_seq_len;
  executor.num_blocks = StateCache::blocksNeeded(plan, cacheOptions(plan, options));
  return executor;
}

/// On this machine, with all options filled in.
Result<SessionMemory> memoryOf(const schema::Plan& p, uint64_t scratch_bytes,
                               const SessionOptions& o) {
  // Verified sizes are far from 64 bits, but not so their products for many sequences.
  const double inputs = StepInputs::bytesNeeded(p, o.max_batch);
  if (inputs > 0x1p50)
    return outOfMemory(
        fmt::format("out of memory: the inputs of a step need {:.0f} GiB", inputs / 0x1p30));
  SessionMemory memory;
  if (!o.device) {  // which checks its own
    LLMRT_ASSIGN_OR_RETURN(memory, CpuExecutor::memory(p, scratch_bytes, executorOptions(p, o)));
  }
  memory.activation_bytes += static_cast<uint64_t>(inputs);
  return memory;
}

/// With the defaults filled in, and within memory_bytes: `bytesOf` says what options take.
template <typename BytesOf>
Result<SessionOptions> fit(const schema::Plan& plan, const SessionOptions& asked,
                           BytesOf&& bytesOf) {
  LLMRT_ASSIGN_OR_RETURN(const SessionOptions all, withDefaults(plan, asked));
  if (asked.memory_bytes == 0) return all;
  const auto fits = [&](const SessionOptions& o) {
    const Result<uint64_t> bytes = bytesOf(o);
    return bytes.ok() && *bytes <= asked.memory_bytes;
  };
  if (fits(all)) return all;
  const auto with = [&](int64_t tokens) {
    SessionOptions o = all;
    o.max_seq_len = std::min(all.max_seq_len, tokens);
    o.kv_tokens = tokens;
    return o;
  };
  constexpr int64_t kTokens = LLMC_KV_BLOCK_TOKENS;
  int64_t low = asked.max_seq_len > 0 ? all.max_seq_len : std::min(all.max_seq_len, kTokens);
  if (!fits(with(low))) {
    LLMRT_ASSIGN_OR_RETURN(const uint64_t needed, bytesOf(with(low)));
    return outOfMemory(fmt::format(
        "{} tokens of context (`max_seq_len`) need {:.2f} GiB beside the weights, there "
        "may be {:.2f} GiB (`memory`)",
        low, static_cast<double>(needed) / 0x1p30,
        static_cast<double>(asked.memory_bytes) / 0x1p30));
  }
  // So many do not fit.
  int64_t high = all.kv_tokens > 0 ? all.kv_tokens : all.max_batch * all.max_seq_len;
  while (high - low > kTokens) {
    const int64_t middle = low + std::max<int64_t>((high - low) / (2 * kTokens), 1) * kTokens;
    (fits(with(middle)) ? low : high) = middle;
  }
  return with(low);
}

Result<SessionOptions> fit(const schema::Plan& plan, uint64_t scratch_bytes,
                           const SessionOptions& options) {
  return fit(plan, options, [&](const SessionOptions& o) -> Result<uint64_t> {
    LLMRT_ASSIGN_OR_RETURN(const SessionMemory memory, memoryOf(plan, scratch_bytes, o));
    // Snapshots of recurrent states may take as much as keys and values (StateCache).
    return memory.total() + (memory.recurrent_bytes > 0 ? memory.kv_bytes : 0);
  });
}

Result<SessionOptions> fit(const Plan& plan, const SessionOptions& options) {
  if (!options.device) return fit(plan.schema(), plan.target().scratch_bytes(), options);
  return fit(plan.schema(), options, [&](const SessionOptions& o) -> Result<uint64_t> {
    LLMRT_ASSIGN_OR_RETURN(const Device::Room room,
                           o.device->room(plan, executorOptions(plan.schema(), o)));
    return room.needed;
  });
}

}  // namespace

Result<SessionMemory> Session::memory(const Plan& plan, const SessionOptions& options) {
  LLMRT_ASSIGN_OR_RETURN(const SessionOptions o, fit(plan, options));
  return memoryOf(plan.schema(), plan.target().scratch_bytes(), o);
}

Result<SessionMemory> Session::memory(const schema::Plan& p, uint64_t scratch_bytes,
                                      const SessionOptions& options) {
  LLMRT_ASSIGN_OR_RETURN(const SessionOptions o, fit(p, scratch_bytes, options));
  return memoryOf(p, scratch_bytes, o);
}

Status Session::boundMemory(const Plan& plan, SessionOptions& options) {
  if (options.max_seq_len > 0 || options.kv_tokens > 0 || options.memory_bytes > 0) return {};
  uint64_t free = availableMemoryBytes();
  if (Device* const device = options.device) {
    LLMRT_ASSIGN_OR_RETURN(
        const SessionOptions least,
        withDefaults(plan.schema(), {.max_seq_len = 1, .max_batch = 1, .device = device}));
    LLMRT_ASSIGN_OR_RETURN(const Device::Room room,
                           device->room(plan, executorOptions(plan.schema(), least)));
    free = room.free / options.memory_shares;
  } else if (free == UINT64_MAX) {
    return {};
  } else {
    // Where the weights are more than there is they are read from their file over and over.
    free /= options.memory_shares;
    const uint64_t weights = plan.schema().weights_bytes();
    free = std::max(free > weights ? free - weights : 0, free / 8);
  }
  options.memory_bytes = free / 10 * 9;
  return {};
}

Result<std::unique_ptr<Session>> Session::create(const Plan& plan, const Weights& weights,
                                                 const SessionOptions& options) {
  LLMRT_ASSIGN_OR_RETURN(const SessionOptions o, fit(plan, options));
  LLMRT_ASSIGN_OR_RETURN(const SessionMemory memory,
                         memoryOf(plan.schema(), plan.target().scratch_bytes(), o));
  if (Status s = StepInputs::check(plan.schema(), o.inputs); !s.ok())
    return std::move(s).withContext(plan.path());
  const std::string what =
      fmt::format("{} tokens of context ({:.2f} GiB of KV cache; `max_seq_len` lowers it)",
                  o.kv_tokens > 0 ? o.kv_tokens : o.max_batch * o.max_seq_len,
                  static_cast<double>(memory.kv_bytes) / 0x1p30);
  LLMRT_RETURN_IF_ERROR(checkMemoryAvailable(memory.total(), what));
  std::unique_ptr<Session> session(new Session(plan, o));
  LLMRT_RETURN_IF_ERROR(session->initialize(weights));
  return session;
}

Session::Session(const Plan& plan, SessionOptions options)
    : plan_(plan),
      options_(std::move(options)),
      states_(plan.schema(), cacheOptions(plan.schema(), options_)) {}

Status Session::initialize(const Weights& weights) {
  const schema::Plan& p = plan_.schema();
  int64_t most_logits_rows = 0;
  for (const schema::EntryPoint* entry : *p.entry_points()) {
    most_logits_rows = std::max<int64_t>(most_logits_rows, entry->max_logits_rows());
    if (!makesText(*entry)) continue;
    max_rows_ = std::max<int64_t>(max_rows_, entry->max_rows());
    max_logits_rows_ = std::max<int64_t>(max_logits_rows_, entry->max_logits_rows());
  }
  kv_len_.resize(static_cast<size_t>(options_.max_batch));
  mtp_len_.resize(kv_len_.size());
  for (const schema::EntryPoint* entry : *p.entry_points())
    for (uint32_t i = 0; entry->inputs() && i < entry->inputs()->size(); ++i)
      if (entry->kind() == schema::StepKind::mtp &&
          entry->inputs()->Get(i)->name()->string_view() == "hidden")
        hidden_size_ = entry->inputs()->Get(i)->width();
  seen_.resize(kv_len_.size());
  pos_.resize(static_cast<size_t>(mostRows(p)));
  chunk_.resize(pos_.size());
  slot_.resize(pos_.size());
  parent_.resize(static_cast<size_t>(mostRowsOf(p, schema::StepKind::verify)));
  tree_.reserve(parent_.size());
  queued_.reserve(pos_.size());
  in_tree_.resize(kv_len_.size());
  logits_rows_.resize(static_cast<size_t>(most_logits_rows));
  choices_.reserve(logits_rows_.size());
  chosen_.reserve(logits_rows_.size());
  sequences_.reserve(kv_len_.size());
  if (options_.profile) profile_ = std::make_unique<Profile>(plan_);
  LLMRT_ASSIGN_OR_RETURN(inputs_, StepInputs::create(p, options_.max_batch, options_.inputs));
  ExecutorOptions executor = executorOptions(p, options_);
  for (uint32_t e = 0; e < p.entry_points()->size(); ++e)
    executor.inputs.push_back(inputs_.data(e));
  executor.tables.assign(states_.tables().begin(), states_.tables().end());
  executor.profile = profile_.get();
  LLMRT_ASSIGN_OR_RETURN(executor_, options_.device
                                        ? options_.device->createExecutor(plan_, weights, executor)
                                        : CpuExecutor::create(plan_, weights, executor));
  states_.setExecutor(executor_.get());
  return options_.store.directory.empty() ? Status() : openStore(weights);
}

// What is not on the disk by then is computed again.
constexpr auto kLongestStoring = std::chrono::seconds(20);

Session::~Session() {
  const auto end = std::chrono::steady_clock::now() + kLongestStoring;
  try {
    while (states_.store() && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
  } catch (const std::bad_alloc&) {  // the same
  }
}

// Bits depend on the plan, on which of its targets runs, on the weights, and on whether positions
// rotate as a long context has them; never on threads, chunks or what else runs.
Status Session::openStore(const Weights& weights) {
  if (options_.device)
    return unsupported("prefixes are stored of sequences on CPUs alone, not of a GPU's");
  const schema::Plan& p = plan_.schema();
  constexpr uint64_t kStoreVersion = 1;
  std::vector<uint64_t> key = {kStoreVersion, p.hash(), p.id(), weights.identity()};
  for (const char c : plan_.targetName()) key.push_back(static_cast<uint8_t>(c));
  for (uint32_t i = 0; p.rope_tables() && i < p.rope_tables()->size(); ++i) {
    const schema::RopeTable& table = *p.rope_tables()->Get(i);
    key.push_back(table.long_inv_freq() && options_.max_seq_len > table.long_above());
  }
  LLMRT_ASSIGN_OR_RETURN(
      store_,
      PrefixStore::open(options_.store, XXH3_64bits(key.data(), key.size() * sizeof key[0])));
  states_.setStore(store_.get());
  return {};
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
        fmt::format("the prompt has {} tokens{}, the context holds {} (`max_seq_len`)", length,
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
  (void)finish();
  forgetTrees();
  states_.reset(seq);
  kv_len_[static_cast<size_t>(seq)] = mtp_len_[static_cast<size_t>(seq)] = 0;
  for (auto& [id, snapshot] : snapshots_)
    if (snapshot.seq == seq) snapshot.is_past = false;
}

int64_t Session::truncate(int32_t seq, int64_t tokens) {
  if (seq < 0 || seq >= options_.max_batch) return 0;
  (void)finish();
  const int64_t now = kvLen(seq);
  if (tokens < 0 || tokens >= now) return now;
  forgetTrees();
  if (tokens == 0 || !states_.holds(seq, tokens, now)) {
    reset(seq);
    return 0;
  }
  kv_len_[static_cast<size_t>(seq)] = tokens;
  limitMtp(seq);
  states_.truncate(seq, tokens);
  for (auto& [id, snapshot] : snapshots_)
    if (snapshot.seq == seq && snapshot.tokens > tokens) snapshot.is_past = false;
  return tokens;
}

Session::Shared Session::share(int32_t seq, std::span<const int32_t> text) {
  if (seq < 0 || seq >= options_.max_batch || text.empty()) return {};
  reset(seq);
  if (!options_.inputs.empty()) return {};
  const Result<Shared> shared = states_.share(seq, text, static_cast<int64_t>(text.size()) - 1);
  if (!shared.ok()) return {};  // a device that fails says so of the next step
  kv_len_[static_cast<size_t>(seq)] = shared->tokens;
  if (shared->tokens > 0) mtp_len_[static_cast<size_t>(seq)] = -1;
  return *shared;
}

void Session::keep(int32_t seq, std::span<const int32_t> tokens) {
  assert(static_cast<int64_t>(tokens.size()) == kvLen(seq));
  if (options_.inputs.empty()) states_.keep(seq, tokens);
}

void Session::keepAll(int32_t seq, std::span<const int32_t> tokens) {
  assert(static_cast<int64_t>(tokens.size()) == kvLen(seq));
  if (!options_.inputs.empty()) return;
  // Without a snapshot its tokens are computed again; a device that fails says so of the next step.
  (void)states_.keepAll(seq, tokens);
}

Result<uint32_t> Session::snapshot(int32_t seq) {
  if (seq < 0 || seq >= options_.max_batch)
    return invalidArgument(fmt::format("sequence {} of {}", seq, options_.max_batch));
  LLMRT_RETURN_IF_ERROR(finish());
  Snapshot snapshot{seq, kvLen(seq), true, std::vector<uint8_t>(states_.slotsBytes())};
  // Of a sequence without tokens they are zero, whatever its slots hold.
  if (snapshot.tokens > 0) LLMRT_RETURN_IF_ERROR(states_.readSlots(seq, snapshot.slots));
  snapshots_[next_snapshot_] = std::move(snapshot);
  return next_snapshot_++;
}

Status Session::restore(uint32_t id) {
  LLMRT_RETURN_IF_ERROR(finish());
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
  limitMtp(snapshot.seq);
  states_.truncate(snapshot.seq, snapshot.tokens);
  for (auto& [other_id, other] : snapshots_)
    if (other.seq == snapshot.seq && other.tokens > snapshot.tokens) other.is_past = false;
  return {};
}

}  // namespace llmrt
