// When the buffers of a schedule hold a value that is still to be read.
#pragma once

#include "ir/LLM.h"
#include "llvm/ADT/MapVector.h"

namespace llmc {

/// Phases from `begin` to `end`, both included, counted in program order with each repeated phase
/// once.
struct Lifetime {
  int64_t begin = 0, end = -1;  // of a buffer that no phase uses: empty

  bool overlaps(const Lifetime& other) const {
    return begin <= other.end && other.begin <= end && begin <= end && other.begin <= other.end;
  }
};

/// The lifetime of every buffer, in the order of their declaration. One that enters a repeat with a
/// value, from before it or from the previous layer, lives through all of it. Logits and
/// hidden rows that are returned live to the end.
llvm::MapVector<mlir::StringAttr, Lifetime> computeLifetimes(llm::ScheduleOp schedule);

}  // namespace llmc
