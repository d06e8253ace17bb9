"""tools/bench/run, random_weights and docs/make-performance-md, with programs that print known figures."""

import importlib.machinery
import importlib.util
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[2]

# Counts its runs, so that the samples of two passes differ: 10, 11, 12 tok/s in the first, 20, 21, 22 in the second.
LLMBENCH = """#!/usr/bin/env python3
import json, pathlib, sys
count = pathlib.Path(__file__).with_name("count")
n = len(count.read_text()) if count.exists() else 0
count.write_text("x" * (n + 1))
argument = lambda flag: int(sys.argv[sys.argv.index(flag) + 1])
r = {"target": "x86-64-v3", "repeat": argument("--repeat"), "spread": {}}
def add(key, factor):
    low = 10 * (n + 1)
    values = [factor * (low + i) for i in range(r["repeat"])]
    r[key], r["spread"][key] = values[len(values) // 2], [values[0], values[-1]]
if argument("--decode"):
    batch = argument("--batch") if "--batch" in sys.argv else 1
    r["bytes_per_token"] = 5e6
    add("decode_tok_s", batch), add("decode_gb_s", 2), add("decode_limit_gb_s", 4)
    add("decode_gflop_s", batch), add("decode_limit_gflop_s", 2)
if argument("--prefill"):
    add("prefill_tok_s", 10), add("prefill_gflop_s", 20), add("prefill_limit_gflop_s", 25)
if "--ablate" in sys.argv:
    r["ablation"] = [{"decode_tok_s": 9, "decode_to_first": 0.9 - n / 10, "prefill_to_first": 0.99}]
print(json.dumps(r))
"""
LLAMA_BENCH = """#!/bin/sh
echo '[{"build_commit": "abc", "avg_ts": 8.0, "samples_ts": [7.5, 8.0, 8.5]}, {"build_commit": "abc", "avg_ts": 2, "samples_ts": [2]}]'
"""
LLAMA_BATCHED_BENCH = """#!/bin/sh
case $2 in
"") echo "version: 0.5.0-dev (build 1, commit abc)" >&2 ;;
*) for speed in 1 40 80; do echo "{\\"pl\\": 4, \\"speed_tg\\": $speed}"; done ;;
esac
"""


def program(path, text):
    path.write_text(text)
    path.chmod(0o755)


def load(path):
    loader = importlib.machinery.SourceFileLoader(path.stem.replace("-", "_"), str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


class Bench(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        program(self.dir / "llmc", "#!/bin/sh\n")
        program(self.dir / "llmbench", LLMBENCH)
        program(self.dir / "llama-bench", LLAMA_BENCH)
        (self.dir / "1b-f16.gguf").touch()

    def run_cases(self, cases, *flags):
        out = self.dir / "lines.jsonl"
        done = subprocess.run(
            [ROOT / "tools/bench/run", "--cases", cases, "--bin", self.dir, "--work", self.dir, "--out", out, "--peer-models",
             self.dir, *flags], capture_output=True, text=True)
        lines = [json.loads(l) for l in out.read_text().splitlines()] if out.exists() else []
        return done, lines

    def test_engines_that_are_python_packages(self):
        program(self.dir / "python", """#!/bin/sh
echo '{"version": "1.2", "system": "AVX2 = 1", "samples_tok_s": [5.0, 6.0, 7.0]}'
""")
        _, (line,) = self.run_cases("1b-f16-t2-decode", "--llama-python", self.dir / "python", "--ik-python", self.dir / "python")
        self.assertEqual([(p["name"], p["version"]) for p in line["peers"]], [("llama.cpp", "1.2"), ("ik_llama.cpp", "1.2")])
        self.assertEqual(line["peers"][0]["value"]["median"], 6.0)
        self.assertIn("ggml_peer.py 1b-f16.gguf --engine ik_llama.cpp --threads 2", line["peers"][1]["commands"][0])

    def test_samples_of_all_passes_and_a_peer(self):
        done, (line,) = self.run_cases("1b-f16-t2-decode", "--llama-bench", self.dir / "llama-bench")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(line["value"], {"median": 16, "spread": [10, 22], "samples": 6, "unit": "tok/s"})
        self.assertEqual(line["rate"]["median"], 32)
        self.assertEqual(line["limit"]["median"], 64)
        self.assertEqual(line["ratio"], 0.5)
        (peer,) = line["peers"]
        self.assertEqual((peer["version"], peer["value"]["samples"], peer["ahead"]), ("abc", 6, 2))
        self.assertIn("llama-bench -m 1b-f16.gguf -t 2 -r 3", peer["commands"][0])
        self.assertEqual(len(line["commands"]), 1)
        self.assertNotIn(str(self.dir), json.dumps(line))

    def test_a_file_of_quants_is_read_by_all(self):
        program(self.dir / "llmc", f'#!/bin/sh\necho "$@" >> {self.dir}/compiled\n')
        (self.dir / "1b-q4_k_m.gguf").touch()
        done, (line,) = self.run_cases("1b-q4_k_m-t2-prefill512", "--llama-bench", self.dir / "llama-bench")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"{self.dir}/1b-q4_k_m.gguf", (self.dir / "compiled").read_text())
        self.assertIn("1b-q4_k_m.gguf", line["peers"][0]["commands"][0])
        self.assertEqual(line["limit"]["name"], "multiply-adds")

    def test_rows_are_held_against_the_slower_of_step_and_flops(self):
        done, (line,) = self.run_cases("1b-f16-t2-rows4", "--llama-bench", self.dir / "llama-bench")
        self.assertEqual(done.returncode, 0, done.stderr)
        # The first pass: 4 rows at 100, 110, 120 tok/s, one decode step at 10, 11, 12.
        self.assertAlmostEqual(line["value"]["spread"][1], 1e3 * 4 / 100, places=3)
        self.assertEqual(line["limit"]["name"], "one decode step")
        self.assertAlmostEqual(line["limit"]["spread"][1], 1e3 / 10, places=3)
        self.assertAlmostEqual(line["peers"][0]["ahead"], 1e3 * 4 / 8.0 / line["value"]["median"], places=3)

    def test_sequences_are_held_against_the_slower_of_reading_and_flops(self):
        program(self.dir / "llmc", f'#!/bin/sh\necho "$@" >>{self.dir}/compiled\n')
        program(self.dir / "llama-batched-bench", LLAMA_BATCHED_BENCH)
        done, (line,) = self.run_cases("1b-f16-t2-batch4", "--llama-batched-bench", self.dir / "llama-batched-bench")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("--max-batch 4", (self.dir / "compiled").read_text())
        self.assertIn("--batch 4", line["commands"][0])
        # 4 tokens at 4 * (10, 11, 12) tok/s in the first run, at 4 * (20, 21, 22) in the second.
        self.assertEqual(line["value"], {"median": round(1e3 * (1 / 12 + 1 / 20) / 2, 4), "spread": [round(1e3 / 22, 4), 100.0],
                                         "samples": 6, "unit": "ms"})
        # Their 4 GFLOP at 20 GFLOP/s take longer than their 20 MB at 40 GB/s.
        self.assertEqual(line["limit"]["name"], "FLOPs at the peak")
        self.assertEqual(line["limit"]["spread"][1], 1e3 * 4 / 20)
        (peer,) = line["peers"]
        self.assertEqual((peer["version"], peer["value"]["spread"]), ("abc", [50.0, 100.0]))  # without the first, its warm-up
        self.assertAlmostEqual(peer["ahead"], 75 / line["value"]["median"], places=3)
        maker = load(ROOT / "docs/make-performance-md")
        performance, _ = maker.made(json.dumps(line) + "\n", maker.MARKS[0] + maker.MARKS[1])
        self.assertIn("| Llama-3.2-1B | f16 | x86-64-v3 | 2 | 4 | 66.7 [45.5, 100.0]", performance)

    def test_a_batched_peer_without_results_is_left_out(self):
        for text in ("#!/bin/sh\necho 'version: 10021 (33a75f41)'\n", None):
            with self.subTest(text):
                path = self.dir / "llama-batched-bench"
                path.unlink(missing_ok=True)
                if text:
                    program(path, text)
                done, lines = self.run_cases("1b-f16-t2-batch4", "--llama-batched-bench", path)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(lines[-1]["peers"], [])
                self.assertIn("llama.cpp: ", done.stderr)

    def test_a_plan_without_a_pass_is_a_share_of_the_whole(self):
        done, (line,) = self.run_cases("1b-f16-t2-without-fuse-residual")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(line["without"], ["llm-fuse-residual"])
        self.assertEqual(line["shares"]["decode"]["spread"], [0.8, 0.9])
        self.assertIn("--ablate 1b-f16-llm-fuse-residual.fb", line["commands"][0])
        line["other_cores"] = 0
        maker = load(ROOT / "docs/make-performance-md")
        performance, _ = maker.made(json.dumps(line) + "\n", maker.MARKS[0] + maker.MARKS[1])
        self.assertIn("| Llama-3.2-1B | f16 | 2 | `llm-fuse-residual` | 85.0 % [80.0, 90.0] | 99.0 % [99.0, 99.0] | 128 |",
                      performance)

    def test_a_peer_that_fails_is_left_out(self):
        program(self.dir / "llama-bench", "#!/bin/sh\necho no such model >&2\nexit 3\n")
        done, (line,) = self.run_cases("1b-f16-t2-decode", "--llama-bench", self.dir / "llama-bench")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(line["peers"], [])
        self.assertIn("status 3: no such model", done.stderr)

    def test_our_failure_is_a_failure_and_the_next_case_is_measured(self):
        bench = (self.dir / "llmbench").read_text()
        program(self.dir / "llmbench", bench.replace("import json", "import os, json").replace(
            "argument = ", 'if "512" in sys.argv: sys.exit("llmbench: error: broken")\nargument = '))
        done, lines = self.run_cases("1b-f16-t2-prefill512,1b-f16-t2-decode@4096")
        self.assertEqual(done.returncode, 1)
        self.assertIn("1b-f16-t2-prefill512: ", done.stderr)
        self.assertEqual([l["case"] for l in lines], ["1b-f16-t2-decode@4096"])
        self.assertEqual(lines[0]["depth"], 4096)

    def test_no_such_case(self):
        done, lines = self.run_cases("2b-*")
        self.assertEqual((done.returncode, lines), (1, []))
        self.assertIn("--cases 2b-*: no case has such a name", done.stderr)

    def test_lines_become_tables(self):
        _, lines = self.run_cases("1b-f16-t2-decode,1b-f16-t2-rows4", "--llama-bench", self.dir / "llama-bench")
        maker = load(ROOT / "docs/make-performance-md")
        newer = json.loads(json.dumps(lines[0]))
        newer["value"]["median"], newer["other_cores"] = 17, 0.5
        text = "".join(json.dumps(l) + "\n" for l in [*lines, newer])
        performance, readme = maker.made(text, "a\n" + maker.MARKS[0] + "old\n" + maker.MARKS[1] + "b\n")
        self.assertIn("| Llama-3.2-1B | f16 | x86-64-v3 | 2 | 0 | 17.0 [10.0, 22.0] * | 32.0 | 64.0 | 50 % | 8.00 [7.50, 8.50]: 2.00x |",
                      performance)
        self.assertNotIn("| 16.0 [", performance)  # the newest line of a case counts
        self.assertIn("| one decode step |", performance)
        self.assertIn("17.0 [10.0, 22.0] * | 50 % | 2.00x llama.cpp |", readme)
        self.assertTrue(readme.startswith("a\n") and readme.endswith("b\n") and "old" not in readme)

    def test_a_bad_line_is_named(self):
        maker = load(ROOT / "docs/make-performance-md")
        for bad in ("{", "{}", '{"machine": 3}'):
            with self.assertRaisesRegex(SystemExit, "benchmarks.jsonl:1: not a line"):
                maker.read_lines(bad + "\n")


class RandomWeights(unittest.TestCase):
    def write(self, name, dtype):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / name
            subprocess.run([ROOT / "tools/bench/random_weights", ROOT / "models/demo/config.json", path, "--dtype", dtype],
                           check=True)
            return path.read_bytes()

    def test_safetensors(self):
        data = self.write("w.safetensors", "bf16")
        (size,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + size])
        self.assertEqual(len(data), 8 + size + max(t["data_offsets"][1] for t in header.values()))
        self.assertEqual(header["model.layers.3.mlp.down_proj.weight"]["shape"], [192, 512])
        begin, end = header["model.norm.weight"]["data_offsets"]
        self.assertEqual(data[8 + size + begin : 8 + size + end], b"\x80\x3f" * 192)  # ones

    def test_gguf(self):
        data = self.write("w.gguf", "f16")
        self.assertEqual(struct.unpack_from("<4sIQ", data), (b"GGUF", 3, 4 * 9 + 2))
        parameters = 1024 * 192 + 4 * (2 * 192 * 192 + 2 * 64 * 192 + 3 * 512 * 192)
        self.assertGreater(len(data), 2 * parameters)
        self.assertLess(len(data), 2 * parameters + 30000)


if __name__ == "__main__":
    unittest.main()
