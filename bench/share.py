#!/usr/bin/env python3
"""Measures this machine within a number of minutes and writes ONE anonymous file of results (JSON) to send to us.

The file says what the processor, the memory and the kernel are, and how fast memory, barriers, matrix products and slices of
published models (random weights, no file) are here. It has no host name, user name, path, serial number or address. It is
whole and valid after every step, also when the run is stopped with Ctrl-C. `bash bench/share.sh` builds first, then runs this.

  bash bench/share.sh                                   ten minutes, dodeca-share.json
  bash bench/share.sh --minutes 20 -o epyc.json
  bash bench/share.sh --shapes deepseek-v3"""
import argparse
import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

from machine_facts import machine_facts

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VERSION = 1  # of the file: raised when a key changes its meaning

# Published models: their routed experts, and the fewest that their routing can do with.
EXPERTS = {"deepseek-v3": (256, 16), "kimi-k2": (384, 8), "glm-5": (256, 8), "deepseek-v2-lite": (64, 8)}
SHAPES = ["deepseek-v3", "kimi-k2", "glm-5"]
MOST_LAYERS = 6          # one dense, five with experts: more say nothing new
MEMORY_SHARE = 0.8       # of what is free
FILL_PER_CORE = 0.08e9   # bytes of random weights per second, with what is loaded beside the slice
FILL_SHARE = 0.5         # of a step's time
PATIENCE = 30            # seconds that any step may take
SHORT = 300              # seconds: below, fewer types, tokens and repetitions

# What is kept of a row of dodeca-bench: the test and its results, none of the fields that repeat the machine.
ROW_KEYS = ("model_type", "model_size", "n_prompt", "n_gen", "n_depth", "n_parallel", "n_threads", "n_batch", "n_ubatch",
            "type_k", "avg_ts", "stddev_ts", "samples_ts", "bytes_per_token", "gb_per_s", "membw_gb_per_s", "membw_percent",
            "whole_model_ts", "experts_touched", "gmac_per_s", "int8_peak_gmac_per_s", "f32_peak_gmac_per_s", "peak_percent")


class Stopped(Exception):
    """A signal asks to end."""


def stop(number, _):
    raise Stopped(number)


def say(text):
    print(f"share: {text}", file=sys.stderr, flush=True)


class Page:
    """The file of results. Every save replaces it at once, so that it is valid at any time."""

    def __init__(self, path):
        self.path = path
        self.data = {"dodeca_share": VERSION, "complete": False}

    def save(self):
        partial = f"{self.path}.partial"
        with open(partial, "w", encoding="utf-8") as f:
            json.dump(self.data, f, indent=1)
            f.write("\n")
        os.replace(partial, self.path)


class Step:
    """One run of a program: its name in the file, arguments, share of all the time, or why it is not run at all."""

    def __init__(self, name, share, arguments=(), skip=None):
        self.name, self.share, self.arguments, self.skip = name, share, [str(a) for a in arguments], skip


def results_of(step, text):
    """What a program printed: one document, or a line for every test. Null, or fewer tests, where it was cut off."""
    def parsed(document):
        try:
            return json.loads(document)
        except ValueError:
            return None

    if "jsonl" not in step.arguments:
        return parsed(text)
    rows = [parsed(line) for line in text.splitlines()]
    return [{key: row[key] for key in ROW_KEYS if key in row} for row in rows if row is not None]


def run_step(program, step, limit, entry):
    """Runs a step for at most `limit` seconds. `entry` gets what came of it, whatever ends it."""
    begin = time.monotonic()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen([program, *step.arguments], stdin=subprocess.DEVNULL, stdout=out)
        try:
            code = child.wait(limit)
            entry["status"] = "done" if code == 0 else "failed"
            if code != 0:
                entry["reason"] = f"exit code {code}"
        except subprocess.TimeoutExpired:
            entry["status"], entry["reason"] = "cut off", f"it took longer than {limit:.0f} s"
        except Stopped:
            entry["status"], entry["reason"] = "cut off", "stopped"
            raise
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
            out.seek(0)
            entry["results"] = results_of(step, out.read().decode("utf-8", "replace"))
            entry["seconds"] = round(time.monotonic() - begin, 1)


def slice_of(shape, plan, seconds):
    """Layers and experts of a shape that fit into memory and time: (arguments, None) or (None, the reason)."""
    experts, least = EXPERTS[shape]

    def bytes_of(kind, which=max):
        sizes = [b["bytes"] for b in plan["blocks"] if kind in b["name"]]
        return which(sizes) if sizes else 0

    cores, free = plan["machine"]["cores"], plan["machine"]["available_bytes"]
    room = min(MEMORY_SHARE * free, FILL_SHARE * seconds * cores * FILL_PER_CORE)
    attention, dense, moe = bytes_of("attention"), bytes_of("feed-forward", min), bytes_of("feed-forward")
    needed = 0
    kept = experts
    while kept >= least:
        for layers in range(MOST_LAYERS, 1, -1):
            needed = (bytes_of("embedding") + bytes_of("head") + dense + layers * attention
                      + (layers - 1) * moe * kept / experts)
            if needed <= room:
                return ["--layers", layers, *(["--experts", kept] if kept < experts else [])], None
        kept //= 2
    return None, f"the smallest slice takes {needed / 1e9:.1f} GB; memory and time allow {room / 1e9:.1f} GB"


def part_counts(most, more=()):
    """1, half of them, all of them, and more; no number twice."""
    return ",".join(str(n) for n in sorted({1, max(1, most // 2), most, *(n for n in more if n <= most)}))


def steps_for(shapes, plans, seconds):
    machine = plans[shapes[0]]["machine"]
    cores = machine["cores"]
    per_node = max(1, cores // max(1, machine["memory_nodes"]))
    complex_cores = max(1, cores // max(1, machine["core_complexes"]))
    short = seconds < SHORT
    types = ["--types", "Q2_K,Q4_K,Q6_K,Q8_0"] if short else []
    prompt, generated = (32, 8) if short else (512, 64)

    def timed(most):
        return ["--seconds", f"{max(0.005, most * min(1.0, seconds / 600)):.3f}", "-o", "json", "-q"]

    def tokens(name, share, shape, *arguments):
        held, reason = slice_of(shape, plans[shape], share * seconds)
        repetitions = ["-r", 1 if short else 2]
        return Step(name, share, ["--shape", shape, *(held or []), *arguments, *repetitions, "-o", "jsonl", "-q"], reason)

    half = max(1, cores // 2)
    steps = [Step("memory bandwidth", 0.03, ["membw", "-t", part_counts(per_node), *timed(1)]),
             Step("barriers", 0.02, ["barrier", "-t", part_counts(cores, (2, complex_cores)), *timed(0.5)]),
             Step("matrix products", 0.09, ["kernels", "--best", *types, *timed(0.1)])]
    steps += [tokens(f"{shape}, all cores", 0.5 / len(shapes), shape, "-p", prompt, "-n", generated) for shape in shapes]
    steps.append(Step("matrix products, AVX2", 0.09, ["kernels", "--best", "--isa", "avx2", *types, *timed(0.1)],
                      "AVX2 is the best of this machine" if plans[shapes[0]]["isa"] == "avx2" else None))
    steps.append(tokens(f"{shapes[0]}, long context", 0.1, shapes[0], "-p", 0, "-n", generated // 4, "-d", "4096,16384", "-ctk", "q8_0"))
    steps.append(tokens(f"{shapes[0]}, sequences together", 0.09, shapes[0], "-p", 0, "-n", generated // 4, "--parallel", "8,32"))
    if half < cores:
        steps.append(tokens(f"{shapes[0]}, half of the cores", 0.08, shapes[0], "-p", prompt, "-n", generated, "-t", half))
    return steps


def measure(page, steps, program, seconds):
    deadline = time.monotonic() + seconds
    for step in steps:
        entry = {"name": step.name, "command": ["dodeca-bench", *step.arguments], "status": "skipped"}
        page.data["steps"].append(entry)
        left = deadline - time.monotonic()
        if step.skip is None and left < step.share * seconds / 2:
            step.skip = f"{max(left, 0):.0f} s are left of its {step.share * seconds:.0f} s"
        if step.skip is not None:
            entry["reason"] = step.skip
            say(f"{step.name}: skipped, {step.skip}")
        else:
            limit = min(left, max(PATIENCE, 2 * step.share * seconds))
            say(f"{step.name}: at most {limit:.0f} s")
            run_step(program, step, limit, entry)
            say(f"{step.name}: {entry['status']}, {entry['seconds']} s"
                + (f" ({entry['reason']})" if "reason" in entry else ""))
        page.save()


def output_of(program, *arguments):
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"share: {os.path.basename(program)} {' '.join(arguments)}: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def print_budget(steps, seconds):
    say(f"{seconds / 60:g} minutes; nothing else should run meanwhile")
    for step in steps:
        say(f"  {step.share * seconds:4.0f} s  {step.name}" + (f": skipped, {step.skip}" if step.skip else ""))


def parse_arguments():
    parser = argparse.ArgumentParser(prog="bench/share.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="time for all measurements, without the build (default: 10)")
    parser.add_argument("-o", dest="out", metavar="FILE", default="dodeca-share.json", help="default: dodeca-share.json")
    parser.add_argument("--shapes", default=",".join(SHAPES), metavar="NAME,...",
                        help=f"of {', '.join(EXPERTS)} (default: {','.join(SHAPES)})")
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"), metavar="FOLDER",
                        help="where the programs are (default: build/release)")
    args = parser.parse_args()
    args.shapes = args.shapes.split(",")
    for shape in args.shapes:
        if shape not in EXPERTS:
            parser.error(f"no shape is called '{shape}'; there are {', '.join(EXPERTS)}")
    if not 0.01 <= args.minutes <= 1440:
        parser.error(f"--minutes must be between 0.01 and 1440, not {args.minutes:g}")
    if os.path.exists(args.out):
        with open(args.out, encoding="utf-8", errors="replace") as f:
            if '"dodeca_share"' not in f.read(100):
                parser.error(f"{args.out} exists and is no file of this program")
    return args


def main():
    args = parse_arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    bench, dodeca = (os.path.join(args.build, name) for name in ("dodeca-bench", "dodeca"))
    seconds = 60 * args.minutes
    page = Page(args.out)
    stopped = None
    try:
        plans = {shape: json.loads(output_of(dodeca, "plan", "--shape", shape, "--json")) for shape in args.shapes}
        version = [line.strip() for line in output_of(bench, "--version").splitlines()]
        page.data |= {"date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(), "minutes": args.minutes,
                      "program": version, "isa": plans[args.shapes[0]]["isa"], "load_before": round(os.getloadavg()[0], 2),
                      "machine": machine_facts(), "steps": []}
        steps = steps_for(args.shapes, plans, seconds)
        print_budget(steps, seconds)
        page.save()
        measure(page, steps, bench, seconds)
        page.data["complete"] = True
    except Stopped as signalled:
        stopped = signalled.args[0]
        page.data["stopped_by"] = signal.Signals(stopped).name
    page.save()
    say(f"{args.out} has {sum(s['status'] == 'done' for s in page.data.get('steps', []))} of its steps; read it, then send it")
    sys.exit(128 + stopped if stopped else 0)


if __name__ == "__main__":
    main()
