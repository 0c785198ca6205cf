#!/usr/bin/env python3
"""Perplexity and divergence of every kernel route on the demo, against the float32 route of the same weights: within 0.2 % and
twice the divergence that was measured, and the exact routes equal to the last digit. Prints the table."""
import os
import re

from program import DEMO, DODECA, ROOT, check, finish, must, scratch

TEXT = os.path.join(ROOT, "bench", "demo", "valid.txt")
ROUTES = [("default", []), ("--isa avx2", ["--isa", "avx2"]), ("-ctk f32", ["-ctk", "f32"]), ("-ctk bf16", ["-ctk", "bf16"]),
          ("-ctk q8_0", ["-ctk", "q8_0"]), ("-ctk i8", ["-ctk", "i8"]), ("--onednn", ["--onednn"])]

with scratch() as folder:
    dynamic = os.path.join(folder, "dynamic.gguf")
    base = os.path.join(folder, "base.kld")
    must(DODECA, "quantize", DEMO, dynamic, "--recipe", "ud-q2_k_xl", "-q")
    print("| weights | route | PPL | to float32 | mean KLD |\n|---|---|--:|--:|--:|")
    for name, model, most_kld in (("FP8", DEMO, 7e-4), ("ud-q2_k_xl", dynamic, 2.2e-3)):
        common = [DODECA, "ppl", "-m", model, "-c", "512", "--chunks", "12", "-q"]
        out = must(*common, "-f", TEXT, "--compute", "f32", "-ctk", "f32", "--kl-divergence-base", base).out
        exact = float(re.search(r"PPL = ([\d.]+)", out)[1])
        print(f"| {name} | --compute f32 | {exact:.4f} | | |")
        outputs = {}
        for route, flags in ROUTES:
            out = must(*common, "--kl-divergence-base", base, "--kl-divergence", *flags).out
            outputs[route] = out
            ppl = float(re.search(r"Mean PPL\(Q\)\s*:\s*([\d.]+)", out)[1])
            kld = float(re.search(r"Mean\s+KLD:\s*(-?[\d.]+)", out)[1])
            print(f"| {name} | {route} | {ppl:.4f} | {100 * (ppl / exact - 1):+.3f} % | {kld:.6f} |")
            check(abs(ppl / exact - 1) <= 2e-3, f"{name} {route}: perplexity {ppl}, float32 {exact}")
            check(kld <= most_kld, f"{name} {route}: divergence {kld}, at most {most_kld}")
        check(outputs["default"] == outputs["--isa avx2"], f"{name}: AVX2 gives the same digits")
finish("routes")
