#!/usr/bin/env python3
"""bench/regress.py: the statistic on known samples, and the whole script with programs whose speed is known."""
import json
import os
import random
import stat
import sys

from program import ROOT, check, finish, run, scratch

sys.path.insert(0, os.path.join(ROOT, "bench"))
import regress  # noqa: E402


def check_statistic():
    check(regress.sign_flip_p([1.0] * 8) == 2 / 256, "eight equal signs: two of 256 choices")
    check(regress.sign_flip_p([1.0, -1.0]) == 1.0, "no difference")
    check(regress.sign_flip_p([0.0, 0.0]) == 1.0, "no differences at all")
    check(regress.sign_flip_p([0.01 + 0.001 * i for i in range(20)]) < 1e-4, "sampled flips agree")
    check(regress.holm([0.01, 0.5, 0.02]) == [0.03, 0.5, 0.04], "Holm's steps")
    rng = random.Random(5)
    wrong = 0
    for _ in range(300):
        old = {"t": [100 * (1 + rng.gauss(0, 0.05)) for _ in range(10)]}
        new = {"t": [100 * (1 + rng.gauss(0, 0.05)) for _ in range(10)]}
        wrong += regress.verdicts(old, new, 0.05, 0)[0][-1] != "noise"
    check(wrong <= 30, f"equal speeds are called different in {wrong} of 300 cases, 15 are due")
    base = [100 * (1 + rng.gauss(0, 0.02)) for _ in range(10)]
    for factor, word in ((1.10, "faster"), (0.90, "slower"), (1.005, "noise")):
        rows = regress.verdicts({"t": base}, {"t": [b * factor for b in base]}, 0.05, 1.0)
        check(rows[0][-1] == word and abs(rows[0][3] - factor) < 1e-9, f"{factor}: {rows}")


def program(folder, name, rates):
    """A dodeca-bench that reports these rates."""
    path = os.path.join(folder, name)
    lines = [json.dumps({"n_prompt": p, "n_gen": g, "n_depth": 0, "n_threads": 2, "samples_ts": [ts, ts]}) for p, g, ts in rates]
    with open(path, "w", encoding="utf-8") as f:
        f.write("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n")
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
    return path


def check_script():
    script = os.path.join(ROOT, "bench", "regress.py")
    with scratch() as folder:
        old = program(folder, "old", [(512, 0, 100.0), (0, 64, 10.0)])
        new = program(folder, "new", [(512, 0, 120.0), (0, 64, 9.0)])
        done = run(sys.executable, script, old, new, "-m", "x", "--rounds", "8")
        check(done.code == 1, f"slower: exit code {done.code}, {done.err[-300:]}")
        check("| pp512, 2 threads | 100.00 | 120.00 | 1.200 |" in done.out and "| faster |" in done.out, done.out)
        check("| tg64, 2 threads | 10.00 | 9.00 | 0.900 |" in done.out and "| slower |" in done.out, done.out)
        done = run(sys.executable, script, old, old, "-m", "x", "--rounds", "6")
        check(done.code == 0 and done.out.count("| noise |") == 2, f"the same program: {done.out}")
        check(run(sys.executable, script, old, new, "--rounds", "3").code == 2, "too few rounds are refused")
        check(run(sys.executable, script, old, "/nonexistent").code != 0, "a missing program fails")


check_statistic()
check_script()
finish("regress")
