#!/usr/bin/env python3
"""Writes tests/golden/gated_delta.json: what Transformers' Qwen3-Next makes of a layer of linear attention.

    python make_gated_delta_golden.py

Needs torch and transformers; the versions used are in the file. Not part of the build. A layer with random
weights runs over a text in float32, token by token, since a single token takes the recurrent form of the
rule. The numbers between its parts are those of the functions that the layer itself calls, recorded as it
calls them; the projections before and after them are left out. `float32_error` is the largest difference of each
from the same layer in float64, whose rule is the script's own copy of the recurrence (the library's computes
in float32 whatever it is given).
"""
import json
import pathlib

import torch
import transformers
from transformers.cache_utils import DynamicCache
from transformers.models.qwen3_next import modeling_qwen3_next as qwen

HEADS = dict(linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=12, linear_value_head_dim=20)
TOKENS = 7


def config():
    return transformers.Qwen3NextConfig(
        hidden_size=24, linear_conv_kernel_dim=4, rms_norm_eps=1e-6, num_hidden_layers=1,
        layer_types=["linear_attention"], **HEADS)


def rule64(query, key, value, g, beta, initial_state=None, **_):
    """torch_recurrent_gated_delta_rule, in the type of its arguments."""
    groups = value.shape[2] // key.shape[2]
    query, key = (x.repeat_interleave(groups, dim=2) for x in (query, key))
    query, key = (x / (x.pow(2).sum(-1, keepdim=True) + 1e-6).sqrt() for x in (query, key))
    query = query / query.shape[-1] ** 0.5
    state = initial_state
    if state is None:
        state = torch.zeros(value.shape[0], value.shape[2], key.shape[-1], value.shape[-1], dtype=value.dtype)
    out = torch.zeros_like(value)
    for t in range(query.shape[1]):
        state = state * g[:, t].exp()[..., None, None]
        delta = (value[:, t] - torch.einsum("bhkv,bhk->bhv", state, key[:, t])) * beta[:, t][..., None]
        state = state + key[:, t][..., None] * delta[..., None, :]
        out[:, t] = torch.einsum("bhkv,bhk->bhv", state, query[:, t])
    return out, state


def run(layer, hidden, rule):
    """The layer over the text, token by token; everything that passes between its parts."""
    seen = {name: [] for name in ("x", "conv", "gate", "beta", "delta", "z", "norm")}
    order, conv, norm = layer.fix_query_key_value_ordering, qwen.causal_conv1d_update, layer.norm.forward

    def record_projections(qkvz, ba):
        query, key, value, z, b, a = order(qkvz, ba)
        seen["x"].append(torch.cat([t.reshape(-1) for t in (query, key, value)]))
        seen["z"].append(z.reshape(-1))
        seen["beta"].append(b.reshape(-1))
        seen["gate"].append(a.reshape(-1))
        return query, key, value, z, b, a

    def record_conv(x, state, *rest):
        y = conv(x, state, *rest)
        seen["conv"].append(y.reshape(-1))
        seen["conv_state"] = state[0].T[-3:].clone()
        return y

    def record_rule(*args, **kwargs):
        out, state = rule(*args, **kwargs)
        seen["delta"].append(out.reshape(-1))
        seen["delta_state"] = state[0]
        return out, state

    def record_norm(x, gate):
        y = norm(x, gate)
        seen["norm"].append(y.reshape(-1))
        return y

    layer.fix_query_key_value_ordering = record_projections
    layer.norm.forward = record_norm
    kept = (qwen.causal_conv1d_update, qwen.torch_recurrent_gated_delta_rule)
    qwen.causal_conv1d_update, qwen.torch_recurrent_gated_delta_rule = record_conv, record_rule
    try:
        cache = DynamicCache(config=config())
        # The first token would take the forms for a whole text: it continues states of zeros instead.
        dtype = hidden.dtype
        cache.update_conv_state(torch.zeros(1, layer.conv_dim, 4, dtype=dtype), 0, conv_kernel_size=4)
        cache.update_recurrent_state(
            torch.zeros(1, layer.num_v_heads, layer.head_k_dim, layer.head_v_dim, dtype=dtype), 0)
        for t in range(hidden.shape[1]):
            layer(hidden[:, t:t + 1], cache=cache)
    finally:
        qwen.causal_conv1d_update, qwen.torch_recurrent_gated_delta_rule = kept
    return {k: torch.stack(v) if isinstance(v, list) else v for k, v in seen.items()}


def main():
    torch.manual_seed(7)
    layer = qwen.Qwen3NextGatedDeltaNet(config(), 0).eval()
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name == "A_log":
                parameter.copy_(torch.empty_like(parameter).uniform_(0.01, 4).log())
            elif name == "norm.weight":
                parameter.uniform_(0.5, 1.5)
            else:
                parameter.uniform_(-0.8, 0.8)
        hidden = torch.randn(1, TOKENS, 24)
        plain = layer(hidden)
        seen = run(layer, hidden, qwen.torch_recurrent_gated_delta_rule)
        # The whole text at once (by chunks) is the same function.
        whole = layer.out_proj(seen["norm"])
        assert (whole - plain[0]).abs().max() < 1e-4, (whole - plain[0]).abs().max()
        exact = run(layer.double(), hidden.double(), rule64)
        layer.float()
        error = {name: (seen[name].double() - exact[name]).abs().max().item() for name in seen}
        golden = {"made_with": {"transformers": transformers.__version__, "torch": torch.__version__},
                  "float32_error": error, **HEADS, "eps": 1e-6,
                  "conv1d": layer.conv1d.weight[:, 0].T, "a_log": layer.A_log, "dt_bias": layer.dt_bias,
                  "norm_weight": layer.norm.weight, **seen}
    # Nine digits tell any two floats apart.
    text = json.dumps({k: v.flatten().tolist() if torch.is_tensor(v) else v for k, v in golden.items()})
    numbers = json.loads(text, parse_float=lambda s: float(f"{float(s):.9g}"))
    out = pathlib.Path(__file__).parent / "gated_delta.json"
    out.write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in numbers.items()) + "\n}\n")


main()
