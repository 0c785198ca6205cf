#!/usr/bin/env python3
"""dodeca batch --shard: several processes over one folder, all alive, killed, stopped and woken, with another model: in the end every
request has one line, that of a batch of one process, in the order of the input.

  tests/batch_shard_test.py build/release             a sample, as tests/run.sh does
  tests/batch_shard_test.py build/release thorough    200 kills
"""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

from program import DEMO, DODECA, ROOT, check, finish, must, read, run, scratch, skip

KILLS = 200 if "thorough" in sys.argv[2:] else 12
OPENINGS = ["It is a truth universally acknowledged", "Emma Woodhouse, handsome, clever, and rich,", "The family of Dashwood"]
N_REQUESTS = 48
ENVIRONMENT = {**os.environ, "DODECA_TUNING": "none"}


def write_requests(path):
    with open(path, "w", encoding="utf-8") as f:
        for n in range(N_REQUESTS):
            body = {"model": "demo", "prompt": OPENINGS[n % 3] + " " * (n // 3), "max_tokens": 10 + n, "temperature": 0}
            if n % 12 == 5:
                body["tools"] = [1]  # refused
            f.write(json.dumps({"custom_id": f"r{n}", "method": "POST", "url": "/v1/completions", "body": body}) + "\n")
            if n == 20:
                f.write("{broken\n\n")


def lines(path):
    """Parsed lines without the time of the first start."""
    found = [json.loads(line) for line in read(path).splitlines()]
    for line in found:
        if line["response"]:
            line["response"]["body"].pop("created", None)
    return found


def by_id(path):
    found = {line["id"]: line for line in lines(path)}
    check(len(found) == len(lines(path)), f"{path}: every request once")
    return found


class Work:
    """A folder with a model and requests, and what one process makes of them."""

    def __init__(self, folder):
        self.folder = folder
        self.requests, self.output, self.errors = (os.path.join(folder, n) for n in ("requests.jsonl", "results.jsonl", "results.errors.jsonl"))
        self.model = os.path.join(folder, "model.gguf")
        must(DODECA, "quantize", DEMO, self.model, "--recipe", "ud-q2_k_xl")
        write_requests(self.requests)
        self.started = set(os.listdir(folder))
        must(*self.command())
        self.reference = by_id(self.output), by_id(self.errors)
        self.clean()

    def command(self, shard=None, timeout=60, model=None):
        command = [DODECA, "batch", "-m", model or self.model, "-i", self.requests, "-o", self.output, "-t", "1", "--parallel", "2", "-c", "256",
                   "--allow-errors", "-q"]
        return command + (["--shard", shard, "--shard-timeout", str(timeout)] if shard else [])

    def start(self, shard, timeout=60):
        return subprocess.Popen(self.command(shard, timeout), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT)

    def clean(self):
        for name in set(os.listdir(self.folder)) - self.started:
            path = os.path.join(self.folder, name)
            (shutil.rmtree if os.path.isdir(path) else os.remove)(path)

    def shards(self):
        """Names in the folder of the run, or none."""
        for name in os.listdir(self.folder):
            if ".shards." in name:
                try:
                    return os.listdir(os.path.join(self.folder, name))
                except FileNotFoundError:
                    pass
        return []

    def check_complete(self, where):
        check((by_id(self.output), by_id(self.errors)) == self.reference, f"{where}: the lines of one process")
        numbers = [int(line["custom_id"][1:]) for line in lines(self.output)]
        check(numbers == sorted(numbers), f"{where}: in the order of the input")
        left = set(os.listdir(self.folder)) - self.started - {"results.jsonl", "results.errors.jsonl", "results.jsonl.state"}
        check(not left, f"{where}: nothing else is left: {sorted(left)}")


def ends_well(process, where, codes=(0,)):
    error = process.communicate(timeout=120)[1].decode()
    check(process.returncode in codes, f"{where}: exit code {process.returncode}: {error[-500:]}")


def wait_until(condition, what):
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"waited in vain until {what}")
        time.sleep(0.005)


def check_alive(work):
    must(*work.command("0/1"))
    work.check_complete("one shard of one")
    late = run(*(c for c in work.command("5/7") if c != "-q"))
    check(late.code == 0 and "nothing left to do: 44 of 49 requests answered" in late.err and "5 refused" in late.err, f"a late one: {late.err!r}")
    refused = run(*(c for c in work.command("5/7") if c != "--allow-errors"))
    check(refused.code == 1 and "5 of 49 requests were refused" in refused.err, f"refused ones are counted: {refused.code}, {refused.err!r}")
    check("nothing left to do" in must(*(c for c in work.command() if c != "-q")).err, "one process alone has nothing to do either")
    work.clean()
    processes = [work.start(f"{n}/3") for n in range(3)]
    for n, process in enumerate(processes):
        ends_well(process, f"three alive, number {n}")
    work.check_complete("three alive")
    work.clean()


def check_killed(work):
    """One, then another one, then all at random moments; each is started again at once, as Slurm does."""
    rng = random.Random(1813)
    kills = batches = 0
    while kills < KILLS:
        processes = [work.start(f"{n}/3") for n in range(3)]
        for attempt in range(4):
            time.sleep(rng.uniform(0.05, 0.5))
            for n in range(3) if attempt == 3 else [attempt]:
                processes[n].kill()
                processes[n].communicate()
                kills += processes[n].returncode == -signal.SIGKILL
                processes[n] = work.start(f"{n}/3")
        for n, process in enumerate(processes):
            ends_well(process, f"after {kills} kills, number {n}")
        batches += 1
        work.check_complete(f"after {kills} kills")
        work.clean()
    print(f"{kills} kills over {batches} batches")


def check_stopped(work):
    """A node that hangs, as far as others can tell: woken when its work is done by others, and while it is."""
    for wakes_after in (False, True):
        sleeper = work.start("0/2", 1)
        wait_until(lambda: any(".work-" in name for name in work.shards()), "a unit is begun")
        sleeper.send_signal(signal.SIGSTOP)
        other = work.start("1/2", 1)
        if wakes_after:
            ends_well(other, "the one that takes over")
            work.check_complete("while the other sleeps")
            before = read(work.output)
            sleeper.send_signal(signal.SIGCONT)
            ends_well(sleeper, "the sleeper")
            check(read(work.output) == before, "a sleeper that wakes up changes nothing")
        else:
            wait_until(lambda: any(".claim-2" in name for name in work.shards()) or other.poll() is not None, "a unit is taken over")
            sleeper.send_signal(signal.SIGCONT)
            ends_well(sleeper, "the sleeper")
            ends_well(other, "the one that took over")
        work.check_complete("after a sleep")
        work.clean()


def check_elsewhere(work):
    """Killed where the others cannot look, as on another node: they wait for its sign of life, and then take over.
    False where no such place can be made."""
    container = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*container, "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        return False
    process = subprocess.Popen([*container, *work.command("0/2", 1)], stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    wait_until(lambda: any(".work-" in name for name in work.shards()), "a unit is begun")
    process.kill()
    process.wait()
    begin = time.monotonic()
    must(*work.command("1/2", 2))
    check(time.monotonic() - begin > 2, "it waits for two seconds without a sign of life")
    work.check_complete("killed elsewhere")
    work.clean()
    return True


def check_slurm(work):
    """The script of README, with programs that stand for Slurm's: the second of three tasks meets its time limit in its first unit, before
    the others begin, and is requeued."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        script = re.search(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", f.read(), re.S)[1]
    for old, new in (("build/release/dodeca", DODECA), ("model.gguf", work.model), ("--parallel 16", "-t 1 -c 256 --parallel 2")):
        check(old in script, f"README's script has {old}")
        script = script.replace(old, new)
    programs = os.path.join(work.folder, "programs")
    os.mkdir(programs)
    job = os.path.join(programs, "job")
    srun = """#!/bin/bash
if [ $SLURM_ARRAY_TASK_ID = 1 ] && [ ! -e $0.met ]; then
  "$@" --isa scalar & process=$!
  until compgen -G 'results.jsonl.shards.*/unit-*.work-*' > /dev/null || ! kill -0 $process; do sleep 0.01; done
  kill -TERM $process
  wait $process; code=$?
  touch $0.met
  exit $code
fi
until [ -e $0.met ]; do sleep 0.01; done
exec "$@"
"""
    scontrol = """#!/bin/bash
[ "$1" = requeue ] || exit 2
bash $(dirname $0)/job
echo "requeued $2: $?" >> $(dirname $0)/log
"""
    for path, text in ((job, script), (os.path.join(programs, "srun"), srun), (os.path.join(programs, "scontrol"), scontrol)):
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o755)
    slurm = {"PATH": programs + ":" + os.environ["PATH"], "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_CPUS_ON_NODE": "1"}
    tasks = [subprocess.Popen(["bash", job], cwd=work.folder, stderr=subprocess.PIPE,
                              env={**ENVIRONMENT, **slurm, "SLURM_ARRAY_TASK_ID": str(n), "SLURM_ARRAY_JOB_ID": "7", "SLURM_JOB_ID": str(8 + n)})
             for n in range(3)]
    for n, task in enumerate(tasks):
        ends_well(task, f"task {n}", (143,) if n == 1 else (0,))
    log = os.path.join(programs, "log")
    check(os.path.exists(log) and read(log) == b"requeued 9: 0\n", "the second task is requeued once, and ends well then")
    shutil.rmtree(programs)
    work.check_complete("README's script")
    work.clean()


def check_signals(work):
    """Stopped cleanly: what it had is free at once, however long the others would wait."""
    for stop, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = work.start("0/2", 86400)
        wait_until(lambda: any(name.endswith(".done") for name in work.shards()), "a unit is done")
        process.send_signal(stop)
        error = process.communicate(timeout=120)[1].decode()
        check(process.returncode == code, f"{stop.name}: exit code {process.returncode}: {error!r}")
        check("answered by all shards together; the same command resumes" in error, f"{stop.name}: {error!r}")
        check(not os.path.exists(work.output), f"{stop.name}: no results before they are whole")
        alone = run(*work.command())
        check(alone.code == 1 and "several processes" in alone.err and "--shard 0/1 goes on" in alone.err, f"without --shard: {alone.err!r}")
        must(*work.command("1/2", 86400))
        work.check_complete(stop.name)
        work.clean()


def check_refused(work):
    process = work.start("0/2")
    wait_until(lambda: any(".work-" in name for name in work.shards()), "a unit is begun")
    other_model = run(*work.command("1/2", model=DEMO))
    check(other_model.code == 1 and "the model, or an option" in other_model.err and "to begin anew" in other_model.err,
          f"another model: {other_model.code}, {other_model.err!r}")
    other_cache = run(*work.command("1/2"), "-ctk", "f32")
    check(other_cache.code == 1 and "option" in other_cache.err, f"another cache: {other_cache.err!r}")
    ends_well(process, "while others were refused")
    work.check_complete("while others were refused")
    work.clean()

    locked = os.path.join(work.folder, "locked")
    os.mkdir(locked, 0o555)
    for place in [os.path.join(work.folder, "nowhere")] + ([locked] if os.geteuid() != 0 else []):
        nowhere = work.command("0/1")
        nowhere[nowhere.index("-o") + 1] = os.path.join(place, "out.jsonl")
        done = run(*nowhere)
        check(done.code == 1 and "cannot create" in done.err and len(done.err.splitlines()) == 1, f"{place}: {done.err!r}")
    for shard in ("1", "3/3", "-1/3", "0/0", "a/b", "0/2/3", ""):
        done = run(*work.command(), "--shard=" + shard)
        check(done.code == 2 and "--shard" in done.err, f"--shard {shard}: {done.code}, {done.err!r}")
    for rest in (["--shard", "0/2", "--restart"], ["--shard-timeout", "5"]):
        done = run(*work.command(), *rest)
        check(done.code == 2 and "--shard" in done.err, f"{rest}: {done.code}, {done.err!r}")
    work.clean()


def check_leftovers(work):
    """What killed processes left under temporary names goes with the end of the run."""
    process = work.start("0/1")
    wait_until(lambda: any(name.endswith(".done") for name in work.shards()), "a unit is done")
    process.kill()
    process.communicate()
    os.link(work.output + ".state", work.output + ".state.99.0.tmp")
    for path in (work.output, work.errors):
        with open(path + ".99.0.tmp", "w", encoding="utf-8") as f:
            f.write("half")
    must(*work.command("0/1"))
    work.check_complete("with leftovers")
    work.clean()


with scratch() as folder:
    work = Work(folder)
    elsewhere = True
    for part in (check_alive, check_killed, check_stopped, check_elsewhere, check_slurm, check_signals, check_refused, check_leftovers):
        begin = time.monotonic()
        if part(work) is False:
            elsewhere = False
        print(f"{part.__name__}: {time.monotonic() - begin:.1f} s")
if not elsewhere:
    skip("no process space of its own can be made here: killed processes are seen to have ended")
finish("batch in shards")
