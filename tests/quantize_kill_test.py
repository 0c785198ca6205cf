#!/usr/bin/env python3
"""dodeca quantize killed with SIGKILL at random moments, its unfinished file cut and damaged: started again with the same command
it goes on and ends with the bytes of an uninterrupted run; another command begins anew.

  tests/quantize_kill_test.py build/release             a sample, as tests/run.sh does
  tests/quantize_kill_test.py build/release thorough    100 kills
"""
import os
import random
import signal
import subprocess
import sys
import time

from program import DEMO, DODECA, check, finish, must, scratch

THOROUGH = "thorough" in sys.argv[2:]


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


with scratch() as folder:
    out, partial = os.path.join(folder, "out.gguf"), os.path.join(folder, "out.gguf.partial")
    log = partial + ".log"
    command = [DODECA, "quantize", DEMO, out, "Q4_K"]
    begin = time.monotonic()
    must(*command)
    duration = time.monotonic() - begin
    whole = read(out)
    check(not os.path.exists(partial) and not os.path.exists(log), "a finished run leaves nothing beside its file")
    os.remove(out)

    # Kills meet every moment of start, header, data and end; the first tensors are noted at once, later ones once a second.
    random.seed(7)
    kills = continued = 0
    while kills < (100 if THOROUGH else 10):
        process = subprocess.Popen(command + ["-t", str(random.randint(1, 3))], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            process.communicate(timeout=random.uniform(0, duration * 1.1))
            check(process.returncode == 0 and read(out) == whole, "a run that was in time is whole")
            os.remove(out)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            continued += b"going on behind" in process.communicate()[1]
        kills += 1
        check(not os.path.exists(out) or read(out) == whole, "nothing half-written under the final name")
        if os.path.exists(out):
            os.remove(out)
    must(*command)
    check(read(out) == whole, "after all kills: the same bytes")

    # What is found is checked before it is trusted.
    def interrupted():
        """A partial file with something noted; True when there is one."""
        for attempt in range(50):
            process = subprocess.Popen(command + ["-t", "1"], stderr=subprocess.DEVNULL)
            while process.poll() is None and not (os.path.exists(log) and len(read(log).splitlines()) > 1):
                time.sleep(0.002)
            process.kill()
            process.wait()
            if os.path.exists(partial):
                return True
            os.remove(out)
        return False

    for what in ("data flipped", "data cut", "log cut", "log of nonsense", "another type"):
        check(interrupted(), f"{what}: a run could be interrupted")
        data, noted = read(partial), read(log)
        if what == "data flipped":
            write(partial, data[:-1] + bytes([data[-1] ^ 1]))
        elif what == "data cut":
            write(partial, data[:len(data) // 2])
        elif what == "log cut":
            write(log, noted[:-3])
        elif what == "log of nonsense":
            write(log, noted + b"99999999999999999999 -1 zz\n" + os.urandom(50))
        else:
            other = must(*command[:-1], "Q8_0")
            check("going on" not in other.err and read(out) != whole, "another command begins anew")
        must(*command)
        check(read(out) == whole, f"{what}: the same bytes in the end")
        os.remove(out)

    # Stopped in a good way: the same command goes on.
    check(interrupted(), "a run could be interrupted")
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said = process.communicate()[1].decode()
    check(process.returncode in (0, 143), f"SIGTERM: exit code {process.returncode}")
    check(process.returncode == 0 or "the same command goes on" in said, f"SIGTERM says how to go on: {said!r}")
    must(*command)
    check(read(out) == whole, "after SIGTERM: the same bytes")
    print(f"{kills} kills, {continued} of the killed runs had gone on from an earlier one")
finish("quantize killed")
