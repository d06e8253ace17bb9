// compare_ops PLAN: each op of a step on the GPU against the CPU target of the same plan. Kernels
// are launched phase by phase, with nothing else under way; each begins with what the CPU made of
// the ops before it, so every wrong op is found, not the first one alone. A line of JSON for each
// that differs, naming the first element that does, and one at the end. Exit status 1: one did.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "runtime/cuda/session.h"
#include "runtime/executor/cost.h"
#include "runtime/executor/cpu_executor.h"
#include "runtime/executor/kv_pool.h"
#include "runtime/executor/memory.h"
#include "runtime/executor/schedule.h"
#include "runtime/executor/thread_team.h"
#include "runtime/io/float_convert.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/session/state_cache.h"
#include "runtime/session/step_inputs.h"
#include "tools/common/load_model.h"

namespace llmrt {
namespace {

struct Options {
  std::string plan_path, device = "cuda";
  bool synthetic = false;
  int64_t rows = 17, decode = 2;
  unsigned seconds = 5;

  void addTo(CLI::App& app) {
    app.add_option("PLAN", plan_path, "A plan with code for this CPU and for the GPU")->required();
    app.add_flag("--synthetic-weights", synthetic, "Random weights made up in memory");
    app.add_option("--device", device, "cuda or cuda:NUMBER")->capture_default_str();
    app.add_option("--rows", rows, "Tokens of the prompt, one step")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_option("--decode", decode, "Steps of one token behind it")->capture_default_str();
    app.add_option("--seconds", seconds, "An op that takes longer hangs; it is named and ends this")
        ->capture_default_str();
  }
};

/// What is said where the op at hand never ends: the driver's waiting calls do not return.
std::string if_it_hangs;
extern "C" void sayItHangs(int) {
  [[maybe_unused]] const ssize_t written =
      write(STDOUT_FILENO, if_it_hangs.data(), if_it_hangs.size());
  _exit(1);
}

/// What two sides made of the same elements.
struct Difference {
  double largest = 0, worst = 0;  // of one row: the CPU's largest value; the largest difference
  double worst_share = 0;         // the same as a share, of all rows
  int64_t count = 0, wrong = 0, not_numbers = 0;
  int64_t first_row = -1, first_column = -1;
  double gpu = 0, cpu = 0;  // at the first
};

/// As a share of a row's largest value. On the GPU operands of many rows are rounded to the
/// weights' type, by 2^-9 of their size in bf16: the sums of one op differ by about as much of a
/// typical value, and the largest is a few times that. Keys and values are rounded too; neighbours
/// in bf16 are 2^-7 apart. In f32 only the order of sums differs.
double toleranceOf(const schema::Plan& plan) {
  bool wide = plan.model()->dtype() == schema::DType::f32;
  for (const schema::State* state : *plan.states())
    wide = wide && state->dtype() == schema::DType::f32;
  return wide ? 0x1p-12 : 0x1p-6;
}

void compareRow(int64_t row, const std::vector<float>& gpu, const std::vector<float>& cpu,
                double tolerance, Difference* d) {
  double largest = 0, worst = 0;
  // What neither side wrote is NaN on both.
  const auto same = [](float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; };
  for (const float v : cpu)
    if (std::isfinite(v)) largest = std::max(largest, std::abs(double{v}));
  for (size_t i = 0; i < cpu.size(); ++i) {
    ++d->count;
    if (same(gpu[i], cpu[i])) continue;
    d->not_numbers += !std::isfinite(gpu[i]);
    const double off = std::abs(double{gpu[i]} - double{cpu[i]});
    if (off <= tolerance * largest) {
      worst = std::max(worst, off);
      continue;
    }
    if (d->wrong++ == 0) {
      d->first_row = row, d->first_column = static_cast<int64_t>(i);
      d->gpu = gpu[i], d->cpu = cpu[i];
    }
    if (std::isfinite(off)) worst = std::max(worst, off);
  }
  d->worst = std::max(d->worst, worst);
  d->largest = std::max(d->largest, largest);
  if (largest > 0) d->worst_share = std::max(d->worst_share, worst / largest);
}

class Comparison {
 public:
  explicit Comparison(const Options& options) : options_(options) {}

  Result<int> run() {
    LLMRT_RETURN_IF_ERROR(open());
    LLMRT_RETURN_IF_ERROR(step(options_.rows));
    for (int64_t i = 0; i < options_.decode; ++i) LLMRT_RETURN_IF_ERROR(step(1));
    say({{"phases", phases_},
         {"wrong", wrong_},
         {"tolerance", tolerance_},
         {"worst", worst_},
         {"worst_op", worst_op_},
         {"ok", wrong_ == 0}});
    return wrong_ == 0 ? 0 : 1;
  }

 private:
  Status open() {
    LLMRT_ASSIGN_OR_RETURN(device_, cuda::CudaDevice::open(options_.device));
    LLMRT_ASSIGN_OR_RETURN(cpu_, Plan::open(options_.plan_path));
    LLMRT_ASSIGN_OR_RETURN(gpu_, Plan::open(options_.plan_path, {.device = device_.get()}));
    LLMRT_ASSIGN_OR_RETURN(team_, ThreadTeam::create(defaultThreads()));
    if (options_.synthetic) {
      LLMRT_ASSIGN_OR_RETURN(weights_, Weights::synthesize(*cpu_, 1, *team_));
    } else {
      LLMRT_ASSIGN_OR_RETURN(weights_, Weights::map(*cpu_));
    }
    const schema::Plan& p = cpu_->schema();
    tolerance_ = toleranceOf(p);
    const int64_t tokens = options_.rows + options_.decode;
    max_seq_len_ =
        std::min(ceilDiv(tokens, LLMC_KV_BLOCK_TOKENS) * LLMC_KV_BLOCK_TOKENS, cpu_->maxSeqLen());
    int64_t max_rows = 0;
    for (const schema::EntryPoint* e : *p.entry_points())
      max_rows = std::max<int64_t>(max_rows, e->max_rows());
    if (options_.rows > max_rows || tokens > cpu_->maxSeqLen())
      return invalidArgument(fmt::format("--rows {}: a step has at most {}, the context {}",
                                         options_.rows, max_rows, cpu_->maxSeqLen()));
    // Where there can be two sequences, the second is in use: its blocks and its slot are not those
    // of number 0.
    batch_ = std::min<int64_t>(cpu_->maxBatch(), 2);
    seq_ = static_cast<int32_t>(batch_ - 1);
    const StateCacheOptions cache{batch_, max_seq_len_, std::max<int64_t>(max_rows, 2)};
    states_.emplace(p, cache);
    scratch_stride_ = alignUp(std::max<uint64_t>(cpu_->target().scratch_bytes(), 1));
    LLMRT_ASSIGN_OR_RETURN(
        scratch_, AnonymousMemory::allocate(scratch_stride_ * static_cast<uint64_t>(team_->size()),
                                            "scratch"));
    LLMRT_RETURN_IF_ERROR(StepInputs::check(p, {}));
    LLMRT_ASSIGN_OR_RETURN(inputs_, StepInputs::create(p, batch_, {}));
    num_blocks_ = StateCache::blocksNeeded(p, cache);
    ExecutorOptions executor{
        .max_seq_len = max_seq_len_, .max_batch = batch_, .num_blocks = num_blocks_};
    executor.rope_positions = executor.max_seq_len;  // phases are run one by one
    executor.tables.assign(states_->tables().begin(), states_->tables().end());
    for (uint32_t e = 0; e < p.entry_points()->size(); ++e)
      executor.inputs.push_back(inputs_.data(e));
    LLMRT_ASSIGN_OR_RETURN(auto on_cpu, CpuExecutor::create(*cpu_, *weights_, executor));
    on_cpu_.reset(static_cast<CpuExecutor*>(on_cpu.release()));
    states_->setExecutor(on_cpu_.get());
    if (seq_ > 0) LLMRT_RETURN_IF_ERROR(states_->begin(0, 0, 1));
    LLMRT_ASSIGN_OR_RETURN(auto session,
                           cuda::CudaSession::create(*device_, *gpu_, *weights_, executor));
    session_.reset(static_cast<cuda::CudaSession*>(session.release()));
    return {};
  }

  /// Appends `rows` tokens to the one sequence.
  Status step(int64_t rows) {
    std::vector<StepToken> of_step;
    pos_.clear();
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t pos = kv_len_ + i;
      of_step.push_back(
          {seq_, static_cast<int32_t>((3 + pos * 7919) % std::min<int64_t>(cpu_->vocabSize(), 497)),
           i == rows - 1});
      pos_.push_back(static_cast<int32_t>(pos));
    }
    const auto last = static_cast<int32_t>(rows - 1);
    step_ = {rows, 1, batch_, states_->blocksPerSeq()};
    entry_index_ = static_cast<uint32_t>(selectEntryPoint(cpu_->schema(), rows, 1));
    LLMRT_RETURN_IF_ERROR(states_->begin(seq_, kv_len_, kv_len_ + rows));
    LLMRT_RETURN_IF_ERROR(inputs_.fill(entry_index_, {of_step, pos_.data(), {&last, 1}}, step_));
    entry_ = cpu_->schema().entry_points()->Get(entry_index_);
    const auto& phases = on_cpu_->schedule(entry_index_).phases();
    for (size_t i = 0; i < phases.size(); ++i) LLMRT_RETURN_IF_ERROR(phase(phases[i], i));
    kv_len_ += rows;
    states_->pass(seq_, kv_len_);
    return {};
  }

  Status phase(const BoundPhase& bound, size_t index) {
    const schema::Phase& phase =
        *entry_->sections()->Get(bound.section)->phases()->Get(bound.phase);
    const uint32_t count = phase.operands() ? phase.operands()->size() : 0;
    for (uint32_t i = 0; i < count; ++i) {
      const schema::Operand& operand = *phase.operands()->Get(i);
      if (operand.space() != schema::Space::arena) continue;
      const schema::Buffer& buffer = *entry_->buffers()->Get(operand.index());
      auto* const bytes = static_cast<uint8_t*>(bound.operands[i]);
      // What an op shall write is no number before, here and there.
      if (operand.access() == schema::Access::write)
        for (int64_t row = 0; row < rowsOf(buffer, bound.numRows(step_)); ++row)
          std::memset(bytes + bytesOf(buffer, row), 0xff, buffer.width() * elementBytes(buffer));
      LLMRT_RETURN_IF_ERROR(toDevice(session_->operandAddress(entry_index_, index, i), bytes,
                                     bytesOf(buffer, rowsOf(buffer, step_.num_rows))));
    }
    LLMRT_RETURN_IF_ERROR(runOnCpu(bound));
    nlohmann::json line = named(bound, phase);
    line["error"] = fmt::format("hung: still running after {} s", options_.seconds);
    if_it_hangs = text(line);
    alarm(options_.seconds);
    const Status failed = session_->runPhase(
        entry_index_, {.counts = step_, .kv_len = pos_.back() + int64_t{1}}, index);
    alarm(0);
    if (!failed.ok()) {
      line["error"] = failed.message();
      say(line);
      return failed;
    }
    ++phases_;
    for (uint32_t i = 0; i < count; ++i) {
      const schema::Operand& operand = *phase.operands()->Get(i);
      if (operand.access() == schema::Access::read) continue;
      const uint64_t address = session_->operandAddress(entry_index_, index, i);
      LLMRT_ASSIGN_OR_RETURN(const Difference d,
                             operand.space() == schema::Space::arena
                                 ? compareBuffer(bound, operand, address, bound.operands[i])
                             : operand.space() == schema::Space::recurrent
                                 ? compareSlot(operand, address, bound.operands[i])
                                 : compareCache(operand, address, bound.operands[i]));
      if (d.worst_share > worst_ && d.wrong == 0) {
        worst_ = d.worst_share;
        worst_op_ = phase.op()->str();
      }
      if (d.wrong == 0) continue;
      ++wrong_;
      line = named(bound, phase);
      line.update({{"what", whatIs(operand)},
                   {"row", d.first_row},
                   {"column", d.first_column},
                   {"gpu", d.gpu},
                   {"cpu", d.cpu},
                   {"wrong", d.wrong},
                   {"of", d.count},
                   {"not_numbers", d.not_numbers},
                   {"worst", d.worst},
                   {"largest", d.largest}});
      say(line);
    }
    return {};
  }

  Status runOnCpu(const BoundPhase& bound) {
    struct Work {
      Comparison* self;
      const BoundPhase* bound;
      std::atomic<int32_t> failed;
    } work{this, &bound, {0}};
    team_->run(
        [](void* context, int worker) {
          auto& w = *static_cast<Work*>(context);
          Comparison& self = *w.self;
          const int64_t tiles = w.bound->numTiles(self.step_), size = self.team_->size();
          const int64_t begin = tiles * worker / size, end = tiles * (worker + 1) / size;
          if (begin == end) return;
          const int32_t status = w.bound->kernel(
              &self.step_, w.bound->operands, begin, end,
              self.scratch_.data() + static_cast<uint64_t>(worker) * self.scratch_stride_);
          if (status != 0) w.failed = status;
        },
        &work);
    if (work.failed == 0) return {};
    return internalError(fmt::format("a kernel for the CPU returned {}", work.failed.load()));
  }

  static int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
  static int64_t rowsOf(const schema::Buffer& buffer, int64_t rows) {
    return std::min<int64_t>(rows, buffer.rows());
  }
  static uint64_t elementBytes(const schema::Buffer& buffer) {
    return static_cast<uint64_t>(dtypeBytes(static_cast<DType>(buffer.dtype())));
  }
  static uint64_t bytesOf(const schema::Buffer& buffer, int64_t rows) {
    return static_cast<uint64_t>(rows) * buffer.row_stride() * elementBytes(buffer);
  }
  static float toFloat(DType dtype, const uint8_t* p) {
    switch (dtype) {
      case DType::kF32:
      case DType::kF16:
      case DType::kBF16:
      case DType::kHalfE8M0:
        return loadAsF32(dtype, p, 0);
      case DType::kI32: {
        int32_t v = 0;
        std::memcpy(&v, p, sizeof v);
        return static_cast<float>(v);
      }
      case DType::kI8:
        return static_cast<int8_t>(*p);
      case DType::kU8:
        return *p;
    }
    return NAN;
  }
  static std::vector<float> toFloats(DType dtype, const uint8_t* from, uint64_t count) {
    std::vector<float> out;
    for (uint64_t i = 0; i < count; ++i)
      out.push_back(toFloat(dtype, from + i * static_cast<uint64_t>(dtypeBytes(dtype))));
    return out;
  }

  Result<Difference> compareBuffer(const BoundPhase& bound, const schema::Operand& operand,
                                   uint64_t address, const void* cpu) {
    const schema::Buffer& buffer = *entry_->buffers()->Get(operand.index());
    const int64_t rows = rowsOf(buffer, bound.numRows(step_));
    std::vector<uint8_t> gpu(bytesOf(buffer, rows));
    LLMRT_RETURN_IF_ERROR(fromDevice(gpu.data(), address, gpu.size()));
    const auto dtype = static_cast<DType>(buffer.dtype());
    Difference d;
    for (int64_t row = 0; row < rows; ++row) {
      const uint64_t at = bytesOf(buffer, row);
      compareRow(row, toFloats(dtype, gpu.data() + at, buffer.width()),
                 toFloats(dtype, static_cast<const uint8_t*>(cpu) + at, buffer.width()), tolerance_,
                 &d);
    }
    return d;
  }

  /// The sequence's slot. Leaves the CPU's on the device.
  Result<Difference> compareSlot(const schema::Operand& operand, uint64_t address, void* cpu) {
    const schema::State& state = *cpu_->schema().states()->Get(operand.index());
    const auto dtype = static_cast<DType>(state.dtype());
    std::vector<uint8_t> gpu(state.elements() * static_cast<uint64_t>(dtypeBytes(dtype)));
    const uint64_t offset = gpu.size() * static_cast<uint64_t>(seq_);
    const auto* const here = static_cast<const uint8_t*>(cpu) + offset;
    LLMRT_RETURN_IF_ERROR(fromDevice(gpu.data(), address + offset, gpu.size()));
    Difference d;
    compareRow(0, toFloats(dtype, gpu.data(), state.elements()),
               toFloats(dtype, here, state.elements()), tolerance_, &d);
    LLMRT_RETURN_IF_ERROR(toDevice(address + offset, here, gpu.size()));
    return d;
  }

  /// The keys or values that the step's rows wrote, a row of all heads each. Leaves the CPU's in
  /// the device's cache.
  Result<Difference> compareCache(const schema::Operand& operand, uint64_t address, void* cpu) {
    const schema::State& state = *cpu_->schema().states()->Get(operand.index());
    const KvPool pool(state, 1);
    const bool keys = operand.space() == schema::Space::keys;
    const auto dtype = static_cast<DType>(state.dtype());
    const uint64_t bytes = pool.element_bytes, heads = state.num_kv_heads(), per = pool.per_step,
                   tokens = LLMC_KV_BLOCK_TOKENS;
    const uint64_t padded =
        keys || !state.value_dim_padded() ? state.head_dim_padded() : state.value_dim_padded();
    const uint64_t dim = keys ? state.head_dim() : padded;
    std::vector<uint8_t> device(static_cast<uint64_t>(num_blocks_[operand.index()]) * heads *
                                tokens * padded * bytes);
    LLMRT_RETURN_IF_ERROR(fromDevice(device.data(), address, device.size()));
    // plan.fbs: State; cuda_abi.h.
    const auto place = [&](uint64_t head, uint64_t token, uint64_t i) {
      return keys ? ((head * ceilDiv(static_cast<int64_t>(dim), static_cast<int64_t>(per)) +
                      i / per) *
                         tokens +
                     token) *
                            per +
                        i % per
                  : ((head * (tokens / per) + token / per) * padded + i) * per + token % per;
    };
    Difference d;
    std::vector<float> a, b;
    for (int64_t row = 0; row < step_.num_rows; ++row) {
      const auto pos = static_cast<uint64_t>(pos_[static_cast<size_t>(row)]);
      const auto block = static_cast<uint64_t>(
          states_->tables()[operand.index()][static_cast<uint64_t>(seq_) *
                                                 static_cast<uint64_t>(step_.blocks_per_seq) +
                                             pos / tokens]);
      a.clear(), b.clear();
      for (uint64_t head = 0; head < heads; ++head) {
        for (uint64_t i = 0; i < dim; ++i) {
          uint8_t* const on_device =
              device.data() +
              (((block * heads + head) * tokens + pos % tokens) * padded + i) * bytes;
          const uint8_t* const here =
              static_cast<const uint8_t*>(cpu) +
              block * (keys ? pool.key_block_bytes : pool.value_block_bytes) +
              place(head, pos % tokens, i) * bytes;
          a.push_back(toFloat(dtype, on_device));
          b.push_back(toFloat(dtype, here));
          std::memcpy(on_device, here, bytes);
        }
      }
      compareRow(row, a, b, tolerance_, &d);
    }
    LLMRT_RETURN_IF_ERROR(toDevice(address, device.data(), device.size()));
    return d;
  }

  Status toDevice(uint64_t to, const void* from, uint64_t bytes) {
    const cuda::Driver& driver = device_->driver();
    if (bytes == 0) return {};
    LLMRT_CUDA_CHECK(driver, driver.copy_to_device(to, from, bytes, nullptr), "a copy");
    return driver.check(driver.stream_synchronize(nullptr), "a copy");
  }
  Status fromDevice(void* to, uint64_t from, uint64_t bytes) {
    const cuda::Driver& driver = device_->driver();
    if (bytes == 0) return {};
    LLMRT_CUDA_CHECK(driver, driver.copy_to_host(to, from, bytes, nullptr), "a copy");
    return driver.check(driver.stream_synchronize(nullptr), "a copy");
  }

  std::string whatIs(const schema::Operand& operand) const {
    if (operand.space() == schema::Space::keys) return "keys";
    if (operand.space() == schema::Space::values) return "values";
    if (operand.space() == schema::Space::recurrent) return "slot";
    return entry_->buffers()->Get(operand.index())->name()->str();
  }
  nlohmann::json named(const BoundPhase& bound, const schema::Phase& phase) const {
    return {{"entry", entry_->name()->str()},
            {"rows", step_.num_rows},
            {"pos", kv_len_},
            {"op", phase.op()->str()},
            {"layer", bound.layer},
            {"kernel", cpu_->schema().kernels()->Get(phase.kernel())->symbol()->str()}};
  }
  std::string text(nlohmann::json line) const {
    line.update({{"step", "compare_ops"}, {"plan", options_.plan_path}});
    return line.dump() + "\n";
  }
  void say(const nlohmann::json& line) const {
    fmt::print("{}", text(line));
    std::fflush(stdout);
  }

  const Options options_;
  std::unique_ptr<cuda::CudaDevice> device_;
  std::unique_ptr<Plan> cpu_, gpu_;
  std::unique_ptr<ThreadTeam> team_;
  std::unique_ptr<Weights> weights_;
  AnonymousMemory scratch_;
  uint64_t scratch_stride_ = 0;
  std::optional<StateCache> states_;
  std::vector<int64_t> num_blocks_;
  StepInputs inputs_;
  std::unique_ptr<CpuExecutor> on_cpu_;
  std::unique_ptr<cuda::CudaSession> session_;
  int64_t max_seq_len_ = 0, kv_len_ = 0, batch_ = 1;
  int32_t seq_ = 0;
  // The step at hand.
  LlmcStep step_{};
  std::vector<int32_t> pos_;
  uint32_t entry_index_ = 0;
  const schema::EntryPoint* entry_ = nullptr;

  double tolerance_ = 0, worst_ = 0;
  std::string worst_op_;
  int64_t phases_ = 0, wrong_ = 0;
};

}  // namespace
}  // namespace llmrt

int main(int argc, char** argv) {
  llmrt::Options options;
  std::signal(SIGALRM, llmrt::sayItHangs);
  return llmrt::runProgram(
      "compare_ops", "Each op on a GPU against the CPU's, one by one", argc, argv,
      [](CLI::App& app, void* state) { static_cast<llmrt::Options*>(state)->addTo(app); },
      [](void* state) {
        return llmrt::Comparison(*static_cast<const llmrt::Options*>(state)).run();
      },
      &options);
}
