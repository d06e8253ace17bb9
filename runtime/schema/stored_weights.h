// The format of a weight of a plan.
#pragma once

#include "runtime/io/weight_format.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/schema/same_case.h"

namespace llmrt {

/// Null where this build has none of that name, or the dtype is not its own.
inline const WeightFormat* formatOf(const schema::Weight& w) {
  return findWeightFormat(sameCase<DType>(w.dtype()),
                          w.format() ? w.format()->string_view() : std::string_view());
}
inline const WeightFormat* formatOf(const schema::WeightT& w) {
  return findWeightFormat(sameCase<DType>(w.dtype), w.format);
}

}  // namespace llmrt
