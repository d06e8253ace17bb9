#!/usr/bin/env python3
"""Writes chat_families.json: conversations with thinking, tools and their results, and what Transformers makes of them by
the chat templates of the test material that belong to families with hybrid layers and their contemporaries.

    pip install transformers==5.24.0 jinja2==3.1.6
    tests/golden/make_chat_families_golden.py MATERIAL/chat-templates

The templates are their publishers' and stay there: of each text its bytes and their FNV-1a hash are kept, or the message
of the template's own exception. `--show TEMPLATE CONVERSATION` prints one text instead. The clock stands at 2025-07-10
12:00.
"""
import argparse
import datetime
import json
import pathlib

import jinja2
import transformers
from transformers.utils.chat_template_utils import _compile_jinja_template

# Files in jinja/, and members of hf_goldens.json.
TEMPLATES = ["GLM-4.7-Flash.jinja", "LFM2.5-Instruct.jinja", "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16.jinja",
             "Qwen3-Coder.jinja", "google-gemma-4-31B-it.jinja", "mistralai-Ministral-3-14B-Reasoning-2512.jinja",
             "Qwen/Qwen3.5-4B", "zai-org/GLM-5.1"]

SYSTEM = {"role": "system", "content": "Answer in one line.\n"}
ASK = {"role": "user", "content": "Weather in Åre, and \"why\"?"}
TOOLS = [
    {"type": "function", "function": {
        "name": "weather", "description": "The weather of a place.\nNow.", "parameters": {
            "type": "object", "required": ["place"], "properties": {
                "place": {"type": "string", "description": "a town"},
                "unit": {"type": "string", "enum": ["C", "F"]},
                "days": {"type": "array", "items": {"type": "integer"}, "description": "which <days> & \"more\""},
                "at": {"type": "object", "properties": {"hour": {"type": "number"}}, "required": ["hour"]}}}}},
    {"type": "function", "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}}},
]


def call(number, name, **arguments):
    return {"id": f"call{number:05}", "type": "function", "function": {"name": name, "arguments": arguments}}


def result(number, content, name="weather"):
    return {"role": "tool", "tool_call_id": f"call{number:05}", "name": name, "content": content}


CALLS = {"role": "assistant", "content": "", "tool_calls": [
    call(1, "weather", place="Åre", unit="C", days=[1, 2], at={"hour": 7.5}), call(2, "now")]}
THOUGHT = {"role": "assistant", "content": "Cold.", "reasoning_content": "Two calls.\nThen think."}
TOLD = [ASK, CALLS, result(1, "{\"t\": -3}"), result(2, "noon", "now")]
MORE = {"role": "user", "content": "And tomorrow?"}

CONVERSATIONS = {
    "asked": dict(messages=[ASK]),
    "system": dict(messages=[SYSTEM, ASK]),
    "no_prompt": dict(messages=[SYSTEM, ASK, {"role": "assistant", "content": "Cold."}], add_generation_prompt=False),
    "no_thinking": dict(messages=[SYSTEM, ASK], enable_thinking=False),
    "thinking": dict(messages=[SYSTEM, ASK], enable_thinking=True),
    "thought_before": dict(messages=[ASK, THOUGHT, MORE]),
    "thought_last": dict(messages=[SYSTEM, ASK, THOUGHT], add_generation_prompt=False),
    "thought_in_content": dict(messages=[ASK, {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nCold."}, MORE]),
    "tools": dict(messages=[ASK], tools=TOOLS),
    "tools_system": dict(messages=[SYSTEM, ASK], tools=TOOLS, enable_thinking=False),
    "called": dict(messages=[SYSTEM, ASK, CALLS], tools=TOOLS, add_generation_prompt=False),
    "told": dict(messages=[SYSTEM] + TOLD, tools=TOOLS),
    "told_and_more": dict(messages=TOLD + [THOUGHT, MORE], tools=TOOLS),
    "told_twice": dict(messages=TOLD + [{**CALLS, "content": "Once more.", "reasoning_content": "Why?"},
                                        result(1, "-4"), result(2, "one", "now")], tools=TOOLS),
    "parts": dict(messages=[{"role": "user", "content": [{"type": "text", "text": "Hi "}, {"type": "text", "text": "you"}]}]),
    "nothing_called": dict(messages=[ASK, {"role": "assistant", "content": "None.", "tool_calls": []}, MORE], tools=[]),
}
TOKENS = {"bos_token": "<bos>", "eos_token": "<eos>"}


def strftime_now(form):
    return datetime.datetime(2025, 7, 10, 12, 0).strftime(form)


def rendered(source, conversation):
    template = _compile_jinja_template(source)
    template.environment.globals["strftime_now"] = strftime_now
    return template.render(**({"add_generation_prompt": True} | TOKENS | conversation))


def source_of(material, name):
    if name.endswith(".jinja"):
        return (material / "jinja" / name).read_text()
    return json.loads((material / "hf_goldens.json").read_text())["custom"][name]["chat_template"]


def fnv1a(data):
    value = 0xcbf29ce484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001b3 % 2**64
    return f"{value:016x}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("material", type=pathlib.Path)
    parser.add_argument("--show", nargs=2, metavar=("TEMPLATE", "CONVERSATION"))
    args = parser.parse_args()
    if args.show:
        print(rendered(source_of(args.material, args.show[0]), CONVERSATIONS[args.show[1]]), end="")
        return
    texts = []
    for name in TEMPLATES:
        source = source_of(args.material, name)
        for conversation, given in CONVERSATIONS.items():
            entry = {"template": name, "conversation": conversation}
            try:
                data = rendered(source, given).encode()
                entry |= {"bytes": len(data), "fnv1a": fnv1a(data)}
            except jinja2.TemplateError as error:
                entry["error"] = str(error)
            except TypeError as error:  # an operation on types that Python has not
                entry["error"] = str(error)
            texts.append(entry)
    out = {"made_with": {"transformers": transformers.__version__, "jinja2": jinja2.__version__},
           "conversations": {name: {"add_generation_prompt": True} | TOKENS | given
                             for name, given in CONVERSATIONS.items()}}
    lines = json.dumps(out, ensure_ascii=False)[:-1]
    path = pathlib.Path(__file__).resolve().parent / "chat_families.json"
    path.write_text(lines + ',\n"texts": [\n' + ",\n".join(json.dumps(t, ensure_ascii=False) for t in texts) + "\n]}\n")


if __name__ == "__main__":
    main()
