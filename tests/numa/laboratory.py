#!/usr/bin/env python3
"""Boots the machines of machines.py and checks what they tell; see run.sh."""
import argparse
import collections
import concurrent.futures
import os
import tempfile
import time

import larger_demo
from checks import Skipped
from emulator import ROOT, boot, make_disk, must
from machines import MACHINES
from reference import Reference

DEMO = os.path.join(ROOT, "bench", "demo", "model")


def make_models(dodeca, folder):
    """demo.gguf with types of two to eight bits, 10 MB; large.gguf, 216 MB: the demo in F32 with three times the experts."""
    demo, large, checkpoint = (os.path.join(folder, name) for name in ("demo.gguf", "large.gguf", "larger"))
    must(dodeca, "quantize", DEMO, demo, "--recipe", "ud-q2_k_xl")
    larger_demo.write(DEMO, checkpoint, times=3)
    must(dodeca, "quantize", checkpoint, large, "--type", "F32")
    return {"demo.gguf": demo, "large.gguf": large}


def judge(holds, ran, reference):
    """What came of a check ("ok", "FAILED", "skipped"), and why."""
    try:
        problem = holds(ran, reference)
        return ("FAILED", problem) if problem else ("ok", "")
    except KeyError as missing:
        return "FAILED", f"the step {missing} did not run"
    except Skipped as reason:
        return "skipped", str(reason)


def report(ran, reference):
    """Prints a line for each check of a machine; returns how many are "ok", "FAILED", "skipped"."""
    name = ran.machine.name
    print(f"{name}: {len(ran.steps)} steps in {sum(done.seconds for done in ran.steps.values()):.0f} s, {ran.seconds:.0f} s with booting")
    results = [(what, *judge(holds, ran, reference)) for what, holds in ran.machine.checks]
    if ran.problem:
        results.insert(0, ("boots and comes to its end", "FAILED", ran.problem))
    for what, verdict, why in results:
        print(f"{verdict:7} {name}: {what}{': ' if why else ''}{why}", flush=True)
    if ran.problem:
        console = ran.console.partition("Kernel panic")  # after which the kernel's stack would follow
        print("".join(f"        {line}\n" for line in (console[0] + console[1]).splitlines()[-20:]), end="")
    return collections.Counter(verdict for _, verdict, _ in results)


def main():
    parser = argparse.ArgumentParser(prog="tests/numa/run.sh", description="Checks dodeca on machines with several memory nodes, in QEMU.")
    parser.add_argument("build", nargs="?", default=os.path.join(ROOT, "build", "release"))
    parser.add_argument("--only", action="append", metavar="MACHINE", help="boot this machine alone (repeatable)")
    parser.add_argument("--keep", metavar="FOLDER", help="leave consoles and answers there")
    parser.add_argument("--list", action="store_true", help="name the machines and their checks")
    options = parser.parse_args()
    unknown = set(options.only or ()) - {machine.name for machine in MACHINES}
    if unknown:
        parser.error(f"there is no machine {', '.join(sorted(unknown))}; --list names them")
    machines = [machine for machine in MACHINES if not options.only or machine.name in options.only]
    if options.list:
        for machine in machines:
            print("".join(f"{machine.name}: {what}\n" for what, _ in machine.checks), end="")
        return 0
    dodeca = os.path.join(os.path.abspath(options.build), "dodeca")
    start = time.monotonic()
    totals = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="dodeca-numa-") as folder:
        models = make_models(dodeca, folder)
        tests = [os.path.join(options.build, "tests", name) for name in ("test_cpu", "test_runtime_weights")]
        disk = make_disk(folder, [dodeca, *filter(os.path.exists, tests)], models, machines)
        answers = options.keep or folder
        os.makedirs(answers, exist_ok=True)
        reference = Reference(dodeca, models)
        with concurrent.futures.ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
            for ran in pool.map(lambda machine: boot(machine, disk, answers), machines):
                totals += report(ran, reference)
    print(f"time: {time.monotonic() - start:.0f} s")
    print(f"{totals['ok']} passed, {totals['FAILED']} failed, {totals['skipped']} skipped")
    return 1 if totals["FAILED"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
