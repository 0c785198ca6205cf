#!/usr/bin/env python3
"""The values of an IQ4_KS row, from the format's published facts alone: the line of tests/quant/conformance_test.cpp.

A row is an f32 scale d and blocks of 256 weights {8 scale bytes, 128 bytes of nibbles}. Weight l of sub-block b (32 weights) is
d * ((sc[b] & 254) - 127) * (table[nibble] + 4 * (sc[b] & 1)): of the 16 bytes of a sub-block the low nibbles are its first 16
weights, the high nibbles the others. The row here: d = 0.125, byte k of the block is (167 k + 41) mod 256."""
from fractions import Fraction

TABLE = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)

block = [(167 * k + 41) % 256 for k in range(136)]
values = []
for b in range(8):
    scale, shift = (block[b] & 254) - 127, 4 * (block[b] & 1)
    for l in range(32):
        nibble = block[8 + 16 * b + l % 16] >> 4 * (l // 16) & 15
        values.append(Fraction(1, 8) * scale * (TABLE[nibble] + shift))
print("first", [float(v) for v in values[:6]], "last", [float(v) for v in values[-2:]])
print("sum", float(sum(values)), "index sum", float(sum((i + 1) * v for i, v in enumerate(values))),
      "square sum", float(sum(v * v for v in values)))
