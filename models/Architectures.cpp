#include "models/Architectures.h"

#include <utility>

namespace llmc {
namespace {

// Building blocks of forms, so that an entry says how its models differ and no more.

constexpr Form layerNorms(Form form) {
  form.norm = NormKind::kLayer;
  form.norm_bias = true;
  return form;
}

/// Norms around attention and MLP: Gemma 2's names.
constexpr Form gemmaNorms() {
  Form form;
  form.norm_plus = 1.0;
  form.post_norm = true;
  form.names.mlp_norm = "pre_feedforward_layernorm";
  form.names.attention_out_norm = "post_attention_layernorm";
  form.names.mlp_out_norm = "post_feedforward_layernorm";
  return form;
}

/// Attention whose output is gated, between layers of linear attention.
constexpr Form qwenHybrid(Form form) {
  form.norm_plus = 1.0;
  form.qk_norm = QkNorm::kHead;
  form.output_gate = true;
  form.mtp_chains_norm = true;
  TensorNames& names = form.names;
  names.mtp_layer = "mtp.layers.0.";
  names.mtp_embedding_norm = "mtp.pre_fc_norm_embedding";
  names.mtp_hidden_norm = "mtp.pre_fc_norm_hidden";
  names.mtp_proj = "mtp.fc";
  names.mtp_norm = "mtp.norm";
  return form;
}

constexpr Form gemma4Form() {
  Form form = gemmaNorms();
  form.norm_plus = 0;
  form.qk_norm = QkNorm::kHead;
  form.value_norm = true;
  form.layer_scale = true;
  form.experts = ExpertLayout::kStacked;
  TensorNames& names = form.names;
  names.router_norm = "router.scale";
  names.router = "router.proj";
  names.expert_scale = "router.per_expert_scale";
  names.experts_gate_up = "experts.gate_up_proj";
  names.experts_down = "experts.down_proj";
  names.dense_out_norm = "post_feedforward_layernorm_1";
  names.expert_norm = "pre_feedforward_layernorm_2";
  names.expert_out_norm = "post_feedforward_layernorm_2";
  return form;
}

constexpr const char* kGemma4Rope = R"({
    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25,
                       "rope_theta": 1000000.0}})";

constexpr TensorNames mixtralNames() {
  TensorNames names;
  names.router = "block_sparse_moe.gate";
  names.expert_gate = "block_sparse_moe.experts.{expert}.w1";
  names.expert_up = "block_sparse_moe.experts.{expert}.w3";
  names.expert_down = "block_sparse_moe.experts.{expert}.w2";
  return names;
}

constexpr TensorNames deepseekNames() {
  TensorNames names;
  names.shared = "mlp.shared_experts.";
  return names;
}
/// With layers of multi-token prediction behind the model's own.
constexpr TensorNames deepseekMtpNames() {
  TensorNames names = deepseekNames();
  names.mtp_layer = names.layer;
  names.mtp_embedding_norm = "model.layers.{layer}.enorm";
  names.mtp_hidden_norm = "model.layers.{layer}.hnorm";
  names.mtp_proj = "model.layers.{layer}.eh_proj";
  names.mtp_norm = "model.layers.{layer}.shared_head.norm";
  names.mtp_embed = "model.layers.{layer}.embed_tokens";
  names.mtp_lm_head = "model.layers.{layer}.shared_head.head";
  return names;
}

constexpr TensorNames glm4Names() {
  TensorNames names;
  names.attention_out_norm = "post_self_attn_layernorm";
  names.mlp_out_norm = "post_mlp_layernorm";
  return names;
}

constexpr TensorNames internlm2Names() {
  TensorNames names;
  names.embed = "model.tok_embeddings";
  names.lm_head = "output";
  names.input_norm = "attention_norm";
  names.mlp_norm = "ffn_norm";
  names.qkv = "attention.wqkv";
  names.o = "attention.wo";
  names.gate = "feed_forward.w1";
  names.up = "feed_forward.w3";
  names.down = "feed_forward.w2";
  return names;
}

constexpr TensorNames gpt2Names() {
  TensorNames names;
  names.embed = "transformer.wte";
  names.positions = "transformer.wpe";
  names.norm = "transformer.ln_f";
  names.layer = "transformer.h.{layer}.";
  names.input_norm = "ln_1";
  names.mlp_norm = "ln_2";
  names.qkv = "attn.c_attn";
  names.o = "attn.c_proj";
  names.up = "mlp.c_fc";
  names.down = "mlp.c_proj";
  return names;
}

constexpr TensorNames neoxNames() {
  TensorNames names;
  names.embed = "gpt_neox.embed_in";
  names.norm = "gpt_neox.final_layer_norm";
  names.lm_head = "embed_out";
  names.layer = "gpt_neox.layers.{layer}.";
  names.qkv = "attention.query_key_value";
  names.o = "attention.dense";
  names.up = "mlp.dense_h_to_4h";
  names.down = "mlp.dense_4h_to_h";
  return names;
}

constexpr TensorNames falconNames() {
  TensorNames names;
  names.embed = "transformer.word_embeddings";
  names.norm = "transformer.ln_f";
  names.layer = "transformer.h.{layer}.";
  names.qkv = "self_attention.query_key_value";
  names.o = "self_attention.dense";
  names.up = "mlp.dense_h_to_4h";
  names.down = "mlp.dense_4h_to_h";
  return names;
}

constexpr TensorNames phiNames() {
  TensorNames names;
  names.norm = "model.final_layernorm";
  names.o = "self_attn.dense";
  names.up = "mlp.fc1";
  names.down = "mlp.fc2";
  return names;
}

constexpr TensorNames starcoder2Names() {
  TensorNames names;
  names.up = "mlp.c_fc";
  names.down = "mlp.c_proj";
  return names;
}

constexpr TensorNames olmo2Names() {
  TensorNames names;
  names.attention_out_norm = "post_attention_layernorm";
  names.mlp_out_norm = "post_feedforward_layernorm";
  return names;
}

constexpr TensorNames gptOssNames() {
  TensorNames names;
  names.router = "mlp.router";
  return names;
}

constexpr TensorNames lfm2Names() {
  TensorNames names;
  names.norm = "model.embedding_norm";
  names.input_norm = "operator_norm";
  names.mlp_norm = "ffn_norm";
  names.o = "self_attn.out_proj";
  names.q_norm = "self_attn.q_layernorm";
  names.k_norm = "self_attn.k_layernorm";
  names.gate = "feed_forward.w1";
  names.up = "feed_forward.w3";
  names.down = "feed_forward.w2";
  names.router = "feed_forward.gate";
  names.choice = "feed_forward.expert_bias";
  names.expert_gate = "feed_forward.experts.{expert}.w1";
  names.expert_up = "feed_forward.experts.{expert}.w3";
  names.expert_down = "feed_forward.experts.{expert}.w2";
  return names;
}

/// LFM2's, with attention as Qwen3 calls it.
constexpr TensorNames lfm3Names() {
  const TensorNames llama;
  TensorNames names = lfm2Names();
  names.o = llama.o;
  names.q_norm = llama.q_norm;
  names.k_norm = llama.k_norm;
  names.attention_out_norm = "post_operator_norm";
  names.mlp_out_norm = "post_ffn_norm";
  return names;
}

constexpr const char* kLfm3Rope = R"({
    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.5,
                       "rope_theta": 1000000.0}})";

constexpr TensorNames mamba2Names() {
  TensorNames names;
  names.embed = "backbone.embeddings";
  names.norm = "backbone.norm_f";
  names.layer = "backbone.layers.{layer}.";
  names.input_norm = names.mlp_norm = "norm";
  names.state_space = "mixer.";
  return names;
}

constexpr TensorNames nemotronNames() {
  TensorNames names = mamba2Names();
  names.q = "mixer.q_proj";
  names.k = "mixer.k_proj";
  names.v = "mixer.v_proj";
  names.o = "mixer.o_proj";
  names.up = "mixer.up_proj";
  names.down = "mixer.down_proj";
  names.router = "mixer.gate";
  names.expert_up = "mixer.experts.{expert}.up_proj";
  names.expert_down = "mixer.experts.{expert}.down_proj";
  names.latent_down = "mixer.fc1_latent_proj";
  names.latent_up = "mixer.fc2_latent_proj";
  names.shared = "mixer.shared_experts.";
  return names;
}

constexpr TensorNames graniteHybridNames() {
  TensorNames names;
  names.gate_up = names.shared_gate_up = "shared_mlp.input_linear";
  names.down = names.shared_down = "shared_mlp.output_linear";
  names.router = "block_sparse_moe.router.layer";
  names.experts_gate_up = "block_sparse_moe.input_linear.weight";
  names.experts_down = "block_sparse_moe.output_linear.weight";
  return names;
}

constexpr ConfigNames lfm2Fields() {
  ConfigNames fields;
  fields.eps = "norm_eps";
  fields.older_intermediate_size = "block_ff_dim";
  fields.older_tied = "tie_embedding";
  return fields;
}

// Defaults: transformers v5, configuration_*.py of each; InternLM2 and MiniCPM: the
// configuration_*.py beside their checkpoints.
constexpr Architecture kArchitectures[] = {
    {.model_type = "llama",
     .class_name = "LlamaForCausalLM",
     .gguf_architecture = "llama",
     .default_bos = 1,
     .default_eos = 2,
     .has_biases = true},
    // GGUF files of Mistral models say "llama" too; "mistral" is accepted for those that do not.
    {.model_type = "mistral",
     .class_name = "MistralForCausalLM",
     .gguf_architecture = "mistral",
     .default_num_kv_heads = 8,
     .default_max_position_embeddings = 131072,
     .default_sliding_window = 4096,
     .default_bos = 1,
     .default_eos = 2,
     .has_sliding_window = true},
    {.model_type = "ministral3",
     .class_name = "Ministral3ForCausalLM",
     .gguf_architecture = "mistral3",
     .default_num_heads = 32,
     .default_vocab_size = 131072,
     .default_num_kv_heads = 8,
     .default_intermediate_size = 14336,
     .default_head_dim = 128,
     .default_max_position_embeddings = 262144,
     .default_rms_norm_eps = 1e-5,
     .default_bos = 1,
     .default_eos = 2,
     .default_rope_parameters =
         R"({"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 16.0, "beta_fast": 32.0,
             "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1,
             "original_max_position_embeddings": 16384})",
     .has_sliding_window = true},
    {.model_type = "mixtral",
     .class_name = "MixtralForCausalLM",
     .gguf_architecture = "llama",  // and expert_count
     .default_num_kv_heads = 8,
     .default_max_position_embeddings = 131072,
     .default_rms_norm_eps = 1e-5,
     .default_rope_theta = 1e6,
     .default_bos = 1,
     .default_eos = 2,
     .has_sliding_window = true,
     .form = {.names = mixtralNames()}},
    {.model_type = "qwen2",
     .class_name = "Qwen2ForCausalLM",
     .gguf_architecture = "qwen2",
     .default_num_kv_heads = 32,
     .default_max_position_embeddings = 32768,
     .qkv_bias = true},
    {.model_type = "qwen2_moe",
     .class_name = "Qwen2MoeForCausalLM",
     .gguf_architecture = "qwen2moe",
     .default_num_kv_heads = 16,
     .default_max_position_embeddings = 32768,
     .qkv_bias = true},
    {.model_type = "qwen3",
     .class_name = "Qwen3ForCausalLM",
     .gguf_architecture = "qwen3",
     .default_num_kv_heads = 32,
     .default_head_dim = 128,
     .default_max_position_embeddings = 32768,
     .has_biases = true,
     .form = {.qk_norm = QkNorm::kHead}},
    {.model_type = "qwen3_moe",
     .class_name = "Qwen3MoeForCausalLM",
     .gguf_architecture = "qwen3moe",
     .default_num_kv_heads = 4,
     .default_max_position_embeddings = 32768,
     .has_biases = true,
     .form = {.qk_norm = QkNorm::kHead}},
    {.model_type = "phi3",
     .class_name = "Phi3ForCausalLM",
     .gguf_architecture = "phi3",
     .default_max_position_embeddings = 4096,
     .default_rms_norm_eps = 1e-5,
     .default_bos = 1,
     .default_eos = 32000,
     .has_sliding_window = true,
     .has_partial_rotary = true,
     .form = {.qkv = QkvLayout::kConcat, .fused_gate_up = true}},
    {.model_type = "smollm3",
     .class_name = "SmolLM3ForCausalLM",
     .gguf_architecture = "smollm3",
     .default_num_kv_heads = 4,
     .default_max_position_embeddings = 32768,
     .default_rope_theta = 2e6,
     .default_tied = true,
     .default_bos = 128000,
     .default_eos = 128001,
     .has_biases = true},
    {.model_type = "internlm2",
     .class_name = "InternLM2ForCausalLM",
     .gguf_architecture = "internlm2",
     .default_bos = 1,
     .default_eos = 2,
     .form = {.qkv = QkvLayout::kByGroup, .names = internlm2Names()}},
    {.model_type = "arcee",
     .class_name = "ArceeForCausalLM",
     .gguf_architecture = "arcee",
     .default_max_position_embeddings = 4096,
     .default_rms_norm_eps = 1e-5,
     .default_activation = "relu2",
     .default_bos = 128000,
     .default_eos = 128001,
     .has_biases = true,
     .form = {.gated = false}},
    {.model_type = "minicpm",
     .class_name = "MiniCPMForCausalLM",
     .gguf_architecture = "minicpm",
     .default_tied = true,
     .default_bos = 1,
     .default_eos = 2,
     .has_biases = true},
    {.model_type = "granite",
     .class_name = "GraniteForCausalLM",
     .gguf_architecture = "granite",
     .default_bos = 1,
     .default_eos = 2,
     .has_biases = true},
    {.model_type = "gemma",
     .class_name = "GemmaForCausalLM",
     .gguf_architecture = "gemma",
     .default_num_kv_heads = 16,
     .default_head_dim = 256,
     .default_max_position_embeddings = 8192,
     .default_activation = "gelu_pytorch_tanh",
     .default_tied = true,
     .default_bos = 2,
     .default_eos = 1,
     .has_biases = true,
     .form = {.norm_plus = 1.0}},
    {.model_type = "gemma2",
     .class_name = "Gemma2ForCausalLM",
     .gguf_architecture = "gemma2",
     .default_num_kv_heads = 4,
     .default_head_dim = 256,
     .default_max_position_embeddings = 8192,
     .default_sliding_window = 4096,
     .default_activation = "gelu_pytorch_tanh",
     .default_tied = true,
     .default_bos = 2,
     .default_eos = 1,
     .has_sliding_window = true,
     .has_biases = true,
     .form = gemmaNorms()},
    {.model_type = "gemma3_text",
     .class_name = "Gemma3ForCausalLM",
     .gguf_architecture = "gemma3",
     .default_num_heads = 8,
     .default_vocab_size = 262208,
     .default_num_kv_heads = 4,
     .default_head_dim = 256,
     .default_max_position_embeddings = 131072,
     .default_rope_theta = 1e6,
     .default_sliding_window = 4096,
     .default_activation = "gelu_pytorch_tanh",
     .default_tied = true,
     .default_bos = 2,
     .default_eos = 1,
     .default_local_rope_theta = 10000.0,
     .has_sliding_window = true,
     .has_biases = true,
     .form =
         [] {
           Form form = gemmaNorms();
           form.qk_norm = QkNorm::kHead;
           return form;
         }()},
    {.model_type = "gemma4_text",
     .class_name = "Gemma4ForCausalLM",
     .gguf_architecture = "gemma4",
     .default_num_heads = 8,
     .default_vocab_size = 262144,
     .default_num_kv_heads = 4,
     .default_head_dim = 256,
     .default_max_position_embeddings = 131072,
     .default_sliding_window = 512,
     .default_activation = "gelu_pytorch_tanh",
     .default_tied = true,
     .default_bos = 2,
     .default_eos = 1,
     .default_local_rope_theta = 10000.0,
     .default_rope_parameters = kGemma4Rope,
     .has_sliding_window = true,
     .has_biases = true,
     .form = gemma4Form()},
    {.model_type = "gemma4_unified_text",
     .class_name = "Gemma4UnifiedForCausalLM",
     .gguf_architecture = "gemma4",
     .default_num_heads = 8,
     .default_vocab_size = 262144,
     .default_num_kv_heads = 4,
     .default_head_dim = 256,
     .default_max_position_embeddings = 262144,
     .default_sliding_window = 1024,
     .default_activation = "gelu_pytorch_tanh",
     .default_tied = true,
     .default_bos = 2,
     .default_eos = 1,
     .default_local_rope_theta = 10000.0,
     .default_rope_parameters = kGemma4Rope,
     .has_sliding_window = true,
     .has_biases = true,
     .form = gemma4Form()},
    {.model_type = "glm",
     .class_name = "GlmForCausalLM",
     .gguf_architecture = "chatglm",
     .default_num_kv_heads = 2,
     .default_head_dim = 128,
     .default_max_position_embeddings = 131072,
     .default_rms_norm_eps = 1.5625e-07,
     .default_partial_rotary_factor = 0.5,
     .has_partial_rotary = true,
     .form = {.rope_pairs = true, .fused_gate_up = true}},
    {.model_type = "glm4",
     .class_name = "Glm4ForCausalLM",
     .gguf_architecture = "glm4",
     .default_num_kv_heads = 2,
     .default_head_dim = 128,
     .default_max_position_embeddings = 131072,
     .default_rms_norm_eps = 1.5625e-07,
     .default_partial_rotary_factor = 0.5,
     .has_partial_rotary = true,
     .form = {.post_norm = true, .rope_pairs = true, .fused_gate_up = true, .names = glm4Names()}},
    {.model_type = "olmo",
     .class_name = "OlmoForCausalLM",
     .gguf_architecture = "olmo",
     .default_rms_norm_eps = 1e-5,
     .default_eos = 50279,
     .form = {.norm = NormKind::kLayer, .norm_weight = false}},
    {.model_type = "olmo2",
     .class_name = "Olmo2ForCausalLM",
     .gguf_architecture = "olmo2",
     .default_rms_norm_eps = 1e-5,
     .default_eos = 50279,
     .form =
         {.pre_norm = false, .post_norm = true, .qk_norm = QkNorm::kWhole, .names = olmo2Names()}},
    {.model_type = "cohere",
     .class_name = "CohereForCausalLM",
     .gguf_architecture = "command-r",
     .default_max_position_embeddings = 8192,
     .default_rms_norm_eps = 1e-5,
     .default_rope_theta = 500000.0,
     .default_tied = true,
     .default_bos = 5,
     .default_eos = 255001,
     .fields = {.eps = "layer_norm_eps"},
     .form = {.norm = NormKind::kLayer, .parallel = true, .shared_norm = true, .rope_pairs = true}},
    {.model_type = "gpt2",
     .class_name = "GPT2LMHeadModel",
     .gguf_architecture = "gpt2",
     .default_intermediate_size = -1,
     .default_max_position_embeddings = 1024,
     .default_rms_norm_eps = 1e-5,
     .default_activation = "gelu_new",
     .default_tied = true,
     .default_bos = 50256,
     .default_eos = 50256,
     .qkv_bias = true,
     .o_bias = true,
     .mlp_bias = true,
     .fields = {.hidden_size = "n_embd",
                .intermediate_size = "n_inner",
                .num_layers = "n_layer",
                .num_heads = "n_head",
                .num_kv_heads = "n_head",
                .max_positions = "n_positions",
                .eps = "layer_norm_epsilon",
                .activation = "activation_function"},
     .form = layerNorms(
         {.gated = false, .qkv = QkvLayout::kConcat, .transposed = true, .names = gpt2Names()})},
    {.model_type = "gpt_neox",
     .class_name = "GPTNeoXForCausalLM",
     .gguf_architecture = "gptneox",
     .default_rms_norm_eps = 1e-5,
     .default_partial_rotary_factor = 0.25,
     .default_activation = "gelu",
     .default_bos = 0,
     .default_eos = 2,
     .has_partial_rotary = true,
     .mlp_bias = true,
     .fields = {.num_kv_heads = "num_attention_heads", .eps = "layer_norm_eps"},
     .form = layerNorms(
         {.parallel = true, .gated = false, .qkv = QkvLayout::kByHead, .names = neoxNames()})},
    {.model_type = "phi",
     .class_name = "PhiForCausalLM",
     .gguf_architecture = "phi2",
     .default_rms_norm_eps = 1e-5,
     .default_partial_rotary_factor = 0.5,
     .default_activation = "gelu_new",
     .default_bos = 1,
     .default_eos = 2,
     .has_partial_rotary = true,
     .qkv_bias = true,
     .o_bias = true,
     .mlp_bias = true,
     .fields = {.eps = "layer_norm_eps"},
     .form =
         layerNorms({.parallel = true, .shared_norm = true, .gated = false, .names = phiNames()})},
    {.model_type = "starcoder2",
     .class_name = "Starcoder2ForCausalLM",
     .gguf_architecture = "starcoder2",
     .default_num_kv_heads = 2,
     .default_max_position_embeddings = 4096,
     .default_rms_norm_eps = 1e-5,
     .default_activation = "gelu_pytorch_tanh",
     .default_tied = true,
     .default_bos = 50256,
     .default_eos = 50256,
     .has_sliding_window = true,
     .fields = {.eps = "norm_epsilon"},
     .form = layerNorms({.gated = false, .names = starcoder2Names()})},
    {.model_type = "falcon",
     .class_name = "FalconForCausalLM",
     .gguf_architecture = "falcon",
     .default_intermediate_size = -1,
     .default_rms_norm_eps = 1e-5,
     .default_activation = "gelu",
     .default_tied = true,
     .default_bos = 11,
     .default_eos = 11,
     .fields = {.intermediate_size = "ffn_hidden_size",
                .num_kv_heads = "num_kv_heads",
                .eps = "layer_norm_epsilon",
                .activation = "activation"},
     .form = layerNorms({.gated = false, .qkv = QkvLayout::kConcat, .names = falconNames()})},
    {.model_type = "stablelm",
     .class_name = "StableLmForCausalLM",
     .gguf_architecture = "stablelm",
     .default_num_kv_heads = 32,
     .default_max_position_embeddings = 4096,
     .default_rms_norm_eps = 1e-5,
     .default_partial_rotary_factor = 0.25,
     .default_bos = 0,
     .default_eos = 0,
     .has_partial_rotary = true,
     .fields = {.eps = "layer_norm_eps"},
     .form = layerNorms({})},
    {.model_type = "deepseek_v2",
     .class_name = "DeepseekV2ForCausalLM",
     .gguf_architecture = "deepseek2",
     .default_bos = 1,
     .default_eos = 2,
     .form = {.rope_pairs = true, .names = deepseekNames()}},
    {.model_type = "deepseek_v3",
     .class_name = "DeepseekV3ForCausalLM",
     .gguf_architecture = "deepseek2",
     .default_max_position_embeddings = 4096,
     .default_bos = 0,
     .default_eos = 1,
     .form = {.rope_pairs = true, .names = deepseekMtpNames()}},
    {.model_type = "glm4_moe",
     .class_name = "Glm4MoeForCausalLM",
     .gguf_architecture = "glm4moe",
     .default_num_kv_heads = 8,
     .default_max_position_embeddings = 131072,
     .default_rms_norm_eps = 1e-5,
     .default_partial_rotary_factor = 0.5,
     .has_partial_rotary = true,
     .form = {.names = deepseekMtpNames()}},
    {.model_type = "glm4_moe_lite",
     .class_name = "Glm4MoeLiteForCausalLM",
     .gguf_architecture = "deepseek2",
     .default_max_position_embeddings = 202752,
     .default_rms_norm_eps = 1e-5,
     .default_bos = 0,
     .default_eos = 1,
     .form = {.rope_pairs = true, .names = deepseekMtpNames()}},
    {.model_type = "gpt_oss",
     .class_name = "GptOssForCausalLM",
     .gguf_architecture = "gpt-oss",
     .default_num_kv_heads = 8,
     .default_head_dim = 64,
     .default_max_position_embeddings = 131072,
     .default_rms_norm_eps = 1e-5,
     .default_rope_theta = 150000.0,
     .default_sliding_window = 128,
     .default_rope_parameters =
         R"({"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0,
             "truncate": false, "original_max_position_embeddings": 4096})",
     .has_sliding_window = true,
     .form = {.sinks = true, .experts = ExpertLayout::kAlternating, .names = gptOssNames()}},
    {.model_type = "lfm2",
     .class_name = "Lfm2ForCausalLM",
     .gguf_architecture = "lfm2",
     .default_num_kv_heads = 8,
     .default_max_position_embeddings = 128000,
     .default_rms_norm_eps = 1e-5,
     .default_rope_theta = 1e6,
     .default_tied = true,
     .default_bos = 1,
     .default_eos = 2,
     .fields = lfm2Fields(),
     .form = {.qk_norm = QkNorm::kHead, .names = lfm2Names()}},
    {.model_type = "lfm2_moe",
     .class_name = "Lfm2MoeForCausalLM",
     .gguf_architecture = "lfm2moe",
     .default_num_kv_heads = 8,
     .default_max_position_embeddings = 128000,
     .default_rms_norm_eps = 1e-5,
     .default_rope_theta = 1e6,
     .default_tied = true,
     .default_bos = 1,
     .default_eos = 2,
     .fields = lfm2Fields(),
     .form = {.qk_norm = QkNorm::kHead, .names = lfm2Names()}},
    {.model_type = "lfm3",
     .class_name = "Lfm3ForCausalLM",
     .default_num_heads = 16,
     .default_vocab_size = 128000,
     .default_num_kv_heads = 4,
     .default_intermediate_size = 7680,
     .default_head_dim = 128,
     .default_max_position_embeddings = 128000,
     .default_rms_norm_eps = 1e-5,
     .default_sliding_window = 256,
     .default_tied = true,
     .default_bos = 124894,
     .default_eos = 124900,
     .default_local_rope_theta = 10000.0,
     .default_rope_parameters = kLfm3Rope,
     .has_sliding_window = true,
     .fields = {.eps = "norm_eps"},
     .form =
         {.post_norm = true, .qk_norm = QkNorm::kHead, .head_gate = true, .names = lfm3Names()}},
    // Texts of any length: nothing of it has positions.
    {.model_type = "mamba2",
     .class_name = "Mamba2ForCausalLM",
     .gguf_architecture = "mamba2",
     .default_num_heads = 128,
     .default_intermediate_size = -1,
     .default_head_dim = 64,
     .default_max_position_embeddings = 1 << 20,
     .default_rms_norm_eps = 1e-5,
     .default_bos = 0,
     .default_eos = 2,
     .fields = {.num_heads = "num_heads", .eps = "layer_norm_epsilon"},
     .form = {.names = mamba2Names()}},
    {.model_type = "granitemoehybrid",
     .class_name = "GraniteMoeHybridForCausalLM",
     .gguf_architecture = "granitehybrid",
     .default_bos = 1,
     .default_eos = 2,
     .has_biases = true,
     .form = {.fused_gate_up = true,
              .experts = ExpertLayout::kStacked,
              .names = graniteHybridNames()}},
    {.model_type = "nemotron_h",
     .class_name = "NemotronHForCausalLM",
     .gguf_architecture = "nemotron_h",
     .default_num_heads = 32,
     .default_vocab_size = 131072,
     .default_num_kv_heads = 8,
     .default_intermediate_size = 21504,
     .default_head_dim = 128,
     .default_max_position_embeddings = 4096,
     .default_rms_norm_eps = 1e-5,
     .default_activation = "relu2",
     .default_bos = 1,
     .default_eos = 2,
     .fields = {.eps = "layer_norm_epsilon",
                .activation = "mlp_hidden_act",
                .older_head_dim = "attention_head_dim",
                .layers = "layers_block_type",
                .older_layers = "hybrid_override_pattern"},
     .form = {.gated = false, .names = nemotronNames()}},
    {.model_type = "qwen3_next",
     .class_name = "Qwen3NextForCausalLM",
     .gguf_architecture = "qwen3next",
     .default_num_heads = 16,
     .default_vocab_size = 151936,
     .default_num_kv_heads = 2,
     .default_intermediate_size = 5632,
     .default_head_dim = 256,
     .default_max_position_embeddings = 32768,
     .default_partial_rotary_factor = 0.25,
     .has_partial_rotary = true,
     .form = qwenHybrid({.delta_by_group = true, .delta_gates_by_group = true})},
    {.model_type = "qwen3_5_text",
     .class_name = "Qwen3_5ForCausalLM",
     .gguf_architecture = "qwen35",
     .default_num_heads = 16,
     .default_vocab_size = 248320,
     .default_num_kv_heads = 4,
     .default_intermediate_size = 12288,
     .default_head_dim = 256,
     .default_max_position_embeddings = 32768,
     .default_partial_rotary_factor = 0.25,
     .has_partial_rotary = true,
     .form = qwenHybrid({})},
    {.model_type = "qwen3_5_moe_text",
     .class_name = "Qwen3_5MoeForCausalLM",
     .gguf_architecture = "qwen35moe",
     .default_num_heads = 16,
     .default_vocab_size = 248320,
     .default_num_kv_heads = 2,
     .default_intermediate_size = -1,
     .default_head_dim = 256,
     .default_max_position_embeddings = 32768,
     .default_partial_rotary_factor = 0.25,
     .has_partial_rotary = true,
     .form = qwenHybrid({.experts = ExpertLayout::kStacked})},
};

constexpr Wrapper kWrappers[] = {
    {"gemma3", "gemma3_text"},
    {"gemma4", "gemma4_text"},
    {"gemma4_unified", "gemma4_unified_text"},
    {"mistral3", "mistral"},
    {"qwen3_5", "qwen3_5_text"},
    {"qwen3_5_moe", "qwen3_5_moe_text"},
};

}  // namespace

std::span<const Architecture> architectures() { return kArchitectures; }

const Architecture* findArchitecture(std::string_view model_type) {
  // The one entry has two spellings: text models say gemma3 where a converter took them apart.
  if (model_type == "gemma3") model_type = "gemma3_text";
  for (const Architecture& entry : kArchitectures) {
    if (entry.model_type == model_type) return &entry;
  }
  return nullptr;
}

const Architecture* findArchitectureOfClass(std::string_view class_name) {
  for (const Architecture& entry : kArchitectures) {
    if (entry.class_name == class_name) return &entry;
  }
  return nullptr;
}

const Architecture* findGgufArchitecture(std::string_view gguf_architecture) {
  for (const Architecture& entry : kArchitectures) {
    if (!entry.gguf_architecture.empty() && entry.gguf_architecture == gguf_architecture)
      return &entry;
  }
  return nullptr;
}

void setGptOssExperts(Experts& experts) {
  experts.scoring = Experts::Scoring::kSoftmaxChosen;
  experts.biases = true;
  experts.activation = Activation::kQuickGelu;
  experts.limit = 7.0;
}

const Wrapper* findWrapper(std::string_view model_type) {
  for (const Wrapper& entry : kWrappers)
    if (entry.model_type == model_type) return &entry;
  return nullptr;
}

std::string knownWrappers() {
  std::string out;
  for (const Wrapper& entry : kWrappers) {
    if (!out.empty()) out += ", ";
    out += entry.model_type;
  }
  return out;
}

std::string knownArchitectures() {
  std::string out;
  for (const Architecture& entry : kArchitectures) {
    if (!out.empty()) out += ", ";
    out += entry.model_type;
  }
  return out;
}

std::string knownGgufArchitectures() {
  std::string out;
  for (const Architecture& entry : kArchitectures) {
    if (entry.gguf_architecture.empty()) continue;
    if (findGgufArchitecture(entry.gguf_architecture) != &entry) continue;  // named already
    if (!out.empty()) out += ", ";
    out += entry.gguf_architecture;
  }
  return out;
}

}  // namespace llmc
