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
OPENINGS = ["Once upon a time", "Lily had to bring soup to her aunt.", "The old bear"]
MAX_IDS = 160
EOS = 1


def greedy(model, prompt):
    """Ids up to and with EOS, and the gap between the two largest logits of each step."""
    ids, gaps = list(prompt), []
    while len(ids) < MAX_IDS and ids[-1] != EOS:
        values, indices = logits_of(model, ids)[-1].topk(2)
        gaps.append((values[0] - values[1]).item())
        ids.append(indices[0].item())
    return ids[len(prompt) :], gaps


def run_of(model, tokenizer, prompt, kv_dtype):
    """The ids up to the first that is not certain for an implementation within the tolerance."""
    with exact(kv_dtype):
        ids, gaps = greedy(model, prompt)
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
    assert float32_error <= tolerance / 2, f"float32 errs by {float32_error}, tolerance {tolerance}"
    least = 2 * tolerance  # both of the largest may err by one
    certain = next((i for i, gap in enumerate(gaps) if gap < least), len(gaps))
    ended = certain == len(ids) and ids[-1] == EOS
    ids, gaps = ids[: certain - ended], gaps[:certain]
    print(f"{prompt} {kv_dtype}: {len(ids)} ids, tolerance {tolerance:.3g}, gap {min(gaps):.3g}")
    values, indices = text_logits[len(prompt) - 1].topk(TOP)
    return {
        "weights_dtype": "bf16",
        "kv_dtype": kv_dtype,
        "tolerance": tolerance,
        "kv_rounding_effect": effect,
        "float32_error": float32_error,
        "min_top2_gap": min(gaps),
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
        prompt = tokenizer.encode(opening).ids
        runs = [run_of(model, tokenizer, prompt, kv_dtype) for kv_dtype in ("f32", "bf16")]
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
