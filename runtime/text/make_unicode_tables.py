#!/usr/bin/env python3
"""Writes unicode_tables.inc: what Python's str methods know of characters beyond ASCII (written with Python 3.11, Unicode 14).

usage: make_unicode_tables.py > unicode_tables.inc
"""
import sys
import unicodedata

EVERY = [c for c in range(0x80, 0x110000) if not 0xD800 <= c < 0xE000]


def runs(pairs):
    """(code point, difference) -> (first, last, step, difference), where neighbours differ alike."""
    out = []
    for c, d in pairs:
        if out and out[-1][3] == d and (out[-1][2] in (0, c - out[-1][1])) and c - out[-1][1] <= 2:
            out[-1] = (out[-1][0], c, c - out[-1][1], d)
        else:
            out.append((c, c, 0, d))
    return [(a, b, s or 1, d) for a, b, s, d in out]


def table(kind, name, rows):
    print(f"constexpr {kind} {name}[] = {{")
    line = ""
    for row in rows:
        if len(line) + len(row) > 116:
            print(" " + line)
            line = ""
        line += " " + row + ","
    print(" " + line + "\n};")


def text(s):
    return "".join(f"\\x{b:02x}" for b in s.encode())


print(f"// Written by make_unicode_tables.py with Unicode {unicodedata.unidata_version}.")
print("// clang-format off")
for name, change in (("kUpper", str.upper), ("kLower", str.lower)):
    simple = [(c, ord(change(chr(c))) - c) for c in EVERY if len(change(chr(c))) == 1 and change(chr(c)) != chr(c)]
    table("CaseRun", name, [f"{{0x{a:x}, 0x{b:x}, {s}, {d}}}" for a, b, s, d in runs(simple)])
    table("CaseText", name + "Texts", [f'{{0x{c:x}, "{text(change(chr(c)))}"}}' for c in EVERY if len(change(chr(c))) > 1])
table("CaseText", "kTitleTexts", [f'{{0x{c:x}, "{text(chr(c).title())}"}}' for c in EVERY if chr(c).title() != chr(c).upper()])
hidden = []
for c in EVERY:
    if chr(c).isprintable():
        continue
    if hidden and (hidden[-1][1] == c - 1 or (hidden[-1][1] == 0xD7FF and c == 0xE000)):
        hidden[-1][1] = c
    else:
        hidden.append([c, c])
table("CodeRange", "kNotPrintable", [f"{{0x{a:x}, 0x{b:x}}}" for a, b in hidden])
print("// clang-format on")
