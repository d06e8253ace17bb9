// What computing a plan's products takes at least.
#pragma once

#include <initializer_list>
#include <map>
#include <string>

#include "runtime/executor/cost.h"
#include "runtime/session/session.h"

namespace llmrt {

/// The machine's rates for what a plan multiplies. Quantised weights that the plan multiplies as
/// integers go at the rate of their format's inner loop (runtime/measure/quants_peak.h), all else
/// at the peak of multiply-adds of floats.
class Ceilings {
 public:
  /// Measures them with the session's threads; `flops` say which formats there are.
  static Result<Ceilings> measure(const Session& session,
                                  std::initializer_list<FlopsByFormat> flops);

  double peak() const { return peak_; }
  /// FLOP/s of each format.
  const std::map<std::string, double>& innerLoops() const { return inner_loops_; }
  double seconds(const FlopsByFormat& flops) const;

 private:
  double peak_ = 0;
  std::map<std::string, double> inner_loops_;
};

}  // namespace llmrt
