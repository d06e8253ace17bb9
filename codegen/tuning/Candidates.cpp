#include "codegen/tuning/Candidates.h"

#include <algorithm>

#include "codegen/cpu/KernelBuilder.h"
#include "codegen/cpu/Multiply.h"

namespace llmc {

using cpu::ProductRows;
using cpu::ProductTuning;

namespace {

int64_t panelsOf(const TunedShape& shape) { return (shape.key.outputs + 15) / 16; }

/// Bytes of the weights' values.
int64_t bytesOf(const TunedShape& shape) {
  const llmrt::WeightFormat* format = llmrt::findWeightFormat(shape.key.weights);
  return format ? panelsOf(shape) * shape.key.inputs * cpu::bytesPerK(*format) : 0;
}

/// Tiles that hold `panels` panels.
int64_t tilesFor(const TunedShape& shape, int64_t panels) {
  return std::max<int64_t>((panels + shape.tilePanels - 1) / shape.tilePanels, 1);
}

void add(std::vector<ProductTuning>& all, const ProductTuning& one) {
  if (std::find(all.begin(), all.end(), one) == all.end()) all.push_back(one);
}

}  // namespace

std::vector<ProductTuning> streamCandidates(const TunedShape& shape) {
  using Numbers = std::vector<int64_t>;
  // Quants have a stream in each of their planes: few panels leave few streams, and little ahead
  // leaves them to the hardware's prefetchers.
  const bool int8 = shape.key.int8;
  std::vector<ProductTuning> all;
  for (int64_t panels : int8 ? Numbers{1, 2, 4} : Numbers{2, 4, 8, 16}) {
    // AMX has tiles for as many as it takes.
    if (panels > panelsOf(shape) || (shape.amx && panels != 4)) continue;
    for (int64_t kib : int8 ? Numbers{2, 6} : Numbers{3, 6, 12}) {
      if (kib << 10 > bytesOf(shape)) continue;
      for (int64_t level : {1, 2}) {
        ProductTuning t{.aheadBytes = kib << 10};
        if (!shape.amx) {
          t.streamPanels = panels;
          t.aheadLevel = level;
        }
        if (const int64_t tiles = tilesFor(shape, panels); tiles > 1) t.joinTiles = tiles;
        add(all, t);
      }
    }
  }
  return all;
}

std::vector<ProductTuning> aheadCandidates(const TunedShape& shape, const ProductTuning& best) {
  std::vector<ProductTuning> all;
  for (int64_t kib : {0, 1, 2, 4, 8, 16, 24}) {
    if (kib << 10 > bytesOf(shape)) continue;
    ProductTuning t = best;
    t.aheadBytes = kib << 10;
    add(all, t);
  }
  return all;
}

std::vector<ProductTuning> pieceCandidates(const TunedShape& shape, const ProductTuning& base) {
  std::vector<ProductTuning> all;
  const auto with = [&](const auto& change) {
    ProductTuning t = base;
    change(t);
    if (!(t == base)) add(all, t);
  };
  const bool many = shape.key.rows == ProductRows::many;
  if (many)
    for (int64_t tiles : {2, 4})
      if (tiles * shape.tilePanels <= panelsOf(shape))
        with([&](ProductTuning& t) { t.joinTiles = tiles; });
  if (shape.amx) return all;
  // Accumulators in three quarters and in seven eighths of the registers.
  const int64_t registers =
      shape.target.registers * shape.target.vectorFloats / cpu::kLanes / (shape.key.int8 ? 2 : 1);
  const auto addTile = [&](int64_t accumulators, int64_t panels) {
    const int64_t rows = accumulators / panels;
    const bool isDefault = panels == shape.target.tilePanels(shape.key.int8) &&
                           rows == shape.target.tileRows(shape.key.int8);
    if (rows == 0 || panels > panelsOf(shape) || isDefault) return;
    with([&](ProductTuning& t) {
      t.tileRows = rows;
      t.tilePanels = panels;
    });
  };
  for (int64_t panels : {1, 2, 4}) addTile(registers * 3 / 4, panels);
  addTile(registers * 7 / 8, shape.target.tilePanels(shape.key.int8));
  for (int64_t cols : {512, 1024, 2048})
    if (cols <= std::max<int64_t>(shape.key.inputs, 256))
      with([&](ProductTuning& t) { t.pieceCols = cols; });
  if (many)
    for (int64_t rows : {128, 512}) with([&](ProductTuning& t) { t.blockRows = rows; });
  return all;
}

ProductTuning combine(const ProductTuning& base, const std::vector<ProductTuning>& better) {
  ProductTuning all = base;
  for (const ProductTuning& one : better) {
    bool changed = false;
    for (const cpu::TuningField& field : cpu::kTuningFields)
      changed |= one.*field.value != base.*field.value && all.*field.value != base.*field.value;
    if (changed) continue;
    for (const cpu::TuningField& field : cpu::kTuningFields)
      if (one.*field.value != base.*field.value) all.*field.value = one.*field.value;
  }
  return all;
}

}  // namespace llmc
