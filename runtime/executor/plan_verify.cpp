#include "runtime/executor/plan_verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "runtime/abi/cuda_abi.h"
#include "runtime/abi/kernel_abi.h"
#include "runtime/io/printable.h"
#include "runtime/io/tensor_name.h"
#include "runtime/io/weight_format.h"
#include "runtime/schema/checking.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/schema/plan_hash.h"
#include "runtime/schema/same_case.h"
#include "runtime/schema/schedule_check.h"
#include "runtime/schema/stored_weights.h"
#include "runtime/schema/version.h"
#include "runtime/schema/weight_view.h"

namespace llmrt {
namespace {

// Far above any model and low enough that no product of two of them times an element overflows 64
// bits.
constexpr uint64_t kMaxBytes = uint64_t{1} << 50;
constexpr uint64_t kMaxRows = uint64_t{1} << 20;
constexpr uint64_t kMaxDimension = uint64_t{1} << 31;
constexpr uint64_t kMaxTiles = uint64_t{1} << 40;  // of a step; times kMaxThreads it is 2^50
constexpr uint32_t kMaxLayers = 1 << 16;
constexpr uint32_t kMaxSeqLen = 1 << 28;
constexpr uint32_t kMaxBatch = 1 << 16;
constexpr uint64_t kAlignment = 64;
// These bound the schedule check, whose time is phases times operands times buffers.
constexpr uint64_t kMaxPhases = uint64_t{1} << 20;  // of a step, layers counted
constexpr uint32_t kMaxBuffers = 4096;
constexpr uint32_t kMaxOperands = 64;
constexpr uint32_t kMaxInputs = 64;  // and outputs, of an entry point
constexpr uint64_t kMaxInputWidth = uint64_t{1} << 24;
constexpr uint32_t kMaxStates = 1024;
constexpr uint64_t kMaxSlotElements = uint64_t{1} << 40;
constexpr uint32_t kMaxNameBytes = 256;
constexpr uint32_t kMaxLaunches = 96;  // of a kernel on a GPU: six products of up to 16
// A target's launches are counted per kernel: many targets may be one and the same bytes.
constexpr uint32_t kMaxTargets = 64;
constexpr uint64_t kMaxTensors = uint64_t{1} << 22;  // of weights, each layer's counted

// a * b as long as it stays within kMaxBytes.
bool multiply(uint64_t a, uint64_t b, uint64_t* product) {
  return !__builtin_mul_overflow(a, b, product) && *product <= kMaxBytes;
}

class Verifier {
 public:
  explicit Verifier(const schema::Plan& plan) : plan_(plan) {}

  Status verify() const {
    LLMRT_RETURN_IF_ERROR(verifyModel());
    LLMRT_RETURN_IF_ERROR(verifyKernels());
    LLMRT_RETURN_IF_ERROR(verifyStates());
    LLMRT_RETURN_IF_ERROR(verifyRopeTables());
    LLMRT_RETURN_IF_ERROR(verifyWeights());
    LLMRT_RETURN_IF_ERROR(verifyEntryPoints());
    LLMRT_RETURN_IF_ERROR(checkSchedules(plan_));
    LLMRT_RETURN_IF_ERROR(verifyContracts());
    return verifyGeneration();
  }

 private:
  Status verifyModel() const {
    const schema::Model* m = plan_.model();
    LLMRT_CHECK(m, "model is missing");
    LLMRT_CHECK(m->vocab_size() > 0 && m->vocab_size() < kMaxDimension,
                "model.vocab_size {} is out of range", m->vocab_size());
    LLMRT_CHECK(m->num_layers() <= kMaxLayers, "model.num_layers {} is out of range",
                m->num_layers());
    LLMRT_CHECK(m->max_seq_len() > 0 && m->max_seq_len() <= kMaxSeqLen,
                "model.max_seq_len {} is out of range", m->max_seq_len());
    LLMRT_CHECK(m->max_batch() > 0 && m->max_batch() <= kMaxBatch,
                "model.max_batch {} is out of range", m->max_batch());
    return {};
  }

  Status verifyKernels() const {
    for (uint32_t i = 0; i < sizeOf(plan_.kernels()); ++i) {
      LLMRT_CHECK(sizeOf(plan_.kernels()->Get(i)->symbol()) > 0, "kernels[{}] has no symbol", i);
    }
    LLMRT_CHECK(sizeOf(plan_.targets()) > 0, "targets is empty: the plan holds no code");
    LLMRT_CHECK(sizeOf(plan_.targets()) <= kMaxTargets, "it has {} targets, at most {} are read",
                sizeOf(plan_.targets()), kMaxTargets);
    for (uint32_t i = 0; i < sizeOf(plan_.targets()); ++i) {
      const schema::Target* t = plan_.targets()->Get(i);
      LLMRT_CHECK(sizeOf(t->name()) > 0, "targets[{}] has no name", i);
      LLMRT_CHECK(t->scratch_bytes() <= kMaxBytes >> 16, "targets[{}].scratch_bytes is {}", i,
                  t->scratch_bytes());
      LLMRT_CHECK(t->cuda_operands() <= kMaxOperands, "targets[{}].cuda_operands is {}", i,
                  t->cuda_operands());
      std::vector<uint32_t> launches(sizeOf(plan_.kernels()));
      for (uint32_t j = 0; j < sizeOf(t->cuda_launches()); ++j) {
        const schema::CudaLaunch& launch = *t->cuda_launches()->Get(j);
        if (Status s = verifyLaunch(launch); !s.ok())
          return std::move(s).withContext(fmt::format("targets[{}].cuda_launches[{}]", i, j));
        LLMRT_CHECK(++launches[launch.kernel()] <= kMaxLaunches,
                    "targets[{}].cuda_launches[{}]: kernel {} has more than {} launches", i, j,
                    launch.kernel(), kMaxLaunches);
      }
      LLMRT_CHECK(!t->cuda_launches() || t->scratch_bytes() >= LLMC_CUDA_COUNTER_BYTES,
                  "targets[{}].scratch_bytes is {}: it begins with {} of counters", i,
                  t->scratch_bytes(), LLMC_CUDA_COUNTER_BYTES);
    }
    return {};
  }

  // A grid has at most 2^31 - 1, 65535 and 65535 blocks, a block 1024 threads.
  Status verifyLaunch(const schema::CudaLaunch& l) const {
    LLMRT_CHECK(l.kernel() < sizeOf(plan_.kernels()), "kernel {} of {}", l.kernel(),
                sizeOf(plan_.kernels()));
    LLMRT_CHECK(isName(l.symbol()), "symbol is no name of printable characters");
    // Those take other arguments, and are called by the runtime alone.
    LLMRT_CHECK(!l.symbol()->string_view().starts_with("llmc_"), "symbol {} is not an op's",
                l.symbol()->string_view());
    LLMRT_CHECK(l.min_rows() > 0 && l.min_rows() <= l.max_rows() && l.max_rows() <= kMaxRows,
                "rows {} to {}", l.min_rows(), l.max_rows());
    LLMRT_CHECK(l.part() < l.parts() && l.parts() <= kMaxLaunches, "part {} of {}", l.part(),
                l.parts());
    LLMRT_CHECK(l.threads() > 0 && l.threads() <= 1024, "threads is {}", l.threads());
    LLMRT_CHECK(l.blocks() > 0 && l.blocks() < kMaxDimension, "blocks is {}", l.blocks());
    LLMRT_CHECK(l.rows_per_block() == 0 || (l.max_rows() - 1) / l.rows_per_block() < 65535,
                "rows_per_block is {} of {} rows", l.rows_per_block(), l.max_rows());
    LLMRT_CHECK(l.tokens_per_block() == 0 ||
                    (plan_.model()->max_seq_len() - 1) / l.tokens_per_block() < 65535,
                "tokens_per_block is {}", l.tokens_per_block());
    LLMRT_CHECK(l.dynamic_shared_bytes() < 1 << 20, "dynamic_shared_bytes is {}",
                l.dynamic_shared_bytes());
    LLMRT_CHECK(l.shared_bytes() < 1 << 20, "shared_bytes is {}", l.shared_bytes());
    return {};
  }

  Status verifyStates() const {
    LLMRT_CHECK(sizeOf(plan_.states()) <= kMaxStates, "it has {} states", sizeOf(plan_.states()));
    for (uint32_t i = 0; i < sizeOf(plan_.states()); ++i) {
      const schema::State& state = *plan_.states()->Get(i);
      LLMRT_CHECK(isName(state.name()), "states[{}] has no name of printable characters", i);
      if (Status s = verifyState(state); !s.ok())
        return std::move(s).withContext(fmt::format("states[{}]", i));
    }
    return {};
  }

  Status verifyState(const schema::State& s) const {
    LLMRT_CHECK(s.kind() >= schema::StateKind::MIN && s.kind() <= schema::StateKind::MAX,
                "kind is unknown");
    LLMRT_CHECK(plainFormat(sameCase<DType>(s.dtype())), "dtype is unknown");
    LLMRT_CHECK(sizeOf(s.layers()) > 0, "layers is empty");
    for (uint32_t i = 0; i < s.layers()->size(); ++i) {
      const uint32_t layer = s.layers()->Get(i);
      LLMRT_CHECK(layer < plan_.model()->num_layers(), "layer {} of a model of {}", layer,
                  plan_.model()->num_layers());
      LLMRT_CHECK(i == 0 || s.layers()->Get(i - 1) < layer, "layer {} comes after layer {}", layer,
                  s.layers()->Get(i - 1));
    }
    if (s.kind() != schema::StateKind::kv) {
      LLMRT_CHECK(s.elements() > 0 && s.elements() <= kMaxSlotElements, "elements is {}",
                  s.elements());
      if (s.kind() == schema::StateKind::recurrent) return {};
      LLMRT_CHECK(s.dtype() == schema::DType::f32, "kept rows are {}",
                  schema::EnumNameDType(s.dtype()));
      LLMRT_CHECK(s.rows() > 0 && s.rows() <= kMaxRows, "rows is {}", s.rows());
      return {};
    }
    LLMRT_CHECK(s.num_kv_heads() > 0 && s.num_kv_heads() <= kMaxRows && s.head_dim() > 0 &&
                    s.head_dim() <= kMaxRows,
                "{} kv heads of {}", s.num_kv_heads(), s.head_dim());
    LLMRT_CHECK(s.head_dim_padded() >= s.head_dim() && s.head_dim_padded() <= 2 * kMaxRows &&
                    s.head_dim_padded() % kPanelLanes == 0,
                "head_dim_padded {} for head_dim {}", s.head_dim_padded(), s.head_dim());
    LLMRT_CHECK(
        s.value_dim_padded() % kPanelLanes == 0 && s.value_dim_padded() <= s.head_dim_padded(),
        "value_dim_padded {} for head_dim {}", s.value_dim_padded(), s.head_dim());
    return {};
  }

  Status verifyRopeTables() const {
    for (uint32_t i = 0; i < sizeOf(plan_.rope_tables()); ++i) {
      const uint32_t n = sizeOf(plan_.rope_tables()->Get(i)->inv_freq());
      LLMRT_CHECK(n > 0 && n <= kMaxRows, "rope_tables[{}].inv_freq has {} values", i, n);
      const uint32_t longer = sizeOf(plan_.rope_tables()->Get(i)->long_inv_freq());
      LLMRT_CHECK(longer == 0 || longer == n,
                  "rope_tables[{}].long_inv_freq has {} values, inv_freq {}", i, longer, n);
    }
    return {};
  }

  Status verifyWeights() const {
    LLMRT_CHECK(
        plan_.weights_bytes() >= sizeof(WeightsHeader) && plan_.weights_bytes() <= kMaxBytes,
        "weights_bytes is {}", plan_.weights_bytes());
    for (uint32_t i = 0; i < sizeOf(plan_.weights()); ++i) {
      const schema::Weight& w = *plan_.weights()->Get(i);
      LLMRT_CHECK(sizeOf(w.name()) > 0, "weights[{}] has no name", i);
      if (Status s = verifyWeight(w); !s.ok()) {
        return std::move(s).withContext(fmt::format("weights[{}]", i));
      }
    }
    return verifyWeightsApart();
  }

  // A tensor that lay partly in another would be read as numbers that are not its own.
  Status verifyWeightsApart() const {
    struct Extent {
      uint64_t begin, end;
      uint32_t weight;
    };
    std::vector<Extent> extents;
    for (uint32_t i = 0; i < sizeOf(plan_.weights()); ++i) {
      const schema::Weight& w = *plan_.weights()->Get(i);
      LLMRT_CHECK(extents.size() + w.num_layers() < kMaxTensors,
                  "weights hold more than {} tensors", kMaxTensors);
      for (uint32_t l = 0; l < std::max(1u, w.num_layers()); ++l) {
        const uint64_t begin = w.offset_bytes() + l * w.layer_stride_bytes();
        extents.push_back({begin, begin + w.bytes(), i});
      }
    }
    std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
      return std::tie(a.begin, a.weight) < std::tie(b.begin, b.weight);
    });
    for (size_t i = 1; i < extents.size(); ++i) {
      LLMRT_CHECK(extents[i].begin >= extents[i - 1].end, "weights[{}] and weights[{}] overlap",
                  extents[i - 1].weight, extents[i].weight);
    }
    return {};
  }

  Status verifyWeight(const schema::Weight& w) const {
    const WeightFormat* const format = formatOf(w);
    LLMRT_CHECK(format || w.format(), "dtype is unknown");
    LLMRT_CHECK(format, "format {} is unknown, or not of its dtype: there are {}",
                quotedName(w.format()->string_view()), weightFormatNames());
    LLMRT_CHECK(w.num_layers() == 0 || layersInModel(w.first_layer(), w.num_layers()),
                "layers {} + {} of a model of {}", w.first_layer(), w.num_layers(),
                plan_.model()->num_layers());
    LLMRT_CHECK(sizeOf(w.sources()) > 0, "sources is empty");
    LLMRT_CHECK(w.cols() > 0 && w.cols() < kMaxDimension, "cols is {}", w.cols());
    std::vector<int64_t> rows;
    uint64_t total_rows = 0;
    for (const schema::WeightSource* s : *w.sources()) {
      LLMRT_CHECK(sizeOf(s->name()) > 0, "a source has no name");
      LLMRT_CHECK(s->kind() <= 2, "a source has kind {}", s->kind());
      LLMRT_CHECK(s->rows() > 0 && s->rows() < kMaxDimension, "a source has {} rows", s->rows());
      LLMRT_CHECK(s->cols() == w.cols(), "a source has {} columns, not {}", s->cols(), w.cols());
      // Experts of one name each have a tensor each.
      const bool own_tensors = namesExpert(s->name()->c_str());
      const int64_t experts = own_tensors ? 1 : std::max(1u, w.num_experts());
      LLMRT_CHECK(!s->view() || viewOf(*s->view())
                                    .isInside(static_cast<int64_t>(s->rows()),
                                              static_cast<int64_t>(s->cols()), experts),
                  "a source has a view that leaves its tensor");
      rows.push_back(static_cast<int64_t>(s->rows()));
      total_rows += s->rows();
      LLMRT_CHECK(total_rows < kMaxDimension, "sources have {} rows", total_rows);
    }

    const bool in_panels = w.layout() != schema::Layout::rows;
    uint64_t units = total_rows;
    if (!in_panels) {
      LLMRT_CHECK(w.order() == schema::PanelOrder::concat, "layout rows has order concat");
    } else {
      LLMRT_CHECK(w.layout() == schema::Layout::panels, "layout is unknown");
      LLMRT_CHECK(w.order() >= schema::PanelOrder::MIN && w.order() <= schema::PanelOrder::MAX,
                  "order is unknown");
      LLMRT_CHECK(
          w.order() != schema::PanelOrder::interleave || (rows.size() == 2 && rows[0] == rows[1]),
          "order interleave needs two sources of as many rows");
      LLMRT_CHECK(
          w.order() != schema::PanelOrder::heads ||
              (w.head_rows() > 0 && std::all_of(rows.begin(), rows.end(),
                                                [&](int64_t n) { return n % w.head_rows() == 0; })),
          "order heads needs sources of whole heads of {} rows", w.head_rows());
      const auto panels =
          static_cast<uint64_t>(panelCount(rows, sameCase<PanelOrder>(w.order()), w.head_rows()));
      LLMRT_CHECK(w.panels() == panels, "panels is {}, its sources make {}", w.panels(), panels);
      units = panels;
    }
    LLMRT_CHECK(w.num_experts() <= kMaxRows, "it has {} experts", w.num_experts());
    LLMRT_RETURN_IF_ERROR(verifyPlanes(w, *format, in_panels, units));
    LLMRT_CHECK(w.offset_bytes() >= sizeof(WeightsHeader) && w.offset_bytes() % kAlignment == 0,
                "offset_bytes is {}", w.offset_bytes());
    uint64_t end = w.bytes();
    if (w.num_layers() > 1) {
      uint64_t before_last = 0;
      LLMRT_CHECK(w.layer_stride_bytes() >= w.bytes() && w.layer_stride_bytes() % kAlignment == 0 &&
                      multiply(w.layer_stride_bytes(), w.num_layers() - 1, &before_last),
                  "layer_stride_bytes is {} for {} bytes", w.layer_stride_bytes(), w.bytes());
      end += before_last;
    }
    LLMRT_CHECK(w.offset_bytes() <= plan_.weights_bytes() &&
                    end <= plan_.weights_bytes() - w.offset_bytes(),
                "it ends after the weights file's {} bytes", plan_.weights_bytes());
    return {};
  }

  // Its bytes are what its format makes of its shape.
  static Status verifyPlanes(const schema::Weight& w, const WeightFormat& format, bool in_panels,
                             uint64_t units) {
    PlaneExtent planes[WeightFormat::kMaxPlanes];
    LLMRT_CHECK(layOutPlanes(format, in_panels, units, static_cast<int64_t>(w.cols()),
                             std::max(1u, w.num_experts()), planes),
                "it is too large");
    const PlaneExtent& last = planes[format.num_planes - 1];
    // The writer may round a tensor up to the alignment of the next.
    const uint64_t bytes = last.offset_bytes + last.bytes;
    LLMRT_CHECK(w.bytes() >= bytes && w.bytes() < bytes + kAlignment,
                "bytes is {}, its shape needs {}", w.bytes(), bytes);
    const auto count = static_cast<uint32_t>(format.num_planes);
    LLMRT_CHECK(sizeOf(w.planes()) == count || (count == 1 && !w.planes()),
                "it has {} planes, its format {}", sizeOf(w.planes()), count);
    for (uint32_t p = 0; p < sizeOf(w.planes()); ++p) {
      const schema::Plane& plane = *w.planes()->Get(p);
      LLMRT_CHECK(plane.name() && plane.name()->string_view() == format.planes[p].name,
                  "planes[{}] is not the {} of its format", p, format.planes[p].name);
      LLMRT_CHECK(
          plane.offset_bytes() == planes[p].offset_bytes && plane.bytes() == planes[p].bytes,
          "planes[{}] is {} bytes at {}, its shape makes {} at {}", p, plane.bytes(),
          plane.offset_bytes(), planes[p].bytes, planes[p].offset_bytes);
    }
    return {};
  }

  Status verifyEntryPoints() const {
    LLMRT_CHECK(sizeOf(plan_.entry_points()) > 0, "entry_points is empty");
    for (uint32_t i = 0; i < sizeOf(plan_.entry_points()); ++i) {
      if (Status s = verifyEntryPoint(*plan_.entry_points()->Get(i)); !s.ok()) {
        return std::move(s).withContext(fmt::format("entry_points[{}]", i));
      }
    }
    return {};
  }

  // What checkSchedules(), which comes after, leaves to its caller: that sizes and counts are such
  // that its walk and the runtime's sums end in time and in 64 bits, and that names fit its
  // messages.
  Status verifyEntryPoint(const schema::EntryPoint& e) const {
    LLMRT_CHECK(isName(e.name()), "it has no name of printable characters");
    LLMRT_CHECK(e.max_rows() > 0 && e.max_rows() <= kMaxRows, "max_rows is {}", e.max_rows());
    // How many there are of logits, of each kind of step, is checkSchedules() to say.
    LLMRT_CHECK(e.max_logits_rows() <= e.max_rows(), "max_logits_rows is {} of {} rows",
                e.max_logits_rows(), e.max_rows());
    LLMRT_CHECK(e.arena_bytes() <= kMaxBytes, "arena_bytes is {}", e.arena_bytes());
    LLMRT_CHECK(sizeOf(e.buffers()) <= kMaxBuffers, "it has {} buffers", sizeOf(e.buffers()));
    for (uint32_t i = 0; i < sizeOf(e.buffers()); ++i) {
      const schema::Buffer& b = *e.buffers()->Get(i);
      LLMRT_CHECK(isName(b.name()), "buffers[{}] has no name of printable characters", i);
      LLMRT_CHECK(b.row_stride() % kPanelLanes == 0, "buffers[{}]: a row stride of {}", i,
                  b.row_stride());
    }
    LLMRT_CHECK(sizeOf(e.inputs()) <= kMaxInputs && sizeOf(e.outputs()) <= kMaxInputs,
                "it has {} inputs and {} outputs", sizeOf(e.inputs()), sizeOf(e.outputs()));
    for (uint32_t i = 0; i < sizeOf(e.inputs()); ++i) {
      LLMRT_CHECK(isName(e.inputs()->Get(i)->name()),
                  "inputs[{}] has no name of printable characters", i);
      LLMRT_CHECK(e.inputs()->Get(i)->width() <= kMaxInputWidth, "inputs[{}].width is {}", i,
                  e.inputs()->Get(i)->width());
    }
    for (uint32_t i = 0; i < sizeOf(e.outputs()); ++i)
      LLMRT_CHECK(isName(e.outputs()->Get(i)->name()),
                  "outputs[{}] has no name of printable characters", i);
    uint64_t phases = 0;
    for (uint32_t i = 0; i < sizeOf(e.sections()); ++i) {
      const schema::Section& section = *e.sections()->Get(i);
      phases += uint64_t{section.num_layers()} * sizeOf(section.phases());
      LLMRT_CHECK(phases <= kMaxPhases, "it has more than {} phases", kMaxPhases);
      for (uint32_t j = 0; j < sizeOf(section.phases()); ++j) {
        if (Status s = verifyPhase(e, *section.phases()->Get(j)); !s.ok()) {
          return std::move(s).withContext(fmt::format("sections[{}].phases[{}]", i, j));
        }
      }
    }
    return {};
  }

  Status verifyPhase(const schema::EntryPoint& e, const schema::Phase& p) const {
    LLMRT_CHECK(isName(p.op()), "op is no name of printable characters");
    if (p.kind() == schema::PhaseKind::collective) {
      return unsupported(
          fmt::format("{} is a collective over several devices: this runtime runs on one",
                      p.op()->string_view()));
    }
    LLMRT_CHECK(p.kind() == schema::PhaseKind::kernel, "its kind is unknown");
    const uint64_t rows = p.axis() == schema::Axis::logits_row ? e.max_logits_rows()
                          : p.axis() == schema::Axis::sequence ? plan_.model()->max_batch()
                                                               : e.max_rows();
    const uint64_t row_blocks =
        p.rows_per_tile() == 0 ? 1 : (rows + p.rows_per_tile() - 1) / p.rows_per_tile();
    LLMRT_CHECK(p.tiles() > 0 && p.tiles() <= kMaxTiles / row_blocks, "tiles is {}", p.tiles());
    LLMRT_CHECK(p.experts_per_row() <= kMaxRows, "experts_per_row is {}", p.experts_per_row());
    LLMRT_CHECK(sizeOf(p.operands()) <= kMaxOperands, "it has {} operands", sizeOf(p.operands()));
    for (uint32_t i = 0; i < sizeOf(p.operands()); ++i) {
      const schema::Operand& operand = *p.operands()->Get(i);
      // The schedule check finds weights that are not there.
      if (operand.space() != schema::Space::weights || operand.index() >= sizeOf(plan_.weights()))
        continue;
      const uint32_t planes = sizeOf(plan_.weights()->Get(operand.index())->planes());
      LLMRT_CHECK(operand.plane() < std::max(1u, planes), "operands[{}]: plane {} of {}", i,
                  operand.plane(), std::max(1u, planes));
    }
    return {};
  }

  // A kernel's code has the shapes of its operands built in.
  Status verifyContracts() const {
    const PhaseContracts contracts(plan_);
    for (uint32_t e = 0; e < sizeOf(plan_.entry_points()); ++e) {
      const schema::EntryPoint& entry = *plan_.entry_points()->Get(e);
      for (uint32_t i = 0; i < sizeOf(entry.sections()); ++i) {
        const auto* phases = entry.sections()->Get(i)->phases();
        for (uint32_t j = 0; j < sizeOf(phases); ++j) {
          const schema::Phase& phase = *phases->Get(j);
          LLMRT_CHECK(
              contracts.of(entry, phase) == plan_.kernels()->Get(phase.kernel())->contract(),
              "entry_points[{}].sections[{}].phases[{}] ({}): its tiles or operands are not those "
              "that kernel {} was compiled for",
              e, i, j, phase.op()->string_view(), phase.kernel());
        }
      }
    }
    return {};
  }

  Status verifyGeneration() const {
    if (!plan_.generation() || !plan_.generation()->eos_token_ids()) return {};
    LLMRT_CHECK(plan_.generation()->eos_token_ids()->size() <= 4096,
                "generation.eos_token_ids has {} ids", plan_.generation()->eos_token_ids()->size());
    return {};
  }

  bool layersInModel(uint32_t first, uint32_t count) const {
    return count > 0 && first <= plan_.model()->num_layers() &&
           count <= plan_.model()->num_layers() - first;
  }

  // Names of buffers and phases are copied and printed: not empty, not long, and nothing that would
  // break a line.
  static bool isName(const flatbuffers::String* s) {
    return sizeOf(s) > 0 && s->size() <= kMaxNameBytes &&
           std::all_of(s->begin(), s->end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  }

  const schema::Plan& plan_;
};

}  // namespace

Result<const schema::Plan*> verifyPlan(std::span<const uint8_t> bytes) {
  constexpr size_t kMinBytes = 8;  // root offset and file identifier
  LLMRT_CHECK(bytes.size() >= kMinBytes && schema::PlanBufferHasIdentifier(bytes.data()),
              "is not a plan (no \"LLMC\" at byte 4)");
  LLMRT_CHECK(bytes.size() < FLATBUFFERS_MAX_BUFFER_SIZE, "is too large for a plan");
  flatbuffers::Verifier verifier(bytes.data(), bytes.size());
  LLMRT_CHECK(schema::VerifyPlanBuffer(verifier), "is truncated or corrupt");
  const schema::Plan* plan = schema::GetPlan(bytes.data());
  if (plan->schema_version() != kPlanSchemaVersion) {
    return unsupported(fmt::format(
        "has plan schema version {}, this runtime reads version {}: compile it again with llmc",
        plan->schema_version(), kPlanSchemaVersion));
  }
  // Without a hash, a change of any field would go unseen.
  if (!hasPlanHash(bytes)) return unsupported("has no hash of itself: compile it again with llmc");
  LLMRT_CHECK(planHash(bytes) == plan->hash(),
              "is corrupt: its hash differs, it was damaged or changed after it was written");
  if (Status s = Verifier(*plan).verify(); !s.ok()) {
    if (s.code() == StatusCode::kUnsupported) return s;
    return std::move(s).withContext("is corrupt");
  }
  return plan;
}

}  // namespace llmrt
