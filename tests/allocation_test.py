#!/usr/bin/env python3
"""dodeca quantize with a size instead of types: the file is within its size and better than the mixtures of that size, the choice is
saved, read back and edited, and what cannot be is refused with its numbers."""
import json
import os
import re

from program import DEMO, DODECA, ROOT, check, finish, must, run, scratch

TEXT = os.path.join(ROOT, "bench", "demo", "valid.txt")
CALIBRATION = os.path.join(ROOT, "bench", "demo", "calibration.txt")


def read(path):
    with open(path, "rb") as f:
        return f.read()


with scratch() as folder:
    def at(name):
        return os.path.join(folder, name)

    def divergence(path):
        text = must(DODECA, "ppl", "-m", path, "--kl-divergence", "--kl-divergence-base", at("base")).out
        return float(re.search(r"Mean\s+KLD:\s*(-?[\d.]+)", text)[1])

    must(DODECA, "ppl", "-m", DEMO, "-f", TEXT, "--kl-divergence-base", at("base"))
    must(DODECA, "imatrix", "-m", DEMO, "-f", CALIBRATION, "-o", at("imatrix.gguf"), "--chunks", "20", "--no-ppl")
    imatrix = ["--imatrix", at("imatrix.gguf")]
    k_types = ["--types", "Q2_K,Q3_K,Q4_K,Q6_K,Q8_0,Q4_0"]

    must(DODECA, "quantize", DEMO, at("mixture.gguf"), "--recipe", "ud-q2_k_xl", *imatrix)
    size = os.path.getsize(at("mixture.gguf"))
    made = must(DODECA, "quantize", DEMO, at("allocated.gguf"), "--target-size", str(size), "--calibration", CALIBRATION,
                "--calibration-chunks", "2", "--save-recipe", at("recipe.json"), *imatrix)
    check(size * 0.999 < os.path.getsize(at("allocated.gguf")) <= size, "the size is used and kept")
    ours, mixture = divergence(at("allocated.gguf")), divergence(at("mixture.gguf"))
    check(ours < 0.9 * mixture, f"divergence {ours} against the mixture's {mixture}")
    told = re.search(r"chosen for (\d+) bytes: expected divergence ([\d.]+) \(no choice is below ([\d.]+)\), measured ([\d.]+)", made.err)
    check(told is not None, "the choice is told with its bound")
    if told:
        check(int(told[1]) == os.path.getsize(at("allocated.gguf")), "the size that was told")
        check(float(told[3]) <= float(told[2]) < 1.01 * float(told[3]), f"expected {told[2]} near its bound {told[3]}")
        check(float(told[2]) / 2 < float(told[4]) < float(told[2]) * 2, f"expected {told[2]}, measured {told[4]}")

    must(DODECA, "quantize", DEMO, at("again.gguf"), "--recipe", at("recipe.json"), *imatrix)
    check(read(at("again.gguf")) == read(at("allocated.gguf")), "the saved recipe makes the same file")
    with open(at("recipe.json")) as f:
        recipe = json.load(f)
    recipe["tensors"]["output.weight"] = "Q8_0"
    recipe["rules"] = [{"match": "nothing_has_this", "type": "Q2_K"}]
    with open(at("edited.json"), "w") as f:
        json.dump(recipe, f)
    listed = must(DODECA, "quantize", DEMO, at("none.gguf"), "--recipe", at("edited.json"), "--dry-run").out
    check(re.search(r"^output\.weight +Q8_0", listed, re.M), "an edited recipe")

    estimated = must(DODECA, "quantize", DEMO, at("bpw.gguf"), "--target-bpw", "3.5", *k_types, *imatrix)
    bits = float(re.search(r"([\d.]+) bits per weight, in", estimated.err)[1])
    check(3.45 < bits <= 3.5, f"bits per weight {bits}")
    check("without --calibration" in estimated.err, "estimates are said to be estimates")

    speed = must(DODECA, "quantize", DEMO, at("fast.gguf"), "--target-size", str(size), "--objective", "speed", "--dry-run", *k_types, *imatrix)
    check(os.path.exists(at("fast.gguf")) is False and "output.weight" in speed.out, "a dry run shows the choice")

    for flags, code, message in [
            (["--target-size", "1M", *k_types], 1, "are allowed"),
            (["--target-size", "lots"], 2, "needs a size"),
            (["--target-size", "10M", "--type", "Q4_K"], 2, "exclude each other"),
            (["--target-size", "10M", "--target-bpw", "3"], 2, "exclude each other"),
            (["--fit-ram", "1K"], 1, "--fit-ram says"),
            (["--vram", "1G", "--target-size", "10M"], 2, "--vram goes with"),
            (["--target-size", "10M", "--types", "Q2_K,XX"], 2, "'XX'"),
            (["--type", "Q4_K", "--save-recipe", at("x")], 2, "go with"),
            (["--recipe", at("absent.json")], 2, "no file and no recipe"),
            (["--recipe", TEXT], 1, "valid.txt")]:
        done = run(DODECA, "quantize", DEMO, at("refused.gguf"), *flags)
        check(done.code == code and message in done.err, f"{flags}: {done.code} {done.err[-200:]}")
    check(not os.path.exists(at("refused.gguf")), "nothing is written by what is refused")
finish("allocation_test")
