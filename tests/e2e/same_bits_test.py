"""same_bits finds no difference between a build and itself, and one where a weight or a scale is another."""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(sys.argv.pop(1)).resolve()
GOLDEN = "llama_gqa_biases"

# Calls the true llmc with a changed copy of the model.
LLMC = """#!{python}
import json, pathlib, shutil, subprocess, sys, tempfile
args = sys.argv[1:]
if args[0] != "compile":
    sys.exit(subprocess.call(["{llmc}", *args]))
with tempfile.TemporaryDirectory() as work:
    model = pathlib.Path(work) / "model"
    shutil.copytree(args[1], model)
    {change}
    sys.exit(subprocess.call(["{llmc}", "compile", str(model), *args[2:]]))
"""
NO_CHANGE = "pass"
ONE_BYTE = """file = model / "model.safetensors"
    data = bytearray(file.read_bytes())
    header = int.from_bytes(data[:8], "little")
    begin, _ = json.loads(data[8 : 8 + header])["model.norm.weight"]["data_offsets"]
    data[8 + header + begin] ^= 1  # the last bit of a mantissa
    file.write_bytes(data)"""
SCALE = """file = model / "config.json"
    config = json.loads(file.read_text())
    config["rms_norm_eps"] *= 1.25
    file.write_text(json.dumps(config))"""
FAILS = """sys.exit("llmc: error: not today")"""


class SameBits(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def build(self, change):
        """A folder of programs whose llmc sees the model changed."""
        folder = self.folder / f"bin{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        shutil.copy(BIN / "llmrun", folder)
        llmc = folder / "llmc"
        llmc.write_text(LLMC.format(python=sys.executable, llmc=BIN / "llmc", change=change))
        llmc.chmod(0o755)
        return folder

    def same_bits(self, new, *options):
        command = [ROOT / "tests/e2e/same_bits", BIN, new, "--models", GOLDEN, "--cache", self.folder / "cache", *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def expect_difference(self, change, text):
        done = self.same_bits(self.build(change), *self.targets)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertRegex(done.stdout, f"^{GOLDEN} stored [a-z0-9_-]+: {text}")
        self.assertIn("1 differ", done.stdout)

    @property
    def targets(self):
        lines = subprocess.check_output([BIN / "llmc", "targets"], text=True).splitlines()
        return ["--targets", [line.split()[0] for line in lines if "runs here" in line and line[:4] != "cuda"][-1]]

    def test_a_build_is_the_same_as_itself(self):
        done = self.same_bits(self.build(NO_CHANGE), *self.targets)
        self.assertEqual(done.stdout, "1 cases of 1 models, 8 steps each: 0 differ\n", done.stderr)
        self.assertEqual(done.returncode, 0)

    def test_the_last_bit_of_one_weight_is_a_difference(self):
        self.expect_difference(ONE_BYTE, r"step 0 of 8: token \d+, now \d+; \d+ of 131 logits differ, by at most [0-9.e-]+")

    def test_another_scale_is_a_difference(self):
        self.expect_difference(SCALE, r"step 0 of 8: .* logits differ")

    def test_a_compiler_that_fails_is_a_difference(self):
        self.expect_difference(FAILS, "new: exit status 1: llmc: error: not today")

    def test_tiles_are_emulated(self):
        flags = pathlib.Path("/proc/cpuinfo").read_text()
        if "avx512_bf16" not in flags:
            self.skipTest("sapphirerapids is emulated on CPUs with AVX512_BF16")
        targets = ["--targets", "sapphirerapids", "--dtypes", "bf16"]
        done = self.same_bits(self.build(NO_CHANGE), *targets)
        self.assertEqual(done.stdout, "1 cases of 1 models, 8 steps each: 0 differ\n", done.stderr)
        self.assertIn("1 differ", self.same_bits(self.build(SCALE), *targets).stdout)

    def test_what_cannot_be_compared_is_one_line(self):
        for new, options, text in ((self.folder / "none", [], "there is no program .*none/llmc"),
                                   (BIN, ["--models", "no_such"], "no golden is called no_such"),
                                   (BIN, ["--targets", "z80"], "z80 does not run here")):
            done = self.same_bits(new, *options)
            self.assertEqual(done.returncode, 2)
            self.assertRegex(done.stderr, f"^same_bits: error: {text}.*\n$")


if __name__ == "__main__":
    unittest.main()
