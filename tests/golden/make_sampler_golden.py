#!/usr/bin/env python3
"""Writes tests/golden/sampler.json: what Transformers' logits processors make of random logits.

    python make_sampler_golden.py

Needs torch and transformers; the versions used are in the file. Not part of the build. The processors and
their order are those of GenerationMixin._get_logits_processor(). Each case has the options, the tokens so
far, whether the next token is the first one, the logits, the token that greedy decoding takes and the
probabilities that sampling draws from.
"""
import json
import pathlib
import random

import torch
import transformers
from transformers.generation import logits_process as lp

VOCAB = 12


def processors(options, prompt_len):
    """Of a generation config: those that count without sampling, and those of sampling."""
    always, sampling = lp.LogitsProcessorList(), lp.LogitsProcessorList()
    if "repetition_penalty" in options:
        always.append(lp.RepetitionPenaltyLogitsProcessor(options["repetition_penalty"]))
    if "no_repeat_ngram_size" in options:
        always.append(lp.NoRepeatNGramLogitsProcessor(options["no_repeat_ngram_size"]))
    if "bad_words_ids" in options:
        always.append(lp.NoBadWordsLogitsProcessor(options["bad_words_ids"]))
    if "suppress_tokens" in options:
        always.append(lp.SuppressTokensLogitsProcessor(options["suppress_tokens"]))
    if "begin_suppress_tokens" in options:
        always.append(lp.SuppressTokensAtBeginLogitsProcessor(options["begin_suppress_tokens"], prompt_len))
    sampling.append(lp.TemperatureLogitsWarper(options["temperature"]))
    if "top_k" in options:
        sampling.append(lp.TopKLogitsWarper(options["top_k"]))
    if "top_p" in options:
        sampling.append(lp.TopPLogitsWarper(options["top_p"]))
    if "min_p" in options:
        sampling.append(lp.MinPLogitsWarper(options["min_p"]))
    return always, sampling


def make_case(rng, generator):
    options = {"temperature": round(rng.uniform(0.4, 2), 2)}
    choices = {
        "repetition_penalty": lambda: round(rng.uniform(0.7, 1.8), 2),
        "no_repeat_ngram_size": lambda: rng.randint(1, 3),
        "bad_words_ids": lambda: [[rng.randrange(4) for _ in range(rng.randint(1, 3))] for _ in range(6)],
        "suppress_tokens": lambda: rng.sample(range(VOCAB), 3),
        "begin_suppress_tokens": lambda: rng.sample(range(VOCAB), 3),
        "top_k": lambda: rng.randint(2, 8),
        "top_p": lambda: round(rng.uniform(0.3, 0.95), 2),
        "min_p": lambda: round(rng.uniform(0.02, 0.5), 2),
    }
    for name, value in choices.items():
        if rng.random() < 0.45:
            options[name] = value()
    # Few different tokens, so that runs of them come twice.
    ids = [rng.randrange(4) for _ in range(rng.randint(3, 12))]
    first = rng.random() < 0.5
    logits = (torch.randn(VOCAB, generator=generator) * 2).unsqueeze(0)
    always, sampling = processors(options, len(ids) if first else len(ids) - 1)
    input_ids = torch.tensor([ids])
    scores = always(input_ids, logits.clone())
    return {"options": options, "ids": ids, "first": first, "logits": logits[0].tolist(),
            "greedy": int(scores.argmax()),
            "probabilities": [round(p, 7) for p in torch.softmax(sampling(input_ids, scores), -1)[0].tolist()]}


def main():
    rng, generator = random.Random(7), torch.Generator().manual_seed(7)
    golden = {"transformers": transformers.__version__, "torch": torch.__version__,
              "cases": [make_case(rng, generator) for _ in range(60)]}
    path = pathlib.Path(__file__).parent / "sampler.json"
    lines = ",\n".join(json.dumps(c) for c in golden.pop("cases"))
    path.write_text(json.dumps(golden)[:-1] + ', "cases": [\n' + lines + "\n]}\n")


main()
