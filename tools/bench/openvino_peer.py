#!/usr/bin/env python3
"""Measures OpenVINO on a model's shape with random weights: a peer of tools/bench/run.

    python openvino_peer.py --export HF_DIR MODEL_DIR    once: writes what the other form reads
    python openvino_peer.py MODEL_DIR --threads 2 --prefill 512 --repeat 3

Needs openvino, and for --export optimum-intel. The model is optimum's export with its KV cache as state, the one
OpenVINO GenAI runs, and as GenAI does, logits are computed of the last token only. The KV cache is kept in f16: the
default would be 8 bits. The last line printed is JSON: the samples, in tokens per second, and the version. The first
round warms up and is not among them.
"""

import argparse
import json
import pathlib
import time


def export(source, target):
    from optimum.intel import OVModelForCausalLM

    model = OVModelForCausalLM.from_pretrained(source, export=True, load_in_8bit=False, compile=False)
    model.save_pretrained(target)


def keep_last_logits(model):
    """Cuts the input of the last product down to its last row."""
    import numpy
    from openvino import opset13

    product = model.output("logits").get_node().input_value(0).get_node()
    while product.get_type_name() != "MatMul":
        product = product.input_value(0).get_node()
    last = opset13.gather(product.input_value(0), numpy.array([-1]), numpy.array(1))
    product.input(0).replace_source_output(last.output(0))
    model.validate_nodes_and_infer_types()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=pathlib.Path)
    parser.add_argument("--export", nargs=2, metavar=("HF_DIR", "MODEL_DIR"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prefill", type=int, default=0)
    parser.add_argument("--decode", type=int, default=0)
    parser.add_argument("--depth", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    if args.export:
        export(*args.export)
        return

    import numpy
    import openvino

    core = openvino.Core()
    model = core.read_model(args.model / "openvino_model.xml")
    vocab = model.output("logits").get_partial_shape()[2].get_length()
    keep_last_logits(model)
    settings = {"INFERENCE_NUM_THREADS": args.threads, "PERFORMANCE_HINT": "LATENCY", "KV_CACHE_PRECISION": "f16"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def step(start, count):
        request.infer({
            "input_ids": (numpy.arange(start, start + count)[None] * 7919) % vocab,
            "attention_mask": numpy.ones((1, start + count), numpy.int64),
            "position_ids": numpy.arange(start, start + count)[None],
            "beam_idx": numpy.zeros(1, numpy.int32),
        })

    samples = []
    for _ in range(1 + args.repeat):
        request.reset_state()
        context = 0
        if args.decode:  # one token before, so that the loop is of steps with a context
            context = args.depth or 1
            step(0, context)
        start = time.perf_counter()
        if args.prefill:
            step(0, args.prefill)
        for i in range(args.decode):
            step(context + i, 1)
        samples.append((args.prefill or args.decode) / (time.perf_counter() - start))
    print(json.dumps({"version": openvino.__version__, "samples_tok_s": samples[1:]}))


if __name__ == "__main__":
    main()
