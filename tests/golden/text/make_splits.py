"""Make splits.json: how Python's `regex` module cuts texts with the patterns of each pre-tokenizer.

usage: make_splits.py    needs regex (written with 2026.11.15); the patterns are those of the models' tokenizer.json files
"""
import json
import os
import random

import regex

CASED = "".join(
    "-".join(chr(int(end, 16)) for end in item.split("-"))
    for item in (
        "41-5A 61-7A B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376 377 37B-37D 37F 386 388-38A 38C "
        "38E-3A1 3A3-3F5 3F7-481 48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF 1D00-1D2B "
        "1D6B-1D77 1D79-1D9A 1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 "
        "1FB6-1FBC 1FBE 1FC2-1FC4 1FC6-1FCC 1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107 210A-2113 "
        "2115 2119-211D 2124 2126 2128 212A-212D 212F-2134 2139 213C-213F 2145-2149 214E 2183 2184 2C00-2C7B "
        "2C7E-2CE4 2CEB-2CEE 2CF2 2CF3 A640-A66D A680-A69B A722-A76F A771-A787 A78B-A78E AB70-ABBF FB00-FB06 "
        "FB13-FB17 FF21-FF3A FF41-FF5A 10400-1044F 104B0-104D3 104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF "
        "1E900-1E943"
    ).split()
)
TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"


def two_case(upper, lower, punctuation):
    return (
        rf"[^\r\n\p{{L}}\p{{N}}]?[{upper}]*[{lower}]+{SHORT}?|[^\r\n\p{{L}}\p{{N}}]?[{upper}]+[{lower}]*{SHORT}?"
        rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[{punctuation}]*|{TAIL}"
    )


PATTERNS = {
    "deepseek-v3": [
        r"\p{N}{1,3}",
        "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|" + TAIL,
    ],
    "deepseek-llm": [
        r"[\r\n]",
        rf"\s?[{CASED}]+",
        "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
        r"\s+$",
        CJK,
        r"\p{N}+",
    ],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK, r"\p{N}"],
    "llama-bpe": [SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + TAIL],
    "qwen2": [SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + TAIL],
    "gpt-4o": [two_case(UPPER, LOWER, r"\r\n/")],
    "kimi-k2": [r"[\p{Han}]+|" + two_case(UPPER + r"&&[^\p{Han}]", LOWER + r"&&[^\p{Han}]", r"\r\n")],
    "smollm": [r"\p{N}", GPT2],
    "gpt-2": [GPT2],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
}

TEXTS = [
    "",
    " ",
    "   ",
    "It is a truth universally acknowledged,\nthat a single man",
    "  leading and trailing  ",
    "tabs\tand\t\tmore \t x",
    "line\r\nends\r\n\r\n  indented\n\n\n    more\n",
    "1 12 123 1234 12345 1234567890 3.14159 1,000,000 \u0663\u0664\u0665\u0666 \u2167 \u00bd \u00b2\u00b3",
    "I'm you're HE'S they'LL we'Ve it'D can't 'tis 'S",
    "camelCase PascalCase SCREAMING_CASE snake_case kebab-case HTMLParser iPhone McDonald",
    "\u4e2d\u6587\u5b57\u7b26 \u548c English \u6df7\u5408 123\u4e2a \u3002\uff0c\uff01",
    "\u3072\u3089\u304c\u306a \u30ab\u30bf\u30ab\u30ca\u30fc \u6f22\u5b57\u3068\u304b\u306a \u3005\u3007\u303b",
    "\ud55c\uad6d\uc5b4 \ud14d\uc2a4\ud2b8",
    "\u041d\u0435\u0449\u043e \u043d\u0430 \u0411\u044a\u043b\u0433\u0430\u0440\u0441\u043a\u0438 \u0394\u03b5\u03bb\u03c4\u03b1 \u0561\u0562\u0563 \u10d0\u10d1\u10d2 \u10a0\u10a1 \U0001d4b3",
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd \u0928\u092e\u0938\u094d\u0924\u0947 \u0e44\u0e17\u0e22 \u1780\u17b6\u1793\u17cb",
    "e\u0301te\u0301 \u00e9t\u00e9 n\u0303 \u0301start a\u0327\u0300b",
    "\U0001f680 \U0001f469\u200d\U0001f469\u200d\U0001f467 \u2705 \U0001f999\U0001f999 \u2764\ufe0f",
    "def f(x):\n    return x**2  # comment\n\n\tif a!=b: pass",
    "a/b/c \\n https://example.org/a?b=c&d=e#f <tag attr=\"v\">&amp;</tag>",
    "......!!!!!!?????? ------===== ''''```\"\"\" $$$ +++ \u20ac\u00a3 \u00a7\u00b6",
    "\u00a0nbsp\u00a0 \u3000wide\u3000 \u2028ls\u2029ps \u202fx \u205fy \u1680z \u0085nel \u180emvs \u200bzw \ufeffbom",
    "\u01c5 \u01c6 \u01c4 \u02b0 \u1d2c \u00aa \u00ba \u00df \ufb01 \u0130 \u0131",
    "\x00\x01\x1b\x7f control",
    "mixed\u4e2dA\u6587b\u30a2C\u30ab d\ud55cE",
    "\u6f22\u0301A \u3400\u3401\U00020000 \u2e80\u2f00 \u3021 \uf900",
]
ALPHABET = list("aZ09 \n\r\t'._-/\u00e9\u0301\u4e2d\u3042\u30a2\ud55c\u0416\u01c5\u02b0\u00b2\u0664\u00a0\u3000\U0001f680$!") + ["'s", "  ", "AB", "\r\n"]


def split(patterns, text):
    pieces = [text] if text else []
    for pattern in patterns:
        compiled = regex.compile(pattern, regex.V1 if "&&" in pattern else regex.V0)
        cut = []
        for piece in pieces:
            done = 0
            for match in compiled.finditer(piece):
                if match.end() > match.start():
                    cut += [piece[done:match.start()], match.group()]
                    done = match.end()
            cut.append(piece[done:])
        pieces = [piece for piece in cut if piece]
    return pieces


def main():
    rng = random.Random(4)
    texts = TEXTS + ["".join(rng.choice(ALPHABET) for _ in range(40)) for _ in range(25)]
    pieces = {name: [split(patterns, text) for text in texts] for name, patterns in PATTERNS.items()}
    for cuts in pieces.values():
        assert all("".join(cut) == text for cut, text in zip(cuts, texts))
    # A list of pieces is stored as their lengths in code points: the text has the rest.
    rows = [f"  {json.dumps(name)}: {json.dumps([[len(p) for p in cut] for cut in cuts])}" for name, cuts in pieces.items()]
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "splits.json"), "w", encoding="utf-8") as file:
        file.write("{\n" + f' "regex": {json.dumps(regex.__version__)},\n "texts": {json.dumps(texts)},\n "pieces": {{\n')
        file.write(",\n".join(rows) + "\n }\n}\n")


main()
