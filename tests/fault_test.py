#!/usr/bin/env python3
"""Disks that fail and power that is cut, at chosen calls of every command that writes: it says so in one sentence with exit code 1 and
spoils nothing that was good, and the same command run again ends with the complete right result.

  tests/fault_test.py build/release             a sample of the calls, as tests/run.sh does
  tests/fault_test.py build/release thorough    every call
"""
import concurrent.futures
import json
import os
import random
import sys

import faults
from faults import EIO, ENOSPC
from program import DEMO, DODECA, check, finish, must, read, scratch

THOROUGH = "thorough" in sys.argv[2:]
# kind of call, what happens to it, whether that lasts, how many of its calls are tried
PLANS = [("o", EIO, False, 2), ("w", EIO, False, 2), ("w", ENOSPC, True, 2), ("w", "short", False, 2), ("s", EIO, False, 3),
         ("s", ENOSPC, True, 1), ("r", EIO, False, 1), ("l", EIO, False, 2), ("u", EIO, False, 1), ("", "kill", False, 4)]
OPENINGS = ["It is a truth universally acknowledged", "Emma Woodhouse, handsome, clever, and rich,", "The family of Dashwood"]


def requests():
    lines = [{"custom_id": f"r{n}", "method": "POST", "url": "/v1/completions",
              "body": {"prompt": OPENINGS[n % 3], "max_tokens": 2 + n, "temperature": 0}} for n in range(6)]
    return "".join(json.dumps(line) + "\n" for line in lines) + "{broken\n"


class Case:
    """A command on a disk. `start`: files before it; `right`: what it should leave, as meaning() sees it; `between`: contents that
    are whole too."""

    def __init__(self, name, library, folder, command, start, meaning, between):
        self.name, self.start, self.meaning, self.between = name, start, meaning, between
        os.mkdir(folder)
        self.disk = faults.Disk(library, folder)
        self.command = [self.disk.path(c[1:]) if isinstance(c, str) and c.startswith("@") else c for c in command]
        self.disk.set(start)
        done = self.disk.run(self.command)
        if done.code != 0:
            raise SystemExit(f"{name}: exit code {done.code}: {done.err}")
        self.calls = self.disk.calls_seen()
        self.right = meaning(self.disk.files())
        self.disk.cut_power()
        check(meaning(self.disk.files()) == self.right, f"{name}: what was done survives a power cut")

    def sound(self, where):
        """Whole results only: the old ones, the new ones, or a part of these that says no more than it knows."""
        now, before = self.meaning(self.disk.files()), self.meaning(self.start)
        for name, found in now.items():
            if isinstance(found, dict):  # lines by their ids
                good = self.right.get(name, {})
                check(all(good.get(key) == value for key, value in found.items()), f"{where}: {name} has other lines")
            else:
                check(found in (self.right.get(name), before.get(name), *self.between), f"{where}: {name} is spoiled")

    def completes(self, where):
        done = self.disk.run(self.command)
        check(done.code == 0, f"{where}: then exit code {done.code}: {done.err[-300:]}")
        check(self.meaning(self.disk.files()) == self.right, f"{where}: then other results: {sorted(self.disk.files())}")

    def meet(self, calls, at, what, lasts):
        where = f"{self.name}, call {at} of kind {calls or 'any'}, {what}"
        self.disk.set(self.start)
        done = self.disk.run(self.command, calls, at, what, lasts)
        if what == "kill":
            check(done.code in (-9, 0), f"{where}: exit code {done.code}")  # syncs on a schedule: it may end before
            self.sound(where)
            self.disk.cut_power()
        elif what == "short":
            check(done.code == 0 and self.meaning(self.disk.files()) == self.right, f"{where}: exit code {done.code}: {done.err}")
        elif done.code == 0:  # what failed was not needed
            check(self.meaning(self.disk.files()) == self.right, f"{where}: exit code 0 with other results")
            self.disk.cut_power()
            check(self.meaning(self.disk.files()) == self.right, f"{where}: exit code 0, and a power cut loses results")
        else:
            check(done.code == 1, f"{where}: exit code {done.code}")
            said = [line for line in done.err.splitlines() if line.startswith("dodeca ")]
            check(len(said) == 1 and len(said[0]) > 40, f"{where}: one sentence, not {done.err!r}")
            check("needs 0 bytes" not in done.err, f"{where}: {done.err!r}")
            if what == ENOSPC:
                check(any(word in done.err for word in ("disk full", "no room", "No space")), f"{where}: {done.err!r}")
        self.sound(where)
        self.completes(where)

    def run(self):
        rng = random.Random(self.name)
        n_met = 0
        for calls, what, lasts, n_tried in PLANS:
            n = len(self.calls) if not calls else self.calls.count(calls)
            points = range(1, n + 1)
            if not THOROUGH:
                points = sorted(rng.sample(points, min(n_tried, n)))
            for at in points:
                self.meet(calls, at, what, lasts)
                n_met += 1
        return f"{self.name}: {n_met} faults over {self.calls}"


def finished(files):
    """Without what is unfinished, and says so by its name."""
    return {name: data for name, data in files.items() if not name.endswith((".partial", ".log", ".tmp"))}


def batch_meaning(files):
    """Results and errors as lines by their ids; `created` is the time of the first start."""
    found = {}
    for name, data in files.items():
        if not name.endswith(".jsonl"):
            continue
        lines = {}
        for line in data.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                continue  # torn: nobody was told of it
            entry = json.loads(line)
            key = entry["custom_id"] or f"line {entry['error']['line']}"
            check(key not in lines, f"{key} is there twice")
            lines[key] = entry["response"]["body"]["choices"] if entry["response"] and "choices" in entry["response"]["body"] else entry["error"]
        found[name] = lines
    return found


def half_done(complete):
    """As a run left it that was killed: two lines and a half, synced nothing but the first."""
    lines = complete["res.jsonl"].splitlines(keepends=True)
    state = json.loads(complete["res.jsonl.state"])
    state["synced_results"], state["synced_errors"] = len(lines[0]), 0
    return {**complete, "res.jsonl": lines[0] + lines[1] + lines[2][:50], "res.errors.jsonl": b"",
            "res.jsonl.state": json.dumps(state).encode()}


with scratch() as folder:
    library = faults.build(folder)
    if library is None:
        print("no C compiler builds tests/support/faults.c")
        raise SystemExit(77)
    model, text, inputs = (os.path.join(folder, name) for name in ("model.gguf", "text.txt", "in.jsonl"))
    must(DODECA, "quantize", DEMO, model, "Q4_K", "-q")
    with open(text, "w", encoding="utf-8") as f:
        f.write("It is a truth universally acknowledged, that a single man in possession of a good fortune. " * 20)
    with open(inputs, "w", encoding="utf-8") as f:
        f.write(requests())
    on_model = ["-m", model, "-t", "1", "-q"]
    batch = [DODECA, "batch", *on_model, "-i", inputs, "-o", "@res.jsonl", "-c", "64", "--parallel", "2", "--allow-errors"]
    quantize = [DODECA, "quantize", DEMO, "@out.gguf", "Q8_0", "-t", "1", "-q"]
    split = [*quantize, "--split-max-size", "5M"]

    def case(name, command, start, meaning=finished, between=()):
        return Case(name, library, os.path.join(folder, name), command, start, meaning, between)

    cases = [case("batch", batch, {}, batch_meaning)]
    cases[0].disk.set({})
    must(*cases[0].command)
    complete = cases[0].disk.files()
    cases.append(case("batch resumed", batch, half_done(complete), batch_meaning))
    cases.append(case("batch restarted", [*batch, "--restart"], complete, batch_meaning))
    shards = [*batch, "--shard", "0/1"]
    cases.append(case("batch in shards", shards, {}, batch_meaning))
    cases[-1].disk.set({})
    cases[-1].disk.run(cases[-1].command, "s", cases[-1].calls.count("s") // 2, "kill")
    cases.append(case("batch in shards resumed", shards, cases[-1].disk.files(), batch_meaning))
    check(any(".shards." in name and name.endswith(".done") for name in cases[-1].start), f"something to go on with: {sorted(cases[-1].start)}")
    cases.append(case("quantize", quantize, {"out.gguf": b"an older one"}))
    cases.append(case("quantize split", split, {}))
    cases[-1].disk.set({})
    cases[-1].disk.run(cases[-1].command, "s", cases[-1].calls.count("s") // 2, "kill")
    cases.append(case("quantize resumed", split, cases[-1].disk.files()))
    check(any(name.endswith(".log") for name in cases[-1].start), f"something to go on with: {sorted(cases[-1].start)}")
    imatrix = [DODECA, "imatrix", *on_model, "-f", text, "-c", "64", "-ofreq", "1", "--no-ppl"]
    between = []
    for chunks in ("1", "2"):
        must(*imatrix, "--chunks", chunks, "-o", os.path.join(folder, "between.gguf"))
        between.append(read(os.path.join(folder, "between.gguf")))
    cases.append(case("imatrix", [*imatrix, "--chunks", "3", "-o", "@i.gguf"], {"i.gguf": b"an older one"}, between=between))
    cases.append(case("prompt cache", [DODECA, "run", *on_model, "-p", OPENINGS[0], "-n", "2", "--temp", "0", "-c", "64",
                                       "--prompt-cache", "@cache"], {}))
    cases.append(case("ppl", [DODECA, "ppl", *on_model, "-f", text, "-c", "32", "--chunks", "2", "--save-all-logits", "@logits"],
                      {"logits": b"an older one"}))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for line in pool.map(Case.run, cases):
            print(line)
finish("faults")
