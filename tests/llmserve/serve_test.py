#!/usr/bin/env python3
"""llmserve as clients see it: serve_test.py BUILD."""
import concurrent.futures
import json
import math
import pathlib
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

from server import Server, compile_demo

PROMPT = "Once upon a time"
CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"


def messages(*texts):
    return [{"role": "user" if i % 2 == 0 else "assistant", "content": text} for i, text in enumerate(texts)]


class ServeTest(unittest.TestCase):
    build: pathlib.Path
    arguments = []

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="llmserve-test-")
        cls.plan = compile_demo(cls.build, cls.folder.name)
        cls.server = Server(cls.build, cls.plan, "--alias", "demo", *cls.arguments)

    @classmethod
    def tearDownClass(cls):
        try:
            status, errors = cls.server.end(), cls.server.errors()
        finally:
            cls.folder.cleanup()
        assert status == 0, errors

    def llmrun(self, *arguments):
        done = subprocess.run([str(self.build / "bin/llmrun"), str(self.plan), *map(str, arguments), "--json"],
                              stdout=subprocess.PIPE, check=True, timeout=120)
        return json.loads(done.stdout)

    def refused(self, path, body, status=400, param=None, **options):
        got, _, text = self.server.request(path, body, **options)
        error = json.loads(text)["error"]
        self.assertEqual((got, error["param"]), (status, param), text)
        self.assertTrue(error["message"])
        return error


class Answers(ServeTest):
    def test_a_completion_is_llmruns(self):
        got = self.server.json(TEXT, {"model": "demo", "prompt": PROMPT, "max_tokens": 40, "temperature": 0})
        want = self.llmrun("--prompt", PROMPT, "-n", 40, "--temperature", 0)
        self.assertEqual(got["choices"][0]["text"], want["text"])
        self.assertEqual(got["choices"][0]["finish_reason"], "length")
        self.assertEqual(got["usage"], {"prompt_tokens": len(want["prompt_ids"]), "completion_tokens": 40, "total_tokens": len(want["prompt_ids"]) + 40,
                                        "prompt_tokens_details": {"cached_tokens": got["usage"]["prompt_tokens_details"]["cached_tokens"]}})
        sampled = {"temperature": 0.9, "top_k": 30, "top_p": 0.95, "seed": 7, "max_tokens": 30}
        got = self.server.json(TEXT, {"prompt": want["prompt_ids"], **sampled})
        want = self.llmrun("--prompt", PROMPT, "-n", 30, "--temperature", 0.9, "--top-k", 30, "--top-p", 0.95, "--seed", 7)
        self.assertEqual(got["choices"][0]["text"], want["text"])

    def test_a_stream_is_the_same_text(self):
        for path, body in ((TEXT, {"prompt": PROMPT}), (CHAT, {"messages": messages(PROMPT)})):
            body = {**body, "max_tokens": 40, "temperature": 0.8, "seed": 5, "n": 3, "logprobs": 2 if path == TEXT else True}
            whole = self.server.json(path, body)
            events = self.server.events(path, {**body, "stream": True, "stream_options": {"include_usage": True}})
            self.assertEqual(events[-1]["choices"], [])
            for key in ("prompt_tokens", "completion_tokens", "total_tokens"):
                self.assertEqual(events[-1]["usage"][key], whole["usage"][key])
            self.assertEqual(len({e["id"] for e in events}), 1)
            self.assertTrue(all(e["usage"] is None for e in events[:-1]))
            texts = set()
            for choice in whole["choices"]:
                pieces = [c for e in events for c in e["choices"] if c["index"] == choice["index"]]
                self.assertEqual([p["finish_reason"] for p in pieces], [None] * (len(pieces) - 1) + [choice["finish_reason"]])
                if path == CHAT:
                    self.assertEqual(pieces[0]["delta"], {"role": "assistant", "content": ""})
                    text = "".join(p["delta"].get("content", "") for p in pieces)
                    self.assertEqual(text, choice["message"]["content"])
                    self.assertEqual(choice["message"]["role"], "assistant")
                    logprobs = [t for p in pieces for t in p["logprobs"]["content"]]
                    self.assertEqual(logprobs, choice["logprobs"]["content"])
                    self.assertEqual(bytes(b for t in logprobs for b in t["bytes"]).decode().strip(), text.strip())
                else:
                    text = "".join(p["text"] for p in pieces)
                    self.assertEqual(text, choice["text"])
                    for key, values in choice["logprobs"].items():
                        self.assertEqual([v for p in pieces for v in p["logprobs"][key]], values)
                texts.add(text)
            self.assertEqual(len(texts), 3, "each choice has a seed of its own")

    def test_a_needle_among_others_stays_the_same(self):
        needle = {"prompt": PROMPT, "max_tokens": 60, "temperature": 0.8, "seed": 3, "logprobs": 5}
        alone = self.server.json(TEXT, needle)["choices"][0]
        rng = random.Random(4)

        def other(i):
            body = {"prompt": rng.choice([PROMPT, "The little dog", "A b"]) + " x" * rng.randrange(60), "max_tokens": rng.randrange(1, 80),
                    "temperature": rng.random() * 2, "n": rng.randrange(1, 4), "presence_penalty": rng.random()}
            return self.server.json(TEXT, body)

        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            others = [pool.submit(other, i) for i in range(40)]
            needles = [pool.submit(self.server.json, TEXT, needle) for _ in range(8)]
            for found in needles:
                self.assertEqual(found.result()["choices"][0], alone)
            for one in others:
                one.result()

    def test_log_probabilities_of_a_given_text(self):
        # As evaluation harnesses ask: ids, echo, one token more.
        text = pathlib.Path(self.folder.name) / "text.txt"
        text.write_text(self.llmrun("--prompt", PROMPT, "-n", 120, "--temperature", 1, "--seed", 2)["text"].strip(), encoding="utf-8")
        ids = self.server.json("/tokenize", {"prompt": text.read_text(encoding="utf-8")})["tokens"]
        want = self.llmrun("--perplexity", text)
        for more in ({"max_tokens": 1}, {"max_tokens": 0}, {"max_tokens": 1, "stream": True}, {"max_tokens": 0, "stream": True}):
            body = {"prompt": ids, "logprobs": 1, "echo": True, "temperature": 0, "seed": 1234, **more}
            if "stream" in more:
                choices = [e["choices"][0] for e in self.server.events(TEXT, body)]
                got = {key: [v for c in choices for v in c["logprobs"][key]] for key in choices[0]["logprobs"]}
            else:
                got = self.server.json(TEXT, body)["choices"][0]["logprobs"]
            self.assertEqual(len(got["tokens"]), len(ids) + more["max_tokens"])
            self.assertIsNone(got["token_logprobs"][0])
            of_prompt = got["token_logprobs"][1:len(ids)]
            self.assertEqual(want["tokens"], len(of_prompt))
            self.assertAlmostEqual(-sum(of_prompt) / len(of_prompt), want["nll_mean"], places=5)
            for token, logprob, top in list(zip(got["tokens"], got["token_logprobs"], got["top_logprobs"]))[1:]:
                best = max(top.values())
                self.assertLessEqual(logprob, best)
                self.assertEqual(token == max(top, key=top.get), logprob == best)
        # A prompt of which all is in the cache is computed again, and says the same.
        again = self.server.json(TEXT, {"prompt": ids, "logprobs": 1, "echo": True, "max_tokens": 1, "temperature": 0})
        self.assertEqual(again["choices"][0]["logprobs"]["token_logprobs"][1:len(ids)], of_prompt)

    def test_bytes_of_tokens_join_to_the_text(self):
        # The parts of a character, forced one by one.
        pieces = self.server.json("/tokenize", {"prompt": "\u732b", "add_special_tokens": False})["tokens"]
        self.assertGreater(len(pieces), 1)
        body = {"messages": messages(PROMPT), "max_tokens": 1, "temperature": 0, "logprobs": True}
        said = b""
        for piece in pieces:
            got = self.server.json(CHAT, {**body, "logit_bias": {str(piece): 100}})["choices"][0]["logprobs"]["content"][0]
            said += bytes(got["bytes"])
        self.assertEqual(said.decode().strip(), "\u732b")

    def test_offsets_are_of_characters(self):
        got = self.server.json(TEXT, {"prompt": "Zoë said", "max_tokens": 20, "echo": True, "logprobs": 0, "temperature": 0})["choices"][0]
        logprobs = got["logprobs"]
        for token, offset in zip(logprobs["tokens"], logprobs["text_offset"]):
            if token != "<s>" and "\ufffd" not in token:
                self.assertEqual(got["text"][offset:offset + len(token)].strip(), token.strip())

    def test_stops_end_a_text(self):
        whole = self.server.json(TEXT, {"prompt": PROMPT, "max_tokens": 60, "temperature": 0})["choices"][0]["text"]
        stop = whole[30:36]
        for given in (stop, ["never there", stop]):
            got = self.server.json(TEXT, {"prompt": PROMPT, "max_tokens": 60, "temperature": 0, "stop": given})["choices"][0]
            self.assertEqual((got["text"], got["finish_reason"]), (whole[:whole.index(stop)], "stop"))

    def test_bias_and_penalties(self):
        word = self.server.json("/tokenize", {"prompt": " dog", "add_special_tokens": False})["tokens"]
        got = self.server.json(TEXT, {"prompt": PROMPT, "max_tokens": 5, "temperature": 0, "logit_bias": {str(word[0]): 100}})
        self.assertEqual(got["choices"][0]["text"], self.server.json("/detokenize", {"tokens": word[:1] * 5})["content"])
        plain = self.server.json(TEXT, {"prompt": PROMPT, "max_tokens": 80, "temperature": 0})["choices"][0]["text"]
        apart = self.server.json(TEXT, {"prompt": PROMPT, "max_tokens": 80, "temperature": 0, "frequency_penalty": 2})["choices"][0]["text"]
        self.assertNotEqual(plain, apart)
        self.assertGreater(len(set(apart.split())) / len(apart.split()), len(set(plain.split())) / len(plain.split()))

    def test_several_prompts(self):
        prompts = [PROMPT, "The little dog", "A girl"]
        got = self.server.json(TEXT, {"prompt": prompts, "max_tokens": 8, "temperature": 0, "n": 2})
        self.assertEqual([c["index"] for c in got["choices"]], list(range(6)))
        for i, prompt in enumerate(prompts):
            one = self.server.json(TEXT, {"prompt": prompt, "max_tokens": 8, "temperature": 0})["choices"][0]["text"]
            self.assertEqual([c["text"] for c in got["choices"][2 * i:2 * i + 2]], [one, one])

    def test_the_next_turn_computes_what_is_new(self):
        first = PROMPT + " there was a small house by the sea, and in it lived a cat."
        said = self.server.json(CHAT, {"messages": messages(first), "max_tokens": 60, "temperature": 0.9, "seed": 1})
        answer = said["choices"][0]["message"]["content"]
        then = messages(first, answer, " Then")
        second = self.server.json(CHAT, {"messages": then, "max_tokens": 4, "temperature": 0})
        usage = second["usage"]
        # All of the first prompt and of the answer but its last token, in whole blocks and the unfilled last.
        self.assertGreaterEqual(usage["prompt_tokens_details"]["cached_tokens"], said["usage"]["total_tokens"] - 2)
        # A history that was rewritten shares what is left.
        cut = self.server.json(CHAT, {"messages": messages(first, answer[:len(answer) // 2], " Then"), "max_tokens": 4, "temperature": 0})
        self.assertLess(cut["usage"]["prompt_tokens_details"]["cached_tokens"], usage["prompt_tokens_details"]["cached_tokens"])
        self.assertGreater(cut["usage"]["prompt_tokens_details"]["cached_tokens"], 0)

    def test_content_in_parts(self):
        parts = [{"role": "user", "content": [{"type": "text", "text": "Once upon"}, {"type": "text", "text": " a time"}]}]
        body = {"max_tokens": 8, "temperature": 0}
        self.assertEqual(self.server.json(CHAT, {"messages": parts, **body})["choices"], self.server.json(CHAT, {"messages": messages(PROMPT), **body})["choices"])
        self.assertEqual(self.server.json("/apply-template", {"messages": parts}), {"prompt": PROMPT})
        image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]
        self.refused(CHAT, {"messages": image}, param="messages[0].content[0]")

    def test_models_and_health(self):
        listed = self.server.json("/v1/models")
        self.assertEqual([m["id"] for m in listed["data"]], ["demo"])
        self.assertEqual(self.server.json("/v1/models/demo"), listed["data"][0])
        self.assertEqual(listed["data"][0]["max_model_len"], 512)
        self.assertEqual(self.server.json("/health"), {"status": "ok"})
        self.assertEqual(self.server.json("/ready"), {"status": "ready"})
        self.assertIn("llmserve_requests_total", self.server.request("/metrics")[2].decode())
        paths = self.server.json("/openapi.json")["paths"]
        for path in (CHAT, TEXT, "/tokenize", "/v1/models"):
            self.assertIn(path, paths)


class Errors(ServeTest):
    def test_wrong_fields_are_named(self):
        for field, value in (("temperature", "hot"), ("temperature", -1), ("top_p", 1.5), ("top_k", 1.5), ("n", 0), ("n", 1000), ("max_tokens", -3),
                             ("max_tokens", "many"), ("stream", 1), ("stop", 7), ("stop", [1]), ("logit_bias", [1]), ("logit_bias", {"x": 1}),
                             ("logit_bias", {"1": 101}), ("logit_bias", {"99999999": 1}), ("presence_penalty", 3), ("seed", "x"), ("min_p", 2),
                             ("frequency_penalty", "x"), ("repetition_penalty", 0), ("stream_options", 3)):
            for path, body in ((TEXT, {"prompt": PROMPT}), (CHAT, {"messages": messages(PROMPT)})):
                self.refused(path, {**body, field: value}, param=field)
        for field, value in (("prompt", None), ("prompt", 5), ("prompt", [10**9]), ("prompt", [-1]), ("prompt", [1.5]), ("logprobs", 1000), ("best_of", 3),
                             ("suffix", " end")):
            self.refused(TEXT, {"prompt": PROMPT, field: value}, param=field)
        for field, value in (("messages", None), ("messages", []), ("messages", "x"), ("tools", 3), ("tool_choice", "required"),
                             ("chat_template_kwargs", 1)):
            self.refused(CHAT, {"messages": messages(PROMPT), field: value}, param=field)
        self.refused(CHAT, {"messages": messages(PROMPT), "response_format": {"type": "json_object"}}, param="response_format.type")
        self.refused(CHAT, {"messages": [{"role": "user"}]}, param="messages[0].content")
        self.refused(CHAT, {"messages": [{"content": "x"}]}, param="messages[0]")
        self.refused(CHAT, {"messages": messages(PROMPT), "stream_options": {"include_usage": "yes"}}, param="stream_options.include_usage")
        self.assertIn("not this", self.refused(CHAT, {"messages": messages("refuse")}, param="messages")["message"])

    def test_null_is_absent_and_unknown_is_ignored(self):
        nulls = {key: None for key in ("temperature", "top_p", "n", "max_tokens", "stop", "logit_bias", "seed", "stream", "tools", "response_format",
                                       "stream_options", "logprobs", "user", "presence_penalty")}
        body = {"messages": messages(PROMPT), "max_completion_tokens": 3, **nulls, "store": True, "metadata": {"a": "b"}, "service_tier": "auto"}
        self.assertEqual(self.server.json(CHAT, body)["usage"]["completion_tokens"], 3)

    def test_bodies_that_are_no_objects(self):
        for body in (b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"prompt": "a', b"[" * 100000, b'{"a":' * 200 + b"1" + b"}" * 200, b'{"prompt": "\\ud800"}',
                     b'{"prompt": "\xff"}', b'{"prompt": 1e999}', b'{"x": [' + b"[]," * 200000 + b"0]}",
                     json.dumps({f"k{i}": 1 for i in range(2000)}).encode()):
            status, _, text = self.server.request(TEXT, body)
            self.assertEqual(status, 400, body[:40])
            self.assertIn("error", json.loads(text))

    def test_models_and_paths_that_are_not_there(self):
        self.assertEqual(self.refused(TEXT, {"model": "gpt-9", "prompt": PROMPT}, status=404, param="model")["code"], "model_not_found")
        self.refused("/v1/models/none", None, status=404, param="model")
        for path in ("/", "/v1", "/v1/models/", "/etc/passwd", "/../../etc/passwd", "/v1/chat/completions/x"):
            self.assertEqual(self.server.request(path)[0], 404, path)
        status, headers, _ = self.server.request(TEXT)
        self.assertEqual((status, headers["Allow"]), (405, "POST"))
        self.assertEqual(self.server.request("/health", {})[0], 405)

    def test_what_does_not_fit_is_refused_with_both_numbers(self):
        ids = self.server.json("/tokenize", {"prompt": PROMPT})["tokens"]
        error = self.refused(TEXT, {"prompt": ids * 200}, param="prompt")
        self.assertEqual(error["code"], "context_length_exceeded")
        self.assertIn(str(len(ids) * 200), error["message"])
        self.assertIn("512", error["message"])
        got = self.server.json(TEXT, {"prompt": ids * 90, "max_tokens": 5000, "temperature": 0, "ignore_eos": True})
        self.assertEqual(got["choices"][0]["finish_reason"], "length")
        self.assertEqual(got["usage"]["total_tokens"], 513)  # the last token needs no place


class Http(ServeTest):
    arguments = ["--max-body", "100000", "--max-connections", "40"]

    def http(self, data, **options):
        head, _, body = self.server.raw(data, **options).partition(b"\r\n\r\n")
        return (int(head.split()[1]) if head else None), head.decode("latin-1"), body

    def post(self, body, headers="", version="1.1", path=TEXT):
        return f"POST {path} HTTP/{version}\r\nHost: localhost\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    def test_requests_that_no_two_servers_read_alike(self):
        body = json.dumps({"prompt": "a", "max_tokens": 1})
        two = f"POST {TEXT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nContent-Length: 3\r\n\r\n{body}"
        both = f"POST {TEXT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        for data in (two, both, "GET /health HTTP/1.1\r\nHost : localhost\r\n\r\n",
                     f"POST {TEXT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", f"POST {TEXT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1x\r\n\r\n",
                     "GET /health HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "GET /health\r\n\r\n", f"POST {TEXT} HTTP/1.1\r\nHost: localhost\r\n"
                     "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", "GET /\x01 HTTP/1.1\r\n\r\n"):
            status, head, _ = self.http(data.encode("latin-1"), seconds=5)
            self.assertIn(status, (400, None), (data, head))
            self.assertNotIn("keep-alive", head.lower())

    def test_a_chunked_body(self):
        body = json.dumps({"prompt": "a", "max_tokens": 1}).encode()
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:5], body[5:])) + b"0\r\n\r\n"
        data = f"POST {TEXT} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + chunks
        self.assertEqual(self.http(data)[0], 200)

    def test_requests_behind_each_other(self):
        one = self.post(json.dumps({"prompt": "a", "max_tokens": 2, "temperature": 0}))
        data = one + b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" + one.replace(b"Content-Length", b"Connection: close\r\nContent-Length")
        out = self.server.raw(data)
        self.assertEqual(out.count(b"HTTP/1.1 200 OK"), 3, out)
        self.assertLess(out.index(b"text_completion"), out.index(b'"status":"ok"'))

    def test_http_1_0_and_early_close(self):
        body = json.dumps({"prompt": "a", "max_tokens": 3, "stream": True})
        status, head, text = self.http(self.post(body, version="1.0"))
        self.assertEqual(status, 200)
        self.assertNotIn("chunked", head)
        self.assertTrue(text.endswith(b"data: [DONE]\n\n"), text)
        self.assertEqual(self.http(b"GET /health HTTP/1.0\r\n\r\n")[0], 200)

    def test_continue_is_answered(self):
        body = json.dumps({"prompt": "a", "max_tokens": 1})
        with socket.create_connection(self.server.address, timeout=20) as s:
            s.sendall(self.post(body, "Expect: 100-continue\r\n").removesuffix(body.encode()))
            self.assertIn(b"100 Continue", s.recv(1000))
            s.sendall(body.encode())
            self.assertIn(b"200 OK", s.recv(1000))

    def test_limits(self):
        self.assertEqual(self.http(self.post("x" * 100001))[0], 413)
        self.assertEqual(self.http(f"POST {TEXT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2**62}\r\n\r\n".encode(), seconds=5)[0], 413)
        self.assertEqual(self.http(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 20000 + b"\r\n\r\n")[0], 431)
        self.assertEqual(self.http(b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n")[0], 431)
        with_stops = {"prompt": "a", "stop": ["x"] * 65}
        self.refused(TEXT, with_stops, param="stop")
        self.refused(TEXT, {"prompt": "a", "stop": "x" * 5000}, param="stop")
        self.refused(TEXT, {"prompt": ["a"] * 1025}, param="prompt")

    def test_no_more_connections_than_allowed(self):
        before = self.server.open_files()
        sockets = [socket.create_connection(self.server.address) for _ in range(60)]
        try:
            time.sleep(0.3)
            self.assertLessEqual(self.server.open_files(), before + 41)
        finally:
            for s in sockets:
                s.close()
        self.server.wait_until(lambda: self.server.open_files() <= before + 1)
        self.assertEqual(self.server.json("/health"), {"status": "ok"})

    def test_a_client_that_goes_away_frees_its_place(self):
        long = {"prompt": PROMPT, "max_tokens": 400, "temperature": 1, "ignore_eos": True, "n": 30, "logprobs": 5}
        for stream in (True, False):
            gone = self.server.metric("llmserve_clients_gone_total")
            s = socket.create_connection(self.server.address)
            s.sendall(self.post(json.dumps({**long, "stream": stream})))
            if stream:
                self.assertTrue(s.recv(100))
            else:
                self.server.wait_until(lambda: self.server.metric("llmserve_running_requests") > 0)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
            self.server.wait_until(lambda: self.server.metric("llmserve_clients_gone_total") == gone + 1)
            self.server.wait_until(lambda: self.server.in_hand() == 0)

    def test_a_client_that_goes_away_behind_more_than_its_request(self):
        long = {"prompt": PROMPT, "max_tokens": 400, "temperature": 1, "ignore_eos": True, "n": 100, "logprobs": 5}
        for more in (b"\r\n", b"GET /hea", self.post("{}") * 50):
            gone = self.server.metric("llmserve_clients_gone_total")
            s = socket.create_connection(self.server.address)
            s.sendall(self.post(json.dumps(long)) + more)
            self.server.wait_until(lambda: self.server.metric("llmserve_running_requests") > 0)
            s.close()
            self.server.wait_until(lambda: self.server.metric("llmserve_clients_gone_total") == gone + 1)
            self.server.wait_until(lambda: self.server.in_hand() == 0)

    def test_requests_leave_no_memory_behind(self):
        # Each holds 60 KB as long as anything of it is kept.
        body = {"prompt": PROMPT, "max_tokens": 1, "stop": ["x" * 4000] * 15}
        grown = []
        for _ in range(3):
            before = self.server.resident_bytes()
            for stream in (True, False):
                for _ in range(150):
                    self.assertEqual(self.server.request(TEXT, {**body, "stream": stream})[0], 200)
            grown.append(self.server.resident_bytes() - before)
        self.assertLess(grown[-1], 4 << 20, grown)

    def test_a_slow_reader_holds_nobody_up(self):
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        slow.connect(self.server.address)
        body = {"prompt": PROMPT, "max_tokens": 400, "ignore_eos": True, "n": 8, "stream": True, "logprobs": 20, "temperature": 1}
        slow.sendall(self.post(json.dumps(body), "Connection: close\r\n"))
        for _ in range(3):
            self.assertEqual(self.server.json(TEXT, {"prompt": PROMPT, "max_tokens": 20})["usage"]["completion_tokens"], 20)
        self.server.wait_until(lambda: self.server.metric("llmserve_running_requests") == 0)
        out = b""
        while piece := slow.recv(1 << 20):
            out += piece
        slow.close()
        self.assertTrue(out.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"), out[-100:])
        self.assertEqual(out.count(b'"finish_reason":"length"'), 8)

    def test_pages_of_others(self):
        for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Origin": "null"}):
            self.assertEqual(self.server.request("/health", headers=headers)[0], 403, headers)
        self.assertEqual(self.server.request("/health", headers={"Origin": self.server.url})[0], 200)
        status, headers, _ = self.server.request("/health")
        self.assertIsNone(headers["Access-Control-Allow-Origin"])


class Keys(ServeTest):
    @classmethod
    def setUpClass(cls):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as keys:
            keys.write("# keys\nfirst-key\n\nsecond-key \n")
            keys.flush()
            cls.arguments = ["--api-key-file", keys.name, "--cors", "https://page.example", "--host", "0.0.0.0"]
            super().setUpClass()

    def test_keys(self):
        body = {"prompt": "a", "max_tokens": 1}
        for key in ("first-key", "second-key"):
            self.assertEqual(self.server.request(TEXT, body, headers={"Authorization": "Bearer " + key})[0], 200)
            self.assertEqual(self.server.request(TEXT, body, headers={"Authorization": "bearer " + key})[0], 200)
        for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer first-ke"}, {"Authorization": "Bearer first-key2"},
                        {"Authorization": "first-key"}, {"Authorization": "Bearer # keys"}):
            status, answer, text = self.server.request(TEXT, body, headers=headers)
            self.assertEqual((status, answer["WWW-Authenticate"]), (401, "Bearer"), headers)
            self.assertEqual(json.loads(text)["error"]["code"], "invalid_api_key")
        self.assertEqual(self.server.request("/health")[0], 200)
        self.assertEqual(self.server.request("/metrics")[0], 401)

    def test_cors(self):
        origin = {"Origin": "https://page.example"}
        status, headers, _ = self.server.request(CHAT, headers=origin, method="OPTIONS")
        self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (204, "https://page.example"))
        for path in ("/health", CHAT):  # errors too
            self.assertEqual(self.server.request(path, headers=origin)[1]["Access-Control-Allow-Origin"], "https://page.example")
        self.assertEqual(self.server.request(CHAT, headers={"Origin": "https://other.example"}, method="OPTIONS")[0], 403)


class Ends(unittest.TestCase):
    build: pathlib.Path

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="llmserve-test-")
        cls.plan = compile_demo(cls.build, cls.folder.name)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def start(self, server, **body):
        s = socket.create_connection(server.address)
        text = json.dumps({"prompt": PROMPT, "ignore_eos": True, "stream": True, "temperature": 1, **body})
        s.sendall(f"POST {TEXT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
        return s

    def rest(self, s):
        out = b""
        while piece := s.recv(1 << 20):
            out += piece
        s.close()
        return out

    def test_a_signal_lets_requests_end(self):
        server = Server(self.build, self.plan)
        idle = socket.create_connection(server.address)
        s = self.start(server, max_tokens=500, n=12, logprobs=5)
        first = s.recv(1000)
        server.process.send_signal(signal.SIGTERM)
        out = first + self.rest(s)
        self.assertEqual(out.count(b'"finish_reason":"length"'), 12)
        self.assertTrue(out.endswith(b"0\r\n\r\n"))
        self.assertEqual(server.process.wait(20), 0)
        self.assertEqual(idle.recv(10), b"")
        idle.close()
        with self.assertRaises(ConnectionError):
            socket.create_connection(server.address)

    def test_how_it_is_can_be_asked_while_it_ends(self):
        server = Server(self.build, self.plan)
        self.assertEqual(server.json("/ready"), {"status": "ready"})
        s = self.start(server, max_tokens=500, n=60)
        s.recv(100)
        server.process.send_signal(signal.SIGTERM)
        server.wait_until(lambda: "ending" in server.errors())
        late = socket.create_connection(server.address)  # asks nothing, and keeps nobody waiting
        status, _, text = server.request("/ready")
        self.assertEqual((status, json.loads(text)["error"]["message"]), (503, "the server is ending"))
        self.assertEqual(server.request("/health")[0], 200)
        self.assertGreater(server.in_hand(), 0)
        self.assertEqual(server.request(TEXT, {"prompt": PROMPT})[0], 503)
        out = self.rest(s)
        self.assertEqual(out.count(b'"finish_reason":"length"'), 60)
        self.assertEqual(server.process.wait(5), 0)
        self.assertEqual(late.recv(10), b"")
        late.close()

    def test_a_second_signal_ends_them(self):
        server = Server(self.build, self.plan)
        s = self.start(server, max_tokens=500, n=100, logprobs=20)
        s.recv(100)
        server.process.send_signal(signal.SIGINT)
        server.wait_until(lambda: "ending" in server.errors())
        server.process.send_signal(signal.SIGINT)
        self.assertEqual(server.process.wait(20), 130)
        s.close()

    def test_nobody_reads_what_it_logs(self):
        server = Server(self.build, self.plan)
        try:
            server.stop_reading()
            for path in (TEXT, "/nowhere", TEXT):
                server.request(path, {"prompt": PROMPT, "max_tokens": 2})
            self.assertEqual(server.json(TEXT, {"prompt": PROMPT, "max_tokens": 3})["usage"]["completion_tokens"], 3)
        finally:
            self.assertEqual(server.end(), 0)

    def test_a_full_queue_is_said(self):
        server = Server(self.build, self.plan, "--max-waiting", 4, "--max-seqs", 2)
        try:
            held = [self.start(server, max_tokens=500, n=2, logprobs=20) for _ in range(2)]
            for s in held:
                s.recv(100)
            for stream in (False, True):
                got = server.request(TEXT, {"prompt": PROMPT, "n": 5, "stream": stream})
                self.assertEqual((got[0], got[1]["Retry-After"]), (429, "1"))
                self.assertEqual(json.loads(got[2])["error"]["code"], "rate_limit_exceeded")
            got = server.request(TEXT, {"prompt": [PROMPT] * 4, "n": 2})  # never
            self.assertEqual((got[0], json.loads(got[2])["error"]["param"]), (400, "n"))
            for s in held:
                s.close()
            server.wait_until(lambda: server.in_hand() == 0)
            self.assertEqual(server.json(TEXT, {"prompt": PROMPT, "max_tokens": 3})["usage"]["completion_tokens"], 3)
        finally:
            self.assertEqual(server.end(), 0)

    def test_little_memory_takes_turns(self):
        server = Server(self.build, self.plan, "--max-seq-len", 128, "--memory", 8 << 20)
        try:
            body = {"prompt": PROMPT, "max_tokens": 100, "ignore_eos": True, "temperature": 1, "seed": 3, "n": 12}
            alone = [server.json(TEXT, {**body, "n": 1, "seed": 3 + i})["choices"][0]["text"] for i in range(12)]
            self.assertEqual([c["text"] for c in server.json(TEXT, body)["choices"]], alone)
        finally:
            self.assertEqual(server.end(), 0)

    def test_two_models(self):
        server = Server(self.build, self.plan, "--alias", "one", "--model", f"two={self.plan}")
        try:
            self.assertEqual([m["id"] for m in server.json("/v1/models")["data"]], ["one", "two"])
            self.assertEqual(len(re.findall(r"serving .* beside the weights", server.errors())), 2)
            body = {"prompt": PROMPT, "max_tokens": 5, "temperature": 0}
            texts = {server.json(TEXT, {"model": name, **body})["choices"][0]["text"] for name in ("one", "two")}
            self.assertEqual(len(texts), 1)
            self.assertEqual(server.request(TEXT, body)[0], 404)  # which one?
        finally:
            self.assertEqual(server.end(), 0)

    def test_what_it_does_not_start_with(self):
        def refused(*arguments, status=1):
            done = subprocess.run([str(self.build / "bin/llmserve"), *map(str, arguments)], stderr=subprocess.PIPE, text=True, timeout=60)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
            return done.stderr

        self.assertIn("--api-key-file", refused(self.plan, "--host", "0.0.0.0"))
        self.assertIn("/nowhere", refused("/nowhere"))
        self.assertIn("/nokeys", refused(self.plan, "--api-key-file", "/nokeys"))
        self.assertIn("NAME=PLAN", refused(self.plan, "--model", "x"))
        self.assertIn("two of this name", refused(self.plan, "--alias", "a", "--model", f"a={self.plan}"))
        self.assertIn("--port", refused(self.plan, "--port", "99999", status=2))
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            self.assertIn("in use", refused(self.plan, "--port", s.getsockname()[1]))


if __name__ == "__main__":
    ServeTest.build = Ends.build = pathlib.Path(sys.argv.pop(1)).resolve()
    del ServeTest
    unittest.main()
