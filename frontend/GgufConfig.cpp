#include "frontend/GgufConfig.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "frontend/GenerationConfig.h"
#include "frontend/GgufEndTokens.h"
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

constexpr uint32_t kGgmlF32 = 0, kGgmlF16 = 1, kGgmlBF16 = 30;

// Keys below "<architecture>.".
class GgufConfigParser {
 public:
  GgufConfigParser(const GgufFile& file, ModelSpec& spec) : file_(file), spec_(spec) {}

  Status parse() {
    LLMRT_RETURN_IF_ERROR(refuseOtherTypes());
    LLMRT_ASSIGN_OR_RETURN(auto architecture, file_.getString("general.architecture"));
    if (!architecture)
      return invalidData("metadata 'general.architecture' is missing: not a model");
    const Architecture* entry = findGgufArchitecture(*architecture);
    if (!entry) return unknownArchitecture(*architecture);
    prefix_ = std::string(*architecture) + ".";
    spec_.architecture = entry->model_type;
    spec_.form = entry->form;
    spec_.form.norm_plus = 0;  // convert_hf_to_gguf.py adds it
    LLMRT_ASSIGN_OR_RETURN(spec_.activation, parseActivation(entry->default_activation));
    LLMRT_RETURN_IF_ERROR(refuseUnsupported());
    LLMRT_RETURN_IF_ERROR(parseSizes());
    LLMRT_RETURN_IF_ERROR(parseScales());
    LLMRT_RETURN_IF_ERROR(parseRope(*entry));
    if (*architecture == "gemma3") LLMRT_RETURN_IF_ERROR(finishGemma3(*entry));
    LLMRT_RETURN_IF_ERROR(parseSpecialTokens());
    LLMRT_RETURN_IF_ERROR(readGgufSampling(file_, spec_));
    readTensorFacts();
    LLMRT_RETURN_IF_ERROR(checkSpec(spec_));
    computeInvFreq(spec_.rope, spec_.head_dim);
    if (spec_.local_rope) computeInvFreq(*spec_.local_rope, spec_.head_dim);
    return applyRopeFreqs();
  }

 private:
  Result<int64_t> needInt(const char* key) const {
    LLMRT_ASSIGN_OR_RETURN(auto value, file_.getInt(prefix_ + key));
    if (!value) return invalidData("metadata " + quotedName(prefix_ + key) + " is missing");
    return *value;
  }

  // gguf-py's GGUFType: files of other things than models name an architecture, too.
  Status refuseOtherTypes() const {
    LLMRT_ASSIGN_OR_RETURN(auto type, file_.getString("general.type"));
    if (!type || *type == "model") return {};
    if (*type == "adapter")
      return unsupported(
          "general.type 'adapter': a LoRA adapter, not a model: merge it into its base model first "
          "(llama.cpp's llama-export-lora)");
    return unsupported("general.type " + quotedName(*type) + ": not a model");
  }

  static Status unknownArchitecture(std::string_view architecture) {
    std::string message =
        "general.architecture " + quotedName(architecture) +
        " is not supported in GGUF files (supported: " + knownGgufArchitectures() + ")";
    if (const Architecture* hf = findHfArchitectureOfGguf(architecture))
      message += "; the model's Hugging Face directory is (" + std::string(hf->class_name) +
                 ", config.json and safetensors): give that";
    return unsupported(std::move(message));
  }

  Status refuseUnsupported() const {
    LLMRT_ASSIGN_OR_RETURN(auto experts, file_.getInt(prefix_ + "expert_count"));
    if (experts.value_or(0) > 0)
      return unsupported("metadata " + quotedName(prefix_ + "expert_count") + " " +
                         std::to_string(*experts) +
                         ": mixtures of experts are not supported in GGUF files; Mixtral's Hugging "
                         "Face directory (config.json and safetensors) is: give that");
    // Of Olmo 3, which says olmo2.
    if (const std::string key = prefix_ + "attention.sliding_window_pattern"; file_.has(key))
      return unsupported("metadata " + quotedName(key) + " is not supported");
    return {};
  }

  // Granite's; Gemma's files leave theirs out.
  Status parseScales() {
    if (spec_.architecture.starts_with("gemma")) {
      spec_.embedding_scale =
          std::sqrt(static_cast<double>(std::max<int64_t>(0, spec_.hidden_size)));
      spec_.rounds_embedding_scale = true;
    }
    double logits = 1;
    const std::pair<const char*, double*> scales[] = {{"embedding_scale", &spec_.embedding_scale},
                                                      {"residual_scale", &spec_.residual_scale},
                                                      {"attention.scale", &spec_.attention_scale},
                                                      {"logit_scale", &logits}};
    for (const auto& [key, scale] : scales) {
      LLMRT_ASSIGN_OR_RETURN(auto value, file_.getFloat(prefix_ + key));
      if (!value) continue;
      if (spec_.architecture != "granite")
        return unsupported("metadata " + quotedName(prefix_ + key) + " is not supported");
      LLMRT_RETURN_IF_ERROR(checkPositive("metadata " + quotedName(prefix_ + key), *value));
      *scale = *value;
    }
    spec_.logit_scale = 1 / logits;
    return {};
  }

  Status parseSizes() {
    LLMRT_ASSIGN_OR_RETURN(spec_.hidden_size, needInt("embedding_length"));
    LLMRT_ASSIGN_OR_RETURN(spec_.intermediate_size, needInt("feed_forward_length"));
    LLMRT_ASSIGN_OR_RETURN(spec_.num_layers, needInt("block_count"));
    LLMRT_ASSIGN_OR_RETURN(spec_.num_heads, needInt("attention.head_count"));
    LLMRT_ASSIGN_OR_RETURN(auto kv_heads, file_.getInt(prefix_ + "attention.head_count_kv"));
    spec_.num_kv_heads = kv_heads.value_or(spec_.num_heads);
    LLMRT_ASSIGN_OR_RETURN(spec_.max_position_embeddings, needInt("context_length"));
    LLMRT_ASSIGN_OR_RETURN(auto window, file_.getInt(prefix_ + "attention.sliding_window"));
    spec_.sliding_window = window.value_or(0);
    LLMRT_ASSIGN_OR_RETURN(auto eps, file_.getFloat(prefix_ + "attention.layer_norm_rms_epsilon"));
    if (!eps)
      return invalidData("metadata " + quotedName(prefix_ + "attention.layer_norm_rms_epsilon") +
                         " is missing");
    spec_.rms_norm_eps = *eps;

    LLMRT_ASSIGN_OR_RETURN(auto key_length, file_.getInt(prefix_ + "attention.key_length"));
    LLMRT_ASSIGN_OR_RETURN(auto value_length, file_.getInt(prefix_ + "attention.value_length"));
    if (!key_length && (spec_.num_heads < 1 || spec_.hidden_size % spec_.num_heads != 0))
      return invalidData("metadata " + quotedName(prefix_ + "embedding_length") + " " +
                         std::to_string(spec_.hidden_size) + " is not a multiple of head_count " +
                         std::to_string(spec_.num_heads) + " and there is no key_length");
    spec_.head_dim = key_length ? *key_length : spec_.hidden_size / spec_.num_heads;
    if (value_length.value_or(spec_.head_dim) != spec_.head_dim)
      return unsupported("metadata " + quotedName(prefix_ + "attention.value_length") + " " +
                         std::to_string(*value_length) + " is not supported: keys have " +
                         std::to_string(spec_.head_dim));

    LLMRT_ASSIGN_OR_RETURN(auto vocab_size, file_.getInt(prefix_ + "vocab_size"));
    if (auto tokens = file_.arraySize("tokenizer.ggml.tokens")) {
      spec_.vocab_size = static_cast<int64_t>(*tokens);
    } else if (vocab_size) {
      spec_.vocab_size = *vocab_size;
    } else {
      return invalidData("metadata 'tokenizer.ggml.tokens' and " +
                         quotedName(prefix_ + "vocab_size") + " are both missing");
    }
    return {};
  }

  Status parseRope(const Architecture& architecture) {
    LLMRT_ASSIGN_OR_RETURN(auto dimensions, file_.getInt(prefix_ + "rope.dimension_count"));
    spec_.rope.dim = dimensions.value_or(spec_.head_dim);
    if (dimensions &&
        (*dimensions < 1 || (*dimensions != spec_.head_dim && !architecture.has_partial_rotary)))
      return unsupported("metadata " + quotedName(prefix_ + "rope.dimension_count") + " " +
                         std::to_string(*dimensions) + " is not supported: heads have " +
                         std::to_string(spec_.head_dim));
    LLMRT_ASSIGN_OR_RETURN(auto theta, file_.getFloat(prefix_ + "rope.freq_base"));
    spec_.rope.theta = theta.value_or(10000.0);

    if (file_.findTensor("rope_factors_long.weight")) return parseLongrope();
    LLMRT_ASSIGN_OR_RETURN(auto type, file_.getString(prefix_ + "rope.scaling.type"));
    LLMRT_ASSIGN_OR_RETURN(auto factor, file_.getFloat(prefix_ + "rope.scaling.factor"));
    LLMRT_ASSIGN_OR_RETURN(auto old_factor, file_.getFloat(prefix_ + "rope.scale_linear"));
    if (type && *type != "none" && *type != "linear")
      return unsupported("metadata " + quotedName(prefix_ + "rope.scaling.type") + " " +
                         quotedName(*type) + " is not supported (none and linear are)");
    if (type == "none") return {};
    if (!factor) factor = old_factor;  // the key of older files; llama.cpp takes 0 as absent
    if (factor.value_or(0.0) == 0.0 || *factor == 1.0) return {};
    spec_.rope.scaling = RopeScaling::kLinear;
    spec_.rope.factor = *factor;
    return {};
  }

  // What the file leaves to its reader (llama.cpp's load_hparams() of gemma3): which layers have
  // the window, what rotates there, and the scale of the scores, which is another in the model of
  // 27B.
  Status finishGemma3(const Architecture& architecture) {
    constexpr int64_t kGlobalEvery = 6, kLayersOf27B = 62;
    LLMRT_ASSIGN_OR_RETURN(auto softcap, file_.getFloat(prefix_ + "final_logit_softcapping"));
    spec_.logit_softcap = softcap.value_or(0.0);
    const bool wide = spec_.num_layers == kLayersOf27B && spec_.num_heads > 0;
    spec_.attention_scale =
        1 /
        std::sqrt(static_cast<double>(wide ? spec_.hidden_size / spec_.num_heads : spec_.head_dim));
    if (spec_.sliding_window == 0) return {};
    LLMRT_ASSIGN_OR_RETURN(auto local_theta, file_.getFloat(prefix_ + "rope.freq_base_swa"));
    spec_.local_rope.emplace().theta =
        local_theta.value_or(architecture.default_local_rope_theta);
    spec_.local_rope->dim = spec_.head_dim;
    for (int64_t layer = 0; layer < std::min(spec_.num_layers, kMaxLayers); ++layer)
      spec_.windowed_layers.push_back((layer + 1) % kGlobalEvery != 0);
    return {};
  }

  // Phi-3's factors are tensors, each for the frequency that it divides.
  Status parseLongrope() {
    Rope& rope = spec_.rope;
    rope.scaling = RopeScaling::kLongrope;
    LLMRT_ASSIGN_OR_RETURN(rope.original_max_position_embeddings,
                           needInt("rope.scaling.original_context_length"));
    LLMRT_ASSIGN_OR_RETURN(auto attention, file_.getFloat(prefix_ + "rope.scaling.attn_factor"));
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
      if (!(factor > 0 && factor < 1e30f))
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

  void readTensorFacts() {
    const auto holds = [this](const char* name) { return file_.findTensor(name) != nullptr; };
    spec_.qkv_bias = holds("blk.0.attn_q.bias") || holds("blk.0.attn_qkv.bias");
    spec_.o_bias = holds("blk.0.attn_output.bias");
    spec_.mlp_bias = holds("blk.0.ffn_gate.bias") || holds("blk.0.ffn_up.bias");
    // A vocabulary-only file says nothing about its embeddings.
    spec_.tie_word_embeddings = !file_.tensors().empty() && !file_.findTensor("output.weight");
    const GgufTensor* weight = file_.findTensor("blk.0.attn_q.weight");
    if (!weight) weight = file_.findTensor("blk.0.attn_qkv.weight");
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
      inv_freq = static_cast<float>(inv_freq) / static_cast<float>(factors[i]);
    }
    return {};
  }

  const GgufFile& file_;
  ModelSpec& spec_;
  std::string prefix_;
};

}  // namespace

Result<ModelSpec> parseGgufConfig(const GgufFile& file, std::string name) {
  ModelSpec spec;
  spec.name = std::move(name);
  LLMRT_RETURN_IF_ERROR(GgufConfigParser(file, spec).parse().withContext(file.path()));
  return spec;
}

}  // namespace llmc
