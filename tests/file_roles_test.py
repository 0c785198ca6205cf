#!/usr/bin/env python3
"""Every path that a command writes against every path that it reads, and against its other outputs: refused before anything is written,
also through links and by another spelling of the path. Planted links under names that the program makes are not written through."""
import os
import shutil
import subprocess

from program import BENCH, DEMO, DODECA, check, finish, must, read, run, scratch

TEXT = "It is a truth universally acknowledged, that a single man. " * 40
REQUEST = '{"custom_id":"a","method":"POST","url":"/v1/completions","body":{"prompt":"x","max_tokens":1}}\n'
SHARDS = ["s-00001-of-00004.gguf", "s-00002-of-00004.gguf", "s-00004-of-00004.gguf"]
CHECKPOINT = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json", "model-00002-of-00002.safetensors"]


class Command:
    """args: the command line, in which {r} are inputs and {w} outputs by their keys.
    reads: key -> files that it stands for (the first is given). writes: key -> what is written for it, as endings of the given path."""

    def __init__(self, args, reads, writes, program=DODECA):
        self.args, self.reads, self.writes, self.program = args, reads, writes, program


COMMANDS = {
    "run": Command("run -m {m} -f {f} -n 1 -q --prompt-cache {c}", {"m": SHARDS, "f": ["text"]}, {"c": [""]}),
    "run, checkpoint": Command("run -m {m} -p x -n 1 -q --prompt-cache {c}", {"m": ["checkpoint", *("checkpoint/" + n for n in CHECKPOINT)]}, {"c": [""]}),
    "batch": Command("batch -m {m} -i {i} -o {o} --errors {e} -q --restart", {"m": SHARDS, "i": ["requests"]},
                     {"o": ["", ".state", ".state.7.0.tmp"], "e": [""]}),
    "batch in shards": Command("batch -m {m} -i {i} -o {o} --errors {e} -q --shard 0/1", {"m": SHARDS, "i": ["requests"]},
                               {"o": ["", ".state", ".state.7.0.tmp", ".7.0.tmp", ".shards.7"], "e": ["", ".7.0.tmp"]}),
    "imatrix": Command("imatrix -m {m} -f {f} -o {o} -c 32 --chunks 1 --save-frequency 1 -q", {"m": SHARDS, "f": ["text"]}, {"o": ["", ".at_1"]}),
    "imatrix, merging": Command("imatrix --in-file {a} --in-file {b} -o {o} --save-frequency 1 -q", {"a": ["imatrix"], "b": ["matrix"]},
                                {"o": [".at_1"]}),
    "ppl": Command("ppl -m {m} -f {f} --save-all-logits {o} -c 32 --chunks 1 -q", {"m": SHARDS, "f": ["text"]}, {"o": [""]}),
    "ppl, ids": Command("ppl -m {m} --ids {f} --kl-divergence-base {o} -c 32 -q", {"m": SHARDS, "f": ["ids"]}, {"o": [""]}),
    "quantize": Command("quantize {in} {out} Q8_0 --imatrix {i} -q --restart", {"in": SHARDS, "i": ["imatrix"]},
                        {"out": ["", ".partial", ".partial.log"]}),
    "quantize, recipe": Command("quantize {in} {out} --recipe {r} -q --restart", {"in": SHARDS, "r": ["recipe"]}, {"out": ["", ".partial"]}),
    "quantize, checkpoint": Command("quantize {in} {out} Q8_0 -q", {"in": ["checkpoint", *("checkpoint/" + n for n in CHECKPOINT)]},
                                    {"out": ["", ".partial"]}),
    "quantize, allocating": Command("quantize {in} {out} --target-bpw 5 --imatrix {i} --calibration {t} --save-recipe {r} --sensitivities {s} -q",
                                    {"in": SHARDS, "i": ["imatrix"], "t": ["text"]}, {"out": ["", ".partial"], "r": [""], "s": [""]}),
    "encoders": Command("encoders --rows {r} --columns 256 --type Q8_0 --importance {i} --out {o}", {"r": ["rows"], "i": ["importance"]},
                        {"o": [""]}, BENCH),
}


def spellings(folder, path):
    """Other paths of the same file, the plain one first."""
    links = os.path.join(folder, "links")
    shutil.rmtree(links, ignore_errors=True)
    os.mkdir(links)
    symbolic, hard = os.path.join(links, "symbolic"), os.path.join(links, "hard")
    os.symlink(path, symbolic)
    os.link(path, hard)
    return [path, symbolic, hard, os.path.join(folder, "links", "..", os.path.relpath(path, folder))]


def snapshot(folder):
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            status = os.stat(path)
            found[path] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def refused(folder, name, command, paths, words):
    before = snapshot(folder)
    args = command.args.format(**paths).split(" ")
    done = run(command.program, *args)
    where = f"{name}: {' '.join(args)}"
    check(done.code in (1, 2), f"{where}: exit code {done.code}")
    check("same file" in done.err and len(done.err.strip().splitlines()) == 1, f"{where}: {done.err!r}")
    check(all(word in done.err for word in words), f"{where}: {words} in {done.err!r}")
    check(snapshot(folder) == before, f"{where}: files were changed")


def try_pairs(folder, name, command):
    at = lambda n: os.path.join(folder, n)
    plain = {key: at(files[0]) for key, files in command.reads.items()}
    plain.update({key: at("new-" + key) for key in command.writes})
    n = 0
    for key, endings in command.writes.items():
        for ending in endings:
            for read_key, files in command.reads.items():
                for victim in files:
                    if os.path.isdir(at(victim)):
                        continue
                    if ending == "":
                        for path in spellings(folder, at(victim)):
                            refused(folder, name, command, {**plain, key: path}, [path])
                            n += 1
                        shutil.rmtree(at("links"))
                    elif victim == files[0]:  # what lies beside the output is the input
                        beside = at("beside" + ending)
                        os.link(at(victim), beside)
                        refused(folder, name, command, {**plain, key: at("beside")}, [])
                        os.remove(beside)
                        n += 1
            for other in command.writes:
                if other != key:  # two outputs, neither of them there
                    refused(folder, name, command, {**plain, key: at("beside"), other: at("beside" + ending)}, [])
                    n += 1
    return n


def check_meant(folder):
    """What looks alike and is meant."""
    matrix = os.path.join(folder, "own.gguf")
    shutil.copy(os.path.join(folder, "imatrix"), matrix)
    must(DODECA, "imatrix", "--in-file", matrix, "--in-file", os.path.join(folder, "matrix"), "-o", matrix, "-q")
    check(read(matrix) != read(os.path.join(folder, "imatrix")), "a matrix is added to in place")
    cache = os.path.join(folder, "cache")
    for _ in range(2):
        must(DODECA, "run", "-m", os.path.join(folder, SHARDS[0]), "-p", "It is", "-n", "1", "-c", "64", "--prompt-cache", cache, "-q")
    # Another number of files, another set.
    must(DODECA, "quantize", os.path.join(folder, SHARDS[0]), os.path.join(folder, "s.gguf"), "Q8_0", "--split-max-size", "15M", "-q")
    same = run(DODECA, "quantize", os.path.join(folder, SHARDS[0]), os.path.join(folder, "s.gguf"), "Q4_K", "--split-max-size", "4M", "-q")
    check(same.code == 2 and "same file" in same.err, f"the same set of files: {same.code}, {same.err!r}")


def check_planted(folder):
    """A link under a name that the program makes."""
    victim = os.path.join(folder, "victim")
    out, source = os.path.join(folder, "planted"), os.path.join(folder, SHARDS[0])
    batch = [DODECA, "batch", "-m", source, "-i", os.path.join(folder, "requests"), "-o", out, "-c", "64", "-q"]
    for ending, command in ((".partial", [DODECA, "quantize", source, out, "Q8_0", "-q"]), (".partial.log", [DODECA, "quantize", source, out, "Q8_0", "-q"]),
                            (".state", batch), (".errors.jsonl", batch)):
        with open(victim, "wb"):
            pass
        for plant in (os.symlink, os.link):
            plant(victim, out + ending)
            done = run(*command)
            check(os.path.getsize(victim) == 0, f"{ending}, {plant.__name__}: it is not written through")
            if ending == ".partial":  # no log vouches for it: it goes, and leaves what it named
                check(done.code == 0 and not os.path.lexists(out + ending), f"{ending}: exit code {done.code}, {done.err!r}")
                os.remove(out)
            else:
                check(done.code == 1 and "link" in done.err, f"{ending}, {plant.__name__}: exit code {done.code}, {done.err!r}")
                check(not os.path.exists(out), f"{ending}, {plant.__name__}: nothing is written")
                os.remove(out + ending)
    os.symlink(victim, os.path.join(folder, "kept.at_1"))
    done = run(DODECA, "imatrix", "-m", source, "-f", os.path.join(folder, "text"), "-o", os.path.join(folder, "kept"), "-c", "32", "--chunks", "1",
               "--save-frequency", "1", "-q")
    check(done.code == 1 and "link" in done.err and os.path.getsize(victim) == 0, f".at_1: exit code {done.code}, {done.err!r}")
    with open(victim, "w", encoding="utf-8") as f:
        f.write("precious")
    os.symlink(victim, os.path.join(folder, "split-00002-of-00003.gguf"))
    must(DODECA, "quantize", source, os.path.join(folder, "split.gguf"), "Q4_K", "--split-max-size", "6M", "-q")
    check(read(victim) == b"precious", "a file of a split result replaces a link, not what it names")


def check_streams(folder):
    """Messages would land in the results."""
    out = os.path.join(folder, "streams.jsonl")
    with open(out, "wb") as f:
        done = subprocess.run([DODECA, "batch", "-m", os.path.join(folder, SHARDS[0]), "-i", os.path.join(folder, "requests"), "-o", out],
                              stderr=f, check=False)
    check(done.returncode == 1 and b"same file" in read(out), "standard error into the results")


with scratch() as folder:
    at = lambda n: os.path.join(folder, n)
    must(DODECA, "quantize", DEMO, at("s.gguf"), "Q4_K", "--split-max-size", "4M", "-q")
    check(os.path.exists(at(SHARDS[2])), f"four files: {sorted(os.listdir(folder))}")
    shutil.copytree(DEMO, at("checkpoint"))
    for name, text in (("text", TEXT), ("requests", REQUEST), ("ids", "1 2 3 " * 40), ("recipe", '{"default": "Q8_0"}')):
        with open(at(name), "w", encoding="utf-8") as f:
            f.write(text)
    for name in ("rows", "importance"):
        with open(at(name), "wb") as f:
            f.write(b"\0\0\x80\x3f" * 256)
    must(DODECA, "imatrix", "-m", at(SHARDS[0]), "-f", at("text"), "-o", at("imatrix"), "-c", "32", "--chunks", "1", "--no-ppl", "-q")
    shutil.copy(at("imatrix"), at("matrix"))
    n = sum(try_pairs(folder, name, command) for name, command in COMMANDS.items())
    print(f"{n} command lines refused")
    check_meant(folder)
    check_planted(folder)
    check_streams(folder)
finish("inputs and outputs")
