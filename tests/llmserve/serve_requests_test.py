#!/usr/bin/env python3
"""Requests as programs that are not run here send them: serve_requests_test.py BUILD.

The shapes are written from these sources. No code of theirs is here:
- Dify: langgenius/dify-official-plugins at 7af22831a58ded846388b8de0c232b2b377a1055,
  models/openai_api_compatible/models/llm/llm.py; and the class below it, langgenius/dify-plugin-sdks at
  0021d0c95d25b79c951ea7342380920b399bbaf3, python/dify_plugin/interfaces/model/openai_compatible/llm.py.
- Open WebUI: open-webui/open-webui at 004a45f5824bd78635cdc39a071af98873fb50c2, backend/open_webui/routers/openai.py, and at
  05746a9960269ccc4faf7dc29cc189f43cb2c539, backend/open_webui/utils/payload.py. What its page adds for Open WebUI itself is
  sent as well: a server ignores it.
"""
import json
import pathlib
import sys
import tempfile
import unittest

from server import Server, compile_demo

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
NAME = "models/little/demo"  # names that a directory has are common
KEY = {"Authorization": "Bearer a-key"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "high"}}
PING = [{"role": "user", "content": "ping"}]


class Requests(unittest.TestCase):
    build: pathlib.Path

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="llmserve-requests-")
        plan = compile_demo(cls.build, cls.folder.name)
        keys = pathlib.Path(cls.folder.name) / "keys"
        keys.write_text("a-key\n")
        cls.server = Server(cls.build, plan, "--alias", NAME, "--api-key-file", keys)

    @classmethod
    def tearDownClass(cls):
        try:
            status = cls.server.end()
        finally:
            cls.folder.cleanup()
        assert status == 0, cls.server.errors()

    def post(self, path, body, headers=None, status=200):
        got, answered, text = self.server.request(path, body, headers={**KEY, **(headers or {})})
        self.assertEqual(got, status, text)
        return answered, text

    def whole(self, path, body, **options):
        return json.loads(self.post(path, body, **options)[1])

    def chunks(self, path, body, **options):
        """As both read streams: blocks between empty lines, comments left out, until [DONE]."""
        headers, text = self.post(path, body, **options)
        self.assertTrue(headers["Content-Type"].startswith("text/event-stream"))
        blocks = [b.strip() for b in text.decode().split("\n\n") if b.strip() and not b.strip().startswith(":")]
        self.assertEqual(blocks[-1], "data: [DONE]")
        return [json.loads(b.removeprefix("data:").lstrip()) for b in blocks[:-1]]

    def refused(self, body, param, word, path=CHAT):
        error = self.whole(path, body, status=400)["error"]
        self.assertEqual(error["param"], param, error)
        self.assertIn(word, error["message"])
        return error


class Dify(Requests):
    def test_credentials_are_validated(self):
        for path, kind, body in ((CHAT, "chat.completion", {"messages": PING}), (TEXT, "text_completion", {"prompt": "ping"})):
            got = self.whole(path, {"model": NAME, "max_tokens": 5, **body})
            self.assertEqual(got["object"], kind)
            # Where the provider is told to try a stream, and where it tries again otherwise.
            self.assertTrue(self.chunks(path, {"model": NAME, "max_tokens": 10, "stream": True, **body}))
            self.assertEqual(self.whole(path, {"model": NAME, "max_tokens": 5, "thinking": {"type": "disabled"}, **body})["object"], kind)
        got = self.whole(CHAT, {"model": NAME, "messages": PING, "max_completion_tokens": 16, "stream": False})
        self.assertLessEqual(got["usage"]["completion_tokens"], 16)
        # What its form shows of a wrong key or name is the status and the body.
        self.assertIn(b"API key", self.post(CHAT, {"model": NAME, "messages": PING}, {"Authorization": "Bearer other"}, status=401)[1])
        self.assertIn(NAME.encode(), self.post(CHAT, {"model": "gpt-9", "messages": PING}, status=404)[1])

    def test_a_chat_streams_with_its_usage(self):
        body = {"model": NAME, "stream": True, "temperature": 0.7, "top_p": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0, "max_tokens": 12,
                "stream_options": {"include_usage": True},
                "messages": [{"role": "system", "content": ""}, {"role": "user", "content": "Once upon a time"},
                             {"role": "assistant", "content": " there was a dog.", "tool_calls": []}, {"role": "user", "content": [{"type": "text", "text": " And"}]}],
                "stop": ["\nObservation:"], "user": "f9a1f7d0-5f1a-4a43-a1a4-0d9e6e1f2b11"}
        chunks = self.chunks(CHAT, body, headers={"Accept-Charset": "utf-8"})
        self.assertEqual(chunks[-1]["choices"], [])
        usage = chunks[-1]["usage"]
        self.assertGreater(usage["prompt_tokens"], 0)
        texts = [c["choices"][0]["delta"].get("content") or "" for c in chunks[:-1]]
        self.assertTrue("".join(texts))
        self.assertIsNotNone(chunks[-2]["choices"][0]["finish_reason"])
        self.assertTrue(all("error" not in c for c in chunks))
        # A system prompt that is empty is as none where the template writes nothing of it.
        seeded = {**body, "stream": False, "seed": 3}
        del seeded["stream_options"]
        without = {**seeded, "messages": seeded["messages"][1:]}
        self.assertEqual(*(self.whole(CHAT, b)["choices"][0]["message"]["content"] for b in (seeded, without)))

    def test_extended_compatibility(self):
        body = {"model": NAME, "stream": False, "max_tokens": 5, "messages": PING, "thinking": {"type": "disabled"}, "enable_thinking": False,
                "chat_template_kwargs": {"enable_thinking": False, "thinking": False}, "reasoning_format": "none", "web_search": True}
        self.assertEqual(self.whole(CHAT, body)["choices"][0]["message"]["role"], "assistant")

    def test_tools_and_functions(self):
        tool = {"type": "function", "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}, "required": []}}}
        body = {"model": NAME, "stream": True, "max_tokens": 5, "messages": PING}
        self.assertTrue(self.chunks(CHAT, {**body, "tools": [tool], "tool_choice": "auto"}))
        self.assertTrue(self.chunks(CHAT, {**body, "tools": []}))
        self.refused({**body, "functions": [tool["function"]]}, "functions", "not supported")
        self.refused({**body, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}}, "response_format.type", "text")
        self.assertTrue(self.chunks(CHAT, {**body, "response_format": {"type": "text"}}))

    def test_what_is_no_text(self):
        text = {"type": "text", "text": "What is this?"}
        document = {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "document"}}
        for part, name in ((IMAGE, "image_url"), (document, "file")):
            for stream in (True, False):
                body = {"model": NAME, "stream": stream, "max_tokens": 5, "messages": [{"role": "system", "content": "You see."}, {"role": "user", "content": [text, part]}]}
                self.refused(body, "messages[1].content[1]", name)


class OpenWebUI(Requests):
    HEADERS = {"X-OpenWebUI-User-Name": "A%20User", "X-OpenWebUI-User-Id": "1", "X-OpenWebUI-User-Email": "user@example.org", "X-OpenWebUI-User-Role": "admin",
               "X-OpenWebUI-Chat-Id": "5b0c2a1e-7f43-4a3b-9a52-df4c1f0d3c55"}

    def test_models_are_listed(self):
        models = json.loads(self.server.request("/v1/models", headers={**KEY, **self.HEADERS})[2])
        self.assertEqual(models["object"], "list")
        self.assertEqual([m["id"] for m in models["data"]], [NAME])
        self.assertEqual({type(m[key]) for m in models["data"] for key in ("id", "object", "owned_by")}, {str})
        self.assertEqual(json.loads(self.server.request("/v1/models/" + NAME, headers=KEY)[2])["id"], NAME)
        quoted = NAME.replace("/", "%2F")
        self.assertEqual(json.loads(self.server.request("/v1/models/" + quoted, headers=KEY)[2])["id"], NAME)
        status, _, text = self.server.request("/v1/models")
        self.assertEqual((status, "error" in json.loads(text)), (401, True))

    def test_a_chat(self):
        body = {"stream": True, "model": NAME, "messages": [{"role": "user", "content": "Once upon a time"}], "stream_options": {"include_usage": True},
                "chat_id": "5b0c2a1e-7f43-4a3b-9a52-df4c1f0d3c55", "session_id": "x3pVq", "id": "d3a1", "metadata": {"chat_id": "5b0c", "message_id": "d3a1"},
                "features": {"web_search": False}, "variables": {"{{USER_NAME}}": "A User"}, "background_tasks": {"title_generation": True},
                "temperature": 0.8, "top_p": 0.9, "max_tokens": 8, "frequency_penalty": 0.5, "seed": 42, "stop": ["###"], "reasoning": {"effort": "low"}}
        chunks = self.chunks(CHAT, body, headers=self.HEADERS)
        self.assertEqual(chunks[-1]["usage"]["completion_tokens"], 8)
        again = self.chunks(CHAT, body, headers=self.HEADERS)
        texts = ["".join(c["choices"][0]["delta"].get("content") or "" for c in of if c["choices"]) for of in (chunks, again)]
        self.assertEqual(texts[0], texts[1])
        self.assertEqual({c["object"] for c in chunks}, {"chat.completion.chunk"})

    def test_tasks_beside_a_chat(self):
        # Titles and tags: no stream, one message, a bound in either name.
        for bound in ("max_tokens", "max_completion_tokens"):
            body = {"model": NAME, "messages": [{"role": "user", "content": "### Task:\nA title.\n"}], "stream": False, bound: 7, "metadata": {"task": "title_generation"}}
            got = self.whole(CHAT, body, headers=self.HEADERS)
            self.assertLessEqual(got["usage"]["completion_tokens"], 7)
            self.assertEqual(got["model"], NAME)

    def test_the_user_may_be_an_object(self):
        body = {"model": NAME, "messages": PING, "max_tokens": 2, "user": {"name": "A", "id": "1", "email": "a@example.org", "role": "user"}}
        self.assertEqual(self.whole(CHAT, body)["object"], "chat.completion")

    def test_parts_with_cache_control(self):
        plain = {"model": NAME, "max_tokens": 6, "seed": 2, "messages": [{"role": "user", "content": "Once upon a time"}]}
        part = {"type": "text", "text": "Once upon a time", "cache_control": {"type": "ephemeral"}}
        parts = {**plain, "messages": [{"role": "user", "content": [part]}]}
        self.assertEqual(*(self.whole(CHAT, b)["choices"][0]["message"] for b in (plain, parts)))

    def test_images(self):
        body = {"model": NAME, "stream": True, "messages": [{"role": "user", "content": [{"type": "text", "text": "What?"}, IMAGE]}], "chat_id": "5b0c"}
        self.refused(body, "messages[0].content[1]", "image_url")


if __name__ == "__main__":
    Requests.build = pathlib.Path(sys.argv.pop(1)).resolve()
    del Requests
    unittest.main()
