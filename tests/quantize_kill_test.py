#!/usr/bin/env python3
"""dodeca quantize killed with SIGKILL at random moments, its unfinished file cut and damaged: started again with the same command
it goes on and ends with the bytes of an uninterrupted run; another command is refused, or begins anew on request.

  tests/quantize_kill_test.py build/release             a sample, as tests/run.sh does
  tests/quantize_kill_test.py build/release thorough    100 kills
"""
import os
import random
import signal
import subprocess
import sys
import time

from program import DEMO, DODECA, check, finish, must, read, run, scratch

THOROUGH = "thorough" in sys.argv[2:]


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


class Output:
    """The files of one command, whole or split."""

    def __init__(self, folder, options):
        self.folder = folder
        self.command = [DODECA, "quantize", DEMO, os.path.join(folder, "out.gguf"), "Q4_K", *options]
        self.log = os.path.join(folder, "out.gguf.partial.log")
        begin = time.monotonic()
        must(*self.command)
        self.duration = time.monotonic() - begin
        self.names = sorted(os.listdir(folder))
        self.whole = [read(os.path.join(folder, name)) for name in self.names]
        self.remove()

    def files(self):
        return [os.path.join(self.folder, name) for name in self.names]

    def done(self):
        """Whether a reader finds it: by the first file."""
        return os.path.exists(self.files()[0])

    def same(self):
        return sorted(os.listdir(self.folder)) == self.names and [read(f) for f in self.files()] == self.whole

    def sound(self):
        """Nothing half-written under a final name, and no first file without its siblings."""
        there = [os.path.exists(f) for f in self.files()]
        return all(read(f) == whole for f, whole, is_there in zip(self.files(), self.whole, there) if is_there) \
            and (all(there) or not there[0])

    def remove(self):
        for path in self.files():
            if os.path.exists(path):
                os.remove(path)

    def partial(self):
        """The unfinished file that grows."""
        found = [f + ".partial" for f in self.files() if os.path.exists(f + ".partial")]
        return ([f for f in found if os.path.getsize(f) > 0] or [None])[-1]

    def interrupted(self):
        """True when there is a partial file with something noted."""
        for attempt in range(50):
            process = subprocess.Popen(self.command + ["-t", "1"], stderr=subprocess.DEVNULL)
            while process.poll() is None and not (os.path.exists(self.log) and len(read(self.log).splitlines()) > 1):
                time.sleep(0.002)
            process.kill()
            process.wait()
            if not self.done() and self.partial():
                return True
            self.remove()
        return False


def kill_at_random(output, name):
    """Kills meet every moment of start, header, data and end; the first tensors are noted at once, later ones once a second."""
    kills = continued = 0
    while kills < (100 if THOROUGH else 10):
        process = subprocess.Popen(output.command + ["-t", str(random.randint(1, 3))], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            process.communicate(timeout=random.uniform(0, output.duration * 1.1))
            check(process.returncode == 0 and output.same(), f"{name}: a run that was in time is whole")
            output.remove()
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            continued += b"resuming behind" in process.communicate()[1]
        kills += 1
        check(output.sound(), f"{name}: nothing half-written under a final name")
        if output.done():
            output.remove()
    must(*output.command)
    check(output.same(), f"{name}: after all kills the same bytes")
    output.remove()
    print(f"{name}: {kills} kills, {continued} of the killed runs had gone on from an earlier one")


def damage(output, what):
    partial, noted = output.partial(), read(output.log)
    data = read(partial)
    if what == "data flipped":
        write(partial, data[:-1] + bytes([data[-1] ^ 1]))
    elif what == "data cut":
        write(partial, data[:len(data) // 2])
    elif what == "log cut":
        write(output.log, noted[:-3])
    elif what == "log of nonsense":
        write(output.log, noted + b"99999999999999999999 -1 zz\n" + os.urandom(50))
    else:
        other = ["Q8_0" if word == "Q4_K" else word for word in output.command]
        done = run(*other)
        check(done.code == 1 and "--restart" in done.err, f"another command is refused: {done.code}, {done.err!r}")
        check(read(partial) == data and read(output.log) == noted, "what is unfinished stays as it is")
        made = must(*other, "--restart")
        check("resuming" not in made.err and not output.same(), "another command begins anew with --restart")
        for leftover in os.listdir(output.folder):
            check(not leftover.endswith(".partial"), "another command leaves no unfinished files")
            os.remove(os.path.join(output.folder, leftover))


random.seed(7)
for name, options in (("one file", []), ("split", ["--split-max-size", "4M"])):
    with scratch() as folder:
        output = Output(folder, options)
        check(len(output.names) == 1 if not options else len(output.names) > 3, f"{name}: {output.names}")
        kill_at_random(output, name)
        # What is found is checked before it is trusted.
        for what in ("data flipped", "data cut", "log cut", "log of nonsense", "another type"):
            check(output.interrupted(), f"{name}, {what}: a run could be interrupted")
            damage(output, what)
            must(*output.command)
            check(output.same(), f"{name}, {what}: the same bytes in the end")
            output.remove()
        # Stopped in a good way: the same command goes on.
        check(output.interrupted(), f"{name}: a run could be interrupted")
        process = subprocess.Popen(output.command, stderr=subprocess.PIPE)
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said = process.communicate()[1].decode()
        check(process.returncode in (0, 143), f"{name}, SIGTERM: exit code {process.returncode}")
        check(process.returncode == 0 or "resumes from there" in said, f"{name}, SIGTERM says how to go on: {said!r}")
        must(*output.command)
        check(output.same(), f"{name}, after SIGTERM: the same bytes")
finish("quantize killed")
