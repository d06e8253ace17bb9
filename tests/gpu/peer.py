"""The same shapes in PyTorch, bf16: decoding of one sequence, eager and compiled with CUDA graphs, and a prefill of 2048
tokens; the peak of a bf16 matrix product. Random weights. A line of JSON per measurement."""
import json
import statistics

import torch
import torch.nn.functional as F

DEVICE, DTYPE = "cuda", torch.bfloat16
SHAPES = {
    "1b": dict(layers=16, hidden=2048, ffn=8192, heads=32, kv_heads=8, head_dim=64, vocab=128256),
    "7b": dict(layers=32, hidden=4096, ffn=14336, heads=32, kv_heads=8, head_dim=128, vocab=32000),
}


def weight(rows, cols):
    return torch.nn.Parameter(torch.randn(rows, cols, device=DEVICE, dtype=DTYPE) / cols**0.5, requires_grad=False)


class Decoder(torch.nn.Module):
    def __init__(self, layers, hidden, ffn, heads, kv_heads, head_dim, vocab, context):
        super().__init__()
        self.h, self.kv, self.d, self.layers = heads, kv_heads, head_dim, layers
        # Parameters and buffers: what CUDA graphs of torch.compile may read and write in place.
        self.qkv = torch.nn.ParameterList(weight((heads + 2 * kv_heads) * head_dim, hidden) for _ in range(layers))
        self.o = torch.nn.ParameterList(weight(hidden, heads * head_dim) for _ in range(layers))
        self.gate_up = torch.nn.ParameterList(weight(2 * ffn, hidden) for _ in range(layers))
        self.down = torch.nn.ParameterList(weight(hidden, ffn) for _ in range(layers))
        self.norm = weight(1, hidden)
        self.embedding, self.head = weight(vocab, hidden), weight(vocab, hidden)
        for name in ("k", "v"):
            self.register_buffer(name, torch.zeros(layers, 1, kv_heads, context, head_dim, device=DEVICE, dtype=DTYPE))

    def forward(self, ids, positions, mask=None):
        """No mask: a prompt from position 0."""
        x = self.embedding[ids]
        n, norm = ids.shape[1], self.norm[0]
        for i in range(self.layers):
            q, k, v = F.linear(F.rms_norm(x, (x.shape[-1],), norm), self.qkv[i]).view(1, n, -1, self.d).transpose(1, 2).split(
                [self.h, self.kv, self.kv], dim=1)
            self.k[i].index_copy_(2, positions, k)
            self.v[i].index_copy_(2, positions, v)
            if mask is None:
                a = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            else:
                a = F.scaled_dot_product_attention(q, self.k[i], self.v[i], attn_mask=mask, enable_gqa=True)
            x = x + F.linear(a.transpose(1, 2).reshape(1, n, -1), self.o[i])
            gate, up = F.linear(F.rms_norm(x, (x.shape[-1],), norm), self.gate_up[i]).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, self.down[i])
        return F.linear(F.rms_norm(x[:, -1], (x.shape[-1],), norm), self.head).argmax(-1)


def times_ms(body, repeats):
    for _ in range(3):
        body()
    times = []
    for _ in range(repeats):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        body()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return sorted(times)


def measured(name, tokens, body, repeats):
    try:
        times = times_ms(body, repeats)
        say(name=name, tok_s=tokens * 1e3 / statistics.median(times), spread=[tokens * 1e3 / times[-1], tokens * 1e3 / times[0]])
    except Exception as error:  # a peer that fails is reported, not fatal
        say(name=name, error=str(error)[:300])


def say(**line):
    print(json.dumps({"step": "peer", "torch": torch.__version__, **line}), flush=True)


with torch.inference_mode():
    a, b = (torch.randn(8192, 8192, device=DEVICE, dtype=DTYPE) for _ in range(2))
    say(name="matmul_8192", tflop_s=2 * 8192**3 / statistics.median(times_ms(lambda: a @ b, 20)) / 1e9)
    del a, b
    for name, shape in reversed(SHAPES.items()):
        model = Decoder(**shape, context=2048)
        long, prompt = torch.zeros(1, 2048, dtype=torch.long, device=DEVICE), torch.arange(2048, device=DEVICE)
        measured(f"{name}_prefill_2048", 2048, lambda: model(long, prompt), 5)
        ids, positions = torch.zeros(1, 1, dtype=torch.long, device=DEVICE), torch.tensor([128], device=DEVICE)
        # The mean depth of the 256 tokens that llmbench decodes.
        mask = (torch.arange(2048, device=DEVICE) <= 128)[None, None, None]
        measured(f"{name}_decode_eager", 1, lambda: model(ids, positions, mask), 30)
        compiled = torch.compile(model, mode="reduce-overhead")
        measured(f"{name}_decode_compiled", 1, lambda: compiled(ids, positions, mask), 30)
        del model, compiled
        torch.cuda.empty_cache()
