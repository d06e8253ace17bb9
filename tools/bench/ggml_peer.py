#!/usr/bin/env python3
"""Decode and prefill speed of llama.cpp or ik_llama.cpp on a GGUF file, as their llama-bench measures it: fixed tokens,
nothing sampled. For those who have the engines as Python packages only.

    PYTHON tools/bench/ggml_peer.py FILE.gguf --engine llama.cpp --decode 64 --threads 2 --repeat 3

PYTHON has xllamacpp (llama.cpp) or ik-llama-cpp-python (ik_llama.cpp), from PyPI. One line of JSON: version, system (the
instructions that the engine says it uses), samples_tok_s.
"""

import argparse
import ctypes
import importlib.metadata
import json
import pathlib
import sys
import time

BATCH = 512


class LlamaCpp:
    """llama.cpp, through the binding that tools/quality has of it."""

    def __init__(self, args, context):
        sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "quality"))
        import llama_cpp as api
        api.be_silent()
        self.version = importlib.metadata.version("xllamacpp")
        self.system = api.system_info()
        self.model = api.Model(args.file, context, args.threads, api.DEFAULTS)

    def restart(self):
        self.model.restart()

    def step(self, ids, at):
        self.model.step(ids, at, all_logits=False)


class IkLlamaCpp:
    def __init__(self, args, context):
        from ik_llama_cpp import _ctypes_api as api
        self.api = api
        self.version = importlib.metadata.version("ik-llama-cpp-python")
        info = api._lib.llama_print_system_info
        info.restype = ctypes.c_char_p
        self.system = info().decode()
        params = api.llama_model_default_params()
        params.repack_tensors = args.repack
        model = api.llama_model_load_from_file(str(args.file).encode(), params)
        params = api.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = context, BATCH, BATCH
        params.n_threads = params.n_threads_batch = args.threads
        params.flash_attn = not args.no_flash_attention
        self.context = model and api.llama_init_from_model(model, params)
        if not self.context:
            sys.exit(f"{args.file}: ik_llama.cpp cannot load it")
        self.batch = api.llama_batch_init(BATCH, 0, 1)

    def restart(self):
        self.api.llama_kv_cache_clear(self.context)

    def step(self, ids, at):
        batch = self.batch
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, at + i, 1, i + 1 == len(ids)
            batch.seq_id[i][0] = 0
        if self.api.llama_decode(self.context, batch) != 0:
            sys.exit("ik_llama.cpp: llama_decode() failed")
        self.api.llama_get_logits_ith(self.context, len(ids) - 1)


ENGINES = {"llama.cpp": LlamaCpp, "ik_llama.cpp": IkLlamaCpp}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--engine", choices=ENGINES, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--depth", type=int, default=0)
    parser.add_argument("--decode", type=int, default=0)
    parser.add_argument("--prefill", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--repack", action="store_true", help="ik_llama.cpp: -rtr, rows interleaved at start")
    parser.add_argument("--no-flash-attention", action="store_true", help="ik_llama.cpp")
    args = parser.parse_args()
    tokens = args.decode or args.prefill
    engine = ENGINES[args.engine](args, args.depth + tokens + 8)
    ids = [100 + i % 1000 for i in range(args.depth + tokens)]

    def prompt(end):
        engine.restart()
        for at in range(0, end, BATCH):
            engine.step(ids[at:min(at + BATCH, end)], at)

    def round_():
        prompt(args.depth)
        start = time.perf_counter()
        if args.decode:
            for at in range(args.depth, args.depth + tokens):
                engine.step(ids[at:at + 1], at)
        else:
            prompt(tokens)
        return tokens / (time.perf_counter() - start)

    round_()
    samples = [round_() for _ in range(args.repeat)]
    print(json.dumps({"version": engine.version, "system": engine.system, "samples_tok_s": samples}))


if __name__ == "__main__":
    main()
