#!/usr/bin/env python3
"""dodeca quantize around its writing: split files, --verify, the time's account, plans without weights, the older layout.

  tests/quantize_test.py build/release
"""
import json
import os
import re
import shutil
import struct

from program import DEMO, DODECA, check, finish, must, run, scratch


def generated(model):
    return must(DODECA, "run", "-m", model, "-p", "It is a truth universally acknowledged", "-n", "12", "--temp", "0").out


def usage(command, *parts):
    done = run(DODECA, "quantize", *command)
    check(done.code == 2 and all(part in done.err for part in parts), f"{command}: {done.code}, {done.err!r}")


def table(text):
    """Role -> last column, of the table whose head begins with "role"."""
    lines = text.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("role"))
    rows = {}
    for line in lines[head + 1:]:
        row = re.match(r"(\S.*?)\s{2,}.*?(\S+)$", line)
        if not row:
            break
        rows[row[1]] = row[2]
    return rows


with scratch() as folder:
    whole = os.path.join(folder, "whole.gguf")
    done = must(DODECA, "quantize", DEMO, whole, "--recipe", "ud-q2_k_xl", "--verify")
    check(re.search(r"needs about [\d.]+ MiB of memory", done.err), f"the memory in advance: {done.err!r}")
    check(re.search(r"GB/s read, [\d.]+ Mweights/s; limited by (cores|disk)", done.err), f"the bottleneck: {done.err!r}")
    errors = {role: float(error) for role, error in table(done.out).items()}
    check(errors["routed experts"] > errors["attention"] > 0 and errors["norms"] == 0, f"errors by role: {errors}")
    check("worst: blk." in done.out and "read back as written: 106 of 106 tensors" in done.out, done.out)

    split = os.path.join(folder, "split")
    os.mkdir(split)
    must(DODECA, "quantize", DEMO, os.path.join(split, "m.gguf"), "--recipe", "ud-q2_k_xl", "--split-max-size", "3M", "--low-memory", "--verify")
    names = sorted(os.listdir(split))
    check(names == [f"m-{i + 1:05}-of-{len(names):05}.gguf" for i in range(len(names))] and len(names) > 3, f"split files: {names}")
    check(all(os.path.getsize(os.path.join(split, n)) <= 3_000_000 for n in names), "no split file is larger than asked for")
    first = os.path.join(split, names[0])
    check(generated(first) == generated(whole), "a split file says what the whole one says")
    done = run(DODECA, "quantize", first, os.path.join(split, "m.gguf"), "Q8_0", "--split-max-tensors", "1000")
    check(done.code == 0, f"another number of files beside the source: {done.err!r}")
    usage([first, os.path.join(split, "m.gguf"), "--recipe", "ud-q2_k_xl", "--split-max-size", "3M"], "same file")
    must(DODECA, "quantize", first, os.path.join(split, "m2.gguf"), "Q4_K", "--split-max-tensors", "50")
    check(sum(n.startswith("m2-") for n in os.listdir(split)) == 3, "106 tensors in files of 50")

    fused = os.path.join(folder, "fused.gguf")
    must(DODECA, "quantize", DEMO, fused, "BF16", "--fused-kv-b")
    must(DODECA, "quantize", DEMO, os.path.join(folder, "bf16.gguf"), "BF16")
    check(generated(fused) == generated(os.path.join(folder, "bf16.gguf")), "the older layout says the same")

    # A type whose rows begin with a scale: made, read back, run at every instruction set, and a source of another file.
    scaled = os.path.join(folder, "scaled.gguf")
    done = must(DODECA, "quantize", DEMO, scaled, "IQ4_KS", "--verify")
    check("read back as written: 106 of 106 tensors" in done.out and "IQ4_KS 65" in done.err, f"IQ4_KS: {done.out!r} {done.err!r}")
    facts = json.loads(must(DODECA, "inspect", scaled, "--json").out)
    check(any(t["type"] == "IQ4_KS" for t in facts["types"]) if isinstance(facts.get("types"), list) else "IQ4_KS" in json.dumps(facts),
          "inspect knows the type")
    said = generated(scaled)
    for isa in "scalar", "avx2":
        args = ("-p", "It is a truth universally acknowledged", "-n", "12", "--temp", "0", "--isa", isa)
        check(must(DODECA, "run", "-m", scaled, *args).out == said, f"IQ4_KS says the same at {isa}")
    must(DODECA, "quantize", scaled, os.path.join(folder, "again.gguf"), "Q4_K", "--verify")

    # Plans: from headers alone, and from none.
    headers = os.path.join(folder, "cut", "model")  # the name is in the new file
    shutil.copytree(DEMO, headers)
    for name in os.listdir(headers):
        path = os.path.join(headers, name)
        if name.endswith(".safetensors"):
            with open(path, "rb") as f:
                length = struct.unpack("<Q", f.read(8))[0]
            os.truncate(path, 8 + length)
    plan = must(DODECA, "quantize", headers, "--recipe", "ud-q2_k_xl", "--dry-run").out
    check(plan == must(DODECA, "quantize", DEMO, "--recipe", "ud-q2_k_xl", "--dry-run").out,
          "a plan from headers alone")
    check(f"{os.path.getsize(whole)} bytes" in plan, "a plan has the file's size")
    facts = json.loads(must(DODECA, "inspect", whole, "--json").out)
    check(table(plan)["total"] == str(facts["bytes_per_token"]), "a plan has the bytes per token")
    done = run(DODECA, "quantize", headers, os.path.join(folder, "x.gguf"), "Q8_0")
    check(done.code == 1 and "incomplete download" in done.err and not os.path.exists(os.path.join(folder, "x.gguf")),
          f"headers alone are not quantized: {done.err!r}")

    shape = must(DODECA, "quantize", "--shape", "deepseek-v3", "--recipe", "ud-q2_k_xl", "--dry-run").out
    check("247712712192" in shape and table(shape)["total"].startswith("17"), f"the plan of a shape: {shape[-800:]}")
    usage(["--shape", "deepseek-v3", "--recipe", "ud-q2_k_xl"], "--dry-run")
    usage([DEMO, "--shape", "deepseek-v3", "--dry-run", "--recipe", "ud-q2_k_xl"], "IN")
    usage([DEMO, os.path.join(folder, "x.gguf"), "Q8_0", "--split-max-size", "3X"], "--split-max-size", "3X")
    done = run(DODECA, "quantize", DEMO, os.path.join(folder, "x.gguf"), "Q8_0", "--split-max-size", "10K")
    check(done.code == 1 and "cannot hold tensor output.weight" in done.err, f"too small a file: {done.code}, {done.err!r}")
finish("quantize")
