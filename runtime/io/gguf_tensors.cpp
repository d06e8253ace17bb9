#include "runtime/io/gguf_tensors.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "runtime/io/float_convert.h"
#include "runtime/io/printable.h"
#include "runtime/io/stored_blocks.h"
#include "runtime/io/tensor_name.h"

namespace llmrt {
namespace {

using NamePair = std::pair<std::string_view, std::string_view>;

constexpr std::string_view kGgufLayer = "blk.", kHfLayer = "model.layers.";

constexpr uint64_t kMostTensors = 1 << 17;  // Kimi K2 has 70,000
constexpr int64_t kMostExperts = 1024;      // as models/CheckSpec.h: each gets an entry of its own

// gguf-py/gguf/tensor_mapping.py. Without ".weight" or ".bias".
constexpr NamePair kModelNames[] = {
    {"token_embd", "model.embed_tokens"},
    {"position_embd", "model.embed_positions"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
    {"per_layer_token_embd", "model.embed_tokens_per_layer"},
    {"per_layer_model_proj", "model.per_layer_model_projection"},
    {"per_layer_proj_norm", "model.per_layer_projection_norm"},
};
constexpr NamePair kLayerNames[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
    {"attn_qkv", "self_attn.qkv_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"post_attention_norm", "post_attention_layernorm"},
    {"post_ffw_norm", "post_feedforward_layernorm"},
    {"attn_norm_2", "attention_layernorm"},  // Falcon's
    {"attn_q_a", "self_attn.q_a_proj"},
    {"attn_q_a_norm", "self_attn.q_a_layernorm"},
    {"attn_q_b", "self_attn.q_b_proj"},
    {"attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa"},
    {"attn_kv_a_norm", "self_attn.kv_a_layernorm"},
    {"attn_kv_b", "self_attn.kv_b_proj"},
    {"attn_k_b", "self_attn.k_b_proj"},
    {"attn_v_b", "self_attn.v_b_proj"},
    {"ffn_gate_inp", "mlp.gate"},
    {"ffn_gate_shexp", "mlp.shared_expert.gate_proj"},
    {"ffn_up_shexp", "mlp.shared_expert.up_proj"},
    {"ffn_down_shexp", "mlp.shared_expert.down_proj"},
    {"ffn_gate_inp_shexp", "mlp.shared_expert_gate"},
    {"pre_ffw_norm_2", "pre_feedforward_layernorm_2"},
    {"post_ffw_norm_1", "post_feedforward_layernorm_1"},
    {"post_ffw_norm_2", "post_feedforward_layernorm_2"},
    {"inp_gate", "per_layer_input_gate"},
    {"proj", "per_layer_projection"},
    {"post_norm", "post_per_layer_input_norm"},
    // Of layers of multi-token prediction, as DeepSeek-V3 calls them.
    {"nextn.embed_tokens", "embed_tokens"},
    {"nextn.enorm", "enorm"},
    {"nextn.hnorm", "hnorm"},
    {"nextn.eh_proj", "eh_proj"},
    {"nextn.shared_head_norm", "shared_head.norm"},
    {"nextn.shared_head_head", "shared_head.head"},
};
// Of a layer, as a whole: these are not called weights in the one or the other.
constexpr NamePair kWholeNames[] = {
    {"layer_output_scale.weight", "layer_scalar"},
    {"ffn_gate_inp.scale", "router.scale"},
    {"ffn_down_exps.scale", "router.per_expert_scale"},
    {"attn_sinks.weight", "self_attn.sinks"},
};
// What does not end alike.
constexpr NamePair kLayerTensors[] = {
    {"exp_probs_b.bias", "mlp.gate.e_score_correction_bias"},
};
// Of layers of a state space (Mamba-2) and of a short convolution, and what else is of single
// architectures, with its suffix.
constexpr NamePair kStateSpaceNames[] = {
    {"ssm_in.weight", "mamba.in_proj.weight"},
    {"ssm_in.bias", "mamba.in_proj.bias"},
    {"ssm_conv1d.weight", "mamba.conv1d.weight"},
    {"ssm_conv1d.bias", "mamba.conv1d.bias"},
    {"ssm_dt.bias", "mamba.dt_bias"},
    {"ssm_a", "mamba.A"},
    {"ssm_d", "mamba.D"},
    {"ssm_norm.weight", "mamba.norm.weight"},
    {"ssm_out.weight", "mamba.out_proj.weight"},
    {"ssm_out.bias", "mamba.out_proj.bias"},
    {"shortconv.in_proj.weight", "conv.in_proj.weight"},
    {"shortconv.in_proj.bias", "conv.in_proj.bias"},
    {"shortconv.conv.weight", "conv.conv.weight"},
    {"shortconv.conv.bias", "conv.conv.bias"},
    {"shortconv.out_proj.weight", "conv.out_proj.weight"},
    {"shortconv.out_proj.bias", "conv.out_proj.bias"},
    {"ffn_latent_down.weight", "mlp.latent_down.weight"},
    {"ffn_latent_up.weight", "mlp.latent_up.weight"},
};
constexpr NamePair kLfm2Norm = {"token_embd_norm.weight", "model.norm.weight"};
constexpr std::string_view kStateSpaceArchitectures[] = {
    "lfm2", "lfm2moe", "mamba2", "granitehybrid", "nemotron_h", "nemotron_h_moe"};
// Of layers of linear attention.
constexpr NamePair kDeltaNames[] = {
    {"attn_qkv.weight", "linear_attn.in_proj_qkv.weight"},
    {"attn_gate.weight", "linear_attn.in_proj_z.weight"},
    {"ssm_alpha.weight", "linear_attn.in_proj_a.weight"},
    {"ssm_beta.weight", "linear_attn.in_proj_b.weight"},
    {"ssm_ba.weight", "linear_attn.in_proj_ba.weight"},
    {"ssm_conv1d.weight", "linear_attn.conv1d.weight"},
    {"ssm_a", "linear_attn.A_log"},
    {"ssm_dt.bias", "linear_attn.dt_bias"},
    {"ssm_norm.weight", "linear_attn.norm.weight"},
    {"ssm_out.weight", "linear_attn.out_proj.weight"},
};
constexpr std::string_view kDeltaArchitectures[] = {"qwen3next", "qwen35", "qwen35moe"};
// Of all experts of a layer, [experts, rows, cols]; and of each.
constexpr NamePair kExpertNames[] = {
    {"ffn_gate_exps", "gate_proj"},
    {"ffn_up_exps", "up_proj"},
    {"ffn_down_exps", "down_proj"},
    {"ffn_gate_up_exps", "gate_up_proj"},  // gate's rows before up's
};
constexpr std::string_view kGateUp = ".gate_up_proj";
constexpr std::string_view kHfExperts = "mlp.experts.", kHfEachExpert = "mlp.experts.{expert}.";
// Of single architectures, before those above.
struct OwnName {
  std::string_view architecture;
  NamePair names;
};
constexpr OwnName kOwnNames[] = {
    {"phi3", {"ffn_up", "mlp.gate_up_proj"}},  // gate and up in one
    {"chatglm", {"ffn_up", "mlp.gate_up_proj"}},
    {"glm4", {"ffn_up", "mlp.gate_up_proj"}},
    {"glm4", {"post_attention_norm", "post_self_attn_layernorm"}},
    {"glm4", {"post_ffw_norm", "post_mlp_layernorm"}},
    {"gpt-oss", {"post_attention_norm", "post_attention_layernorm"}},
    {"olmo2", {"post_attention_norm", "post_attention_layernorm"}},
    {"gemma2", {"post_attention_norm", "post_attention_layernorm"}},
    {"gemma2", {"ffn_norm", "pre_feedforward_layernorm"}},
    {"gemma3", {"post_attention_norm", "post_attention_layernorm"}},
    {"gemma3", {"ffn_norm", "pre_feedforward_layernorm"}},
    {"gemma4", {"post_attention_norm", "post_attention_layernorm"}},
    {"gemma4", {"ffn_norm", "pre_feedforward_layernorm"}},
};

// convert_hf_to_gguf.py reorders the rows of q_proj and k_proj, weights and biases, of these.
constexpr std::string_view kInterleaved[] = {"llama",   "granite", "smollm3",   "arcee",
                                             "minicpm", "olmo",    "internlm2", "mistral3"};

bool hasStateSpace(std::string_view architecture) {
  return std::ranges::find(kStateSpaceArchitectures, architecture) !=
         std::end(kStateSpaceArchitectures);
}
bool hasDelta(std::string_view architecture) {
  return std::ranges::find(kDeltaArchitectures, architecture) != std::end(kDeltaArchitectures);
}

/// "12" and "attn_q.weight" of "blk.12.attn_q.weight", with "blk." as the prefix; empty where the
/// name is none of a layer's.
NamePair layerAndRest(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return {};
  name.remove_prefix(prefix.size());
  const size_t end = name.find('.');
  if (end == std::string_view::npos) return {};
  return {name.substr(0, end), name.substr(end + 1)};
}

template <size_t N>
std::string_view hfOf(const NamePair (&names)[N], std::string_view stem) {
  for (const auto& [gguf, hf] : names)
    if (gguf == stem) return hf;
  return {};
}
template <size_t N>
std::string_view ggufOf(const NamePair (&names)[N], std::string_view stem) {
  for (const auto& [gguf, hf] : names)
    if (hf == stem) return gguf;
  return {};
}

/// "3" of "blk.3.NAME", of a `prefix` of "blk."; empty where the name is another.
std::string_view layerOf(std::string_view tensor, std::string_view prefix, std::string_view name) {
  if (!tensor.starts_with(prefix) || !tensor.ends_with(name)) return {};
  tensor.remove_prefix(prefix.size());
  if (tensor.size() <= name.size() + 1) return {};
  tensor.remove_suffix(name.size());
  if (!tensor.ends_with('.')) return {};
  tensor.remove_suffix(1);
  return tensor.find('.') == std::string_view::npos ? tensor : std::string_view();
}

std::optional<DType> plainType(uint32_t ggml_type) {
  switch (ggml_type) {
    case 0:
      return DType::kF32;
    case 1:
      return DType::kF16;
    case 30:
      return DType::kBF16;
    default:
      return std::nullopt;
  }
}

class GgufTensorSource : public TensorSource {
 public:
  explicit GgufTensorSource(std::shared_ptr<const GgufFile> file) : file_(std::move(file)) {}

  Status build() {
    LLMRT_ASSIGN_OR_RETURN(auto architecture, file_->getString("general.architecture"));
    architecture_ = architecture.value_or("");
    const bool interleaved = std::find(std::begin(kInterleaved), std::end(kInterleaved),
                                       architecture_) != std::end(kInterleaved);
    for (const GgufTensor& stored : file_->tensors()) {
      Entry entry;
      entry.stored_name = stored.name;
      Tensor& tensor = entry.tensor;
      tensor.name = hfTensorName(stored.name, architecture_);
      tensor.shape = stored.shape;
      // A matrix of one row, which converters squeeze.
      if (tensor.name.ends_with(".shared_expert_gate.weight") && tensor.shape.size() == 1)
        tensor.shape.insert(tensor.shape.begin(), 1);
      // Of each head, one behind the other.
      if ((tensor.name.ends_with(".k_b_proj.weight") ||
           tensor.name.ends_with(".v_b_proj.weight")) &&
          tensor.shape.size() == 3)
        tensor.shape = {tensor.shape[0] * tensor.shape[1], tensor.shape[2]};
      // A convolution's factors, of which each has one input.
      if ((tensor.name.ends_with(".conv1d.weight") || tensor.name.ends_with(".conv.conv.weight")) &&
          tensor.shape.size() == 2)
        tensor.shape.insert(tensor.shape.begin() + 1, 1);
      // A number for each head, and a norm's by group.
      if (tensor.shape.size() == 2 &&
          (tensor.name.ends_with(".mamba.A") || tensor.name.ends_with(".mamba.D") ||
           tensor.name.ends_with(".mamba.norm.weight")))
        tensor.shape = {tensor.shape[0] * tensor.shape[1]};
      tensor.data = stored.data;
      tensor.bytes = stored.bytes;
      tensor.file_backed = true;
      tensor.blocks = ggmlBlocks(stored.type);
      if (auto dtype = plainType(stored.type)) {
        tensor.dtype = *dtype;
      } else if (!tensor.blocks) {
        entry.unusable_type = ggmlTypeName(stored.type);
      }
      if (interleaved) LLMRT_RETURN_IF_ERROR(setInterleavedHeads(entry));
      if (tensor.name.ends_with(".A_log")) LLMRT_RETURN_IF_ERROR(takeLogarithms(entry));
      const bool experts = tensor.name.find(kHfEachExpert) != std::string::npos;
      LLMRT_RETURN_IF_ERROR(experts ? addExperts(entry) : add(std::move(entry)));
    }
    return {};
  }

  Result<const Tensor*> find(std::string_view name) const override {
    auto it = tensors_.find(name);
    if (it == tensors_.end()) return static_cast<const Tensor*>(nullptr);
    const Entry& entry = it->second;
    if (!entry.unusable_type.empty())
      return unsupported(path() + ": tensor " + quotedName(entry.stored_name) + " has type " +
                         entry.unusable_type + ", which is not supported (" + weightFormatNames() +
                         " are)");
    return &entry.tensor;
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> out;
    for (const auto& [name, entry] : tensors_) out.push_back(name);
    return out;
  }

  const std::string& path() const override { return file_->path(); }

  std::string storedName(std::string_view name) const override {
    auto it = tensors_.find(name);
    return it == tensors_.end() ? ggufTensorName(name, architecture_) : it->second.stored_name;
  }

 private:
  struct Entry {
    Tensor tensor;
    std::string stored_name;
    std::string unusable_type;  // empty: usable
  };

  Status add(Entry entry) {
    const std::string stored_name = entry.stored_name, name = entry.tensor.name;
    auto [it, inserted] = tensors_.emplace(name, std::move(entry));
    if (inserted) return {};
    return invalidData(path() + ": tensors " + quotedName(it->second.stored_name) + " and " +
                       quotedName(stored_name) + " are both " + quotedName(name));
  }

  // A view of each expert: the first dimension is theirs, and what follows it is contiguous, in
  // blocks too.
  Status addExperts(const Entry& stacked) {
    const std::vector<int64_t>& shape = stacked.tensor.shape;
    const int64_t experts = shape[0];
    if (shape.size() < 2)
      return invalidData(path() + ": tensor " + quotedName(stacked.stored_name) + " has shape " +
                         shapeText(shape) + ", expected one of each expert");
    if (experts > kMostExperts)
      return invalidData(path() + ": tensor " + quotedName(stacked.stored_name) + " is of " +
                         std::to_string(experts) + " experts, at most " +
                         std::to_string(kMostExperts) + " are supported");
    // Headers of types that are not known take no bytes of the file, so nothing else bounds them.
    if (tensors_.size() + static_cast<uint64_t>(experts) > kMostTensors)
      return invalidData(path() + ": tensor " + quotedName(stacked.stored_name) +
                         " and those before it are more than " + std::to_string(kMostTensors) +
                         " with their experts apart");
    const uint64_t bytes = stacked.tensor.bytes / static_cast<uint64_t>(experts);
    for (int64_t expert = 0; expert < experts; ++expert) {
      Entry one = stacked;
      Tensor& tensor = one.tensor;
      tensor.name = tensorName(stacked.tensor.name, 0, expert);
      tensor.shape.erase(tensor.shape.begin());
      tensor.data += static_cast<uint64_t>(expert) * bytes;
      tensor.bytes = bytes;
      LLMRT_RETURN_IF_ERROR(tensor.name.find(kGateUp) == std::string::npos ? add(std::move(one))
                                                                           : addGateAndUp(one));
    }
    return {};
  }

  // Views of the rows of each.
  Status addGateAndUp(const Entry& both) {
    if (both.tensor.shape[0] % 2 != 0)
      return invalidData(path() + ": tensor " + quotedName(both.stored_name) + " has " +
                         std::to_string(both.tensor.shape[0]) +
                         " rows of an expert, expected as many of gate and of up");
    for (const bool up : {false, true}) {
      Entry one = both;
      Tensor& tensor = one.tensor;
      tensor.name.replace(tensor.name.find(kGateUp), kGateUp.size(),
                          up ? ".up_proj" : ".gate_proj");
      tensor.shape[0] /= 2;
      tensor.bytes /= 2;
      if (up) tensor.data += tensor.bytes;
      LLMRT_RETURN_IF_ERROR(add(std::move(one)));
    }
    return {};
  }

  // Converters store -exp(A_log).
  Status takeLogarithms(Entry& entry) {
    Tensor& tensor = entry.tensor;
    if (tensor.blocks || tensor.dtype != DType::kF32 || tensor.shape.size() != 1)
      return invalidData(path() + ": tensor " + quotedName(entry.stored_name) +
                         " must be a vector of f32");
    std::vector<float>& logs = logarithms_.emplace_back();
    for (int64_t i = 0; i < tensor.shape[0]; ++i) {
      const float rate = -loadAsF32(DType::kF32, tensor.data, i);
      if (!(rate > 0 && std::isfinite(rate)))
        return invalidData(path() + ": tensor " + quotedName(entry.stored_name) +
                           " holds a number that is not below 0, at " + std::to_string(i));
      logs.push_back(std::log(rate));
    }
    tensor.data = reinterpret_cast<const uint8_t*>(logs.data());
    tensor.file_backed = false;
    return {};
  }

  Status setInterleavedHeads(Entry& entry) const {
    Tensor& tensor = entry.tensor;
    const bool is_q = tensor.name.find(".self_attn.q_proj.") != std::string::npos;
    const bool is_k = tensor.name.find(".self_attn.k_proj.") != std::string::npos;
    if (!is_q && !is_k) return {};
    const std::string key = architecture_ + ".attention.head_count";
    LLMRT_ASSIGN_OR_RETURN(auto heads, file_->getInt(key));
    if (is_k) {
      LLMRT_ASSIGN_OR_RETURN(auto kv_heads, file_->getInt(key + "_kv"));
      if (kv_heads) heads = kv_heads;
    }
    if (!heads) return invalidData(path() + ": metadata " + quotedName(key) + " is missing");
    if (*heads <= 0 || tensor.shape[0] % *heads != 0 || tensor.shape[0] / *heads % 2 != 0)
      return invalidData(path() + ": tensor " + quotedName(entry.stored_name) + " has " +
                         std::to_string(tensor.shape[0]) + " rows, which are not " +
                         std::to_string(*heads) + " heads of an even size");
    tensor.interleaved_heads = *heads;
    return {};
  }

  std::shared_ptr<const GgufFile> file_;
  std::string architecture_;
  std::deque<std::vector<float>> logarithms_;  // what tensors' values are of
  std::map<std::string, Entry, std::less<>> tensors_;
};

}  // namespace

std::string hfTensorName(std::string_view gguf_name, std::string_view architecture) {
  if (hasStateSpace(architecture)) {
    const auto [layer, rest] = layerAndRest(gguf_name, kGgufLayer);
    if (std::string_view hf = hfOf(kStateSpaceNames, rest); !hf.empty())
      return std::string(kHfLayer).append(layer).append(".").append(hf);
    if (gguf_name == kLfm2Norm.first) return std::string(kLfm2Norm.second);
  }
  if (hasDelta(architecture)) {
    const auto [layer, rest] = layerAndRest(gguf_name, kGgufLayer);
    if (std::string_view hf = hfOf(kDeltaNames, rest); !hf.empty())
      return std::string(kHfLayer).append(layer).append(".").append(hf);
  }
  const size_t dot = gguf_name.rfind('.');
  if (dot == std::string_view::npos) return std::string(gguf_name);
  const std::string_view suffix = gguf_name.substr(dot);
  std::string_view stem = gguf_name.substr(0, dot);
  for (const auto& [gguf, hf] : kWholeNames)
    if (const std::string_view layer = layerOf(gguf_name, kGgufLayer, gguf); !layer.empty())
      return std::string(kHfLayer).append(layer).append(".").append(hf);
  if (suffix != ".weight" && suffix != ".bias") return std::string(gguf_name);
  if (std::string_view hf = hfOf(kModelNames, stem); !hf.empty())
    return std::string(hf).append(suffix);
  if (!stem.starts_with(kGgufLayer)) return std::string(gguf_name);
  stem.remove_prefix(kGgufLayer.size());
  const size_t end = stem.find('.');
  if (end == std::string_view::npos) return std::string(gguf_name);
  const std::string_view layer = stem.substr(0, end);
  if (std::string_view hf = hfOf(kLayerTensors, gguf_name.substr(kGgufLayer.size() + end + 1));
      !hf.empty())
    return std::string(kHfLayer).append(layer).append(".").append(hf);
  stem.remove_prefix(end + 1);
  if (std::string_view hf = hfOf(kExpertNames, stem); !hf.empty())
    return std::string(kHfLayer)
        .append(layer)
        .append(".")
        .append(kHfEachExpert)
        .append(hf)
        .append(suffix);
  std::string_view hf;
  for (const OwnName& own : kOwnNames)
    if (own.architecture == architecture && own.names.first == stem) hf = own.names.second;
  if (hf.empty()) hf = hfOf(kLayerNames, stem);
  if (hf.empty()) return std::string(gguf_name);
  return std::string(kHfLayer).append(layer).append(".").append(hf).append(suffix);
}

std::string ggufTensorName(std::string_view hf_name, std::string_view architecture) {
  for (const auto& [gguf, hf] : kLayerTensors)
    if (hf_name.starts_with(kHfLayer) && hf_name.ends_with(hf))
      return std::string(kGgufLayer)
          .append(hf_name.substr(kHfLayer.size(), hf_name.size() - kHfLayer.size() - hf.size()))
          .append(gguf);
  if (hasStateSpace(architecture)) {
    const auto [layer, rest] = layerAndRest(hf_name, kHfLayer);
    if (std::string_view gguf = ggufOf(kStateSpaceNames, rest); !gguf.empty())
      return std::string(kGgufLayer).append(layer).append(".").append(gguf);
    if (hf_name == kLfm2Norm.second && architecture.starts_with("lfm2"))
      return std::string(kLfm2Norm.first);
  }
  if (hasDelta(architecture)) {
    const auto [layer, rest] = layerAndRest(hf_name, kHfLayer);
    if (std::string_view gguf = ggufOf(kDeltaNames, rest); !gguf.empty())
      return std::string(kGgufLayer).append(layer).append(".").append(gguf);
  }
  const size_t dot = hf_name.rfind('.');
  if (dot == std::string_view::npos) return std::string(hf_name);
  const std::string_view suffix = hf_name.substr(dot);
  std::string_view stem = hf_name.substr(0, dot);
  for (const auto& [gguf, hf] : kWholeNames)
    if (const std::string_view layer = layerOf(hf_name, kHfLayer, hf); !layer.empty())
      return std::string(kGgufLayer).append(layer).append(".").append(gguf);
  if (std::string_view gguf = ggufOf(kModelNames, stem); !gguf.empty())
    return std::string(gguf).append(suffix);
  if (!stem.starts_with(kHfLayer)) return std::string(hf_name);
  stem.remove_prefix(kHfLayer.size());
  const size_t end = stem.find('.');
  if (end == std::string_view::npos) return std::string(hf_name);
  const std::string_view layer = stem.substr(0, end);
  stem.remove_prefix(end + 1);
  std::string_view gguf;
  if (stem.starts_with(kHfExperts)) gguf = ggufOf(kExpertNames, stem.substr(stem.rfind('.') + 1));
  for (const OwnName& own : kOwnNames)
    if (own.architecture == architecture && own.names.second == stem) gguf = own.names.first;
  if (gguf.empty()) gguf = ggufOf(kLayerNames, stem);
  if (gguf.empty()) return std::string(hf_name);
  return std::string(kGgufLayer).append(layer).append(".").append(gguf).append(suffix);
}

Result<std::unique_ptr<TensorSource>> ggufTensors(std::shared_ptr<const GgufFile> file) {
  auto source = std::make_unique<GgufTensorSource>(std::move(file));
  LLMRT_RETURN_IF_ERROR(source->build());
  return std::unique_ptr<TensorSource>(std::move(source));
}

}  // namespace llmrt
