#!/usr/bin/env python3
"""Runs the commands that the documentation shows, and looks for the files it names: examples_test.py BUILD_DIR.

A command is a line of a block that is indented by four spaces and calls build/bin/*; a line that ends in a backslash goes
on in the next. The commands of one file run in their order, in a folder of their own, each with bash; every one must exit
with 0. That folder has what the examples take for granted: build/, models/, and a model of the reader's own (my-model/,
a Hugging Face directory with a chat template; my-model.fb, its plan; conversation.json; notes.txt).

A block behind the line `<!-- not run: REASON -->` is left out, and said to be.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Written by scripts, of which no line is a command of the reader's.
GENERATED = {"performance.md", "quality.md", "models.md", "ir.md"}
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)
SECONDS = 300  # a compile on a machine with much else to do


def documents():
    return [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").glob("*.md") if p.name not in GENERATED),
            *sorted((ROOT / "tools").glob("*/README.md"))]


def examples(text):
    """(commands, reasons for blocks that are not run)."""
    commands, reasons = [], []
    reason, in_block, unfinished = None, False, ""
    for line in text.splitlines():
        if line.startswith("<!-- not run: "):
            reason = line.removeprefix("<!-- not run: ").removesuffix(" -->")
        elif line.startswith("    "):
            in_block = True
            command = unfinished + line.strip()
            unfinished = command.removesuffix("\\") if command.endswith("\\") else ""
            if not unfinished and "build/bin/" in command:
                reasons.append(f"{command} ({reason})") if reason else commands.append(command)
        elif line.strip() or in_block:
            if line.strip():
                reason = None
            in_block = False
    return commands, reasons


def needs_nvrtc(command):
    return " compile " in command and "cuda:" in command


class Examples(unittest.TestCase):
    build: pathlib.Path

    @classmethod
    def setUpClass(cls):
        cls.work = pathlib.Path(tempfile.mkdtemp(prefix="llmc-docs-"))
        model = cls.work / "my-model"
        shutil.copytree(ROOT / "models/demo", model)
        (model / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        config["max_position_embeddings"] = 256  # it was never taught to end an answer
        (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
        (cls.work / "conversation.json").write_text(
            json.dumps({"messages": [{"role": "user", "content": "Tell me a story."}], "add_generation_prompt": True}),
            encoding="utf-8")
        (cls.work / "notes.txt").write_text("Once upon a time there was a little girl named Lily.\n", encoding="utf-8")
        llmc = cls.build / "bin/llmc"
        subprocess.run([llmc, "compile", model, "-o", cls.work / "my-model.fb"], check=True, stdout=subprocess.DEVNULL)
        targets = subprocess.run([llmc, "targets"], check=True, capture_output=True, text=True).stdout
        cls.has_nvrtc = "needs NVRTC" not in targets

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.work)

    def folder(self, name):
        folder = self.work / name
        folder.mkdir()
        for given in ("my-model.fb", "my-model.weights", "conversation.json", "notes.txt"):
            shutil.copy(self.work / given, folder)
        shutil.copytree(self.work / "my-model", folder / "my-model")
        (folder / "build").symlink_to(self.build)
        (folder / "models").symlink_to(ROOT / "models")
        (folder / "examples").symlink_to(ROOT / "examples")
        return folder

    def test_every_command_of_the_documentation_succeeds(self):
        ran = 0
        for document in documents():
            commands, reasons = examples(document.read_text(encoding="utf-8"))
            folder = self.folder(str(document.relative_to(ROOT)).replace("/", "-"))
            for reason in reasons:
                print(f"not run: {reason}")
            for command in commands:
                if needs_nvrtc(command) and not self.has_nvrtc:
                    print(f"not run: {command} (NVRTC is not installed)")
                    continue
                done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=folder, timeout=SECONDS,
                                      stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
                self.assertEqual(done.returncode, 0, f"{document.relative_to(ROOT)}: {command}\n{done.stdout}{done.stderr}")
                ran += 1
        print(f"{ran} commands ran")
        self.assertGreater(ran, 0)

    def test_files_that_are_named_are_there(self):
        pages = [*documents(), ROOT / "CONTRIBUTING.md", *ROOT.glob("*/README.md"), *ROOT.glob("*/*/README.md")]
        named = re.compile(r"`((?:cmake|codegen|docs|frontend|ir|models|passes|runtime|tests|tools)/[\w./-]+\.\w+)`")
        count = 0
        for page in pages:
            for path in named.findall(page.read_text(encoding="utf-8")):
                with self.subTest(page=str(page.relative_to(ROOT)), path=path):
                    self.assertTrue((ROOT / path).exists() or (page.parent / path).exists())
                count += 1
        self.assertGreater(count, 100)

    def test_a_block_is_read_as_it_is_shown(self):
        text = ("Text build/bin/no\n\n    build/bin/a x \\\n      y    # why\n    ls\n\n"
                "<!-- not run: needs a GPU -->\n\n    build/bin/b\n\nMore\n\n    echo 1 | build/bin/c\n")
        self.assertEqual(examples(text), (["build/bin/a x y    # why", "echo 1 | build/bin/c"],
                                          ["build/bin/b (needs a GPU)"]))


if __name__ == "__main__":
    Examples.build = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
