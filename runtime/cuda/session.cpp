#include "runtime/cuda/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/executor/finite_check.h"
#include "runtime/executor/rope_table.h"
#include "runtime/io/printable.h"
#include "runtime/io/weight_layout.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/schema/same_case.h"

namespace llmrt::cuda {

Result<std::unique_ptr<Executor>> CudaSession::create(const CudaDevice& device, const Plan& plan,
                                                      const Weights& weights,
                                                      const ExecutorOptions& options) {
  LLMRT_RETURN_IF_ERROR(device.use());
  std::unique_ptr<CudaSession> session(new CudaSession(device, plan, options));
  LLMRT_RETURN_IF_ERROR(session->initialize(weights));
  return std::unique_ptr<Executor>(std::move(session));
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
      DeviceMemory::allocate(driver_, places_.end, "the KV cache and activations (`max_seq_len`)"));
  LLMRT_ASSIGN_OR_RETURN(step_, PinnedMemory::allocate(driver_, places_.sample, "a step's inputs"));
  uint64_t output_bytes = 0;
  for (const schema::EntryPoint* e : *plan_.schema().entry_points()) {
    uint64_t bytes = 0;
    output_offsets_.emplace_back();
    for (uint32_t i = 0; e->outputs() && i < e->outputs()->size(); ++i) {
      const schema::Buffer& buffer = *e->buffers()->Get(e->outputs()->Get(i)->buffer());
      output_offsets_.back().push_back(bytes);
      bytes += deviceAlignUp(buffer.bytes());
    }
    output_bytes = std::max(output_bytes, bytes);
  }
  LLMRT_ASSIGN_OR_RETURN(
      outputs_, PinnedMemory::allocate(driver_, std::max<uint64_t>(output_bytes, 1), "outputs"));
  mail_bytes_ = alignUp(sizeof(ChoiceMail) + static_cast<uint64_t>(plan_.vocabSize()));
  choices_.reserve(static_cast<size_t>(options_.max_choices));
  LLMRT_ASSIGN_OR_RETURN(
      chosen_,
      PinnedMemory::allocate(
          driver_, std::max<uint64_t>(static_cast<uint64_t>(options_.max_choices) * mail_bytes_, 1),
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
  places_.step = take(sizeof(LlmcStep));
  // Steps follow one another: entry points share what their inputs lie in.
  uint64_t input_bytes = 0;
  for (const schema::EntryPoint* e : *p.entry_points()) {
    inputs_.emplace_back(*e, options_.max_batch);
    input_bytes = std::max(input_bytes, inputs_.back().bytes);
  }
  places_.inputs = take(input_bytes);
  const auto max_batch = static_cast<uint64_t>(options_.max_batch);
  const auto blocks_per_seq = static_cast<uint64_t>(
      (options_.max_seq_len + LLMC_KV_BLOCK_TOKENS - 1) / LLMC_KV_BLOCK_TOKENS);
  for (uint32_t i = 0; p.states() && i < p.states()->size(); ++i) {
    const schema::StateKind kind = p.states()->Get(i)->kind();
    Places::State state;
    if (kind != schema::StateKind::kept) {  // which is no sequence's
      const bool paged = kind == schema::StateKind::kv;
      state.table_bytes = max_batch * (paged ? blocks_per_seq : 1) * sizeof(int32_t);
      state.table = take(state.table_bytes);
    }
    places_.states.push_back(state);
  }
  places_.sample_bytes = deviceAlignUp(sizeof(LlmcCudaSampleState));
  places_.seen_bytes = deviceAlignUp(static_cast<uint64_t>(plan_.vocabSize()));
  const auto choices = static_cast<uint64_t>(options_.max_choices);
  // What lies before is mirrored on the host.
  places_.sample = take(choices * places_.sample_bytes);
  places_.seen = take(choices * places_.seen_bytes);
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
  for (uint32_t i = 0; i < places_.states.size(); ++i) {
    const schema::State& of_plan = *p.states()->Get(i);
    Places::State& state = places_.states[i];
    const auto element = static_cast<uint64_t>(dtypeBytes(sameCase<DType>(of_plan.dtype())));
    state.num_layers = of_plan.layers()->size();
    if (of_plan.kind() == schema::StateKind::kept) {
      state.key_layer_bytes = deviceAlignUp(of_plan.rows() * of_plan.elements() * element);
    } else if (of_plan.kind() == schema::StateKind::recurrent) {
      state.slot_bytes = of_plan.elements() * element;
      state.key_layer_bytes = deviceAlignUp(max_batch * state.slot_bytes);
    } else {
      const uint64_t tokens = uint64_t{LLMC_KV_BLOCK_TOKENS} * of_plan.num_kv_heads();
      const auto blocks = static_cast<uint64_t>(options_.num_blocks[i]);
      const uint32_t value_dim =
          of_plan.value_dim_padded() ? of_plan.value_dim_padded() : of_plan.head_dim_padded();
      state.key_block_bytes = tokens * of_plan.head_dim_padded() * element;
      state.value_block_bytes = tokens * value_dim * element;
      state.key_layer_bytes = deviceAlignUp(blocks * state.key_block_bytes);
      state.value_layer_bytes = deviceAlignUp(blocks * state.value_block_bytes);
    }
    state.keys = take(state.key_layer_bytes * state.num_layers);
    state.values = take(state.value_layer_bytes * state.num_layers);
  }
  places_.end = at;
}

Result<Device::Room> CudaSession::room(const CudaDevice& device, const Plan& plan,
                                       const ExecutorOptions& options) {
  LLMRT_RETURN_IF_ERROR(device.use());
  CudaSession session(device, plan, options);
  session.place();
  return session.room();
}

Result<Device::Room> CudaSession::room() const {
  size_t free = 0, total = 0;
  LLMRT_CUDA_CHECK(driver_, driver_.memory_info(&free, &total), "cuMemGetInfo");
  const uint64_t others = weights_layout_.bytes + 2 * uploadBufferBytes(plan_.schema());
  return Device::Room{places_.end, free > others ? free - others : 0};
}

Status CudaSession::checkMemory() const {
  size_t free = 0, total = 0;
  LLMRT_CUDA_CHECK(driver_, driver_.memory_info(&free, &total), "cuMemGetInfo");
  const uint64_t upload_bytes = 2 * uploadBufferBytes(plan_.schema());
  const uint64_t needed = weights_layout_.bytes + upload_bytes + places_.end;
  if (needed <= free) return {};
  return outOfMemory(
      fmt::format("out of GPU memory: weights need {} and {} to upload them, KV cache and "
                  "activations (`max_seq_len` lowers them) {}; {} has {} of {} free",
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
    fillRopeTable(plan_.schema(), i, options_.max_seq_len, 0, options_.max_seq_len, table.data());
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

Status CudaSession::uploadStep(uint32_t entry_point, const Step& step) {
  uint8_t* const mirror = step_.data();
  std::memcpy(mirror + places_.step, &step.counts, sizeof step.counts);
  uint64_t bytes = places_.step + sizeof step.counts;
  const schema::EntryPoint& entry = *plan_.schema().entry_points()->Get(entry_point);
  const InputLayout& layout = inputs_[entry_point];
  for (uint32_t i = 0; i < layout.offsets.size(); ++i) {
    const schema::Input& input = *entry.inputs()->Get(i);
    const auto used = static_cast<uint64_t>(countOf(input.axis(), step.counts)) * input.width() *
                      static_cast<uint64_t>(dtypeBytes(sameCase<DType>(input.dtype())));
    if (used == 0) continue;
    std::memcpy(mirror + places_.inputs + layout.offsets[i],
                options_.inputs[entry_point] + layout.offsets[i], used);
    bytes = places_.inputs + layout.offsets[i] + used;
  }
  LLMRT_RETURN_IF_ERROR(uploadTables());
  return driver_.check(
      driver_.copy_to_device(session_memory_.address(), mirror, bytes, stream_.get()),
      "uploading a step's inputs");
}

Status CudaSession::uploadTables() {
  const std::vector<const int32_t*>& tables = options_.tables;
  // They change once in LLMC_KV_BLOCK_TOKENS tokens.
  const auto isThere = [&](size_t i) {
    const Places::State& state = places_.states[i];
    return tables_uploaded_ &&
           std::memcmp(step_.data() + state.table, tables[i], state.table_bytes) == 0;
  };
  bool waited = false;
  for (size_t i = 0; i < tables.size(); ++i) {
    if (places_.states[i].table_bytes == 0 || isThere(i)) continue;
    // What is queued may still copy from the mirror, and read the table.
    if (!std::exchange(waited, true))
      LLMRT_CUDA_CHECK(driver_, driver_.stream_synchronize(stream_.get()),
                       "a step on " + device_.name());
    const Places::State& state = places_.states[i];
    std::memcpy(step_.data() + state.table, tables[i], state.table_bytes);
    LLMRT_CUDA_CHECK(
        driver_,
        driver_.copy_to_device(session_memory_.address() + state.table, step_.data() + state.table,
                               state.table_bytes, stream_.get()),
        "uploading block tables");
  }
  tables_uploaded_ = true;
  return {};
}

Status CudaSession::execute(uint32_t entry_point, const Step& step) {
  LLMRT_RETURN_IF_ERROR(device_.use());
  LLMRT_RETURN_IF_ERROR(uploadStep(entry_point, step));
  LLMRT_RETURN_IF_ERROR(start(shapeOf(entry_point, step, 0)));
  for (uint32_t i = 0; entry().outputs() && i < entry().outputs()->size(); ++i) {
    const schema::Output& output = *entry().outputs()->Get(i);
    const schema::Buffer& buffer = *entry().buffers()->Get(output.buffer());
    const auto bytes = static_cast<uint64_t>(countOf(output.axis(), step.counts)) *
                       buffer.row_stride() *
                       static_cast<uint64_t>(dtypeBytes(sameCase<DType>(buffer.dtype())));
    if (bytes == 0) continue;
    LLMRT_CUDA_CHECK(
        driver_,
        driver_.copy_to_host(outputs_.data() + output_offsets_[entry_point][i],
                             session_memory_.address() + places_.arena + buffer.offset_bytes(),
                             bytes, stream_.get()),
        "reading " + quotedName(output.name()->string_view()));
  }
  LLMRT_CUDA_CHECK(driver_, driver_.stream_synchronize(stream_.get()),
                   "a step on " + device_.name());
  for (int64_t i = 0; i < logitsRows(); ++i)
    if (!allFinite(logitsRow(i))) return notFiniteLogits(plan_.path(), "");
  return {};
}

const uint8_t* CudaSession::outputData(uint32_t index) const {
  return outputs_.data() + output_offsets_[running()][index];
}

Status CudaSession::copyBlock(uint32_t state, int32_t from, int32_t to) {
  LLMRT_RETURN_IF_ERROR(device_.use());
  const Places::State& s = places_.states[state];
  // Behind what is queued, which may still write the one or read the other.
  const auto copy = [&](uint64_t pool, uint64_t block_bytes) {
    return driver_.check(driver_.copy_on_device(pool + static_cast<uint64_t>(to) * block_bytes,
                                                pool + static_cast<uint64_t>(from) * block_bytes,
                                                block_bytes, stream_.get()),
                         "copying a block of the KV cache");
  };
  for (uint32_t l = 0; l < s.num_layers; ++l) {
    const uint64_t base = session_memory_.address();
    LLMRT_RETURN_IF_ERROR(copy(base + s.keys + l * s.key_layer_bytes, s.key_block_bytes));
    LLMRT_RETURN_IF_ERROR(copy(base + s.values + l * s.value_layer_bytes, s.value_block_bytes));
  }
  return {};
}

template <typename Body>
Status CudaSession::forSlots(int32_t seq, Body&& body) const {
  LLMRT_RETURN_IF_ERROR(device_.use());
  for (const Places::State& state : places_.states) {
    if (state.slot_bytes == 0) continue;
    for (uint32_t l = 0; l < state.num_layers; ++l) {
      const uint64_t slot = session_memory_.address() + state.keys + l * state.key_layer_bytes +
                            static_cast<uint64_t>(seq) * state.slot_bytes;
      LLMRT_CUDA_CHECK(driver_, body(slot, state.slot_bytes), "a sequence's recurrent state");
    }
  }
  // The host's side is pageable: it may still be read, or not yet be written, after a copy's call.
  return driver_.check(driver_.stream_synchronize(stream_.get()), "a sequence's recurrent state");
}

Status CudaSession::readSlots(int32_t seq, std::span<uint8_t> out) {
  uint8_t* next = out.data();
  return forSlots(seq, [&](uint64_t slot, uint64_t bytes) {
    return driver_.copy_to_host(std::exchange(next, next + bytes), slot, bytes, stream_.get());
  });
}

Status CudaSession::writeSlots(int32_t seq, std::span<const uint8_t> from) {
  const uint8_t* next = from.data();
  return forSlots(seq, [&](uint64_t slot, uint64_t bytes) {
    return driver_.copy_to_device(slot, std::exchange(next, next + bytes), bytes, stream_.get());
  });
}

Status CudaSession::clearSlots(int32_t seq) {
  return forSlots(seq, [&](uint64_t slot, uint64_t bytes) {
    return driver_.fill(slot, 0, bytes, stream_.get());
  });
}

}  // namespace llmrt::cuda
