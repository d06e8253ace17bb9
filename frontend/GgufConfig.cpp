#include "frontend/GgufConfig.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "frontend/GenerationConfig.h"
#include "frontend/GgufEndTokens.h"
#include "frontend/GgufFamilies.h"
#include "frontend/GgufFields.h"
#include "frontend/HfConfig.h"
#include "models/Architectures.h"
#include "models/CheckSpec.h"
#include "models/Rope.h"
#include "runtime/io/float_convert.h"
#include "runtime/io/printable.h"

namespace llmc {
namespace {

using llmrt::GgufFile;
using llmrt::GgufTensor;
using llmrt::invalidData;
using llmrt::quotedName;
using llmrt::Result;
using llmrt::Status;
using llmrt::unsupported;

/// A factor of frequencies that stand still (Gemma 4).
constexpr float kTurnsNot = 1e30f;

constexpr uint32_t kGgmlF32 = 0, kGgmlF16 = 1, kGgmlBF16 = 30;

class GgufConfigParser {
 public:
  GgufConfigParser(const GgufFile& file, std::string_view architecture, ModelSpec& spec)
      : file_(file), fields_(file, architecture), spec_(spec) {}

  Status parse() {
    LLMRT_ASSIGN_OR_RETURN(const Architecture* entry, architectureOfGguf(fields_));
    if (!entry) return unknownArchitecture(fields_.architecture());
    spec_.architecture = entry->model_type;
    spec_.form = formOfGguf(*entry, fields_);
    spec_.learned_positions = !spec_.form.names.positions.empty();
    LLMRT_ASSIGN_OR_RETURN(spec_.activation, parseActivation(entry->default_activation));
    LLMRT_RETURN_IF_ERROR(refuseForeignGgufFields(*entry, fields_));
    LLMRT_RETURN_IF_ERROR(parseSizes());
    if (!spec_.learned_positions) LLMRT_RETURN_IF_ERROR(parseRope(*entry));
    LLMRT_RETURN_IF_ERROR(parseSpecialTokens());
    LLMRT_RETURN_IF_ERROR(readGgufSampling(file_, spec_));
    readTensorFacts(*entry);
    LLMRT_RETURN_IF_ERROR(readGgufFamily(*entry, fields_, spec_));
    LLMRT_RETURN_IF_ERROR(checkSpec(spec_));
    computeInvFreq(spec_.rope, spec_.ropeHeadDim(false));
    if (spec_.local_rope) computeInvFreq(*spec_.local_rope, spec_.head_dim);
    return applyRopeFreqs();
  }

 private:
  static Status unknownArchitecture(std::string_view architecture) {
    return unsupported("general.architecture " + quotedName(architecture) +
                       " is not supported in GGUF files (supported: " + knownGgufArchitectures() +
                       ")");
  }

  /// Heads of the cache are not those of the projections: readGgufFamily() says what they are.
  bool hasLatents() const { return hasLatentsInGguf(*findArchitecture(spec_.architecture)); }
  /// readGgufFamily() does.
  bool readsLogMultiplier() const { return hasLatents() || spec_.architecture == "ministral3"; }
  static constexpr const char* kLogMultiplier = "rope.scaling.yarn_log_multiplier";

  Status parseSizes() {
    LLMRT_ASSIGN_OR_RETURN(spec_.hidden_size, fields_.needInt("embedding_length"));
    // Files of models that have experts alone may say nothing of others' size.
    const char* size = fields_.has("feed_forward_length")          ? "feed_forward_length"
                       : fields_.has("expert_feed_forward_length") ? "expert_feed_forward_length"
                                                                   : "feed_forward_length";
    LLMRT_ASSIGN_OR_RETURN(spec_.intermediate_size, mostOf(size));
    LLMRT_ASSIGN_OR_RETURN(spec_.num_layers, fields_.needInt("block_count"));
    LLMRT_ASSIGN_OR_RETURN(spec_.num_heads, mostOf("attention.head_count"));
    spec_.num_kv_heads = spec_.num_heads;
    if (fields_.has("attention.head_count_kv")) {
      LLMRT_ASSIGN_OR_RETURN(spec_.num_kv_heads, mostOf("attention.head_count_kv"));
    }
    // Of models without attention or without MLPs, whose sizes nothing uses.
    if (fields_.has("ssm.conv_kernel") && spec_.num_heads == 0)
      spec_.num_heads = spec_.num_kv_heads = 1;
    if (fields_.has("ssm.conv_kernel") && spec_.intermediate_size == 0)
      spec_.intermediate_size = spec_.hidden_size;
    LLMRT_ASSIGN_OR_RETURN(spec_.max_position_embeddings, fields_.needInt("context_length"));
    LLMRT_ASSIGN_OR_RETURN(auto window, fields_.getInt("attention.sliding_window"));
    spec_.sliding_window = window.value_or(0);
    // Some files call it by the other norm's name.
    const char* const rms = "attention.layer_norm_rms_epsilon";
    const char* const layer = "attention.layer_norm_epsilon";
    const bool other = fields_.has("ssm.conv_kernel") && !fields_.has(rms);
    LLMRT_ASSIGN_OR_RETURN(
        spec_.rms_norm_eps,
        fields_.needFloat(spec_.form.norm == NormKind::kLayer || other ? layer : rms));

    LLMRT_ASSIGN_OR_RETURN(auto key_length, fields_.getInt("attention.key_length"));
    LLMRT_ASSIGN_OR_RETURN(auto value_length, fields_.getInt("attention.value_length"));
    if (!key_length && (spec_.num_heads < 1 || spec_.hidden_size % spec_.num_heads != 0))
      return invalidData(fields_.nameOf("embedding_length") + " " +
                         std::to_string(spec_.hidden_size) + " is not a multiple of head_count " +
                         std::to_string(spec_.num_heads) + " and there is no key_length");
    spec_.head_dim = key_length ? *key_length : spec_.hidden_size / spec_.num_heads;
    if (value_length.value_or(spec_.head_dim) != spec_.head_dim && !hasLatents())
      return unsupported(fields_.nameOf("attention.value_length") + " " +
                         std::to_string(*value_length) + " is not supported: keys have " +
                         std::to_string(spec_.head_dim));

    LLMRT_ASSIGN_OR_RETURN(auto vocab_size, fields_.getInt("vocab_size"));
    if (auto tokens = file_.arraySize("tokenizer.ggml.tokens")) {
      spec_.vocab_size = static_cast<int64_t>(*tokens);
    } else if (vocab_size) {
      spec_.vocab_size = *vocab_size;
    } else {
      return invalidData("metadata 'tokenizer.ggml.tokens' and " + fields_.nameOf("vocab_size") +
                         " are both missing");
    }
    return {};
  }

  /// What all layers have; the most that one has, in families that read those of each themselves.
  Result<int64_t> mostOf(const char* key) const {
    if (!fields_.hasArray(key)) return fields_.needInt(key);
    LLMRT_ASSIGN_OR_RETURN(const std::vector<int64_t> values, fields_.ofLayers(key));
    const auto [least, most] = std::ranges::minmax_element(values);
    if (values.empty() || *least == *most || readsLayerInts(*findArchitecture(spec_.architecture)))
      return values.empty() ? 0 : *most;
    return fields_.refuse(key, ": layers that differ in it");
  }

  Status parseRope(const Architecture& architecture) {
    LLMRT_ASSIGN_OR_RETURN(auto dimensions, fields_.getInt("rope.dimension_count"));
    spec_.rope.dim = dimensions.value_or(spec_.head_dim);
    if (dimensions && (*dimensions < 1 || (*dimensions != spec_.head_dim &&
                                           !architecture.has_partial_rotary && !hasLatents())))
      return unsupported(fields_.nameOf("rope.dimension_count") + " " +
                         std::to_string(*dimensions) + " is not supported: heads have " +
                         std::to_string(spec_.head_dim));
    LLMRT_ASSIGN_OR_RETURN(auto theta, fields_.getFloat("rope.freq_base"));
    spec_.rope.theta = theta.value_or(10000.0);

    if (file_.findTensor("rope_factors_long.weight")) return parseLongrope();
    LLMRT_ASSIGN_OR_RETURN(auto type, fields_.getString("rope.scaling.type"));
    LLMRT_ASSIGN_OR_RETURN(auto factor, fields_.getFloat("rope.scaling.factor"));
    LLMRT_ASSIGN_OR_RETURN(auto old_factor, fields_.getFloat("rope.scale_linear"));
    if (type && *type != "none" && *type != "linear" && *type != "yarn")
      return unsupported(fields_.nameOf("rope.scaling.type") + " " + quotedName(*type) +
                         " is not supported (none, linear and yarn are)");
    if (type == "none") return {};
    if (!factor) factor = old_factor;  // the key of older files; llama.cpp takes 0 as absent
    if (factor.value_or(0.0) == 0.0 || *factor == 1.0) return {};
    spec_.rope.scaling = type == "yarn" ? RopeScaling::kYarn : RopeScaling::kLinear;
    spec_.rope.factor = *factor;
    return type == "yarn" ? parseYarn() : Status();
  }

  // The scale of cos and sin follows from the factor, as in Transformers; the file may have one
  // more.
  Status parseYarn() {
    Rope& rope = spec_.rope;
    LLMRT_RETURN_IF_ERROR(checkPositive(fields_.nameOf("rope.scaling.factor"), rope.factor));
    LLMRT_ASSIGN_OR_RETURN(auto original, fields_.getInt("rope.scaling.original_context_length"));
    rope.original_max_position_embeddings = original.value_or(spec_.max_position_embeddings);
    LLMRT_ASSIGN_OR_RETURN(auto fast, fields_.getFloat("rope.scaling.yarn_beta_fast"));
    LLMRT_ASSIGN_OR_RETURN(auto slow, fields_.getFloat("rope.scaling.yarn_beta_slow"));
    rope.beta_fast = fast.value_or(rope.beta_fast);
    rope.beta_slow = slow.value_or(rope.beta_slow);
    LLMRT_ASSIGN_OR_RETURN(auto attention, fields_.getFloat("rope.scaling.attn_factor"));
    rope.attention_factor = attention.value_or(1.0) * yarnScale(rope.factor, 1.0);
    for (const char* key :
         {"rope.scaling.yarn_ext_factor", "rope.scaling.yarn_attn_factor", kLogMultiplier})
      if (fields_.has(key) && !(readsLogMultiplier() && key == kLogMultiplier))
        return fields_.refuse(key);
    if (hasLatents() && attention.value_or(1.0) != 1.0)
      return fields_.refuse("rope.scaling.attn_factor");
    return {};
  }

  // Phi-3's factors are tensors, each for the frequency that it divides.
  Status parseLongrope() {
    Rope& rope = spec_.rope;
    rope.scaling = RopeScaling::kLongrope;
    LLMRT_ASSIGN_OR_RETURN(rope.original_max_position_embeddings,
                           fields_.needInt("rope.scaling.original_context_length"));
    LLMRT_ASSIGN_OR_RETURN(auto attention, fields_.getFloat("rope.scaling.attn_factor"));
    rope.attention_factor = attention.value_or(1.0);
    LLMRT_ASSIGN_OR_RETURN(rope.short_factor, ropeFactors("rope_factors_short.weight"));
    LLMRT_ASSIGN_OR_RETURN(rope.long_factor, ropeFactors("rope_factors_long.weight"));
    return {};
  }

  // A tensor of one factor above 0 for each frequency; empty where there is none.
  Result<std::vector<double>> ropeFactors(const char* name) const {
    std::vector<double> out;
    const GgufTensor* factors = file_.findTensor(name);
    if (!factors) return out;
    const int64_t count = spec_.rope.dim / 2;
    if (factors->type != kGgmlF32 || factors->shape != std::vector<int64_t>{count})
      return invalidData("tensor " + quotedName(name) + " must be f32 [" + std::to_string(count) +
                         "]");
    for (int64_t i = 0; i < count; ++i) {
      const float factor = llmrt::loadAsF32(llmrt::DType::kF32, factors->data, i);
      if (!(factor > 0 && factor <= kTurnsNot))
        return invalidData("tensor " + quotedName(name) +
                           " holds a factor that is not above 0, at " + std::to_string(i));
      out.push_back(factor);
    }
    return out;
  }

  // Absent ids have llama.cpp's defaults for SentencePiece vocabularies; 2^32 - 1 means none.
  Result<std::optional<int64_t>> tokenId(const std::string& key,
                                         std::optional<int64_t> default_id) const {
    LLMRT_ASSIGN_OR_RETURN(auto id, file_.getInt(key));
    if (!id) return default_id;
    if (*id == std::numeric_limits<uint32_t>::max() || *id == -1) return std::optional<int64_t>();
    if (*id < 0 || *id > std::numeric_limits<int32_t>::max())
      return invalidData("metadata " + quotedName(key) + " is " + std::to_string(*id) +
                         ", expected a token id");
    return id;
  }

  Status parseSpecialTokens() {
    LLMRT_ASSIGN_OR_RETURN(auto model, file_.getString("tokenizer.ggml.model"));
    const bool sentencepiece = model == "llama";
    LLMRT_ASSIGN_OR_RETURN(spec_.bos_token_id,
                           tokenId("tokenizer.ggml.bos_token_id",
                                   sentencepiece ? std::optional<int64_t>(1) : std::nullopt));
    LLMRT_ASSIGN_OR_RETURN(auto eos,
                           tokenId("tokenizer.ggml.eos_token_id",
                                   sentencepiece ? std::optional<int64_t>(2) : std::nullopt));
    LLMRT_ASSIGN_OR_RETURN(spec_.eos_token_ids, endTokensOfGguf(file_, eos.value_or(-1)));
    return {};
  }

  void readTensorFacts(const Architecture& architecture) {
    // A vocabulary-only file says nothing about its embeddings, and of biases what all of the
    // architecture have.
    if (!fields_.hasTensors()) {
      spec_.qkv_bias = architecture.qkv_bias;
      spec_.o_bias = architecture.o_bias;
      spec_.mlp_bias = architecture.mlp_bias;
      return;
    }
    const auto layersHold = [this](const char* name) { return anyLayerHas(fields_, spec_, name); };
    spec_.qkv_bias = layersHold("attn_q.bias") || layersHold("attn_qkv.bias");
    spec_.o_bias = layersHold("attn_output.bias");
    spec_.mlp_bias = layersHold("ffn_gate.bias") || layersHold("ffn_up.bias");
    spec_.lm_head_bias = fields_.hasTensor("output.bias");
    spec_.tie_word_embeddings = !fields_.hasTensor("output.weight");
    // What the first layers' matrices are kept in, whatever these layers are.
    const GgufTensor* weight = nullptr;
    for (const char* name :
         {"blk.0.attn_q.weight", "blk.0.attn_qkv.weight", "blk.0.attn_output.weight",
          "blk.0.ssm_in.weight", "blk.0.shortconv.in_proj.weight", "token_embd.weight"})
      if (!weight) weight = file_.findTensor(name);
    if (weight) {
      if (weight->type == kGgmlF32) spec_.dtype = llmrt::DType::kF32;
      if (weight->type == kGgmlF16) spec_.dtype = llmrt::DType::kF16;
      if (weight->type == kGgmlBF16) spec_.dtype = llmrt::DType::kBF16;
    }
  }

  // The factors that Llama 3's scaling comes to, one per frequency; ggml divides each angle by its
  // factor.
  Status applyRopeFreqs() {
    LLMRT_ASSIGN_OR_RETURN(const std::vector<double> factors, ropeFactors("rope_freqs.weight"));
    for (size_t i = 0; i < factors.size(); ++i) {
      double& inv_freq = spec_.rope.inv_freq[i];
      inv_freq = factors[i] == kTurnsNot
                     ? 0.0f
                     : static_cast<float>(inv_freq) / static_cast<float>(factors[i]);
    }
    return {};
  }

  const GgufFile& file_;
  const GgufFields fields_;
  ModelSpec& spec_;
};

// gguf-py's GGUFType: files of other things than models name an architecture, too.
Status refuseOtherTypes(const GgufFile& file) {
  LLMRT_ASSIGN_OR_RETURN(auto type, file.getString("general.type"));
  if (!type || *type == "model") return {};
  if (*type == "adapter")
    return unsupported(
        "general.type 'adapter': a LoRA adapter, not a model: merge it into its base model first "
        "(llama.cpp's llama-export-lora)");
  return unsupported("general.type " + quotedName(*type) + ": not a model");
}

Status parse(const GgufFile& file, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(refuseOtherTypes(file));
  LLMRT_ASSIGN_OR_RETURN(auto architecture, file.getString("general.architecture"));
  if (!architecture) return invalidData("metadata 'general.architecture' is missing: not a model");
  return GgufConfigParser(file, *architecture, spec).parse();
}

}  // namespace

Result<ModelSpec> parseGgufConfig(const GgufFile& file, std::string name) {
  ModelSpec spec;
  spec.name = std::move(name);
  LLMRT_RETURN_IF_ERROR(parse(file, spec).withContext(file.path()));
  return spec;
}

}  // namespace llmc
