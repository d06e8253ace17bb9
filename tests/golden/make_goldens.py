#!/usr/bin/env python3
"""Writes tests/golden/<case>/: tiny random models and what Hugging Face Transformers says of them.

    python make_goldens.py             writes every case anew (a few minutes on one core)
    python make_goldens.py NAME...     writes those

Needs torch, transformers, safetensors and numpy; the versions used are kept in each golden.json. Not
part of the build. README.md describes the files.

The oracle
    Transformers' own modelling code in float64. Three of its functions fall back to float32 even then
    (RMSNorm, the cos/sin tables, softmax); they are replaced here by the same formulas in float64.
    Inverse RoPE frequencies stay the float32 values that Transformers computes. The replacement of
    attention can also round K (after RoPE) and V to a KV-cache dtype, which is what this project's
    cache does in prefill and decode alike. The unchanged Transformers code in float32 is run as well
    and must agree within half the tolerance: that checks the replacements too.

Tolerance of a logit, for an implementation that computes in float32
    u = 2^-24. A sum of K products in any order errs by about sqrt(K) u of its norm (Higham and Mary
    2019, probabilistic bound; the constant 4 stands for the maximum over thousands of values). The
    errors of a layer's sites (norm, q/k/v, RoPE, scores, PV, o, norm, gate and up, down) are
    independent and of one order beside the residual stream, which each RMSNorm rescales, so they add
    in squares over all layers. A logit's share is their sum times max|w_v| max|x| / sqrt(hidden_size),
    x being the normed last state: errors are spread over the elements of x. The softmax turns the
    absolute error of a score into a relative one of the output, at most halved; a score errs absolutely
    by its relative error times the largest score. RoPE: an implementation may keep inv_freq in float32
    or better, so an angle errs by pos * inv_freq * u (not where inv_freq is 1); the root mean square
    over the pairs counts.

    A KV cache in bf16 or f16: a float32 error flips a few roundings of the cache, and a flip in one
    layer moves what the next layer rounds, so that of all N roundings 1 to 2 % may flip. All N of random
    sign change the logits by D (measured here: rounded against unrounded), a flip counts twice:
    2 sqrt(0.02) D = 0.3 D. The tolerance adds D/2, which still tells a rounded cache from one that is
    not.

    Both are checked, not only derived: Transformers in float32 must stay within half the tolerance.
"""

import argparse
import contextlib
import json
import math
import pathlib
import shutil

import numpy
import safetensors.torch
import torch
import transformers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)
from transformers.models.llama import modeling_llama
from transformers.models.mistral import modeling_mistral

HERE = pathlib.Path(__file__).resolve().parent
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
# The dtypes of the weights and of the KV cache.
RUNS = [("f32", "f32"), ("bf16", "f32"), ("f16", "f32"), ("bf16", "bf16"), ("f16", "f16")]
STEPS, TOP = 20, 5
BOS, EOS = 1, 2
U = 2.0**-24


def case(why, sizes, stored, spelling, **more):
    """`sizes` is (hidden, heads, kv_heads, head_dim, intermediate), often no multiple of 16, to catch
    kernels without tails. `new` is the spelling of Transformers 5 (dtype, rope_parameters), `old` that
    of 4 (torch_dtype, rope_theta, rope_scaling)."""
    names = ("hidden", "heads", "kv_heads", "head_dim", "intermediate")
    return (
        dict(zip(names, sizes), why=why, stored=stored, spelling=spelling, layers=2, vocab=131)
        | more
    )


LINEAR = {"rope_type": "linear", "factor": 4.0}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
HAVE_DEFAULTS = (
    "head_dim num_key_value_heads attention_bias mlp_bias tie_word_embeddings rope_scaling"
)

# fmt: off
CASES = {
    "llama_mha": case(
        "as many KV heads as heads, untied, no biases; a config that leaves out what has a default",
        (64, 4, 4, 16, 100), "f32", "old", left_out=HAVE_DEFAULTS.split()),
    "llama_gqa_biases": case(
        "attention_bias and mlp_bias", (48, 6, 2, 8, 72), "f32", "new", biases=True),
    "llama_mqa_head_dim_24": case(
        "one KV head; head_dim is not hidden/heads; odd sizes; tied", (52, 4, 1, 24, 100), "f32", "new",
        tied=True),
    "llama_head_dim_20_bf16": case(
        "head_dim 20; stored bf16; tied, only lm_head.weight stored", (60, 3, 3, 20, 90), "bf16", "old",
        tied=True, tied_name="lm_head.weight"),
    "llama_biases_f16": case(
        "biases; stored f16", (52, 4, 2, 16, 70), "f16", "new", biases=True),
    "llama_rope_linear": case(
        "rope_scaling linear, written `type`", (48, 4, 2, 12, 80), "f32", "old", theta=5000.0,
        rope=LINEAR, old_type_key="type"),
    "llama_rope_llama3": case(
        "rope_scaling llama3; wavelengths on both sides of both its bounds", (64, 4, 2, 32, 96), "f32",
        "new", rope=LLAMA3 | {"original_max_position_embeddings": 32}),
    "llama_rope_llama3_old_bf16": case(
        "the same, old spelling, stored bf16, large theta", (52, 2, 1, 40, 64), "bf16", "old", tied=True,
        theta=500000.0, rope=LLAMA3 | {"factor": 4.0, "original_max_position_embeddings": 48}),
    "llama_sharded": case(
        "three safetensors shards behind an index; three layers", (48, 4, 2, 16, 100), "f32", "new",
        layers=3, shards=3),
    "mistral_window": case(
        "a sliding window of 16, far shorter than the text", (64, 4, 2, 16, 100), "f32", "old",
        family="mistral", window=16),
    "mistral_window_bf16": case(
        "a window of 13 (no multiple of a block); head_dim 24; stored bf16", (52, 3, 1, 24, 76), "bf16",
        "new", family="mistral", window=13),
    "mistral_no_window_f16": case(
        "sliding_window null; tied; stored f16; large theta", (48, 4, 2, 16, 84), "f16", "old",
        family="mistral", theta=1000000.0, tied=True),
}
# fmt: on


# ---- Transformers in float64 throughout -----------------------------------------------------------


def exact_rms_norm(self, hidden):
    variance = hidden.pow(2).mean(-1, keepdim=True)
    return self.weight * (hidden * torch.rsqrt(variance + self.variance_epsilon))


def exact_rope(self, x, position_ids):
    angles = position_ids[..., None].double() * self.inv_freq.double()
    angles = torch.cat((angles, angles), dim=-1)
    tables = (angles.cos(), angles.sin())
    return tuple((table * self.attention_scaling).to(x.dtype) for table in tables)


def exact_attention(kv_dtype):
    def cached(tensor):
        return tensor if kv_dtype == "f32" else tensor.to(DTYPES[kv_dtype]).to(tensor.dtype)

    def attention(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
        groups = module.num_key_value_groups
        key = cached(key).repeat_interleave(groups, dim=1)
        value = cached(value).repeat_interleave(groups, dim=1)
        scores = query @ key.transpose(2, 3) * scaling
        visible = scores.masked_fill(attention_mask < 0, 0.0)
        attention.largest_score = max(attention.largest_score, visible.abs().max().item())
        weights = torch.softmax(scores + attention_mask, dim=-1)
        return (weights @ value).transpose(1, 2).contiguous(), weights

    attention.largest_score = 0.0
    return attention


@contextlib.contextmanager
def exact(kv_dtype):
    """Within it Transformers computes in the model's dtype throughout, its KV cache rounded to kv_dtype."""
    attention, saved = exact_attention(kv_dtype), []
    for module, prefix in ((modeling_llama, "Llama"), (modeling_mistral, "Mistral")):
        for owner, name, value in (
            (getattr(module, prefix + "RMSNorm"), "forward", exact_rms_norm),
            (getattr(module, prefix + "RotaryEmbedding"), "forward", exact_rope),
            (module, "eager_attention_forward", attention),
        ):
            saved.append((owner, name, getattr(owner, name)))
            setattr(owner, name, value)
    try:
        yield attention
    finally:
        for owner, name, value in saved:
            setattr(owner, name, value)


# ---- Models --------------------------------------------------------------------------------------


def config_of(case):
    mistral = case.get("family") == "mistral"
    rope = dict(case.get("rope", {"rope_type": "default"}), rope_theta=case.get("theta", 10000.0))
    common = dict(
        hidden_size=case["hidden"],
        intermediate_size=case["intermediate"],
        num_hidden_layers=case["layers"],
        num_attention_heads=case["heads"],
        num_key_value_heads=case["kv_heads"],
        head_dim=case["head_dim"],
        vocab_size=case["vocab"],
        max_position_embeddings=256,
        rms_norm_eps=1e-5,
        hidden_act="silu",
        tie_word_embeddings=case.get("tied", False),
        rope_parameters=rope,
        bos_token_id=BOS,
        eos_token_id=EOS,
        attn_implementation="eager",
    )
    if mistral:
        return MistralConfig(sliding_window=case.get("window"), **common)
    biases = case.get("biases", False)
    return LlamaConfig(attention_bias=biases, mlp_bias=biases, **common)


def new_model(case, seed):
    """Weights scaled so that attention is not uniform (scores of about 2) and logits spread (about 3), as in real ones."""
    config = config_of(case)
    model = (MistralForCausalLM if config.model_type == "mistral" else LlamaForCausalLM)(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("bias"):
                parameter.copy_(0.3 * noise)
            elif "norm" in name:
                parameter.copy_(1 + 0.2 * noise)
            elif "embed_tokens" in name or "lm_head" in name:
                parameter.copy_(noise * 3 / math.sqrt(config.hidden_size))
            else:
                gain = 1.5 if "q_proj" in name or "k_proj" in name else 1.0
                parameter.copy_(noise * gain / math.sqrt(parameter.shape[1]))
    return model.to(DTYPES[case["stored"]]).eval()


def is_matrix(name, tensor):
    """What this project keeps in the dtype of the weights; norms, biases and sinks it keeps in f32."""
    return tensor.dim() >= 2 and "norm" not in name and "bias" not in name


def rounded(model, dtype):
    """The stored weights with their matrices rounded to dtype (to nearest even), in float64."""
    copy = type(model)(model.config).double().eval()
    state = {name: tensor.to(torch.float32) for name, tensor in model.state_dict().items()}
    for name, tensor in state.items():
        if is_matrix(name, tensor):
            state[name] = tensor.to(DTYPES[dtype]).double()
    copy.load_state_dict(state)
    return copy


# ---- What the models say -------------------------------------------------------------------------


def logits_of(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double()


def float32_tolerance(model, ids, largest_score):
    """See the head of this file."""
    config = model.config
    n, q_dim = len(ids), config.num_attention_heads * config.head_dim
    with torch.no_grad():
        state = model.model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0]
        scale = (model.lm_head.weight.norm(dim=1).max() * state.norm(dim=1).max()).item()
    visible = min(n, getattr(config, "sliding_window", None) or n)
    frequencies = model.model.rotary_emb.inv_freq.double()
    angle = n * torch.where(frequencies == 1, 0.0, frequencies).square().mean().sqrt().item()
    scores = math.sqrt(config.hidden_size + config.head_dim)
    layer = [
        math.sqrt(k)
        for k in (
            config.hidden_size,
            config.hidden_size,
            visible,
            q_dim,
            config.hidden_size,
            config.hidden_size,
            config.intermediate_size,
        )
    ]
    layer += [angle * largest_score / 2, scores * largest_score / 2]
    squares = config.num_hidden_layers * sum(s * s for s in layer) + 2 * config.hidden_size
    return 4 * U * math.sqrt(squares) * scale / math.sqrt(config.hidden_size)


def greedy(model, prompt):
    ids, steps = list(prompt), []
    for _ in range(STEPS):
        values, indices = logits_of(model, ids)[-1].topk(TOP)
        steps.append(
            {
                "gap": (values[0] - values[1]).item(),
                "top": [[i, v] for i, v in zip(indices.tolist(), values.tolist())],
            }
        )
        ids.append(indices[0].item())
    return ids[len(prompt) :], steps


def window_is_applied(model, case, prompt):
    """With the window, a token farther back than layers * (window - 1) cannot matter; one just inside must."""
    last = len(prompt) - 1
    reach = case["layers"] * (case["window"] - 1)
    assert last > reach, "the prompt must be longer than what the windows of all layers reach"
    reference = logits_of(model, prompt)[-1]
    changed = {}
    for back in (reach, reach + 1):
        other = list(prompt)
        other[last - back] = 3 + (other[last - back] - 2) % (case["vocab"] - 3)
        changed[back] = (logits_of(model, other)[-1] - reference).abs().max().item()
    return changed[reach] > 0 and changed[reach + 1] == 0


class Rejected(Exception):
    pass


def run_of(stored, case, prompt, positions, weights_dtype, kv_dtype):
    model, run = rounded(stored, weights_dtype), f"{weights_dtype}/{kv_dtype}"
    with exact("f32") as attention:
        plain = logits_of(model, prompt)
        tolerance = float32_tolerance(model, prompt + [0] * STEPS, attention.largest_score)
        if "window" in case and not window_is_applied(model, case, prompt):
            raise AssertionError("Transformers does not apply the sliding window")
    with exact(kv_dtype):
        logits = logits_of(model, prompt)
        greedy_ids, steps = greedy(model, prompt)
    effect = (logits - plain).abs().max().item()

    model.float()
    float32_error = (logits_of(model, prompt) - plain).abs().max().item()
    assert (
        float32_error <= tolerance / 2
    ), f"{run}: float32 errs by {float32_error:.3g}, tolerance {tolerance:.3g}"
    tolerance += effect / 2
    with exact(kv_dtype):
        float32_error = (logits_of(model, prompt) - logits).abs().max().item()
    if float32_error > tolerance / 2:  # a flip where almost all attention goes
        raise Rejected(f"{run}: float32 errs by {float32_error:.3g}, tolerance {tolerance:.3g}")

    gap = min(step["gap"] for step in steps)
    # The ids of a run with a rounded cache need only be certain; those of float32 have ten times the room.
    if gap < (10 if kv_dtype == "f32" else 2) * tolerance:
        raise Rejected(f"{run}: gap {gap:.3g}, tolerance {tolerance:.3g}")
    if EOS in greedy_ids or len(set(greedy_ids)) < 6:
        raise Rejected(f"{run}: an end, or too few different ids")
    return {
        "weights_dtype": weights_dtype,
        "kv_dtype": kv_dtype,
        "tolerance": tolerance,
        "kv_rounding_effect": effect,
        "float32_error": float32_error,
        "min_top2_gap": gap,
        "greedy_ids": greedy_ids,
        "steps": steps,
        "logits": [logits[p].tolist() for p in positions],
    }


# ---- Files ---------------------------------------------------------------------------------------


def config_json(model, case):
    """What save_pretrained writes, in the spelling of the case."""
    config = json.loads(model.config.to_json_string(use_diff=True))
    config.pop("transformers_version", None)
    config["architectures"] = [type(model).__name__]
    config["dtype"] = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}[case["stored"]]
    if case["spelling"] == "old":
        config["torch_dtype"] = config.pop("dtype")
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope.pop("rope_theta")
        kind = rope.pop("rope_type")
        config["rope_scaling"] = (
            None if kind == "default" else {case.get("old_type_key", "rope_type"): kind, **rope}
        )
    for key in case.get("left_out", []):
        del config[key]
    return dict(sorted(config.items()))


def save_weights(model, case, folder):
    tensors = {name: t.contiguous() for name, t in model.state_dict().items()}
    if case.get("tied"):
        head = tensors.pop("lm_head.weight")
        if case.get("tied_name") == "lm_head.weight":
            del tensors["model.embed_tokens.weight"]
            tensors["lm_head.weight"] = head
    shards = case.get("shards", 1)
    if shards == 1:
        safetensors.torch.save_file(
            tensors, folder / "model.safetensors", metadata={"format": "pt"}
        )
        return
    names, weight_map = sorted(tensors), {}
    for i in range(shards):
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in names[i::shards]}
        safetensors.torch.save_file(part, folder / file, metadata={"format": "pt"})
        weight_map.update({name: file for name in part})
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def compact(value):
    """JSON with one run, position or step per line and 9 significant digits, which give back any float32."""
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, list):
        deep = value and isinstance(value[0], (dict, list)) and not isinstance(value[0], float)
        separator = (
            ",\n" if deep and not (isinstance(value[0], list) and len(value[0]) == 2) else ", "
        )
        return "[" + separator.join(compact(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ",\n".join(f"{json.dumps(k)}: {compact(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


def check_files(folder, golden):
    """What Transformers reads back from the folder gives the golden logits: config, names and shards say what we meant."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    run = next(
        r
        for r in golden["runs"]
        if (r["weights_dtype"], r["kv_dtype"]) == (golden["stored_dtype"], "f32")
    )
    logits = logits_of(model, golden["prompt_ids"])[golden["positions"]]
    error = (logits - torch.tensor(run["logits"])).abs().max().item()
    assert error <= run["tolerance"], f"{folder.name}: read back, the logits differ by {error:.3g}"


def write_case(name, case):
    vocab, length = case["vocab"], 80 if "window" in case else 44
    for seed in range(1, 2000):
        generator = numpy.random.default_rng(seed)
        prompt = [BOS] + generator.integers(3, vocab, length - 1).tolist()
        positions = sorted({0, 1, 12, 13, 15, 16, 17, length // 2, length - 1})
        stored = new_model(case, seed)
        try:
            runs = [run_of(stored, case, prompt, positions, *run) for run in RUNS]
        except Rejected as reason:
            print(f"{name}: seed {seed} rejected, {reason}", flush=True)
            continue
        break
    else:
        raise SystemExit(f"{name}: no seed will do")
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config_json(stored, case), indent=2) + "\n")
    save_weights(stored, case, folder)
    golden = {
        "case": name,
        "why": case["why"],
        "made_with": {"transformers": transformers.__version__, "torch": torch.__version__},
        "seed": seed,
        "stored_dtype": case["stored"],
        "prompt_ids": prompt,
        "positions": positions,
        "runs": runs,
    }
    (folder / "golden.json").write_text(compact(golden) + "\n")
    for file in folder.iterdir():  # safetensors writes files that only their owner can read
        file.chmod(0o644)
    check_files(folder, golden)
    for run in runs:
        print(
            f"{name}: {run['weights_dtype']}/{run['kv_dtype']} tolerance {run['tolerance']:.3g} "
            f"float32 errs {run['float32_error']:.3g} gap {run['min_top2_gap']:.3g} "
            f"KV rounding {run['kv_rounding_effect']:.3g}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.names or CASES:
        write_case(name, CASES[name])


if __name__ == "__main__":
    main()
