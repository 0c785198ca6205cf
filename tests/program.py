"""Running the built programs from the end-to-end tests: arguments in, exit code and both streams out; checks that count."""
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DEMO = os.path.join(ROOT, "bench", "demo", "model")
BUILD = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build", "release"))
DODECA = os.path.join(BUILD, "dodeca")
BENCH = os.path.join(BUILD, "dodeca-bench")

_failures = []


class Done:
    def __init__(self, completed):
        self.code, self.out, self.err = completed.returncode, completed.stdout, completed.stderr


def run(*command, stdin=b"", timeout=1200, env=None):
    """Standard output and error as text; undecodable bytes are replaced. No tuning of the user's is read."""
    completed = subprocess.run([str(c) for c in command], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               timeout=timeout, env={**os.environ, "DODECA_TUNING": "none", **(env or {})})
    completed.stdout = completed.stdout.decode("utf-8", "replace")
    completed.stderr = completed.stderr.decode("utf-8", "replace")
    return Done(completed)


def must(*command, **options):
    """run() that ends the test when the program fails."""
    done = run(*command, **options)
    if done.code != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: exit code {done.code}\n{done.err[-3000:]}")
    return done


def check(condition, what):
    if not condition:
        _failures.append(what)
        print(f"FAILED: {what}")


def read(path):
    with open(path, "rb") as f:
        return f.read()


def divergence(model, base):
    """Mean KLD of a model from the logits in a file of `ppl --kl-divergence-base`."""
    text = must(DODECA, "ppl", "-m", model, "--kl-divergence", "--kl-divergence-base", base).out
    return float(re.search(r"Mean\s+KLD:\s*(-?[\d.]+)", text)[1])


def scratch():
    """A folder that goes away with the test."""
    return tempfile.TemporaryDirectory(prefix="dodeca-test-")


def skip(reason):
    """Ends a test of which a part cannot run here: as skipped, unless something has failed."""
    print(f"{len(_failures)} failures" if _failures else reason)
    raise SystemExit(1 if _failures else 77)


def finish(name):
    print(f"{name}: {len(_failures)} failures" if _failures else f"{name}: ok")
    raise SystemExit(1 if _failures else 0)
