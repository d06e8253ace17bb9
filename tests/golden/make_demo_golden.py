#!/usr/bin/env python3
"""Writes tests/golden/demo/golden.json: what Transformers makes of the trained model in models/demo.

Run it after make_goldens.py's packages are installed, and again whenever models/demo was trained anew. Oracle,
tolerance and runs are those of make_goldens.py; here texts go in and texts come out, so that the tokenizer is
covered too. README.md describes the file.
"""

import json
import pathlib

import tokenizers
import torch
import transformers
from transformers import AutoModelForCausalLM

from make_goldens import DTYPES, HERE, TOP, compact, exact, float32_tolerance, logits_of, rounded

MODEL = pathlib.Path(__file__).resolve().parents[2] / "models" / "demo"
# Openings to choose from; those whose greedy ids are certain are kept, at most PROMPTS of them.
OPENINGS = [
    "Once upon a time",
    "",
    "One day, a little girl named Lily",
    "There was once a brave fox",
    "The old bear",
    "Long ago there lived a shy mouse named Dot.",
    "Once upon a time, in a house by the sea, there lived",
]
PROMPTS = 4
MAX_IDS = 400
EOS = 1


def greedy(model, prompt):
    """Ids up to EOS (which is left out), the smallest gap between the two largest logits, whether EOS came."""
    ids, gap = list(prompt), float("inf")
    while len(ids) < MAX_IDS:
        values, indices = logits_of(model, ids)[-1].topk(2)
        gap = min(gap, (values[0] - values[1]).item())
        if indices[0].item() == EOS:
            return ids[len(prompt) :], gap, True
        ids.append(indices[0].item())
    return ids[len(prompt) :], gap, False


def run_of(model, tokenizer, prompt, kv_dtype):
    """None where the greedy ids are not certain for an implementation within the tolerance."""
    with exact(kv_dtype):
        ids, gap, ended = greedy(model, prompt)
        text_logits = logits_of(model, prompt + ids)
    with exact("f32") as attention:
        plain = logits_of(model, prompt + ids)
        tolerance = float32_tolerance(model, prompt + ids, attention.largest_score)
    effect = (text_logits - plain).abs().max().item()
    tolerance += effect / 2
    model.float()
    with exact(kv_dtype):
        float32_error = (logits_of(model, prompt + ids) - text_logits).abs().max().item()
    model.double()
    if float32_error > tolerance / 2 or gap < (10 if kv_dtype == "f32" else 2) * tolerance:
        print(
            f"  {kv_dtype} rejected: gap {gap:.3g}, tolerance {tolerance:.3g}, float32 errs {float32_error:.3g}"
        )
        return None
    values, indices = text_logits[len(prompt) - 1].topk(TOP)
    return {
        "weights_dtype": "bf16",
        "kv_dtype": kv_dtype,
        "tolerance": tolerance,
        "kv_rounding_effect": effect,
        "float32_error": float32_error,
        "min_top2_gap": gap,
        "greedy_ids": ids,
        "ended": ended,
        "text": tokenizer.decode(ids),
        "top": [[i, v] for i, v in zip(indices.tolist(), values.tolist())],
    }


def main():
    torch.set_num_threads(1)
    tokenizer = tokenizers.Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    stored = AutoModelForCausalLM.from_pretrained(
        MODEL, dtype=DTYPES["bf16"], attn_implementation="eager"
    )
    model, texts = rounded(stored, "bf16"), []
    for opening in OPENINGS:
        if len(texts) == PROMPTS:
            break
        prompt = tokenizer.encode(opening).ids
        runs = [
            run for run in (run_of(model, tokenizer, prompt, kv) for kv in ("f32", "bf16")) if run
        ]
        print(
            f"{opening!r}: {[(r['kv_dtype'], len(r['greedy_ids']), r['min_top2_gap'], r['tolerance']) for r in runs]}"
        )
        if runs and runs[0]["kv_dtype"] == "f32":
            texts.append({"prompt": opening, "prompt_ids": prompt, "runs": runs})
    golden = {
        "case": "demo",
        "made_with": {"transformers": transformers.__version__, "torch": torch.__version__},
        "texts": texts,
    }
    folder = HERE / "demo"
    folder.mkdir(exist_ok=True)
    (folder / "golden.json").write_text(compact(golden) + "\n")
    json.loads((folder / "golden.json").read_text())


if __name__ == "__main__":
    main()
