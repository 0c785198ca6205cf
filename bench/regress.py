#!/usr/bin/env python3
"""Is a build faster, slower, or is it noise? Two dodeca-bench programs on the same file or shape, alternating, new first in every
other round, so that both meet the same disturbances.

  bench/regress.py old/dodeca-bench new/dodeca-bench -m model.gguf -p 512 -n 64
  bench/regress.py old/dodeca-bench new/dodeca-bench --shape deepseek-v3 --layers 4 --rounds 12
  bench/regress.py same/dodeca-bench same/dodeca-bench -m model.gguf             what the machine's own noise looks like

What is not an option of this script goes to both programs. Each round gives one ratio new / old per test, of medians of the
repetitions. A test is called faster or slower when all of this holds, else noise:
- an exact sign-flip test on the logarithms of the ratios (no assumption about their distribution but that without a difference
  a ratio is as likely as its inverse) has p below --alpha after Holm's correction for the number of tests;
- the median ratio is at least --least percent away from 1.
Exit code 1 when a test became slower.
"""
import argparse
import itertools
import json
import math
import random
import statistics
import subprocess
import sys

EXACT_ROUNDS = 16  # above it the flips are sampled: 2^16 are counted in a second
SAMPLES = 100_000


def sign_flip_p(values):
    """Two-sided p of the mean: the share of all choices of signs whose mean is as far from 0."""
    observed = abs(sum(values))
    close = observed * (1 - 1e-12)
    if observed == 0:
        return 1.0
    if len(values) <= EXACT_ROUNDS:
        flips = itertools.product((1, -1), repeat=len(values))
        hits = sum(abs(sum(s * v for s, v in zip(signs, values))) >= close for signs in flips)
        return hits / 2 ** len(values)
    rng = random.Random(1)
    hits = sum(abs(sum(v if rng.random() < 0.5 else -v for v in values)) >= close for _ in range(SAMPLES))
    return (hits + 1) / (SAMPLES + 1)


def holm(p_values):
    """p adjusted for looking at several tests at once, in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = worst
    return adjusted


def verdicts(old, new, alpha, least_percent):
    """old, new: {test: [one figure per round]}. Returns [(test, median old, median new, median ratio, p, word)]."""
    tests = [test for test in old if test in new]
    logs = {test: [math.log(n / o) for o, n in zip(old[test], new[test])] for test in tests}
    adjusted = holm([sign_flip_p(logs[test]) for test in tests])
    rows = []
    for test, p in zip(tests, adjusted):
        ratio = math.exp(statistics.median(logs[test]))
        large = abs(math.log(ratio)) >= math.log(1 + least_percent / 100)
        word = "noise" if p >= alpha or not large else "faster" if ratio > 1 else "slower"
        rows.append((test, statistics.median(old[test]), statistics.median(new[test]), ratio, p, word))
    return rows


def label(row):
    parts = [f"pp{row['n_prompt']}"] if row["n_prompt"] else []
    parts += [f"tg{row['n_gen']}"] if row["n_gen"] else []
    parallel = row.get("n_parallel", 1)
    text = "+".join(parts) + (f" x{parallel}" if parallel > 1 else "")
    return f"{text}{' @ d%d' % row['n_depth'] if row['n_depth'] else ''}, {row['n_threads']} threads"


def run(program, arguments):
    command = [program, *arguments, "-o", "jsonl", "--no-membw", "-q"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except OSError as error:
        raise SystemExit(f"{program}: {error.strerror}") from None
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {label(row): statistics.median(row["samples_ts"]) for row in rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("old", metavar="OLD", help="a dodeca-bench")
    parser.add_argument("new", metavar="NEW", help="another")
    parser.add_argument("--rounds", type=int, default=10, help="pairs of runs (default: 10)")
    parser.add_argument("--alpha", type=float, default=0.05, help="probability of a wrong word over all tests (default: 0.05)")
    parser.add_argument("--least", type=float, default=1.0, metavar="PERCENT", help="smaller differences are noise (default: 1)")
    parser.add_argument("--json", metavar="FILE", help="write all figures to this file")
    args, passed_on = parser.parse_known_args()
    if args.rounds < 6:
        parser.error("--rounds must be at least 6: with fewer no result could be told from chance")
    if not 0 < args.alpha < 1 or args.least < 0:
        parser.error("--alpha must be between 0 and 1, --least not negative")
    samples = {"old": {}, "new": {}}
    programs = {"old": args.old, "new": args.new}
    for index in range(args.rounds):
        for name in ("old", "new") if index % 2 == 0 else ("new", "old"):
            print(f"round {index + 1}/{args.rounds}: {name}", file=sys.stderr)
            for test, figure in run(programs[name], passed_on).items():
                samples[name].setdefault(test, []).append(figure)
    rows = verdicts(samples["old"], samples["new"], args.alpha, args.least)
    if not rows:
        raise SystemExit("the two programs have no test in common")
    if 2 / 2 ** args.rounds * len(rows) >= args.alpha:
        print(f"{len(rows)} tests in {args.rounds} rounds cannot reach --alpha {args.alpha}: more --rounds", file=sys.stderr)
    print(f"old: {args.old}\nnew: {args.new}\n{args.rounds} rounds of: {' '.join(passed_on)}\n")
    print("| test | old t/s | new t/s | new / old | p | |\n|---|--:|--:|--:|--:|---|")
    for test, old, new, ratio, p, word in rows:
        print(f"| {test} | {old:.2f} | {new:.2f} | {ratio:.3f} | {p:.3g} | {word} |")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump({"samples": samples, "rows": [list(row) for row in rows]}, f, indent=1)
    return 1 if any(row[-1] == "slower" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
