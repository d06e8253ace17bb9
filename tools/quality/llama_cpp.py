#!/usr/bin/env python3
"""How far llama.cpp's predictions with quantised files are from those with their base, as `llmrun --perplexity --against`
measures ours.

    python3 tools/quality/llama_cpp.py BASE.gguf FILE.gguf... --ids IDS --window 1024 --threads 2

IDS holds the tokens, as `llmc tokenize` prints them. One line of JSON for each FILE, with llmrun's names. The KV cache is
of f32, so that only weights and activations differ. Needs numpy and xllamacpp (PyPI), whose library exports llama.cpp's
C API; it is called with the structures of the version below.
"""

import argparse
import ctypes
import json
import math
import pathlib
import re

import numpy
import xllamacpp

ROWS_AT_ONCE = 32  # whose logits are looked at together: 32 x 262,144 doubles are 64 MiB
BATCH = 512
GGML_TYPE_F32, GGML_TYPE_F16, FLASH_ATTENTION_OFF = 0, 1, 0

llama = ctypes.CDLL(next(str(p) for p in pathlib.Path(xllamacpp.__file__).parent.glob("xllamacpp.*so")))


class ModelParams(ctypes.Structure):
    """llama_model_params, of which nothing is set: room for all of it."""
    _fields_ = [("bytes", ctypes.c_uint64 * 32)]


class ContextParams(ctypes.Structure):
    """llama_context_params of llama.cpp b11549, up to what is set here, and room for the rest."""
    _fields_ = [(name, ctypes.c_uint32) for name in (
        "n_ctx", "n_batch", "n_ubatch", "n_seq_max", "n_rs_seq", "n_outputs_max", "n_outputs_max_per_seq", "n_threads",
        "n_threads_batch", "ctx_type", "rope_scaling_type", "pooling_type", "attention_type", "flash_attn_type")] + [
        ("rope", ctypes.c_uint32 * 8), ("cb_eval", ctypes.c_void_p * 2), ("type_k", ctypes.c_uint32),
        ("type_v", ctypes.c_uint32), ("rest", ctypes.c_uint64 * 32)]


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embd", ctypes.c_void_p),
                ("pos", ctypes.POINTER(ctypes.c_int32)), ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
                ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("logits", ctypes.POINTER(ctypes.c_int8))]


def declare(name, result, *arguments):
    function = getattr(llama, name)
    function.restype, function.argtypes = result, arguments
    return function


pointer = ctypes.c_void_p
model_defaults = declare("llama_model_default_params", ModelParams)
context_defaults = declare("llama_context_default_params", ContextParams)
load_model = declare("llama_model_load_from_file", pointer, ctypes.c_char_p, ModelParams)
new_context = declare("llama_init_from_model", pointer, pointer, ContextParams)
vocabulary = declare("llama_model_get_vocab", pointer, pointer)
vocabulary_size = declare("llama_vocab_n_tokens", ctypes.c_int32, pointer)
new_batch = declare("llama_batch_init", Batch, ctypes.c_int32, ctypes.c_int32, ctypes.c_int32)
decode = declare("llama_decode", ctypes.c_int32, pointer, Batch)
logits_of = declare("llama_get_logits", ctypes.POINTER(ctypes.c_float), pointer)
memory_of = declare("llama_get_memory", pointer, pointer)
clear = declare("llama_memory_clear", None, pointer, ctypes.c_bool)
log_to = declare("llama_log_set", None, pointer, pointer)


DEFAULTS = {}
F32_CACHE = {"type_k": GGML_TYPE_F32, "type_v": GGML_TYPE_F32, "flash_attn_type": FLASH_ATTENTION_OFF}


def system_info():
    """The instructions that it uses."""
    return declare("llama_print_system_info", ctypes.c_char_p)().decode()


def be_silent():
    global silent  # outlives this call
    silent = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, pointer)(lambda level, text, data: None)
    log_to(ctypes.cast(silent, pointer), None)


def context_params(window, threads, others):
    params = context_defaults()
    known = (params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max, params.type_k, params.type_v)
    if known != (512, 2048, 512, 1, GGML_TYPE_F16, GGML_TYPE_F16):
        raise SystemExit(f"xllamacpp {xllamacpp.__version__}: llama_context_params is not laid out as in b11549")
    params.n_ctx, params.n_batch, params.n_ubatch = window, BATCH, BATCH
    params.n_threads = params.n_threads_batch = threads
    for name, value in others.items():
        setattr(params, name, value)
    return params


class Model:
    """A file, and a context of one sequence; `others`: fields of ContextParams."""

    def __init__(self, path, window, threads, others):
        model = load_model(str(path).encode(), model_defaults())
        if not model:
            raise SystemExit(f"{path}: llama.cpp cannot load it")
        self.context = new_context(model, context_params(window, threads, others))
        if not self.context:
            raise SystemExit(f"{path}: llama.cpp cannot make a context of {window} tokens")
        self.vocab = vocabulary_size(vocabulary(model))
        self.batch = new_batch(BATCH, 0, 1)

    def restart(self):
        clear(memory_of(self.context), True)

    def step(self, ids, at, all_logits):
        """Tokens from position `at` on; logits of all or of the last one."""
        batch = self.batch
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, at + i, 1
            batch.logits[i] = all_logits or i + 1 == len(ids)
            batch.seq_id[i][0] = 0
        if decode(self.context, batch) != 0:
            raise SystemExit("llama.cpp: llama_decode() failed")
        logits_of(self.context)  # waits for them

    def logits(self, ids, at):
        """[len(ids), vocab], valid until the next call."""
        self.step(ids, at, all_logits=True)
        return numpy.ctypeslib.as_array(logits_of(self.context), (len(ids), self.vocab))


def log_probabilities(logits):
    shifted = logits.astype(numpy.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    shifted -= numpy.log(numpy.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


class Predictions:
    """Of a model, beside those of its base."""

    def __init__(self):
        self.nll, self.divergences, self.same = 0.0, [], 0

    def add(self, log_p, log_q, nexts):
        self.nll -= log_q[numpy.arange(len(nexts)), nexts].sum()
        self.divergences += (numpy.exp(log_p) * (log_p - log_q)).sum(axis=1).tolist()
        self.same += int((log_p.argmax(axis=1) == log_q.argmax(axis=1)).sum())

    def json(self):
        count = len(self.divergences)
        return {"tokens": count, "nll_mean": self.nll / count, "ppl": math.exp(self.nll / count),
                "kl_mean": sum(self.divergences) / count, "kl_p99": sorted(self.divergences)[math.ceil(0.99 * count) - 1],
                "same_top": self.same / count}


def compare(base, models, ids, window):
    found = [Predictions() for _ in models]
    for begin in range(0, len(ids), window):
        part = ids[begin:begin + window]
        for model in (base, *models):
            model.restart()
        for at in range(0, len(part), BATCH):
            batch, nexts = part[at:at + BATCH], part[at + 1:at + BATCH + 1]
            p, *q = [model.logits(batch, at) for model in (base, *models)]
            for row in range(0, len(nexts), ROWS_AT_ONCE):
                rows = slice(row, min(row + ROWS_AT_ONCE, len(nexts)))
                log_p = log_probabilities(p[rows])
                for one, logits in zip(found, q):
                    one.add(log_p, log_probabilities(logits[rows]), nexts[rows])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=pathlib.Path)
    parser.add_argument("files", type=pathlib.Path, nargs="+")
    parser.add_argument("--ids", type=pathlib.Path, required=True)
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    be_silent()
    ids = [int(i) for i in re.findall(r"\d+", args.ids.read_text(encoding="utf-8"))]
    models = [Model(path, args.window, args.threads, F32_CACHE) for path in (args.base, *args.files)]
    for path, found in zip(args.files, compare(models[0], models[1:], ids, args.window)):
        print(json.dumps({"file": path.name, "version": xllamacpp.__version__, **found.json()}))


if __name__ == "__main__":
    main()
