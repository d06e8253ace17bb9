#include "tests/ir/Int8Product.h"

#include <algorithm>
#include <cmath>

#include "runtime/io/float_convert.h"

namespace llmc::test {

using llmrt::PlaneRole;
using llmrt::WeightFormat;

Int8Row::Int8Row(std::span<const float> x, int64_t group) {
  const auto size = static_cast<size_t>(group);
  for (size_t first = 0; first < x.size(); first += size) {
    const std::span<const float> part = x.subspan(first, std::min(size, x.size() - first));
    float most = 0;
    for (float v : part) most = std::isnan(v) || std::isnan(most) ? NAN : std::max(most, std::abs(v));
    const bool some = !(most < 0x1p-110f);
    const float inverse = some ? 127.0f / most : 0.0f;
    scales.push_back(some ? most / 127.0f : 0.0f);
    for (float v : part) q.push_back(std::isnan(most) ? 0 : static_cast<int32_t>(std::nearbyint(v * inverse)));
    q.resize(first + size);
  }
}

/// The quants of a block: its values with scales of 1 and minimums of 0.
static std::vector<float> quantsOf(const StoredQuants& w, int64_t row, int64_t block) {
  const WeightFormat& f = *w.format;
  llmrt::StoredBlock ones;
  for (int p = 0; p < f.num_planes; ++p) {
    const uint8_t* from = w.at(p, row, block);
    std::copy_n(from, w.blockBytes(p), ones.planes[p]);
    const auto fill = [&](uint8_t v) { std::fill_n(ones.planes[p], w.blockBytes(p), v); };
    switch (f.planes[p].role) {
      case PlaneRole::kScales:
        llmrt::storeFromF32(f.planes[p].dtype, ones.planes[p], 0, 1.0f);
        break;
      case PlaneRole::kMins:
      case PlaneRole::kSubMins:
        fill(0);
        break;
      case PlaneRole::kSubScales:
      case PlaneRole::kSubPairs:
        fill(1);
        break;
      default:
        break;
    }
  }
  std::vector<float> values(static_cast<size_t>(f.block));
  llmrt::decodeBlock(f, ones.planes, values.data());
  return values;
}

float int8Product(const StoredQuants& w, int64_t row, const Int8Row& x) {
  const WeightFormat& f = *w.format;
  const int64_t sub = f.subBlock();
  const auto plane = [&](PlaneRole role, int64_t block) {
    const int p = f.plane(role);
    return p < 0 ? nullptr : w.at(p, row, block);
  };
  const auto whole = [&](PlaneRole role, int64_t block) {
    const uint8_t* from = plane(role, block);
    return from ? llmrt::loadAsF32(f.planes[f.plane(role)].dtype, from, 0) : 0.0f;
  };
  float acc = 0;
  for (int64_t b = 0; b < f.blocks(w.cols); ++b) {
    const std::vector<float> quants = quantsOf(w, row, b);
    int64_t sum = 0, mins = 0, all = 0;
    for (int64_t s = 0; s < f.block / sub; ++s) {
      int64_t dot = 0, qs = 0;
      for (int64_t i = s * sub; i < (s + 1) * sub; ++i) {
        const int64_t q = x.q[static_cast<size_t>(b * f.block + i)];
        dot += static_cast<int64_t>(quants[static_cast<size_t>(i)]) * q;
        qs += q;
      }
      int64_t scale = 1, min = 1;
      if (const uint8_t* scales = plane(PlaneRole::kSubScales, b))
        scale = static_cast<int8_t>(scales[s]);
      if (const uint8_t* subMins = plane(PlaneRole::kSubMins, b))
        min = static_cast<int8_t>(subMins[s]);
      if (const uint8_t* pairs = plane(PlaneRole::kSubPairs, b)) {
        scale = pairs[s] & 15;
        min = pairs[s] >> 4;
      }
      sum += scale * dot;
      mins += min * qs;
      all += qs;
    }
    const float xScale = x.scales[static_cast<size_t>(b)];
    acc = std::fma(static_cast<float>(sum), whole(PlaneRole::kScales, b) * xScale, acc);
    if (f.plane(PlaneRole::kMins) < 0) continue;
    const float min = whole(PlaneRole::kMins, b);
    acc = f.quant.sub_block ? std::fma(static_cast<float>(mins), min * xScale, acc)
                            : std::fma(min, xScale * static_cast<float>(all), acc);
  }
  return acc;
}

}  // namespace llmc::test
