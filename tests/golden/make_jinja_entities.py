#!/usr/bin/env python3
"""Writes runtime/jinja/html_entities.inc: HTML's named character references as Python's html.unescape() knows them, which
MarkupSafe's striptags() uses: {name, text}, sorted by name. Some names need no semicolon.

    tests/golden/make_jinja_entities.py

Made with Python 3.11.
"""
import html.entities
import pathlib


def c_string(text):
    out = ""
    for byte in text.encode():
        out += chr(byte) if 0x20 <= byte < 0x7f and chr(byte) not in '"\\?' else f"\\{byte:03o}"
    return f'"{out}"'


entries = sorted(html.entities.html5.items(), key=lambda entry: entry[0].encode())
lines, line = [], ""
for name, text in entries:
    entry = f"{{{c_string(name)}, {c_string(text)}}},"
    if len(line) + 1 + len(entry) > 120:
        lines.append(line)
        line = ""
    line += (" " if line else "") + entry
lines.append(line)
path = pathlib.Path(__file__).parents[2] / "runtime" / "jinja" / "html_entities.inc"
path.write_text("// HTML's named character references, sorted. Written by tests/golden/make_jinja_entities.py.\n" + "\n".join(lines) + "\n")
print(f"{path}: {len(entries)} names")
