#!/usr/bin/env python3
"""Writes tests/golden/real_models.json: what Transformers generates with the real models of tests/real/get_models.

    tests/real/get_models && python tests/golden/make_real_models_golden.py

Needs torch, transformers and gguf; the versions used are in the file. Not part of the build. Transformers dequantises a
GGUF file and computes in float32: the values that are stored, and activations that are not rounded. Of each prompt the
file has the ids, the greedy ids that follow, the smallest gap between the two largest logits of these steps, and the five
largest logits of the first.
"""
import importlib.util
import json
import pathlib
from importlib.machinery import SourceFileLoader
from importlib.metadata import version

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = pathlib.Path(__file__).parent
PROMPTS = ["The capital of France is", "def fibonacci(n):\n", "Once upon a time, in a village by the sea, there lived"]
TOKENS = 32


def models():
    path = str(HERE.parent / "real" / "get_models")
    loader = SourceFileLoader("get_models", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("get_models", loader))
    loader.exec_module(module)
    return module.folder(), list(module.MODELS)


def case(model, prompt_ids):
    ids, gaps, first = list(prompt_ids), [], []
    cache = None
    feed = torch.tensor([ids])
    with torch.no_grad():
        for _ in range(TOKENS):
            out = model(feed, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            top = out.logits[0, -1].topk(5)
            gaps.append(float(top.values[0] - top.values[1]))
            first = first or [[int(i), round(float(v), 5)] for i, v in zip(top.indices, top.values)]
            ids.append(int(top.indices[0]))
            feed = torch.tensor([[ids[-1]]])
    return {"prompt_ids": prompt_ids, "greedy_ids": ids[len(prompt_ids):], "min_top2_gap": round(min(gaps), 5),
            "top": first}


def main():
    folder, names = models()
    out = {"made_with": {name: version(name) for name in ("transformers", "torch", "gguf")}, "models": {}}
    for name in names:
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
        model.eval()
        out["models"][name] = [dict(prompt=p, **case(model, tokenizer(p)["input_ids"])) for p in PROMPTS]
    (HERE / "real_models.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
