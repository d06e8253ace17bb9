// Which of several ways to compute the same is the fastest, from times that were taken in turn.
#pragma once

#include <cstddef>
#include <vector>

namespace llmc {

/// times[c][r]: of candidate c in round r, all of a round one after another, so that what moves the
/// machine's speed moves theirs alike.
using Times = std::vector<std::vector<double>>;

/// How much faster candidate `c` is than candidate 0: the quartiles and the median, over the
/// rounds, of the ratios of both times within a round.
struct Gain {
  double low = 1, median = 1, high = 1;

  /// Better beyond the spread: by at least a percent, in three rounds of four at least, and by more
  /// than half of what lies between the quartiles.
  bool certain() const;
};
Gain gainOf(const Times& times, size_t c);

/// The `count` candidates with the largest median gains, best first, candidate 0 not among them.
std::vector<size_t> bestCandidates(const Times& times, size_t count);

double medianOf(std::vector<double> values);

}  // namespace llmc
