#!/usr/bin/env python3
"""clang-tidy (.clang-tidy) over the C++ files that changed: since the merge base with BASE, or when that is HEAD itself, in
the last commit, and in the working tree.

  tests/lint/check_tidy.py BUILD            BUILD: a build folder without unity (preset debug)
  tests/lint/check_tidy.py BUILD --base REF  (default: main)
  tests/lint/check_tidy.py BUILD FILE...     these files; FOLDER/ stands for all of its files

At most MOST files are looked at, the largest changes first; what is left out is said. Exit code 77: no clang-tidy here."""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

from repo_files import finish, repo_files

MOST = 24
SKIPPED = 77


def git(*args):
    done = subprocess.run(["git", *args], capture_output=True, text=True, check=False)
    return done.stdout.split("\n") if done.returncode == 0 else []


def changed_files(base):
    """Path -> changed lines."""
    head, merge_base = git("rev-parse", "HEAD")[:1], git("merge-base", base, "HEAD")[:1]
    since = merge_base[0] if merge_base and merge_base != head else "HEAD~1"
    sizes = {}
    for line in git("diff", "--numstat", since):
        fields = line.split("\t")
        if len(fields) == 3 and fields[0].isdigit():
            sizes[fields[2]] = int(fields[0]) + int(fields[1])
    for path in git("ls-files", "--others", "--exclude-standard"):
        sizes[path] = 1 << 20
    return sizes


def tidy(program, build, source):
    arguments = [program, "-p", build, "--quiet", "--extra-arg=-Wno-unknown-warning-option", source]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return []
    # Only what stands at a place of our own files: clang 14 cannot read all of libstdc++ 12 (ranges) and counts invented
    # names of auto parameters as badly spelled.
    found = re.findall(r"^(\S+:\d+:\d+: (?:error|warning): .*)$", done.stdout, re.MULTILINE)
    found = [line for line in found if not line.startswith("/usr/") and "[clang-diagnostic-" not in line]
    if not found and not re.search("^error: |^/usr/|diagnostic-error", done.stdout, re.MULTILINE):
        found = [f"{source}: clang-tidy ended with exit code {done.returncode}: {done.stderr[-300:]}"]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--base", default="main")
    args = parser.parse_args()
    program = shutil.which("clang-tidy-14")
    if program is None:
        print("clang-tidy 14 is not installed: bash bench/setup.sh --tests installs it")
        sys.exit(SKIPPED)

    # What can be compiled: sources as themselves, headers as the files that the header check makes of them.
    compiled = {}
    for entry in json.loads(pathlib.Path(args.build, "compile_commands.json").read_text(encoding="utf-8")):
        source = os.path.relpath(os.path.join(entry["directory"], entry["file"]))
        alone = re.search(r"_verify_interface_header_sets/(.*\.hpp)\.cxx$", source)
        kernel = re.search(r"generated/\w+/((?:gpu|tests)/.*)\.cpp$", source)  # a .cu file, compiled for the host
        compiled[alone[1] if alone else kernel[1] + ".cu" if kernel else source] = source
    if args.files:
        wanted = [path for path in repo_files() if path.startswith(tuple(f for f in args.files if f.endswith("/")))
                  or path in args.files]
        chosen = [path for path in wanted if path in compiled]
    else:
        sizes = changed_files(args.base)
        chosen = sorted((path for path in sizes if path in compiled and os.path.exists(path)), key=lambda p: -sizes[p])
        if len(chosen) > MOST:
            print(f"{len(chosen) - MOST} smaller changes are not looked at, the first in {chosen[MOST]}")
        chosen = chosen[:MOST]

    problems = set()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(lambda path: tidy(program, args.build, compiled[path]), chosen):
            problems.update(line.replace(os.getcwd() + "/", "") for line in found)
    print(f"clang-tidy: {len(chosen)} files")
    finish("clang-tidy", sorted(problems))


if __name__ == "__main__":
    main()
