#!/usr/bin/env python3
"""Writes tests/golden/mtp/<case>.gguf: goldens of make_mtp_goldens.py as GGUF, by llama.cpp's rules (make_gguf_goldens.py).

    python make_mtp_ggufs.py               writes them anew (gguf 0.19.0)

The layer of multi-token prediction is one more block behind the model's, its own tensors blk.N.nextn.* (gguf-py,
constants.py: NEXTN_*), nextn_predict_layers of them.
"""

import re

import gguf
import make_gguf_goldens as goldens
from make_gguf_goldens import HERE

CASES = {"qwen3_5": "qwen35", "deepseek_v3": "deepseek2"}
OF_QWEN = {"mtp.layers.0.": "", "mtp.fc.": "eh_proj.", "mtp.norm.": "shared_head.norm.",
           "mtp.pre_fc_norm_embedding.": "enorm.", "mtp.pre_fc_norm_hidden.": "hnorm."}
NEXTN = {"eh_proj": "eh_proj", "enorm": "enorm", "hnorm": "hnorm", "embed_tokens": "embed_tokens",
         "shared_head.norm": "shared_head_norm", "shared_head.head": "shared_head_head"}


class Model(goldens.Model):
    def __init__(self, name, arch):
        super().__init__(name, {"golden": f"mtp/{name}", "arch": arch})
        layers = self.config["num_hidden_layers"]
        for old in [n for n in self.tensors if n.startswith("mtp.")]:
            prefix = next(p for p in OF_QWEN if old.startswith(p))
            self.tensors[f"model.layers.{layers}." + OF_QWEN[prefix] + old.removeprefix(prefix)] = self.tensors.pop(old)
        self.config["num_hidden_layers"] = layers + 1

    def metadata(self, w):
        super().metadata(w)
        w.add_nextn_predict_layers(1)

    @staticmethod
    def own_name(name):
        found = re.fullmatch(r"model\.layers\.(\d+)\.(.*)\.weight", name)
        return f"blk.{found[1]}.nextn.{NEXTN[found[2]]}.weight" if found and found[2] in NEXTN else None


for case, architecture in CASES.items():
    path = HERE / "mtp" / f"{case}.gguf"
    Model(case, architecture).write(path, wide=False)
    print(f"{path.name}: {path.stat().st_size} bytes, {len(gguf.GGUFReader(path).tensors)} tensors")
