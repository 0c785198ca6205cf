#!/usr/bin/env python3
"""bench/share.py within seconds: the file is whole, says what was measured and what was left out, names nobody, and is valid
after Ctrl-C too."""
import getpass
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

from program import BUILD, ROOT, check, finish, read, run, scratch

SHARE = [sys.executable, os.path.join(ROOT, "bench", "share.py"), "--build", BUILD, "--shapes", "deepseek-v2-lite"]


def check_anonymous(text):
    secrets = {socket.gethostname(), getpass.getuser(), os.path.expanduser("~"), ROOT, BUILD, os.getcwd()}
    for secret in secrets - {"/", ""}:
        check(not re.search(rf"(?<!\w){re.escape(secret)}(?!\w)", text), f"{secret!r} is in the file: {text}")
    check("/home" not in text and "/root" not in text, "no path of a home")
    check(not re.search(r"\b(?:\d{1,3}\.){3}\d{1,3}\b(?!\w)", re.sub(r'"oneDNN[^"]*"|libraries:[^"]*', "", text)), "no address")


def check_whole(folder):
    out = os.path.join(folder, "share.json")
    done = run(*SHARE, "--minutes", "0.7", "-o", out)
    check(done.code == 0 and done.out == "", f"exit code {done.code}: {done.err}")
    text = read(out).decode()
    page = json.loads(text)
    check(page["dodeca_share"] == 1 and page["complete"] is True and page["minutes"] == 0.7, f"the head: {text[:300]}")
    machine = page["machine"]
    check(set(machine) == {"processor", "topology", "nodes", "memory", "frequency", "kernel"}, f"facts: {list(machine)}")
    check(machine["processor"]["name"] and "avx2" in machine["processor"]["flags"], f"processor: {machine['processor']}")
    check(machine["topology"]["cores"] >= 1 and machine["topology"]["processors_allowed"] >= 1, f"{machine['topology']}")
    check(machine["memory"]["total_gib"] > 0 and machine["nodes"], f"memory: {machine['memory']}, {machine['nodes']}")
    check(re.fullmatch(r"\d+(\.\d+)*", machine["kernel"]), f"kernel: {machine['kernel']}")

    steps = {step["name"]: step for step in page["steps"]}
    for name in ("memory bandwidth", "barriers", "matrix products", "deepseek-v2-lite, all cores"):
        check(steps[name]["status"] == "done" and steps[name]["results"], f"{name}: {steps[name]}")
    check({row["threads"] for row in steps["memory bandwidth"]["results"]} >= {1}, "one thread is measured")
    check(all(row["gb_per_s"] > 0 for row in steps["memory bandwidth"]["results"]), "bandwidth")
    check(all(row["median_ns"] >= 0 for row in steps["barriers"]["results"]), "barriers")
    check(steps["matrix products"]["results"]["kernels"], "kernels")
    rows = steps["deepseek-v2-lite, all cores"]["results"]
    check([(r["n_prompt"], r["n_gen"]) for r in rows] == [(32, 0), (0, 8)] and all(r["avg_ts"] > 0 for r in rows), f"{rows}")
    check(all("model_filename" not in r for r in rows), "rows keep tests and results alone")
    for step in page["steps"]:
        check(step["command"][0] == "dodeca-bench" and not any("/" in word for word in step["command"]), f"{step['command']}")
        check(step["status"] == "done" or step["reason"], f"what is not done has a reason: {step}")
    check_anonymous(text)
    check(os.listdir(folder) == ["share.json"], f"nothing else is written: {os.listdir(folder)}")


def check_stopped(folder):
    out = os.path.join(folder, "share.json")
    child = subprocess.Popen([*SHARE, "--minutes", "20", "-o", out], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for _ in range(1000):  # until the first step runs
        if os.path.exists(out) and child.poll() is None:
            break
        time.sleep(0.02)
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    check(child.returncode == 130, f"exit code {child.returncode}: {err.decode()}")
    page = json.loads(read(out))
    check(page["complete"] is False and page["stopped_by"] == "SIGINT", f"it says so: {page.get('stopped_by')}")
    check([(s["status"], s["reason"]) for s in page["steps"]] == [("cut off", "stopped")], f"the step: {page['steps']}")


def check_small_budget(folder):
    out = os.path.join(folder, "share.json")
    done = run(*SHARE, "--minutes", "0.01", "-o", out)
    page = json.loads(read(out))
    check(done.code == 0 and page["complete"], f"exit code {done.code}: {done.err}")
    skipped = [s for s in page["steps"] if s["status"] == "skipped"]
    check(skipped and all("GB" in s["reason"] or " s are left" in s["reason"] or "AVX2" in s["reason"] for s in skipped),
          f"reasons with numbers: {skipped}")
    check("skipped, " in done.err, f"and they are printed: {done.err}")


def check_usage(folder):
    mine = os.path.join(folder, "mine.json")
    with open(mine, "w", encoding="utf-8") as f:
        f.write('{"mine": 1}')
    for bad in (["--minutes", "0"], ["--minutes", "x"], ["--shapes", "deepseek-v9"], ["-o", mine]):
        done = run(*SHARE, *bad)
        check(done.code == 2 and bad[-1] in done.err, f"{bad} is refused: {done.code}, {done.err}")
    check(read(mine) == b'{"mine": 1}', "a file of another kind stays")
    done = run("bash", os.path.join(ROOT, "bench", "share.sh"), "--help")
    check(done.code == 0 and "--minutes" in done.out and "anonymous" in done.out, f"help without a build: {done.err}")


for check_one in (check_whole, check_stopped, check_small_budget, check_usage):
    with scratch() as scratch_folder:
        check_one(scratch_folder)
finish("share")
