#!/usr/bin/env python3
"""The values of a row of IQ4_KS and of one of IQ4_KSS, from the formats' published facts alone: their lines in
tests/quant/conformance_test.cpp.

A row is an f32 scale d and blocks of 256 weights. Weight l of sub-block b (32 weights) is
d * ((scale[b] & 254) - 127) * (table[nibble] + 4 * (scale[b] & 1)): of the 16 bytes of a sub-block the low nibbles are its
first 16 weights, the high nibbles the others. A block of IQ4_KS is {8 scale bytes, 128 bytes of nibbles}. One of IQ4_KSS is 64
words, eight to a sub-block: bit 0 of word i is bit i of the scale, and the word without it, xor itself shifted right by one,
is two bytes of nibbles. The rows here: d = 0.125, byte k of the block is (167 k + 41) mod 256; of IQ4_KSS, where bit 0 of every
word would be one, it is one in every third word."""
from fractions import Fraction

TABLE = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


def pattern(n):
    return [(167 * k + 41) % 256 for k in range(n)]


def hidden(block):
    words = [(block[2 * i] & 254 | int(i % 3 == 0)) + 256 * block[2 * i + 1] for i in range(64)]
    scales = [sum((words[8 * b + i] & 1) << i for i in range(8)) for b in range(8)]
    codes = [(word & 0xFFFE) ^ (word & 0xFFFE) >> 1 for word in words]
    return scales, [byte for code in codes for byte in (code & 255, code >> 8)]


def report(name, scales, nibbles):
    values = []
    for b, stored in enumerate(scales):
        scale, shift = (stored & 254) - 127, 4 * (stored & 1)
        for l in range(32):
            nibble = nibbles[16 * b + l % 16] >> 4 * (l // 16) & 15
            values.append(Fraction(1, 8) * scale * (TABLE[nibble] + shift))
    print(name, "first", [float(v) for v in values[:6]], "last", [float(v) for v in values[-2:]])
    print("sum", float(sum(values)), "index sum", float(sum((i + 1) * v for i, v in enumerate(values))),
          "square sum", float(sum(v * v for v in values)))


block = pattern(136)
report("IQ4_KS", block[:8], block[8:])
report("IQ4_KSS", *hidden(pattern(128)))
