#include "codegen/tuning/Choose.h"

#include <algorithm>
#include <cmath>

namespace llmc {

/// The value below which `share` of the sorted values lie, between two of them in proportion.
static double quantile(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

double medianOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return quantile(values, 0.5);
}

Gain gainOf(const Times& times, size_t c) {
  std::vector<double> ratios;
  for (size_t r = 0; r < times[c].size(); ++r) ratios.push_back(times[0][r] / times[c][r]);
  std::sort(ratios.begin(), ratios.end());
  return {quantile(ratios, 0.25), quantile(ratios, 0.5), quantile(ratios, 0.75)};
}

bool Gain::certain() const {
  constexpr double kLeast = 1.01;
  return median >= kLeast && low > 1 && median - 1 > (high - low) / 2;
}

std::vector<size_t> bestCandidates(const Times& times, size_t count) {
  std::vector<std::pair<double, size_t>> gains;
  for (size_t c = 1; c < times.size(); ++c) gains.emplace_back(-gainOf(times, c).median, c);
  std::sort(gains.begin(), gains.end());
  std::vector<size_t> best;
  for (size_t i = 0; i < std::min(count, gains.size()); ++i) best.push_back(gains[i].second);
  return best;
}

}  // namespace llmc
