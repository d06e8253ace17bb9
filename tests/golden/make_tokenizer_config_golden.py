#!/usr/bin/env python3
"""Writes tests/golden/tokenizer_config.json: what Transformers makes of a tokenizer.json and the files beside it.

    /venv4/bin/python make_tokenizer_config_golden.py && /venv5/bin/python make_tokenizer_config_golden.py

    venv4: transformers==4.57.6 tokenizers==0.22.2       venv5: transformers==5.24.0 tokenizers==0.23.3, after it

Each version asks itself the same questions; the second run puts both answers together. FOLLOW says whose answer is
the golden where they differ (an answer of one version that both do not share is kept as `other`):
    both    they agree; the script stops where they do not
    4       what the config says decides. Version 5 hands it to classes that only wrap the file and drops it, or builds
            GPT-2's pipeline without the other parts of a Sequence. Such configs were written for version 4.
    5       the config says nothing, and version 4 takes that for "no" against the file; or version 4 needs the
            SentencePiece model
"""
import json
import os
import pathlib
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "critical"
import tokenizers
import transformers
from transformers import AutoTokenizer

OUT = pathlib.Path(__file__).resolve().parent / "tokenizer_config.json"
ANSWERS = pathlib.Path(tempfile.gettempdir()) / "tokenizer_config_4.json"
MAJOR = transformers.__version__.split(".")[0]

VOCAB = ["_", "a", "b", "h", "_h", "_a", "<s>", "</s>", "<unk>", "!"]
BOS = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
       "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
       "special_tokens": {"<s>": {"id": "<s>", "ids": [6], "tokens": ["<s>"]}}}


def added(id, content, **flags):
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": True, **flags}


def tokenizer(kind, prefix=False, post=None, unk={}):
    """Of a few tokens, the space being "_" in one of its spellings."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": True}
    space, normalizer, pre = "\u2581", None, None
    decoder = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": space}, "content": " "}, {"type": "Fuse"}]
               + ([{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefix else [])}
    if kind in ("bytes", "sequence"):
        space, pre, decoder = "\u0120", byte_level, byte_level
        if kind == "sequence":
            pre = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]}
    elif kind == "metaspace":
        pre = {"type": "Metaspace", "replacement": space, "prepend_scheme": "first" if prefix else "never", "split": False}
    else:
        normalizer = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": space}] * prefix
                      + [{"type": "Replace", "pattern": {"String": " "}, "content": space}]}
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [added(6, "<s>"), added(7, "</s>"), added(8, "<unk>", **unk)],
            "normalizer": normalizer, "pre_tokenizer": pre, "post_processor": post, "decoder": decoder,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "vocab": {t.replace("_", space): i for i, t in enumerate(VOCAB)},
                      "merges": [[space, "h"], [space, "a"]]}}


NAMES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
OWN_BYTES = ["GPT2Tokenizer", "CodeGenTokenizer", "GPTNeoXTokenizer", "Qwen2Tokenizer", "CohereTokenizer"]
OWN_AROUND = ["LlamaTokenizer", "GemmaTokenizer", "CohereTokenizer"]
CASES = []


def case(follow, tokenizer_json, config, texts, **files):
    CASES.append({"follow": follow, "tokenizer": tokenizer_json, "config": config, "texts": texts, "files": files})


def collect():
    text = ["h a", "a<s>h a"]
    for prefix in (False, True):
        for said in (None, False, True):
            say = {} if said is None else {"add_prefix_space": said}
            say["add_bos_token"] = False  # Cohere's adds it in version 4 if nothing is said
            for name in OWN_BYTES:
                case("both", tokenizer("bytes", prefix), {**NAMES, "tokenizer_class": name, **say}, text)
            for name in ("PreTrainedTokenizerFast", "BloomTokenizer"):
                case("5" if said is None else "4", tokenizer("bytes", prefix), {**NAMES, "tokenizer_class": name, **say}, text)
            for name in ("GPT2Tokenizer", "Qwen2Tokenizer", "PreTrainedTokenizerFast", "CohereTokenizer", "BloomTokenizer"):
                case("both" if name.startswith("Pre") else "4", tokenizer("sequence", prefix), {**NAMES, "tokenizer_class": name, **say}, text)
            for kind in ("metaspace", "normalizer"):
                case("both", tokenizer(kind, prefix), {**NAMES, "tokenizer_class": "PreTrainedTokenizerFast", **say}, text)
                for legacy in [] if said is None else [False, True]:
                    config = {**NAMES, "tokenizer_class": "LlamaTokenizer", "legacy": legacy, **say}
                    case("5", tokenizer(kind, prefix), config, [*text, " h  a", "<s> h"])
    for post in (None, BOS):
        for bos in (None, False, True):
            for eos in (None, True):
                say = {**({} if bos is None else {"add_bos_token": bos}), **({} if eos is None else {"add_eos_token": eos})}
                for name in ("GPT2Tokenizer", "Qwen2Tokenizer", "PreTrainedTokenizerFast"):
                    case("both", tokenizer("bytes", False, post), {**NAMES, "tokenizer_class": name, **say}, ["h"])
                for name in OWN_AROUND:
                    case("4" if say else "5", tokenizer(*(("bytes", False) if name[0] == "C" else ("metaspace", name[0] == "L")), post),
                         {**NAMES, "tokenizer_class": name, **say}, ["h"])
                case("4", tokenizer("bytes", False, post), {**NAMES, "tokenizer_class": "GPTNeoXTokenizer", **say}, ["h"])
    text = ["a <unk> a", "a<unk>a", "h<s> a[PAD]a", "a<new>b<late>", "ha"]
    for name in ("PreTrainedTokenizerFast", "GPT2Tokenizer"):
        config = {**NAMES, "tokenizer_class": name, "add_prefix_space": False}
        flagged = [("rstrip", True), ("lstrip", True), ("single_word", True), ("special", False), ("normalized", True)]
        plain = added(8, "<unk>")
        del plain["id"]
        for flag, value in flagged:
            for file, beside in (({}, {flag: value}), ({flag: value}, {})):
                for named in (True, False):
                    own = {**config, "added_tokens_decoder": {"8": {**plain, **beside}}}
                    if not named:
                        own["unk_token"] = None
                    rebuilt = name == "GPT2Tokenizer" and not named  # in version 5, and the file's added tokens are lost
                    case("4" if rebuilt else "both", tokenizer("bytes", unk=file), own, text)
        case("both", tokenizer("bytes"), {**config, "unk_token": {"__type": "AddedToken", **plain, "rstrip": True}}, text)
        map_file = {"bos_token": "</s>", "eos_token": {**plain, "content": "<s>", "rstrip": True}, "pad_token": "[PAD]"}
        first = {"6": {**plain, "content": "<s>"}}
        case("both", tokenizer("bytes"), config, text, **{"special_tokens_map.json": map_file})
        case("both", tokenizer("bytes"), {**config, "added_tokens_decoder": first}, text, **{"special_tokens_map.json": map_file})
        case("both", tokenizer("bytes"), {"tokenizer_class": name, "unk_token": "<unk>"}, text, **{"special_tokens_map.json": map_file})
        for id in ("8", "12"):
            decoder = {id: {**plain, "content": "<new>"}, "20": {**plain, "content": "<late>", "special": False}}
            case("both", tokenizer("bytes"), {**config, "pad_token": "[PAD]", "added_tokens_decoder": decoder}, text)
        case("both", tokenizer("bytes"), config, text, **{"added_tokens.json": {"<new>": 15, "<late>": 11, "b": 1}})
        case("both", tokenizer("bytes"), {**config, "additional_special_tokens": ["a", "<new>"]}, text)
        case("both", tokenizer("bytes"), {**config, "extra_special_tokens": {"own_token": "a", "other_token": "<new>"}}, text)
        case("5", tokenizer("bytes"), {**config, "extra_special_tokens": ["a", "<new>"]}, text)  # its own spelling
        case("both", tokenizer("bytes"), {**config, "eos_token": "a"}, text)


def answer(case):
    with tempfile.TemporaryDirectory() as folder:
        for name, content in {"tokenizer.json": case["tokenizer"], "tokenizer_config.json": case["config"], **case["files"]}.items():
            (pathlib.Path(folder) / name).write_text(json.dumps(content))
        try:
            made = AutoTokenizer.from_pretrained(folder)
        except ImportError:  # version 4 would convert the SentencePiece model that is not there
            return None
        ids = [made(text)["input_ids"] for text in case["texts"]]
        return {"bos": -1 if made.bos_token_id is None else made.bos_token_id,
                "eos": -1 if made.eos_token_id is None else made.eos_token_id, "ids": ids,
                "shown": [made.decode(i, skip_special_tokens=True, clean_up_tokenization_spaces=False) for i in ids]}


def main():
    collect()
    answers = [answer(case) for case in CASES]
    version = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__}
    if MAJOR == "4":
        ANSWERS.write_text(json.dumps({"version": version, "answers": answers}))
        return
    four = json.loads(ANSWERS.read_text())
    shared, cases = [], []
    for case, a4, a5 in zip(CASES, four["answers"], answers):
        if case["follow"] == "both":
            assert a4 == a5, (case, a4, a5)
        if case["tokenizer"] not in shared:
            shared.append(case["tokenizer"])
        follow = {"both": a5, "4": a4, "5": a5}[case["follow"]]
        assert follow, case
        cases.append({**case, "tokenizer": shared.index(case["tokenizer"]), **follow})
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    tops = ",\n".join(json.dumps(t, separators=(",", ":")) for t in shared)
    OUT.write_text(f'{{"made_with": {json.dumps([four["version"], version])},\n"tokenizers": [\n{tops}],\n"cases": [\n{lines}]}}\n')
    print(len(cases), "cases,", OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
