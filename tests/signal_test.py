#!/usr/bin/env python3
"""Signals and closed pipes while a prompt is being processed, on a route slow enough to be met there; descriptors that are closed at the
start; threads that the system refuses."""
import json
import os
import re
import resource
import signal
import subprocess
import time

from program import DEMO, DODECA, check, finish, must, read, run, scratch

LONG = "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a wife. " * 40
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # this script may have been started with nohup, whose answer is another one
SLOW = ["--isa", "scalar", "--compute", "f32", "-t", "1", "-c", "2048", "-b", "16", "-ub", "16", "-q"]


def requests(path):
    """Two that are answered at once, and one whose prompt takes long."""
    with open(path, "w", encoding="utf-8") as f:
        for n, prompt in enumerate(["It is", "She was", LONG]):
            f.write(json.dumps({"custom_id": f"r{n}", "method": "POST", "url": "/v1/completions",
                                "body": {"prompt": prompt, "max_tokens": 2, "temperature": 0}}) + "\n")


def lines(path):
    return [json.loads(line) for line in read(path).splitlines()] if os.path.exists(path) else []


def wait_for(condition, process):
    end = time.monotonic() + 120
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    return process.poll() is None


def check_batch(folder, model):
    inputs, results = os.path.join(folder, "in.jsonl"), os.path.join(folder, "res.jsonl")
    requests(inputs)
    fast = [DODECA, "batch", "-m", model, "-i", inputs, "-o", results, "-c", "2048", "-q", "--restart"]
    slow = [DODECA, "batch", "-m", model, "-i", inputs, "-o", results, "--parallel", "1", *SLOW]
    must(*fast)
    answers = {line["custom_id"]: line["response"]["body"]["choices"] for line in lines(results)}
    for signals, code in (([signal.SIGTERM], 143), ([signal.SIGINT, signal.SIGINT], 130), ([signal.SIGHUP], 129), ([signal.SIGINT], 130)):
        where = " ".join(s.name for s in signals)
        os.remove(results)
        os.remove(results + ".state")
        process = subprocess.Popen(slow, stderr=subprocess.PIPE)
        there = wait_for(lambda: len(lines_or_none(results)) == 2, process)
        check(there, f"{where}: two of three are answered while the third's prompt is read")
        time.sleep(0.1)
        for number in signals:
            process.send_signal(number)
        begin = time.monotonic()
        said = process.communicate(timeout=120)[1].decode()
        check(process.returncode == code, f"{where}: exit code {process.returncode}, want {code}: {said!r}")
        check(len(signals) == 2 or "the same command resumes" in said, f"{where}: {said!r}")
        check(time.monotonic() - begin < 30, f"{where}: it ends soon")
        check([line["custom_id"] for line in lines(results)] == ["r0", "r1"], f"{where}: what was answered is kept")
    # Whoever read the messages has gone: the work goes on.
    must(*fast)
    process = subprocess.Popen([*fast], stderr=subprocess.PIPE)
    process.stderr.close()
    check(process.wait(timeout=120) == 0, f"a closed standard error: exit code {process.returncode}")
    check({line["custom_id"]: line["response"]["body"]["choices"] for line in lines(results)} == answers, "and all is answered")


def lines_or_none(path):
    try:
        return lines(path)
    except ValueError:
        return []


def check_run(model):
    command = [DODECA, "run", "-m", model, "-f", "-", "-n", "2", "--no-display-prompt", *SLOW]
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdin.write(LONG.encode())
        process.stdin.close()
        time.sleep(0.7)
        check(process.poll() is None, f"run is in its prompt when {number.name} comes")
        process.send_signal(number)
        check(process.wait(timeout=120) == code, f"run, {number.name}: exit code {process.returncode}, want {code}")
    # All of the prompt in one pass of some 20 s: it is left behind a block, of which it has
    # 14, the largest 2 s.
    process = subprocess.Popen([*command, "-b", "2048", "-ub", "2048"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(LONG.encode())
    process.stdin.close()
    time.sleep(0.7)
    check(process.poll() is None, "run is in its long pass")
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    check(process.wait(timeout=120) == 130, f"run in a long pass: exit code {process.returncode}")
    check(time.monotonic() - begin < 4, f"run in a long pass ends after {time.monotonic() - begin:.1f} s")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    process.stdin.write(b"It is")
    process.stdin.close()
    check(process.wait(timeout=120) == 0, f"run into a closed pipe: exit code {process.returncode}")
    # nohup: a signal that is ignored stays so.
    process = subprocess.Popen([DODECA, "run", "-m", model, "-p", "It is", "-n", "2", *SLOW], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    time.sleep(0.1)
    process.send_signal(signal.SIGHUP)
    check(process.wait(timeout=120) == 0, f"an ignored SIGHUP: exit code {process.returncode}")


def check_closed(folder, model):
    """Started without some of the descriptors 0 to 2."""
    inputs, results = os.path.join(folder, "in.jsonl"), os.path.join(folder, "closed.jsonl")
    for closed in ("2>&-", "1>&- 2>&-", "0<&- 2>&-", "0<&- 1>&- 2>&-", "0<&- 1>&-"):
        for name in os.listdir(folder):
            if name.startswith("closed"):
                os.remove(os.path.join(folder, name))
        code = subprocess.run(f"'{DODECA}' batch -m '{model}' -i '{inputs}' -o '{results}' -c 2048 -t 1 {closed}", shell=True,
                              stderr=subprocess.DEVNULL, check=False).returncode
        check(code == 0 and len(lines(results)) == 3, f"{closed}: exit code {code}")
        check(lines(os.path.join(folder, "closed.errors.jsonl")) == [], f"{closed}: messages in the errors")
    code = subprocess.run(f"'{DODECA}' tokenize -m '{model}' -p x 1>&-", shell=True, stderr=subprocess.DEVNULL, check=False).returncode
    check(code == 1, f"results into nothing are no success: exit code {code}")
    done = subprocess.run(f"'{DODECA}' tokenize -m '{model}' --stdin 0<&-", shell=True, stderr=subprocess.PIPE, check=False)
    check(done.returncode == 1 and b"it is closed" in done.stderr, f"a closed standard input: {done.stderr!r}")


def check_threads(model):
    """As `ulimit -u` has it; it does not bind the administrator, so another user tries."""
    def limited():
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)

    with open(model, "rb") as f:
        done = subprocess.run([DODECA, "run", "-m", f"/dev/fd/{f.fileno()}", "-p", "x", "-n", "1", "-t", "2", "-q"], pass_fds=[f.fileno()],
                              preexec_fn=limited, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    said = done.stderr.decode()
    if "threads were wanted" not in said and done.returncode == 0:
        print("not run here: the system does not limit threads")
        return
    check(done.returncode == 1 and re.search(r"2 threads were wanted and the system let 1 start.*ulimit -u.*-t", said) is not None,
          f"refused threads: exit code {done.returncode}, {said!r}")


with scratch() as folder:
    os.chmod(folder, 0o755)
    model = os.path.join(folder, "model.gguf")
    must(DODECA, "quantize", DEMO, model, "Q4_K", "-q")
    os.chmod(model, 0o644)
    check_batch(folder, model)
    check_run(model)
    check_closed(folder, model)
    check_threads(model)
finish("signals")
