"""The project's own files, as paths relative to its root: what git tracks or would track, or all files of an unpacked archive."""
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIPPED_FOLDERS = {".git", ".deps", "build", "__pycache__"}


def repo_files():
    git = ["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(git, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        paths = [p for p in done.stdout.decode().split("\0") if p]
    except (OSError, subprocess.CalledProcessError):
        paths = []
        for folder, folders, names in os.walk(ROOT):
            folders[:] = [f for f in folders if f not in SKIPPED_FOLDERS]
            paths += [os.path.relpath(os.path.join(folder, n), ROOT) for n in names]
    return sorted(p for p in paths if os.path.isfile(os.path.join(ROOT, p)))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def finish(name, problems):
    for problem in problems:
        print(problem)
    print(f"{name}: {len(problems)} problem{'s' if len(problems) != 1 else ''}")
    raise SystemExit(1 if problems else 0)
