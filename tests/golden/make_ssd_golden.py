#!/usr/bin/env python3
"""Writes tests/golden/ssd.json: what Transformers' Mamba-2 makes of a text in its state space layer.

    python make_ssd_golden.py

Needs torch and transformers; the versions used are in the file. Not part of the build. `y` and `state` are those of
mamba2_chunk_scan, with time steps brought to [from, to]; `free_y` and `free_state` those of
mamba2_selective_state_update, token by token, which knows no bounds. Both in float32; `float32_error` is the largest
difference of each from the script's own copy of the recurrence in float64. States are [heads, state_size, head_dim].
"""
import json
import pathlib

import torch
import transformers
from transformers.models.mamba2 import modeling_mamba2 as mamba2

HEADS, GROUPS, HEAD_DIM, STATE_SIZE, TOKENS = 4, 2, 20, 12, 7
FROM, TO = 0.25, 1.5


def recurrence(x, b, c, dt, a, d):
    """In the type of its arguments; dt as it is used."""
    b, c = (t.repeat_interleave(HEADS // GROUPS, dim=1) for t in (b, c))
    state = torch.zeros(HEADS, STATE_SIZE, HEAD_DIM, dtype=x.dtype)
    y = torch.zeros_like(x)
    for t in range(TOKENS):
        state = state * (a * dt[t]).exp()[:, None, None] + torch.einsum("hn,hp->hnp", b[t], dt[t][:, None] * x[t])
        y[t] = torch.einsum("hn,hnp->hp", c[t], state) + d[:, None] * x[t]
    return y, state


def main():
    torch.manual_seed(7)
    xbc = torch.empty(TOKENS, HEADS * HEAD_DIM + 2 * GROUPS * STATE_SIZE).uniform_(-1.5, 1.5)
    dt, bias = torch.empty(TOKENS, HEADS).uniform_(-2, 3), torch.empty(HEADS).uniform_(-1, 1)
    a_log = torch.empty(HEADS).uniform_(0.05, 4).log()
    d = torch.empty(HEADS).uniform_(-1, 1)
    x, b, c = xbc.split([HEADS * HEAD_DIM, GROUPS * STATE_SIZE, GROUPS * STATE_SIZE], dim=1)
    x, b, c = x.view(TOKENS, HEADS, HEAD_DIM), b.view(TOKENS, GROUPS, -1), c.view(TOKENS, GROUPS, -1)
    a = -a_log.exp()
    y, state = mamba2.mamba2_chunk_scan(
        x[None], dt[None], a, b[None], c[None], chunk_size=4, D=d, dt_bias=bias, dt_softplus=True,
        dt_limit=(FROM, TO), return_final_states=True)
    free, free_y = torch.zeros(1, HEADS, HEAD_DIM, STATE_SIZE), []
    for t in range(TOKENS):
        free_y.append(mamba2.mamba2_selective_state_update(
            free, x[t][None], dt[t][None, :, None].expand(-1, -1, HEAD_DIM),
            a[:, None, None].expand(-1, HEAD_DIM, STATE_SIZE), b[t][None], c[t][None],
            d[:, None].expand(-1, HEAD_DIM), dt_bias=bias[:, None].expand(-1, HEAD_DIM), dt_softplus=True))
    seen = {"y": y[0], "state": state[0].transpose(1, 2), "free_y": torch.cat(free_y),
            "free_state": free[0].transpose(1, 2)}
    time = torch.nn.functional.softplus((dt + bias).double())
    bounded = time.clamp(FROM, TO)
    assert (bounded == FROM).any() and (bounded == TO).any()
    wide = [t.double() for t in (x, b, c)]
    exact = dict(zip(seen, recurrence(*wide, bounded, -a_log.double().exp(), d.double()) +
                     recurrence(*wide, time, -a_log.double().exp(), d.double())))
    error = {name: (seen[name].double() - exact[name]).abs().max().item() for name in seen}
    assert max(error.values()) < 1e-5, error
    golden = {"made_with": {"transformers": transformers.__version__, "torch": torch.__version__},
              "float32_error": error, "heads": HEADS, "groups": GROUPS, "head_dim": HEAD_DIM,
              "state_size": STATE_SIZE, "from": FROM, "to": TO, "xbc": xbc, "dt": dt, "a": a_log, "dt_bias": bias,
              "d": d, **seen}
    # Nine digits tell any two floats apart.
    text = json.dumps({k: v.flatten().tolist() if torch.is_tensor(v) else v for k, v in golden.items()})
    numbers = json.loads(text, parse_float=lambda s: float(f"{float(s):.9g}"))
    out = pathlib.Path(__file__).parent / "ssd.json"
    out.write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in numbers.items()) + "\n}\n")
    print(error)


main()
