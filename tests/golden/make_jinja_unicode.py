#!/usr/bin/env python3
"""Writes runtime/jinja/unicode_tables.inc: what Python's str knows of characters that utf8proc does not. Needs nothing
but Python 3.11, whose unicodedata is Unicode 14.

    tests/golden/make_jinja_unicode.py
"""
import pathlib
import unicodedata

assert unicodedata.unidata_version == "14.0.0"
CHARACTERS = [chr(i) for i in range(0x110000) if not 0xD800 <= i < 0xE000]


def ranges(holds):
    found = []
    for c in CHARACTERS:
        if holds(c):
            if found and found[-1][1] == ord(c) - 1:
                found[-1][1] = ord(c)
            else:
                found.append([ord(c), ord(c)])
    return found


def wrapped(entries):
    lines = [""]
    for entry in entries:
        if len(lines[-1]) + len(entry) > 98:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "    ") + entry + ","
    return "\n".join(lines)


def range_table(name, comment, holds):
    entries = [f"{{0x{a:x}, 0x{b:x}}}" for a, b in ranges(holds)]
    return f"// {comment}\nconstexpr Range {name}[] = {{\n{wrapped(entries)}\n}};\n"


def special_table(name, comment, change):
    def literal(text):
        return 'U"' + "".join(c if c.isascii() else f"\\u{ord(c):04x}" for c in text) + '"'

    entries = [f"{{0x{ord(c):x}, {literal(change(c))}}}" for c in CHARACTERS if len(change(c)) > 1]
    return f"// {comment}\nconstexpr Special {name}[] = {{\n{wrapped(entries)}\n}};\n"


def category(c):
    return unicodedata.category(c)


tables = [
    "// Unicode 14 as Python 3.11 has it, sorted. Written by tests/golden/make_jinja_unicode.py.\n",
    special_table("kSpecialUpper", "Characters whose upper case is more than one.", str.upper),
    special_table("kSpecialTitle", "Characters whose title case is more than one.", str.title),
    range_table("kOtherLower", "Lower case beyond the category Ll.", lambda c: c.islower() and category(c) != "Ll"),
    range_table("kOtherUpper", "Upper case beyond the category Lu.", lambda c: c.isupper() and category(c) != "Lu"),
    range_table("kOtherDigit", "Digits that are no decimal ones, as superscripts.",
                lambda c: c.isdigit() and not c.isdecimal()),
    range_table("kOtherNumeric", "Numbers beyond the categories Nd, Nl and No: ideographs.",
                lambda c: c.isnumeric() and category(c) not in ("Nd", "Nl", "No")),
]
path = pathlib.Path(__file__).resolve().parents[2] / "runtime/jinja/unicode_tables.inc"
path.write_text("\n".join(tables))
