#!/usr/bin/env python3
"""dodeca batch killed with SIGKILL at random moments, and with its results file cut: a restarted greedy run ends with the results
of an uninterrupted one, every custom_id exactly once.

  tests/batch_kill_test.py build/release             a sample, as tests/run.sh does
  tests/batch_kill_test.py build/release thorough    200 kills, and the file cut at every byte
"""
import json
import os
import random
import signal
import subprocess
import sys
import time

from program import DEMO, DODECA, check, finish, must, scratch

THOROUGH = "thorough" in sys.argv[2:]
KILLS, CUTS = (200, None) if THOROUGH else (12, 16)
OPENINGS = ["It is a truth universally acknowledged", "Emma Woodhouse, handsome, clever, and rich,", "The family of Dashwood",
            "Sir Walter Elliot, of Kellynch Hall,", "No one who had ever seen Catherine Morland", "About thirty years ago"]


def write_requests(path):
    with open(path, "w", encoding="utf-8") as f:
        for n in range(12):
            body = {"model": "demo", "prompt": OPENINGS[n % len(OPENINGS)] + " " * (n // 6), "max_tokens": 4 + 5 * n, "temperature": 0}
            f.write(json.dumps({"custom_id": f"r{n}", "method": "POST", "url": "/v1/completions", "body": body}) + "\n")


def read_results(path):
    """custom_id -> (text, finish reason); every line must be whole and every id new."""
    results = {}
    with open(path, "rb") as f:
        data = f.read()
    check(data.endswith(b"\n"), "the results file ends with a whole line")
    for line in data.splitlines():
        result = json.loads(line)
        choice = result["response"]["body"]["choices"][0]
        check(result["custom_id"] not in results, f"{result['custom_id']} is there twice")
        results[result["custom_id"]] = (choice["text"], choice["finish_reason"])
    return results


def remove_outputs(folder):
    for name in os.listdir(folder):
        if name.startswith("results"):
            os.remove(os.path.join(folder, name))


with scratch() as folder:
    model = os.path.join(folder, "dynamic.gguf")
    must(DODECA, "quantize", DEMO, model, "--recipe", "ud-q2_k_xl")
    requests, results = os.path.join(folder, "requests.jsonl"), os.path.join(folder, "results.jsonl")
    write_requests(requests)
    command = [DODECA, "batch", "-m", model, "-i", requests, "-o", results, "--parallel", "4", "-c", "256", "-q"]
    begin = time.monotonic()
    must(*command)
    duration = time.monotonic() - begin
    with open(results, "rb") as f:
        complete = f.read()
    reference = read_results(results)
    check(len(reference) == 12, f"12 results, not {len(reference)}")

    rng = random.Random(1811)
    remove_outputs(folder)
    kills = finished = 0
    while kills < KILLS:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            process.wait(rng.uniform(0.2, 1.0) * duration)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        error = process.stderr.read().decode("utf-8", "replace")
        process.wait()
        if process.returncode == 0:
            check(read_results(results) == reference, f"after {kills} kills the results are those of an uninterrupted run")
            finished += 1
            remove_outputs(folder)
        else:
            check(process.returncode == -signal.SIGKILL, f"a restarted run failed: {error[-500:]}")
            if process.returncode != -signal.SIGKILL:
                break
    if os.path.exists(results):
        must(*command)
        check(read_results(results) == reference, "the last run ends with the results of an uninterrupted one")
    print(f"{kills} kills, {finished} runs that finished between them")

    remove_outputs(folder)
    must(*command)
    others = {n: open(os.path.join(folder, n), "rb").read() for n in os.listdir(folder)
              if n.startswith("results") and n != "results.jsonl"}
    line_ends = [i + 1 for i, byte in enumerate(complete) if byte == 10]
    cuts = range(len(complete)) if CUTS is None else sorted(
        {0, 1, len(complete) - 1, *line_ends[:2], line_ends[3] - 1} | {rng.randrange(len(complete)) for _ in range(CUTS)})
    for cut in cuts:
        for name, data in others.items():
            with open(os.path.join(folder, name), "wb") as f:
                f.write(data)
        with open(results, "wb") as f:
            f.write(complete[:cut])
        must(*command)
        check(read_results(results) == reference, f"results cut at byte {cut} of {len(complete)} are completed")
finish("batch, killed and cut")
