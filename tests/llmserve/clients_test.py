#!/usr/bin/env python3
"""llmserve under clients that people use, unchanged, from PyPI (get_clients): clients_test.py BUILD.

Exit status 77: they are not installed.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from server import Server, compile_demo

CLIENTS = pathlib.Path(os.environ.get("LLMC_CLIENTS") or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "llmc-clients")
PROMPT = "Once upon a time"
GREEDY = {"temperature": 0, "max_tokens": 24}

# A task of our own, so that nothing is downloaded: which of two goes on better, and a text's likelihood.
TASKS = {
    "choices.yaml": """
task: choices
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{text}}"
doc_to_target: 0
doc_to_choice: [" time", " xylophone"]
target_delimiter: ""
metric_list: [{metric: acc}]
""",
    "until.yaml": """
task: until
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: generate_until
doc_to_text: "{{text}}"
doc_to_target: "{{text}}"
generation_kwargs: {until: ["."], max_gen_toks: 20, do_sample: false}
metric_list: [{metric: bleu}]
""",
}


class Clients(unittest.TestCase):
    build: pathlib.Path

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="llmserve-clients-")
        cls.plan = compile_demo(cls.build, cls.folder.name)
        cls.server = Server(cls.build, cls.plan, "--alias", "demo")
        cls.url = cls.server.url + "/v1"

    @classmethod
    def tearDownClass(cls):
        try:
            status, errors = cls.server.end(), cls.server.errors()
        finally:
            cls.folder.cleanup()
        assert status == 0, errors

    def want(self, **more):
        return self.server.json("/v1/completions", {"prompt": PROMPT, **GREEDY, **more})["choices"][0]

    def run_program(self, name, *arguments, **environment):
        done = subprocess.run([str(CLIENTS / "bin" / name), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600,
                              env={**os.environ, **environment})
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def test_openai(self):
        import openai
        client = openai.OpenAI(base_url=self.url, api_key="none", max_retries=0)
        self.assertEqual([m.id for m in client.models.list()], ["demo"])
        self.assertEqual(client.models.retrieve("demo").id, "demo")
        messages = [{"role": "user", "content": PROMPT}]
        chat = client.chat.completions.create(model="demo", messages=messages, logprobs=True, top_logprobs=3, **GREEDY)
        text = chat.choices[0].message.content
        self.assertEqual(chat.usage.completion_tokens, 24)
        self.assertEqual("".join(t.token for t in chat.choices[0].logprobs.content).strip(), text.strip())
        self.assertTrue(all(t.top_logprobs[0].logprob == t.logprob for t in chat.choices[0].logprobs.content))
        with client.chat.completions.stream(model="demo", messages=messages, stop=text[-8:], **GREEDY) as stream:
            final = stream.get_final_completion()
        self.assertEqual(final.choices[0].message.content, text[:text.index(text[-8:])])
        chunks = list(client.chat.completions.create(model="demo", messages=messages, stream=True, stream_options={"include_usage": True}, **GREEDY))
        self.assertEqual("".join(c.choices[0].delta.content or "" for c in chunks if c.choices), text)
        self.assertEqual(chunks[-1].usage.completion_tokens, 24)
        completion = client.completions.create(model="demo", prompt=PROMPT, logprobs=2, echo=True, **GREEDY)
        self.assertEqual(completion.choices[0].text, PROMPT + self.want()["text"])
        self.assertEqual(len(completion.choices[0].logprobs.tokens), len(completion.choices[0].logprobs.text_offset))
        pieces = client.completions.create(model="demo", prompt=PROMPT, stream=True, **GREEDY)
        self.assertEqual("".join(p.choices[0].text for p in pieces), self.want()["text"])
        with self.assertRaises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="demo", messages=messages, temperature=-1)
        self.assertEqual(caught.exception.param, "temperature")
        with self.assertRaises(openai.NotFoundError):
            client.chat.completions.create(model="gpt-9", messages=messages)

    def test_langchain(self):
        from langchain_openai import ChatOpenAI
        model = ChatOpenAI(model="demo", base_url=self.url, api_key="none", temperature=0, max_tokens=24, max_retries=0)
        answer = model.invoke(PROMPT)
        self.assertEqual("".join(piece.content for piece in model.stream(PROMPT)), answer.content)
        self.assertEqual(answer.response_metadata["finish_reason"], "length")
        self.assertEqual(answer.usage_metadata["output_tokens"], 24)
        self.assertEqual(len(model.batch([PROMPT, "The little dog", "A girl"])), 3)

    def test_lm_eval(self):
        folder = pathlib.Path(self.folder.name) / "tasks"
        folder.mkdir()
        data = folder / "data.jsonl"
        data.write_text("".join(json.dumps({"text": text}) + "\n" for text in (PROMPT[:-5], "Tom and Ben had a good", "One day, once upon a")))
        for name, text in TASKS.items():
            (folder / name).write_text(text.replace("DATA", str(data)))
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "cache"), "HF_HOME": str(folder / "home")}
        from transformers import AutoTokenizer
        self.assertTrue(AutoTokenizer.from_pretrained(pathlib.Path(self.folder.name) / "model"))
        common = f"model=demo,num_concurrent=4,max_retries=1,tokenizer={self.folder.name}/model"
        out = folder / "out"
        self.run_program("lm_eval", "--model", "local-completions", "--model_args", f"base_url={self.url}/completions,{common},tokenizer_backend=huggingface",
                         "--tasks", "choices,until", "--include_path", folder, "--output_path", out, "--log_samples", **offline)
        samples = {task: [json.loads(line) for f in out.rglob(f"samples_{task}_*.jsonl") for line in f.read_text().splitlines()] for task in ("choices", "until")}
        self.assertEqual(len(samples["choices"]), 3)
        for sample in samples["choices"]:
            text = sample["doc"]["text"]
            for choice, response in zip((" time", " xylophone"), sample["filtered_resps"]):
                # It sends ids, without a token that begins a text.
                whole, context = (self.server.json("/tokenize", {"prompt": t, "add_special_tokens": False})["tokens"] for t in (text + choice, text))
                got = self.server.json("/v1/completions", {"prompt": whole, "max_tokens": 0, "echo": True, "logprobs": 1})["choices"][0]["logprobs"]
                self.assertAlmostEqual(float(response[0]), sum(got["token_logprobs"][len(context):]), places=4)
        for sample in samples["until"]:
            ids = self.server.json("/tokenize", {"prompt": sample["doc"]["text"], "add_special_tokens": False})["tokens"]
            got = self.server.json("/v1/completions", {"prompt": ids, "max_tokens": 20, "stop": ["."], "temperature": 0})
            self.assertEqual(sample["resps"][0][0], got["choices"][0]["text"])
        self.run_program("lm_eval", "--model", "local-chat-completions", "--model_args", f"base_url={self.url}/chat/completions,{common}",
                         "--tasks", "until", "--include_path", folder, "--apply_chat_template", **offline)

    def test_schemathesis(self):
        self.run_program("st", "run", self.server.url + "/openapi.json", "--phases", "examples,coverage,fuzzing", "--max-examples", 15, "--seed", 1,
                         "--exclude-checks", "unsupported_method,positive_data_acceptance", "--generation-deterministic", "--suppress-health-check", "all", "--request-timeout", 60)


if __name__ == "__main__":
    python = CLIENTS / "bin/python"
    if not (CLIENTS / "versions").exists():
        print(f"skipped: {CLIENTS} is not there (tests/llmserve/get_clients)")
        sys.exit(77)
    if pathlib.Path(sys.prefix).resolve() != CLIENTS.resolve():
        os.execv(python, [str(python), *sys.argv])
    Clients.build = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
