// In which formats a plan's matrices are stored, and how much they take.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace llmrt::schema {
struct Plan;
}

namespace llmc {

/// All matrices of one format. A matrix that several kernels read in several layouts counts once
/// for each.
struct WeightType {
  std::string format;  // of runtime/io/weight_format.h
  uint64_t values = 0, bytes = 0;

  double bitsPerWeight() const {
    return 8.0 * static_cast<double>(bytes) / static_cast<double>(values);
  }
};

/// The one with most values first.
std::vector<WeightType> weightTypes(const llmrt::schema::Plan& plan);

/// Of all of them together; `format` is empty.
WeightType sumOf(const std::vector<WeightType>& types);

/// "bf16"; "q4_k 71 %, q6_k 29 %, 5.0 bits a weight" where some are quantised.
std::string weightTypesText(const llmrt::schema::Plan& plan);

}  // namespace llmc
