#!/usr/bin/env python3
"""Writes unigram_ties.json: what sentencepiece makes of random strings that its unigram models can cut in many ways of
almost the same score. There its roundings decide: it adds and compares floats.

    pip install sentencepiece==0.2.3
    tests/golden/make_unigram_ties_golden.py
"""
import json
import pathlib
import random

import sentencepiece

HERE = pathlib.Path(__file__).resolve().parent
random.seed(1)
out = {"made_with": f"sentencepiece {sentencepiece.__version__}"}
for name in ("spm_unigram_nmt", "spm_unigram_bytes"):
    processor = sentencepiece.SentencePieceProcessor(model_file=str(HERE / "tokenizers" / f"{name}.model"))
    pieces = [processor.id_to_piece(i).replace("▁", " ") for i in range(processor.vocab_size())
              if not processor.is_control(i) and not processor.is_byte(i) and not processor.is_unknown(i)]
    short = [p for p in pieces if len(p) <= 3]
    own = [p for p in ("word", "<tok>", "…") if processor.piece_to_id(p) != processor.unk_id()]  # user-defined
    texts = ["".join(random.choices(random.sample(short, random.randint(2, 5)) + own, k=40)) for _ in range(300)]
    out[name] = [[t, processor.encode(t)] for t in texts]
(HERE / "unigram_ties.json").write_text(json.dumps(out, ensure_ascii=True) + "\n")
