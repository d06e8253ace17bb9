#!/usr/bin/env python3
"""Replays a trace of requests through llama.cpp's server, as `llmbench --arrivals` does through our engine.

    cd tools/bench
    python3 arrivals_peer.py MODEL.gguf arrivals.jsonl --batch 8 --threads 2 --context 1024 --vocab-size 49152

Needs xllamacpp (PyPI), which has the server inside. MODEL has a tokenizer, since the server turns every token into text;
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


class Request(threading.Thread):
    """One request, sent when its time has come."""

    def __init__(self, address, ids, tokens, due):
        super().__init__()
        self.address, self.ids, self.wanted, self.due = address, ids, tokens, due
        self.first = self.last = None
        self.tokens, self.error = 0, ""

    def run(self):
        body = {"prompt": self.ids, "n_predict": self.wanted, "temperature": 0, "ignore_eos": True, "stream": True, "cache_prompt": True,
                "return_tokens": True}
        time.sleep(max(self.due - time.monotonic(), 0))
        try:
            connection = http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=3600)
            connection.request("POST", "/completion", json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                raise RuntimeError(f"status {response.status}: {response.read(200)}")
            for line in response:
                if not line.startswith(b"data: ") or line.strip() == b"data: [DONE]":
                    continue
                told = json.loads(line[6:])
                if told.get("stop"):
                    self.tokens = told["tokens_predicted"]
                elif told.get("tokens"):  # bytes that are no whole character yet come with the next token
                    self.last = time.monotonic()
                    self.first = self.first or self.last
            if self.tokens != self.wanted:
                raise RuntimeError(f"{self.tokens} tokens in place of {self.wanted}")
        except Exception as e:  # told by the main thread
            self.error = str(e)


def replay(address, trace, vocab_size, speed):
    start = time.monotonic() + 0.05
    requests = [Request(address, prompt_ids(r, i, vocab_size), r["tokens"], start + r.get("time", 0) / speed) for i, r in enumerate(trace)]
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
    parser.add_argument("model")
    parser.add_argument("trace")
    parser.add_argument("--batch", type=int, default=8, help="sequences at once")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--context", type=int, default=1024, help="tokens of each sequence")
    parser.add_argument("--vocab-size", type=int, required=True)
    args = parser.parse_args()

    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = args.model
    params.n_parallel, params.n_ctx = args.batch, args.batch * args.context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = args.threads
    params.n_batch = params.n_ubatch = 512
    params.port = 0
    server = xllamacpp.Server(params)
    with open(args.trace) as file:
        trace = sorted((json.loads(line) for line in file if line.strip()), key=lambda r: r.get("time", 0))
    address = urllib.parse.urlparse(server.listening_address)
    warm_up = Request(address, [1, 2, 3], 2, 0)
    warm_up.run()
    if warm_up.error:
        raise SystemExit(f"arrivals_peer: error: {warm_up.error}")
    result = replay(address, trace, args.vocab_size, 1)
    print(json.dumps({"engine": "llama.cpp", "version": xllamacpp.__version__, "sequences": args.batch, "threads": args.threads, **result}), flush=True)


if __name__ == "__main__":
    main()
