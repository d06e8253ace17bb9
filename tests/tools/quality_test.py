"""tools/quality/run and docs/make-quality-md, with programs that print known figures."""

import importlib.machinery
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[2]

LLMC = """#!/usr/bin/env python3
import json, pathlib, sys
if sys.argv[1] == "compile":
    pathlib.Path(sys.argv[sys.argv.index("-o") + 1]).write_text(" ".join(sys.argv))
elif sys.argv[1] == "tokenize":
    print("1 2 3")
else:
    print(json.dumps({"weights_bytes": 3 << 20, "bits_per_weight": 4.5, "weight_formats": [{"format": "q4_k", "values": 7}]}))
"""
# The plan is the command line that made it.
LLMRUN = """#!/usr/bin/env python3
import json, pathlib, sys
worse = 2 if "int8" in pathlib.Path(sys.argv[1]).read_text() else 1
assert "--dtype f32" in pathlib.Path(sys.argv[sys.argv.index("--against") + 1]).read_text()
print(json.dumps({"tokens": 2, "ppl": 8.0, "kl_mean": 0.001 * worse, "kl_p99": 0.01, "same_top": 0.5, "base": {"ppl": 7.5}}))
"""


def program(path, text):
    path.write_text(text)
    path.chmod(0o755)


def make_quality_md():
    path = ROOT / "docs/make-quality-md"
    loader = importlib.machinery.SourceFileLoader("make_quality_md", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


class Quality(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        program(self.dir / "llmc", LLMC)
        program(self.dir / "llmrun", LLMRUN)

    def run_demo(self, *flags):
        out = self.dir / "lines.jsonl"
        subprocess.run([ROOT / "tools/quality/run", "--models", "demo", "--bin", self.dir, "--work", self.dir, "--out", out,
                        *flags], check=True, capture_output=True, text=True)
        return out.read_text()

    def test_a_line_for_each_scheme_and_a_row_for_each_kind_of_activations(self):
        text = self.run_demo()
        lines = [json.loads(l) for l in text.splitlines()]
        self.assertEqual([l["weights"] for l in lines], ["q8", "q6", "q5", "q4"])
        self.assertEqual(lines[0]["activations"]["float"]["kl_mean"], 0.001)
        self.assertEqual(lines[0]["activations"]["int8"]["kl_mean"], 0.002)
        made = make_quality_md()
        page = "\n".join(made.page(made.read_lines(text)))
        self.assertIn("Base: perplexity 7.500 over 2 tokens.", page)
        self.assertIn("| q8 | 4.50 | 3 | float | 8.000 | 0.00100 | 0.0100 | 50.0 % |", page)
        self.assertIn("|  |  |  | int8 | 8.000 | 0.00200 | 0.0100 | 50.0 % |", page)

    def test_the_newest_line_of_a_kind_of_weights_counts(self):
        (old,) = self.run_demo("--weights", "q4").splitlines()
        new = json.loads(old)
        new["activations"]["float"]["ppl"] = 9.0
        made = make_quality_md()
        page = "\n".join(made.page(made.read_lines(f"{old}\n{json.dumps(new)}")))
        self.assertIn("| 9.000 |", page)
        self.assertEqual(page.count("| q4 |"), 1)

    def test_a_figure_that_cannot_be_is_refused(self):
        (line,) = self.run_demo("--weights", "q4").splitlines()
        for key, value in (("ppl", 0.5), ("kl_mean", -0.1), ("same_top", 1.5), ("kl_p99", "?")):
            bad = json.loads(line)
            bad["activations"]["int8"][key] = value
            with self.subTest(key), self.assertRaisesRegex(SystemExit, "quality.jsonl:1"):
                make_quality_md().read_lines(json.dumps(bad))


if __name__ == "__main__":
    unittest.main()
