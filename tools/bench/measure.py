"""Runs programs and turns what they print into samples, one kind of case after the other."""

import dataclasses
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import tempfile
import threading
import time

from cases import MAX_SEQ_LEN, MODELS, PLAIN, QUANTIZED

DECODED = 8  # steps that are timed, of one row or of several sequences, in a case of few rows
TICKS = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass
class Finished:
    stdout: str
    seconds: float
    other_cores: float  # cores that were busy with something else, the hypervisor's other guests included
    memory: int  # most bytes of anonymous memory that were seen, 0 if not asked for


def busy_ticks():
    """Ticks all CPUs have not idled since boot: user, nice, system, irq, softirq, steal."""
    fields = [int(f) for f in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return sum(fields[i] for i in (0, 1, 2, 5, 6, 7))


def watch_memory(pid, most):
    """Notes the anonymous memory of `pid` in most[0] until it ends. Pages of mapped files are the kernel's to drop."""
    while True:
        try:
            lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            return
        sizes = [int(l.split()[1]) * 1024 for l in lines if l.startswith(("RssAnon:", "RssShmem:"))]
        if not sizes:  # a zombie
            return
        most[0] = max(most[0], sum(sizes))
        time.sleep(0.02)


def shown(argv):
    """A command line without the folders of this machine."""
    return shlex.join(pathlib.Path(a).name if str(a).startswith("/") else str(a) for a in argv)


def run(argv, watch=False):
    """Runs a command to its end; its stderr is said when it fails."""
    argv = [str(a) for a in argv]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        before, start = busy_ticks(), time.perf_counter()
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        most = [0]
        if watch:
            threading.Thread(target=watch_memory, args=(process.pid, most), daemon=True).start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        others = (busy_ticks() - before) / TICKS - usage.ru_utime - usage.ru_stime
        out.seek(0), err.seek(0)
        if process.returncode != 0:
            said = err.read().decode(errors="replace").strip().splitlines()
            raise RuntimeError(f"{shlex.join(argv)}: status {process.returncode}: {' | '.join(said[-3:])}")
        return Finished(out.read().decode(errors="replace"), seconds, max(0.0, others / seconds), most[0])


def samples(report, key):
    """All samples of a figure of `llmbench --json`, which prints their median, least and most: up to three rounds are
    known in full."""
    least, most = report["spread"][key]
    return {1: [report[key]], 2: [least, most], 3: [least, report[key], most]}[report["repeat"]]


def figure(values, unit):
    """A quantity of a result line: [least, most] is its spread."""
    return {
        "median": round(statistics.median(values), 4),
        "spread": [round(min(values), 4), round(max(values), 4)],
        "samples": len(values),
        "unit": unit,
    }


class Measured:
    """Samples of one program in one case, over all its passes. A subclass fills `values` by one pass() after the
    other."""

    def __init__(self, case):
        self.case = case
        self.values, self.commands, self.others = [], [], []

    def run(self, argv, watch=False):
        done = run(argv, watch)
        line = shown(argv)
        if line not in self.commands:
            self.commands.append(line)
        self.others.append(done.other_cores)
        return done

    def value(self):
        return figure(self.values, self.case.unit)

    def extra(self):
        """Further fields of the line: the limit, and how much of it was reached."""
        return {}


@dataclasses.dataclass
class Setup:
    """Where our programs and what is made for them are."""

    root: pathlib.Path  # of the repository
    bin: pathlib.Path
    work: pathlib.Path
    peer_models: pathlib.Path
    made: set = dataclasses.field(default_factory=set)

    def config(self, case):
        return self.root / MODELS[case.model]

    def file(self, case):
        """What other engines read; a case of a type that is a file's own reads the same."""
        return self.peer_models / f"{case.model}-{case.dtype}.gguf"

    def source(self, case):
        """What llmc compiles, and how it is told the type of the weights."""
        if case.dtype in PLAIN:
            return [self.config(case), "--dtype", case.dtype]
        if case.dtype in QUANTIZED:
            return [self.config(case), "--quantize", case.dtype]
        return [self.file(case)]

    def plan(self, case, without=()):
        """A plan of code alone, compiled once a run."""
        batch = case.tokens if case.kind == "batch" else 1
        parts = [case.model, case.dtype, *([case.target] if case.target else []), *without,
                 *([f"batch{batch}"] if batch > 1 else [])]
        plan = self.work / f"{'-'.join(parts)}.fb"
        if plan not in self.made:
            disable = ["--disable-pass", ",".join(without)] if without else []
            run([self.bin / "llmc", "compile", *self.source(case), "-o", plan, "--no-weights", "--max-seq-len",
                 MAX_SEQ_LEN // batch, "--max-batch", batch, "--target", case.target or "host", *disable])
            self.made.add(plan)
        return plan

    def checkpoint(self, case):
        """Random weights as one safetensors file, kept from run to run."""
        path = self.work / f"{case.model}-{case.dtype}.safetensors"
        if not path.exists():
            run([self.root / "tools/bench/random_weights", self.config(case), path, "--dtype", case.dtype])
        return path


class Llmbench(Measured):
    """Decode and prefill through llmbench, which measures the limit in the same rounds."""

    def __init__(self, case, setup):
        super().__init__(case)
        self.setup, self.rate, self.limit, self.target, self.inner_loops = setup, [], [], None, False

    def llmbench(self, prefill, decode, *flags):
        c = self.case
        report = json.loads(
            self.run([self.setup.bin / "llmbench", self.setup.plan(c), "--synthetic-weights", "--prefill", prefill,
                      "--decode", decode, "--threads", c.threads, "--repeat", c.repeat, "--json", *flags]).stdout)
        self.target = report["target"]
        self.inner_loops = any(key.startswith("inner_loop_") for key in report)
        return report

    def pass_(self):
        c = self.case
        decode = c.kind == "decode"
        unit = "gb_s" if decode else "gflop_s"
        report = self.llmbench(*((0, c.tokens) if decode else (c.tokens, 0)), *(["--depth", c.depth] if c.depth else []))
        self.values += samples(report, f"{c.kind}_tok_s")
        self.rate += samples(report, f"{c.kind}_{unit}")
        self.limit += samples(report, f"{c.kind}_limit_{unit}")

    def extra(self):
        computing = "inner loops" if self.inner_loops else "multiply-adds"
        unit, name = {"decode": ("GB/s", "memory read"), "prefill": ("GFLOP/s", computing)}[self.case.kind]
        return {
            "target": self.target,
            "rate": figure(self.rate, unit),
            "limit": {**figure(self.limit, unit), "name": name},
            "ratio": round(statistics.median(self.rate) / statistics.median(self.limit), 4),
        }


class FewRows(Llmbench):
    """One step of a few tokens: of a prompt, whose last logits are wanted, or of as many sequences, each of which wants
    its own. It cannot be faster than the weights can be read, a prompt no faster than a step of one row, which reads the
    same, or than its FLOPs at the peak: of quantised weights, of their inner loops."""

    def __init__(self, case, setup):
        super().__init__(case, setup)
        self.reading, self.flops_time = [], []

    def pass_(self):
        n = self.case.tokens
        if self.case.kind == "rows":
            phase, report = "prefill", self.llmbench(n, DECODED)
            self.reading += [1e3 / v for v in samples(report, "decode_tok_s")]
        else:
            phase, report = "decode", self.llmbench(0, DECODED, "--batch", n)
            megabytes = report["bytes_per_token"] * n / 1e6
            self.reading += [megabytes / v for v in samples(report, "decode_limit_gb_s")]
        self.values += [1e3 * n / v for v in samples(report, f"{phase}_tok_s")]
        if self.inner_loops and phase == "decode":
            self.flops_time += [1e3 * n / v for v in samples(report, "decode_limit_tok_s")]  # the slower of both
            return
        gflop = report[f"{phase}_gflop_s"] * n / report[f"{phase}_tok_s"]
        self.flops_time += [1e3 * gflop / v for v in samples(report, f"{phase}_limit_gflop_s")]

    def extra(self):
        limit = max(self.reading, self.flops_time, key=statistics.median)
        reading = "one decode step" if self.case.kind == "rows" else "memory read"
        name = reading if limit is self.reading else "inner loops" if self.inner_loops else "FLOPs at the peak"
        return {
            "target": self.target,
            "limit": {**figure(limit, "ms"), "name": name},
            "ratio": round(statistics.median(limit) / statistics.median(self.values), 4),
        }


class Without(Measured):
    """A plan with passes left out, its rounds in turn with those of the whole plan."""

    def __init__(self, case, setup):
        super().__init__(case)
        self.shares = {"decode": [], "prefill": []}
        self.argv = [setup.bin / "llmbench", setup.plan(case), "--ablate", setup.plan(case, case.without),
                     "--synthetic-weights", "--prefill", case.tokens, "--decode", 16, "--threads", case.threads,
                     "--repeat", case.repeat, "--json"]

    def pass_(self):
        (report,) = json.loads(self.run(self.argv).stdout)["ablation"]
        self.values.append(report["decode_tok_s"])
        for phase, shares in self.shares.items():
            shares.append(report[f"{phase}_to_first"])

    def extra(self):
        return {"without": list(self.case.without),
                "shares": {phase: figure(shares, "of the whole plan") for phase, shares in self.shares.items()}}


class FirstToken(Measured):
    """From the start of the process to its end after one token, weights in the page cache; the limit is the prompt's
    prefill alone."""

    def __init__(self, case, setup):
        super().__init__(case)
        self.setup, self.prefill = setup, []
        self.plan = setup.work / f"{case.model}-{case.dtype}-packed.fb"
        checkpoint = setup.checkpoint(case)
        run([setup.bin / "llmc", "compile", setup.config(case), "-o", self.plan, "--dtype", case.dtype, "--weights",
             checkpoint, "--tokenizer", "none"])
        self.argv = [setup.bin / "llmrun", self.plan, "--prompt-ids", ",".join(str(100 + i) for i in range(case.tokens)),
                     "-n", "1", "--json", "--threads", case.threads]
        run(self.argv)  # the page cache is warm from now on

    def pass_(self):
        for _ in range(self.case.repeat):
            self.values.append(1e3 * self.run(self.argv).seconds)
        report = json.loads(
            self.run([self.setup.bin / "llmbench", self.plan, "--prefill", self.case.tokens, "--decode", 0,
                      "--threads", self.case.threads, "--repeat", self.case.repeat, "--json"]).stdout)
        self.prefill += [1e3 * self.case.tokens / v for v in samples(report, "prefill_tok_s")]

    def extra(self):
        limit = statistics.median(self.prefill)
        return {
            "limit": {**figure(self.prefill, "ms"), "name": "prefill alone"},
            "ratio": round(limit / statistics.median(self.values), 4),
        }


class CompileTime(Measured):
    """`llmc compile` of code alone for this machine."""

    def __init__(self, case, setup):
        super().__init__(case)
        self.argv = [setup.bin / "llmc", "compile", setup.config(case), "-o", setup.work / "compile.fb", "--no-weights",
                     "--dtype", case.dtype, "--target", "host"]

    def pass_(self):
        self.values += [self.run(self.argv).seconds for _ in range(self.case.repeat)]


class Pack(Measured):
    """`llmc pack` beside `cp` of the same file, both into files that do not exist yet."""

    def __init__(self, case, setup):
        super().__init__(case)
        self.checkpoint, self.copies, self.memory = setup.checkpoint(case), [], 0
        self.plan, self.copy = setup.work / "pack.fb", setup.work / "copy"
        self.packed = self.plan.with_suffix(".weights")
        run([setup.bin / "llmc", "compile", setup.config(case), "-o", self.plan, "--no-weights", "--dtype", case.dtype])
        self.argv = [setup.bin / "llmc", "pack", self.plan, "--weights", self.checkpoint]
        self.bytes = self.checkpoint.stat().st_size

    def pass_(self):
        for argv, made, values in ((self.argv, self.packed, self.values),
                                   (["cp", self.checkpoint, self.copy], self.copy, self.copies)):
            made.unlink(missing_ok=True)
            os.sync()  # what others left to be written does not count
            done = self.run(argv, watch=values is self.values)
            values.append(self.bytes / done.seconds / 1e9)
            self.memory = max(self.memory, done.memory)
            made.unlink()

    def extra(self):
        return {
            "limit": {**figure(self.copies, "GB/s"), "name": "cp"},
            "ratio": round(statistics.median(self.values) / statistics.median(self.copies), 4),
            "memory_gib": round(self.memory / 2**30, 3),
        }


def ours(case, setup):
    kinds = {"rows": FewRows, "batch": FewRows, "without": Without, "first-token": FirstToken, "compile": CompileTime,
             "pack": Pack}
    return kinds.get(case.kind, Llmbench)(case, setup)


def machine():
    """What the figures depend on."""
    cpu = dict(l.split(":", 1) for l in pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines() if ":" in l)
    cpu = {k.strip(): v.strip() for k, v in cpu.items()}
    name = cpu.get("model name", os.uname().machine)
    if "cpu family" in cpu:  # a virtual machine's model name may say no more than the brand
        name += f" (family {cpu['cpu family']}, model {cpu['model']})"
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    release = dict(l.split("=", 1) for l in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in l)
    return {
        "cpu": name,
        "cores": os.cpu_count(),
        "memory_gib": round(memory),
        "os": release["PRETTY_NAME"].strip('"'),
        "kernel": os.uname().release,
    }
