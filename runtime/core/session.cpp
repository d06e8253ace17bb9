#include "runtime/core/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "runtime/core/cost.h"
#include "runtime/core/finite_check.h"
#include "runtime/io/printable.h"
#include "runtime/io/weight_layout.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {
namespace {

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
  for (const schema::EntryPoint* e : *plan.entry_points()) {
    max_rows = std::max<int64_t>(max_rows, e->max_rows());
  }
  if (options.prefill_chunk == 0) options.prefill_chunk = max_rows;
  if (options.prefill_chunk < 1 || options.prefill_chunk > max_rows) {
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
  SessionMemory memory;
  if (o.device) return memory;  // which checks its own
  double total = 0;
  memory.activation_bytes =
      arenaBytes(p) + static_cast<uint64_t>(o.threads) * alignUp(scratch_bytes);
  const int64_t blocks_per_seq = (o.max_seq_len + LLMC_KV_BLOCK_TOKENS - 1) / LLMC_KV_BLOCK_TOKENS;
  const int64_t num_blocks = o.max_batch * blocks_per_seq;
  if (num_blocks > INT32_MAX) {
    return invalidArgument(
        "max_batch times max_seq_len needs more KV blocks than a block table can number");
  }
  if (p.kv_groups()) {
    for (const schema::KvGroup* g : *p.kv_groups()) {
      const KvPool pool(*g, 1);
      total += static_cast<double>(pool.key_block_bytes + pool.value_block_bytes) *
               static_cast<double>(num_blocks) * g->num_layers();
      const KvPool all(*g, num_blocks);
      memory.kv_bytes += (all.key_layer_bytes + all.value_layer_bytes) * all.num_layers;
    }
  }
  if (p.rope_tables()) {
    for (const schema::RopeTable* t : *p.rope_tables()) {
      total += static_cast<double>(o.max_seq_len) * 8 * t->inv_freq()->size();
      memory.rope_bytes += ropeBytes(*t, o.max_seq_len);
    }
  }
  if (total > 0x1p50) {
    return outOfMemory(fmt::format("out of memory: the KV cache needs {:.0f} GiB", total / 0x1p30));
  }
  return memory;
}

Result<std::unique_ptr<Session>> Session::create(const Plan& plan, const Weights& weights,
                                                 const SessionOptions& options) {
  LLMRT_ASSIGN_OR_RETURN(const SessionMemory memory, Session::memory(plan, options));
  LLMRT_ASSIGN_OR_RETURN(const SessionOptions o, withDefaults(plan.schema(), options));
  const std::string what =
      fmt::format("{} tokens of context ({:.2f} GiB of KV cache; --max-seq-len lowers it)",
                  o.max_batch * o.max_seq_len, static_cast<double>(memory.kv_bytes) / 0x1p30);
  LLMRT_RETURN_IF_ERROR(checkMemoryAvailable(memory.total(), what));
  std::unique_ptr<Session> session(new Session(plan, o, KvBlocks(o.max_batch, o.max_seq_len)));
  LLMRT_ASSIGN_OR_RETURN(session->memory_, AnonymousMemory::allocate(memory.total(), what));
  LLMRT_RETURN_IF_ERROR(session->initialize(weights, memory));
  return session;
}

Status Session::initialize(const Weights& weights, const SessionMemory& memory) {
  const schema::Plan& p = plan_.schema();
  LLMRT_ASSIGN_OR_RETURN(team_, ThreadTeam::create(options_.device ? 1 : options_.threads));
  tile_shares_ = std::make_unique<TileShares>(team_->size());
  for (const schema::EntryPoint* entry : *p.entry_points()) {
    max_rows_ = std::max<int64_t>(max_rows_, entry->max_rows());
    max_logits_rows_ = std::max<int64_t>(max_logits_rows_, entry->max_logits_rows());
  }
  kv_len_.resize(static_cast<size_t>(options_.max_batch));
  num_changes_.resize(kv_len_.size());
  seen_.resize(kv_len_.size());
  sequences_.reserve(kv_len_.size());
  rows_.resize(static_cast<size_t>(max_rows_));
  chunk_.resize(rows_.size());
  logits_rows_.resize(static_cast<size_t>(max_logits_rows_));
  if (options_.profile) profile_ = std::make_unique<Profile>(plan_);
  if (options_.device) {
    LLMRT_ASSIGN_OR_RETURN(device_,
                           options_.device->createSession(plan_, weights,
                                                          {.max_seq_len = options_.max_seq_len,
                                                           .max_batch = options_.max_batch,
                                                           .num_blocks = blocks_.numBlocks(),
                                                           .max_rows = max_rows_,
                                                           .max_logits_rows = max_logits_rows_,
                                                           .profile = profile_.get()}));
    return {};
  }

  uint8_t* next = memory_.data();
  const auto take = [&next](uint64_t bytes) { return std::exchange(next, next + bytes); };
  uint8_t* const arena = take(arenaBytes(p));
  scratch_stride_ = alignUp(plan_.target().scratch_bytes());
  scratch_ = take(scratch_stride_ * static_cast<uint64_t>(options_.threads));
  if (p.rope_tables()) {
    for (const schema::RopeTable* t : *p.rope_tables()) {
      rope_tables_.push_back(reinterpret_cast<float*>(take(ropeBytes(*t, options_.max_seq_len))));
    }
  }
  if (p.kv_groups()) {
    for (const schema::KvGroup* g : *p.kv_groups()) {
      KvPool pool(*g, blocks_.numBlocks());
      pool.keys = take(pool.key_layer_bytes * pool.num_layers);
      pool.values = take(pool.value_layer_bytes * pool.num_layers);
      kv_pools_.push_back(pool);
    }
  }
  fillRopeTables();

  const Memory bound{arena, &weights, &kv_pools_, &rope_tables_};
  for (uint32_t e = 0; e < p.entry_points()->size(); ++e) {
    schedules_.emplace_back(plan_, e, bound);
  }
  return {};
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

void Session::fillRopeTables() {
  for (size_t i = 0; i < rope_tables_.size(); ++i) {
    fillRopeTable(plan_.schema(), static_cast<uint32_t>(i), options_.max_seq_len, rope_tables_[i]);
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

Status Session::decodeAlone(int32_t seq, int32_t token, int64_t count, Sampler& sampler,
                            const std::function<bool(int32_t)>& on_token) {
  const StepToken first{seq, token, true};
  LLMRT_RETURN_IF_ERROR(check({&first, 1}));
  count = std::min(count, options_.max_seq_len - kvLen(seq));
  if (!device_) {
    for (int64_t i = 0; i < count; ++i) {
      LLMRT_RETURN_IF_ERROR(decode(seq, token));
      token = sampler.sample(logits());
      if (!on_token(token)) break;
    }
    num_logits_rows_ = 0;
    return {};
  }
  const auto entry = static_cast<uint32_t>(selectEntryPoint(plan_.schema(), 1, 1));
  int64_t& kv_len = kv_len_[static_cast<size_t>(seq)];
  const int64_t begin = kv_len;
  int64_t queued = 0;
  const SamplerState state = sampler.state();
  num_logits_rows_ = 0;
  logits_rows_[0] = 0;
  const auto steps = [&]() -> Status {
    for (int64_t taken = 0; taken < count; ++taken) {
      // One step ahead: the device never waits for the host to look at a token.
      for (; queued < std::min(count, taken + 2); ++queued) {
        const int64_t pos = begin + queued;
        blocks_.grow(seq, pos + 1, [](int32_t) {});
        rows_[0] = {token, static_cast<int32_t>(pos), seq, 0};
        step_ = {rows_.data(), logits_rows_.data(), blocks_.tables(), 1, 1, blocks_.blocksPerSeq()};
        LLMRT_RETURN_IF_ERROR(device_->queueChoice(entry, step_, queued == 0 ? &state : nullptr));
        const SequenceRows row{1, pos, 1};
        if (profile_) profile_->addStep(entry, {&row, 1});
      }
      LLMRT_ASSIGN_OR_RETURN(const int32_t chosen, device_->takeChoice());
      sampler.sampledElsewhere();
      ++kv_len;
      ++num_changes_[static_cast<size_t>(seq)];
      if (!on_token(chosen)) break;
    }
    return {};
  };
  Status status = steps();
  // A step that ran ahead has written behind what the sequence holds; the next one writes there
  // again.
  const Status finished = device_->finish();
  blocks_.shrink(seq, kv_len);
  return status.ok() ? finished : status;
}

Status Session::check(std::span<const StepToken> tokens) const {
  if (tokens.empty()) return invalidArgument("a step needs at least one token");
  if (static_cast<int64_t>(tokens.size()) > max_rows_) {
    return invalidArgument(
        fmt::format("{} tokens in a step, the plan was compiled for {}", tokens.size(), max_rows_));
  }
  std::fill(seen_.begin(), seen_.end(), uint8_t{0});
  int64_t in_sequence = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const StepToken& t = tokens[i];
    if (t.seq < 0 || t.seq >= options_.max_batch) {
      return invalidArgument(fmt::format("sequence {} of {}", t.seq, options_.max_batch));
    }
    if (t.token < 0 || t.token >= plan_.vocabSize()) {
      return invalidArgument(
          fmt::format("token id {} is not in the vocabulary of {}", t.token, plan_.vocabSize()));
    }
    if (i == 0 || t.seq != tokens[i - 1].seq) {
      if (std::exchange(seen_[static_cast<size_t>(t.seq)], uint8_t{1})) {
        return invalidArgument(fmt::format("tokens of sequence {} are not adjacent", t.seq));
      }
      in_sequence = 0;
    }
    if (kvLen(t.seq) + ++in_sequence > options_.max_seq_len) {
      return invalidArgument(
          fmt::format("the context is full: {} tokens (--max-seq-len)", options_.max_seq_len));
    }
  }
  return {};
}

Status Session::step(std::span<const StepToken> tokens) {
  LLMRT_RETURN_IF_ERROR(check(tokens));
  int64_t logits_rows = 0;
  for (const StepToken& t : tokens) logits_rows += t.want_logits;
  const int entry =
      selectEntryPoint(plan_.schema(), static_cast<int64_t>(tokens.size()), logits_rows);
  if (entry < 0) {
    return invalidArgument(
        fmt::format("{} wanted logits in a step of {} tokens: the plan was "
                    "compiled for {}",
                    logits_rows, tokens.size(), max_logits_rows_));
  }

  int64_t logits_row = 0;
  int64_t pos = 0;
  sequences_.clear();
  for (size_t i = 0; i < tokens.size(); ++i) {
    const StepToken& t = tokens[i];
    const bool same = i > 0 && t.seq == tokens[i - 1].seq;
    pos = same ? pos + 1 : kvLen(t.seq);
    if (!same) sequences_.push_back({0, pos, 0});
    ++sequences_.back().rows;
    sequences_.back().logits_rows += t.want_logits;
    rows_[i] = {t.token, static_cast<int32_t>(pos), t.seq, -1};
    if (t.want_logits) {
      logits_rows_[static_cast<size_t>(logits_row)] = static_cast<int32_t>(i);
      rows_[i].logits_row = static_cast<int32_t>(logits_row++);
    }
    blocks_.grow(t.seq, pos + 1, [this](int32_t block) { clearBlock(block); });
  }
  step_ = {rows_.data(),     logits_rows_.data(),
           blocks_.tables(), static_cast<int64_t>(tokens.size()),
           logits_rows,      blocks_.blocksPerSeq()};
  if (Status s = execute(static_cast<uint32_t>(entry)); !s.ok()) {
    for (const StepToken& t : tokens) dropStep(t.seq);
    return s;
  }
  for (const StepToken& t : tokens) {
    ++kv_len_[static_cast<size_t>(t.seq)];
    ++num_changes_[static_cast<size_t>(t.seq)];
  }
  return {};
}

Status Session::execute(uint32_t entry_point) {
  const schema::EntryPoint& entry = *plan_.schema().entry_points()->Get(entry_point);
  running_ = entry_point;
  failure_.store(0, std::memory_order_relaxed);
  num_logits_rows_ = 0;
  if (device_) {
    LLMRT_RETURN_IF_ERROR(device_->run(entry_point, step_));
    if (profile_) profile_->addStep(entry_point, sequences_);
    for (int64_t i = 0; i < step_.num_logits_rows; ++i)
      if (!allFinite(device_->logits(i))) return notFiniteLogits(plan_.path(), "");
    num_logits_rows_ = step_.num_logits_rows;
    return {};
  }
  const schema::Buffer& logits = *entry.buffers()->Get(entry.logits_buffer());
  logits_ = reinterpret_cast<const float*>(memory_.data() + logits.offset_bytes());
  logits_stride_ = logits.row_stride();
  finite_.store(true, std::memory_order_relaxed);
  team_->run([](void* self, int worker) { static_cast<Session*>(self)->runPhases(worker); }, this);
  if (const uint64_t failure = failure_.load(std::memory_order_relaxed)) {
    const BoundPhase& bound = schedules_[entry_point].phases()[failure >> 32];
    const schema::Phase& phase = *entry.sections()->Get(bound.section)->phases()->Get(bound.phase);
    const schema::Kernel& kernel = *plan_.schema().kernels()->Get(phase.kernel());
    return internalError(fmt::format("{}: kernel {} of layer {} returned {}", plan_.path(),
                                     quotedName(kernel.symbol()->string_view()), bound.layer,
                                     static_cast<int32_t>(failure)));
  }
  if (!finite_.load(std::memory_order_relaxed)) return explainNotFinite();
  num_logits_rows_ = step_.num_logits_rows;
  if (profile_) profile_->addStep(entry_point, sequences_);
  return {};
}

void Session::runPhases(int worker) {
  using Clock = std::chrono::steady_clock;
  const std::vector<BoundPhase>& phases = schedules_[running_].phases();
  void* const scratch = scratch_ + static_cast<uint64_t>(worker) * scratch_stride_;
  const bool timed = profile_ && worker == 0;
  Clock::time_point start;
  if (timed) start = Clock::now();
  for (size_t i = 0; i < phases.size(); ++i) {
    const BoundPhase& phase = phases[i];
    const int64_t tiles = phase.numTiles(step_);
    if (tiles == 0) continue;  // for every thread alike
    tile_shares_->forEach(tiles, phase.leastTiles(step_), worker, [&](int64_t begin, int64_t end) {
      if (failure_.load(std::memory_order_relaxed) != 0) return;
      const int32_t status = phase.kernel(&step_, phase.operands, begin, end, scratch);
      if (status != 0) {
        uint64_t none = 0;
        failure_.compare_exchange_strong(none, uint64_t{i} << 32 | static_cast<uint32_t>(status));
      }
    });
    // The next phase reads what other threads wrote in this one.
    team_->barrier();
    if (looks_for_not_finite_) {
      if (worker == 0 && i < first_not_finite_ && !wroteFinite(phase)) first_not_finite_ = i;
      team_->barrier();  // the next phase may write over what is looked at
    }
    if (timed) {
      const Clock::time_point now = Clock::now();
      profile_->addTime(running_, i, now - start);
      start = now;
    }
  }
  if (!looks_for_not_finite_ && !logitsAreFinite(worker))
    finite_.store(false, std::memory_order_relaxed);
}

bool Session::logitsAreFinite(int worker) const {
  const int64_t begin = plan_.vocabSize() * worker / team_->size(),
                end = plan_.vocabSize() * (worker + 1) / team_->size();
  for (int64_t row = 0; row < step_.num_logits_rows; ++row) {
    if (!allFinite({logits_ + row * logits_stride_ + begin, static_cast<size_t>(end - begin)}))
      return false;
  }
  return true;
}

// A step depends on its tokens and the cache before them alone: a second run does the same.
Status Session::explainNotFinite() {
  const std::vector<BoundPhase>& phases = schedules_[running_].phases();
  first_not_finite_ = phases.size();
  looks_for_not_finite_ = true;
  team_->run([](void* self, int worker) { static_cast<Session*>(self)->runPhases(worker); }, this);
  looks_for_not_finite_ = false;
  if (first_not_finite_ == phases.size()) return notFiniteLogits(plan_.path(), "");
  const BoundPhase& bound = phases[first_not_finite_];
  const schema::EntryPoint& entry = *plan_.schema().entry_points()->Get(running_);
  const schema::Section& section = *entry.sections()->Get(bound.section);
  std::string op = section.phases()->Get(bound.phase)->op()->str();
  if (section.is_layers()) op += fmt::format(" of layer {}", bound.layer);
  return notFiniteLogits(plan_.path(), op);
}

bool Session::wroteFinite(const BoundPhase& bound) const {
  const schema::EntryPoint& entry = *plan_.schema().entry_points()->Get(running_);
  const auto* operands =
      entry.sections()->Get(bound.section)->phases()->Get(bound.phase)->operands();
  for (uint32_t k = 0; operands && k < operands->size(); ++k) {
    const schema::Operand& operand = *operands->Get(k);
    if (operand.access() == schema::Access::read) continue;
    const auto* const bytes = static_cast<const uint8_t*>(bound.operands[k]);
    if (operand.space() == schema::Space::arena) {
      const schema::Buffer& buffer = *entry.buffers()->Get(operand.index());
      for (int64_t row = 0; row < std::min<int64_t>(bound.numRows(step_), buffer.rows()); ++row)
        if (!allFinite(DType::kF32, bytes + row * buffer.row_stride() * 4, buffer.width()))
          return false;
      continue;
    }
    // Keys or values: the whole blocks that hold the step's rows. Tokens that were not written are
    // zero there.
    const KvPool& pool = kv_pools_[operand.index()];
    const uint64_t block_bytes =
        operand.space() == schema::Space::kv_keys ? pool.key_block_bytes : pool.value_block_bytes;
    const auto dtype =
        static_cast<DType>(plan_.schema().kv_groups()->Get(operand.index())->dtype());
    for (int64_t row = 0; row < step_.num_rows; ++row) {
      const LlmcRow& r = step_.rows[row];
      const int32_t block =
          step_.block_tables[r.seq * step_.blocks_per_seq + r.pos / LLMC_KV_BLOCK_TOKENS];
      if (!allFinite(dtype, bytes + static_cast<uint64_t>(block) * block_bytes,
                     block_bytes / pool.element_bytes))
        return false;
    }
  }
  return true;
}

std::span<const float> Session::logits(int64_t i) const {
  if (i < 0 || i >= num_logits_rows_) return {};
  if (device_) return device_->logits(i);
  return {logits_ + i * logits_stride_, static_cast<size_t>(plan_.vocabSize())};
}

void Session::clearBlock(int32_t block) {
  for (const KvPool& pool : kv_pools_) pool.clear(static_cast<uint64_t>(block), 0);
}

void Session::dropStep(int32_t seq) {
  const int64_t kv_len = kvLen(seq);
  blocks_.shrink(seq, kv_len);
  if (device_) return;
  const int64_t token = kv_len % LLMC_KV_BLOCK_TOKENS;
  if (token == 0) return;  // nothing of the step shares a block with what stays
  const int32_t block =
      blocks_.tables()[seq * blocks_.blocksPerSeq() + kv_len / LLMC_KV_BLOCK_TOKENS];
  for (const KvPool& pool : kv_pools_)
    pool.clear(static_cast<uint64_t>(block), static_cast<uint64_t>(token));
}

void Session::reset(int32_t seq) {
  if (seq < 0 || seq >= options_.max_batch) return;
  blocks_.shrink(seq, 0);
  kv_len_[static_cast<size_t>(seq)] = 0;
  ++num_changes_[static_cast<size_t>(seq)];
}

void Session::truncate(int32_t seq, int64_t tokens) {
  if (seq < 0 || seq >= options_.max_batch || tokens < 0 || tokens >= kvLen(seq)) return;
  kv_len_[static_cast<size_t>(seq)] = tokens;
  ++num_changes_[static_cast<size_t>(seq)];
  dropStep(seq);
}

}  // namespace llmrt
