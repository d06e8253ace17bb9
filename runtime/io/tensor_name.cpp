#include "runtime/io/tensor_name.h"

namespace llmrt {
namespace {

constexpr std::string_view kLayer = "{layer}", kExpert = "{expert}";

}  // namespace

bool namesExpert(std::string_view pattern) {
  return pattern.find(kExpert) != std::string_view::npos;
}

std::string tensorName(std::string_view pattern, int64_t layer, int64_t expert) {
  std::string name(pattern);
  const auto put = [&](std::string_view place, int64_t number) {
    if (const size_t at = name.find(place); at != std::string::npos)
      name.replace(at, place.size(), std::to_string(number));
  };
  put(kLayer, layer);
  put(kExpert, expert);
  return name;
}

}  // namespace llmrt
