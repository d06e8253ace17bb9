#include "codegen/plan/WeightTable.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cassert>
#include <memory>
#include <string>
#include <vector>

#include "runtime/io/weight_format.h"
#include "runtime/schema/same_case.h"
#include "runtime/schema/stored_weights.h"
#include "runtime/schema/version.h"

namespace llmc {
namespace {

namespace schema = llmrt::schema;

constexpr uint64_t kAlignment = 64;
constexpr uint64_t kHugePageBytes = uint64_t{2} << 20;
/// Huge pages are worth one part in so many of the file.
constexpr uint64_t kMostPadding = 100;

uint64_t alignTo(uint64_t offset, uint64_t alignment) {
  return (offset + alignment - 1) / alignment * alignment;
}

void measure(schema::WeightT& w) {
  const llmrt::WeightFormat* format = llmrt::formatOf(w);
  assert(format && "a format that the table lacks");
  std::vector<int64_t> rows;
  uint64_t total_rows = 0;
  for (const auto& source : w.sources) {
    rows.push_back(static_cast<int64_t>(source->rows));
    total_rows += source->rows;
  }
  w.cols = w.sources.front()->cols;
  const bool in_panels = w.layout == schema::Layout::panels;
  w.panels = in_panels ? static_cast<uint64_t>(llmrt::panelCount(
                             rows, llmrt::sameCase<llmrt::PanelOrder>(w.order), w.head_rows))
                       : 0;
  llmrt::PlaneExtent planes[llmrt::WeightFormat::kMaxPlanes];
  [[maybe_unused]] const bool fits = llmrt::layOutPlanes(
      *format, in_panels, in_panels ? w.panels : total_rows, static_cast<int64_t>(w.cols),
      std::max<uint64_t>(1, w.num_experts), planes);
  assert(fits && "a weight of a petabyte");
  const llmrt::PlaneExtent& last = planes[format->num_planes - 1];
  w.bytes = last.offset_bytes + last.bytes;
  w.planes.clear();
  for (int p = 0; format->num_planes > 1 && p < format->num_planes; ++p) {
    auto plane = std::make_unique<schema::PlaneT>();
    plane->name = format->planes[p].name;
    plane->offset_bytes = planes[p].offset_bytes;
    plane->bytes = planes[p].bytes;
    w.planes.push_back(std::move(plane));
  }
}

/// Gives every weight its place in the file, tensors of kHugePageBytes and more at multiples of
/// `large_alignment`. Returns the end of the last one.
uint64_t place(schema::PlanT& plan, uint64_t large_alignment) {
  const auto alignmentOf = [&](const schema::WeightT& w) {
    return w.bytes >= kHugePageBytes ? large_alignment : kAlignment;
  };
  uint64_t end = sizeof(llmrt::WeightsHeader);
  std::vector<bool> placed(plan.weights.size());
  for (size_t i = 0; i < plan.weights.size(); ++i) {
    if (placed[i]) continue;
    schema::WeightT& first = *plan.weights[i];
    if (first.num_layers == 0) {
      first.offset_bytes = alignTo(end, alignmentOf(first));
      first.layer_stride_bytes = 0;
      end = first.offset_bytes + first.bytes;
      continue;
    }
    // Every weight of these layers: one layer is one block, and the blocks follow one another.
    std::vector<schema::WeightT*> block;
    uint64_t alignment = kAlignment;
    for (size_t j = i; j < plan.weights.size(); ++j) {
      schema::WeightT& w = *plan.weights[j];
      if (w.first_layer != first.first_layer || w.num_layers != first.num_layers) continue;
      placed[j] = true;
      block.push_back(&w);
      alignment = std::max(alignment, alignmentOf(w));
    }
    const uint64_t begin = alignTo(end, alignment);
    uint64_t block_end = begin;
    for (schema::WeightT* w : block) {
      w->offset_bytes = alignTo(block_end, alignmentOf(*w));
      block_end = w->offset_bytes + w->bytes;
    }
    const uint64_t stride = alignTo(block_end - begin, alignment);
    for (schema::WeightT* w : block) w->layer_stride_bytes = stride;
    end = block_end + stride * (first.num_layers - 1);
  }
  return end;
}

}  // namespace

void layOutWeights(schema::PlanT& plan) {
  uint64_t bytes = 0;  // of all tensors, without what lies between
  for (auto& w : plan.weights) {
    measure(*w);
    bytes += w->bytes * std::max<uint64_t>(1, w->num_layers);
  }
  uint64_t end = place(plan, kHugePageBytes);
  if (end - bytes > bytes / kMostPadding) end = place(plan, kAlignment);
  // Kernels read norms and biases in whole vectors: up to 60 bytes past the end of the last weight.
  plan.weights_bytes = alignTo(end, kAlignment) + kAlignment;
}

uint64_t planId(const schema::PlanT& plan) {
  std::string key;
  const auto number = [&](uint64_t value) {
    key.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  const auto text = [&](const std::string& value) {
    number(value.size());
    key += value;
  };
  number(llmrt::kWeightsVersion);
  number(plan.weights_bytes);
  number(plan.weights.size());
  for (const auto& w : plan.weights) {
    text(w->name);
    number(static_cast<uint64_t>(w->dtype));
    if (!w->format.empty()) text(w->format);
    number(static_cast<uint64_t>(w->layout));
    number(static_cast<uint64_t>(w->order));
    number(w->head_rows);
    number(w->first_layer);
    number(w->num_layers);
    number(w->num_experts);
    number(w->offset_bytes);
    number(w->layer_stride_bytes);
    number(w->sources.size());
    for (const auto& s : w->sources) {
      text(s->name);
      number(s->rows);
      number(s->cols);
      key.append(reinterpret_cast<const char*>(&s->plus), sizeof s->plus);
      if (!s->view) continue;
      const schema::WeightViewT& v = *s->view;
      for (uint64_t value :
           {v.begin, v.run, v.outer, v.inner, v.col, v.expert, v.pair_begin, v.pair_size})
        number(value);
    }
  }
  return XXH3_64bits(key.data(), key.size());
}

}  // namespace llmc
