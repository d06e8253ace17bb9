// A session's launches: those of a plan bound to memory, and a step of them, as a graph or one
// after the other.
#include <fmt/format.h>

#include <algorithm>

#include "runtime/cuda/session.h"
#include "runtime/executor/profile.h"
#include "runtime/io/printable.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt::cuda {
namespace {

/// Steps of few rows are graphs, made once per shape; those of many are launched kernel by kernel,
/// which costs little beside what they compute.
bool isGraph(schema::StepKind kind) {
  return kind == schema::StepKind::decode || kind == schema::StepKind::verify ||
         kind == schema::StepKind::commit;
}
/// Of llmc_sample: four for each thread.
constexpr int64_t kLogitsPerBlock = 4 * LLMC_CUDA_SAMPLE_THREADS;
/// The smallest kv_len that launches are shaped for.
constexpr int64_t kLeastKvLen = 256;

/// What is wrong with the launches `of_kernel` of an op of 1 to `most_rows` rows, "" if nothing:
/// for every number of rows they are all parts of it, in order. Else a step would leave out the op,
/// a part of it, or do one twice.
std::string launchProblem(const flatbuffers::Vector<flatbuffers::Offset<schema::CudaLaunch>>& all,
                          const std::vector<uint32_t>& of_kernel, uint32_t most_rows) {
  std::vector<uint32_t> steps = {1};  // numbers of rows where the launches change
  for (const uint32_t i : of_kernel)
    for (const uint32_t rows : {all[i]->min_rows(), all[i]->max_rows() + 1})
      if (rows <= most_rows) steps.push_back(rows);
  std::sort(steps.begin(), steps.end());
  for (const uint32_t rows : steps) {
    uint32_t count = 0, parts = 0;
    for (const uint32_t i : of_kernel) {
      const schema::CudaLaunch& launch = *all[i];
      if (rows < launch.min_rows() || rows > launch.max_rows()) continue;
      if (count == 0) parts = launch.parts();
      if (launch.part() != count || launch.parts() != parts) {
        return fmt::format("launch {} for {} rows says it is {} of {}", count + 1, rows,
                           launch.part() + 1, launch.parts());
      }
      ++count;
    }
    if (count == 0) return fmt::format("has no launch for {} rows of {}", rows, most_rows);
    if (count != parts) return fmt::format("has {} of {} launches for {} rows", count, parts, rows);
  }
  return "";
}

uint32_t ceilDiv(int64_t a, uint32_t b) { return static_cast<uint32_t>((a + b - 1) / b); }

}  // namespace

OperandPlaces<uint64_t> CudaSession::operandPlaces() const {
  const uint64_t base = session_memory_.address();
  OperandPlaces<uint64_t> places;
  places.arena = base + places_.arena;
  for (const uint64_t table : places_.rope) places.rope.push_back(base + table);
  for (const Places::State& state : places_.states)
    places.states.push_back({base + state.keys, base + state.values, state.key_layer_bytes,
                             state.value_layer_bytes, base + state.table});
  for (const InputLayout& layout : inputs_) {
    places.inputs.emplace_back();
    for (const uint64_t offset : layout.offsets)
      places.inputs.back().push_back(base + places_.inputs + offset);
  }
  return places;
}

std::vector<uint64_t> CudaSession::argumentHead() const {
  static_assert(sizeof(LlmcCudaArgs) == 2 * sizeof(uint64_t));
  std::vector<uint64_t> argument(2 + plan_.target().cuda_operands());
  argument[0] = session_memory_.address() + places_.step;
  argument[1] = session_memory_.address() + places_.scratch;
  return argument;
}

Status CudaSession::bindSchedules() {
  const auto corrupt = [&](const schema::Phase& phase, const std::string& what) {
    return invalidData(fmt::format("{}: is corrupt: its code for {}: {} {}", plan_.path(),
                                   plan_.targetName(), quotedName(phase.op()->string_view()),
                                   what));
  };
  const auto& launches = *plan_.target().cuda_launches();
  std::vector<std::vector<uint32_t>> of_kernel(plan_.schema().kernels()->size());
  for (uint32_t i = 0; i < launches.size(); ++i) of_kernel[launches[i]->kernel()].push_back(i);
  const OperandPlaces<uint64_t> places = operandPlaces();
  const auto weight_at = [&](uint32_t index, uint32_t layer) {
    return weights_.address() + weights_layout_.at(index, layer);
  };
  const uint32_t most_operands = plan_.target().cuda_operands();
  for (uint32_t e = 0; e < plan_.schema().entry_points()->size(); ++e) {
    const schema::EntryPoint& entry = *plan_.schema().entry_points()->Get(e);
    std::vector<BoundLaunch> bound;
    size_t flat = 0;
    for (uint32_t s = 0; entry.sections() && s < entry.sections()->size(); ++s) {
      const schema::Section& section = *entry.sections()->Get(s);
      for (uint32_t l = 0; section.phases() && l < section.num_layers(); ++l) {
        for (const schema::Phase* phase : *section.phases()) {
          std::vector<uint64_t> argument = argumentHead();
          const uint32_t count = phase->operands() ? phase->operands()->size() : 0;
          if (count > most_operands) {
            return corrupt(*phase,
                           fmt::format("has {} operands, kernels take {}", count, most_operands));
          }
          for (uint32_t i = 0; i < count; ++i)
            argument[2 + i] = llmrt::operandAddress(plan_.schema(), e, *phase->operands()->Get(i),
                                                    section.first_layer() + l, places, weight_at);
          for (const uint32_t i : of_kernel[phase->kernel()])
            bound.push_back({functions_[i], launches[i], argument, phase->axis(), flat});
          const int64_t most_rows =
              countOf(phase->axis(), {.num_rows = entry.max_rows(),
                                      .num_logits_rows = entry.max_logits_rows(),
                                      .num_sequences = options_.max_batch});
          const std::string problem =
              launchProblem(launches, of_kernel[phase->kernel()], static_cast<uint32_t>(most_rows));
          if (!problem.empty()) return corrupt(*phase, problem);
          ++flat;
        }
      }
    }
    schedules_.push_back(std::move(bound));
  }
  return {};
}

template <typename Body>
Status CudaSession::forLaunches(const Shape& shape, Body&& body) const {
  for (const BoundLaunch& bound : schedules_[shape.entry_point]) {
    const schema::CudaLaunch& l = *bound.launch;
    const int64_t rows = countOf(bound.axis, {.num_rows = shape.rows,
                                              .num_logits_rows = shape.logits_rows,
                                              .num_sequences = shape.sequences});
    if (rows < l.min_rows() || rows > l.max_rows()) continue;
    LLMRT_RETURN_IF_ERROR(
        body(KernelLaunch{bound.function,
                          l.symbol()->c_str(),
                          bound.argument.data(),
                          {l.blocks(), l.rows_per_block() ? ceilDiv(rows, l.rows_per_block()) : 1,
                           l.tokens_per_block() ? ceilDiv(shape.kv_len, l.tokens_per_block()) : 1},
                          l.threads(),
                          l.dynamic_shared_bytes(),
                          bound.phase}));
  }
  for (size_t i = 0; shape.phases != 0 && i < static_cast<size_t>(shape.logits_rows); ++i)
    LLMRT_RETURN_IF_ERROR(forSampleLaunches(i, shape.phases, body));
  return {};
}

template <typename Body>
Status CudaSession::forSampleLaunches(size_t choice, uint32_t phases, Body&& body) const {
  const auto blocks = static_cast<unsigned>(
      std::clamp<int64_t>(plan_.vocabSize() / kLogitsPerBlock, 1, LLMC_CUDA_SAMPLE_MOST_BLOCKS));
  for (int phase = 0; phase < kSamplePhases; ++phase) {
    if (!(phases >> phase & 1)) continue;
    const LlmcCudaSample argument = sampleArgument(choice, phase);
    LLMRT_RETURN_IF_ERROR(body(KernelLaunch{sample_,
                                            "llmc_sample",
                                            &argument,
                                            {blocks, 1, 1},
                                            LLMC_CUDA_SAMPLE_THREADS,
                                            0,
                                            Profile::kChoice}));
  }
  return {};
}

Result<CuEvent> CudaSession::timingEvent(size_t i) {
  while (timing_events_.size() <= i) {
    CuEvent event = nullptr;
    LLMRT_CUDA_CHECK(driver_, driver_.event_create(&event, 0), "cuEventCreate");
    timing_events_.emplace_back(event, driver_.event_destroy);
  }
  return timing_events_[i].get();
}

bool CudaSession::isProgrammatic() const {
  // From sm_90 on a kernel may begin while the one before it ends: its first weights are then on
  // their way when its operands are ready. Every kernel waits for the one before, so the order
  // stays that of the schedule. Code for earlier ones (PTX of compute_80) does not wait by itself,
  // whatever GPU it runs on.
  return targetCapability(plan_.targetName()) >= 90 && !options_.profile &&
         device_.launching().programmatic;
}

Status CudaSession::launch(const KernelLaunch& l) const {
  void* arguments[] = {const_cast<void*>(l.argument)};
  return driver_.check(driver_.launch(l.function, l.grid[0], l.grid[1], l.grid[2], l.threads, 1, 1,
                                      l.dynamic_shared_bytes, stream_.get(), arguments, nullptr),
                       std::string("launching ") + l.symbol);
}

Status CudaSession::launchChoices() const {
  for (size_t i = 0; i < choices_.size(); ++i)
    LLMRT_RETURN_IF_ERROR(forSampleLaunches(i, choices_[i].phases,
                                            [this](const KernelLaunch& l) { return launch(l); }));
  return {};
}

Status CudaSession::launchAll(const Shape& shape) {
  size_t events = 0;
  const bool programmatic = isProgrammatic() && driver_.launch_with;
  bool first = true;  // it waits for the step's upload
  const auto recordTime = [&]() -> Status {
    if (!options_.profile) return {};
    LLMRT_ASSIGN_OR_RETURN(const CuEvent event, timingEvent(events++));
    return driver_.check(driver_.event_record(event, stream_.get()), "cuEventRecord");
  };
  LLMRT_RETURN_IF_ERROR(forLaunches(shape, [&](const KernelLaunch& l) -> Status {
    LLMRT_RETURN_IF_ERROR(recordTime());
    if (!programmatic || std::exchange(first, false)) return launch(l);
    void* arguments[] = {const_cast<void*>(l.argument)};
    const CuLaunchConfig config{{l.grid[0], l.grid[1], l.grid[2]},
                                {l.threads, 1, 1},
                                l.dynamic_shared_bytes,
                                stream_.get(),
                                &kCuProgrammaticSerialization,
                                1};
    return driver_.check(driver_.launch_with(&config, l.function, arguments, nullptr),
                         std::string("launching ") + l.symbol);
  }));
  return recordTime();
}

Result<CuGraphExec> CudaSession::graphFor(const Shape& shape) {
  if (auto found = graphs_.find(shape); found != graphs_.end()) return found->second.get();
  CuGraph raw = nullptr;
  LLMRT_CUDA_CHECK(driver_, driver_.graph_create(&raw, 0), "cuGraphCreate");
  const Owned<CuGraph> graph(raw, driver_.graph_destroy);
  const bool programmatic = isProgrammatic();
  CuGraphNode previous = nullptr;
  const auto add = [&](void* params, const char* what) {
    CuGraphNode node = nullptr;
    const CuResult result = driver_.graph_add_node(
        &node, graph.get(), previous ? &previous : nullptr,
        previous && programmatic ? &kCuProgrammaticEdge : nullptr, previous ? 1 : 0, params);
    previous = node;
    return driver_.check(result, std::string("adding to a graph ") + what);
  };
  size_t events = 0;
  const auto recordTime = [&]() -> Status {
    if (!options_.profile) return {};
    CuEventNodeParams params;
    LLMRT_ASSIGN_OR_RETURN(params.event, timingEvent(events++));
    return add(&params, "an event");
  };
  LLMRT_RETURN_IF_ERROR(forLaunches(shape, [&](const KernelLaunch& l) -> Status {
    LLMRT_RETURN_IF_ERROR(recordTime());
    void* arguments[] = {const_cast<void*>(l.argument)};
    CuKernelNodeParams params;
    params.function = l.function;
    std::copy_n(l.grid, 3, params.grid);
    params.block[0] = l.threads;
    params.dynamic_shared_bytes = l.dynamic_shared_bytes;
    params.arguments = arguments;
    return add(&params, l.symbol);
  }));
  LLMRT_RETURN_IF_ERROR(recordTime());
  CuGraphExec exec = nullptr;
  LLMRT_CUDA_CHECK(driver_, driver_.graph_instantiate(&exec, graph.get(), 0), "cuGraphInstantiate");
  return (graphs_[shape] = Owned<CuGraphExec>(exec, driver_.graph_exec_destroy)).get();
}

Status CudaSession::takeTimes(const Shape& shape) {
  LLMRT_RETURN_IF_ERROR(wait());
  size_t i = 0;
  return forLaunches(shape, [&](const KernelLaunch& l) -> Status {
    float ms = 0;
    LLMRT_CUDA_CHECK(
        driver_,
        driver_.event_elapsed_ms(&ms, timing_events_[i].get(), timing_events_[i + 1].get()),
        "cuEventElapsedTime");
    ++i;
    options_.profile->addKernelTime(shape.entry_point, l.phase, l.symbol, ms * 1e-3);
    return {};
  });
}

CudaSession::Shape CudaSession::shapeOf(uint32_t entry_point, const Step& step,
                                        uint32_t phases) const {
  Shape shape{entry_point,
              step.counts.num_rows,
              step.counts.num_logits_rows,
              step.counts.num_sequences,
              kLeastKvLen,
              phases};
  while (shape.kv_len < step.kv_len) shape.kv_len *= 2;
  // A plan's grids are verified up to its longest context.
  shape.kv_len = std::min(shape.kv_len, std::max(options_.max_seq_len, kLeastKvLen));
  return shape;
}

Status CudaSession::start(const Shape& shape) {
  const schema::StepKind kind = plan_.schema().entry_points()->Get(shape.entry_point)->kind();
  if (!isGraph(kind) || !driver_.graph_add_node) {
    LLMRT_RETURN_IF_ERROR(launchAll(shape));
  } else {
    LLMRT_ASSIGN_OR_RETURN(CuGraphExec graph, graphFor(shape));
    LLMRT_CUDA_CHECK(driver_, driver_.graph_launch(graph, stream_.get()),
                     "a step on " + device_.name());
  }
  return options_.profile ? takeTimes(shape) : Status();
}

Status CudaSession::runPhase(uint32_t entry_point, const Step& step, size_t phase) {
  LLMRT_RETURN_IF_ERROR(device_.use());
  LLMRT_RETURN_IF_ERROR(uploadStep(entry_point, step));
  LLMRT_RETURN_IF_ERROR(forLaunches(shapeOf(entry_point, step, 0), [&](const KernelLaunch& l) {
    return l.phase == phase ? launch(l) : Status();
  }));
  return wait();
}

CuDevicePtr CudaSession::operandAddress(uint32_t entry_point, size_t phase,
                                        uint32_t operand) const {
  for (const BoundLaunch& bound : schedules_[entry_point])
    if (bound.phase == phase) return bound.argument[2 + operand];
  return 0;  // every phase has launches: bindSchedules() has seen them
}

}  // namespace llmrt::cuda
