#!/usr/bin/env python3
"""Writes tests/golden/configs.json: what Hugging Face's configuration classes make of small config.json files.

    python make_config_goldens.py        a few seconds; needs torch and transformers

Every architecture that Transformers has appears with its sizes alone, so that each default is
pinned; then the spellings of rotary embeddings and of lists of layers. README.md describes the file.

The classes say everything but what Transformers' modelling files fill in, which this script states by hand:
    windows             without layer_types: of all layers in mistral, mixtral, phi3 and starcoder2, else of none
    num_kv_heads        1 in falcon (multi_query); num_attention_heads where a class has none
    head_dim            hidden_size / num_attention_heads where a class has none
    intermediate_size   4 * hidden_size where a class has none
    eps                 1e-5 in olmo
    intermediate_size   in lfm2 what the modelling code makes of it
    activation          silu in lfm2, lfm2_moe and lfm3
    max_positions       2^20 in mamba2, which has none
    nope                layers that do not attend; all of nemotron_h, and of granitemoehybrid unless it says rope
"""

import importlib
import json
import pathlib

import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

HERE = pathlib.Path(__file__).resolve().parent

# As many heads as the largest default of num_key_value_heads.
SIZES = {"hidden_size": 512, "intermediate_size": 96, "num_hidden_layers": 6, "num_attention_heads": 32,
         "vocab_size": 1000}
MOE = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
LATENT = {"kv_lora_rank": 16, "q_lora_rank": None, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8,
          "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_group": 2,
          "topk_group": 1}
YARN = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 512}
LONGROPE = {"type": "longrope", "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7],
            "long_factor": [1.0, 2.0, 4.0, 8.0, 9.0, 10.0, 11.0, 12.0]}

# Sizes alone (with `more` that we do not guess): HF's defaults.
DEFAULTS = {
    "llama": {}, "mistral": {}, "mixtral": {}, "qwen2": {}, "qwen3": {}, "phi3": {"pad_token_id": 0}, "smollm3": {},
    "arcee": {}, "granite": {}, "gemma": {}, "gemma2": {}, "gemma3_text": {},
    "gemma4_text": {"vocab_size_per_layer_input": 1000}, "gemma4_unified_text": {}, "glm": {}, "glm4": {}, "olmo": {}, "olmo2": {},
    "cohere": {}, "gpt2": {"n_embd": 512, "n_layer": 6, "n_head": 32}, "gpt_neox": {}, "phi": {}, "starcoder2": {},
    "falcon": {}, "stablelm": {}, "qwen2_moe": MOE | {"shared_expert_intermediate_size": 32}, "qwen3_moe": MOE,
    "qwen3_next": MOE | {"shared_expert_intermediate_size": 32}, "qwen3_5_text": {}, "qwen3_5_moe_text": {},
    "gpt_oss": {"num_local_experts": 8}, "deepseek_v2": LATENT, "deepseek_v3": LATENT,
    "glm4_moe": {"n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}, "glm4_moe_lite": LATENT,
    "lfm2": {}, "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 3}, "lfm3": {}, "ministral3": {},
    "mamba2": {"num_heads": 16, "head_dim": 64, "n_groups": 1}, "granitemoehybrid": {},
    "nemotron_h": {"layers_block_type": ["linear_attention", "moe", "full_attention", "mlp", "moe", "mlp"]},
}
# Sizes and these fields.
VARIANTS = [
    ("qwen3_5_text", "interval", {"full_attention_interval": 2, "partial_rotary_factor": 0.5}),
    ("qwen3_5_text", "layer_types", {"layer_types": ["full_attention"] * 2 + ["linear_attention"] * 4, "rope_parameters": {
        "rope_type": "default", "rope_theta": 1e7, "partial_rotary_factor": 0.25, "mrope_section": [1, 1, 0]}}),
    ("gpt_oss", "rope_scaling_theta", {"num_local_experts": 8, "rope_theta": 20000.0}),
    ("gpt_oss", "rope_parameters_null", {"num_local_experts": 8, "rope_parameters": None}),
    ("gpt_oss", "rope_scaling", {"num_local_experts": 8, "rope_scaling": YARN | {"factor": 4.0}}),
    ("gemma3_text", "nested_without_theta", {"rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 8.0}, "sliding_attention": {"rope_type": "default"}}}),
    ("gemma3_text", "nested_full_alone", {"rope_parameters": {"full_attention": {"rope_type": "default"}}}),
    ("gemma3_text", "nested_thetas_beside", {"rope_theta": 5e5, "rope_local_base_freq": 2e4, "rope_parameters": {
        "full_attention": {"rope_type": "default"}, "sliding_attention": {"rope_type": "default"}}}),
    ("gemma3_text", "old", {"rope_theta": 1e6, "rope_local_base_freq": 1e4,
                            "rope_scaling": {"rope_type": "linear", "factor": 8.0}}),
    ("gemma3_text", "pattern", {"sliding_window_pattern": 3, "sliding_window": 32}),
    ("gemma4_text", "published", {
        "hidden_size_per_layer_input": 0, "global_head_dim": 32, "head_dim": 16, "num_global_key_value_heads": 2,
        "attention_k_eq_v": True, "sliding_window": 32, "final_logit_softcapping": 30.0,
        "layer_types": ["sliding_attention", "full_attention"] * 2 + ["sliding_attention"] * 2, "rope_parameters": {
            "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.3, "rope_theta": 5e5, "factor": 2.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 2e4}}}),
    ("gemma2", "layer_types", {"sliding_window": 32, "layer_types": ["full_attention", "sliding_attention"] * 3}),
    ("qwen2", "window", {"use_sliding_window": True, "sliding_window": 32, "max_window_layers": 4}),
    ("qwen2", "yarn", {"rope_scaling": YARN}),
    ("qwen3", "yarn_factor_null", {"max_position_embeddings": 4096, "rope_scaling": YARN | {"factor": None}}),
    ("llama", "llama3", {"rope_theta": 5e5, "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 1024}}),
    ("llama", "dynamic", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}),
    ("phi3", "longrope", {"pad_token_id": 0, "max_position_embeddings": 8192, "original_max_position_embeddings": 1024,
                          "rope_scaling": LONGROPE}),
    ("phi3", "longrope_partial", {"pad_token_id": 0, "hidden_size": 1024, "partial_rotary_factor": 0.5, "max_position_embeddings": 8192,
                                  "original_max_position_embeddings": 1024, "rope_scaling": LONGROPE}),
    ("smollm3", "no_rope_layers", {"no_rope_layers": [1, 1, 0, 0, 1, 0]}),
    ("deepseek_v3", "yarn", LATENT | {"max_position_embeddings": 4096, "rope_scaling": YARN | {
        "mscale": 1.0, "mscale_all_dim": 0.5, "beta_fast": 16}}),
    ("lfm2", "layer_types", {"layer_types": ["conv", "full_attention"] * 3, "block_auto_adjust_ff_dim": False}),
    ("lfm2", "full_attn_idxs", {"full_attn_idxs": [1, 4], "block_multiple_of": 7, "block_ffn_dim_multiplier": 1.3}),
    ("granitemoehybrid", "rope", {"position_embedding_type": "rope", "rope_theta": 5e5,
                                  "layer_types": ["mamba", "attention"] * 3}),
    ("gpt_neox", "rotary_pct", {"rotary_pct": 0.5, "rotary_emb_base": 20000}),
]


def floats(tensor):
    """Nine digits give back any float32."""
    return [float(f"{v:.9g}") for v in tensor.tolist()]


def rotary_of(config):
    """{layer type, "" where there is one for all: {inv_freq, attention_factor, long_inv_freq}}"""
    package = type(config).__module__.rsplit(".", 1)[0]
    name = package.rsplit(".", 1)[1]
    modeling = importlib.import_module(f"{package}.modeling_{name.removesuffix('_text')}")
    rotary = [v for k, v in vars(modeling).items() if k.endswith("RotaryEmbedding") and "Vision" not in k]
    if not rotary:
        return {}
    module = rotary[0](config=config)
    out = {}
    for buffer, value in module.named_buffers():
        if "original" in buffer or not buffer.endswith("inv_freq"):
            continue
        kind = buffer.removesuffix("inv_freq").rstrip("_")
        parameters = config.rope_parameters[kind] if kind else config.rope_parameters
        scaling = getattr(module, f"{kind}_attention_scaling" if kind else "attention_scaling")
        out[kind] = {"inv_freq": floats(value), "attention_factor": float(scaling)}
        if parameters["rope_type"] == "longrope":
            longer = parameters["original_max_position_embeddings"] + 1
            out[kind]["long_inv_freq"] = floats(ROPE_INIT_FUNCTIONS["longrope"](config, None, seq_len=longer)[0])
    return out


def windows_of(config):
    """What each layer's mask lets a token see: 0, all."""
    layers = config.num_hidden_layers
    window = getattr(config, "sliding_window", None) or 0
    kinds = getattr(config, "layer_types", None)
    if kinds:
        return [window if kind == "sliding_attention" else 0 for kind in kinds]
    uses = config.model_type in ("mistral", "mixtral", "phi3", "starcoder2")
    return [window if uses else 0] * layers


def intermediate_of(config):
    size = getattr(config, "intermediate_size", None)
    if config.model_type == "lfm2" and config.block_auto_adjust_ff_dim:
        size = int(config.block_ffn_dim_multiplier * int(2 * size / 3))
        size = -(-size // config.block_multiple_of) * config.block_multiple_of
    return size


def nope_of(config):
    kinds = getattr(config, "layers_block_type", getattr(config, "layer_types", None))
    if config.model_type in ("lfm2", "lfm2_moe", "lfm3"):
        return [kind == "conv" for kind in kinds]
    if config.model_type == "granitemoehybrid":
        return [kind == "linear_attention" or config.position_embedding_type != "rope" for kind in kinds]
    return [not flag for flag in getattr(config, "no_rope_layers", [])]


def expected(config):
    get = lambda *names: next((getattr(config, n) for n in names if getattr(config, n, None) is not None), None)
    eos = config.eos_token_id
    activation = get("hidden_activation", "hidden_act", "activation_function", "activation", "mlp_hidden_act")
    if config.model_type in ("lfm2", "lfm2_moe", "lfm3"):
        activation = "silu"
    heads = config.num_attention_heads
    latent = hasattr(config, "kv_lora_rank") or config.model_type == "mamba2"
    return {
        "intermediate_size": get("ffn_hidden_size", "n_inner") or intermediate_of(config) or 4 * config.hidden_size,
        # What the cache holds is this project's own affair where it is latent, or where there is none.
        "num_kv_heads": None if latent else (1 if config.model_type == "falcon" else get("num_key_value_heads") or heads),
        "head_dim": None if latent else get("head_dim") or config.hidden_size // heads,
        "max_position_embeddings": get("max_position_embeddings", "n_positions") or 2**20,
        "eps": get("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps")
        or (1e-5 if config.model_type == "olmo" else None),
        "activation": activation,
        "tie_word_embeddings": config.tie_word_embeddings,
        "bos": config.bos_token_id,
        "eos": [] if eos is None else eos if isinstance(eos, list) else [eos],
        "windows": windows_of(config),
        "nope": nope_of(config),
        "linear": [i for i, kind in enumerate(getattr(config, "layer_types", None) or []) if kind == "linear_attention"],
        "rope": rotary_of(config),
    }


def main():
    cases = [(t, "defaults", more) for t, more in DEFAULTS.items()] + VARIANTS
    out = []
    for model_type, name, more in cases:
        sizes = {"vocab_size": SIZES["vocab_size"]} if model_type == "gpt2" else SIZES
        given = {"model_type": model_type} | sizes | more
        config = CONFIG_MAPPING[model_type].from_dict(json.loads(json.dumps(given)))
        config.allow_global_per_layer_attribute_access = True  # Gemma 4's head_dim: of layers with a window
        out.append({"name": f"{model_type}_{name}", "config": given, "expected": expected(config)})
    lines = ",\n".join(json.dumps(case) for case in out)
    versions = json.dumps({"transformers": transformers.__version__, "torch": torch.__version__})
    (HERE / "configs.json").write_text(f'{{"made_with": {versions},\n"cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
