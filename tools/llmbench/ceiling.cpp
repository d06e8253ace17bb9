#include "tools/llmbench/ceiling.h"

#include <string_view>

#include "runtime/io/weight_format.h"
#include "runtime/measure/compute_peak.h"
#include "runtime/measure/quants_peak.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {

namespace {

/// Whether quantised weights are multiplied as integers: the model's attribute says it.
bool multipliesIntegers(const schema::Plan& plan) {
  return plan.ir() &&
         plan.ir()->string_view().find("llm.activations = \"int8\"") != std::string_view::npos;
}

}  // namespace

Result<Ceilings> Ceilings::measure(const Session& session,
                                   std::initializer_list<FlopsByFormat> flops) {
  Ceilings out;
  const Plan& plan = session.plan();
  const int threads = session.options().threads;
  const bool bf16_weights = plan.schema().model()->dtype() == schema::DType::bf16;
  LLMRT_ASSIGN_OR_RETURN(out.peak_, measureComputePeak(plan.targetName(), bf16_weights, threads));
  if (!multipliesIntegers(plan.schema())) return out;
  for (const FlopsByFormat& some : flops)
    for (const auto& [name, unused] : some) {
      const WeightFormat* format = findWeightFormat(name);
      if (!format || out.inner_loops_.contains(name)) continue;
      LLMRT_ASSIGN_OR_RETURN(const double rate,
                             measureQuantsPeak(plan.targetName(), *format, threads));
      if (rate > 0) out.inner_loops_[name] = rate;
    }
  return out;
}

double Ceilings::seconds(const FlopsByFormat& flops) const {
  double sum = 0;
  for (const auto& [format, some] : flops) {
    const auto found = inner_loops_.find(format);
    sum += some / (found == inner_loops_.end() ? peak_ : found->second);
  }
  return sum;
}

}  // namespace llmrt
