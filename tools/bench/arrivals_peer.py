#!/usr/bin/env python3
"""Replays a trace of requests through llama.cpp's server, as `llmbench --arrivals` does through our engine.

    cd tools/bench
    python3 arrivals_peer.py MODEL.gguf arrivals.jsonl --batch 8 --threads 2 --context 1024 --vocab-size 49152

With --url http://127.0.0.1:8080 in place of MODEL, through that server's /v1/completions: llmserve, or another of OpenAI's API.

Needs xllamacpp (PyPI), which has llama.cpp's server inside. MODEL has a tokenizer, since the server turns every token into text;
prompts are ids, the same as ours. One line of JSON, with llmbench's names: seconds, tok_s, tokens, ttft_ms, per_token_ms.
"""

import argparse
import http.client
import json
import math
import threading
import time
import urllib.parse


def prompt_ids(request, number, vocab_size):
    """As tools/llmbench/arrivals.cpp: promptOf()."""
    ids = []
    for i in range(request["prompt"]):
        text = 0 if i < request.get("prefix", 0) else number + 1
        mixed = ((text * 1_000_003 + i) * 0x9E3779B97F4A7C15 & (1 << 64) - 1) >> 33
        ids.append(mixed % vocab_size)
    return ids


def percentiles(values):
    values = sorted(values)
    return {f"p{p}": 1e3 * values[max(math.ceil(p / 100 * len(values)), 1) - 1] if values else 0 for p in (50, 95, 99)}


class LlamaCpp:
    """llama.cpp's own endpoint."""
    path = "/completion"

    @staticmethod
    def body(ids, tokens):
        return {"prompt": ids, "n_predict": tokens, "temperature": 0, "ignore_eos": True, "stream": True, "cache_prompt": True, "return_tokens": True}

    @staticmethod
    def read(told):
        """(whether a token has come, how many in all where that is told)"""
        if told.get("stop"):
            return False, told["tokens_predicted"]
        return bool(told.get("tokens")), None  # bytes that are no whole character yet come with the next token


class OpenAi:
    """OpenAI's completions, which say how many tokens there were in the last event."""
    path = "/v1/completions"

    @staticmethod
    def body(ids, tokens):
        return {"prompt": ids, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}}

    @staticmethod
    def read(told):
        usage = told.get("usage")
        return bool(told["choices"] and told["choices"][0]["text"]), usage and usage["completion_tokens"]


class Request(threading.Thread):
    """One request, sent when its time has come."""

    def __init__(self, address, api, ids, tokens, due):
        super().__init__()
        self.address, self.api, self.ids, self.wanted, self.due = address, api, ids, tokens, due
        self.first = self.last = None
        self.tokens, self.error = 0, ""

    def run(self):
        time.sleep(max(self.due - time.monotonic(), 0))
        try:
            connection = http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=3600)
            connection.request("POST", self.api.path, json.dumps(self.api.body(self.ids, self.wanted)), {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                raise RuntimeError(f"status {response.status}: {response.read(200)}")
            for line in response:
                if not line.startswith(b"data: ") or line.strip() == b"data: [DONE]":
                    continue
                came, tokens = self.api.read(json.loads(line[6:]))
                if came:
                    self.last = time.monotonic()
                    self.first = self.first or self.last
                self.tokens = tokens or self.tokens
            if self.tokens != self.wanted:
                raise RuntimeError(f"{self.tokens} tokens in place of {self.wanted}")
        except Exception as e:  # told by the main thread
            self.error = str(e)


def replay(address, api, trace, vocab_size, speed):
    start = time.monotonic() + 0.05
    requests = [Request(address, api, prompt_ids(r, i, vocab_size), r["tokens"], start + r.get("time", 0) / speed) for i, r in enumerate(trace)]
    for r in requests:
        r.start()
    for r in requests:
        r.join()
        if r.error:
            raise SystemExit(f"arrivals_peer: error: {r.error}")
    seconds = max(r.last for r in requests) - requests[0].due
    tokens = sum(r.tokens for r in requests)
    return {"requests": len(requests), "seconds": seconds, "tok_s": tokens / seconds, "tokens": tokens,
            "ttft_ms": percentiles([r.first - r.due for r in requests]),
            "per_token_ms": percentiles([(r.last - r.first) / (r.tokens - 1) for r in requests if r.tokens > 1])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("trace")
    parser.add_argument("--url", help="of a server that runs already")
    parser.add_argument("--batch", type=int, default=8, help="sequences at once")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--context", type=int, default=1024, help="tokens of each sequence")
    parser.add_argument("--vocab-size", type=int, required=True)
    args = parser.parse_args()

    if (args.model is None) == (args.url is None):
        parser.error("a MODEL, or --url of a server")
    if args.url:
        api, address, about = OpenAi, args.url, {"engine": args.url}
    else:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = args.model
        params.n_parallel, params.n_ctx = args.batch, args.batch * args.context
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = args.threads
        params.n_batch = params.n_ubatch = 512
        params.port = 0
        server = xllamacpp.Server(params)
        api, address = LlamaCpp, server.listening_address
        about = {"engine": "llama.cpp", "version": xllamacpp.__version__, "sequences": args.batch, "threads": args.threads}
    with open(args.trace) as file:
        trace = sorted((json.loads(line) for line in file if line.strip()), key=lambda r: r.get("time", 0))
    address = urllib.parse.urlparse(address)
    warm_up = Request(address, api, [1, 2, 3], 2, 0)
    warm_up.run()
    if warm_up.error:
        raise SystemExit(f"arrivals_peer: error: {warm_up.error}")
    print(json.dumps({**about, **replay(address, api, trace, args.vocab_size, 1)}), flush=True)


if __name__ == "__main__":
    main()
