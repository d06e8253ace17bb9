#!/usr/bin/env python3
"""Writes goldens as GGUF, as llama.cpp's convert_hf_to_gguf.py would, and what llama.cpp itself makes of them.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install gguf==0.19.0 numpy xllamacpp
    /tmp/venv/bin/python tests/golden/make_gguf_goldens.py           # all, or the names of some; under a minute

For each case tests/golden/gguf/NAME.gguf: the golden of that name (or CASES' `golden`), its matrices in BF16 (MXFP4 where
the golden has them so), vectors, routers and positions in F32. Names are gguf-py's tensor_mapping.py's; what converters do to tensors (rows of q and k
reordered, q, k and v split or merged, experts stacked, norms plus 1) is here.

Some families' files leave to their reader what a config says otherwise in our goldens: `config` has what it must say.
`layers` are those of the golden that the file has; `merged`: q, k and v are one tensor;
`other_bits`: why the file's model computes the same, but not to the last bit;
`unused`: a token that is not among the 20, where EOS is.

cases.json: of each case the golden, `config`, `layers`, and llama_cpp_ids: the 20 tokens that llama.cpp chooses
greedily behind the golden's prompt, or null and why_not. It reads the same values in F32, with a vocabulary of made-up
words, since its server turns tokens into text, and an F32 cache. Where the golden's config stands as it is, the
golden's greedy ids with matrices in bf16 must be the same, or the script fails.
"""
import argparse
import json
import pathlib
import re
import struct
import tempfile

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

HERE = pathlib.Path(__file__).parent
OUT = HERE / "gguf"

RATES = "rates of decay are stored after their exponential"



def gpt_oss(base):
    """What bounds the activation of gpt-oss' experts is not in its files. llama.cpp rounds the bounds of yarn's ramp to
    whole pairs, and this model does not: with a small `base`, the ramp is from the first pair to the last either way."""
    return {"swiglu_limit": 7.0, "rope_parameters": {
        "rope_type": "yarn", "rope_theta": base, "factor": 4.0, "original_max_position_embeddings": 32, "truncate": False,
        "beta_fast": 32.0, "beta_slow": 1.0}}


# By the name of the file: architecture, and what else there is to say.
CASES = {
    "ministral3": {"arch": "mistral3"},
    "mixtral": {"arch": "llama"},
    "qwen2_moe": {"arch": "qwen2moe", "layers": [1, 3], "config": {"num_hidden_layers": 2, "decoder_sparse_step": 1}},
    "qwen2_yarn": {"arch": "qwen2"},
    "qwen3_moe": {"arch": "qwen3moe"},
    "gemma2": {"arch": "gemma2", "config": {"query_pre_attn_scalar": 16}},
    "gemma4": {"arch": "gemma4"},
    "gemma4_e2b": {"arch": "gemma4"},
    "gemma4_moe": {"arch": "gemma4", "other_bits": "the scale of embeddings is rounded as the stored dtype, which is another"},
    "smollm3": {"arch": "smollm3", "config": {"no_rope_layers": [1, 1, 1, 0], "no_rope_layer_interval": 4},
                "unused": 0},
    "cohere": {"arch": "command-r"},
    "cohere_qk_norm": {"arch": "command-r", "why_not": "llama.cpp looks for norms of q and k from 64 layers up"},
    "phi": {"arch": "phi2"},
    "starcoder2": {"arch": "starcoder2", "config": {"sliding_window": None}},
    "stablelm": {"arch": "stablelm"},
    "stablelm_parallel": {"arch": "stablelm"},
    "gpt2": {"arch": "gpt2"},
    "gpt_neox": {"arch": "gptneox"},
    "gpt_neox_sequential": {"arch": "gptneox"},
    "falcon_7b": {"arch": "falcon"},
    "falcon_40b": {"arch": "falcon"},
    "olmo": {"arch": "olmo"},
    "glm": {"arch": "chatglm", "merged": True, "why_not": "llama.cpp wants heads that make the hidden size"},
    "glm4": {"arch": "glm4"},
    "glm4_moe_air": {"arch": "glm4moe"},
    "glm4_moe_lite": {"arch": "deepseek2", "layers": [1, 2],
                      "config": {"num_hidden_layers": 2, "mlp_layer_types": ["dense", "sparse"], "first_k_dense_replace": 1}},
    "deepseek_v2_lite": {"arch": "deepseek2", "why_not": "llama.cpp wants q_lora_rank of all that have not 26 or 27 layers"},
    "deepseek_v3": {"arch": "deepseek2"},
    "arcee": {"arch": "arcee"},
    "minicpm": {"arch": "minicpm"},
    "lfm2": {"arch": "lfm2"},
    "lfm2_moe": {"arch": "lfm2moe"},
    "mamba2": {"arch": "mamba2", "other_bits": RATES},
    "granitemoehybrid": {"arch": "granitehybrid", "other_bits": RATES},
    # llama.cpp knows no bound of time steps, and of groups of experts only one.
    "nemotron_h": {"arch": "nemotron_h", "other_bits": RATES, "config": {"time_step_min": 0.0}},
    "nemotron_h_moe": {"arch": "nemotron_h_moe", "other_bits": RATES,
                       "config": {"time_step_min": 0.0, "n_group": 1, "topk_group": 1}},
    "qwen3_next": {"arch": "qwen3next", "other_bits": RATES},
    "qwen3_5": {"arch": "qwen35", "other_bits": RATES},
    "qwen3_5_moe": {"arch": "qwen35moe", "other_bits": RATES},
    "gpt_oss": {"arch": "gpt-oss", "config": gpt_oss(2.0)},
    "gpt_oss_mxfp4": {"arch": "gpt-oss", "config": gpt_oss(1.5)},  # with 2, a token's experts are nearly tied
    "internlm2": {"arch": "internlm2", "config": {"bias": False}},  # llama.cpp has none of o_proj
}

# convert_hf_to_gguf.py reorders the rows of q and k of these for a rotation of pairs.
PERMUTED = {"llama", "smollm3", "olmo", "arcee", "minicpm", "internlm2", "mistral3"}


# Families with state spaces and short convolutions: the beginning of a tensor's name in its layer, and GGUF's.
HYBRIDS = {"lfm2", "lfm2moe", "mamba2", "granitehybrid", "nemotron_h", "nemotron_h_moe"}
HYBRID_NAMES = {
    "operator_norm.": "attn_norm.", "input_layernorm.": "attn_norm.", "norm.": "attn_norm.",
    "post_attention_layernorm.": "ffn_norm.", "ffn_norm.": "ffn_norm.",
    "conv.in_proj.": "shortconv.in_proj.", "conv.conv.": "shortconv.conv.", "conv.out_proj.": "shortconv.out_proj.",
    "self_attn.q_proj.": "attn_q.", "self_attn.k_proj.": "attn_k.", "self_attn.v_proj.": "attn_v.",
    "self_attn.o_proj.": "attn_output.", "self_attn.out_proj.": "attn_output.",
    "self_attn.q_layernorm.": "attn_q_norm.", "self_attn.k_layernorm.": "attn_k_norm.",
    "mixer.q_proj.": "attn_q.", "mixer.k_proj.": "attn_k.", "mixer.v_proj.": "attn_v.", "mixer.o_proj.": "attn_output.",
    "feed_forward.w1.": "ffn_gate.", "feed_forward.w3.": "ffn_up.", "feed_forward.w2.": "ffn_down.",
    "feed_forward.gate.": "ffn_gate_inp.", "feed_forward.expert_bias": "exp_probs_b.bias",
    "block_sparse_moe.router.layer.": "ffn_gate_inp.", "block_sparse_moe.output_linear.": "ffn_down_exps.",
    "mixer.gate.e_score_correction_bias": "exp_probs_b.bias", "mixer.gate.": "ffn_gate_inp.",
    "mixer.fc1_latent_proj.": "ffn_latent_down.", "mixer.fc2_latent_proj.": "ffn_latent_up.",
    "mixer.shared_experts.up_proj.": "ffn_up_shexp.", "mixer.shared_experts.down_proj.": "ffn_down_shexp.",
    "mixer.up_proj.": "ffn_up.", "mixer.down_proj.": "ffn_down.",
    **{f"{mixer}.{hf}": name for mixer in ("mamba", "mixer") for hf, name in (
        ("in_proj.", "ssm_in."), ("conv1d.", "ssm_conv1d."), ("A_log", "ssm_a"), ("D", "ssm_d"),
        ("dt_bias", "ssm_dt.bias"), ("norm.", "ssm_norm."), ("out_proj.", "ssm_out."))},
}
HYBRID_MODEL_NAMES = {"embed_tokens": "token_embd", "embeddings": "token_embd", "norm": "output_norm",
                      "norm_f": "output_norm", "embedding_norm": "token_embd_norm", "lm_head": "output"}
HYBRID_EXPERTS = {"w1": "ffn_gate_exps", "w3": "ffn_up_exps", "w2": "ffn_down_exps", "up_proj": "ffn_up_exps",
                  "down_proj": "ffn_down_exps"}


def read_safetensors(path):
    """{name: float32 array}."""
    blob = path.read_bytes()
    size = struct.unpack("<Q", blob[:8])[0]
    out = {}
    for name, entry in json.loads(blob[8:8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + x for x in entry["data_offsets"])
        data = blob[begin:end]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(data, {"F32": np.float32, "F16": np.float16, "U8": np.uint8}[entry["dtype"]])
            if entry["dtype"] == "F16":
                values = values.astype(np.float32)
        out[name] = values.reshape(entry["shape"])
    return out


def mxfp4_of_ggml(blocks, scales):
    """gpt-oss' experts as they are published, [experts, out, in / 32, 16] with the low halves of bytes the even columns ->
    ggml's, [experts, out, in / 32 * 17]: a scale, then bytes whose low halves are the first 16 columns."""
    codes = np.stack([blocks & 15, blocks >> 4], -1).reshape(*blocks.shape[:-1], 32)
    return np.concatenate([scales[..., None], codes[..., :16] | codes[..., 16:] << 4], -1).reshape(*blocks.shape[:-2], -1)


def rounded(values):
    """To bf16, in float32."""
    return gguf.dequantize(gguf.quantize(values, Type.BF16), Type.BF16).reshape(values.shape)


def tiled(t, axis, key_heads, value_heads):
    """Heads of v, which follow each other where they share one of k, in the order in which ggml repeats those of k."""
    shape = t.shape[:axis] + (key_heads, value_heads // key_heads, -1) + t.shape[axis + 1:]
    return t.reshape(shape).swapaxes(axis, axis + 1).reshape(t.shape)


def permuted(rows, heads):
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


class Model:
    def __init__(self, name, case):
        folder = HERE / case.get("golden", name)
        self.case = case
        self.arch = case["arch"]
        self.config = json.loads((folder / "config.json").read_text()) | case.get("config", {})
        self.golden = json.loads((folder / "golden.json").read_text())
        self.tensors = read_safetensors(folder / "model.safetensors")
        if text := self.config.get("text_config"):
            self.config = text
            self.tensors = {name.removeprefix("language_model."): t for name, t in self.tensors.items()
                            if name.startswith("language_model.")}

    def get(self, *names, default=None):
        return next((self.config[n] for n in names if self.config.get(n) is not None), default)

    @property
    def heads(self):
        return self.get("num_attention_heads", "n_head")

    @property
    def kv_heads(self):
        if self.config["model_type"] == "falcon" and not self.config["new_decoder_architecture"]:
            return 1 if self.config["multi_query"] else self.heads
        return self.get("num_key_value_heads", "num_kv_heads", default=self.heads)

    @property
    def head_dim(self):
        return self.get("head_dim", default=self.get("hidden_size", "n_embd") // self.heads)

    def hybrid_layers(self):
        """Of each layer "attention", "mlp" or what there is in place of attention."""
        kinds = self.get("layer_types", "layers_block_type", default=["mamba"] * self.get("num_hidden_layers", default=0))
        return [{"full_attention": "attention", "moe": "mlp"}.get(kind, kind) for kind in kinds]

    def hybrid_metadata(self, w):
        get, arch, kinds = self.get, self.arch, self.hybrid_layers()
        w.add_context_length(get("max_position_embeddings", default=2**20))
        w.add_embedding_length(get("hidden_size"))
        w.add_block_count(len(kinds))
        w.add_vocab_size(get("vocab_size"))
        eps = get("rms_norm_eps", "norm_eps", "layer_norm_epsilon")
        (w.add_layer_norm_eps if arch.startswith("nemotron_h") else w.add_layer_norm_rms_eps)(eps)
        w.add_head_count(0 if arch == "mamba2" else self.heads)
        if arch != "mamba2":
            w.add_head_count_kv([self.kv_heads if kind == "attention" else 0 for kind in kinds])
        size = get("intermediate_size", default=0)
        if arch == "lfm2" and get("block_auto_adjust_ff_dim"):
            multiple = get("block_multiple_of")
            size = -(-int(get("block_ffn_dim_multiplier") * int(2 * size / 3)) // multiple) * multiple
        if arch.startswith("nemotron_h"):
            size = get("moe_intermediate_size") if arch.endswith("moe") else size
            w.add_feed_forward_length([size if kind == "mlp" else 0 for kind in kinds])
            w.add_key_length(self.head_dim)
            w.add_value_length(self.head_dim)
        else:
            w.add_feed_forward_length(size)
        if arch.startswith("lfm2"):
            w.add_shortconv_l_cache(get("conv_L_cache"))
            w.add_rope_freq_base(get("rope_parameters")["rope_theta"])
            w.add_rope_dimension_count(self.head_dim)
        else:
            heads = get("mamba_n_heads", "mamba_num_heads", "num_heads")
            w.add_ssm_conv_kernel(get("mamba_d_conv", "conv_kernel"))
            w.add_ssm_state_size(get("mamba_d_state", "ssm_state_size", "state_size"))
            w.add_ssm_group_count(get("mamba_n_groups", "n_groups"))
            w.add_ssm_time_step_rank(heads)
            w.add_ssm_inner_size(heads * get("mamba_d_head", "mamba_head_dim", "head_dim"))
        if arch == "granitehybrid":
            w.add_rope_scaling_finetuned(False)
            w.add_embedding_scale(get("embedding_multiplier"))
            w.add_residual_scale(get("residual_multiplier"))
            w.add_attention_scale(get("attention_multiplier"))
            w.add_logit_scale(get("logits_scaling"))
        if arch in ("lfm2moe", "granitehybrid", "nemotron_h_moe"):
            w.add_expert_count(get("num_local_experts", "num_experts", "n_routed_experts"))
            w.add_expert_used_count(get("num_experts_per_tok"))
            w.add_expert_feed_forward_length(get("moe_intermediate_size", "intermediate_size"))
        if arch == "lfm2moe":
            w.add_leading_dense_block_count(get("num_dense_layers"))
            w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
        if arch == "granitehybrid":
            w.add_expert_shared_feed_forward_length(get("shared_intermediate_size"))
        if arch == "nemotron_h_moe":
            w.add_expert_shared_feed_forward_length(get("moe_shared_expert_intermediate_size"))
            w.add_expert_shared_count(get("n_shared_experts"))
            w.add_expert_weights_norm(get("norm_topk_prob"))
            w.add_expert_weights_scale(get("routed_scaling_factor"))
            w.add_expert_group_count(get("n_group"))
            w.add_moe_latent_size(get("moe_latent_size"))

    def hybrid_tensors(self):
        """{GGUF name: array}."""
        out, experts = {}, {}
        groups = self.get("mamba_n_groups", "n_groups")
        for name, t in self.tensors.items():
            found = re.fullmatch(r"\w+\.layers\.(\d+)\.(.*)", name)
            if not found:
                stem = name.removesuffix(".weight").split(".")[-1]
                out[HYBRID_MODEL_NAMES[stem] + ".weight"] = t
                continue
            layer, rest = f"blk.{found[1]}.", found[2]
            if each := re.fullmatch(r"\w+\.experts\.(\d+)\.(\w+)\.weight", rest):
                experts.setdefault(layer + HYBRID_EXPERTS[each[2]] + ".weight", {})[int(each[1])] = t
                continue
            if rest == "block_sparse_moe.input_linear.weight":
                for part, values in zip(("gate", "up"), np.split(t, 2, axis=1)):
                    out[f"{layer}ffn_{part}_exps.weight"] = values
                continue
            if rest.startswith("shared_mlp."):
                kind = "_shexp" if self.get("num_local_experts") else ""
                parts = np.split(t, 2) if "input" in rest else [t]
                for part, values in zip(("gate", "up") if "input" in rest else ("down",), parts):
                    out[f"{layer}ffn_{part}{kind}.weight"] = values
                continue
            prefix = max((p for p in HYBRID_NAMES if rest.startswith(p)), key=len)
            new = HYBRID_NAMES[prefix] + rest.removeprefix(prefix)
            if new == "ssm_a":
                t = -np.exp(t)
            if new in ("ssm_a", "ssm_d"):
                t = t.reshape(-1, 1)
            if new == "ssm_norm.weight":
                t = t.reshape(groups, -1)
            if new in ("ssm_conv1d.weight", "shortconv.conv.weight"):
                t = t.reshape(t.shape[0], t.shape[-1])
            if self.arch == "granitehybrid" and new in ("attn_q.weight", "attn_k.weight"):
                t = permuted(t, self.heads if new == "attn_q.weight" else self.kv_heads)
            out[layer + new] = t
        return out | {name: np.stack([parts[i] for i in range(len(parts))]) for name, parts in experts.items()}

    def metadata(self, w):
        if self.arch in HYBRIDS:
            return self.hybrid_metadata(w)
        get, arch = self.get, self.arch
        hidden = get("hidden_size", "n_embd")
        w.add_context_length(get("max_position_embeddings", "n_positions"))
        w.add_embedding_length(hidden)
        w.add_block_count(get("num_hidden_layers", "n_layer"))
        if arch == "gemma4":
            return self.gemma4_metadata(w)
        w.add_feed_forward_length(get("intermediate_size", "ffn_hidden_size", "n_inner", default=4 * hidden))
        w.add_head_count(self.heads)
        w.add_head_count_kv(1 if arch == "deepseek2" else self.kv_heads)
        if (eps := get("rms_norm_eps")) is not None and arch != "olmo":
            w.add_layer_norm_rms_eps(eps)
        else:
            w.add_layer_norm_eps(get("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", default=1e-5))
        if get("head_dim") and arch != "deepseek2":
            w.add_key_length(self.head_dim)
            w.add_value_length(self.head_dim)
        if rope := get("rope_parameters"):
            w.add_rope_freq_base(rope["rope_theta"])
            w.add_rope_dimension_count(get("qk_rope_head_dim") or int(self.head_dim * rope.get("partial_rotary_factor", 1.0)))
            if rope["rope_type"] == "yarn":
                w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
                w.add_rope_scaling_factor(rope["factor"])
                w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
            if arch == "mistral3":
                w.add_rope_scaling_yarn_log_mul(rope["mscale_all_dim"])
                w.add_attn_temperature_scale(rope["llama_4_scaling_beta"])
        if (parallel := get("use_parallel_residual")) is not None:
            w.add_parallel_residual(parallel)
        if experts := get("num_local_experts", "num_experts", "n_routed_experts"):
            w.add_expert_count(experts)
            w.add_expert_used_count(get("num_experts_per_tok"))
        if size := get("moe_intermediate_size"):
            w.add_expert_feed_forward_length(size)
        if size := get("shared_expert_intermediate_size"):
            w.add_expert_shared_feed_forward_length(size)
        if arch in ("glm4moe", "deepseek2"):
            softmax = self.config["model_type"] == "deepseek_v2"
            w.add_expert_shared_count(get("n_shared_experts"))
            w.add_leading_dense_block_count(get("first_k_dense_replace", default=0))
            w.add_expert_gating_func(gguf.ExpertGatingFuncType[("SIGMOID", "SOFTMAX")[softmax]])
            w.add_expert_weights_scale(get("routed_scaling_factor"))
            w.add_expert_weights_norm(get("norm_topk_prob"))
        if arch == "deepseek2":
            if get("q_lora_rank"):
                w.add_q_lora_rank(get("q_lora_rank"))
            w.add_kv_lora_rank(get("kv_lora_rank"))
            w.add_key_length(get("kv_lora_rank") + get("qk_rope_head_dim"))
            w.add_value_length(get("kv_lora_rank"))
            w.add_key_length_mla(get("qk_nope_head_dim") + get("qk_rope_head_dim"))
            w.add_value_length_mla(get("v_head_dim"))
            if get("n_group", default=1) > 1:
                w.add_expert_group_count(get("n_group"))
                w.add_expert_group_used_count(get("topk_group"))
            if "mscale_all_dim" in rope:
                w.add_rope_scaling_yarn_log_mul(0.1 * rope["mscale_all_dim"])
        if arch == "gpt-oss":
            w.add_sliding_window(get("sliding_window"))
            w.add_expert_feed_forward_length(get("intermediate_size"))
        if arch == "gemma2":
            w.add_attn_logit_softcapping(get("attn_logit_softcapping"))
            w.add_final_logit_softcapping(get("final_logit_softcapping"))
            w.add_sliding_window(get("sliding_window"))
        if arch == "command-r":
            w.add_logit_scale(get("logit_scale"))
            w.add_rope_scaling_type(gguf.RopeScalingType.NONE)
        if arch == "minicpm":
            w.add_embedding_scale(get("scale_emb"))
            w.add_residual_scale(get("scale_depth") / get("num_hidden_layers")**0.5)
            w.add_logit_scale(hidden / get("dim_model_base"))
        if arch.startswith("qwen3") and get("linear_num_key_heads"):
            w.add_ssm_conv_kernel(get("linear_conv_kernel_dim"))
            w.add_ssm_state_size(get("linear_key_head_dim"))
            w.add_ssm_group_count(get("linear_num_key_heads"))
            w.add_ssm_time_step_rank(get("linear_num_value_heads"))
            w.add_ssm_inner_size(get("linear_num_value_heads") * get("linear_value_head_dim"))
            kinds = get("layer_types")
            w.add_full_attention_interval(kinds.index("full_attention") + 1)
            if arch != "qwen3next":
                w.add_rope_dimension_sections(get("rope_parameters")["mrope_section"] + [0])
        w.add_vocab_size(get("vocab_size"))

    def gemma4_metadata(self, w):
        """What differs by layer is an array; the heads are those of layers without a window."""
        get = self.get
        windowed = [kind == "sliding_attention" for kind in get("layer_types")]
        own = {int(layer): sizes for layer, sizes in get("per_layer_config").items()}
        full = own[windowed.index(False)]
        first_shared = len(windowed) - get("num_kv_shared_layers")
        wide = get("use_double_wide_mlp")
        w.add_feed_forward_length([get("intermediate_size") * (2 if wide and i >= first_shared else 1)
                                   for i in range(len(windowed))])
        w.add_head_count(self.heads)
        w.add_head_count_kv([own.get(i, {}).get("num_key_value_heads", self.kv_heads) for i in range(len(windowed))])
        w.add_layer_norm_rms_eps(get("rms_norm_eps"))
        w.add_shared_kv_layers(get("num_kv_shared_layers"))
        w.add_embedding_length_per_layer_input(get("hidden_size_per_layer_input"))
        w.add_sliding_window(get("sliding_window"))
        w.add_sliding_window_pattern(windowed)
        w.add_key_length(full["head_dim"])
        w.add_value_length(full["head_dim"])
        w.add_key_length_swa(self.head_dim)
        w.add_value_length_swa(self.head_dim)
        w.add_rope_dimension_count(full["head_dim"])
        w.add_rope_dimension_count_swa(self.head_dim)
        w.add_rope_freq_base(get("rope_parameters")["full_attention"]["rope_theta"])
        w.add_rope_freq_base_swa(get("rope_parameters")["sliding_attention"]["rope_theta"])
        if (cap := get("final_logit_softcapping")) is not None:
            w.add_final_logit_softcapping(cap)
        if get("enable_moe_block"):
            w.add_expert_count(get("num_experts"))
            w.add_expert_used_count(get("top_k_experts"))
            w.add_expert_feed_forward_length(get("moe_intermediate_size"))
        w.add_vocab_size(get("vocab_size"))
        # Frequencies that stand still have a factor that makes them so.
        pairs = full["head_dim"] // 2
        turning = int(full["head_dim"] * get("rope_parameters")["full_attention"]["partial_rotary_factor"] / 2)
        self.rope_freqs = np.array([1.0] * turning + [1e30] * (pairs - turning), np.float32)

    def converted(self):
        """{HF name as tensor_mapping.py has it: array}."""
        out, experts = {}, {}
        for name, t in self.tensors.items():
            if self.case.get("config", {}).get("bias") is False and name.endswith(".bias"):
                continue
            if "layers" in self.case and (found := re.search(r"\.layers\.(\d+)\.", name)):
                if int(found[1]) not in self.case["layers"]:
                    continue
                name = name.replace(found[0], f".layers.{self.case['layers'].index(int(found[1]))}.")
            if self.config["model_type"] == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
                t = t.T
            if name.endswith("_scales"):
                continue
            if name.endswith("_blocks"):
                t = mxfp4_of_ggml(t, self.tensors[name.replace("_blocks", "_scales")])
                out |= self.alternating_experts(name.removesuffix("_blocks"), t)
                continue
            if self.arch == "gpt-oss" and ".mlp.experts." in name:
                out |= self.alternating_experts(name, t)
                continue
            if name.endswith(".experts.gate_up_proj") and self.arch != "gemma4":
                for part, values in zip(("gate_proj", "up_proj"), np.split(t, 2, axis=1)):
                    out[name.replace("gate_up_proj", f"{part}.weight")] = values
                continue
            if name.endswith(".experts.down_proj") and self.arch != "gemma4":
                out[name + ".weight"] = t
                continue
            if ".experts." in name and self.arch != "gemma4":
                stem, rest = name.split(".experts.")
                number, part, suffix = rest.split(".")
                experts.setdefault((stem, part, suffix), {})[int(number)] = t
                continue
            if "query_key_value" in name or "wqkv" in name:
                for part, values in self.split_qkv(name, t).items():
                    out[part] = values
                continue
            if self.arch in PERMUTED and (".q_proj." in name or ".k_proj." in name):
                t = permuted(t, self.heads if ".q_proj." in name else self.kv_heads)
            if "kv_b_proj" in name:
                parts = t.reshape(self.heads, -1, t.shape[-1])
                nope = self.get("qk_nope_head_dim")
                out[name.replace("kv_b_proj", "k_b_proj")] = parts[:, :nope].swapaxes(1, 2)
                out[name.replace("kv_b_proj", "v_b_proj")] = parts[:, nope:]
                continue
            if ".linear_attn." in name:
                out |= self.linear_attention(name, t)
                continue
            if self.arch.startswith(("gemma2", "qwen35", "qwen3next")) and name.endswith("norm.weight"):
                t = t + np.float32(1)
            out[name] = t
        if self.case.get("merged"):  # as the model's publisher stores it
            for name in [n for n in out if ".q_proj." in n]:
                parts = [out.pop(name.replace(".q_proj.", f".{p}_proj.")) for p in "qkv"]
                out[name.replace(".q_proj.", ".qkv_proj.")] = np.concatenate(parts)
        for (stem, part, suffix), parts in experts.items():
            stem = stem.replace("model.layers", "layers").replace("block_sparse_moe", "feed_forward") \
                if self.arch == "llama" else stem
            out[f"{stem}.experts.{part}.{suffix}"] = np.stack([parts[i] for i in range(len(parts))])
        return out

    @staticmethod
    def alternating_experts(name, t):
        """gpt-oss's [experts, in, out], with gate and up in alternate columns -> apart, [experts, out, in]."""
        stem, suffix = (name.removesuffix("_bias"), "bias") if name.endswith("_bias") else (name, "weight")
        if suffix == "weight" and t.dtype == np.float32:
            t = t.swapaxes(1, 2)
        if not stem.endswith("gate_up_proj"):
            return {f"{stem}.{suffix}": t}
        return {f"{stem.replace('gate_up', part)}.{suffix}": t[:, i::2] for i, part in enumerate(("gate", "up"))}

    @staticmethod
    def own_name(name):
        """Of tensors that Gemma 4 calls no weights."""
        if found := re.search(r"layers\.(\d+)\.(.*)", name):
            own = {"layer_scalar": "layer_output_scale.weight", "router.scale": "ffn_gate_inp.scale",
                   "router.per_expert_scale": "ffn_down_exps.scale", "experts.gate_up_proj": "ffn_gate_up_exps.weight",
                   "experts.down_proj": "ffn_down_exps.weight"}.get(found[2])
            return own and f"blk.{found[1]}.{own}"

    def linear_attention(self, name, t):
        """Projections apart, heads of v in ggml's order (Qwen3-Next's stay), and the rates of decay themselves."""
        key_heads, heads = self.get("linear_num_key_heads"), self.get("linear_num_value_heads")
        keys = 2 * key_heads * self.get("linear_key_head_dim")
        if ".in_proj_qkvz." in name:
            each, k = t.shape[0] // key_heads, keys // 2 // key_heads
            v = (each - 2 * k) // 2
            groups = t.reshape(key_heads, each, -1)
            q, k, v, z = (x.reshape(-1, t.shape[1]) for x in np.split(groups, [k, 2 * k, 2 * k + v], axis=1))
            return {name.replace("qkvz", "qkv"): np.concatenate([q, k, v]), name.replace("qkvz", "z"): z}
        if name.endswith(".A_log"):
            t = -np.exp(t)
        if ".conv1d." in name:
            t = t.reshape(t.shape[0], t.shape[-1])
        if self.arch != "qwen3next":
            if ".in_proj_qkv." in name or ".conv1d." in name:
                t = np.concatenate([t[:keys], tiled(t[keys:], 0, key_heads, heads)])
            elif ".out_proj." in name:
                t = tiled(t, 1, key_heads, heads)
            elif not name.endswith(".norm.weight"):
                t = tiled(t, 0, key_heads, heads)
        return {name.replace(".dt_bias", ".dt_proj.bias"): t}

    def split_qkv(self, name, t):
        """By KV head its queries, k and v -> one behind the other; InternLM2's apart."""
        groups, head = self.kv_heads, self.head_dim
        qkv = t.reshape(groups, self.heads // groups + 2, head, *t.shape[1:])
        flat = [x.reshape(-1, *t.shape[1:]) for x in (qkv[:, :-2], qkv[:, -2], qkv[:, -1])]
        if self.arch != "internlm2":
            return {name: np.concatenate(flat)}
        flat[0], flat[1] = permuted(flat[0], self.heads), permuted(flat[1], self.kv_heads)
        stem, suffix = name.split(".attention.wqkv.")
        return {f"{stem}.self_attn.{p}_proj.{suffix}": x for p, x in zip("qkv", flat)}

    def write(self, path, wide):
        """`wide`: all in F32, and a vocabulary."""
        w = gguf.GGUFWriter(path, self.arch)
        self.metadata(w)
        if wide:
            vocab = self.get("vocab_size")
            w.add_tokenizer_model("llama")
            w.add_tokenizer_pre("default")
            w.add_token_list(["<unk>"] + [f"w{i}" for i in range(1, vocab)])
            w.add_token_scores([0.0] * vocab)
            w.add_token_types([2] + [1] * (vocab - 1))
            w.add_bos_token_id(1)
            w.add_eos_token_id(self.case.get("unused", 2))  # which the server keeps from being chosen
            w.add_add_bos_token(False)
        arch = next(a for a, n in gguf.MODEL_ARCH_NAMES.items() if n == self.arch)
        names = gguf.get_tensor_name_map(arch, self.get("num_hidden_layers", "n_layer", default=0))
        if self.arch == "gemma4":
            w.add_tensor("rope_freqs.weight", self.rope_freqs)
        for hf_name, t in (self.hybrid_tensors() if self.arch in HYBRIDS else self.converted()).items():
            hf_name = hf_name.replace(".e_score_correction_bias", ".e_score_correction.bias")
            if hf_name.endswith(".sinks"):
                hf_name += ".weight"
            name = hf_name if self.arch in HYBRIDS else \
                self.own_name(hf_name) or names.get_name(hf_name, try_suffixes=(".weight", ".bias"))
            assert name, hf_name
            norm = name.endswith(("_norm.weight", "norm_1.weight", "norm_2.weight", "_scale.weight", ".scale", "ssm_a", "ssm_d", "_exps.bias"))
            if t.dtype == np.uint8:
                if not wide:
                    w.add_tensor(name, np.ascontiguousarray(t), raw_dtype=Type.MXFP4)
                    continue
                t = gguf.dequantize(t, Type.MXFP4)
            elif t.ndim > 1 and not norm:
                t = rounded(t)
            if name.endswith("ffn_gate_inp_shexp.weight"):
                t = t.reshape(-1)
            t = np.ascontiguousarray(t, np.float32)
            if wide or t.ndim == 1 or norm or "conv1d" in name or "shortconv.conv" in name or "ffn_gate_inp" in name or name.startswith("position_embd"):
                w.add_tensor(name, t)
            else:
                w.add_tensor(name, gguf.quantize(t, Type.BF16), raw_dtype=Type.BF16)
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()


def llama_cpp_ids(path, prompt):
    import xllamacpp

    p = xllamacpp.CommonParams()
    p.model.path, p.n_ctx, p.n_parallel, p.warmup = str(path), 128, 1, False
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
    p.cache_type_k = p.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    answer = xllamacpp.Server(p).handle_completions(
        {"prompt": prompt, "max_tokens": 20, "temperature": 0, "ignore_eos": True, "cache_prompt": False,
         "logprobs": 1})
    answer = answer[1] if isinstance(answer, tuple) else answer
    answer = json.loads(answer) if isinstance(answer, str) else answer
    if "choices" not in answer:
        raise SystemExit(f"llama.cpp: {answer}")
    return [step["id"] for step in answer["choices"][0]["logprobs"]["content"]]


def checked(model):
    """What llama.cpp chooses, held to the golden where that is of the same config."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "wide.gguf"
        model.write(path, wide=True)
        ids = llama_cpp_ids(path, model.golden["prompt_ids"])
    golden = next(run for run in model.golden["runs"] if run["weights_dtype"] == "bf16")["greedy_ids"]
    if "config" not in model.case and ids != golden:
        raise SystemExit(f"llama.cpp chooses {ids}, the golden {golden}")
    return ids


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    table = OUT / "cases.json"
    done = json.loads(table.read_text()) if table.exists() else {}
    for name in arguments.names or CASES:
        case = CASES[name]
        model = Model(name, case)
        model.write(OUT / f"{name}.gguf", wide=False)
        entry = {"golden": case.get("golden", name), "config": case.get("config", {}), "layers": case.get("layers")}
        if "other_bits" in case:
            entry["other_bits"] = case["other_bits"]
        if "why_not" in case:
            entry |= {"llama_cpp_ids": None, "why_not": case["why_not"]}
        else:
            entry |= {"llama_cpp_ids": checked(model)}
        done[name] = entry
        other = "llama.cpp reads it, of another config than the golden's"
        how = entry.get("why_not") or (other if "config" in case else "llama.cpp chooses the golden's ids")
        print(f"{name}: {(OUT / f'{name}.gguf').stat().st_size} bytes; {how}", flush=True)
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(done[name])}" for name in CASES if name in done)
    table.write_text("{" + rows + "}\n")


if __name__ == "__main__":
    main()
