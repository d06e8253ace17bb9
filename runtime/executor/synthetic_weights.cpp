// Weights::synthesize: a model's worth of random numbers, straight into the packed layout.
#include <fmt/format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <vector>

#include "runtime/executor/thread_team.h"
#include "runtime/executor/weights.h"
#include "runtime/io/float_convert.h"
#include "runtime/io/tensor_name.h"
#include "runtime/io/weight_format.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/schema/same_case.h"
#include "runtime/schema/stored_weights.h"
#include "runtime/schema/weight_view.h"

namespace llmrt {
namespace {

enum Kind { kMatrix = 0, kNorm = 1, kBias = 2 };

// The values of one tensor. SplitMix64's output function over key + index: statistically clean, a
// handful of cycles, and any element at any time, which a sequential generator could not give to
// threads and layouts alike.
struct Stream {
  uint64_t key;
  float center, scale;

  Stream(uint64_t seed, const std::string& name, uint64_t cols, int kind)
      : key(XXH3_64bits_withSeed(name.data(), name.size(), seed)) {
    center = kind == kNorm ? 1.0f : 0.0f;
    // Uniform in [-a, a) has variance a^2 / 3; 1/K keeps the size of activations from layer to
    // layer.
    const double a = kind == kNorm   ? 0.1
                     : kind == kBias ? 0.01
                                     : std::sqrt(3.0 / static_cast<double>(cols));
    scale = static_cast<float>(a * 0x1p-31);
  }

  float operator()(uint64_t index) const {
    uint64_t z = key + index * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return center + static_cast<float>(static_cast<int32_t>(z >> 32)) * scale;
  }
};

// The rows of one source. An element is numbered by where it lies in the tensor of the checkpoint,
// so that a model is one whatever its matrices are cut into.
struct Source {
  Stream stream;
  std::optional<WeightView> view;
  int64_t expert = 0;

  Source(Stream s, const schema::WeightSource& source, int64_t e) : stream(s), expert(e) {
    if (source.view()) view = viewOf(*source.view());
  }
  uint64_t first(int64_t row, int64_t cols) const {
    return static_cast<uint64_t>(view ? view->element(expert, row) : row * cols);
  }
  uint64_t step() const { return view ? static_cast<uint64_t>(view->col) : 1; }
};

template <DType T>
void store(uint8_t* out, int64_t index, float value) {
  storeFromF32(T, out, index, value);
}

// One layer (and expert) of one weight, and where its rows lie.
struct Job {
  const schema::Weight* weight;
  const WeightFormat* format;
  uint8_t* out[WeightFormat::kMaxPlanes];   // of each plane
  std::vector<Source> sources;              // one per source of the weight
  const std::vector<PanelRow>* panel_rows;  // layout panels
  int64_t units;                            // panels, or rows: what is divided among threads
};

/// The source that row `row` of all sources lies in, and its number there.
PanelRow sourceRow(const Job& job, int64_t row) {
  int32_t source = 0;
  const auto rowsOf = [&](int32_t s) {
    return static_cast<int64_t>(job.weight->sources()->Get(static_cast<uint32_t>(s))->rows());
  };
  while (row >= rowsOf(source)) row -= rowsOf(source++);
  return {source, row};
}

template <DType T>
void fillPanel(const Job& job, int64_t panel) {
  const auto cols = static_cast<int64_t>(job.weight->cols());
  uint8_t* out = job.out[0] + panel * panelElements(T, cols) * dtypeBytes(T);
  for (int64_t lane = 0; lane < kPanelLanes; ++lane) {
    const PanelRow row = (*job.panel_rows)[static_cast<size_t>(panel * kPanelLanes + lane)];
    if (row.source < 0) continue;  // padding stays zero
    const Source& source = job.sources[static_cast<size_t>(row.source)];
    const Stream stream = source.stream;
    const uint64_t first = source.first(row.row, cols), step = source.step();
    for (int64_t k = 0; k < cols; ++k) {
      store<T>(out, panelOffset(T, lane, k), stream(first + static_cast<uint64_t>(k) * step));
    }
  }
}

template <DType T>
void fillRow(const Job& job, int64_t row) {
  const auto cols = static_cast<int64_t>(job.weight->cols());
  const PanelRow from = sourceRow(job, row);
  const Source& source = job.sources[static_cast<size_t>(from.source)];
  const Stream stream = source.stream;
  const uint64_t first = source.first(from.row, cols), step = source.step();
  for (int64_t k = 0; k < cols; ++k) {
    store<T>(job.out[0], row * cols + k, stream(first + static_cast<uint64_t>(k) * step));
  }
}

// One output of a format of blocks: lane `lane` of panel `unit`, or row `unit`.
void fillBlocks(const Job& job, int64_t unit, int64_t lane, PanelRow from) {
  const WeightFormat& format = *job.format;
  const auto cols = static_cast<int64_t>(job.weight->cols());
  const bool in_panels = job.panel_rows != nullptr;
  const Source& source = job.sources[static_cast<size_t>(from.source)];
  const Stream stream = source.stream;
  const uint64_t first = source.first(from.row, cols), step = source.step();
  float values[WeightFormat::kMaxBlock];
  StoredBlock stored;
  for (int64_t block = 0; block < format.blocks(cols); ++block) {
    for (int64_t i = 0; i < format.block; ++i) {
      const int64_t k = block * format.block + i;
      values[i] = k < cols ? stream(first + static_cast<uint64_t>(k) * step) : 0;
    }
    encodeBlock(format, values, stored.planes);
    for (int p = 0; p < format.num_planes; ++p) {
      const int64_t count = format.planes[p].per_block, bytes = dtypeBytes(format.planes[p].dtype);
      uint8_t* const out = job.out[p] + unit * format.unitBytes(p, in_panels, cols);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t element = block * count + i;
        std::memcpy(out + (in_panels ? format.panelOffset(p, lane, element) : element) * bytes,
                    stored.planes[p] + i * bytes, static_cast<size_t>(bytes));
      }
    }
  }
}

void fillBlocks(const Job& job, int64_t begin, int64_t end) {
  for (int64_t unit = begin; unit < end; ++unit) {
    if (!job.panel_rows) {
      fillBlocks(job, unit, 0, sourceRow(job, unit));
      continue;
    }
    for (int64_t lane = 0; lane < kPanelLanes; ++lane) {
      const PanelRow row = (*job.panel_rows)[static_cast<size_t>(unit * kPanelLanes + lane)];
      if (row.source >= 0) fillBlocks(job, unit, lane, row);  // padding stays zero
    }
  }
}

template <DType T>
void fill(const Job& job, int64_t begin, int64_t end) {
  for (int64_t unit = begin; unit < end; ++unit) {
    job.panel_rows ? fillPanel<T>(job, unit) : fillRow<T>(job, unit);
  }
}

struct Work {
  const std::vector<Job>* jobs;
  int threads;
};

void fillShare(void* context, int worker) {
  const Work& work = *static_cast<const Work*>(context);
  for (const Job& job : *work.jobs) {
    const int64_t begin = job.units * worker / work.threads;
    const int64_t end = job.units * (worker + 1) / work.threads;
    if (!job.format->isPlain()) {
      fillBlocks(job, begin, end);
      continue;
    }
    switch (job.format->planes[0].dtype) {
      case DType::kF32:
        fill<DType::kF32>(job, begin, end);
        break;
      case DType::kF16:
        fill<DType::kF16>(job, begin, end);
        break;
      case DType::kBF16:
        fill<DType::kBF16>(job, begin, end);
        break;
      default:
        break;  // verified: weights are of no other
    }
  }
}

}  // namespace

float synthetic::value(uint64_t seed, const std::string& tensor_name, uint64_t index, uint64_t cols,
                       int kind) {
  return Stream(seed, tensor_name, cols, kind)(index);
}

Result<std::unique_ptr<Weights>> Weights::synthesize(const Plan& plan, uint64_t seed,
                                                     ThreadTeam& team) {
  std::unique_ptr<Weights> result(new Weights(plan));
  const uint64_t bytes = plan.schema().weights_bytes();
  LLMRT_RETURN_IF_ERROR(checkMemoryAvailable(bytes, "synthetic weights"));
  LLMRT_ASSIGN_OR_RETURN(result->memory_, AnonymousMemory::allocate(bytes, "synthetic weights"));
  result->base_ = result->memory_.data();
  result->identity_ = ~seed;  // no hash of numbers

  const auto* weights = plan.schema().weights();
  const uint32_t count = weights ? weights->size() : 0;
  std::vector<std::vector<PanelRow>> panel_rows(count);
  std::vector<Job> jobs;
  for (uint32_t i = 0; i < count; ++i) {
    const schema::Weight& w = *weights->Get(i);
    std::vector<int64_t> rows;
    int64_t total_rows = 0;
    for (const schema::WeightSource* s : *w.sources()) {
      rows.push_back(static_cast<int64_t>(s->rows()));
      total_rows += rows.back();
    }
    const bool panels = w.layout() == schema::Layout::panels;
    if (panels) panel_rows[i] = panelRows(rows, sameCase<PanelOrder>(w.order()), w.head_rows());
    const uint32_t layers = w.num_layers() == 0 ? 1 : w.num_layers();
    for (uint32_t l = 0; l < layers; ++l) {
      const uint32_t layer = w.first_layer() + l;
      const uint32_t experts = std::max(1u, w.num_experts());
      for (uint32_t e = 0; e < experts; ++e) {
        Job job{&w,
                formatOf(w),
                {},
                {},
                panels ? &panel_rows[i] : nullptr,
                panels ? static_cast<int64_t>(w.panels()) : total_rows};
        for (int p = 0; p < job.format->num_planes; ++p) {
          const auto plane = static_cast<uint32_t>(p);
          const uint64_t plane_bytes = w.planes() ? w.planes()->Get(plane)->bytes() : w.bytes();
          job.out[p] =
              const_cast<uint8_t*>(result->data(i, layer, plane)) + e * (plane_bytes / experts);
        }
        for (const schema::WeightSource* s : *w.sources()) {
          const std::string name = tensorName(s->name()->string_view(), layer, e);
          const bool own_tensor = namesExpert(s->name()->string_view());
          // A vector's one column is not what it is summed over.
          job.sources.emplace_back(Stream(seed, name, s->cols(), s->kind()), *s,
                                   own_tensor ? 0 : e);
        }
        jobs.push_back(std::move(job));
      }
    }
  }
  Work work{&jobs, team.size()};
  team.run(fillShare, &work);
  return result;
}

}  // namespace llmrt
