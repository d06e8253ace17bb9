// A weight's view, from what a plan holds.
#pragma once

#include "runtime/io/weight_layout.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {

inline WeightView viewOf(const schema::WeightViewT& v) {
  return {.stored = {v.stored.begin(), v.stored.end()},
          .begin = static_cast<int64_t>(v.begin),
          .run = static_cast<int64_t>(v.run),
          .outer = static_cast<int64_t>(v.outer),
          .inner = static_cast<int64_t>(v.inner),
          .col = static_cast<int64_t>(v.col),
          .expert = static_cast<int64_t>(v.expert),
          .pair_begin = static_cast<int64_t>(v.pair_begin),
          .pair_size = static_cast<int64_t>(v.pair_size)};
}

inline WeightView viewOf(const schema::WeightView& v) {
  schema::WeightViewT members;
  v.UnPackTo(&members);
  return viewOf(members);
}

}  // namespace llmrt
