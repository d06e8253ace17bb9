// A weight's view as a plan holds it.
#pragma once

#include "runtime/io/weight_layout.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {

inline WeightView viewOf(const schema::WeightView& v) {
  WeightView view;
  if (v.stored())
    for (uint64_t size : *v.stored()) view.stored.push_back(static_cast<int64_t>(size));
  view.begin = static_cast<int64_t>(v.begin());
  view.run = static_cast<int64_t>(v.run());
  view.outer = static_cast<int64_t>(v.outer());
  view.inner = static_cast<int64_t>(v.inner());
  view.col = static_cast<int64_t>(v.col());
  view.expert = static_cast<int64_t>(v.expert());
  view.pair_begin = static_cast<int64_t>(v.pair_begin());
  view.pair_size = static_cast<int64_t>(v.pair_size());
  return view;
}

}  // namespace llmrt
