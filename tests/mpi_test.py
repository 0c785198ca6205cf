#!/usr/bin/env python3
"""A model in several processes that mpirun started, a part in each: the same text and answers as one process with as many
parts, and one sentence when a process is killed or stops. Needs a build with DODECA_MPI; without it the test says so."""
import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import time

from program import BUILD, DEMO, DODECA, check, finish, must, run, scratch, skip

PROMPT = "It is a truth universally acknowledged, that a single man in possession of a good fortune"
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-q"]
FEW = ["-t", "1", "--poll", "0"]
GREEDY = ["-p", PROMPT, "--temp", "0"]


def built_with_mpi():
    with open(os.path.join(BUILD, "CMakeCache.txt"), encoding="utf-8") as cache:
        return re.search(r"^DODECA_MPI:BOOL=ON$", cache.read(), re.M) is not None


def ranks(n, *command):
    return [*MPIRUN, "-n", str(n), DODECA, *command, *FEW]


def copy_with_broken_weights(folder, name):
    broken = os.path.join(folder, name)
    shutil.copytree(DEMO, broken)
    with open(os.path.join(broken, "model-00001-of-00002.safetensors"), "r+b") as f:
        f.truncate(10 ** 7)
    return broken


def unequal_ranks(*commands):
    """Ranks that are started with different arguments."""
    command = list(MPIRUN)
    for arguments in commands:
        command += [":"] * (len(command) > len(MPIRUN)) + ["-n", "1", DODECA, *arguments, *FEW]
    return command


def check_run():
    for n in (2, 3, 4):
        one = must(DODECA, "run", "-m", DEMO, *GREEDY, "-n", "16", "-q", "--numa", f"parts={n}", *FEW)
        many = must(*ranks(n, "run", "-m", DEMO, *GREEDY, "-n", "16"))
        check(many.out == one.out, f"{n} ranks give the text of --numa parts={n}: {many.out!r}, {one.out!r}")
        check(many.err.count("model: ") == 1, f"rank 0 alone says what it does: {many.err}")
    exact = must(DODECA, "run", "-m", DEMO, *GREEDY, "-n", "8", "-q", "--compute", "f32", "--numa", "parts=2", *FEW)
    check(must(*ranks(2, "run", "-m", DEMO, *GREEDY, "-n", "8", "--compute", "f32")).out == exact.out, "float32 too")
    # Rows of 1 KB, and an exchange takes 1 MiB at once.
    many_rows = ("run", "-m", DEMO, "-p", PROMPT * 60, "--temp", "0", "-n", "4", "-c", "2048", "-b", "2048", "-ub", "2048")
    long = must(DODECA, *many_rows, "--numa", "parts=2", *FEW)
    check(re.search(r"prompt: 1[1-9]\d\d tokens", long.err), f"a prompt of more than 1024 rows: {long.err}")
    check(must(*ranks(2, *many_rows)).out == long.out, "a prompt whose exchange takes more than one buffer")
    chat = ("run", "-m", DEMO, "-cnv", "-n", "8", "--temp", "0")
    asked = b"Who is Emma?\n/regen\n"
    check(must(*ranks(2, *chat), stdin=asked).out ==
          must(DODECA, *chat, "-q", "--numa", "parts=2", *FEW, stdin=asked).out, "a chat too")


def check_batch(folder):
    requests = os.path.join(folder, "requests.jsonl")
    with open(requests, "w", encoding="utf-8") as f:
        for i in range(5):
            f.write(json.dumps({"custom_id": f"r{i}", "method": "POST", "url": "/v1/completions",
                                "body": {"prompt": PROMPT[:20 + 9 * i], "max_tokens": 6, "logprobs": 2}}) + "\n")

    def texts(path):
        with open(path, encoding="utf-8") as f:
            return {row["custom_id"]: row["response"]["body"]["choices"] for row in map(json.loads, f)}

    one, many = os.path.join(folder, "one.jsonl"), os.path.join(folder, "many.jsonl")
    command = ("batch", "-m", DEMO, "-i", requests, "-np", "3")
    must(DODECA, *command, "-o", one, "--numa", "parts=3", *FEW)
    must(*ranks(3, *command, "-o", many))
    check(texts(one) == texts(many), "answers and log-probabilities of a batch are the same")
    done = must(*ranks(3, *command, "-o", many))
    check("nothing left to do" in done.err, f"a batch that is done ends on all ranks: {done.err}")
    again = run(DODECA, *command, "-o", many, "--numa", "parts=3", *FEW)
    check(again.code == 0, f"one process with as many parts goes on with its files: {again.err}")


def check_refusals(folder):
    def refused(n, words, *command):
        done = run(*ranks(n, *command))
        check(done.code == 2 and words in done.err and done.err.count("dodeca " + command[0] + ": ") == 1,
              f"'{words}' is said once, with an exit code: {done.code} {done.err}")

    refused(2, "--prompt-cache is for one process", "run", "-m", DEMO, *GREEDY, "--prompt-cache",
            os.path.join(folder, "cache"))
    refused(2, "--numa parts= is for one process", "run", "-m", DEMO, *GREEDY, "--numa", "parts=2")
    for command in (("ppl", "-f", __file__), ("tokenize", "-p", "It is"), ("inspect",), ("plan",)):
        refused(2, "only run and batch work in several", command[0], "-m", DEMO, *command[1:])
    refused(2, "only run and batch work in several", "quantize")
    refused(2, "only run and batch work in several", "imatrix")
    # Ranks that were started with different arguments.
    other = run(*MPIRUN, "-n", "1", DODECA, "run", "-m", DEMO, *GREEDY, *FEW, ":", "-n", "1", DODECA, "run", "-m", DEMO,
                *GREEDY, "--compute", "f32", *FEW)
    check(other.code == 1 and "rank 1" in other.err and "rank 0" in other.err and "compute f32" in other.err,
          f"what differs is named: {other.code} {other.err}")


def check_all_fail(folder):
    """What all ranks have alike, one says; what one rank alone has, it says with its name."""
    def fails(name, done, code, words):
        said = [line for line in done.err.splitlines() if line.startswith("dodeca")]
        check(done.code == code and len(said) == 1 and words in said[0], f"{name}: {done.code} {done.err}")

    plain = ("run", "-m", DEMO, *GREEDY, "-n", "2", "-q")
    broken = copy_with_broken_weights(folder, "alike")
    fails("no rank can load", run(*ranks(3, "run", "-m", broken, *GREEDY)), 1, "dodeca run: bad file")
    fails("an option that is not known", run(*ranks(2, *plain, "--bogus")), 2, "dodeca run: ")
    fails("one of two options", run(*ranks(2, *plain, "-f", __file__)), 2, "-p and -f cannot both")
    fails("a rank with other arguments", run(*unequal_ranks(plain, (*plain, "-c", "256"))), 1, "a context of 256")
    fails("an option of rank 1 alone", run(*unequal_ranks(plain, (*plain, "--isa", "none"))), 2, "dodeca run: rank 1 (")
    fails("an option of rank 0 alone", run(*unequal_ranks((*plain, "--isa", "none"), plain)), 2, "dodeca run: --isa")


def check_slow_start(folder):
    """A rank that is ready much later than the others is waited for: here it opens a pipe that nobody reads yet."""
    pipe = os.path.join(folder, "pipe")
    os.mkfifo(pipe)
    plain = ("run", "-m", DEMO, *GREEDY, "-n", "2")
    one = must(DODECA, *plain, "-q", "--numa", "parts=2", *FEW)
    process = subprocess.Popen(["timeout", "60", *unequal_ranks(plain, (*plain, "--dump-layers", pipe))],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "DODECA_TUNING": "none"})
    try:
        process.wait(12)
        check(False, "rank 0 waits for a slow rank")
    except subprocess.TimeoutExpired:
        with open(pipe, "rb") as reader:
            dump = reader.read()
        check(dump.startswith(b"pass 0"), f"the slow rank wrote its pipe: {dump[:80]}")
    out, err = process.communicate()
    check(process.returncode == 0 and out.decode() == one.out, f"a slow rank: {process.returncode} {err.decode()}")


def check_one_fails(folder):
    """A rank that fails alone while the model is loaded ends all of them, and says so alone."""
    broken = copy_with_broken_weights(folder, "broken")
    good, bad = (("run", "-m", model, *GREEDY, "-n", "2", "-q") for model in (DEMO, broken))
    for n, commands in enumerate(((bad, good), (good, bad))):
        done = run("timeout", "60", *unequal_ranks(*commands))  # mpirun ends its ranks when it is asked to end
        check(done.code == 1 and done.err.count("dodeca run: ") == 1 and "incomplete download" in done.err,
              f"rank {n} fails alone: {done.code} {done.err}")


def parent_of(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        return int(f.read().rsplit(")", 1)[1].split()[1])


def name_of(pid):
    with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
        return f.read().strip()


def lives(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def working_processes(candidates):
    """By rank: those of the processes that are below one that mpirun started."""
    found = {}
    for pid in candidates:
        try:
            if name_of(pid) == name_of(parent_of(pid)) == "dodeca":
                with open(f"/proc/{pid}/environ", encoding="utf-8", errors="replace") as f:
                    found[int(re.search(r"OMPI_COMM_WORLD_RANK=(\d+)", f.read())[1])] = int(pid)
        except OSError:
            continue
    return found


def below(pid):
    """All processes below one."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as f:
            children = f.read().split()
    except OSError:
        return []
    return children + [other for child in children for other in below(child)]


def check_lost(n, victims, how, words, code=1, above=False):
    """Ranks are killed or stopped while they generate; above: the processes that mpirun started."""
    process = subprocess.Popen(ranks(n, "run", "-m", DEMO, *GREEDY, "-n", "-1", "--ignore-eos", "-c", "0"),
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "DODECA_TUNING": "none"})
    process.stdout.read(len(PROMPT) + 8)  # it generates
    pids = working_processes(below(process.pid))
    check(len(pids) == n, f"{n} processes work: {pids}")
    if len(victims) > 1:  # at the same exchange: the others soon wait for rank 0
        os.kill(pids[0], signal.SIGSTOP)
        time.sleep(1)
    for victim in victims:
        os.kill(parent_of(pids[victim]) if above else pids[victim], how)
    if len(victims) > 1:
        os.kill(pids[0], signal.SIGCONT)
    begin = time.monotonic()
    try:
        _, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        _, err = process.communicate()
    seconds, err = time.monotonic() - begin, err.decode("utf-8", "replace")
    for victim in victims:
        if how == signal.SIGSTOP:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[victim], signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(map(lives, pids.values())) and time.monotonic() < deadline:
        time.sleep(0.1)
    check(not any(map(lives, pids.values())), f"no rank is left: {pids}")
    print(f"ranks {victims} of {n} {how.name}: ended after {seconds:.1f} s")
    # Silence is noticed after 8 s, and for longer where the processors are busy: these seconds are not dodeca's.
    check(process.returncode == code and seconds < (40 if how == signal.SIGSTOP else 10), f"ranks {victims} {how.name}: exit code {process.returncode} after "
          f"{seconds:.1f} s\n{err}")
    said = [line for line in err.splitlines() if line.startswith("dodeca")]
    check(len(said) == (1 if words else 0) and words in "".join(said), f"ranks {victims} {how.name}: one sentence: {err}")


# ---- two machines, as network namespaces --------------------------------------------------------------------------

HOSTS = ("dodeca-a", "dodeca-b")
ADDRESSES = ("10.213.77.1", "10.213.77.2")
# What mpirun starts its daemon on the other machine with: the arguments are a host and a command.
AGENT = """#!/bin/sh
shift
exec ip netns exec %s unshare --uts sh -c "hostname %s; $*"
""" % (HOSTS[1], HOSTS[1])


def ip(*command, quiet=False):
    if shutil.which("ip") is None:
        return False
    return subprocess.run(["ip", *command], stderr=subprocess.DEVNULL if quiet else None, check=False).returncode == 0


class Namespaces:
    def __enter__(self):
        self.remove()  # what a killed test left
        self.made = all(ip("netns", "add", host, quiet=True) for host in HOSTS) and ip(
            "link", "add", "veth-a", "netns", HOSTS[0], "type", "veth", "peer", "name", "veth-b", "netns", HOSTS[1], quiet=True)
        for host, address, link in zip(HOSTS, ADDRESSES, ("veth-a", "veth-b")):
            self.made = self.made and all(ip("-n", host, *command) for command in (
                ("addr", "add", address + "/24", "dev", link), ("link", "set", link, "up"), ("link", "set", "lo", "up")))
        return self

    def __exit__(self, *_):
        for host in HOSTS if self.made else ():
            inside = subprocess.run(["ip", "netns", "pids", host], stdout=subprocess.PIPE, check=False)
            for pid in map(int, inside.stdout.split()):
                with contextlib.suppress(ProcessLookupError):  # it ends by itself
                    os.kill(pid, signal.SIGKILL)
        self.remove()

    @staticmethod
    def remove():
        for host in HOSTS:
            ip("netns", "del", host, quiet=True)


def check_namespaces(folder):
    agent = os.path.join(folder, "agent")
    with open(agent, "w", encoding="utf-8") as f:
        f.write(AGENT)
    os.chmod(agent, 0o755)
    with Namespaces() as namespaces:
        if not namespaces.made:
            return False
        command = [*MPIRUN, "--mca", "plm_rsh_agent", agent, "--mca", "btl", "tcp,self", "--mca", "pml", "ob1",
                   "--mca", "btl_tcp_if_include", "10.213.77.0/24", "--mca", "oob_tcp_if_include", "10.213.77.0/24",
                   "-H", f"{ADDRESSES[0]},{ADDRESSES[1]}", "-n", "2", "-x", "DODECA_TUNING=none",
                   DODECA, "run", "-m", DEMO, *GREEDY, *FEW]
        inside = ["ip", "netns", "exec", HOSTS[0], "unshare", "--uts", "sh", "-c",
                  f"hostname {HOSTS[0]}; exec \"$@\"", "sh"]
        one = must(DODECA, "run", "-m", DEMO, *GREEDY, "-n", "16", "-q", "--numa", "parts=2", *FEW)
        many = run(*inside, *command, "-n", "16", timeout=60)
        check(many.code == 0 and many.out == one.out, f"two namespaces: {many.code} {many.out!r} {many.err}")
        check(all(f"({host})" in many.err for host in HOSTS), f"both hosts are named: {many.err}")
        print("namespaces:", *(line for line in many.err.splitlines() if line.startswith("exchanges")))
        endless = [*inside, *command, "-n", "-1", "--ignore-eos", "-c", "0"]
        check_killed_in_namespace(endless)
        check_gone(endless)
    return True


def check_killed_in_namespace(command):
    """A rank on the other machine is killed: its connection ends, and what watched it has the word."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(len(PROMPT) + 8)
    pids = working_processes(subprocess.run(["ip", "netns", "pids", HOSTS[1]], stdout=subprocess.PIPE, check=False,
                                            encoding="utf-8").stdout.split())
    check(list(pids) == [1], f"rank 1 works in {HOSTS[1]}: {pids}")
    os.kill(pids[1], signal.SIGKILL)
    err = process.communicate(timeout=60)[1].decode("utf-8", "replace")
    said = [line for line in err.splitlines() if line.startswith("dodeca")]
    check(process.returncode == 1 and len(said) == 1 and "rank 1 (dodeca-b) was killed by signal 9" in said[0],
          f"a rank on another machine is killed: {process.returncode} {err}")


def check_gone(command):
    """The other machine is there no more. mpirun itself waits for it as long as TCP does."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    process.stdout.read(len(PROMPT) + 8)
    ip("-n", HOSTS[1], "link", "set", "veth-b", "down")
    begin = time.monotonic()
    lines = []
    while time.monotonic() < begin + 40 and not (lines and lines[-1].startswith("dodeca")):
        if select.select([process.stderr], [], [], 1)[0]:
            lines.append(process.stderr.readline().decode("utf-8", "replace"))
    check(lines and "rank 1 (dodeca-b) is lost: it has not answered for 8 s" in lines[-1],
          f"a machine that is gone is named within {time.monotonic() - begin:.1f} s: {lines}")


def main():
    if not built_with_mpi() or shutil.which("mpirun") is None:
        skip("it needs a build with DODECA_MPI, and mpirun")
    with scratch() as folder:
        check_run()
        check_batch(folder)
        check_refusals(folder)
        check_all_fail(folder)
        check_one_fails(folder)
        check_slow_start(folder)
        in_namespaces = check_namespaces(folder)
    for n, victim in ((2, 1), (3, 1), (2, 0)):
        check_lost(n, [victim], signal.SIGKILL, f"rank {victim} (")
    check_lost(2, [1], signal.SIGSTOP, "is lost: it has not answered for 8 s")
    check_lost(3, [1, 2], signal.SIGSTOP, "are lost: one of them has not answered for 8 s")
    check_lost(2, [0], signal.SIGINT, "", 130)
    for victim in (0, 1):
        check_lost(2, [victim], signal.SIGKILL, "", 137, above=True)
    if not in_namespaces:
        skip("all passed but ranks in network namespaces, which cannot be made here")
    finish("mpi")


main()
