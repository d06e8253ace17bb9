#!/usr/bin/env python3
"""Writes tests/golden/tokenizers/: tokenizers of every kind and what their own libraries say of some texts.

    python make_tokenizer_goldens.py MATERIAL      MATERIAL: the folder of test material, for the real vocabularies

Needs tokenizers, sentencepiece, tiktoken, protobuf and gguf; the versions used are kept in each file. Not part of the
build. README.md describes the files.

The oracles
    Hugging Face's `tokenizers` for tokenizer.json, and for vocabularies of GGUF files put into the tokenizer.json of
    their family; `sentencepiece` for tokenizer.model; `tiktoken` for rank files. Nobody here wrote them.
    tokenizers 0.21 or 0.22 and not 0.23: that decodes an added token that is marked `normalized` with the normalizer's
    prefix in front and no longer knows it as special. The ids are the same.

The models
    The hub's own vocabularies are large and not ours, so small ones are trained here, on Python's documentation and the
    texts below, and put into each family's pipeline. The byte-level vocabulary is trained without splitting words:
    its tokens cross words, digits, punctuation and lines, so that a border that the pipeline puts elsewhere shows in
    the ids.
"""

import base64
import importlib.metadata
import json
import pathlib
import pydoc_data.topics
import shutil
import sys
import tempfile

import gguf
import sentencepiece
import tiktoken
import tokenizers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

OUT = pathlib.Path(__file__).resolve().parent / "tokenizers"
MADE_WITH = {name: importlib.metadata.version(name) for name in ("tokenizers", "sentencepiece", "tiktoken")}

# ---------------------------------------------------------------------------------------------------------- texts

ENGLISH = """The quick brown fox jumps over the lazy dog.
It's we're I'm you've they'll he'd she's IT'S WE'RE don't DON'T o'clock 'tis rock'n'roll
Hello, World!
hello world
HELLO WORLD
Hello World
CamelCaseIdentifiers andMixedUPPERlower XMLHttpRequest iPhone McDonald
snake_case_names and kebab-case-names
state-of-the-art, well-known; semi:colon -- dash --- dots... ellipsis…
"Quoted" 'single' “curly” ‘curly’ «guillemets» „low“
e.g. i.e. etc. U.S.A. Ph.D. 3rd 21st
The price is $3.50 (or €2,99) for 10% off!
Visit https://example.com/path?query=1&other=2#anchor or mail me@example.org
Is this real? Yes! No?! Maybe...
a
A
I
?
supercalifragilisticexpialidocious antidisestablishmentarianism
Once upon a time there was a tokenizer that could not tell one space from two.
word word  word   word    word     word
one,two,three;four:five.six!seven?eight
(parentheses) [brackets] {braces} <angles>
x=y+z*w/v%u-t^s&r|q~p
fi ff ffi ﬁ ﬀ ﬃ
naïve café résumé coöperate Ångström""".split("\n")

NUMBERS = """0
1
12
123
1234
12345
123456
1234567
1234567890123456789
3.14159265358979
1,000,000.00
-42 +7 1e10 6.02e-23 0x1F 0b1010 0o777
2024-01-31T12:34:56.789Z
192.168.0.1:8080
１２３４５ ４２
٠١٢٣٤٥٦٧٨٩
०१२३४५६७८९
½ ⅓ ¼ ² ³ ⁴ ₅ Ⅷ ⅻ ① ⑳ ㊿
a1b2c3 1a2b3c x86_64 h2o co2 3d 4k
1 22 333 4444 55555 666666 7777777 88888888
100% 50‰ #1 No. 5 №7 §3""".split("\n")

LANGUAGES = """Příliš žluťoučký kůň úpěl ďábelské ódy
Zażółć gęślą jaźń
Falsches Üben von Xylophonmusik quält jeden größeren Zwerg
STRASSE Straße ẞ ß
Voix ambiguë d’un cœur qui, au zéphyr, préfère les jattes de kiwis
El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío
Pijamalı hasta yağız şoföre çabucak güvendi. İstanbul ığdır I ı İ i
Türkçe büyük İ harfi
Съешь же ещё этих мягких французских булок, да выпей чаю
Ще не вмерла України і слава, і воля
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. ΟΔΥΣΣΕΥΣ ΣΑΣ
שלום עולם
זה כיף סתם לשמוע איך תנצח קרפד עץ טוב בגן
שָׁלוֹם
مرحبا بالعالم
نص حكيم له سر قاطع وذو شأن عظيم
السَّلَامُ عَلَيْكُمْ
سلام دنیا! می‌خواهم
नमस्ते दुनिया
ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश
क्षत्रिय ज्ञान श्री क़
আমার সোনার বাংলা
தமிழ் மொழி கொண்டாடு
తెలుగు భాష కన్నడ ಕನ್ನಡ മലയാളം
ભારત ਪੰਜਾਬ ଓଡ଼ିଆ
สวัสดีชาวโลก นี่คือการทดสอบ
ເອົາ ລາວ ខ្មែរ မြန်မာ
བོད་ཡིག
你好，世界！
我能吞下玻璃而不伤身体。
天地玄黃，宇宙洪荒。日月盈昃，辰宿列張。
繁體字與简体字
こんにちは世界
いろはにほへと ちりぬるを
カタカナとｶﾀｶﾅとがぎぐげご が
東京タワーは333メートルです。
안녕하세요 세계
다람쥐 헌 쳇바퀴에 타고파
각각 각 ㄱㄴㄷ
Xin chào thế giới
Tiếng Việt có dấu: ắằẳẵặ ấầẩẫậ
Ḱṷṥṯṏḿ ďîåçṙíẗḯčṡ
𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝕞𝕒𝕥𝕙 𝓈𝒸𝓇𝒾𝓅𝓉 𝐁𝐨𝐥𝐝
ⰀⰁⰂ 𐌰𐌱𐌲 𐎀𐎁 𓀀𓀁
ᚠᛇᚻ ᚦᚨᛏ ⠓⠑⠇⠇⠕
Ａｂｃ ｆｕｌｌｗｉｄｔｈ！（）
ʰʷʲ ə ʃ ʒ θ ð
ǅ ǈ ǋ ǆ ǉ ǌ Ǆ
ª º ﷺ ㎏ ㏒ ℃ Å Ω K ™ ℡""".split("\n")

CODE = [
    "def f(x):\n    return x + 1\n",
    "def fib(n: int) -> int:\n    if n < 2:\n        return n\n    return fib(n - 1) + fib(n - 2)\n",
    "for (int i = 0; i < n; ++i) {\n\tsum += a[i];\n}\n",
    "#include <vector>\n\nint main() { std::vector<int> v{1, 2, 3}; return v.size(); }",
    "const f = async (x) => { await g(`${x}`); return x?.y ?? 'none'; };",
    "SELECT * FROM users WHERE id = 42 AND name LIKE '%bob%';",
    "<html>\n  <body class=\"a\">\n    <p>Hi &amp; bye</p>\n  </body>\n</html>",
    '{"key": [1, 2.5, true, null], "nested": {"a": "b\\n"}}',
    "fn main() -> Result<(), Box<dyn Error>> { println!(\"{:?}\", x); Ok(()) }",
    "\\begin{equation}\n  E = mc^2 \\label{eq:1}\n\\end{equation}",
    "| a | b |\n|---|---|\n| 1 | 2 |\n",
    "# Title\n\n* one\n* two\n  * three\n\n```python\nprint('x')\n```\n",
    "$ ls -la | grep '^d' > /dev/null 2>&1 && echo \"done\"",
    "0: 55                   \tpush   %rbp\n1: 48 89 e5             \tmov    %rsp,%rbp",
    "if (a && b || !c) x = ~y << 2 >>> 1; // comment /* inner */",
    "lambda x: x**2 if x != 0 else -1  # noqa: E731",
    "a\\b\\\\c\\n\\t\\x41\\u0042",
    "/usr/local/lib:/home/user/.config/app.conf",
    "C:\\Program Files\\App\\app.exe",
    "<?php echo $x->y['z']; ?>",
    "----------------\n================\n****************\n################",
    "regex: ^(?:[a-z]+|\\d{2,4})$",
    "int\tx\t=\t1;\r\nint\ty\t=\t2;\r\n",
    "!!!???...,,,;;;:::'''\"\"\"```~~~@@@###$$$%%%^^^&&&***((()))___---+++===",
]

SPACES = [
    "", " ", "  ", "   ", "    ", "     ", "        ", "                ", " " * 31, " " * 32, " " * 33, " " * 100,
    "\t", "\t\t", "\t\t\t\t", " \t ", "\t \t", "\n", "\n\n", "\n\n\n", "\n\n\n\n", "\n" * 31, "\r", "\r\n", "\r\n\r\n",
    "\r\r\n", " \n", "\n ", " \n ", "  \n  ", "\n \n", "\n  \n  \n", "a\n", "\na", "a\n\nb", "a \nb", "a\n b", "a  \n\n  b",
    " a", "  a", "   a", "a ", "a  ", "a   ", " a ", "  a  b  ", "a\tb", "a \tb", "a\t b", "a\r\nb", "a\x0bb", "a\x0cb",
    "a\u00a0b", "a\u00a0 b", "\u00a0\u00a0", "a\u2003b", "a\u200bb", "a\u2028b\u2029c", "a\u3000b", "\u3000\u3000x",
    "a\u202fb", "a\u1680b", "a\u180eb", "a\u205fb", "a\x85b", "a\ufeffb", "\ufeffBOM",
    "x   \n   \n   y", "    indented\n        more\n    less", "trailing   \n", "tabs\t\t\tand   spaces \t \n\n\t end",
    " leading and trailing ", "hello  world", "hello   world", "the  \n the", ".  .", "1  2", "1 \n2",
]

EMOJI = [
    "😀", "😀😃😄", "👍🏽", "👨‍👩‍👧‍👦", "👩🏾‍💻 codes", "🏳️‍🌈", "🇩🇪🇫🇷🇺🇸", "🇺", "❤️", "❤", "☺︎ ☺️", "1️⃣ #️⃣", "a😀b", "😀 😀",
    "I ❤️ 🍕!", "🧑🏻‍🚀🚀", "™️©️®️", "¯\\_(ツ)_/¯", "(╯°□°)╯︵ ┻━┻", "٩(◕‿◕｡)۶", "\U0001f468\u200d", "\u200d", "🤷🏿‍♀️🤷🏿‍♂️",
    "✨🌟⭐", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "🀄🂡♠♥",
]

ODD = [
    "\x00", "a\x00b", "\x01\x02\x03", "\x7f", "\x1b[31mred\x1b[0m", "\x80\x9f", "\ufffd", "\ufffd\ufffd\ufffd", "\ufffe\uffff",
    "\U0010ffff", "\ue000\uf8ff", "\U000f0000", "\u0378", "\u0301", "e\u0301", "\u00e9", "e\u0301\u0323", "e\u0323\u0301",
    "q\u0307\u0323", "\u1e9b\u0323", "Z\u0351\u036b\u0343a\u0363\u0368l\u034c\u0308\u0352g\u0363\u0364o\u0352\u0343",
    "\u0301\u0302\u0303abc", "\u1100\u1161\u11a8", "\u1100\u1161", "\u0958", "\u0915\u093c", "\u2126\u212b\u212a",
    "\u00ad soft\u00adhyphen", "a\u034fb", "\u200e\u200f\u202a\u202c\u2066\u2069", "\u061c", "\u2060", "\ufe0f",
    "▁", "▁a", "a▁b", "▁▁", "▁ ▁", " ▁", "Ġ", "ĠHello", "Ċ", "é", "Ã©", "Â", "âĢĻ", "<0x0A>", "<0x41><0x42>", "<0xC3><0xA9>",
    "a" * 40, "ab" * 40, "A" * 33, "é" * 20, "あ" * 20, "!" * 50, "=" * 65, "." * 17, "-" * 80, "1" * 50, "a1" * 20,
    "aaaa bbbb cccc", "ſ'ſ 'S 'ſ it'ſ", "İ", "ǰ ΐ", "ŉ", "ﬅ", "\u01c5", "ꙮ", "\U0001d165\U0001d15e", "﷽", "\u2f00\uf900",
    "･ｰﾞﾟ", "ｶﾞ", "か\u3099", "\uac00\u11a8", "ﾡ", "〇〡〢", "、。「」『』【】", "，。！？：；", "…—–‐‑―", "‹›«»", "°±×÷¬¦¨¯´¸",
    "¡¿", "₹₿₽₩", "←↑→↓⇒⇔", "∀∃∈∑∏√∞≠≤≥", "█▓▒░▄▀", "♔♕♖", "①②③", "\u0e33", "ำ", "\u0eb3", "\u0f71\u0f72", "\ud7a3\u11ff",
]

SPECIAL = [
    "<s>", "</s>", "<unk>", "<pad>", "<s>hello</s>", "hello <s> world", "a<s>b", "<S>", "< s>", "<s", "s>", "<s><s>",
    "<|endoftext|>", "a <|endoftext|> b", "a<|endoftext|>b", "<|endoftext|><|endoftext|>", "<|endoftext", "  <|endoftext|>  ",
    "<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n", "<|im_start|>", "<|IM_START|>",
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>",
    "[INST] Hello [/INST]", "[INST]", "<<SYS>>\nx\n<</SYS>>", "<start_of_turn>user\nhi<end_of_turn>\n", "<bos><eos>",
    "<|user|>\nHello<|end|>\n<|assistant|>\n", "<|user|>   spaced   <|end|>   \n", "<|assistant|> x", "  <|end|>",
    "<tok>", "x<tok>y", "x <tok> y", "x   <tok>   y", "\n<tok>\n", "<tok><tok>", "<lstrip> a", "a   <lstrip>", "a <lstrip> b",
    "<rstrip>   a", "a<rstrip> \n b", "a <both> b", "a \t<both>\n b", "word", "words", "a word here", "a wordy sword", "word, word",
    "word_", "éword", "word1", "1 word", "Normalized", "normalized", "NORMALIZED", "a Normalized b", "<ﬁ>", "a<fi>b", "xx  yy",
    "<|fim_prefix|>def f():<|fim_suffix|>    return<|fim_middle|>", "<jupyter_code>x", "<|channel|>final<|message|>ok<|return|>",
    "[gMASK]<sop><|user|>\nhi", "<｜begin▁of▁sentence｜>User: hi\n\nAssistant:", "<｜User｜>x<｜Assistant｜>",
]

TEXTS = list(dict.fromkeys(ENGLISH + NUMBERS + LANGUAGES + CODE + SPACES + EMOJI + ODD + SPECIAL))
assert len(TEXTS) >= 200


def corpus():
    """Lines to train on."""
    topics = pydoc_data.topics.topics
    english = "\n".join(topics[name] for name in sorted(topics))[:400_000]
    lines = [line for line in english.split("\n") if line]
    return lines + [t for t in TEXTS if t.strip("\x00")] * 3


# --------------------------------------------------------------------------------------------------------- models


def byte_level_model(vocab_size=1400):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    lines = corpus()
    # Several lines to a piece, or no token would hold a newline.
    pieces = ["\n".join(lines[i : i + 3]) + "\n\n" for i in range(0, len(lines), 3)]
    cut = [piece[i : i + 60] for piece in pieces for i in range(0, len(piece), 60)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
        max_token_length=12)
    tokenizer.train_from_iterator(cut, trainer)
    return json.loads(tokenizer.to_str())["model"]


def train_sentencepiece(folder, name, **options):
    prefix = folder / name
    (folder / "corpus.txt").write_text("\n".join(line.replace("\n", " ") for line in corpus() if "\x00" not in line))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "corpus.txt"), model_prefix=str(prefix), minloglevel=2, num_threads=1,
        hard_vocab_limit=False, **options)
    proto = parse_sentencepiece(pathlib.Path(f"{prefix}.model").read_bytes())
    for spec, field in ((proto.trainer_spec, "input"), (proto.trainer_spec, "model_prefix"),
                        (proto.normalizer_spec, "normalization_rule_tsv")):
        spec.ClearField(field)  # names of temporary files: the rest is the same each time
    return proto.SerializeToString()


def parse_sentencepiece(blob):
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(blob)
    return proto


def bpe_from_sentencepiece(blob):
    """The BPE model of a tokenizer.json, with the merges in the order that the scores give."""
    proto = parse_sentencepiece(blob)
    vocab = {piece.piece: i for i, piece in enumerate(proto.pieces)}
    scores = {piece.piece: piece.score for piece in proto.pieces}
    normal = {piece.piece for piece in proto.pieces if piece.type == 1}
    merges = []
    for piece in normal:
        local = []
        for cut in range(1, len(piece)):
            if piece[:cut] in normal and piece[cut:] in normal:
                local.append((piece[:cut], piece[cut:]))
        merges += [(scores[piece], left, right) for left, right in sorted(local, key=lambda m: (vocab[m[0]], vocab[m[1]]))]
    merges.sort(key=lambda m: m[0], reverse=True)
    return {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
            "vocab": vocab, "merges": [[left, right] for _, left, right in merges]}


def unigram_from_sentencepiece(blob, byte_fallback=False):
    proto = parse_sentencepiece(blob)
    unk = next(i for i, piece in enumerate(proto.pieces) if piece.type == 2)
    return {"type": "Unigram", "unk_id": unk, "byte_fallback": byte_fallback,
            "vocab": [[piece.piece, piece.score] for piece in proto.pieces]}


# ------------------------------------------------------------------------------------------------------- families

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
BYTE_LEVEL_GPT2 = {**BYTE_LEVEL, "use_regex": True}
BYTE_LEVEL_DECODER = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
BYTE_LEVEL_POST = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def digits(individual):
    return {"type": "Digits", "individual_digits": individual}


def sequence(kind, *steps):
    return {"type": "Sequence", kind: list(steps)}


def pre(*steps):
    return sequence("pretokenizers", *steps)


def added(id, content, special=True, **flags):
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": not special, "special": special, **flags}


def template(before, after=()):
    """before, after: (token, id)"""
    around = lambda tokens: [{"SpecialToken": {"id": name, "type_id": 0}} for name, _ in tokens]
    return {"type": "TemplateProcessing",
            "single": around(before) + [{"Sequence": {"id": "A", "type_id": 0}}] + around(after),
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {name: {"id": name, "ids": [id], "tokens": [name]} for name, id in (*before, *after)}}


CL100K = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CL100K_POSSESSIVE = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
QWEN2 = CL100K.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
DEEPSEEK2 = [
    split(r"[\r\n]"),
    # Some characters by number: they are equivalent to others, which an editor may put in their place.
    split(r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1F7Dᾀ-ᾴᾶ-ᾼ\u1FBEῂ-ῄῆ-ῌῐ-\u1FD3ῖ-\u1FDBῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212A-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮ\u2CF2ⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+"),
    split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"),
    split(r"\s+$"),
    split(r"[一-龥ࠀ-一가-퟿]+"),
    digits(True),
    BYTE_LEVEL,
]
DEEPSEEK3 = [
    split(r"\p{N}{1,3}"),
    split(r"[一-龥぀-ゟ゠-ヿ]+"),
    split(r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
    BYTE_LEVEL,
]
NFC = {"type": "NFC"}
REPLACE_SPACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
LLAMA_NORMALIZER = sequence("normalizers", {"type": "Prepend", "prepend": "▁"}, REPLACE_SPACE)
LLAMA_DECODER = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
PHI3_TOKENS = [("<|assistant|>", {}), ("<|end|>", {}), ("<|user|>", {})]


def families(vocab, spm_size, unigram_size, charsmap):
    """name -> (model, the rest of its tokenizer.json). vocab: the byte-level one."""
    size = len(vocab)

    def byte_level(pre_tokenizer, tokens=("<|endoftext|>",), normalizer=None, post=BYTE_LEVEL_POST, **model):
        return ("byte_level", {
            "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": post,
            "decoder": BYTE_LEVEL_DECODER, "model": model,
            "added_tokens": [t if isinstance(t, dict) else added(size + i, t) for i, t in enumerate(tokens)]})

    def spm(normalizer, pre_tokenizer, decoder, tokens=(), post=template([("<s>", 1)])):
        specials = [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")]
        return ("spm_bpe", {
            "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": post,
            "decoder": sequence("decoders", *decoder), "added_tokens": specials + list(tokens)})

    def unigram(normalizer, pre_tokenizer, decoder, tokens=(), post=None, model="unigram"):
        return (model, {
            "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": post, "decoder": decoder,
            "added_tokens": [added(0, "<unk>"), added(2, "</s>")] + list(tokens)})

    precompiled = {"type": "Precompiled", "precompiled_charsmap": charsmap}
    llama3_tokens = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    bos = llama3_tokens[0], size
    runs = [added(size + 1 + i, " " * (31 - i), special=False) for i in range(8)]
    return {
        "gpt2": byte_level(BYTE_LEVEL_GPT2),
        "gpt2_prefix_space": byte_level({**BYTE_LEVEL_GPT2, "add_prefix_space": True}),
        "llama3": byte_level(pre(split(CL100K), BYTE_LEVEL), llama3_tokens, ignore_merges=True,
                             post=sequence("processors", BYTE_LEVEL_POST, template([bos]))),
        "tekken": byte_level(pre(split(TEKKEN), BYTE_LEVEL), ["<s>", "</s>", "[INST]", "[/INST]"], post=template([("<s>", size)])),
        "qwen2": byte_level(pre(split(QWEN2), BYTE_LEVEL), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], NFC),
        "phi2": byte_level(BYTE_LEVEL_GPT2, ["<|endoftext|>"] + runs),
        "phi4": byte_level(pre(split(CL100K), BYTE_LEVEL), [
            added(size, "<|endoftext|>", lstrip=True, rstrip=True), added(size + 1, "<|im_start|>", lstrip=True, rstrip=True),
            added(size + 2, "<|im_end|>", lstrip=True, rstrip=True)]),
        "neox": byte_level(BYTE_LEVEL_GPT2, ["<|endoftext|>", "<pad>"] + [added(size + 2, "  " * 12, special=False)], NFC,
                           post=template([])),
        "starcoder2": byte_level(pre(digits(True), BYTE_LEVEL_GPT2), ["<|endoftext|>", "<fim_prefix>", "<jupyter_code>"]),
        "falcon": byte_level(pre({"type": "Punctuation", "behavior": "Contiguous"}, BYTE_LEVEL_GPT2, digits(False),
                                 split("[0-9][0-9][0-9]"))),
        "stablelm2": byte_level(pre(split(QWEN2), BYTE_LEVEL), normalizer=NFC),
        "olmo2": byte_level(pre(split(CL100K_POSSESSIVE), BYTE_LEVEL)),
        "command_r": byte_level(pre(digits(True), BYTE_LEVEL_GPT2), ["<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>"], NFC,
                                post=template([("<BOS_TOKEN>", size)])),
        "smollm2": byte_level(pre(digits(True), BYTE_LEVEL_GPT2), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]),
        "granite": byte_level(pre(digits(True), BYTE_LEVEL_GPT2), ["<|end_of_text|>", "<fim_prefix>"]),
        "glm4": byte_level(pre(split(CL100K), BYTE_LEVEL), ["[gMASK]", "<sop>", "<|user|>"],
                           post=sequence("processors", BYTE_LEVEL_POST, template([("[gMASK]", size), ("<sop>", size + 1)]))),
        "deepseek2": byte_level(pre(*DEEPSEEK2), ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"],
                                post=template([("<｜begin▁of▁sentence｜>", size)])),
        "deepseek3": byte_level(pre(*DEEPSEEK3), ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>",
                                                  added(size + 2, "<｜User｜>", special=False, normalized=False)]),
        "gpt_oss": byte_level(pre(split(O200K), BYTE_LEVEL), ["<|startoftext|>", "<|return|>", "<|channel|>", "<|message|>"]),
        "flags": byte_level(BYTE_LEVEL_GPT2, [
            added(size, "<tok>"), added(size + 1, "<lstrip>", lstrip=True), added(size + 2, "<rstrip>", rstrip=True),
            added(size + 3, "<both>", lstrip=True, rstrip=True), added(vocab["word"], "word", special=False, single_word=True),
            added(size + 4, "Normalized", special=False), added(size + 5, "<s>", special=False, normalized=False)],
            sequence("normalizers", {"type": "Lowercase"})),
        "lowercase_accents": byte_level(BYTE_LEVEL_GPT2, normalizer=sequence(
            "normalizers", {"type": "NFD"}, {"type": "Lowercase"}, {"type": "StripAccents"},
            {"type": "Strip", "strip_left": True, "strip_right": True})),
        "nfkc_nmt": byte_level(BYTE_LEVEL_GPT2, normalizer=sequence("normalizers", {"type": "Nmt"}, {"type": "NFKC"})),
        "nfkd_replace": byte_level(BYTE_LEVEL_GPT2, normalizer=sequence(
            "normalizers", {"type": "NFKD"}, {"type": "Replace", "pattern": {"Regex": r"\d+"}, "content": "#"},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})),
        **{f"split_{behavior.lower()}{'_invert' if invert else ''}": byte_level(
            pre(split(r"[.,]|\s", behavior, invert), BYTE_LEVEL))
           for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
           for invert in (False, True)},
        "split_string": byte_level(pre(split(".", "MergedWithNext", kind="String"), {"type": "Punctuation", "behavior": "Isolated"},
                                       digits(False), BYTE_LEVEL)),
        "whitespace": byte_level(pre({"type": "Whitespace"}, {**BYTE_LEVEL, "add_prefix_space": True})),
        "llama2": spm(LLAMA_NORMALIZER, None, LLAMA_DECODER + [STRIP]),
        "mistral": spm(None, {**METASPACE, "prepend_scheme": "first", "split": False}, LLAMA_DECODER + [STRIP],
                       [added(spm_size, "[INST]"), added(spm_size + 1, "[/INST]")]),
        "phi3": spm(LLAMA_NORMALIZER, None, LLAMA_DECODER + [STRIP],
                    [added(2, "</s>", special=False, rstrip=True, normalized=False)] +
                    [added(spm_size + i, name, rstrip=True) for i, (name, _) in enumerate(PHI3_TOKENS)]),
        "gemma": spm(REPLACE_SPACE, split(" ", "MergedWithPrevious", kind="String"), LLAMA_DECODER,
                     [added(spm_size, "<start_of_turn>"), added(spm_size + 1, "<end_of_turn>"),
                      added(spm_size + 2, "\n\n", special=False, normalized=False),
                      added(spm_size + 3, "▁▁▁", special=False, normalized=False)]),
        "metaspace_split": spm(None, METASPACE, LLAMA_DECODER + [STRIP], post=template([("<s>", 1)], [("</s>", 2)])),
        "t5": unigram(sequence("normalizers", precompiled, {"type": "Strip", "strip_left": False, "strip_right": True},
                               {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}),
                      METASPACE, {**METASPACE}, [added(unigram_size, "<extra_id_0>")], template([], [("</s>", 2)])),
        "xglm": unigram(precompiled, pre({"type": "WhitespaceSplit"}, METASPACE), {**METASPACE}),
        "unigram_bytes": unigram(LLAMA_NORMALIZER, None, sequence("decoders", *LLAMA_DECODER, STRIP), model="unigram_bytes"),
    }


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


def result(why, encode, decode, show, **more):
    """encode: text -> ids; decode, show: ids -> text without and with special tokens."""
    ids = [encode(text) for text in TEXTS]
    sparse = lambda texts: {str(i): t for i, t in enumerate(texts) if t != TEXTS[i]}
    return {"made_with": MADE_WITH, "why": why, **more, "ids": ids, "text": sparse([decode(i) for i in ids]),
            "shown": sparse([show(i) for i in ids])}


def hf_result(why, file, **more):
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    return result(why, lambda t: tokenizer.encode(t).ids, lambda i: tokenizer.decode(i, skip_special_tokens=True),
                  lambda i: tokenizer.decode(i, skip_special_tokens=False), **more)


def make_hf(folder, shared):
    charsmap = base64.b64encode(parse_sentencepiece(shared["nmt_blob"]).normalizer_spec.precompiled_charsmap).decode()
    table = families(shared["byte_level"]["vocab"], len(shared["spm_bpe"]["vocab"]), len(shared["unigram"]["vocab"]), charsmap)
    write(OUT / "models.json", {name: shared[name] for name in ("byte_level", "spm_bpe", "unigram", "unigram_bytes")})
    for name, (model, rest) in table.items():
        whole = {"version": "1.0", "truncation": None, "padding": None, **rest, "model": {**shared[model], **rest.get("model", {})}}
        path = folder / f"{name}.json"
        write(path, whole)
        write(OUT / f"{name}.json", hf_result("tokenizer.json", path, model=model, tokenizer=rest))


def make_sentencepiece(folder, blobs):
    for name, blob in blobs.items():
        (OUT / f"{name}.model").write_bytes(blob)
        processor = sentencepiece.SentencePieceProcessor(model_proto=blob)
        unk = processor.unk_id()
        data = result("tokenizer.model", lambda t: processor.encode(t), lambda i: processor.decode(i), lambda i: processor.decode(i))
        # What stands for an unknown character differs from program to program.
        data["text"] = {k: v for k, v in data["text"].items() if unk not in data["ids"][int(k)]}
        del data["shown"]
        write(OUT / f"{name}.json", data)


def make_tiktoken(model):
    """The byte-level vocabulary as a rank file. The trained ids are in another order than the merges, which tiktoken
    needs: bytes first, then the merges' results."""
    alphabet = {c: b for b, c in enumerate_alphabet()}
    spelled = lambda token: bytes(alphabet[c] for c in token)
    tokens = [bytes([b]) for b in range(256)]
    for left, right in model["merges"]:
        tokens.append(spelled(left) + spelled(right))
    tokens = list(dict.fromkeys(tokens))
    (OUT / "ranks.tiktoken").write_text("".join(f"{base64.b64encode(t).decode()} {i}\n" for i, t in enumerate(tokens)))
    ranks = {token: i for i, token in enumerate(tokens)}
    for name, pattern, specials in (("tiktoken_qwen", QWEN2, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]),
                                    ("tiktoken_glm4", CL100K, ["<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>"])):
        ids = {special: len(tokens) + i for i, special in enumerate(specials)}
        encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=ids)
        write(OUT / f"{name}.json", result(
            "ranks.tiktoken", lambda t: encoding.encode(t, allowed_special="all"),
            lambda i: encoding.decode([x for x in i if x not in ids.values()]), lambda i: encoding.decode(i), specials=specials))


def enumerate_alphabet():
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return [(b, chr(b)) for b in printable] + [(b, chr(0x100 + i)) for i, b in enumerate(others)]


def make_vocab_merges(model):
    """The byte-level vocabulary in GPT-2's two files, of which the oracle is a tokenizer.json."""
    folder = OUT / "vocab_merges"
    folder.mkdir()
    vocab = {**model["vocab"], "<|endoftext|>": len(model["vocab"])}
    write(folder / "vocab.json", vocab)
    merges = "".join(" ".join(merge) + "\n" for merge in model["merges"])
    (folder / "merges.txt").write_text("#version: 0.2\n" + merges)
    write(folder / "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>",
                                             "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"})


def make_material(folder, material):
    """The real vocabularies. The files themselves stay where they are."""
    vocabularies = material / "tokenizers"
    for name, path in (("material_gpt2", "gpt2/tokenizer.json"), ("material_llama2", "llama2/tokenizer.json"),
                       ("material_phi3", "phi3/tokenizer.json"), ("material_qwen2", "qwen2/tokenizer.reconstructed.json")):
        write(OUT / f"{name}.json", hf_result("material", vocabularies / path, path=f"tokenizers/{path}"))
    for name, pre_tokenizer in (("falcon", pre({"type": "Punctuation", "behavior": "Contiguous"}, BYTE_LEVEL_GPT2, digits(False),
                                               split("[0-9][0-9][0-9]"))),
                                ("gpt-2", BYTE_LEVEL_GPT2)):
        path = f"tokenizers/llama.cpp-vocab/ggml-vocab-{name}.gguf"
        fields = gguf.GGUFReader(str(material / path)).fields
        strings = lambda key: [bytes(fields[key].parts[i]).decode() for i in fields[key].data]
        numbers = lambda key: [int(fields[key].parts[i][0]) for i in fields[key].data]
        tokens = strings("tokenizer.ggml.tokens")
        types = numbers("tokenizer.ggml.token_type")
        whole = {"version": "1.0", "truncation": None, "padding": None, "normalizer": None, "pre_tokenizer": pre_tokenizer,
                 "post_processor": None, "decoder": BYTE_LEVEL_DECODER,
                 "added_tokens": [added(i, t, special=types[i] == 3, normalized=False) for i, t in enumerate(tokens) if types[i] in (3, 4)],
                 "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                           "end_of_word_suffix": "", "fuse_unk": False, "vocab": {t: i for i, t in enumerate(tokens)},
                           "merges": strings("tokenizer.ggml.merges")}}
        write(folder / "gguf.json", whole)
        write(OUT / f"material_gguf_{name}.json", hf_result("material", folder / "gguf.json", path=path))
    processor = sentencepiece.SentencePieceProcessor(model_file=str(vocabularies / "llama2/tokenizer.model"))
    data = result("material", lambda t: processor.encode(t), lambda i: processor.decode(i), lambda i: processor.decode(i),
                  path="tokenizers/llama2/tokenizer.model")
    del data["shown"]
    write(OUT / "material_llama2_model.json", data)


def main():
    material = pathlib.Path(sys.argv[1])
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    write(OUT / "texts.json", TEXTS)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        common = dict(vocab_size=700, character_coverage=0.98, split_digits=True)
        identity = dict(normalization_rule_name="identity", remove_extra_whitespaces=False, allow_whitespace_only_pieces=True)
        rules = folder / "rules.tsv"
        rules.write_text("41 30A\tC5\nFB01\t66 69\n2126\t3A9\n65 301\tE9\n2026\t2E 2E 2E\n0A\t20\n09\t20\nAD\t\n")
        blobs = {
            "spm_llama": train_sentencepiece(folder, "a", model_type="bpe", byte_fallback=True, **common, **identity),
            "spm_gemma": train_sentencepiece(
                folder, "b", model_type="bpe", byte_fallback=True, add_dummy_prefix=False, **common, **identity,
                user_defined_symbols=["<tok>", "<start_of_turn>", "▁▁", "▁▁▁", "▁▁▁▁", "word", "the"],
                control_symbols=["<both>"]),
            "spm_bpe_rules": train_sentencepiece(folder, "c", model_type="bpe", normalization_rule_tsv=str(rules), **common,
                                                 user_defined_symbols=["ﬁ", "<tok>"]),
            "spm_unigram_nmt": train_sentencepiece(folder, "d", model_type="unigram", normalization_rule_name="nmt_nfkc", **common),
            "spm_unigram_bytes": train_sentencepiece(folder, "e", model_type="unigram", byte_fallback=True, **common, **identity,
                                                     user_defined_symbols=["<tok>", "word", "…"]),
        }
        byte_level = byte_level_model()
        shared = {"byte_level": byte_level, "spm_bpe": bpe_from_sentencepiece(blobs["spm_llama"]),
                  "unigram": unigram_from_sentencepiece(blobs["spm_unigram_nmt"]),
                  "unigram_bytes": unigram_from_sentencepiece(blobs["spm_unigram_bytes"], True),
                  "nmt_blob": blobs["spm_unigram_nmt"]}
        make_hf(folder, shared)
        make_sentencepiece(folder, blobs)
        make_tiktoken(byte_level)
        make_vocab_merges(byte_level)
        make_material(folder, material)
    print(sum(f.stat().st_size for f in OUT.rglob("*") if f.is_file()), "bytes,", len(TEXTS), "texts")


if __name__ == "__main__":
    main()
