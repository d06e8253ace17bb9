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
    return torch.randn(rows, cols, device=DEVICE, dtype=DTYPE) / cols**0.5


class Decoder(torch.nn.Module):
    def __init__(self, layers, hidden, ffn, heads, kv_heads, head_dim, vocab, context):
        super().__init__()
        self.h, self.kv, self.d = heads, kv_heads, head_dim
        self.qkv = [weight((heads + 2 * kv_heads) * head_dim, hidden) for _ in range(layers)]
        self.o = [weight(hidden, heads * head_dim) for _ in range(layers)]
        self.gate_up = [weight(2 * ffn, hidden) for _ in range(layers)]
        self.down = [weight(hidden, ffn) for _ in range(layers)]
        self.norm = torch.ones(hidden, device=DEVICE, dtype=DTYPE)
        self.embedding, self.head = weight(vocab, hidden), weight(vocab, hidden)
        shape = (layers, 1, kv_heads, context, head_dim)
        self.k, self.v = (torch.zeros(shape, device=DEVICE, dtype=DTYPE) for _ in range(2))

    def forward(self, ids, positions, mask):
        x = self.embedding[ids]
        n = ids.shape[1]
        for i in range(len(self.qkv)):
            q, k, v = F.linear(F.rms_norm(x, (x.shape[-1],), self.norm), self.qkv[i]).view(1, n, -1, self.d).transpose(1, 2).split(
                [self.h, self.kv, self.kv], dim=1)
            self.k[i].index_copy_(2, positions, k)
            self.v[i].index_copy_(2, positions, v)
            a = F.scaled_dot_product_attention(q, self.k[i], self.v[i], attn_mask=mask, enable_gqa=True)
            x = x + F.linear(a.transpose(1, 2).reshape(1, n, -1), self.o[i])
            gate, up = F.linear(F.rms_norm(x, (x.shape[-1],), self.norm), self.gate_up[i]).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, self.down[i])
        return F.linear(F.rms_norm(x[:, -1], (x.shape[-1],), self.norm), self.head).argmax(-1)


def median_ms(body, repeats):
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
    return statistics.median(times)


def say(**line):
    print(json.dumps({"step": "peer", "torch": torch.__version__, **line}), flush=True)


with torch.inference_mode():
    a, b = (torch.randn(8192, 8192, device=DEVICE, dtype=DTYPE) for _ in range(2))
    ms = median_ms(lambda: a @ b, 20)
    say(name="matmul_8192", tflop_s=2 * 8192**3 / ms / 1e9)
    for name, shape in SHAPES.items():
        model = Decoder(**shape, context=2048)
        ids = torch.zeros(1, 1, dtype=torch.long, device=DEVICE)
        positions = torch.tensor([512], device=DEVICE)
        mask = (torch.arange(2048, device=DEVICE) <= 512)[None, None, None]
        say(name=f"{name}_decode_eager", tok_s=1e3 / median_ms(lambda: model(ids, positions, mask), 30))
        try:
            compiled = torch.compile(model, mode="reduce-overhead")
            say(name=f"{name}_decode_compiled", tok_s=1e3 / median_ms(lambda: compiled(ids, positions, mask), 30))
        except Exception as error:  # a peer that fails is reported, not fatal
            say(name=f"{name}_decode_compiled", error=str(error)[:300])
        ids = torch.zeros(1, 2048, dtype=torch.long, device=DEVICE)
        positions = torch.arange(2048, device=DEVICE)
        mask = torch.tril(torch.ones(2048, 2048, dtype=torch.bool, device=DEVICE))[None, None]
        say(name=f"{name}_prefill_2048", tok_s=2048e3 / median_ms(lambda: model(ids, positions, mask), 5))
        del model
