#!/usr/bin/env python3
"""Writes chat_files.json: what Transformers' apply_chat_template() makes of directories whose files name templates and
special tokens in every way there is. Each case holds its files, the template's name (or null), tools, and the text or
null (an error).

    pip install transformers==4.57.6 jinja2==3.1.6
    tests/golden/make_chat_files_golden.py

Made with Transformers 4.57.6 and 5.24.0, one after the other, in environments of their own. Each gives what the other
does but where a case says "only": 5 no longer has additional_special_tokens, and is the first to have other names in
..._token. With --check the cases are compared, not written.
"""
import json
import pathlib
import sys
import tempfile

import transformers
from tokenizers import Tokenizer, models

V4 = transformers.__version__.startswith("4.")
SHOW = "".join("{%% if %s is defined %%}[%s={{ %s }}]{%% endif %%}" % (n, n, n) for n in (
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
    "additional_special_tokens", "image_token", "boi_token"))
ADDED = {"content": "</s>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
OBJECT = {"__type": "AddedToken", **ADDED, "special": True}
DECODER = {"0": {**ADDED, "content": "<a>", "special": True}}
TOOLS = [{"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}]
NAMED = [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T{{ tools|length }}"},
         {"name": "rag", "template": "R"}]

CASES = []


def case(config=None, special=None, files=None, name=None, tools=None, only=None):
    contents = dict(files or {})
    if config is not None:
        contents["tokenizer_config.json"] = json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **config})
    if special is not None:
        contents["special_tokens_map.json"] = json.dumps(special)
    CASES.append({"files": contents, "name": name, "tools": tools, **({"only": only} if only else {})})


def show(special=None, only=None, **config):
    case({"chat_template": SHOW, **config}, special, only=only)


show()
show(bos_token="<s>", eos_token=OBJECT, unk_token="<u>", sep_token="<sep>", pad_token="<p>", cls_token="<c>", mask_token="<m>")
show(bos_token=None, eos_token="</s>")
show(additional_special_tokens=["<x>", OBJECT], only="4")
show(additional_special_tokens=["<x>"], only="4")
show(additional_special_tokens=[], only="4")
show(bos_token="<s>", additional_special_tokens=["<x>", "<y>"], special={"additional_special_tokens": ["<y>", {**ADDED, "content": "<z>"}]}, only="4")
show(extra_special_tokens={"image_token": "<img>", "boi_token": "<boi>"})
show(image_token="<img>", add_bos_token=True, only="5")
show(special={"bos_token": "<s>", "eos_token": ADDED, "unk_token": "<unk>"})
show(bos_token="<s>", pad_token="<p>", special={"bos_token": "<S>", "eos_token": ADDED})
show(bos_token="<s>", special={"bos_token": "<S>", "pad_token": "<p>"}, added_tokens_decoder=DECODER)
show(bos_token="<s>", special={"bos_token": None})
show(special={"image_token": "<img>"}, only="5")

for tools in (None, [], TOOLS):
    case({"chat_template": NAMED}, tools=tools)
    case({"chat_template": NAMED[:1]}, tools=tools)
    case({"chat_template": NAMED[1:]}, tools=tools)
    case({"chat_template": "S{{ tools is none }}"}, tools=tools)
    case({"chat_template": NAMED[2:]}, tools=tools)
case({"chat_template": NAMED}, name="rag")
case({"chat_template": NAMED}, name="rag", tools=TOOLS)
case({"chat_template": NAMED}, name="default", tools=TOOLS)
case({"chat_template": {"default": "D", "tool_use": "T"}}, tools=TOOLS)
FILE, EXTRA = {"chat_template.jinja": "F"}, {"additional_chat_templates/tool_use.jinja": "X", "additional_chat_templates/rag.jinja": "G"}
for tools in (None, TOOLS):
    case({"chat_template": NAMED}, files=FILE, tools=tools)
    case({"chat_template": NAMED}, files={**FILE, **EXTRA}, tools=tools)
    case({"chat_template": NAMED}, files=EXTRA, tools=tools)
case({}, files={**FILE, **EXTRA}, name="rag")
case({}, files={**FILE, "additional_chat_templates/default.jinja": "E"})
case({})


def tokenizer_json():
    return Tokenizer(models.BPE(vocab={"<a>": 0, "h": 1, "i": 2}, merges=[])).to_str()


def render(one):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in {**one["files"], "tokenizer.json": tokenizer_json()}.items():
            path = pathlib.Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            return tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tools=one["tools"],
                                                 chat_template=one["name"], tokenize=False)
        except Exception:  # whatever it is: to us, all are an error
            return None


path = pathlib.Path(__file__).parent / "chat_files.json"
if "--check" in sys.argv:
    for one in json.loads(path.read_text())["cases"]:
        if one.get("only") != ("5" if V4 else "4") and render(one) != one["text"]:
            print("differs:", one, render(one))
else:
    known = {json.dumps(c["files"]): c["text"] for c in json.loads(path.read_text())["cases"]} if path.exists() else {}
    for one in CASES:
        mine = one.get("only") != ("5" if V4 else "4")
        one["text"] = render(one) if mine else known.get(json.dumps(one["files"]))
    path.write_text(json.dumps({"tokenizer": tokenizer_json(), "cases": CASES}, indent=1) + "\n")
    print(f"{path}: {len(CASES)} cases")
