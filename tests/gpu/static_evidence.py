#!/usr/bin/env python3
"""What nvcc made of each kernel, read from the objects of a build: registers, spills, shared memory, occupancy, and the
instructions that matter: 16-byte loads, matrix products (mma), dp4a. Compiles nothing.

  python3 tests/gpu/static_evidence.py [BUILD] [-o FILE]     Markdown, a table per architecture (default: build/release)
  python3 tests/gpu/static_evidence.py [BUILD] --check       says only which kernels spill

Exit code 1 when a kernel keeps more in local memory than ARRAYS says of it (a spill), 77 when something that is needed is
not here. cuobjdump and nvdisasm: in PATH, beside nvcc, or .deps/cuda-tools (bash bench/setup.sh --cuda-tools). Dynamic
shared memory is that with which dodeca-bench gpu of the build launches the kernel on the emulation."""
import argparse
import glob
import json
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Of a multiprocessor, from the CUDA C++ Programming Guide, "Technical Specifications per Compute Capability": threads,
# blocks, KiB of shared memory. All have 65536 registers, which warps get in units of 256, in four equal parts; a block
# takes 1 KiB of shared memory for the system.
LIMITS = {80: (2048, 32, 164), 86: (1536, 16, 100), 89: (1536, 24, 100), 90: (2048, 32, 228), 120: (1536, 24, 100)}
REGISTERS, PARTS, REGISTER_UNIT, SYSTEM_SHARED = 65536, 4, 256, 1024

# Bytes of local memory that are no spills: arrays of CUDA's own functions, with indices known too late.
ARRAYS = {"rope_angles": 40}  # sin and cos of large angles

INSTRUCTIONS = {"ldg128": re.compile(r"\bLDG\.\S*128"), "ldgsts128": re.compile(r"\bLDGSTS\.\S*128"),
                "mma": re.compile(r"\b[HIQ]MMA\."), "dp4a": re.compile(r"\bIDP\.4A"), "local": re.compile(r"\b(LDL|STL)\b")}


class Missing(Exception):
    """Something that is needed is not on this machine."""


def name_of(symbol):
    """The kernel's name in a mangled one: the last identifier of the nested name."""
    at, name = 3, None
    while at < len(symbol) and (digits := re.match(r"\d+", symbol[at:])):
        begin = at + digits.end()
        at = begin + int(digits[0])
        name = symbol[begin:at]
    return name


def find_cuobjdump():
    nvcc = shutil.which("nvcc", path=os.environ.get("PATH", "") + ":/usr/local/cuda/bin")
    folders = [os.path.dirname(os.path.realpath(nvcc))] if nvcc else []
    folders.append(os.path.join(ROOT, ".deps", "cuda-tools", "bin"))
    path = os.pathsep.join([os.environ.get("PATH", ""), *folders])
    if not shutil.which("cuobjdump", path=path) or not shutil.which("nvdisasm", path=path):
        raise Missing("cuobjdump and nvdisasm are not here (bash bench/setup.sh --cuda-tools gets them)")
    return shutil.which("cuobjdump", path=path), {**os.environ, "PATH": path}


def dump(kind, path):
    tool, env = find_cuobjdump()
    done = subprocess.run([tool, f"--dump-{kind}", path], capture_output=True, text=True, env=env, check=False)
    if done.returncode != 0:
        sys.exit(f"static_evidence: cuobjdump --dump-{kind} {path}: {done.stderr.strip()}")
    return done.stdout


def read_object(path, kernels, thoroughly):
    """Adds to kernels[(architecture, name)] what the object's cubins say; registers and memory alone unless thoroughly."""
    architecture = entry = None

    def at(symbol):
        return kernels.setdefault((architecture, name_of(symbol)), dict.fromkeys(INSTRUCTIONS, 0))

    for line in dump("resource-usage", path).splitlines():
        if found := re.match(r"arch = sm_(\d+)", line):
            architecture = int(found[1])
        elif found := re.match(r" Function (\S+):", line):
            entry = at(found[1])
        elif found := re.search(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)", line):
            entry["registers"], entry["stack"], entry["shared"], entry["local_bytes"] = map(int, found.groups())
            if architecture >= 90 and entry["shared"] > 0:  # the system's part is counted there
                entry["shared"] -= SYSTEM_SHARED
    if not thoroughly:
        return
    wanted = False
    for line in dump("elf", path).splitlines():
        if found := re.match(r"arch = sm_(\d+)", line):
            architecture, entry = int(found[1]), None
        elif line.startswith(".nv.info"):
            entry = at(line[len(".nv.info."):]) if line.startswith(".nv.info._Z") else None
        elif "EIATTR_" in line:
            wanted = "EIATTR_MAX_THREADS" in line
        elif entry is not None and (found := re.match(r"\s*Value:\s+(0x[0-9a-f]+) 0x1 0x1", line)) and wanted:
            entry["threads"] = int(found[1], 16)
    for line in dump("sass", path).splitlines():
        if found := re.match(r"arch = sm_(\d+)", line):
            architecture, entry = int(found[1]), None
        elif found := re.match(r"\s*Function : (\S+)", line):
            entry = at(found[1])
        elif entry is not None and "/*" in line:
            for what, pattern in INSTRUCTIONS.items():
                entry[what] += bool(pattern.search(line))


def dynamic_shared(build):
    """Bytes per kernel, the most of its launches."""
    program = os.path.join(build, "dodeca-bench")
    if not os.path.exists(program):
        return {}
    done = subprocess.run([program, "gpu", "--gpu", "emulation", "-o", "json", "-q"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"static_evidence: {program} gpu --gpu emulation: {done.stderr.strip()}")
    most = {}
    for row in json.loads(done.stdout)["kernels"]:
        most[row["kernel"]] = max(most.get(row["kernel"], 0), row["shared_bytes"])
    return most


def blocks_at_once(architecture, kernel, dynamic):
    threads, blocks, shared = LIMITS[architecture]
    warps = (kernel["threads"] + 31) // 32
    warp_registers = -(-kernel["registers"] * 32 // REGISTER_UNIT) * REGISTER_UNIT
    by_registers = REGISTERS // PARTS // warp_registers * PARTS // warps
    by_shared = shared * 1024 // (kernel["shared"] + dynamic + SYSTEM_SHARED)
    return min(blocks, threads // (32 * warps), by_registers, by_shared)


def tables(kernels, shared, command):
    version = subprocess.run([shutil.which("nvcc", path=os.environ["PATH"] + ":/usr/local/cuda/bin"), "--version"],
                             capture_output=True, text=True, check=True).stdout
    lines = ["# What nvcc made of the kernels", "",
             f"Made by `{command}`, nvcc {re.search(r'V([0-9.]+)', version)[1]}. Nothing here was run: it is what the objects say.", "",
             "- threads: of a block, at most; registers: of a thread; local: instructions that touch local memory:"
             " spills, of which there are none, and in rope_angles the arrays of CUDA's sine and cosine",
             "- shared: static and dynamic bytes of a block, the dynamic ones as `dodeca-bench gpu` launches the kernel on the"
             " emulation (products of floats take up to 32 KiB for long rows; kernels that it does not launch have 0)",
             "- occupancy: blocks of the most threads that a multiprocessor holds, and the share of its threads",
             "- LDG, LDGSTS: loads of 16 bytes, to registers and (cp.async) to shared memory; mma and dp4a: such instructions",
             "",
             "Instructions are counted in the text, not as often as they run."]
    for architecture in sorted({a for a, _ in kernels}):
        lines += ["", f"## sm_{architecture}", "",
                  "| kernel | threads | registers | local | shared | occupancy | LDG | LDGSTS | mma | dp4a |",
                  "| ------ | ------: | --------: | ----: | -----: | --------: | --: | -----: | --: | ---: |"]
        for (of, name), k in sorted(kernels.items(), key=lambda item: item[0]):
            if of != architecture:
                continue
            dynamic = shared.get(name, 0)
            blocks = blocks_at_once(architecture, k, dynamic)
            percent = 100 * blocks * k["threads"] / LIMITS[architecture][0]
            lines.append(f"| {name} | {k['threads']} | {k['registers']} | {k['local']} | {k['shared']} + {dynamic} "
                         f"| {blocks} ({percent:.0f} %) | {k['ldg128']} | {k['ldgsts128']} | {k['mma']} | {k['dp4a']} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", nargs="?", default="build/release", metavar="BUILD")
    parser.add_argument("-o", dest="out", metavar="FILE")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    objects = sorted(glob.glob(os.path.join(args.build, "cuda", "*.o")))
    if not objects:
        raise Missing(f"{args.build} has no kernels compiled for cards (cmake --build {args.build} --target cuda_kernels)")
    kernels = {}
    for path in objects:
        read_object(path, kernels, not args.check)
    spilling = [f"{name} for sm_{a}: {k['stack']} bytes of stack"
                for (a, name), k in sorted(kernels.items()) if k["local_bytes"] or k["stack"] > ARRAYS.get(name, 0)]
    if not args.check:
        command = " ".join(["python3 tests/gpu/static_evidence.py", *sys.argv[1:]])
        text = tables(kernels, dynamic_shared(args.build), command)
        if args.out:
            with open(args.out, "w", encoding="utf-8") as f:
                f.write(text)
        else:
            print(text, end="")
    for line in spilling:
        print(f"static_evidence: local memory: {line}", file=sys.stderr)
    architectures = sorted({a for a, _ in kernels})
    print(f"static_evidence: {len(kernels)} kernels of {len(objects)} objects for "
          f"{', '.join(f'sm_{a}' for a in architectures)}: {len(spilling)} with local memory", file=sys.stderr)
    sys.exit(1 if spilling else 0)


try:
    main()
except Missing as missing:
    print(f"static_evidence: {missing}", file=sys.stderr)
    sys.exit(77)
