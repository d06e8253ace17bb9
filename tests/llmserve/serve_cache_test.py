#!/usr/bin/env python3
"""What llmserve keeps over a restart (--cache-dir): serve_cache_test.py BUILD."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

from server import ROOT, Server, compile_demo

TEXT = "/v1/completions"
# Some blocks of tokens, and a part of one.
LONG = "Once upon a time there was a little dog who lived in a big house with a red door. " * 12


class CacheDir(unittest.TestCase):
    build: pathlib.Path

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="llmserve-cache-")
        cls.plan = compile_demo(cls.build, cls.folder.name)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def setUp(self):
        self.cache = pathlib.Path(tempfile.mkdtemp(dir=self.folder.name)) / "cache"
        self.servers = []
        self.addCleanup(self.end_all)

    def end_all(self):
        for server in self.servers:
            self.assertEqual(server.end(signal.SIGTERM if server.process.poll() is None else 0), 0, server.errors())

    def start(self, *arguments, plan=None):
        server = Server(self.build, plan or self.plan, "--cache-dir", self.cache, *arguments)
        self.servers.append(server)
        return server

    def stop(self, server):
        self.servers.remove(server)
        self.assertEqual(server.end(), 0, server.errors())
        return server.errors()

    def ask(self, server, prompt=LONG, **body):
        """(the answer with what it took of log-probabilities, cached tokens)"""
        got = server.json(TEXT, {"prompt": prompt, "max_tokens": 20, "temperature": 0.7, "seed": 5, "logprobs": 3, **body})
        return got["choices"], got["usage"]["prompt_tokens_details"]["cached_tokens"]

    def fresh(self, prompt=LONG, plan=None):
        server = Server(self.build, plan or self.plan)
        try:
            return self.ask(server, prompt)[0]
        finally:
            server.end()

    def files(self):
        return sorted(p for p in self.cache.rglob("*.prefix"))

    def fill(self):
        """A directory with what LONG has left, and the answer without it."""
        server = self.start()
        want, cached = self.ask(server)
        self.assertEqual(cached, 0)
        self.stop(server)
        self.assertGreaterEqual(len(self.files()), 3)
        return want

    def test_a_restart_finds_what_was_computed(self):
        want = self.fill()
        self.assertEqual(want, self.fresh())
        server = self.start()
        got, cached = self.ask(server)
        self.assertEqual(got, want)
        self.assertEqual(cached, 64 * len(self.files()))
        # One that goes on otherwise takes over what both begin with.
        other = LONG[:len(LONG) // 2] + "A cat came by."
        got, cached = self.ask(server, other)
        self.assertEqual(got, self.fresh(other))
        self.assertGreaterEqual(cached, 64)

    def test_what_was_written_before_a_kill_is_there(self):
        server = self.start()
        want, _ = self.ask(server)
        server.wait_until(lambda: len(self.files()) >= 3)
        server.process.kill()
        server.process.wait()
        self.servers.remove(server)
        got, cached = self.ask(self.start())
        self.assertEqual(got, want)
        self.assertGreaterEqual(cached, 128)

    def test_a_kill_at_any_time_leaves_nothing_wrong(self):
        want = self.fresh()
        for turn in range(4):
            server = self.start()
            asked = [threading.Thread(target=self.swallow, args=(server, LONG if i == 0 else f"{i} {turn} {LONG}")) for i in range(6)]
            for one in asked:
                one.start()
            server.wait_until(lambda: len(self.files()) > 5 * turn)
            server.process.kill()
            server.process.wait()
            self.servers.remove(server)
            for one in asked:
                one.join()
        server = self.start()
        self.assertEqual(self.ask(server)[0], want)
        self.assertEqual(server.errors().count("damaged"), 0, server.errors())

    def swallow(self, server, prompt):
        try:
            self.ask(server, prompt)
        except OSError:
            pass  # it was killed

    def damaged(self, damage, *, lines=1):
        want = self.fill()
        # Of the second block: the first is still good.
        by_length = sorted(self.files(), key=lambda p: int(p.stem.split("-")[3], 16))
        damage(by_length[1])
        server = self.start()
        got, cached = self.ask(server)
        self.assertEqual((got, cached), (want, 64))
        self.assertEqual(server.errors().count("is damaged, and was removed"), lines, server.errors())
        # What was computed anew is stored anew.
        self.stop(server)
        got, cached = self.ask(self.start())
        self.assertEqual(got, want)
        self.assertGreater(cached, 64)

    def test_a_changed_byte(self):
        for at in (0, 9, 17, 30, 44, 60, -1):
            def change(path, at=at):
                data = bytearray(path.read_bytes())
                data[at] ^= 1
                path.write_bytes(data)
            with self.subTest(at=at):
                self.damaged(change)
                shutil.rmtree(self.cache)

    def test_a_truncated_file(self):
        for size in (0, 20, 1000):
            with self.subTest(size=size):
                self.damaged(lambda path: os.truncate(path, size))
                shutil.rmtree(self.cache)

    def test_a_file_that_is_none(self):
        def folder(path):
            path.unlink()
            path.mkdir()
        want = self.fill()
        folder(self.files()[0])
        (self.cache / "README").write_text("not of llmserve")
        (self.files()[0].parent / "1-2-3.prefix").write_text("nor is this")
        self.assertEqual(self.ask(self.start())[0], want)

    def test_another_texts_file_is_not_taken(self):
        want = self.fill()
        files = sorted(self.files(), key=lambda p: int(p.stem.split("-")[3], 16))
        files[0].write_bytes(files[1].read_bytes())
        server = self.start()
        self.assertEqual(self.ask(server), (want, 0))

    def test_names_in_a_circle_end(self):
        server = self.start()
        self.ask(server)
        self.stop(server)
        names = [p for p in self.cache.glob("*/*.prefix")]
        for path in names:
            hash, part, _, tokens = path.stem.split("-")
            path.rename(path.with_name(f"{hash}-{part}-{hash}-{tokens}.prefix"))
        self.assertTrue(names)
        server = self.start()
        longer = LONG + "The dog liked to run in the sun. " * 12
        expected = self.fresh(longer)
        for _ in range(2):
            self.assertEqual(self.ask(server, longer)[0], expected)
        self.stop(server)

    def test_a_place_that_others_may_write_to(self):
        self.cache.mkdir()
        self.cache.chmod(0o777)
        done = subprocess.run([self.build / "bin/llmserve", self.plan, "--port", "0", "--cache-dir", self.cache],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"others may write to {self.cache}", done.stderr)

    def test_the_directory_goes_while_it_runs(self):
        server = self.start()
        want, _ = self.ask(server)
        server.wait_until(lambda: len(self.files()) >= 3)
        shutil.rmtree(self.cache)
        self.assertEqual(self.ask(server)[0], want)
        self.ask(server, "Another text. " + LONG)
        server.wait_until(lambda: len(self.files()) >= 3)
        self.stop(server)
        # And between what is read.
        server = self.start()
        shutil.rmtree(self.cache)
        self.assertEqual(self.ask(server), (want, 0))
        self.assertNotIn("damaged", server.errors())

    def test_a_place_that_cannot_be_written(self):
        file = pathlib.Path(self.folder.name) / "file"
        file.write_text("")
        done = subprocess.run([self.build / "bin/llmserve", self.plan, "--port", "0", "--cache-dir", self.cache, "--device", "cuda"],
                              stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual((done.returncode, len(done.stderr.strip().splitlines())), (1, 1), done.stderr)
        self.assertIn("--cache-dir", done.stderr)
        for place in (file, file / "cache", "/proc/cache", "/nowhere/cache"):
            done = subprocess.run([self.build / "bin/llmserve", self.plan, "--port", "0", "--cache-dir", place], stderr=subprocess.PIPE, text=True, timeout=60)
            self.assertEqual((done.returncode, len(done.stderr.strip().splitlines())), (1, 1), done.stderr)
            self.assertIn(f"{place}: prefixes cannot be stored there", done.stderr)

    def test_another_plan_finds_nothing(self):
        self.fill()
        other = tempfile.mkdtemp(dir=self.folder.name)
        plan = compile_demo(self.build, other, "--quantize", "q8")
        self.assertEqual(self.ask(self.start(plan=plan))[1], 0)
        # The same plan elsewhere is the same plan.
        moved = pathlib.Path(tempfile.mkdtemp(dir=self.folder.name)) / "moved.fb"
        shutil.copy(self.plan, moved)
        shutil.copy(self.plan.with_suffix(".weights"), moved.with_suffix(".weights"))
        self.assertGreater(self.ask(self.start(plan=moved))[1], 0)

    def test_two_servers_share_it(self):
        a, b = self.start(), self.start()
        prompts = [f"{i} {LONG}" for i in range(6)]
        want = [self.ask(a, p)[0] for p in prompts]
        for p, w in zip(prompts, want):
            self.assertEqual(self.ask(b, p)[0], w)
        self.stop(a)
        self.stop(b)
        c = self.start()
        for p, w in zip(prompts, want):
            got, cached = self.ask(c, p)
            self.assertEqual(got, w)
            self.assertGreaterEqual(cached, 128)
        self.assertNotIn("damaged", c.errors())

    def test_the_bound_holds(self):
        one = len(self.fill() and self.files())
        size = sum(-(-p.stat().st_size // 4096) * 4096 for p in self.files())
        bound = 4 * size
        server = self.start("--cache-bytes", bound)
        prompts = [f"{i} {LONG}" for i in range(12)]
        want = [self.ask(server, p)[0] for p in prompts]
        self.stop(server)
        total = sum(-(-p.stat().st_size // 4096) * 4096 for p in self.files())
        self.assertLessEqual(total, bound)
        self.assertGreater(total, bound // 2)
        self.assertGreaterEqual(len(self.files()), one)
        # What came last is there from its beginning, and what came first is not.
        server = self.start("--cache-bytes", bound)
        self.assertEqual([self.ask(server, prompts[i]) for i in (0,)], [(want[0], 0)])
        got, cached = self.ask(server, prompts[-1])
        self.assertEqual(got, want[-1])
        self.assertGreaterEqual(cached, 128)

    def test_other_code_finds_nothing(self):
        folder = tempfile.mkdtemp(dir=self.folder.name)
        targets = ("x86-64-v3", "x86-64-v4") if os.uname().machine == "x86_64" else ()
        flags = pathlib.Path("/proc/cpuinfo").read_text().split()
        if not targets or not {"avx512f", "avx512vl"} <= set(flags):
            self.skipTest("code for two targets of this machine is needed")
        plan = compile_demo(self.build, folder, "--target", ",".join(targets))
        for target in targets:
            for cached in (False, True):
                server = self.start("--cpu-target", target, plan=plan)
                self.assertEqual(self.ask(server)[1] > 0, cached)
                self.stop(server)

    def test_states_of_every_kind(self):
        # A recurrent state beside keys and values; windows that pass what is kept.
        for model in ("lfm2", "qwen3_5", "gemma3"):
            with self.subTest(model=model):
                plan = pathlib.Path(self.folder.name) / f"{model}.fb"
                subprocess.run([self.build / "bin/llmc", "compile", ROOT / "tests/golden" / model, "-o", plan, "--dtype", "f32", "--tokenizer",
                                ROOT / "models/demo", "--max-batch", "4"], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                ids = [(i * 37 + i * i) % 131 for i in range(200)]
                one, longer, other = ids[:150], ids, ids[:150] + ids[:30]
                want = {len(p): self.fresh(p, plan) for p in (one, longer, other)}
                server = self.start(plan=plan)
                self.assertEqual(self.ask(server, one), (want[150], 0))
                server.wait_until(lambda: len(self.files()) >= 2)
                self.stop(server)
                for prompt in (longer, other, one):
                    server = self.start(plan=plan)
                    got, cached = self.ask(server, prompt)
                    self.assertEqual(got, want[len(prompt)])
                    # Behind the prompt's last token but one, or the whole blocks of it.
                    self.assertGreaterEqual(cached, 128 if model == "gemma3" else 149)
                    self.stop(server)
                shutil.rmtree(self.cache)

    def test_few_blocks_of_memory(self):
        want = {p: self.fresh(p) for p in (LONG, "The cat. " + LONG)}
        for _ in range(2):
            server = self.start("--max-seq-len", 512, "--memory", 8 << 20)
            for p, w in list(want.items()) * 2:
                self.assertEqual(self.ask(server, p)[0], w)
            self.stop(server)


if __name__ == "__main__":
    CacheDir.build = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
