#!/usr/bin/env python3
"""Writes tests/golden/<case>/ for every family of models beyond llama and mistral: tiny random models, as
Hugging Face Transformers saves them, and what it says of them.

    python make_family_goldens.py             writes every case anew (up to half an hour on one core)
    python make_family_goldens.py NAME...     writes those

The files are those of make_goldens.py (README.md); what differs is the oracle, which has to serve many
modelling files unchanged:

The oracle
    Transformers' modelling code on weights in float64, with the attention function below registered
    beside its own ("golden"): softmax in float64. Norms and RoPE tables stay in float32 where that code
    computes them so, which errs by about 1e-7 of a value.

    Weights in bf16 or f16: matrices are rounded to it, to nearest even; norms, biases and sinks, which
    this project keeps in f32, stay as they are stored. A KV cache in bf16 or f16: Transformers' own cache,
    which rounds what it is given (K after rotation and V; of latent attention, the latents).

    One constant follows the dtype of a model: Gemma's scale of the embeddings, sqrt(hidden_size), is
    rounded to that of the weights (modeling_gemma.py, embed_scale). Models are published, and were
    trained, in the dtype they are stored in, so the scale here is that of the stored dtype in every run:
    what dtype a user keeps the weights in does not change what the model is.

The tolerance
    1e-4 of the largest logit for what computes in float32, whatever the dtype of the weights: it reads the
    same rounded weights. With a KV cache in bf16 or f16, half of what rounding the cache changes is added
    (make_goldens.py derives it). Transformers in float32 must stay within half of the tolerance, and greedy
    ids are certain to ten times it (twice it with a rounded cache).

InternLM2 and MiniCPM are not in Transformers. Their models are written from ones that compute the same:
InternLM2's is Llama's with its tensors renamed and wqkv put together, MiniCPM's is Granite's, whose
multipliers are its scale_emb, scale_depth and dim_model_base.
"""

import argparse
import copy
import json
import math
import pathlib
import shutil

import numpy
import safetensors.torch
import torch
import transformers
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.integrations.mxfp4 import convert_moe_packed_tensors
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.qwen3_5 import modeling_qwen3_5 as qwen3_5
from transformers.models.qwen3_5_moe import modeling_qwen3_5_moe as qwen3_5_moe
from transformers.models.qwen3_next import modeling_qwen3_next as qwen3_next

from make_goldens import BOS, DTYPES, EOS, HERE, STEPS, TOP, compact, is_matrix

RELATIVE = 1e-4
VOCAB = 131


class RoundedCache(DynamicCache):
    def __init__(self, config, dtype):
        super().__init__(config=config)
        self.rounded = DTYPES[dtype]

    def update(self, key_states, value_states, *args, **kwargs):
        rounded = [t.to(self.rounded).to(t.dtype) for t in (key_states, value_states)]
        return super().update(*rounded, *args, **kwargs)


def is_hybrid(config):
    return "linear_attention" in (getattr(config, "layer_types", None) or [])


def delta_rule(query, key, value, g, beta, initial_state=None, output_final_state=False, **_):
    """The gated delta rule token by token, in the type of its arguments: the library's computes in float32."""
    groups = value.shape[2] // key.shape[2]
    query, key = (x.repeat_interleave(groups, dim=2) for x in (query, key))
    query, key = (x * torch.rsqrt((x * x).sum(-1, keepdim=True) + 1e-6) for x in (query, key))
    query = query / query.shape[-1] ** 0.5
    state = value.new_zeros(value.shape[0], value.shape[2], key.shape[-1], value.shape[-1])
    out = torch.zeros_like(value)
    for t in range(query.shape[1]):
        state = state * g[:, t].exp().to(state.dtype)[..., None, None]
        delta = (value[:, t] - torch.einsum("bhkv,bhk->bhv", state, key[:, t])) * beta[:, t][..., None]
        state = state + key[:, t][..., None] * delta[..., None, :]
        out[:, t] = torch.einsum("bhkv,bhk->bhv", state, query[:, t])
    return out, state if output_final_state else None


for family in (qwen3_next, qwen3_5, qwen3_5_moe):
    family.torch_chunk_gated_delta_rule = delta_rule


def golden_attention(module, query, key, value, attention_mask, scaling=None, dropout=0.0, softcap=None,
                     s_aux=None, **kwargs):
    groups = query.shape[1] // key.shape[1]
    key = key.repeat_interleave(groups, dim=1)
    value = value.repeat_interleave(groups, dim=1)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = query @ key.transpose(2, 3) * scaling
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(attention_mask[:, :, :, : key.shape[-2]] < 0, -math.inf)
    if s_aux is not None:
        sinks = s_aux.reshape(1, -1, 1, 1).expand(query.shape[0], -1, query.shape[2], 1).to(scores.dtype)
        weights = torch.softmax(torch.cat([scores, sinks], dim=-1), dim=-1)[..., :-1]
    else:
        weights = torch.softmax(scores, dim=-1)
    return (weights @ value).transpose(1, 2).contiguous(), weights


ALL_ATTENTION_FUNCTIONS.register("golden", golden_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register("golden", ALL_MASK_ATTENTION_FUNCTIONS["eager"])

BASE = dict(vocab_size=VOCAB, hidden_size=48, intermediate_size=72, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
            bos_token_id=BOS, eos_token_id=EOS, pad_token_id=0, tie_word_embeddings=False)
GEMMA4_LAYERS = ["sliding_attention", "full_attention", "sliding_attention", "sliding_attention", "full_attention"]
DEFAULT_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}


def longrope(dim):
    return {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 32,
            "short_factor": [1.0 + 0.05 * i for i in range(dim // 2)],
            "long_factor": [1.0 + 0.7 * i for i in range(dim // 2)]}


def case(name, why, stored="f32", length=44, wrapper=None, mxfp4=False, **config):
    """`wrapper`: the checkpoint is of this family of models of text and more, whose text model is the case's.
    `mxfp4`: the experts of gpt-oss are stored in it."""
    return dict(family=name, why=why, stored=stored, length=length, wrapper=wrapper, mxfp4=mxfp4, config=config)


FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def to_mxfp4(t):
    """gpt-oss' experts [experts, in, out] as they are published: blocks [experts, out, in / 32, 16], whose low halves are
    the even columns, and scales [experts, out, in / 32]."""
    rows = t.float().transpose(1, 2)
    groups = rows.reshape(*rows.shape[:2], -1, 32)
    largest = groups.abs().amax(-1)
    exponents = torch.where(largest > 0, torch.floor(torch.log2(largest)) - 2, torch.zeros(())).clamp(-127, 127)
    wanted = groups / torch.exp2(exponents)[..., None]
    codes = (wanted[..., None] - FP4).abs().argmin(-1).to(torch.uint8)
    return codes[..., 0::2] | codes[..., 1::2] << 4, (exponents + 127).to(torch.uint8)


def round_experts(model):
    """To what MXFP4 has, by Transformers' own reading of it."""
    for name, p in model.named_parameters():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            p.copy_(convert_moe_packed_tensors(*to_mxfp4(p), dtype=torch.float32).to(p.dtype))


DELTA = dict(linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=16, linear_value_head_dim=16,
             full_attention_interval=2, head_dim=24, rope_parameters=DEFAULT_ROPE | {"partial_rotary_factor": 0.25})
# Positions of text are the same in all sections.
SECTIONS = dict(rope_parameters=DELTA["rope_parameters"] | {"mrope_section": [1, 1, 1], "mrope_interleaved": True})

# fmt: off
CASES = {
    "qwen2": case("Qwen2", "QKV bias; tied; stored bf16", stored="bf16", tie_word_embeddings=True),
    "qwen2_window": case("Qwen2", "use_sliding_window from layer 1 on", length=80, num_hidden_layers=3,
        use_sliding_window=True, sliding_window=16, max_window_layers=1),
    "qwen2_yarn": case("Qwen2", "yarn, prompt beyond the original length", length=80, rope_parameters=YARN),
    "qwen3": case("Qwen3", "qk-norm; head_dim not hidden/heads; stored bf16", stored="bf16", head_dim=16),
    "qwen3_dynamic": case("Qwen3", "dynamic rope within its length", head_dim=16,
        rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}),
    "ministral3": case("Ministral3", "mistral3, a model of text and images: queries that grow with their position, yarn",
        length=80, wrapper="Mistral3", head_dim=16,
        rope_parameters=YARN | {"mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.4}),
    "phi3": case("Phi3", "fused qkv and gate_up", num_key_value_heads=4),
    "phi3_longrope": case("Phi3", "longrope's long factors, partial rotary; stored bf16", stored="bf16",
        length=80, hidden_size=64, partial_rotary_factor=0.75, max_position_embeddings=128,
        original_max_position_embeddings=32, rope_parameters=longrope(12) | {"partial_rotary_factor": 0.75}),
    "smollm3": case("SmolLM3", "every second layer without rope", num_hidden_layers=4, no_rope_layer_interval=2),
    "internlm2": case("InternLM2", "wqkv by KV head; biases", attention_bias=True),
    "arcee": case("Arcee", "relu2 without a gate"),
    "minicpm": case("MiniCPM", "scale_emb, scale_depth, dim_model_base"),
    "granite": case("Granite", "four multipliers", embedding_multiplier=3.0, attention_multiplier=0.2,
        residual_multiplier=0.5, logits_scaling=0.25),
    "gemma": case("Gemma", "norms less 1, scaled embeddings, tied", head_dim=16, tie_word_embeddings=True),
    "gemma2": case("Gemma2", "softcaps, post-norms, every second layer with a window; stored bf16", stored="bf16",
        length=80, num_hidden_layers=4, head_dim=16, sliding_window=16, query_pre_attn_scalar=20,
        attn_logit_softcapping=4.0, final_logit_softcapping=6.0, tie_word_embeddings=True),
    "gemma3_softcap": case("Gemma3Text", "attn_logit_softcapping, which has no effect", head_dim=16,
        query_pre_attn_scalar=16, tie_word_embeddings=True, attn_logit_softcapping=0.5,
        rope_parameters={"sliding_attention": DEFAULT_ROPE, "full_attention": DEFAULT_ROPE}),
    "gemma3": case("Gemma3Text", "two ropes, qk-norm, windows in two of three layers", length=80,
        num_hidden_layers=4, head_dim=16, sliding_window=16, query_pre_attn_scalar=16, tie_word_embeddings=True,
        layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={
            "sliding_attention": DEFAULT_ROPE,
            "full_attention": {"rope_type": "linear", "rope_theta": 100000.0, "factor": 2.0}}),
    "gemma3_wrapper": case("Gemma3Text", "gemma3, a model of text and images; stored bf16", stored="bf16", wrapper="Gemma3",
        num_hidden_layers=3, head_dim=16, sliding_window=16, query_pre_attn_scalar=16, tie_word_embeddings=True,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
    "gemma4": case("Gemma4Text", "heads and ropes by kind of layer, k = v without a window, norms of values; stored bf16",
        stored="bf16", length=80, num_hidden_layers=5, head_dim=16, global_head_dim=32, num_global_key_value_heads=1,
        attention_k_eq_v=True, sliding_window=16, final_logit_softcapping=6.0, hidden_size_per_layer_input=0,
        tie_word_embeddings=True, layer_types=GEMMA4_LAYERS),
    "gemma4_e2b": case("Gemma4Text", "embeddings per layer, layers that share keys and values, with wider MLPs; stored bf16",
        stored="bf16", length=80, num_hidden_layers=7, head_dim=16, global_head_dim=24, sliding_window=16, num_kv_shared_layers=3,
        use_double_wide_mlp=True, vocab_size_per_layer_input=VOCAB, hidden_size_per_layer_input=12,
        tie_word_embeddings=True, layer_types=["sliding_attention", "full_attention"] + GEMMA4_LAYERS),
    "gemma4_moe": case("Gemma4Text", "experts beside a dense MLP", length=80, num_hidden_layers=3, head_dim=16,
        global_head_dim=32, num_global_key_value_heads=1, attention_k_eq_v=True, sliding_window=16,
        hidden_size_per_layer_input=0, enable_moe_block=True, num_experts=6, top_k_experts=3, moe_intermediate_size=20,
        tie_word_embeddings=True, layer_types=GEMMA4_LAYERS[2:]),
    "gemma4_wrapper": case("Gemma4Text", "gemma4, a model of text, images and sound; stored bf16", stored="bf16",
        wrapper="Gemma4", head_dim=16, global_head_dim=24, sliding_window=16, vocab_size_per_layer_input=VOCAB,
        hidden_size_per_layer_input=8, tie_word_embeddings=True, layer_types=GEMMA4_LAYERS[:2]),
    "gemma4_unified": case("Gemma4UnifiedText", "Gemma 4 without tables by layer; k = v; stored bf16", stored="bf16",
        head_dim=16, global_head_dim=32, num_global_key_value_heads=1, attention_k_eq_v=True, sliding_window=16,
        tie_word_embeddings=True, layer_types=GEMMA4_LAYERS[:2]),
    "glm": case("Glm", "interleaved partial rotary, fused gate_up, QKV bias", head_dim=16, attention_bias=True),
    "glm4": case("Glm4", "the same with post-norms; stored bf16", stored="bf16", head_dim=16, attention_bias=True),
    "olmo": case("Olmo", "norms without weights"),
    "olmo2": case("Olmo2", "post-norms alone, qk-norm over all heads"),
    "cohere": case("Cohere", "one layer_norm for both halves, interleaved rotary, logit_scale", logit_scale=0.7,
        tie_word_embeddings=True),
    "cohere_qk_norm": case("Cohere", "use_qk_norm: layer_norm per head", use_qk_norm=True, logit_scale=0.7,
        tie_word_embeddings=True),
    "gpt2": case("GPT2", "learned positions, transposed weights, tied", n_embd=48, n_layer=2, n_head=4,
        n_positions=128, tie_word_embeddings=True),
    "gpt2_odd_heads": case("GPT2", "heads of 9 elements: positions are learned, nothing turns", n_embd=36, n_layer=2,
        n_head=4, n_positions=128, tie_word_embeddings=True),
    "gpt_neox": case("GPTNeoX", "parallel residual with two norms, partial rotary, fused by head",
        hidden_act="gelu", rope_parameters=DEFAULT_ROPE | {"partial_rotary_factor": 0.5}),
    "gpt_neox_sequential": case("GPTNeoX", "use_parallel_residual false; stored bf16", stored="bf16",
        use_parallel_residual=False, rope_parameters=DEFAULT_ROPE | {"partial_rotary_factor": 0.5}),
    "phi": case("Phi", "parallel with one norm, biases, lm_head bias, partial rotary", num_key_value_heads=4,
        rope_parameters=DEFAULT_ROPE | {"partial_rotary_factor": 0.5}),
    "starcoder2": case("Starcoder2", "biases, a window, gelu without a gate", length=80, sliding_window=16,
        tie_word_embeddings=True),
    "falcon_7b": case("Falcon", "multi-query, parallel with one norm", num_ln_in_parallel_attn=None,
        multi_query=True, parallel_attn=True, new_decoder_architecture=False, bias=False, alibi=False,
        ffn_hidden_size=72, tie_word_embeddings=True),
    "falcon_40b": case("Falcon", "grouped, parallel with two norms", new_decoder_architecture=True, num_kv_heads=2,
        parallel_attn=True, bias=False, alibi=False, ffn_hidden_size=72, tie_word_embeddings=True),
    "stablelm": case("StableLm", "layer_norm around a gated MLP, QKV bias, partial rotary", use_qkv_bias=True,
        rope_parameters=DEFAULT_ROPE | {"partial_rotary_factor": 0.5}),
    "stablelm_parallel": case("StableLm", "use_parallel_residual", use_parallel_residual=True,
        rope_parameters=DEFAULT_ROPE | {"partial_rotary_factor": 0.5}),
    "mixtral": case("Mixtral", "experts, two of four; stored bf16", stored="bf16", num_local_experts=4,
        num_experts_per_tok=2, intermediate_size=40),
    "qwen2_moe": case("Qwen2Moe", "a shared expert with a gate; dense layers between", num_hidden_layers=4,
        num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24, shared_expert_intermediate_size=40,
        decoder_sparse_step=2, norm_topk_prob=False),
    "qwen3_moe": case("Qwen3Moe", "experts with norm_topk_prob, qk-norm", head_dim=16, num_experts=8,
        num_experts_per_tok=3, moe_intermediate_size=20, norm_topk_prob=True),
    "qwen3_next": case("Qwen3Next", "linear attention with projections by group, a gate on attention, experts",
        num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24, shared_expert_intermediate_size=40, **DELTA),
    "qwen3_5": case("Qwen3_5Text", "linear attention in two of three layers, a gate on attention; tied; stored bf16",
        stored="bf16", tie_word_embeddings=True, **DELTA | SECTIONS | {"num_hidden_layers": 5, "full_attention_interval": 3}),
    "qwen3_5_equal_heads": case("Qwen3_5Text", "as many heads of k as of v, linear attention last; long", length=80,
        **DELTA | dict(num_hidden_layers=3, linear_num_key_heads=3, linear_num_value_heads=3, linear_key_head_dim=12,
                       linear_conv_kernel_dim=3,
                       layer_types=["full_attention", "linear_attention", "linear_attention"])),
    "qwen3_5_wrapper": case("Qwen3_5Text", "qwen3_5, a model of text and images", wrapper="Qwen3_5",
        **DELTA | SECTIONS),
    "qwen3_5_moe": case("Qwen3_5MoeText", "the same with experts and a shared one", num_experts=6,
        num_experts_per_tok=2, moe_intermediate_size=24, shared_expert_intermediate_size=40, **DELTA | SECTIONS),
    "qwen3_5_moe_wrapper": case("Qwen3_5MoeText", "qwen3_5_moe, whose experts are in one tensor", wrapper="Qwen3_5Moe",
        num_experts=4, num_experts_per_tok=2, moe_intermediate_size=20, shared_expert_intermediate_size=24,
        **DELTA | SECTIONS),
    "gpt_oss": case("GptOss", "sinks, windows in every second layer, clamped GLU, biases, yarn; stored bf16",
        stored="bf16", length=80, head_dim=16, sliding_window=16, num_local_experts=4, num_experts_per_tok=2,
        intermediate_size=40, swiglu_limit=1.5,
        rope_parameters=YARN | {"truncate": False, "beta_fast": 32.0, "beta_slow": 1.0}),
    "gpt_oss_mxfp4": case("GptOss", "experts in MXFP4, as gpt-oss is published; the rest bf16", stored="bf16", mxfp4=True,
        hidden_size=64, head_dim=16, sliding_window=16, num_local_experts=4, num_experts_per_tok=2, intermediate_size=96,
        rope_parameters=YARN | {"truncate": False, "beta_fast": 32.0, "beta_slow": 1.0}),
    "deepseek_v2": case("DeepseekV2", "latent attention with q_lora, group_limited_greedy", num_hidden_layers=3,
        num_key_value_heads=4, q_lora_rank=24, kv_lora_rank=20, qk_nope_head_dim=12, qk_rope_head_dim=8,
        v_head_dim=10, n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=2, moe_intermediate_size=20,
        first_k_dense_replace=1, topk_method="group_limited_greedy", n_group=4, topk_group=2,
        routed_scaling_factor=1.5, norm_topk_prob=False),
    "deepseek_v2_lite": case("DeepseekV2", "no q_lora, greedy, yarn with mscale", length=80, num_key_value_heads=4,
        q_lora_rank=None, kv_lora_rank=16, qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=12,
        n_routed_experts=6, num_experts_per_tok=2, n_shared_experts=1, moe_intermediate_size=20,
        first_k_dense_replace=1, topk_method="greedy", norm_topk_prob=False,
        rope_parameters=YARN | {"mscale": 0.707, "mscale_all_dim": 0.707}),
    "deepseek_v3": case("DeepseekV3", "sigmoid scores with a choice bias, groups, yarn with mscale", length=80,
        num_hidden_layers=3, num_key_value_heads=4, q_lora_rank=24, kv_lora_rank=20, qk_nope_head_dim=12,
        qk_rope_head_dim=8, v_head_dim=10, n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=1,
        moe_intermediate_size=20, first_k_dense_replace=1, n_group=4, topk_group=2, norm_topk_prob=True,
        routed_scaling_factor=2.5, rope_parameters=YARN | {"mscale": 1.0, "mscale_all_dim": 1.0}),
    "glm4_moe": case("Glm4Moe", "sigmoid scores with a choice bias and groups, qk-norm, partial rotary, QKV bias",
        num_hidden_layers=3, head_dim=16, attention_bias=True, use_qk_norm=True, n_routed_experts=8,
        num_experts_per_tok=3, n_shared_experts=1, moe_intermediate_size=20, first_k_dense_replace=1, n_group=2,
        topk_group=1, routed_scaling_factor=1.5, rope_parameters=DEFAULT_ROPE | {"partial_rotary_factor": 0.5}),
    "glm4_moe_air": case("Glm4Moe", "one group, no qk-norm, two shared experts; stored bf16", stored="bf16", head_dim=16,
        attention_bias=True, n_routed_experts=6, num_experts_per_tok=2, n_shared_experts=2, moe_intermediate_size=20,
        first_k_dense_replace=1, rope_parameters=DEFAULT_ROPE | {"partial_rotary_factor": 0.5}),
    "glm4_moe_lite": case("Glm4MoeLite", "latent attention beside GLM's experts, mlp_layer_types", num_hidden_layers=3,
        num_key_value_heads=4, q_lora_rank=24, kv_lora_rank=20, qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=16,
        n_routed_experts=8, num_experts_per_tok=2, moe_intermediate_size=20,
        mlp_layer_types=["sparse", "dense", "sparse"], rope_parameters=DEFAULT_ROPE),
    "lfm2": case("Lfm2", "short convolutions between layers of attention, qk-norm, an MLP of an adjusted size; tied",
        num_hidden_layers=4, layer_types=["conv", "conv", "full_attention", "conv"], block_multiple_of=24,
        tie_word_embeddings=True),
    "lfm2_bias": case("Lfm2", "a convolution over 4 tokens with biases; full_attn_idxs; stored bf16", stored="bf16",
        num_hidden_layers=3, full_attn_idxs=[1], conv_L_cache=4, conv_bias=True, block_auto_adjust_ff_dim=False),
    "lfm2_moe": case("Lfm2Moe", "experts by sigmoid with a choice bias behind a dense layer", num_hidden_layers=4,
        layer_types=["conv", "full_attention", "conv", "conv"], num_dense_layers=1, num_experts=6,
        num_experts_per_tok=2, moe_intermediate_size=24, tie_word_embeddings=True),
    "lfm3": case("Lfm3", "windows between convolutions, two ropes, norms after, a gate per head; stored bf16", stored="bf16",
        length=80, num_hidden_layers=4, layer_types=["conv", "full_attention", "sliding_attention", "conv"], head_dim=16,
        sliding_window=16, conv_L_cache=7, tie_word_embeddings=True),
    "mamba2": case("Mamba2", "state spaces alone, one group; tied", num_heads=6, head_dim=16, state_size=12, n_groups=1,
        num_hidden_layers=3, tie_word_embeddings=True),
    "mamba2_groups": case("Mamba2", "two groups, biases, bounds of time steps; stored bf16", stored="bf16", num_heads=4,
        head_dim=24, state_size=16, n_groups=2, use_bias=True, conv_kernel=3, time_step_limit=(0.3, 1.5)),
    "granitemoehybrid": case("GraniteMoeHybrid", "Mamba-2 and attention without positions, experts beside a shared MLP",
        num_hidden_layers=3, layer_types=["linear_attention", "full_attention", "linear_attention"], mamba_n_heads=6,
        mamba_d_head=16, mamba_d_state=12, num_local_experts=6, num_experts_per_tok=2, intermediate_size=24,
        shared_intermediate_size=40, embedding_multiplier=3.0, attention_multiplier=0.2, residual_multiplier=0.5,
        logits_scaling=0.25, tie_word_embeddings=True),
    "granitemoehybrid_dense": case("GraniteMoeHybrid", "the shared MLP alone, rope; stored bf16", stored="bf16",
        num_hidden_layers=3, layer_types=["linear_attention", "linear_attention", "full_attention"], mamba_n_heads=4,
        mamba_d_head=24, mamba_d_state=16, mamba_n_groups=2, num_local_experts=0, shared_intermediate_size=72,
        position_embedding_type="rope", embedding_multiplier=3.0, attention_multiplier=0.2,
        residual_multiplier=0.5, logits_scaling=0.25),
    "nemotron_h": case("NemotronH", "layers of one block each: Mamba-2, attention, relu2 MLP; stored bf16",
        stored="bf16", head_dim=16, layers_block_type=["linear_attention", "mlp", "full_attention", "mlp", "linear_attention"],
        mamba_num_heads=6, mamba_head_dim=16, ssm_state_size=12, n_groups=2),
    "nemotron_h_moe": case("NemotronH", "experts without a gate on latents, groups, a shared one; bounded time steps",
        head_dim=12, layers_block_type=["linear_attention", "moe", "full_attention", "moe"], mamba_num_heads=4,
        mamba_head_dim=24, ssm_state_size=16, n_groups=1, n_routed_experts=8, num_experts_per_tok=3,
        moe_intermediate_size=20, moe_shared_expert_intermediate_size=28, moe_latent_size=32, n_group=4, topk_group=2,
        routed_scaling_factor=1.5, time_step_min=0.3),
}
# fmt: on

# What the wrapper's configuration takes beside text_config: the least that its class accepts.
QWEN_VISION = dict(vision_config=dict(depth=1, hidden_size=8, intermediate_size=8, num_heads=1, out_hidden_size=48,
                                      patch_size=2, num_position_embeddings=4))
WRAPPERS = {
    "Qwen3_5": QWEN_VISION,
    "Qwen3_5Moe": QWEN_VISION,
    "Mistral3": dict(vision_config=dict(model_type="pixtral", hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                                        num_attention_heads=1, head_dim=8, image_size=8, patch_size=4)),
    "Gemma3": dict(mm_tokens_per_image=4, vision_config=dict(
        model_type="siglip_vision_model", hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1, image_size=8, patch_size=4, vision_use_head=False)),
    "Gemma4": dict(vision_config=dict(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1, head_dim=8,
        position_embedding_size=8)),
}

MINICPM = dict(scale_emb=3, scale_depth=1.4, dim_model_base=24)


def config_of(case):
    family, more = case["family"], dict(case["config"])
    sizes = dict(BASE)
    if family == "GPT2":
        for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                    "num_key_value_heads", "max_position_embeddings"):
            del sizes[key]
    if family in ("Falcon", "GPTNeoX"):
        del sizes["num_key_value_heads"]
    if family == "Falcon":
        del sizes["intermediate_size"]
    if family == "InternLM2":
        family = "Llama"
    if family == "MiniCPM":
        family = "Granite"
        more = dict(embedding_multiplier=float(MINICPM["scale_emb"]),
                    residual_multiplier=MINICPM["scale_depth"] / math.sqrt(sizes["num_hidden_layers"]),
                    attention_multiplier=(sizes["hidden_size"] // sizes["num_attention_heads"]) ** -0.5,
                    logits_scaling=sizes["hidden_size"] / MINICPM["dim_model_base"])
    config = getattr(transformers, family + "Config")(**(sizes | more))
    # Falcon's attention takes no other function; its own is in float64 too.
    config._attn_implementation = "eager" if family == "Falcon" else "golden"
    config._experts_implementation = "eager"  # the grouped product knows no float64
    return config


def new_model(case, seed):
    """Weights scaled so that attention is not uniform and logits spread, as in make_goldens.py."""
    config = config_of(case)
    model = AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(seed)
    gemma = case["family"].startswith("Gemma")
    gemma4 = case["family"].startswith("Gemma4")
    less_one = gemma and not gemma4 or case["family"].startswith(("Qwen3_5", "Qwen3Next"))
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if name.endswith("linear_attn.A_log"):  # decays from a token to some dozens
                p.copy_(torch.log(0.02 + 2 * torch.rand(p.shape, generator=generator)))
            elif name.endswith("A_log"):  # rates from 0.05 to 4, so that some heads remember and some forget
                p.copy_(torch.empty(p.shape).uniform_(0.05, 4, generator=generator).log())
            elif name.endswith(".D"):
                p.copy_(1 + 0.2 * noise)
            elif name.endswith("bias") or name.endswith("_bias") or name.endswith("sinks"):
                p.copy_(0.3 * noise)
            elif "norm" in name or ".ln_" in name or "layernorm" in name:
                p.copy_((0 if less_one and "linear_attn" not in name else 1) + 0.2 * noise)
                if gemma4 and "q_norm" in name:
                    p.mul_(0.4)  # scores have no scale of their own
            elif name.endswith("router.scale") or name.endswith("per_expert_scale"):
                p.copy_(1 + 0.2 * noise)
            elif "embed_tokens_per_layer" in name:
                p.copy_(noise / math.sqrt(config.hidden_size_per_layer_input))
            elif any(part in name for part in ("embed", "wte", "lm_head")):
                # Gemma and others scale what is looked up; the stream must not drown in it.
                scale = getattr(config, "embedding_multiplier", math.sqrt(config.hidden_size) if gemma else 1.0)
                if case["family"] in ("GPT2", "Starcoder2") or getattr(config, "use_qk_norm", False):
                    scale = 4.0
                p.copy_(noise * 3 / math.sqrt(config.hidden_size) / (1 if "lm_head" in name else scale))
            elif "wpe" in name:
                p.copy_(0.3 * noise)
            else:
                # [out, in], GPT-2's [in, out], gpt-oss's [experts, in, out]
                fan_in = p.shape[-1]
                if case["family"] == "GPT2" or (case["family"] == "GptOss" and "experts" in name):
                    fan_in = p.shape[-2]
                gain = 1.5 if any(part in name for part in ("q_proj", "k_proj", "qkv", "query_key_value", "c_attn")) else 1.0
                if "router" in name or name.endswith("mlp.gate.weight"):
                    gain = 2.0
                p.copy_(noise * gain / math.sqrt(fan_in))
        for name, b in model.named_buffers():
            if name.endswith(("e_score_correction_bias", "expert_bias")):
                b.copy_(0.2 * torch.randn(b.shape, generator=generator))
            if name.endswith("layer_scalar"):
                b.copy_(1 + 0.2 * torch.randn(b.shape, generator=generator))
        if case["mxfp4"]:
            round_experts(model)
    return model.to(DTYPES[case["stored"]]).eval()


def converted(model, dtype, weights_dtype):
    """The model with its matrices rounded to `weights_dtype`, to compute in `dtype`."""
    other = AutoModelForCausalLM.from_config(model.config).eval()
    state = {k: v.to(torch.float32) for k, v in model.state_dict().items()}
    for name, tensor in state.items():
        if is_matrix(name, tensor):
            state[name] = tensor.to(DTYPES[weights_dtype]).to(torch.float32)
    other.load_state_dict(state)
    other = other.to(dtype)
    stored_buffers = dict(model.named_buffers())
    for (name, b), (_, original) in zip(other.named_buffers(), AutoModelForCausalLM.from_config(model.config).named_buffers()):
        # Inverse frequencies are float32 in Transformers whatever the model is.
        if "inv_freq" in name:
            b.data = original.data.to(torch.float32)
        if name.endswith("embed_scale"):
            b.data = stored_buffers[name].data.to(dtype)
    return other


def logits_of(model, ids, kv_dtype):
    cache = None if kv_dtype == "f32" else RoundedCache(model.config, kv_dtype)
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), past_key_values=cache, use_cache=cache is not None).logits[0].double()


class Rejected(Exception):
    pass


def greedy(model, prompt, kv_dtype):
    ids, steps = list(prompt), []
    for _ in range(STEPS):
        values, indices = logits_of(model, ids, kv_dtype)[-1].topk(TOP)
        steps.append({"gap": (values[0] - values[1]).item(),
                      "top": [[i, v] for i, v in zip(indices.tolist(), values.tolist())]})
        ids.append(indices[0].item())
    return ids[len(prompt):], steps


def run_of(stored, prompt, positions, weights_dtype, kv_dtype):
    exact, single = (converted(stored, dtype, weights_dtype) for dtype in (torch.float64, torch.float32))
    logits = logits_of(exact, prompt, kv_dtype)
    effect = (logits - logits_of(exact, prompt, "f32")).abs().max().item()
    tolerance = RELATIVE * logits.abs().max().item() + effect / 2
    float32_error = (logits_of(single, prompt, kv_dtype) - logits).abs().max().item()
    run = f"{weights_dtype}/{kv_dtype}"
    if float32_error > tolerance / 2:
        raise Rejected(f"{run}: float32 errs by {float32_error:.3g}, tolerance {tolerance:.3g}")
    greedy_ids, steps = greedy(exact, prompt, kv_dtype)
    gap = min(step["gap"] for step in steps)
    if gap < (10 if kv_dtype == "f32" else 2) * tolerance:
        raise Rejected(f"{run}: gap {gap:.3g}, tolerance {tolerance:.3g}")
    if EOS in greedy_ids or len(set(greedy_ids)) < 5:
        raise Rejected(f"{run}: an end, or too few different ids")
    return {"weights_dtype": weights_dtype, "kv_dtype": kv_dtype, "tolerance": tolerance,
            "kv_rounding_effect": effect, "float32_error": float32_error, "min_top2_gap": gap,
            "greedy_ids": greedy_ids, "steps": steps, "logits": [logits[p].tolist() for p in positions]}


def wrapped(model, wrapper):
    """The text model inside a model of text and more, whose other parts stay at their first random weights."""
    config = getattr(transformers, wrapper + "Config")(
        text_config=model.config.to_dict(), tie_word_embeddings=model.config.tie_word_embeddings, **WRAPPERS[wrapper])
    whole = getattr(transformers, wrapper + "ForConditionalGeneration")(config).to(model.dtype).eval()
    whole.model.language_model.load_state_dict(model.model.state_dict())
    whole.lm_head.load_state_dict(model.lm_head.state_dict())
    with torch.no_grad():
        both = [copy.deepcopy(m).float()(input_ids=torch.tensor([[BOS, 7, 9, 11]])).logits for m in (whole, model)]
    assert torch.allclose(*both, atol=1e-4)
    return whole


def save(model, case, folder):
    """As Transformers saves it, but for the two families it does not have."""
    # The checkpoints of Qwen3.5's mixtures have the tensors that the modelling code has: of all experts in one.
    own_names = case["wrapper"] == "Qwen3_5Moe"
    (wrapped(model, case["wrapper"]) if case["wrapper"] else model).save_pretrained(
        folder, save_original_format=not own_names)
    for name in ("generation_config.json",):
        (folder / name).unlink(missing_ok=True)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config.pop("transformers_version", None)
    config.pop("_attn_implementation", None)
    if case["family"] in ("InternLM2", "MiniCPM"):
        tensors = safetensors.torch.load_file(folder / "model.safetensors")
        config["architectures"] = [case["family"] + "ForCausalLM"]
        config["model_type"] = case["family"].lower()
        if case["family"] == "MiniCPM":
            for key in ("embedding_multiplier", "residual_multiplier", "attention_multiplier", "logits_scaling"):
                del config[key]
            config |= MINICPM
        else:
            config["bias"] = config.pop("attention_bias")
            tensors = internlm2_tensors(tensors, model.config)
        safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    if case["mxfp4"]:
        tensors = safetensors.torch.load_file(folder / "model.safetensors")
        for name in [name for name in tensors if name.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
            tensors[name + "_blocks"], tensors[name + "_scales"] = map(torch.Tensor.contiguous, to_mxfp4(tensors.pop(name)))
        safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": [
            "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def internlm2_tensors(tensors, config):
    names = {"model.embed_tokens": "model.tok_embeddings", "lm_head": "output", "input_layernorm": "attention_norm",
             "post_attention_layernorm": "ffn_norm", "self_attn.o_proj": "attention.wo",
             "mlp.gate_proj": "feed_forward.w1", "mlp.up_proj": "feed_forward.w3", "mlp.down_proj": "feed_forward.w2"}
    out = {}
    kv, head = config.num_key_value_heads, config.hidden_size // config.num_attention_heads
    for name, t in tensors.items():
        if ".q_proj." in name:
            parts = [tensors[name.replace("q_proj", p)] for p in ("q_proj", "k_proj", "v_proj")]
            rest = parts[0].shape[1:]
            grouped = [p.reshape(kv, -1, head, *rest) for p in parts]
            out[name.replace("self_attn.q_proj", "attention.wqkv")] = torch.cat(grouped, 1).reshape(-1, *rest).contiguous()
        elif ".k_proj." not in name and ".v_proj." not in name:
            for old, new in names.items():
                name = name.replace(old, new)
            out[name] = t
    return out


def write_case(name, case):
    length = case["length"]
    # What is stored in bf16 widens exactly.
    runs = [("bf16", "f32")] if case["stored"] == "bf16" else []
    runs += [("f32", "f32"), ("bf16", "bf16"), ("f16", "f16")]
    for seed in range(1, 400):
        generator = numpy.random.default_rng(seed)
        prompt = [BOS] + generator.integers(3, VOCAB, length - 1).tolist()
        positions = sorted({0, 1, 15, 16, 17, 33, length // 2, length - 1})
        stored = new_model(case, seed)
        try:
            done = [run_of(stored, prompt, positions, *run) for run in runs]
        except Rejected as reason:
            print(f"{name}: seed {seed} rejected, {reason}", flush=True)
            continue
        break
    else:
        raise SystemExit(f"{name}: no seed will do")
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    save(stored, case, folder)
    golden = {"case": name, "why": case["why"],
              "made_with": {"transformers": transformers.__version__, "torch": torch.__version__}, "seed": seed,
              "stored_dtype": case["stored"], "prompt_ids": prompt, "positions": positions, "runs": done}
    (folder / "golden.json").write_text(compact(golden) + "\n")
    for file in folder.iterdir():
        file.chmod(0o644)
    print(f"{name}: seed {seed} " + ", ".join(
        f"{r['weights_dtype']}/{r['kv_dtype']} tolerance {r['tolerance']:.3g} float32 {r['float32_error']:.3g} gap {r['min_top2_gap']:.3g}"
        for r in done), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.names or CASES:
        write_case(name, CASES[name])


if __name__ == "__main__":
    main()
