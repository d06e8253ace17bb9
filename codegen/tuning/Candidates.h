// The tunings of a product that are worth a measurement.
#pragma once

#include <cstdint>
#include <vector>

#include "codegen/cpu/Target.h"
#include "codegen/cpu/Tuning.h"

namespace llmc {

/// A product on a target, as far as its candidates depend on it.
struct TunedShape {
  const cpu::CpuTarget& target;
  cpu::ProductKey key;
  int64_t tilePanels = 4;  // of one tile of the plan
  bool amx = false;        // multiplied by AMX, which takes few of the numbers
};

/// Of one row, whose weights stream by: panels side by side with bytes ahead of each cache. Of 24
/// at most.
std::vector<cpu::ProductTuning> streamCandidates(const TunedShape& shape);
/// Other bytes ahead of the best of those.
std::vector<cpu::ProductTuning> aheadCandidates(const TunedShape& shape,
                                                const cpu::ProductTuning& best);

/// Of more rows: each changes one thing in `base`.
std::vector<cpu::ProductTuning> pieceCandidates(const TunedShape& shape,
                                                const cpu::ProductTuning& base);
/// `base` with what each of `better` changes in it; where two change the same, the first.
cpu::ProductTuning combine(const cpu::ProductTuning& base,
                           const std::vector<cpu::ProductTuning>& better);

}  // namespace llmc
