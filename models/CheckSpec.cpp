#include "models/CheckSpec.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace llmc {
namespace {

using llmrt::invalidData;
using llmrt::Status;

Status checkRange(const char* field, int64_t value, int64_t most) {
  if (value >= 1 && value <= most) return {};
  return invalidData(std::string(field) + " is " + std::to_string(value) + ", must be 1 to " +
                     std::to_string(most));
}

Status checkPositive(const char* field, double value) {
  if (std::isfinite(value) && value > 0 && value <= 1e30) return {};
  return invalidData(std::string(field) + " is " + nlohmann::json(value).dump() +
                     ", must be above 0");
}

// The weights of a plan may take 2^50 bytes; panels of 16 rows hold heads of 2 rows eight times as
// large, and an f32 takes 4 bytes.
constexpr int64_t kMaxParameters = int64_t{1} << 44;

Status checkTotal(const ModelSpec& spec) {
  const int64_t parameters = numParameters(spec);
  if (parameters <= kMaxParameters) return {};
  return invalidData("hidden_size " + std::to_string(spec.hidden_size) + ", intermediate_size " +
                     std::to_string(spec.intermediate_size) + ", num_hidden_layers " +
                     std::to_string(spec.num_layers) + ", num_attention_heads " +
                     std::to_string(spec.num_heads) + ", head_dim " +
                     std::to_string(spec.head_dim) + " and vocab_size " +
                     std::to_string(spec.vocab_size) + " make " + std::to_string(parameters) +
                     " parameters, at most " + std::to_string(kMaxParameters) + " are supported");
}

Status checkRope(const Rope& rope) {
  LLMRT_RETURN_IF_ERROR(checkPositive("rope_theta", rope.theta));
  if (rope.scaling == RopeScaling::kNone) return {};
  LLMRT_RETURN_IF_ERROR(checkPositive("rope_scaling.factor", rope.factor));
  if (rope.scaling != RopeScaling::kLlama3) return {};
  LLMRT_RETURN_IF_ERROR(checkPositive("rope_scaling.low_freq_factor", rope.low_freq_factor));
  LLMRT_RETURN_IF_ERROR(checkPositive("rope_scaling.high_freq_factor", rope.high_freq_factor));
  if (rope.high_freq_factor <= rope.low_freq_factor)
    return invalidData(
        "rope_scaling.high_freq_factor (" + nlohmann::json(rope.high_freq_factor).dump() +
        ") is not above low_freq_factor (" + nlohmann::json(rope.low_freq_factor).dump() + ")");
  return checkRange("rope_scaling.original_max_position_embeddings",
                    rope.original_max_position_embeddings, 1 << 30);
}

}  // namespace

Status checkSpec(const ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(checkRange("hidden_size", spec.hidden_size, 1 << 20));
  LLMRT_RETURN_IF_ERROR(checkRange("intermediate_size", spec.intermediate_size, 1 << 22));
  LLMRT_RETURN_IF_ERROR(checkRange("num_hidden_layers", spec.num_layers, 10000));
  LLMRT_RETURN_IF_ERROR(checkRange("num_attention_heads", spec.num_heads, 1 << 14));
  LLMRT_RETURN_IF_ERROR(checkRange("num_key_value_heads", spec.num_kv_heads, 1 << 14));
  LLMRT_RETURN_IF_ERROR(checkRange("head_dim", spec.head_dim, 1 << 12));
  LLMRT_RETURN_IF_ERROR(checkRange("vocab_size", spec.vocab_size, 1 << 27));
  LLMRT_RETURN_IF_ERROR(
      checkRange("max_position_embeddings", spec.max_position_embeddings, 1 << 30));
  if (spec.num_heads % spec.num_kv_heads != 0)
    return invalidData("num_attention_heads (" + std::to_string(spec.num_heads) +
                       ") is not a multiple of num_key_value_heads (" +
                       std::to_string(spec.num_kv_heads) + ")");
  if (spec.head_dim % 2 != 0)
    return invalidData("head_dim is " + std::to_string(spec.head_dim) +
                       ", must be even for rotary embeddings");
  if (spec.sliding_window < 0 || spec.sliding_window > (1 << 30))
    return invalidData("sliding_window is " + std::to_string(spec.sliding_window) +
                       ", must be 1 to 1073741824, or null for none");
  LLMRT_RETURN_IF_ERROR(checkPositive("rms_norm_eps", spec.rms_norm_eps));
  LLMRT_RETURN_IF_ERROR(checkRope(spec.rope));
  return checkTotal(spec);
}

}  // namespace llmc
