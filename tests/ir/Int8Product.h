// What a product with activations in int8 gives: the definition in codegen/cpu/Int8Rows.h, said
// once more as plain loops.
#pragma once

#include <span>

#include "tests/ir/StoredQuants.h"

namespace llmc::test {

/// A row of x, rounded in groups of one scale each.
struct Int8Row {
  std::vector<int32_t> q;  // whole groups
  std::vector<float> scales;

  Int8Row(std::span<const float> x, int64_t group);
};

/// The output `row` of a weight for `x`, rounded in groups of the format's blocks.
float int8Product(const StoredQuants& weight, int64_t row, const Int8Row& x);

}  // namespace llmc::test
