#include "runtime/cuda/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "runtime/core/finite_check.h"
#include "runtime/core/sampler.h"
#include "runtime/io/printable.h"
#include "runtime/io/weight_layout.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt::cuda {
namespace {

/// llmc_sample's phases: which of them an option needs.
constexpr uint32_t kTopKPhases = 0b110, kTopPPhases = 0b111000, kDrawPhase = 0b1000000;

}  // namespace

Result<std::unique_ptr<DeviceSession>> CudaSession::create(const CudaDevice& device,
                                                           const Plan& plan, const Weights& weights,
                                                           const DeviceSessionOptions& options) {
  LLMRT_RETURN_IF_ERROR(device.use());
  std::unique_ptr<CudaSession> session(new CudaSession(device, plan, options));
  LLMRT_RETURN_IF_ERROR(session->initialize(weights));
  return std::unique_ptr<DeviceSession>(std::move(session));
}

CudaSession::~CudaSession() {
  // Nothing may be given back while the device still works with it.
  if (stream_) driver_.stream_synchronize(stream_.get());
}

Status CudaSession::initialize(const Weights& weights) {
  LLMRT_RETURN_IF_ERROR(checkFormats(plan_.schema()));
  place();
  LLMRT_RETURN_IF_ERROR(checkMemory());
  LLMRT_RETURN_IF_ERROR(loadKernels());
  CuStream stream = nullptr;
  LLMRT_CUDA_CHECK(driver_, driver_.stream_create(&stream, kCuStreamNonBlocking), "cuStreamCreate");
  stream_ = Owned<CuStream>(stream, driver_.stream_destroy);
  LLMRT_ASSIGN_OR_RETURN(
      weights_,
      DeviceMemory::allocate(driver_, std::max<uint64_t>(weights_layout_.bytes, 1), "weights"));
  LLMRT_ASSIGN_OR_RETURN(
      session_memory_,
      DeviceMemory::allocate(driver_, places_.end, "the KV cache and activations (--max-seq-len)"));
  LLMRT_ASSIGN_OR_RETURN(step_, PinnedMemory::allocate(driver_, places_.sample, "the row table"));
  uint64_t logits_bytes = 0;
  for (const schema::EntryPoint* e : *plan_.schema().entry_points())
    logits_bytes = std::max(logits_bytes, e->buffers()->Get(e->logits_buffer())->bytes());
  LLMRT_ASSIGN_OR_RETURN(logits_, PinnedMemory::allocate(driver_, logits_bytes, "logits"));
  LLMRT_ASSIGN_OR_RETURN(
      chosen_,
      PinnedMemory::allocate(driver_,
                             LLMC_CUDA_RING * sizeof(uint64_t) + sizeof(LlmcCudaSampleState) +
                                 static_cast<uint64_t>(plan_.vocabSize()),
                             "chosen tokens"));
  // Counters begin at 0, and so does what pads a head's keys and values.
  LLMRT_CUDA_CHECK(driver_, driver_.fill(session_memory_.address(), 0, places_.end, stream),
                   "clearing the KV cache");
  LLMRT_RETURN_IF_ERROR(uploadRopeTables());
  LLMRT_RETURN_IF_ERROR(bindSchedules());
  return uploadWeights(driver_, plan_.schema(), weights, weights_layout_, relayout_,
                       weights_.address(), stream);
}

void CudaSession::place() {
  const schema::Plan& p = plan_.schema();
  uint64_t at = 0;
  const auto take = [&at](uint64_t bytes) { return std::exchange(at, deviceAlignUp(at + bytes)); };
  const auto max_rows = static_cast<uint64_t>(options_.max_rows);
  places_.step = take(sizeof(LlmcStep));
  places_.rows = take(max_rows * sizeof(LlmcRow));
  places_.logits_rows = take(static_cast<uint64_t>(options_.max_logits_rows) * sizeof(int32_t));
  places_.block_tables = take(static_cast<uint64_t>(options_.num_blocks) * sizeof(int32_t));
  places_.sample = take(sizeof(LlmcCudaSampleState));  // what lies before is mirrored on the host
  places_.seen = take(static_cast<uint64_t>(plan_.vocabSize()));
  places_.arena = at;
  uint64_t arena_bytes = 0;
  for (const schema::EntryPoint* e : *p.entry_points())
    arena_bytes = std::max(arena_bytes, e->arena_bytes());
  take(arena_bytes);
  places_.scratch = take(plan_.target().scratch_bytes());
  for (uint32_t i = 0; p.rope_tables() && i < p.rope_tables()->size(); ++i) {
    places_.rope.push_back(take(static_cast<uint64_t>(options_.max_seq_len) * 2 *
                                p.rope_tables()->Get(i)->inv_freq()->size() * sizeof(float)));
  }
  for (uint32_t i = 0; p.kv_groups() && i < p.kv_groups()->size(); ++i) {
    const schema::KvGroup& g = *p.kv_groups()->Get(i);
    Places::Pool pool;
    pool.first_layer = g.first_layer();
    const uint32_t value_dim = g.value_dim_padded() ? g.value_dim_padded() : g.head_dim_padded();
    const auto layerBytes = [&](uint32_t dim) {
      return deviceAlignUp(static_cast<uint64_t>(options_.num_blocks) * LLMC_KV_BLOCK_TOKENS *
                           g.num_kv_heads() * dim *
                           static_cast<uint64_t>(dtypeBytes(static_cast<DType>(g.dtype()))));
    };
    pool.key_layer_bytes = layerBytes(g.head_dim_padded());
    pool.value_layer_bytes = layerBytes(value_dim);
    pool.keys = take(pool.key_layer_bytes * g.num_layers());
    pool.values = take(pool.value_layer_bytes * g.num_layers());
    places_.pools.push_back(pool);
  }
  places_.end = at;
}

Status CudaSession::checkMemory() const {
  size_t free = 0, total = 0;
  LLMRT_CUDA_CHECK(driver_, driver_.memory_info(&free, &total), "cuMemGetInfo");
  const uint64_t upload_bytes = 2 * uploadBufferBytes(plan_.schema());
  const uint64_t needed = weights_layout_.bytes + upload_bytes + places_.end;
  if (needed <= free) return {};
  return outOfMemory(
      fmt::format("out of GPU memory: weights need {} and {} to upload them, KV cache and "
                  "activations (--max-seq-len lowers them) {}; {} has {} of {} free",
                  sizeText(weights_layout_.bytes), sizeText(upload_bytes), sizeText(places_.end),
                  device_.name(), sizeText(free), sizeText(total)));
}

Status CudaSession::loadKernels() {
  const schema::Target& target = plan_.target();
  if (target.abi_version() != LLMC_CUDA_ABI_VERSION) {
    return unsupported(fmt::format(
        "{}: its code for {} has CUDA ABI version {}, this runtime calls version {}: compile it "
        "again with llmc",
        plan_.path(), plan_.targetName(), target.abi_version(), LLMC_CUDA_ABI_VERSION));
  }
  // The driver reads PTX up to its final zero.
  if (plan_.targetName().starts_with("cuda:compute_") &&
      target.image()->Get(target.image()->size() - 1) != 0) {
    return invalidData(fmt::format("{}: is corrupt: its PTX has no end", plan_.path()));
  }
  // A plan holds bytes where they fall; the driver reads an ELF file, whose fields are aligned.
  std::vector<uint64_t> image((target.image()->size() + 7) / 8);
  std::memcpy(image.data(), target.image()->data(), target.image()->size());
  CuModule module = nullptr;
  LLMRT_CUDA_CHECK(driver_, driver_.module_load(&module, image.data()),
                   fmt::format("{}: loading its code for {}", plan_.path(), plan_.targetName()));
  module_ = Owned<CuModule>(module, driver_.module_unload);
  const auto find = [&](CuFunction* function, const std::string& symbol) {
    return driver_.check(
        driver_.module_function(function, module, symbol.c_str()),
        fmt::format("{}: is corrupt: kernel {}", plan_.path(), quotedName(symbol)));
  };
  const char* const types[] = {"f32", "f16", "bf16"};
  for (int i = 0; i < 3; ++i)
    LLMRT_RETURN_IF_ERROR(find(&relayout_.by_dtype[i], fmt::format("llmc_relayout_{}", types[i])));
  const auto setCarveout = [&](CuFunction function, const std::string& symbol) -> Status {
    const int percent = device_.launching().shared_carveout;
    if (percent < 0) return {};
    return driver_.check(driver_.function_set(function, kCuFunctionSharedCarveout, percent),
                         fmt::format("{}: kernel {} on {}", plan_.path(), symbol, device_.name()));
  };
  LLMRT_RETURN_IF_ERROR(find(&sample_, "llmc_sample"));
  LLMRT_RETURN_IF_ERROR(setCarveout(sample_, "llmc_sample"));
  for (const schema::CudaLaunch* launch : *target.cuda_launches()) {
    CuFunction function = nullptr;
    LLMRT_RETURN_IF_ERROR(find(&function, launch->symbol()->str()));
    // A block has 48 KB without asking, less what the kernel itself declares: of PTX nobody knows
    // that before the driver compiles it.
    if (launch->dynamic_shared_bytes() > 0) {
      LLMRT_CUDA_CHECK(driver_,
                       driver_.function_set(function, kCuFunctionMaxDynamicShared,
                                            static_cast<int>(launch->dynamic_shared_bytes())),
                       fmt::format("{}: kernel {} on {}", plan_.path(), launch->symbol()->str(),
                                   device_.name()));
    }
    LLMRT_RETURN_IF_ERROR(setCarveout(function, launch->symbol()->str()));
    functions_.push_back(function);
  }
  return {};
}

Status CudaSession::uploadRopeTables() {
  std::vector<float> table;
  for (uint32_t i = 0; i < places_.rope.size(); ++i) {
    table.resize(static_cast<size_t>(options_.max_seq_len) * 2 *
                 plan_.schema().rope_tables()->Get(i)->inv_freq()->size());
    fillRopeTable(plan_.schema(), i, options_.max_seq_len, table.data());
    LLMRT_CUDA_CHECK(
        driver_,
        driver_.copy_to_device(session_memory_.address() + places_.rope[i], table.data(),
                               table.size() * sizeof(float), stream_.get()),
        "uploading RoPE tables");
    // Pageable memory may still be read after the call.
    LLMRT_CUDA_CHECK(driver_, driver_.stream_synchronize(stream_.get()), "uploading RoPE tables");
  }
  return {};
}

Status CudaSession::uploadStep(const LlmcStep& step) {
  uint8_t* const mirror = step_.data();
  const uint64_t base = session_memory_.address();
  // The same struct, with the device's addresses.
  LlmcStep on_device = step;
  on_device.rows = reinterpret_cast<const LlmcRow*>(base + places_.rows);
  on_device.logits_rows = reinterpret_cast<const int32_t*>(base + places_.logits_rows);
  on_device.block_tables = reinterpret_cast<const int32_t*>(base + places_.block_tables);
  std::memcpy(mirror + places_.step, &on_device, sizeof on_device);
  std::memcpy(mirror + places_.rows, step.rows,
              static_cast<size_t>(step.num_rows) * sizeof(LlmcRow));
  std::memcpy(mirror + places_.logits_rows, step.logits_rows,
              static_cast<size_t>(step.num_logits_rows) * sizeof(int32_t));
  uint64_t bytes = places_.rows + static_cast<uint64_t>(step.num_rows) * sizeof(LlmcRow);
  if (step.num_logits_rows > 0)
    bytes = places_.logits_rows + static_cast<uint64_t>(step.num_logits_rows) * sizeof(int32_t);
  LLMRT_RETURN_IF_ERROR(uploadTables(step.block_tables));
  return driver_.check(driver_.copy_to_device(base, mirror, bytes, stream_.get()),
                       "uploading the row table");
}

Status CudaSession::uploadTables(const int32_t* tables) {
  // They change once in LLMC_KV_BLOCK_TOKENS tokens.
  uint8_t* const mirror = step_.data() + places_.block_tables;
  const size_t bytes = static_cast<size_t>(options_.num_blocks) * sizeof(int32_t);
  if (tables_uploaded_ && std::memcmp(mirror, tables, bytes) == 0) return {};
  // What is queued may still copy from the mirror.
  LLMRT_CUDA_CHECK(driver_, driver_.stream_synchronize(stream_.get()),
                   "a step on " + device_.name());
  std::memcpy(mirror, tables, bytes);
  tables_uploaded_ = true;
  return driver_.check(driver_.copy_to_device(session_memory_.address() + places_.block_tables,
                                              mirror, bytes, stream_.get()),
                       "uploading block tables");
}

Status CudaSession::run(uint32_t entry_point, const LlmcStep& step) {
  LLMRT_RETURN_IF_ERROR(device_.use());
  const schema::EntryPoint& entry = *plan_.schema().entry_points()->Get(entry_point);
  num_logits_rows_ = 0;
  LLMRT_RETURN_IF_ERROR(uploadStep(step));
  LLMRT_RETURN_IF_ERROR(start(shapeOf(entry_point, step, 0)));
  const schema::Buffer& logits = *entry.buffers()->Get(entry.logits_buffer());
  logits_stride_ = logits.row_stride();
  if (step.num_logits_rows > 0) {
    LLMRT_CUDA_CHECK(
        driver_,
        driver_.copy_to_host(
            logits_.data(), session_memory_.address() + places_.arena + logits.offset_bytes(),
            static_cast<size_t>(step.num_logits_rows * logits_stride_) * sizeof(float),
            stream_.get()),
        "reading logits");
  }
  LLMRT_CUDA_CHECK(driver_, driver_.stream_synchronize(stream_.get()),
                   "a step on " + device_.name());
  num_logits_rows_ = step.num_logits_rows;
  return {};
}

Status CudaSession::queueChoice(uint32_t entry_point, const LlmcStep& step,
                                const SamplerState* first) {
  num_logits_rows_ = 0;
  if (first) {
    LLMRT_RETURN_IF_ERROR(device_.use());
    LLMRT_RETURN_IF_ERROR(finish());
    LLMRT_RETURN_IF_ERROR(startChoosing(entry_point, *first));
    LLMRT_RETURN_IF_ERROR(uploadStep(step));
  } else {
    LLMRT_RETURN_IF_ERROR(uploadTables(step.block_tables));
  }
  return start(shapeOf(entry_point, step, sample_phases_));
}

Status CudaSession::startChoosing(uint32_t entry_point, const SamplerState& from) {
  const schema::EntryPoint& entry = *plan_.schema().entry_points()->Get(entry_point);
  const uint64_t base = session_memory_.address();
  sample_phases_ = 1;
  if (from.temperature > 0) {
    sample_phases_ |=
        kDrawPhase | (from.top_k > 0 ? kTopKPhases : 0) | (from.top_p > 0 ? kTopPPhases : 0);
  }
  auto* const ring = reinterpret_cast<volatile uint64_t*>(chosen_.data());
  for (int i = 0; i < LLMC_CUDA_RING; ++i) ring[i] = UINT64_MAX;
  chosen_taken_ = 0;
  for (int phase = 0; phase < kSamplePhases; ++phase) {
    sample_args_[phase] = {
        base + places_.arena + entry.buffers()->Get(entry.logits_buffer())->offset_bytes(),
        base + places_.rows,
        base + places_.sample,
        base + places_.seen,
        reinterpret_cast<uint64_t>(chosen_.data()),
        plan_.vocabSize(),
        phase};
  }
  auto* const state =
      reinterpret_cast<LlmcCudaSampleState*>(chosen_.data() + LLMC_CUDA_RING * sizeof(uint64_t));
  *state = {};
  std::copy(from.random.begin(), from.random.end(), state->options.random);
  state->options.top_p = from.top_p;
  state->options.min_weight = from.min_weight;
  state->options.repetition_penalty = from.repetition_penalty;
  state->options.temperature = from.temperature;
  // Of a greedy choice the first phase is the last: nothing is counted.
  state->options.top_k = from.temperature > 0 ? from.top_k : 0;
  auto* const seen = reinterpret_cast<uint8_t*>(state + 1);
  std::copy(from.seen.begin(), from.seen.end(), seen);
  LLMRT_CUDA_CHECK(
      driver_, driver_.copy_to_device(base + places_.sample, state, sizeof *state, stream_.get()),
      "starting to decode");
  return driver_.check(
      driver_.copy_to_device(base + places_.seen, seen, from.seen.size(), stream_.get()),
      "starting to decode");
}

Result<int32_t> CudaSession::takeChoice() {
  const auto* const chosen = reinterpret_cast<const volatile uint64_t*>(chosen_.data());
  // The host is told through its own memory: that is microseconds sooner than the stream's end.
  constexpr int kLooks = 1 << 12;
  for (bool ended = false;;) {
    for (int i = 0; i < kLooks; ++i) {
      const uint64_t value = chosen[chosen_taken_ % LLMC_CUDA_RING];
      if (value >> 32 == chosen_taken_) {
        ++chosen_taken_;
        const auto id = static_cast<uint32_t>(value);
        if (id == LLMC_CUDA_NOT_FINITE) return notFiniteLogits(plan_.path(), "");
        return static_cast<int32_t>(id);
      }
    }
    if (ended) return internalError("a step on " + device_.name() + " ended without a token");
    const CuResult result = driver_.stream_query(stream_.get());
    if (result != kCuNotReady) LLMRT_CUDA_CHECK(driver_, result, "a step on " + device_.name());
    ended = result == 0;
  }
}

Status CudaSession::finish() {
  return driver_.check(driver_.stream_synchronize(stream_.get()), "a step on " + device_.name());
}

std::span<const float> CudaSession::logits(int64_t i) const {
  if (i < 0 || i >= num_logits_rows_) return {};
  return {reinterpret_cast<const float*>(logits_.data()) + i * logits_stride_,
          static_cast<size_t>(plan_.vocabSize())};
}

}  // namespace llmrt::cuda
