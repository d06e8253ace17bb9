"""What is measured, most important first: `tools/bench/run` goes down this list until its time is over."""

import dataclasses

MODELS = {"1b": "models/llama-3.2-1b.json", "7b": "models/mistral.json"}
PLAIN = ("f32", "f16", "bf16")
QUANTIZED = ("q8", "q6", "q5", "q4")  # llmc compile --quantize
# Every other type of weights is a file's own: PEER_MODELS/MODEL-TYPE.gguf, the same file for us and for other engines.
LONG = 4096
FIRST_PROMPT = 8  # tokens of the prompt before the first token
# Of a plan, all its sequences together: the deepest case, and some tokens more to decode.
MAX_SEQ_LEN = LONG + 128


@dataclasses.dataclass(frozen=True)
class Case:
    model: str  # a key of MODELS
    dtype: str
    threads: int  # 0: the program decides
    kind: str  # decode, prefill, rows, batch, first-token, compile, pack, without
    tokens: int = 0  # decoded one by one, in the prompt, or in a step; 0: the kind needs no number
    depth: int = 0  # tokens in the context before decoding
    repeat: int = 3  # rounds of one process; not more than 3, see measure.samples()
    passes: int = 2  # processes of each program, interleaved: ours, peer, ours, peer
    without: tuple = ()  # passes that are left out, where the kind is that
    target: str = ""  # of the plan; "": what llmc takes for this machine

    @property
    def name(self):
        what = {
            "decode": f"decode@{self.depth}" if self.depth else "decode",
            "prefill": f"prefill{self.tokens}",
            "rows": f"rows{self.tokens}",
            "batch": f"batch{self.tokens}",
            "without": "without-" + ("fusion" if len(self.without) > 1 else "".join(self.without).removeprefix("llm-")),
        }.get(self.kind, self.kind)
        threads = f"t{self.threads}-" if self.threads else ""
        target = f"{self.target}-" if self.target else ""
        return f"{self.model}-{self.dtype}-{target}{threads}{what}"

    @property
    def unit(self):
        """Of our time and of a peer's."""
        return {"rows": "ms", "batch": "ms", "first-token": "ms", "compile": "s", "pack": "GB/s"}.get(self.kind, "tok/s")


def decode(model, dtype, threads, target=""):
    return Case(model, dtype, threads, "decode", 8 if model == "7b" else 32, target=target)


def prefill(model, dtype, threads, target=""):
    repeat = 1 if model == "7b" or threads == 1 else 3
    return Case(model, dtype, threads, "prefill", 512, repeat=repeat, target=target)


def quantized(model, dtype):
    """Decode, also at depth, prefill, and a step of several sequences."""
    return [*both(model, dtype, 2), decode(model, dtype, 1), Case(model, dtype, 2, "decode", 16, depth=LONG),
            *rows(model, dtype, "batch")]


def rows(model, dtype, kind="rows"):
    return [Case(model, dtype, 2, kind, n) for n in (2, 4, 8, 16)]


def deep(model, dtype):
    return [
        Case(model, dtype, 2, "decode", 16 if model == "1b" else 4, depth=LONG),
        Case(model, dtype, 2, "prefill", LONG, repeat=1, passes=2 if model == "1b" else 1),
    ]


def both(model, dtype, threads, target=""):
    return [decode(model, dtype, threads, target), prefill(model, dtype, threads, target)]


FUSIONS = ("llm-fuse-norm-qkv", "llm-fuse-norm-glu", "llm-fuse-residual", "llm-fuse-norm-logits")


def ablation(model, dtype):
    """Each fusion left out, and all."""
    return [Case(model, dtype, 2, "without", 128, without=passes) for passes in [(f,) for f in FUSIONS] + [FUSIONS]]


CASES = [
    *both("1b", "f16", 2),
    *both("1b", "bf16", 2),
    *both("1b", "bf16", 2, "x86-64-v4"),
    *rows("1b", "f16"),
    *rows("1b", "f16", "batch"),
    *both("1b", "f16", 1),
    Case("1b", "bf16", 2, "first-token", FIRST_PROMPT),
    Case("7b", "bf16", 0, "compile"),
    *both("7b", "f16", 2),
    *deep("1b", "f16"),
    *ablation("1b", "f16"),
    *both("7b", "bf16", 2),
    *deep("1b", "bf16"),
    *rows("1b", "bf16"),
    *rows("1b", "bf16", "batch"),
    *both("1b", "bf16", 1),
    *both("1b", "f32", 2),
    *rows("7b", "f16"),
    *both("7b", "f16", 1),
    *both("7b", "bf16", 1),
    *deep("7b", "f16"),
    *deep("7b", "bf16"),
    *quantized("1b", "q4_k_m"),
    *both("1b", "q4_0", 2),
    *quantized("1b", "q8"),
    *both("1b", "q4_k_m", 2, "x86-64-v3"),
    *both("1b", "q8", 2, "x86-64-v3"),
    *quantized("smollm2", "q4_1"),
    *both("smollm2", "f16", 2),
    *quantized("gemma3", "q4_k_m"),
    *both("7b", "q4", 2),
    *both("7b", "q8", 2),
    Case("1b", "bf16", 0, "pack"),
    Case("7b", "bf16", 0, "pack"),
]
