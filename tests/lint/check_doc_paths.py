#!/usr/bin/env python3
"""Every path, preset and long flag that a Markdown file names exists."""
import json
import os
import re

from repo_files import ROOT, finish, read, repo_files

FILES = repo_files()
FOLDERS = {os.path.dirname(p) for p in FILES}
FOLDERS |= {"/".join(f.split("/")[:n]) for f in FOLDERS for n in range(1, f.count("/") + 1)}
TOP = {p.split("/")[0] for p in FILES}
GENERATED = ("build/", ".deps/")
PATH = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.+/-]*")
PRESETS = {p["name"] for p in json.loads(read("CMakePresets.json"))["configurePresets"]}
# Where flags are declared: the programs and the scripts.
SOURCES = "\n".join(read(p) for p in FILES
                    if p.startswith(("runtime/cli/", "bench/", "tests/")) and p.endswith((".cpp", ".hpp", ".py", ".sh")))
FOREIGN_FLAGS = {"--preset", "--target", "--build",  # cmake's, checked by value
                 "--map-by", "--bind-to", "--mca", "--enable-recovery"}  # mpirun's

problems = []


def exists(path, document):
    path = path.rstrip("/")
    here = os.path.normpath(os.path.join(os.path.dirname(document), path))
    return any(p in FOLDERS or os.path.isfile(os.path.join(ROOT, p)) for p in (path, here))


for document in FILES:
    if not document.endswith(".md"):
        continue
    text = read(document)
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{document}:{number}"
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", line):
            if not re.match(r"[a-z]+:", target) and not exists(target, document):
                problems.append(f"{where}: link to {target}, which does not exist")
        words = [w for span in re.findall(r"`([^`]+)`", line) for w in span.split()]
        if line.startswith(("    ", "\t")) or line.lstrip().startswith(("$", "bash ", "build/", "cmake ", "dodeca", ".deps/")):
            words += line.split()
        for word in words:
            word = word.strip(".,;:()'\"")
            if not PATH.fullmatch(word) or word.startswith(GENERATED) or "/" not in word:
                continue
            if word.split("/")[0] in TOP and not exists(word, document):
                problems.append(f"{where}: names {word}, which does not exist")
        for preset in re.findall(r"--preset[ =]([a-z-]+)", line):
            if preset not in PRESETS:
                problems.append(f"{where}: there is no preset {preset}")
        if line.startswith("#SBATCH "):
            continue  # Slurm's own
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", line):
            if flag not in FOREIGN_FLAGS and not re.search(re.escape(flag) + r"(?![\w-])", SOURCES):
                problems.append(f"{where}: no program or script has a flag {flag}")
finish("paths and flags in documents", problems)
