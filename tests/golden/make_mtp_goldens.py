#!/usr/bin/env python3
"""Writes tests/golden/mtp/<case>/: tiny random models with a layer of multi-token prediction (MTP), and what
Hugging Face Transformers' own layers say of it.

    python make_mtp_goldens.py             writes every case anew (a minute on one core)
    python make_mtp_goldens.py NAME...     writes those

The main model, its oracle and its files are those of make_family_goldens.py. Transformers leaves MTP layers out,
so the MTP block is put together from its parts:

    x_t = proj(concat(norm_e(embed(token_{t+1})), norm_h(hidden_t)))
    y   = a model of the family with one layer, whose last norm is the block's own, over x as inputs_embeds
    logits of token t+2 = lm_head(y_t)

hidden_t is what the main model's last norm gives. For a further guess, at t+1, hidden_{t+1} is what the block gave
at t: behind its norm (Qwen) or before it (DeepSeek, GLM). Order and places are those of vLLM (qwen3_5_mtp.py,
qwen3_next_mtp.py, deepseek_mtp.py, glm4_moe_mtp.py).

The tolerance is 1e-4 of any logit, in float32; Transformers in float32 must stay within half of it.
"""

import argparse
import copy
import json
import math
import pathlib
import shutil
import tempfile

import numpy
import safetensors.torch
import torch
import transformers

import make_family_goldens as families
from make_family_goldens import VOCAB, converted, new_model, save
from make_goldens import BOS, EOS, HERE, compact

TOLERANCE = 1e-4
DRAFTS = 4  # guesses behind the prompt, the last three of what the block itself gave

QWEN = dict(field="mtp_num_hidden_layers", proj="mtp.fc", embedding_norm="mtp.pre_fc_norm_embedding",
            hidden_norm="mtp.pre_fc_norm_hidden", layer="mtp.layers.0.", norm="mtp.norm", chains_norm=True,
            one=dict(num_hidden_layers=1, layer_types=["full_attention"], full_attention_interval=1))


def deepseek(layers, own=False, **one):
    at = f"model.layers.{layers}."
    return dict(field="num_nextn_predict_layers", proj=at + "eh_proj", embedding_norm=at + "enorm",
                hidden_norm=at + "hnorm", layer=at, norm=at + "shared_head.norm", chains_norm=False,
                embed=at + "embed_tokens", head=at + "shared_head.head", own=own,
                one=dict(num_hidden_layers=1) | one)


# The family's golden, and its MTP block. `own`: the block has embeddings and a head of its own, otherwise it repeats
# the model's.
CASES = {
    "qwen3_5": ("qwen3_5", QWEN),
    "qwen3_5_moe": ("qwen3_5_moe_wrapper", QWEN),
    "qwen3_next": ("qwen3_next", QWEN),
    "deepseek_v3": ("deepseek_v3", deepseek(3, first_k_dense_replace=0)),
    "glm4_moe": ("glm4_moe", deepseek(3, own=True, first_k_dense_replace=0)),
    "glm4_moe_lite": ("glm4_moe_lite", deepseek(3, mlp_layer_types=["sparse"])),
}


class Block:
    """The MTP block beside its model, in the model's dtype."""

    def __init__(self, family, mtp, main, seed):
        one = copy.deepcopy(family)
        one["config"] |= mtp["one"]
        one["stored"], one["wrapper"] = family["stored"], None
        self.case, self.mtp, self.main = one, mtp, main
        self.layer = new_model(one, seed + 1000)
        hidden = main.config.hidden_size
        generator = torch.Generator().manual_seed(seed + 2000)
        norm = type(self.layer.model.norm)
        self.norms = [norm(hidden, eps=main.config.rms_norm_eps) for _ in range(2)]
        self.proj = torch.nn.Linear(2 * hidden, hidden, bias=False)
        middle = 0 if mtp["chains_norm"] else 1  # Qwen's norms are stored less 1
        with torch.no_grad():
            for n in self.norms:
                n.weight.copy_(middle + 0.2 * torch.randn(hidden, generator=generator))
            self.proj.weight.copy_(torch.randn(hidden, 2 * hidden, generator=generator) / math.sqrt(2 * hidden))
        for module in (*self.norms, self.proj):
            module.to(main.dtype)

    def to(self, dtype):
        other = copy.copy(self)
        other.main, other.layer = converted(self.main, dtype, "f32"), converted(self.layer, dtype, "f32")
        other.norms = [copy.deepcopy(n).to(dtype) for n in self.norms]
        other.proj = copy.deepcopy(self.proj).to(dtype)
        return other

    def of(self):
        return self.layer if self.mtp.get("own") else self.main

    def hidden(self, ids):
        with torch.no_grad():
            return self.main.model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0]

    def run(self, tokens, hidden):
        """Logits of each row, and the hidden row it leaves for a further guess."""
        seen = []
        hook = self.layer.model.layers[0].register_forward_hook(
            lambda _m, _i, out: seen.append((out[0] if isinstance(out, tuple) else out).reshape(len(tokens), -1)))
        with torch.no_grad():
            embedded = self.of().model.embed_tokens(torch.tensor(tokens))
            x = self.proj(torch.cat([self.norms[0](embedded), self.norms[1](hidden)], dim=-1))
            y = self.layer.model(inputs_embeds=x[None], use_cache=False).last_hidden_state[0]
            logits = self.of().lm_head(y)
        hook.remove()
        return logits.double(), y if self.mtp["chains_norm"] else seen[0]

    def tensors(self):
        mtp, out = self.mtp, {}
        with tempfile.TemporaryDirectory() as folder:
            save(self.layer, self.case, pathlib.Path(folder))
            stored = safetensors.torch.load_file(pathlib.Path(folder) / "model.safetensors")
        for name, tensor in stored.items():
            if name.startswith("model.layers.0."):
                out[mtp["layer"] + name.removeprefix("model.layers.0.")] = tensor
        out[mtp["norm"] + ".weight"] = stored["model.norm.weight"]
        out[mtp["proj"] + ".weight"] = self.proj.weight.detach()
        for name, n in zip(("embedding_norm", "hidden_norm"), self.norms):
            out[mtp[name] + ".weight"] = n.weight.detach()
        if "head" in mtp:
            out[mtp["embed"] + ".weight"] = self.of().model.embed_tokens.weight.detach()
            out[mtp["head"] + ".weight"] = self.of().lm_head.weight.detach()
        return {name: t.contiguous().clone() for name, t in out.items()}


def guesses(block, prompt):
    """The block over a prompt and the token that follows, then over what it guesses itself."""
    hidden = block.hidden(prompt)
    with torch.no_grad():
        next_id = block.main.lm_head(hidden[-1]).argmax().item()
    tokens = prompt[1:] + [next_id]
    logits, left = block.run(tokens, hidden)
    drafts, of_drafts, gaps = [], [], []
    while True:
        last = logits[-1]
        top = last.topk(2).values
        drafts.append(last.argmax().item())
        of_drafts.append(last.tolist())
        gaps.append((top[0] - top[1]).item())
        if len(drafts) == DRAFTS:
            return next_id, logits[: len(prompt)], drafts, of_drafts, min(gaps)
        tokens = tokens + [drafts[-1]]
        hidden = torch.cat([hidden, left[-1:]])
        logits, left = block.run(tokens, hidden)


def write_case(name, base, mtp):
    family = copy.deepcopy(families.CASES[base]) | {"stored": "bf16"}
    length = family["length"]
    for seed in range(1, 100):
        generator = numpy.random.default_rng(seed)
        prompt = [BOS] + generator.integers(3, VOCAB, length - 1).tolist()
        block = Block(family, mtp, new_model(family, seed), seed)
        next_id, logits, drafts, of_drafts, gap = guesses(block.to(torch.float64), prompt)
        single = guesses(block.to(torch.float32), prompt)
        off = [torch.tensor(a, dtype=torch.float64) - torch.tensor(b, dtype=torch.float64)
               for a, b in ((single[1].tolist(), logits.tolist()), (single[3], of_drafts))]
        error = max(d.abs().max().item() for d in off)
        if error > TOLERANCE / 2 or gap < 10 * TOLERANCE or EOS in drafts:
            print(f"{name}: seed {seed} rejected, float32 errs by {error:.3g}, gap {gap:.3g}", flush=True)
            continue
        break
    else:
        raise SystemExit(f"{name}: no seed will do")
    folder = HERE / "mtp" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save(block.main, family, folder)
    path = folder / "model.safetensors"
    safetensors.torch.save_file(safetensors.torch.load_file(path) | block.tensors(), path, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config.get("text_config", config)[mtp["field"]] = 1
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    positions = sorted({0, 1, 15, 16, 17, 33, length // 2, length - 1})
    golden = {"case": name, "made_with": {"transformers": transformers.__version__, "torch": torch.__version__},
              "seed": seed, "stored_dtype": "bf16", "prompt_ids": prompt, "next_id": next_id, "positions": positions,
              "tolerance": TOLERANCE, "float32_error": error, "min_top2_gap": gap, "draft_ids": drafts,
              "logits": [logits[p].tolist() for p in positions], "draft_logits": of_drafts}
    (folder / "golden.json").write_text(compact(golden) + "\n")
    for file in folder.iterdir():
        file.chmod(0o644)
    print(f"{name}: seed {seed} float32 {error:.3g} gap {gap:.3g} largest {logits.abs().max():.3g}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.names or CASES:
        write_case(name, *CASES[name])


if __name__ == "__main__":
    main()
