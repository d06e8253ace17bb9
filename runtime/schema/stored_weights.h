// Weights as runtime/io describes them and as a plan does: the enums that are cast from one to the
// other, and a weight's format.
#pragma once

#include "runtime/io/weight_format.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {

#define LLMRT_SAME_VALUE(type, io_case, schema_case)                                            \
  static_assert(static_cast<int>(type::io_case) == static_cast<int>(schema::type::schema_case), \
                #type "::" #io_case " is not the schema's " #schema_case)
// Every case of the schema's has one here: a case more fails the count.
#define LLMRT_ALL_CASES(type, last)                                                        \
  static_assert(                                                                           \
      schema::type::MAX == schema::type::last && static_cast<int>(schema::type::MIN) == 0, \
      #type " has cases that runtime/io lacks")

LLMRT_SAME_VALUE(DType, kF32, f32);
LLMRT_SAME_VALUE(DType, kF16, f16);
LLMRT_SAME_VALUE(DType, kBF16, bf16);
LLMRT_SAME_VALUE(DType, kI32, i32);
LLMRT_SAME_VALUE(DType, kI8, i8);
LLMRT_SAME_VALUE(DType, kU8, u8);
LLMRT_ALL_CASES(DType, u8);
LLMRT_SAME_VALUE(PanelOrder, kConcat, concat);
LLMRT_SAME_VALUE(PanelOrder, kInterleave, interleave);
LLMRT_SAME_VALUE(PanelOrder, kHeads, heads);
LLMRT_ALL_CASES(PanelOrder, heads);

#undef LLMRT_SAME_VALUE
#undef LLMRT_ALL_CASES

/// The format of a weight of a plan; null where this build has none of that name.
inline const WeightFormat* formatOf(const schema::Weight& w) {
  return findWeightFormat(static_cast<DType>(w.dtype()),
                          w.format() ? w.format()->string_view() : std::string_view());
}
inline const WeightFormat* formatOf(const schema::WeightT& w) {
  return findWeightFormat(static_cast<DType>(w.dtype), w.format);
}

}  // namespace llmrt
