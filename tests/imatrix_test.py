#!/usr/bin/env python3
"""dodeca imatrix on the demo: the same file for any number of threads, both forms, merging, statistics, use by quantize, refusals."""
import os
import re

from program import DEMO, DODECA, ROOT, check, finish, must, read, run, scratch

TEXT = os.path.join(ROOT, "bench", "demo", "valid.txt")


with scratch() as folder:
    def at(name):
        return os.path.join(folder, name)

    collect = [DODECA, "imatrix", "-m", DEMO, "-f", TEXT, "-c", "128", "--chunks", "6", "-q"]
    out = must(*collect, "-t", "1", "-o", at("one.gguf")).out
    check(re.search(r"\[6\][\d.]+,\nFinal estimate: PPL = [\d.]+ \+/- ", out), f"running perplexity: {out!r}")
    must(*collect, "-t", "2", "-ub", "100", "-o", at("two.gguf"), "--save-frequency", "3")
    check(read(at("one.gguf")) == read(at("two.gguf")), "the same sums with two threads and another micro-batch")
    parts = must(*[word for word in collect if word != "-q"], "--numa", "parts=2", "-o", at("parts.gguf"))
    check(read(at("parts.gguf")) == read(at("one.gguf")) and "cannot run in parts" in parts.err, f"--numa parts=2 runs whole: {parts.err!r}")
    check(sorted(f for f in os.listdir(folder) if f.startswith("two")) == ["two.gguf", "two.gguf.at_3", "two.gguf.at_6"], "--save-frequency")

    shown = must(DODECA, "imatrix", "--in-file", at("one.gguf"), "--show-statistics").out
    names = re.findall(r"^\| (blk\S+|output\S+) ", shown, re.M)
    check(len(names) == 74 and "blk.1.ffn_down_exps.weight" in names, f"{len(names)} entries are shown")
    check("output.weight" in must(*collect, "-o", at("out.gguf"), "--process-output", "--no-ppl").out + must(
        DODECA, "imatrix", "--in-file", at("out.gguf"), "--show-statistics").out, "--process-output")
    must(DODECA, "imatrix", "--in-file", at("one.gguf"), "--in-file", at("two.gguf"), "-o", at("both.gguf"), "-q")
    check("74 entries, 12 chunks of 128" in must(DODECA, "imatrix", "--in-file", at("both.gguf"), "--show-statistics").out, "chunks add up")
    must(DODECA, "imatrix", "--in-file", at("one.gguf"), "-o", at("one.dat"), "-q")
    check(read(at("one.dat"))[:4] == (74).to_bytes(4, "little"), "the older form by its name")

    # An importance matrix moves the error to the columns that matter less.
    must(DODECA, "quantize", DEMO, at("plain.gguf"), "Q2_K", "-q")
    for form in ("one.gguf", "one.dat"):
        done = must(DODECA, "quantize", DEMO, at("weighted.gguf"), "Q2_K", "--imatrix", at(form))
        check("importance matrix: 74 entries" in done.err, f"{form}: the matrix is named: {done.err}")
        check(read(at("plain.gguf")) != read(at("weighted.gguf")), f"{form} changes the codes")
    check("quantize.imatrix.entries_count" in must(DODECA, "inspect", at("weighted.gguf")).out, "provenance is in the metadata")

    with open(at("cut.gguf"), "wb") as f:
        f.write(read(at("one.gguf"))[:5000])
    for what, args, part in (
            ("a cut matrix", ["quantize", DEMO, at("x.gguf"), "Q2_K", "--imatrix", at("cut.gguf")], "incomplete download"),
            ("a model instead of a matrix", ["quantize", DEMO, at("x.gguf"), "Q2_K", "--imatrix", at("plain.gguf")], "no importance matrix"),
            ("a text", ["imatrix", "--in-file", TEXT, "--show-statistics"], "no importance matrix"),
            ("a short text", ["imatrix", "-m", DEMO, "-f", __file__, "-c", "100000", "-o", at("x.gguf")], "at least one whole chunk")):
        done = run(DODECA, *args)
        check(done.code == 1 and part in done.err, f"{what}: exit code {done.code}, {done.err!r}")
        check(not os.path.exists(at("x.gguf")), f"{what} leaves no file")
    check(run(DODECA, "imatrix", "-m", DEMO).code == 2, "-m without -f is wrong usage")
finish("imatrix")
