#!/usr/bin/env python3
"""One topic per file: at most 700 lines of code, from 400 on a remark. Tables and model files are exempt by name."""
from repo_files import finish, read, repo_files

SOFT, HARD = 400, 700
SUFFIXES = (".cpp", ".hpp", ".inc", ".cu", ".cuh", ".py", ".sh", ".cmake", "CMakeLists.txt")
TABLES = ("tests/golden/", "runtime/text/unicode_tables")

problems = []
for path in repo_files():
    if not path.endswith(SUFFIXES) or path.startswith(TABLES):
        continue
    lines = read(path).count("\n")
    if lines > HARD:
        problems.append(f"{path}: {lines} lines, {HARD} are allowed")
    elif lines > SOFT:
        print(f"{path}: {lines} lines; could it be two topics?")
finish("file sizes", problems)
