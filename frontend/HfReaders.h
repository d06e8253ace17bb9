// Fields of a config.json into numbers, within bounds: what families are read by.
#pragma once

#include "frontend/JsonFields.h"
#include "models/ModelSpec.h"

namespace llmc {

/// Refuses a flag that is set.
llmrt::Status refuse(const JsonFields& config, const char* field);
/// Refuses a number that is there, unless it is `allowed`.
llmrt::Status refuseNumber(const JsonFields& config, const char* field, double allowed);
llmrt::Status readNumber(const JsonFields& config, const char* field, double& out);
/// The same, above 0, or 0 for none.
llmrt::Status readCap(const JsonFields& config, const char* field, double& out);
/// As readNumber, above 0.
llmrt::Status readPositive(const JsonFields& config, const char* field, double& out);
llmrt::Status readInt(const JsonFields& config, const char* field, int64_t& out);
/// The same, and in the range.
llmrt::Status readCount(const JsonFields& config, const char* field, int64_t least, int64_t most,
                        int64_t& out);
/// The same, and an error when it is absent.
llmrt::Status needCount(const JsonFields& config, const char* field, int64_t least, int64_t most,
                        int64_t& out);
/// The same where `out` is 0; otherwise `out` is the default.
llmrt::Status readOrNeedCount(const JsonFields& config, const char* field, int64_t least,
                              int64_t most, int64_t& out);
/// How many routed experts there are (field `num_experts`), how many a row takes, and their size,
/// each as readOrNeedCount.
llmrt::Status readExpertSizes(const JsonFields& config, const char* num_experts, Experts& experts);
llmrt::Status readBool(const JsonFields& config, const char* field, bool& out);
/// A list of numbers of layers.
llmrt::Result<std::vector<int64_t>> readLayers(const JsonFields& config, const char* field);

}  // namespace llmc
