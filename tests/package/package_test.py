#!/usr/bin/env python3
"""Installs the runtime into a folder, and builds and runs the examples against it as another project would.

    package_test.py BUILD
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMPTS = ["Once upon a time", "The little dog", "One day, a girl"]
# What the conversation's template makes of a line is what the prompt of a completion would be.
TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


def run(*command, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, errors="replace", timeout=300, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


class Package(unittest.TestCase):
    build: pathlib.Path

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="llmc-package-")
        work = pathlib.Path(cls.folder.name)
        cls.prefix, cls.examples = work / "llmrt", work / "examples"
        run("cmake", "--install", cls.build, "--component", "llmrt", "--prefix", cls.prefix)
        run("cmake", "-S", ROOT / "examples", "-B", cls.examples, f"-DCMAKE_PREFIX_PATH={cls.prefix}")
        run("cmake", "--build", cls.examples)
        cls.plan = work / "demo.fb"
        model = work / "demo"
        run("cp", "-r", ROOT / "models/demo", model)
        (model / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
        # In f32 every CPU tells the same stories: in bf16, by AMX, one ends sooner.
        run(cls.build / "bin/llmc", "compile", model, "-o", cls.plan, "--max-batch", 2, "--dtype", "f32")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def llmrun(self, prompt, tokens):
        return run(self.build / "bin/llmrun", self.plan, "--prompt", prompt, "-n", tokens)

    def test_what_is_installed(self):
        files = {str(f.relative_to(self.prefix)) for f in self.prefix.rglob("*") if not f.is_dir()}
        names = {pathlib.PurePath(f).name for f in files}
        for name in ("llmrt.h", "libllmrt.so", "libllmrt.a", "llmrt.pc", "llmrtConfig.cmake"):
            self.assertIn(name, names)
        shown = run("nm", "-D", "--defined-only", next(self.prefix.rglob("libllmrt.so")))
        symbols = [line.split()[-1].split("@")[0] for line in shown.splitlines() if line.split()[-2] != "A"]
        declared = (ROOT / "runtime/include/llmrt.h").read_text(encoding="utf-8")
        self.assertTrue(symbols)
        for symbol in symbols:
            self.assertIn(symbol + "(", declared)

    def test_pkg_config(self):
        pc = next(self.prefix.rglob("llmrt.pc"))
        environment = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent))
        try:
            flags = run("pkg-config", "--cflags", "--libs", "llmrt", env=environment).split()
        except FileNotFoundError:
            self.skipTest("pkg-config is not installed")
        program = self.examples / "by_pkg_config"
        run("cc", ROOT / "examples/completion.c", "-o", program, *flags)
        library = next(self.prefix.rglob("libllmrt.so")).parent
        text = run(program, self.plan, PROMPTS[0], env=dict(os.environ, LD_LIBRARY_PATH=str(library)))
        self.assertEqual(text, run(self.examples / "completion", self.plan, PROMPTS[0]))

    def test_a_completion_is_llmruns(self):
        for program in ("completion", "completion_static"):
            text = run(self.examples / program, self.plan, PROMPTS[0])
            self.assertEqual(text, self.llmrun(PROMPTS[0], 64).removeprefix(PROMPTS[0]).rstrip("\n") + "\n64 tokens\n")

    def test_the_engine_gives_each_prompt_what_llmrun_gives_it(self):
        for program in ("engine", "engine_static"):
            text = run(self.examples / program, self.plan, *PROMPTS)
            for prompt in PROMPTS:
                self.assertIn(self.llmrun(prompt, 48).rstrip("\n") + "\n[48 tokens", text)

    def test_a_chat_answers_each_line(self):
        for program in ("chat", "chat_static"):
            text = run(self.examples / program, self.plan, input="Once upon a time\nThe end.\n")
            self.assertEqual(text.count("> "), 3)
            self.assertEqual(text.count("[128 tokens, of "), 2)

    def test_errors_are_one_line(self):
        done = subprocess.run([self.examples / "completion", self.plan.with_suffix(".none"), "x"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.splitlines()), 1)


if __name__ == "__main__":
    Package.build = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
