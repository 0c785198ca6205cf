#!/usr/bin/env python3
"""dodeca-bench against llama.cpp's llama-bench on the same file: equal threads, mmap off, programs alternating so that both meet
the same disturbances. Prints medians over all repetitions of all rounds, their spread and the ratio dodeca / llama.cpp.

  bench/compare.py -m model.gguf                      pp512, tg128
  bench/compare.py -m model.gguf -n 64 -d 0,2048 -t 1,2 --rounds 5
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def label(row):
    parts = [f"pp{row['n_prompt']}"] if row["n_prompt"] else []
    parts += [f"tg{row['n_gen']}"] if row["n_gen"] else []
    return "+".join(parts) + (f" @ d{row['n_depth']}" if row["n_depth"] else "")


def spread_percent(samples):
    return 100 * (max(samples) - min(samples)) / statistics.median(samples)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("-p", default="512")
    parser.add_argument("-n", default="128")
    parser.add_argument("-d", default="0")
    parser.add_argument("-t", default=str(max(1, len(os.sched_getaffinity(0)))))
    parser.add_argument("-r", default="2", help="repetitions per round")
    parser.add_argument("-ctk", default="f16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dodeca-bench", default=os.path.join(ROOT, "build", "release", "dodeca-bench"))
    parser.add_argument("--llama-bench", help="default: what bench/llama_cpp.sh builds")
    parser.add_argument("--json", help="write all samples to this file")
    args = parser.parse_args()
    llama_bench = args.llama_bench or os.path.join(
        subprocess.run(["bash", os.path.join(ROOT, "bench", "llama_cpp.sh")], check=True, stdout=subprocess.PIPE,
                       text=True).stdout.strip(), "llama-bench")

    shared = ["-m", args.model, "-p", args.p, "-n", args.n, "-d", args.d, "-t", args.t, "-r", args.r, "-o", "jsonl"]
    programs = {
        "dodeca": [args.dodeca_bench, *shared, "-ctk", args.ctk, "-q"],
        "llama.cpp": [llama_bench, *shared, "-ctk", args.ctk, "-ctv", args.ctk, "--load-mode", "none"],
    }
    samples, memory = {}, {}
    for round_index in range(args.rounds):
        order = list(programs) if round_index % 2 == 0 else list(programs)[::-1]
        for name in order:
            print(f"round {round_index + 1}/{args.rounds}: {name}", file=sys.stderr)
            for row in run(programs[name]):
                key = (label(row), row["n_threads"])
                samples.setdefault(key, {}).setdefault(name, []).extend(row["samples_ts"])
                if row.get("membw_percent") is not None:
                    memory.setdefault(key, []).append(row["membw_percent"])

    print(f"{args.model}: medians of {args.rounds} rounds x {args.r} repetitions, mmap off\n")
    print("| test | threads | dodeca t/s | spread | llama.cpp t/s | spread | ratio | % of bandwidth |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for (test, threads), by_program in samples.items():
        ours, theirs = by_program["dodeca"], by_program["llama.cpp"]
        share = f"{statistics.median(memory[(test, threads)]):.1f}" if (test, threads) in memory else ""
        print(f"| {test} | {threads} | {statistics.median(ours):.2f} | {spread_percent(ours):.1f} % "
              f"| {statistics.median(theirs):.2f} | {spread_percent(theirs):.1f} % "
              f"| {statistics.median(ours) / statistics.median(theirs):.3f} | {share} |")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump([{"test": test, "threads": threads, **by} for (test, threads), by in samples.items()], f, indent=1)


if __name__ == "__main__":
    main()
