#!/usr/bin/env python3
"""Writes tests/golden/ggml_blocks.gguf: blocks of ggml's quantised types and the values they hold.

    python make_ggml_blocks.py

Needs gguf (0.19.0) and numpy. Not part of the build. Of each type there are a tensor called for it, with a block in
each row, and TYPE.values in F32: what gguf's own dequantize() makes of it. The blocks: random ones, one with all bits
set, one of zeros; their f16 scales and minimums are of either sign, zero, denormal and the largest there are. Scales
that are powers of two have the least, the largest and ordinary exponents.
"""
import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

# Where a block has f16 scales and minimums.
FLOATS = {
    Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0], Type.Q2_K: [80, 82],
    Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208], Type.IQ4_NL: [0], Type.IQ4_XS: [0],
}
# Where it has exponents instead; those of the blocks below.
EXPONENTS = {Type.MXFP4: 0}
BLOCK_EXPONENTS = [121, 118, 1, 0, 254, 2, 255]
ORDINARY, NEGATIVE, DENORMAL, LARGEST = 0.0173, -0.113, 3 * 2.0**-24, 65504.0
# Of each block: what its bytes are, its scale, its minimum.
BLOCKS = [
    ("random", ORDINARY, 0.0421), ("random", NEGATIVE, ORDINARY), ("random", DENORMAL, -DENORMAL),
    ("random", 0.0, NEGATIVE), ("ones", ORDINARY, NEGATIVE), ("zeros", -0.0, 0.0), ("random", LARGEST, LARGEST),
]


def blocks(kind, rng):
    size = gguf.GGML_QUANT_SIZES[kind][1]
    out = np.empty((len(BLOCKS), size), np.uint8)
    for row, (fill, scale, minimum), exponent in zip(out, BLOCKS, BLOCK_EXPONENTS):
        row[:] = rng.integers(0, 256, size) if fill == "random" else 255 if fill == "ones" else 0
        if kind in EXPONENTS:
            row[EXPONENTS[kind]] = exponent
        for at, value in zip(FLOATS.get(kind, ()), (scale, minimum)):
            row[at:at + 2] = np.frombuffer(np.float16(value).tobytes(), np.uint8)
    return out


def main():
    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(pathlib.Path(__file__).with_name("ggml_blocks.gguf"), "none")
    for kind in [*FLOATS, *EXPONENTS]:
        stored = blocks(kind, rng)
        writer.add_tensor(kind.name.lower(), stored, raw_dtype=kind)
        writer.add_tensor(kind.name.lower() + ".values", gguf.dequantize(stored, kind).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
