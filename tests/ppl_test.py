#!/usr/bin/env python3
"""dodeca ppl and dodeca inspect through the program: both definitions of perplexity, base files written, compared and damaged,
every way to get the tokens wrong; sums of inspect, and truncated files."""
import json
import os
import re
import struct

from program import DEMO, DODECA, ROOT, check, finish, must, run, scratch

TEXT = os.path.join(ROOT, "bench", "demo", "valid.txt")


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)
    return path


def estimate(out):
    last = out.strip().splitlines()[-1]
    match = re.fullmatch(r"Final estimate: PPL = (\d+\.\d{4}) \+/- (\d+\.\d{5})", last)
    check(match is not None, f"the last line is {last!r}")
    return float(match[1]) if match else 0.0


def statistic(out, label):
    match = re.search(r"^" + re.escape(label) + r"\s*:?\s*(-?\d+\.\d+)", out, re.M)
    check(match is not None, f"{label!r} is in the statistics")
    return float(match[1]) if match else 0.0


def fails(code, args, *words):
    done = run(DODECA, *args)
    check(done.code == code, f"{args}: exit code {done.code}, want {code}: {done.err[-300:]!r}")
    for word in words:
        check(word in done.err, f"{args}: {word!r} in {done.err!r}")


def check_divergence(folder):
    gguf, base = os.path.join(folder, "f32.gguf"), os.path.join(folder, "base.bin")
    small = os.path.join(folder, "q2_k.gguf")
    must(DODECA, "quantize", DEMO, gguf, "--type", "F32")
    must(DODECA, "quantize", DEMO, small, "--type", "Q2_K")
    common = ["--chunks", "2", "-c", "256"]
    plain = estimate(must(DODECA, "ppl", "-m", gguf, "-f", TEXT, *common, "--compute", "f32").out)
    written = must(DODECA, "ppl", "-m", gguf, "-f", TEXT, *common, "--compute", "f32", "--kl-divergence-base", base).out
    check(estimate(written) == plain, f"writing a base file changes the estimate: {plain}, {written[-60:]!r}")
    check(len(re.findall(r"\[\d+\]\d+\.\d{4},", written)) == 2, "one running value for each window")

    head = struct.unpack("<8sIii", open(base, "rb").read(20))
    check(head[:2] == (b"_logits_", 256) and head[3] == 2, f"the base file begins with {head}")
    rows = 2 * (256 - 1 - 128)
    check(os.path.getsize(base) == 20 + 4 * 512 + rows * 2 * ((head[2] + 1) // 2 * 2 + 4), "the base file's size")

    compare = ["--kl-divergence", "--kl-divergence-base", base]
    same = must(DODECA, "ppl", "-m", gguf, *compare, "--compute", "f32").out
    check(statistic(same, "Mean    KLD") < 1e-5, "a model does not diverge from itself")
    check(statistic(same, "Same top p") > 99.0, "a model agrees with itself on the top token")
    check(abs(statistic(same, "Mean PPL(base)") / plain - 1) < 1e-3, "the base's perplexity is in its file")
    other = must(DODECA, "ppl", "-m", small, *compare).out
    check(0.01 < statistic(other, "Mean    KLD") < 1.0, "Q2_K diverges, but not wildly")
    for heading in ("Perplexity", "KL divergence", "Token probability"):
        check(f"====== {heading} statistics ======\n" in other, f"heading {heading}")

    whole = open(base, "rb").read()
    damaged = os.path.join(folder, "damaged.bin")
    for n in (0, 7, 19, 20, 500, len(whole) - 1):
        write(damaged, whole[:n])
        fails(1, ["ppl", "-m", gguf, "--kl-divergence", "--kl-divergence-base", damaged], damaged)
    check(sorted(os.listdir(folder)) == ["base.bin", "damaged.bin", "f32.gguf", "q2_k.gguf"], f"nothing else is left: {os.listdir(folder)}")


def check_tokens(folder):
    ids = write(os.path.join(folder, "ids.txt"), b"1661 368\n261\t1903 476 108\n")
    # One window of six, five predictions scored: the mean of what --tokens prints.
    out = must(DODECA, "ppl", "-m", DEMO, "--ids", ids, "--tokens", "--compute", "f32").out
    tokens = [json.loads(line) for line in out.splitlines()]
    check([t["id"] for t in tokens] == [1661, 368, 261, 1903, 476, 108], "ids of --tokens")
    check("".join(t["text"] for t in tokens[:4]) == "It is a truth", f"texts of --tokens: {tokens}")
    check(tokens[0]["logprob"] is None and all(t["logprob"] < 0 for t in tokens[1:]), "log-probabilities of --tokens")
    value = estimate(must(DODECA, "ppl", "-m", DEMO, "--ids", ids, "--compute", "f32").out)
    mean = -sum(t["logprob"] for t in tokens[1:]) / 5
    check(abs(value / 2.718281828459045**mean - 1) < 1e-5, f"--ids says {value}, --tokens {2.718281828459045**mean}")

    bad = os.path.join(folder, "bad.txt")
    for data, word in ((b"1 2 x", "'x'"), (b"1 -2", "'-2'"), (b"1, 2", "'1,'"), (b"", "no tokens"), (b"99999999999", "99999999999"),
                       (b"1 2 4096 3", "4096"), (b"1 \xff 2", "\\xFF"), (b"\xff\xfe", "UTF-16")):
        write(bad, data)
        fails(1, ["ppl", "-m", DEMO, "--ids", bad], word)
    fails(1, ["ppl", "-m", DEMO, "--ids", ids, "--tokens", "-c", "5"], "6 tokens", "-c 6")
    write(bad, b"too short a text")
    fails(1, ["ppl", "-m", DEMO, "-f", bad], "1024")
    fails(1, ["ppl", "-m", DEMO, "-f", folder], folder)
    for args in ([], ["-f", TEXT, "--ids", ids], ["--kl-divergence"], ["-f", TEXT, "-c", "2"], ["--ids", ids, "--chunks", "0"]):
        fails(2, ["ppl", "-m", DEMO, *args])


def check_inspect(folder):
    gguf = os.path.join(folder, "q2_k.gguf")
    for path in (gguf, DEMO):
        for full in ([], ["--full"]):
            report = json.loads(must(DODECA, "inspect", path, "--json", *full).out)
            for key in ("bytes", "parameters"):
                total = sum(t[key] for t in report["tensors"] if key == "bytes" or not t["name"].endswith("_scale_inv"))
                check(total == report["total"][key], f"{path}: sum of {key}")
                check(total == sum(r[key] for r in report["roles"].values()), f"{path}: sum of {key} over roles")
                check(total == sum(r[key] for r in report["types"].values()), f"{path}: sum of {key} over types")
            check(report["bytes_per_token"] == sum(r["bytes_per_token"] for r in report["roles"].values()), f"{path}: bytes per token")
            check(0 < report["bytes_per_token"] < report["total"]["bytes"], f"{path}: a token reads a part")
        text = must(DODECA, "inspect", path).out
        check("bits/weight" in text and "bytes read per generated token" in text, f"{path}: text output")

    whole = open(gguf, "rb").read()
    cut = os.path.join(folder, "cut.gguf")
    header = whole.index(b"token_embd.weight")
    for n in [0, 3, 4, 23, 24, *range(30, header, header // 12), header + 20, len(whole) // 2, len(whole) - 40]:
        write(cut, whole[:n])
        for args in (["inspect", cut], ["inspect", cut, "--json"], ["tokenize", "-m", cut, "-p", "x"], ["run", "-m", cut, "-p", "x"]):
            done = run(DODECA, *args)
            check(done.code == 1 and done.out == "" and cut in done.err, f"{n} bytes, {args[0]}: exit code {done.code}, {done.err[-200:]!r}")
    os.remove(cut)


with scratch() as folder:
    check_divergence(folder)
    check_tokens(folder)
    check_inspect(folder)
finish("ppl")
