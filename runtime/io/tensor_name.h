// The HF name of a weight's tensor, one for all layers and experts: "{layer}" and "{expert}" in it
// stand for their numbers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace llmrt {

/// Whether each expert has a tensor of its own. Otherwise one tensor holds all of a layer.
bool namesExpert(std::string_view pattern);

/// The tensor of one layer and expert; a number that the name has no place for is left out.
std::string tensorName(std::string_view pattern, int64_t layer, int64_t expert);

}  // namespace llmrt
