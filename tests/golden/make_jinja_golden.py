#!/usr/bin/env python3
"""Writes jinja/snippets.json: what Jinja2 makes of many small templates, set up as Hugging Face Transformers sets it up
for chat templates (utils/chat_template_utils.py): the immutable sandbox, trim_blocks, lstrip_blocks, loop controls, a
`tojson` that escapes nothing.

    pip install jinja2==3.1.6 markupsafe==3.0.4
    tests/golden/make_jinja_golden.py

Made with Jinja2 3.1.6 and MarkupSafe 3.0.4, on Python 3.11.
"""
import json
import pathlib

from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import CallBlock
from jinja2.sandbox import ImmutableSandboxedEnvironment

CONTEXT = {
    "word": "hello", "text": "Hello,  World\tof\nlines", "uni": "Äpfel ß ǆ 🙂 é́ ΣΑΣ", "empty": "", "n": 7, "neg": -7, "x": 2.5,
    "big": 1e16, "small": 0.00001, "tenth": 0.1, "whole": 3.0, "yes": True, "no": False, "nothing": None,
    "nums": [3, 1, 2, 1], "words": ["b", "A", "c", "a"], "mixed": [1, "a", None, True, 2.5, [1], {"k": "v"}],
    "d": {"z": 1, "b": "two", "A": [3], "items": "shadow"}, "nested": {"a": {"b": {"c": [10, 20, 30]}}},
    "html": "<b>\"it's\" & co</b>", "people": [
        {"name": "Ann", "age": 30, "tags": ["x", "y"], "city": {"name": "Bonn"}},
        {"name": "bob", "age": 25, "tags": [], "city": {"name": "Ulm"}},
        {"name": "Cid", "age": 30, "city": {"name": "Bonn"}}],
    "huge": 123456789012345678901234567890, "low": -98765432109876543210987654321, "edge": 2**64 - 1,
    "control": "a\x00b\x07\x1f\x7f\u2028\ufeff\"\\/", "int_keys": {"1": "one", "2": "two"},
    "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U1"},
                 {"role": "assistant", "content": "A1"}, {"role": "user", "content": "U2"}],
}

EXPRESSIONS = r"""
1 + 2 * 3 | 7 // 2 | -7 // 2 | 7 % -3 | -7 % 3 | 7 / 2 | 6 / 2 | 2 ** 10 | 2 ** -1 | 2 ** 3 ** 2 | -2 ** 2 | +3
7.5 // 2 | -7.5 % 2 | 1e3 | 1.5e-7 | 1_000 | 0x1F | 0b101 | 0o17 | big | small | tenth + 0.2 | whole | 1e100 | 1.0e15 | 123456789012345680.0
true + 1 | 1 == 1.0 | 1 == true | "1" == 1 | none == none | not none | [] == () | [1, 2] == [1, 2] | (1,) | () | (1, 2) | [] | {} | {"a": 1, 2: [3]}
1 < 2 < 3 | 1 < 3 < 2 | 3 > 2 >= 2 | "a" < "b" | [1, 2] < [1, 3] | 1 != 2 | 1 in [1] | 4 not in nums | "ell" in word | "" in word | "z" in d | 3 in (1, 2)
word ~ 1 ~ none ~ true | "a" "b" 'c' | word * 2 | [1] * 3 | [1] + [2] | (1,) + (2,) | "%s-%d" % ("a", 3) | "%5.2f|%-5s|%05d" % (x, "a", 42) | "%%" % () | "%(a)s" % {"a": 1} | "%x %X %o %e %g %r" % (255, 255, 8, 12345.678, 0.0001, "q")
word if yes | word if no | word if no else "other" | (word if no) is defined | 1 if no else 2 if no else 3 | yes and word | no or word | no and word | empty or "e" | not yes | not no and yes
undefined_thing | undefined_thing is defined | undefined_thing == undefined_thing | undefined_thing ~ "x" | undefined_thing|default("d") | nothing|default("d") | nothing|default("d", true) | d.missing | d.missing is defined | d["missing"]|default(1) | nothing.x is defined
undefined_thing.x | undefined_thing + 1 | undefined_thing() | word() | word.nope() | 1 / 0 | 1 % 0 | "a" + 1 | [1] + (1,) | none + 1 | word.append(1) | nums.append(1) | nums.append | d.update({}) | d.pop("z") | word.__class__ | nums | length(nums)
d.z | d["z"] | d.A[0] | d.items | d["items"] | d["keys"] | d.get("z") | d.get("nope") | d.get("nope", 5) | d.keys() | d.values() | d.items() | d.keys()|list | nested.a.b.c[1] | nested["a"]["b"]["c"][-1] | nums[10] | nums[-1] | nums["a"] | nums.0 | word[0] | word[-1] | word[9] is defined
nums[1:] | nums[:-1] | nums[::-1] | nums[::2] | nums[5:] | nums[-2:] | word[1:3] | word[::-1] | word[-3:] | uni[0] | uni[::-1] | uni[2:8] | uni[8] | uni|length | (1, 2, 3)[1:] | word[:100] | nums[1:][0] | word[none:2] | nums[3:1:-1] | word[::0]
word.upper() | uni.upper() | uni.lower() | uni.title() | uni.capitalize() | uni.swapcase() | text.title() | "ΑΣ ΟΔΟΣ".lower() | "ŉ ﬁ ΐ".upper() | word.capitalize() | "a-b c".title() | "İ".lower()
"  a b ".strip() ~ "|" | "  a b ".lstrip() ~ "|" | "  a b ".rstrip() ~ "|" | "xxaxx".strip("x") | "abcba".strip("ab") | "éaé".strip("é") | "\u2003a\u00a0".strip() ~ "|" | "  a  b c ".split() | "a,b,,c".split(",") | "a,b,c".split(",", 1) | "a,b,c".rsplit(",", 1) | "  a  b  c ".split(none, 1) | "  a  b  c ".rsplit(none, 1) | "".split() | "".split(",") | "ab".split("")
text.splitlines() | "a\r\nb\rc\n\nd".splitlines() | "a\nb".splitlines(true) | "a:b:c".partition(":") | "a:b:c".rpartition(":") | "abc".partition("x") | "abc".rpartition("x") | word.replace("l", "L") | word.replace("l", "L", 1) | word.replace("", "-") | uni.replace("ß", "ss") | "-".join(["a", "b"]) | "-".join("abc") | "".join([1])
word.startswith("he") | word.startswith(("x", "h")) | word.endswith("lo") | word.startswith("l", 2) | word.find("l") | word.find("z") | word.rfind("l") | word.index("l") | word.index("z") | uni.find("🙂") | word.count("l") | word.count("") | "aaa".count("aa") | word.removeprefix("he") | word.removesuffix("lo") | word.find("l", 3)
word.center(11) ~ "|" | word.center(10, "*") | word.ljust(8, ".") | word.rjust(8) | "42".zfill(5) | "-42".zfill(5) | "abc".isalpha() | "ab1".isalnum() | "12".isdigit() | "".isdigit() | " \t".isspace() | "Ab".islower() | "ab1".islower() | "AB".isupper() | "1".isupper() | "é".isalpha()
"{} {}".format(1, "a") | "{0} {1} {0}".format(1, 2) | "{a:>5}|{b:<5}|{c:^5}|".format(a=1, b="x", c="y") | "{:05d} {:.3f} {:,} {:x} {:+d} {:%}".format(42, x, 1234567, 255, 5, 0.25) | "{{}}".format() | "{d[z]} {p.name}".format(d=d, p=people[0]) | "{!r}".format("a") | "{:.2}".format("abcdef") | "{:e}".format(12345.6789) | "{}".format() | "{:*^9}".format("mid") | "{:08.3f}".format(-3.14159)
mixed | mixed|string | d|string | words|string | text|string | [text] | ["it's"] | ["\"'"] | [uni] | [control] | ["\\"] | [1.0, 1e20, -0.0] | {"a": none} | range(3) | range(3)|list | range(2, 10, 3)|list | range(5, 0, -2)|list | range(0)|list | 2 in range(3) | range(4)[1] | range(200000)|list
mixed|tojson | d|tojson | d|tojson(indent=2) | [] |tojson(indent=2) | {}|tojson(indent=4) | mixed|tojson(indent=2) | uni|tojson | uni|tojson(ensure_ascii=true) | control|tojson | control|tojson(true) | html|tojson | x|tojson | big|tojson | none|tojson | d|tojson(sort_keys=true) | mixed|tojson(separators=(",", ":")) | {1: 2, none: 3, true: 4, 1.5: 5}|tojson | (1, 2)|tojson | range(2)|tojson | undefined_thing|tojson | d.items()|tojson | d.items()|list|tojson | d|tojson(indent="\t") | word|upper|tojson
words|join | words|join(", ") | mixed|join("|") | people|join(", ", attribute="name") | empty|join("x") | word|join("-") | nums|join(undefined_thing) | d|join(",")
word|length | nums|length | d|length | undefined_thing|length | n|length | nums|count | nums|first | nums|last | []|first | []|first is defined | word|first | word|last | d|first | nums|list | word|list | d|list | d|items|list | word|items|list | undefined_thing|items|list
nums|sort | nums|sort(reverse=true) | words|sort | words|sort(case_sensitive=true) | people|sort(attribute="age")|map(attribute="name")|list | people|sort(attribute="age,name")|map(attribute="name")|join(",") | mixed|sort | d|dictsort | d|dictsort(true) | d|dictsort(reverse=true) | {"a": 3, "b": 1}|dictsort(by="value") | word|sort|join
words|unique|list | nums|unique|list | ["a", "A"]|unique(true)|list | people|unique(attribute="age")|map(attribute="name")|list | nums|min | nums|max | words|max | []|max is defined | people|max(attribute="age") | nums|sum | people|sum("age") | nums|sum(start=10) | words|reverse|list | word|reverse | nums|reverse|list
people|map(attribute="name")|list | people|map(attribute="city.name")|list | people|map(attribute="tags.0")|list | people|map(attribute="tags", default="none")|list | words|map("upper")|list | nums|map("string")|join | words|map("replace", "a", "x")|list | nums|map("nope")|list | words|map("default", "q")|list | nums|map("float")|list | people|map(attribute="nope")|list
nums|select("odd")|list | nums|select("gt", 1)|list | nums|reject("equalto", 1)|list | mixed|select|list | mixed|select("string")|list | people|selectattr("tags")|map(attribute="name")|list | people|selectattr("age", "equalto", 30)|map(attribute="name")|list | people|rejectattr("age", "gt", 26)|map(attribute="name")|list | people|selectattr("tags", "defined")|list|length | people|selectattr("city.name", "==", "Ulm")|map(attribute="name")|first | messages|selectattr("role", "in", ["user", "system"])|list|length | nums|select("nope")|list
nums|select("odd") is iterable | (nums|select("odd"))|length | "yes" if nums|select("gt", 100) else "no" | nums|select("odd")|tojson | nums|select("odd")|first | nums|select("odd") is sequence | people|groupby("age")|list | people|groupby("city.name")|map("first")|list | nums|batch(2)|list | nums|batch(3, 0)|list | nums|slice(3)|list | nums|slice(3, "x")|list
[["nan"|float], ["nan"|float]]|groupby(0)|length | people|map(attribute="tags", default=none)|list | people|map(attribute="tags", default=none)|last is defined | [{"a": 1}]|groupby("b", default=none)|first|first is defined | uni|first | uni|last | "é"|last | "aé"|last | empty|first is defined | empty|last is defined | d|first | d|last | {}|first is defined | {}|last is defined
word|upper | word|title | "it's a-b (c)"|title | "éa ßb"|title | word|capitalize | text|lower | 5|upper | "  x "|trim ~ "|" | "xxyxx"|trim("x") | word|replace("l", "1") | word|replace("l", "1", 1) | n|replace("7", "8") | word|center(11) ~ "|" | text|wordcount | html|escape | html|e | html|safe | (html|safe) + "<" | "<" + (html|safe) | html|safe ~ "<" | (html|safe)|upper + "&" | html|escape|escape | html|forceescape | (html|safe) is escaped | [html|safe] | (html|safe)|string + "<"
"a\nb\n\nc"|indent | "a\nb"|indent(2, true) | "a\n\nb"|indent(2, blank=true) | "a\nb"|indent("> ") | "a\n"|indent ~ "|" | ""|indent(2, true) ~ "|" | word|truncate(3) | "one two three four five"|truncate(10) | "one two three four five"|truncate(10, true) | "one two three four five"|truncate(12, false, "…", 0) | "abc"|truncate(2, true, "", 0)
"3"|int | "3.7"|int | "abc"|int | "abc"|int(5) | "0x1f"|int(0, 16) | "ff"|int(0, 16) | " 42 "|int | "1_000"|int | 3.9|int | -3.9|int | none|int | true|int | "3.5"|float | "x"|float | "x"|float(1.5) | 3|float | "1e3"|float | "inf"|float | nums|int | n|float
x|round | 3.5|round | 2.675|round(2) | 3|round | 3.14159|round(2) | 3.2|round(0, "ceil") | 3.7|round(method="floor") | 1234.5|round(-2) | 42.55|round(1)|int | neg|abs | -2.5|abs | "a"|abs | n|string ~ "x" | none|string | true|string | "%s is %s"|format("a", 1) | "%(k)s"|format(k="v") | d|attr("items") is callable | word|attr("upper") is callable
1 is odd | 2 is even | 9 is divisibleby 3 | 9 is divisibleby(2) | n is number | x is number | yes is number | yes is boolean | n is integer | yes is integer | x is float | word is string | nums is string | d is mapping | nums is mapping | nums is iterable | word is iterable | n is iterable | undefined_thing is iterable | nums is sequence | word is sequence | d is sequence | d.items() is sequence | n is sequence | undefined_thing is sequence | none is none | undefined_thing is none | nothing is not none
yes is true | 1 is true | no is false | 0 is false | word is lower | "A" is upper | 1 is eq 1 | 1 is equalto(1) | 2 is gt 1 | 2 is lessthan 3 | 2 is ne 2 | 1 is in [1, 2] | "x" is in "xyz" | 1 is sameas 1 | true is sameas true | 1 is sameas true | nums is sameas nums | "upper" is filter | "nope" is filter | "odd" is test | range is callable | word is callable | undefined_thing is callable | word is nope | x is not defined | not x is defined | x is defined and n is defined | (x is string) or true | word is string == true
dict(a=1, b=2) | dict([("a", 1)]) | dict(d, q=1) | namespace(a=1).a | namespace({"a": 2}).a | namespace().a is defined | cycler("a", "b").next() | joiner(", ")() ~ "x" | namespace(a=1)["a"] | dict(a=1).a | range(1, 4)|sum | range("a") | range(1, 2, 0) | dict(1)
"\x41\u00e9\U0001F642\101\n\t\\\'\"\q" | '\'' | "\
" | "a\\nb" | 'a"b' | -nums|length | -(n) | - n | (n) | ((1)) | [1, 2, ] | {"a": 1, } | (1, ) | 1 if (2 in [2]) else 3 | "a" in ["a"] and not "b" in ["a"] | nums|length > 3 | nums|length == 4 and word|upper == "HELLO" | word|upper|lower|title
word | upper | nums | first + 1 | -1 | abs | -1|abs | "a" ~ "b" | upper | 2 * 3 | string | nothing.__class__ | d.__len__ | word.format.__globals__ | {"a": 1}.a | {"a": 1}["a"] | [1, 2][0] | (1, 2)|first | "abc"[1] | nums.count(1) | nums.index(2) | nums.index(9) | d.copy() | d == d.copy()
"a" if undefined_thing else "b" | undefined_thing in [1] | 1 in undefined_thing | undefined_thing in "abc" | 1 in "abc" | 1 in 5 | none in [none] | [1] in [[1]] | {} in [{}] | {}[[]] | {[]: 1} | {"a": 1}[[]] is defined | nums < word | none < 1 | d < d | not undefined_thing | undefined_thing|list | undefined_thing|join | undefined_thing|upper ~ "|" | undefined_thing|string ~ "|" | undefined_thing|int | undefined_thing|first is defined | undefined_thing[0] | undefined_thing[1:] | nothing[0] is defined | nothing[1:] is defined | n[0] is defined | n.foo is defined
"ß ﬁ ŉ ǰ ΐ ﬗ İ ſ ẞ"|upper | "ß ﬁ ŉ ǰ ΐ ﬗ İ ſ ẞ"|lower | "ß ﬁ ŉ ǰ ΐ ﬗ İ ſ ẞ".casefold() | "ß ﬁ ŉ ǰ ΐ ﬗ İ ſ ẞ".title() | "ß ﬁ ŉ ǰ ΐ ﬗ İ ſ ẞ".swapcase() | "ﬁne".capitalize() | "ǆ".capitalize() | "ﬀ"|capitalize | "ῼ ᾳ ᾼ".title() | "ᾳ ῳ".upper() | "Σ ΑΣ ΑΣ. ΑΣΑ 'Σ"|lower | "Ꭰ ꭰ ᏸ".casefold() | "µ ς K Å".casefold() | "ა Ა".upper() | "ა Ა".title() | "ǅ ǈ".swapcase()
"²".isdigit() | "²".isdecimal() | "²".isnumeric() | "½".isnumeric() | "½".isdigit() | "Ⅷ".isnumeric() | "一二".isnumeric() | "一".isdigit() | "٣".isdigit() | "٣".isdecimal() | "①".isdigit() | "12٣".isdecimal() | "a²".isalnum() | "一½".isalnum() | "ª".islower() | "Ⅷ".isupper() | "ⓐ".islower() | "ǅ".islower() | "ǅ".isupper() | "aǅ".islower() | "ʰ".islower() | "Ⓐ1".isupper() | "".isdigit() | "ĸ".islower() | "ĸ".upper()
"٣"|int | "१२३"|int | "-१२"|int | "𝟘𝟙𝟚"|int | "²"|int(7) | "１２"|int | "٣.٥"|float | "1_0"|int | "1__0"|int(7) | "_1"|int(7) | "1_"|int(7) | "+_1"|int(7) | "+5"|int | "--5"|int(7) | "0x1f"|int(7, 16) | "0X1F"|int(7, 16) | "0b11"|int(7, 2) | "0o17"|int(7, 8) | "0b11"|int(7, 16) | "0x"|int(7, 16) | "0x_1f"|int(7, 16) | "z"|int(7, 36) | "1e3"|int | "1_0.5"|float | "1_.5"|float(7) | "nan"|float | "-Infinity"|float | "infinit"|float(7) | ""|int(7) | " "|float(7) | "1 2"|int(7) | "0x1f"|float(7) | "1.5.2"|float(7)
"%.3d" % 5 | "%.3d" % -5 | "%08.3d" % 5 | "%+.3d" % 5 | "%-8.3d|" % 5 | "%.0d" % 0 | "%#x" % 255 | "%#o" % 8 | "%x" % -255 | "%X" % 255 | "%#X" % 255 | "%.4x" % 255 | "%#.4x" % 255 | "%5%" % () | "%i" % 3.99 | "%d" % true | "%u" % 7 | "%s" % none | "%r" % "a" | "%.2s" % "äöü" | "%5s|" % "ä" | "%-5s|" % "ä" | "%05s|" % "ä" | "%c" % "ä" | "%c" % 228 | "%e" % 12345.678 | "%G" % 1e-10 | "%g" % 100000 | "%g" % 1000000 | "%.3g" % 2 | "%#.3g" % 2 | "%5.1f|" % 2.25 | "%+d" % 0 | "% d" % 5 | "%*d" % (5, 3) | "%.*f" % (2, 1.2345) | "%d" % "3" | "%s %s" % (1,) | "%(a)s" % {"a": 1} | "%(a)s" % 1 | "%%" % () | "%" % () | "%s" % (1, 2) | "%a" % "ä" | "%f" % 1e300 | "%.50f" % 0.1 | "%s" % [1] | "x" % {} | "x" % 1 | "x" % []
"{:.3}".format(1.5) | "{:.3}".format(2.0) | "{:.3}".format(100.0) | "{:.3}".format(99.0) | "{:.1}".format(10.0) | "{:.3}".format(0.00001) | "{:.3}".format(1234567.0) | "{:.3}".format("abcdef") | "{:.3}".format(5) | "{:.3}".format(true) | "{:5}|".format(2.0) | "{:5}|".format(7) | "{:5}|".format("a") | "{:5}|".format(true) | "{:d}".format(true) | "{:,}".format(1234567) | "{:_}".format(1234567) | "{:,.2f}".format(1234567.891) | "{:,}".format(1234567.5) | "{:x}".format(255) | "{:#x}".format(255) | "{:#b}".format(5) | "{:08b}".format(5) | "{:+}".format(5) | "{: }".format(5) | "{:e}".format(12345.678) | "{:g}".format(0.0001) | "{:%}".format(0.25) | "{:.1%}".format(0.256) | "{:*^9}".format("a") | "{:ä>5}".format("x") | "{:=+6}".format(5) | "{:06}".format(-5) | "{:06.2f}".format(-1.5) | "{:c}".format(228) | "{:n}".format(5) | "{:s}".format(5) | "{:d}".format("a") | "{:d}".format(1.5) | "{:x}".format(-255) | "{:_x}".format(1048575) | "{!r:>5}".format("a") | "{!a}".format("ä") | "{0}{1}{0}".format(1, 2) | "{}{}".format(1) | "{0}{}".format(1) | "{a[b]}".format(a={"b": 2}) | "{a.b}".format(a={"b": 2}) | "{:{}}".format(5, 6) | "{:{w}}".format("a", w=4) | "{{}}".format() | "{".format() | "}".format() | "{:.3f}".format(2) | "{:10.3}|".format("abcdef") | "{:010}".format("a") | "{:.0f}".format(2.5) | "{:#.3g}".format(2.0) | "{}".format(none) | "{:>5}".format(none) | "{}".format([1]) | "{:>9}".format([1])
"abc".find("b", 10) | "abc".find("", 3) | "abc".find("", 4) | "abc".find("", -9) | "abc".rfind("", 4) | "abc".rfind("") | "abc".rfind("", 0, 2) | "abc".find("c", 0, -1) | "abc".find("c", -1) | "äbä".find("ä", 1) | "äbä".rfind("ä") | "äbä".rfind("ä", 0, 2) | "abc".startswith("", 4) | "abc".startswith("", 3) | "abc".endswith("", 4) | "abc".startswith(("x", "a")) | "abc".endswith("b", 0, 2) | "abc".count("", 4) | "abc".count("", 3) | "abc".count("") | "aaaa".count("aa") | "abc".index("z") | "abc".rindex("b") | "abcabc".rfind("bc", 0, 5) | "aabaab".rfind("aab") | "abababa".rsplit("aba") | "abababa".rsplit("aba", 1) | "a--b--c".rpartition("--") | "aaa".rpartition("aa") | "a,b,c".rsplit(",", 1) | "abc".strip("ca") | "ääbä".strip("ä") | "äöü".lstrip("öä") | "xyz".strip("") | "a b c".split(" ", 1) | " a  b ".split() | " a  b ".split(none, 1) | " a  b ".rsplit(none, 1) | "aXbXc".split("X", 0) | "".split() | "".split("a")
range(3) | range(1, 9, 3) | range(9, 1, -3) | range(0) | range(5, 2) | range(2, 9)[1:] | range(0, 10, 3)[1:] | range(10)[::-1] | range(10)[2:8:3] | range(10)[8:2] | range(0)[::-1] | range(10)[-3:] | range(10)[::-2]|list | range(3) == range(0, 3, 1) | range(0) == range(2, 2) | range(0, 3, 2) == range(0, 4, 2) | range(3)[1] | range(3)[9] is defined | 2 in range(3) | range(3)|string|length | range(3)|tojson
[1.0, -0.0, 1e16, 1e15, 123456789012345680.0, 1e-4, 1e-5, 1.5e300] | 0.1 + 0.2 | 1 / 3 | 2 ** 0.5 | 7 // 2.0 | -7 // 2.0 | -7 % 3 | 7 % -3 | -7.5 % 2 | 5 % 2.5 | 0.0 * -1 | 1e308 * 10 | (1e308 * 10)|string | (1e308 * 10)|tojson | 2 ** -1 | 0 ** 0 | -2 ** 2 | 2 ** 3 ** 2 | 10 // 3 | -10 // 3 | 1 == 1.0 | 1 == true | {1: "a"}[1.0] | {1: "a", 1.0: "b"} | {true: "a"}[1] | [1] == [1.0] | [1] < [2] | [1, 2] < [1] | "a" < "b" | "a" < "Z" | (1, "a") < (1, "b") | none == false | [] == () | nums == nums|list
"%s" % nope | "%r" % nope | "%a" % nope | "%c" % nope | "%d" % nope | "%i" % nope | "%u" % nope | "%x" % nope | "%o" % nope | "%e" % nope | "%f" % nope | "%g" % nope | "%5s|" % nope | "%-5s|" % nope | "%.3r" % nope | "%12r|" % nope | "%s-%s" % (nope, 1) | "%(a)s" % {"a": nope} | "%(a)s" % nope | "%*d" % (nope, 1) | "%%" % nope | "" % nope | "x" % nope | "%s%s" % nope | nope % 1 | "%s" % d.nope | "%r" % d["nope"] | "%d" % d.nope | "%s" % nums[9] | "%s" % ("a" if false) | "%r" % ("a" if false) | "%s" % nums|select("gt", 9)|first | "%s" % [nope] | "%s" % {"a": nope}
"{}".format(nope) | "{:}".format(nope) | "{:5}".format(nope) | "{:s}".format(nope) | "{:d}".format(nope) | "{!s}".format(nope) | "{!r}".format(nope) | "{!a}".format(nope) | "{!s:5}|".format(nope) | "{!r:>12}|".format(nope) | "{0.x}".format(nope) | "{0[x]}".format(nope) | "{a}".format(a=nope) | "{:{}}".format("a", nope) | "{0.nope}".format(d) | "{0[nope]}".format(d) | "{0.nope.x}".format(d) | "{0[nope]:5}".format(d) | "{}".format("a" if false)
"%s"|format(nope) | "%r"|format(nope) | "%d"|format(nope) | "%s %s"|format(nope, 1) | "%(a)s"|format(a=nope) | "%s"|safe % nope | ("%s"|safe)|format(nope) | ("{}"|safe).format(nope) | ("{:5}"|safe).format(nope) | ("{:5}|"|safe).format("<") | ("{}"|safe).format("<"|safe) | ("{:5}"|safe).format("<"|safe) | ("{!r}"|safe).format("<") | ("{:d}|{:>4}"|safe).format(5, true) | ("{}"|safe).format(["<"]) | ("%r"|safe) % nope | ("%d"|safe) % nope | nope|format(1) | nope|string|length | nope ~ "x" | nope|striptags | nope|urlencode | nope|filesizeformat | nope|xmlattr
huge | huge|string | huge|tojson | huge|int | huge|float | huge|abs | huge|round | huge|length | low | low|tojson | low|abs | -huge | -low | +huge | edge | edge|tojson | -edge | huge is integer | huge is number | huge is float | huge is string | huge is iterable | huge == huge | huge == low | huge == 1 | huge == 1.5 | huge != 3 | huge > 1 | huge < 1.5 | huge >= huge | low < 0 | low < huge | 1 < huge | 2.5 > low | edge == 18446744073709551615 | edge == 18446744073709551616.0 | 18446744073709551616 == 18446744073709551616.0 | edge < 18446744073709551616.0 | [huge, 3, low, 2.5]|sort | [huge, low]|max | [huge, huge]|unique|list | [huge, 1] | {"a": huge} | {huge: "a"}[huge] | {18446744073709551616: "a"}[18446744073709551616.0] | huge in [1, huge] | huge ~ "x" | "%s" % huge | "%r" % huge | "%d" % huge | "%i" % low | "%+d|%40d|%-40d|%040d" % (huge, huge, low, low) | "%.40d" % huge | "%f" % edge | "%e" % huge | "%g" % low | "%c" % huge | "{}".format(huge) | "{:d}".format(low) | "{:,}".format(huge) | "{:_}".format(low) | "{:>40}|".format(huge) | "{:<40}|".format(low) | "{:+}".format(huge) | "{:e}".format(huge) | "{:.2f}".format(edge) | "{:.3}".format(huge) | "{:s}".format(huge) | "{:n}".format(huge) | "{!r:>40}".format(huge) | [huge, low]|tojson | {"a": [huge]}|tojson(indent=2) | "a"[huge] is defined | nums[huge] is defined | d[huge] is defined | not huge | huge and 1 | huge if huge else 0 | "123456789012345678901234567890"|int | " -98_765_432_109_876_543_210 "|int | "00000000000000000000000001"|int | "1e25"|int | 1e25|int | -1e25|int | 1e16|int | "%d" % 1e25 | "%d" % -1e25 | "%d" % 2.9 | "%d" % (1e308 * 10) | 123456789012345678901234567890 | -123456789012345678901234567890 | 9223372036854775808 | -9223372036854775808 | -9223372036854775808 == -9223372036854775807 - 1 | -(-9223372036854775807 - 1) | (-9223372036854775807 - 1)|abs | 0009223372036854775808 | 00 | 10_000_000_000_000_000_000_000 | huge is sameas huge | huge|list | range(huge) | "a" * huge | {1: huge}|dictsort | [1, huge]|join(", ")
"<b>a</b>  <i>c"|striptags | html|striptags | "a<!-- <b> -->c"|striptags | "a <!-- x"|striptags | "a<b"|striptags | "a>b"|striptags | "<<a>b>"|striptags | "<!<!---->--x>-->y"|striptags | "<!-->z-->"|striptags | "a\n\t b\u2003c"|striptags | "&lt;b&gt; &amp;amp;"|striptags | "&amp &notit; &notin; &copy &copyx &#65; &#x41; &#65 &#x1F600; &#0; &#x80; &#150; &#xD800; &#x110000; &#99999999999; &#1; &#; &#x; & &; &nope; &Nope &CounterClockwiseContourIntegral; &ngE; &AMP;x &hellip"|striptags | ("<b>&lt;</b>"|safe)|striptags | 5|striptags | none|striptags | ["<b>"]|striptags | ("<b>x</b>"|striptags) is escaped | ""|striptags | "<p>"|striptags
"a b/c?d=é&"|urlencode | "~-._!*'()"|urlencode | 5|urlencode | none|urlencode | {"a b": "c&d", "e": 1}|urlencode | [("a/b", "c d")]|urlencode | [["é", none]]|urlencode | [1]|urlencode | {}|urlencode | ""|urlencode
1|filesizeformat | 0|filesizeformat | 999|filesizeformat | 1000|filesizeformat | 1023|filesizeformat(true) | 1024|filesizeformat(true) | 1234567|filesizeformat | 1234567|filesizeformat(binary=true) | "13000"|filesizeformat | 1e30|filesizeformat | 2.5|filesizeformat | -5|filesizeformat | huge|filesizeformat | "x"|filesizeformat
{"a": 1, "b": none, "c": "<\"", "d": nope}|xmlattr | {"a": 1}|xmlattr(false) | {}|xmlattr | {"a b": 1}|xmlattr | {"a=": 1}|xmlattr | {"a>": 1}|xmlattr | {"a\u2003b": true}|xmlattr | 5|xmlattr
strftime_now("%Y-%m-%d %H:%M:%S") | strftime_now("%d %b %Y") | strftime_now("%A, %B %-d, %j") | strftime_now("%%|%f|%y|%I|%p") | raise_exception("stop here") | unknown_function() | raise_exception() | 99999999999|int
""".strip().splitlines()

TEMPLATES = [
    "a\n{% if yes %}\nb\n{% endif %}\nc\n", "  {% if yes %}\n  b\n  {% endif %}  \nc", "a {%- if yes -%} b {%- endif -%} c",
    "  {%+ if yes %}x{% endif %}", "{% if yes +%}\nx{% endif %}", "a\n  {{ n }}\n", "a  {{- n -}}  b", "a\n\n{%- set q = 1 -%}\n\nb{{ q }}",
    "{# c #}\nx", "  {# c #}\nx", "a {#- c -#} b", "a\n  {#+ c +#}\nb", "{# a\nb #}x{{ undefined_thing.y }}", "{# open", "x {% raw %}{{ n }}{% if %}{% endraw %} y",
    "{% raw %}\n  a\n  {% endraw %}\nb", "{%- raw -%}  x  {%- endraw -%}  y", "{% raw %}", "trailing\n", "trailing\n\n", "crlf\r\n{% if yes %}\r\nx\r\n{% endif %}\r\ny",
    "{{ n }", "{{ n", "{% if yes %}", "{% endif %}", "{% nope %}", "{{ }}", "{{ 1 + }}", "{{ (1 }}", "{{ [1, }}", "{{ 1 2 }}", "{{ 'a }}", "{{ a.}}", "{{ a|}}", "{{ a is }}",
    "{{ '}}' }}", "{{ '%}' }}{% set a = '%}' %}{{ a }}", "{{ {'a': {'b': 1}}.a.b }}", "{{ n, word }}", "{{- n -}}", "{{-1}}", "{{+1}}", "{{ -1 }}", "{{ 1 -}} x", "{% if yes %}{{ n }}{% else %}e{% endif %}{}{%}",
    "{% for i in nums %}{{ i }},{% endfor %}", "{% for i in nums if i > 1 %}{{ loop.index }}:{{ i }}/{{ loop.length }} {% endfor %}", "{% for i in [] %}x{% else %}none{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in d %}{{ k }};{% endfor %}", "{% for c in uni %}[{{ c }}]{% endfor %}", "{% for a, b in [(1, 2), (3, 4)] %}{{ a + b }} {% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}", "{% for a in 5 %}{% endfor %}", "{% for a in undefined_thing %}x{% else %}none{% endfor %}", "{% for a in none %}{% endfor %}",
    "{% for i in nums %}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.depth }}|{% endfor %}",
    "{% for i in nums %}{{ loop.cycle('a', 'b') }}{% if loop.changed(i) %}*{% endif %}{% endfor %}", "{% for i in [1, 1, 2] %}{% if loop.changed(i) %}{{ i }}{% endif %}{% endfor %}",
    "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{% for i in [1] %}{% break %}{% else %}e{% endfor %}", "{% for i in [1, 2] %}{% continue %}{% else %}e{% endfor %}",
    "{% for i in [1, 2] %}{% if i == 2 %}{% break %}{% endif %}{% else %}e{% endfor %}", "{% break %}", "{% for i in [1] %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "{% for i in [1, 2] %}{% for j in [1, 2] %}{{ loop.index }}{{ loop.depth0 }} {% endfor %}{{ loop.index }};{% endfor %}", "{% for i in [1, 2] %}{% set outer = loop %}{% for j in 'ab' %}{{ outer.index }}{{ j }}{% endfor %}{% endfor %}",
    "{% for x in [[1, [2]], [3]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}@{{ loop.depth }}{% endif %}{% endfor %}", "{% for i in nums %}{{ i }}{% endfor %}{{ i is defined }}", "{% set i = 9 %}{% for i in nums %}{% endfor %}{{ i }}",
    "{% set t = 0 %}{% for i in nums %}{% set t = t + i %}{{ t }} {% endfor %}{{ t }}", "{% set ns = namespace(t=0) %}{% for i in nums %}{% set ns.t = ns.t + i %}{% endfor %}{{ ns.t }}", "{% set d.q = 1 %}", "{% set ns = namespace() %}{% set ns.a, b = 1, 2 %}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}", "{% set a %}x{{ n }}\n{% endset %}[{{ a }}]", "{% set a | upper %}x{{ word }}{% endset %}{{ a }}", "{% set a | replace('l', 'L') | upper %}x{{ word }}{% endset %}{{ a }}", "{% set 1 = 2 %}", "{% set true = 2 %}", "{% set a.b.c = 1 %}",
    "{% if no %}a{% elif n > 5 %}b{% else %}c{% endif %}", "{% if no %}a{% elif no %}b{% else %}c{% endif %}", "{% if yes %}{% set v = 1 %}{% endif %}{{ v }}", "{% if word == 'hello' and nums|length is even %}y{% endif %}", "{% if nums is defined and nums %}y{% endif %}", "{% if [] %}a{% elif {} %}b{% elif '' %}c{% elif 0 %}d{% elif 0.0 %}e{% else %}f{% endif %}",
    "{% macro m(a, b=2, c='x') %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(1, c=5) }} {{ m(b=1, a=0) }}", "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}", "{% macro m(a) %}{{ a is defined }}{% endmacro %}{{ m() }}", "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(b=2) }}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, k=3) }}", "{% macro m(kwargs) %}{{ kwargs }}{% endmacro %}{{ m(1) }}", "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(4) }}", "{% set q = 1 %}{% macro m() %}{{ q }}{% endmacro %}{% set q = 2 %}{{ m() }}", "{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% macro m() %}{% set z = 1 %}{% endmacro %}{{ m() }}{{ z is defined }}", "{% macro m(x) %}[{{ x }}]{% endmacro %}{{ nums|map('string')|map('upper')|join }}{{ m(m(1))|upper }}{{ m }}", "{% macro m() %} a {% endmacro %}{{ m()|trim }}|{{ m() is string }}", "{% macro m(x) %}({{ caller() }}{{ x }}){% endmacro %}{% call m(1) %}body {{ n }}{% endcall %}", "{% macro m() %}{{ caller(1, b=2) }}{% endmacro %}{% call(a, b) m() %}{{ a }}{{ b }}{% endcall %}",
    "{% macro m(a, b) %}{% endmacro %}{{ m.name }}", "{% macro m(a=1, b) %}{% endmacro %}", "{{ f(1) }}{% macro f(x) %}{{ x }}{% endmacro %}", "{% macro loopy() %}{{ loop is defined }}{% endmacro %}{% for i in [1] %}{{ loopy() }}{% endfor %}", "{% macro a(x) %}{% for t in x %}{{ b(t) }}{% endfor %}{% endmacro %}{% macro b(t) %}<{{ t }}>{% endmacro %}{{ a([1, 2]) }}",
    "{% filter upper %}a{{ word }}{% endfilter %}", "{% filter replace('a', 'b') | upper %}aa{% endfilter %}", "{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}", "{% with %}{% set z = 1 %}{% endwith %}{{ z is defined }}", "{% with a = 1 %}{% with b = a + 1 %}{{ b }}{% endwith %}{% endwith %}", "{% print n, word %}",
    "{% generation %}said {{ n }}{% endgeneration %}", "{% generation %}{% set z = 1 %}{% endgeneration %}{{ z is defined }}", "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}[{{ m.content }}]{% endif %}{% endfor %}",
    "{% for m in messages[1:] %}{{ m['role'] }}: {{ m.content }}\n{% endfor %}", "{% for m in messages | reverse %}{{ m.content }}{% endfor %}", "{% for m in messages %}{% if loop.last and m.role == 'user' %}last{% endif %}{% endfor %}", "{%- for m in messages %}\n    {%- if m.role == 'user' %}\n        {{- '<u>' + m.content + '</u>\\n' }}\n    {%- endif %}\n{%- endfor %}\nend",
    "{% set ns = namespace(found=false) %}{% for m in messages[::-1] %}{% if not ns.found and m.role == 'assistant' %}{% set ns.found = true %}{{ m.content }}{% endif %}{% endfor %}", "{% set it = nums|select('odd') %}{{ it|list }}{{ it|list }}", "{% set l = [1, 2] %}{% set l = l + [3] %}{{ l }}", "{% set x = messages | selectattr('role', 'equalto', 'user') | list %}{{ x[-1].content }}",
    "{%set a=1%}{{a}}", "{%if yes%}a{%endif%}", "{% if yes: %}x{% endif %}", "{% for i in nums: %}{{ i }}{% endfor %}", "{% set x = 'a' if yes else 'b' %}{{ x }}", "{% if yes if no else yes %}x{% endif %}", "{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}", "{% set café = 1 %}{{ café }}",
    "{% set v = {'a': [1, {'b': (2, 3)}]} %}{{ v.a[1].b[0] }}{{ v }}", "{{ messages|map(attribute='content')|join('|') }}", "{{ (messages|last).content }}{{ (messages|first)['role'] }}", "{% set ns = namespace(x=none) %}{{ ns.x is none }}{{ ns.y is defined }}", "{% for i in [] %}{% endfor %}{{ loop is defined }}", "{% for i in range(3) %}{{ loop.nope is defined }}{% endfor %}",
    "{% for x in people %}{{ x.name }}{{ ', ' if not loop.last }}{% endfor %}", "{% for n, grp in people|groupby('age') %}{{ n }}:{{ grp|map(attribute='name')|join('+') }} {% endfor %}", "{% for g in people|groupby('age') %}{{ g.grouper }}{{ g.list|length }} {% endfor %}", "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}", "{% set j = joiner() %}{% for i in nums %}{{ j() }}{{ i }}{% endfor %}",
    "{{ [1, 2, 3]|sum }}{# x #}\n{{ 'a' }}\n\n", "{{ caller is defined }}", "line1\nline2 {{ undefined_thing.boom }}", "{% if a is string if b %}{% endif %}", "{{ x is defined is defined }}", "{{ 1 is divisibleby }}", "{{ nums|join('\\n') }}", "{% set x = [] %}{% for i in nums %}{% set x = x + [i * 2] %}{% endfor %}{{ x }}",
    "{%- macro render(item, depth=0) -%}\n{%- if item is mapping -%}\n{%- for k, v in item|dictsort -%}\n{{ '  ' * depth }}{{ k }}:{{ render(v, depth + 1) }}\n{%- endfor -%}\n{%- elif item is iterable and item is not string -%}\n{%- for v in item -%}- {{ render(v, depth + 1) }}{%- endfor -%}\n{%- else -%} {{ item }}\n{% endif -%}\n{%- endmacro -%}\n{{ render(nested) }}{{ render(people) }}",
]


class Generation(Extension):
    """Transformers' AssistantTracker without its bookkeeping."""
    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return CallBlock(self.call_method("_support"), [], [], body).set_lineno(lineno)

    def _support(self, caller):
        return caller()


def raise_exception(message):
    raise TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def strftime_now(format):
    import datetime
    return datetime.datetime(2025, 7, 10, 12, 0).strftime(format)


env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception
env.globals["strftime_now"] = strftime_now


def golden(template):
    try:
        return {"template": template, "text": env.from_string(template).render(**CONTEXT)}
    except Exception as error:  # whatever it is: to us, all are an error
        return {"template": template, "error": f"{type(error).__name__}: {error}"}


expressions = []
for line in EXPRESSIONS:
    # " | " stands between expressions, "|" within them.
    expressions += line.split(" | ")
snippets = [golden("{{ " + e + " }}") for e in expressions] + [golden(t) for t in TEMPLATES]
# What prints an address differs from run to run.
snippets = [s for s in snippets if " object at 0x" not in s.get("text", "") and " at 0x" not in s.get("text", "")]
# Text: not every reader of this file keeps integers beyond 64 bits.
out = {"context": json.dumps(CONTEXT), "snippets": snippets}
path = pathlib.Path(__file__).parent / "jinja" / "snippets.json"
path.write_text(json.dumps(out, indent=1, ensure_ascii=True) + "\n")
errors = sum("error" in s for s in snippets)
print(f"{path}: {len(snippets)} templates, {errors} of them errors")
