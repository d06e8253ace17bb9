"""Other engines on the same shapes: the command of a case, and the samples in what it prints."""

import json
import re
import subprocess

from cases import MAX_SEQ_LEN, PLAIN
from measure import DECODED, Measured


class Peer(Measured):
    """One engine in one case. The first element of `engine` is what it is called in the results."""

    def __init__(self, case, name):
        super().__init__(case)
        self.name, self.version = name, ""

    def add_tok_s(self, values):
        """Samples in tokens per second, as every peer gives them."""
        self.values += [1e3 * self.case.tokens / v for v in values] if self.case.unit == "ms" else values


class LlamaBench(Peer):
    """llama.cpp, and ik_llama.cpp, whose llama-bench differs in a few flags. Both read a GGUF of the shape."""

    def __init__(self, case, program, gguf, ik):
        super().__init__(case, "ik_llama.cpp" if ik else "llama.cpp")
        self.program, self.gguf, self.ik = program, gguf, ik

    def pass_(self):
        c = self.case
        prompt, generated = (0, c.tokens) if c.kind == "decode" else (c.tokens, 0)
        argv = [self.program, "-m", self.gguf, "-t", c.threads, "-r", c.repeat, "-o", "json", "-p", prompt]
        if not c.depth:
            argv += ["-n", generated]
        else:
            # Which attention is faster at depth differs: both are run, the better one counts.
            argv += ["-n", 0, "-gp", f"{c.depth},{generated}"] if self.ik else ["-n", generated, "-d", c.depth]
            argv += ["-fa", "0,1"]
        reports = json.loads(self.run(argv).stdout)
        best = max(reports, key=lambda r: r["avg_ts"])
        self.version = best["build_commit"]
        self.add_tok_s(best["samples_ts"])


class LlamaBatchedBench(Peer):
    """llama.cpp's llama-batched-bench: several sequences, a token of each in a step."""

    def __init__(self, case, program, gguf):
        super().__init__(case, "llama.cpp")
        self.program = program
        # The first one is its warm-up, as ours has one.
        batches = ",".join([str(case.tokens)] * (case.repeat + 1))
        self.argv = [program, "-m", gguf, "-t", case.threads, "-c", MAX_SEQ_LEN, "-npp", 1, "-ntg", DECODED, "-npl", batches,
                     "--output-format", "jsonl"]

    def pass_(self):
        if not self.version:
            said = subprocess.run([self.program, "--version"], capture_output=True, text=True)
            commit = re.search(r"^version:.*?([^\s()]+)\)$", said.stdout + said.stderr, re.MULTILINE)
            self.version = commit[1] if commit else "unknown"
        lines = [json.loads(l) for l in self.run(self.argv).stdout.splitlines() if l.startswith("{")]
        if len(lines) < 2:
            raise RuntimeError(f"{len(lines)} lines of results")
        self.add_tok_s([l["speed_tg"] for l in lines[1:]])


class Script(Peer):
    """A script beside this file, run by a Python that has what it imports."""

    def __init__(self, case, name, argv, repeat, most_decoded):
        super().__init__(case, name)
        decode = ["--decode", min(case.tokens, most_decoded)]
        self.argv = [*argv, "--threads", case.threads, "--depth", case.depth, "--repeat", repeat,
                     *(decode if case.kind == "decode" else ["--prefill", case.tokens])]

    def pass_(self):
        report = json.loads(self.run(self.argv).stdout.splitlines()[-1])
        self.version = report["version"]
        self.add_tok_s(report["samples_tok_s"])


def peers(case, setup, args):
    """The peers that `args` names and that can run this case. They are measured beside the code that llmc takes for
    this machine alone: what they take for it they choose themselves."""
    found = []
    if case.kind not in ("decode", "prefill", "rows", "batch") or case.target:
        return found
    scripts = setup.root / "tools/bench"
    gguf = setup.file(case)
    openvino = args.peer_models / f"{case.model}-{case.dtype}-openvino"
    if case.kind == "batch":
        if args.llama_batched_bench and gguf.exists():
            found.append(LlamaBatchedBench(case, args.llama_batched_bench, gguf))
        return found
    if gguf.exists():
        for program, ik in ((args.llama_bench, False), (args.ik_llama_bench, True)):
            if program:
                found.append(LlamaBench(case, program, gguf, ik))
        for python, engine in ((args.llama_python, "llama.cpp"), (args.ik_python, "ik_llama.cpp")):
            if python:
                argv = [python, scripts / "ggml_peer.py", gguf, "--engine", engine]
                found.append(Script(case, engine, argv, case.repeat, case.tokens))
    if args.torch and case.dtype in PLAIN:
        argv = [args.torch, scripts / "torch_peer.py", setup.config(case), "--dtype", case.dtype]
        # Where it has no kernels for a type it takes seconds for a token: fewer rounds and tokens than ours.
        found.append(Script(case, "PyTorch, eager", argv, 1, 8))
        found.append(Script(case, "PyTorch, torch.compile", [*argv, "--compile"], 1, 8))
    if args.openvino and openvino.exists():
        argv = [args.openvino, scripts / "openvino_peer.py", openvino]
        found.append(Script(case, "OpenVINO", argv, case.repeat, case.tokens))
    return found
