#!/usr/bin/env python3
"""Writes what `tokenizers` knows of characters otherwise than PCRE2 10.42 and utf8proc 2.8, whose tables are Unicode 14
and 15:

    runtime/text/unicode_tables.inc                  for the runtime's text, and
    frontend/tokenizer/PreTokenizerTables.inc        for the pre-tokenizers Digits and Punctuation
    tests/golden/text_unicode.json                   what `tokenizers` does with every such character

    python make_text_unicode.py          Python 3.11, whose unicodedata is Unicode 14, and tokenizers 0.23.3

`tokenizers` has no one version of Unicode. Its parts, as 0.23.3 is built, and each asked here for every character:
    Oniguruma (Split, Replace, ByteLevel)       16: to be had by stand-ins, see stand_ins.h
    Rust's regex (Whitespace, single_word)      16: the same
    Rust's char (Digits, Lowercase)             17
    unicode_categories (Punctuation)            older than 14
    unicode-normalization-alignments (NFC, NFD, NFKC, NFKD, StripAccents)    older than 14
    unicode-segmentation (Precompiled)          of new marks as of those known: stand-ins again
"""
import importlib.metadata
import json
import pathlib
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

ROOT = pathlib.Path(__file__).resolve().parents[2]
VERSION = importlib.metadata.version("tokenizers")
assert unicodedata.unidata_version == "14.0.0" and VERSION == "0.23.3"

POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CATEGORIES = ("Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co Cn").split()
# The scripts of Unicode 14 that later versions added characters to, and the binary properties patterns use.
SCRIPTS = ("Common Inherited Latin Greek Cyrillic Arabic Syriac Devanagari Bengali Gurmukhi Gujarati Tamil Telugu Kannada Malayalam "
           "Sinhala Thai Lao Tibetan Myanmar Georgian Hangul Ethiopic Khmer Mongolian Hiragana Katakana Bopomofo Han Yi Balinese "
           "Javanese Khojki Khudawadi Grantha Tirhuta Egyptian_Hieroglyphs Braille Hebrew Armenian Cham Sundanese").split()
BINARY = ("Alphabetic", "Uppercase", "Lowercase")


def matched(pre_tokenizer, points):
    """The characters that a pre-tokenizer which removes all others keeps."""
    kept = set()
    for i in range(0, len(points), 4096):
        text = "".join(map(chr, points[i : i + 4096]))
        for word, _ in pre_tokenizer.pre_tokenize_str(text):
            kept.update(map(ord, word))
    return kept


def having(pattern, points=POINTS):
    return matched(pre_tokenizers.Split(Regex(pattern), "removed", invert=True), points)


def isolated(pre_tokenizer, points=POINTS):
    """The characters that stand alone between two letters."""
    return {c for c in points if len(pre_tokenizer.pre_tokenize_str("a" + chr(c) + "a")) > 1}


def ranges(points, between=()):
    """Sorted ranges; those with nothing but `between` in the gap become one."""
    found = []
    for c in sorted(points):
        if found and all(i in between for i in range(found[-1][1] + 1, c)):
            found[-1][1] = c
        else:
            found.append([c, c])
    return found


def category14(c):
    return unicodedata.category(chr(c))


def utf8_length(c):
    return len(chr(c).encode())


# ------------------------------------------------------------------------------------------------- what is newer

CATEGORY = {c: name for name in CATEGORIES for c in having(rf"\p{{{name}}}")}
BINARIES = {name: having(rf"\p{{{name}}}") for name in BINARY}
# Characters that Unicode 14 has and that count as letters since; Python does not say, but tokenizers 0.21.1 does.
ALPHABETIC_SINCE = {*range(0x363, 0x370), 0xC04, 0xF82, 0xF83, *range(0x1DD3, 0x1DE7), 0x11080, 0x11081}
UNKNOWN = {c for c in POINTS if category14(c) == "Cn" and CATEGORY.get(c, "Cn") != "Cn"}
NEWER = sorted({c for c in POINTS if CATEGORY.get(c, "Cn") != category14(c)} | ALPHABETIC_SINCE
               | {c for c in POINTS if c not in UNKNOWN and chr(c).islower() != (c in BINARIES["Lowercase"])})
SCRIPT = {c: name for name in SCRIPTS for c in having(rf"\p{{{name}}}")}


def stand_ins():
    """Runs of newer characters and the older one of the same kind that is nearest. Of a script that is new there is
    none of the same, and of Cyrillic's and Arabic's newest none of the same length; then any script's."""

    def kind(c):
        return utf8_length(c), CATEGORY[c], *(c in BINARIES[name] for name in BINARY)

    newer = set(NEWER)
    older = {}
    for c in POINTS:
        if c not in newer and CATEGORY.get(c, "Cn") != "Cn":
            older.setdefault((kind(c), SCRIPT.get(c)), []).append(c)
            older.setdefault(kind(c), []).append(c)
    runs = []
    for c in NEWER:
        candidates = older.get((kind(c), SCRIPT.get(c))) or older[kind(c)]
        nearest = min(candidates, key=lambda o: abs(o - c))
        if runs and runs[-1][1] == c - 1 and kind(runs[-1][0]) == kind(c) and SCRIPT.get(runs[-1][0]) == SCRIPT.get(c):
            runs[-1][1] = c
        else:
            runs.append([c, c, nearest])
    return runs


def changed(normalizer):
    found = {}
    for c in POINTS:
        text = normalizer.normalize_str(chr(c))
        if text != chr(c):
            found[c] = text
    return found


def lower_table():
    """Runs of one distance to the lower case, of characters without one in Unicode 14."""
    runs = []
    for c, lower in changed(normalizers.Lowercase()).items():
        if lower == chr(c).lower():
            continue
        assert len(lower) == 1 and chr(c).lower() == chr(c)
        distance = ord(lower) - c
        if runs and runs[-1][1] == c - 1 and runs[-1][2] == distance:
            runs[-1][1] = c
        else:
            runs.append([c, c, distance])
    return runs


def normal_forms():
    """Characters whose decomposition `tokenizers` does not know, and those whose class of combining it takes for 0."""
    undecomposed = set()
    for name in ("NFD", "NFKD"):
        found = changed(getattr(normalizers, name)())
        for c in POINTS:
            own, known = found.get(c, chr(c)), unicodedata.normalize(name, chr(c))
            if own != known:
                assert own == chr(c)
                undecomposed.add(c)
    undecomposed |= UNKNOWN  # utf8proc has decompositions of some, tokenizers of none
    assert all(chr(c) == normalizers.NFKD().normalize_str(chr(c)) for c in UNKNOWN)
    nfd = normalizers.NFD()
    late = {c for c in UNKNOWN if CATEGORY[c][0] == "M"}
    for c in POINTS:
        combining = unicodedata.combining(chr(c))
        if not combining or unicodedata.normalize("NFD", chr(c)) != chr(c):
            continue
        # Class 1 goes before all others, and behind it none stays.
        text = "a" + chr(c) + "\u0334" if combining > 1 else "a\u0301" + chr(c)
        if nfd.normalize_str(text) == text:
            late.add(c)
    return undecomposed, late


# ------------------------------------------------------------------------------------------------------- writing


def wrapped(entries):
    lines = [""]
    for entry in entries:
        if len(lines[-1]) + len(entry) > 98:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "    ") + entry + ","
    return "\n".join(lines)


def table(kind, name, comment, rows):
    entries = ["{" + ", ".join(hex(value) for value in row) + "}" for row in rows]
    return f"// {comment}\nconstexpr {kind} {name}[] = {{\n{wrapped(entries)}\n}};\n"


def write_tables():
    undecomposed, late = normal_forms()
    marks14 = {c for c in POINTS if category14(c)[0] == "M"}
    stripped = set(changed(normalizers.StripAccents()))
    assigned14 = [c for c in POINTS if category14(c) != "Cn"]
    unassigned = set(POINTS) - set(assigned14)
    path = ROOT / "runtime/text/unicode_tables.inc"
    path.write_text("\n".join([
        f"// What tokenizers {VERSION} knows otherwise than Unicode 14, sorted. Written by\n"
        "// tests/golden/make_text_unicode.py.\n",
        table("StandIn", "kStandIns", "Newer characters, first to last, and an older one of their kind.", stand_ins()),
        table("LowerCase", "kNewerLowerCase", "Newer capitals, first to last, and the way to their lower case.", lower_table()),
        table("CharacterRange", "kUndecomposed", "Characters of which the normal forms know no decomposition.",
              ranges(undecomposed, unassigned)),
        table("CharacterRange", "kUnordered", "Marks that the normal forms do not put in order.", ranges(late)),
        table("CharacterRange", "kKeptMarks", "Marks that StripAccents leaves.", ranges((marks14 | late) - stripped, unassigned)),
        table("CharacterRange", "kOtherStripped", "Other characters it takes away.", ranges(stripped - marks14)),
    ]))
    # The newest punctuation as well: the range it is named in keeps the stand-in away.
    digits = isolated(pre_tokenizers.Digits(individual_digits=True))
    punctuation = isolated(pre_tokenizers.Punctuation())
    ascii_symbols = set(map(ord, "$+<=>^`|~"))
    newest = {c for c in POINTS if CATEGORY.get(c, "Cn")[0] == "P"}
    other = (unassigned - newest) | (set(NEWER) - newest)
    path = ROOT / "frontend/tokenizer/PreTokenizerTables.inc"
    row = lambda r: "\\x{%x}" % r[0] + ("" if r[0] == r[1] else "-\\x{%x}" % r[1])
    literal = lambda name, comment, rows: f"// {comment}\nconstexpr std::string_view {name} =\n" + "\n".join(
        f'    R"({"".join(map(row, rows[i : i + 4]))})"' for i in range(0, len(rows), 4)) + ";\n"
    path.write_text("\n".join([
        f"// Where the pre-tokenizers Digits and Punctuation of tokenizers {VERSION} are not \\p{{N}} and \\p{{P}}, as the\n"
        "// inside of a class. Written by tests/golden/make_text_unicode.py.\n",
        literal("kNewestNumbers", "Numbers of Unicode 17.", ranges(digits - {c for c in POINTS if CATEGORY.get(c, "Cn")[0] == "N"})),
        literal("kNotPunctuation", "Punctuation that is younger than its table.", ranges(newest - punctuation, other)),
        literal("kOnlyPunctuation", "What was punctuation once.", ranges(punctuation - newest - ascii_symbols)),
    ]))


def make_golden():
    """For each kind of step, those of the characters in question that it tells from the rest."""
    undecomposed, late = normal_forms()
    of14 = lambda letter: {c for c in POINTS if category14(c)[0] == letter}
    questions = set(NEWER) | undecomposed | late
    questions |= isolated(pre_tokenizers.Digits(individual_digits=True)) ^ of14("N")
    questions |= isolated(pre_tokenizers.Punctuation()) ^ of14("P")
    questions |= set(changed(normalizers.StripAccents())) ^ of14("M")
    questions |= {c for first, last, _ in lower_table() for c in range(first, last + 1)}
    # Of those in several scripts' extensions some, and what \\w has beyond letters and digits.
    questions |= set(range(0x3001, 0x3040)) | {0x30FC, 0x640, 0x301, 0x485, 0xB2, 0xBC, 0x2160, 0x2460, 0x24B6, 0x9F4}
    asked = sorted(questions)
    patterns = [rf"\p{{{name}}}" for name in (*"LMNPSZC", *CATEGORIES, *BINARY, "Han", "Hiragana", "Katakana")]
    patterns += [rf"\P{{{name}}}" for name in "LMN"] + [r"[^\s\p{L}\p{N}]", r"[\P{L}]", r"\w", r"\W", r"\s", r"\d"]
    patterns += [f"[[:{name}:]]" for name in ("alpha", "alnum", "punct", "space", "digit", "upper", "lower")]
    golden = {
        "made_with": {"tokenizers": VERSION},
        "asked": ranges(asked),
        "patterns": {pattern: ranges(having(pattern, asked)) for pattern in patterns},
        "digits": ranges(isolated(pre_tokenizers.Digits(individual_digits=True), asked)),
        "punctuation": ranges(isolated(pre_tokenizers.Punctuation(), asked)),
        "whitespace": ranges(isolated(pre_tokenizers.Whitespace(), asked)),
        "whitespace_split": ranges(isolated(pre_tokenizers.WhitespaceSplit(), asked)),
    }
    single_word = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    single_word.add_tokens([AddedToken("<t>", single_word=True, normalized=False)])
    token = single_word.token_to_id("<t>")
    golden["single_word"] = ranges(c for c in asked if token not in single_word.encode(chr(c) + "<t>").ids)
    # A cluster of less than six bytes is mapped as a whole; \u00bd has two, and what joins it goes.
    config = json.loads((ROOT / "tests/golden/tokenizers/xglm.json").read_text())["tokenizer"]["normalizer"]
    precompiled = Tokenizer.from_str(json.dumps({"version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
                                                 "normalizer": config, "pre_tokenizer": None, "post_processor": None,
                                                 "decoder": None, "model": {"type": "BPE", "vocab": {}, "merges": []}})).normalizer
    alone = precompiled.normalize_str("\u00bd")
    golden["joined"] = ranges(c for c in asked if utf8_length(c) < 4 and precompiled.normalize_str("\u00bd" + chr(c)) == alone)
    golden["stripped"] = ranges(set(changed(normalizers.StripAccents())) & questions)
    golden["lower"] = {hex(c): lower for c, lower in changed(normalizers.Lowercase()).items() if c in questions}
    # Each among what composes and what is put in order around it.
    decomposed = {c for c in (*range(0x1E030, 0x1E06E), *range(0x1CCD6, 0x1CCFA)) if c in UNKNOWN}  # in Unicode 15 and 16
    around = sorted((undecomposed - UNKNOWN) | late | decomposed | {0x11935, 0x11930})
    for name in ("NFC", "NFKD"):
        normalizer = getattr(normalizers, name)()
        texts = [text for c in around for text in (f"e\u0301{chr(c)}\u0301\u0334", f"{chr(c)}\u0316e{chr(c)}\u0301")]
        texts += ["\U00011935\U00011930", "\U00011938\u0334", "\U00011935\u0334\U00011930\u0301e\u0301"]
        golden[name] = [[text, normalizer.normalize_str(text)] for text in texts]
    return golden


if __name__ == "__main__":
    write_tables()
    path = ROOT / "tests/golden/text_unicode.json"
    path.write_text(json.dumps(make_golden(), ensure_ascii=False, separators=(",", ":")) + "\n")
    print(path.stat().st_size, "bytes")
