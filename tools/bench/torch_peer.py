#!/usr/bin/env python3
"""Measures PyTorch on a model's shape with random weights: a peer of tools/bench/run.

    python torch_peer.py models/llama-3.2-1b.json --dtype bf16 --threads 2 --prefill 512 --repeat 3 [--compile]

Needs torch and transformers. The model is Transformers' own class. Eager: as it is, with a growing KV cache. --compile:
torch.compile over the whole step, with a cache of fixed size for decode. The last line printed is JSON: the samples, in
tokens per second, and the versions. Rounds that warm up (and compile, again where a guard fails) are not among them.
"""

import argparse
import json
import time

import torch
import transformers


def build(path, dtype):
    """The model of a config with random weights, made in place: initialising 7 billion parameters as for training
    would take minutes."""
    config = transformers.AutoConfig.from_pretrained(path)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)
    model = model.to_empty(device="cpu").eval()
    model.tie_weights()
    model.model.rotary_emb = type(model.model.rotary_emb)(config)  # its table is computed when it is made
    block = torch.empty(1 << 20).uniform_(-0.05, 0.05, generator=torch.Generator().manual_seed(1)).to(dtype)
    for name, parameter in model.named_parameters():
        flat = parameter.data.view(-1)
        if parameter.dim() == 1:
            flat.fill_(1)
            continue
        for start in range(0, flat.numel(), block.numel()):
            part = flat[start : start + block.numel()]
            part.copy_(block[: part.numel()])
    return config, model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--dtype", choices=("f32", "f16", "bf16"), required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prefill", type=int, default=0)
    parser.add_argument("--decode", type=int, default=0)
    parser.add_argument("--depth", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    dtype = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[args.dtype]
    config, model = build(args.config, dtype)
    forward = torch.compile(model.forward, dynamic=False) if args.compile else model.forward
    count = args.prefill or args.decode
    context = args.depth if args.decode else 0

    def ids(start, n):
        return (torch.arange(start, start + n) * 7919 % config.vocab_size).view(1, n)

    fixed = transformers.StaticCache(config=config, max_cache_len=context + count + 1) if args.compile else None
    warm_up = 3 if args.compile else 1
    samples = []
    with torch.inference_mode():
        for _ in range(warm_up + args.repeat):
            if fixed:
                fixed.reset()
            past = fixed or transformers.DynamicCache(config=config)
            if args.decode:  # one token before, so that the loop is of steps with a context
                model(ids(0, context or 1), past_key_values=past, logits_to_keep=1)
            start = time.perf_counter()
            if args.prefill:
                forward(ids(0, count), past_key_values=past, logits_to_keep=1)
            for i in range(args.decode):
                forward(ids(context + i, 1), past_key_values=past, logits_to_keep=1)
            samples.append(count / (time.perf_counter() - start))
    version = f"{torch.__version__}, transformers {transformers.__version__}"
    print(json.dumps({"version": version, "samples_tok_s": samples[warm_up:]}))


if __name__ == "__main__":
    main()
