"""The disk that all machines of the laboratory boot from, QEMU, and what a machine tells."""
import itertools
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
KERNEL = os.path.join(ROOT, ".deps", "guest-kernel")
APPLETS = ("sh", "awk", "cat", "cut", "grep", "mkdir", "mount", "poweroff", "rm", "sed", "sleep", "tail", "timeout")
SECONDS_OF_A_STEP = 600  # alone a step takes 2 to 10 s; a computer that is busy with other things may give a tenth of a processor
SECONDS_OF_A_MACHINE = 1800


@dataclass(frozen=True)
class Node:
    """A memory node. 0 cores: memory alone."""
    memory_mb: int
    cores: int


@dataclass(frozen=True)
class Machine:
    """`steps` are shell commands by name, in the order in which they run; tests/numa/guest/helpers has functions for them."""
    name: str
    nodes: tuple
    steps: dict
    checks: tuple  # of (what holds, a function of what Ran gives)
    threads: int = 1  # hardware threads of a core


@dataclass
class Done:
    """One step that has ended."""
    code: int
    seconds: float
    out: str
    err: str


@dataclass
class Ran:
    """One machine that has run. `problem` says why it did not come to its end, where it did not."""
    machine: Machine
    steps: dict = field(default_factory=dict)
    seconds: float = 0
    problem: str = ""
    console: str = ""


def must(*command):
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout[-3000:]}")
    return done.stdout


def make_disk(folder, programs, models, machines):
    """A file system with the programs and their libraries, the models {name: path}, and the steps of all machines."""
    root = os.path.join(folder, "root")
    for name in ("bin", "lib64", "models", "steps", "proc", "sys", "dev", "tmp"):
        os.makedirs(os.path.join(root, name))
    shutil.copy("/bin/busybox", os.path.join(root, "bin"))
    for applet in APPLETS:
        os.symlink("busybox", os.path.join(root, "bin", applet))
    for program in programs:
        copy = os.path.join(root, "bin", os.path.basename(program))
        must("strip", "-o", copy, program)
        for library in re.findall(r"(/\S+) \(0x", must("ldd", program)):
            shutil.copy(library, os.path.join(root, "lib64"))  # the loader too, where programs look for it
    for name in ("fma_slack", "misplaced"):
        must("c++", "-O1", "-shared", "-fPIC", "-o", os.path.join(root, "lib64", f"{name}.so"), os.path.join(HERE, "guest", f"{name}.cpp"))
    for name in ("init", "helpers"):
        shutil.copy(os.path.join(HERE, "guest", name), root)
    os.chmod(os.path.join(root, "init"), 0o755)
    for name, path in models.items():
        os.link(path, os.path.join(root, "models", name))
    for machine in machines:
        with open(os.path.join(root, "steps", machine.name), "w", encoding="utf-8") as f:
            for name, command in machine.steps.items():
                f.write(f"step {shlex.quote(name)} {SECONDS_OF_A_STEP} {shlex.quote(command)}\n")
    disk = os.path.join(folder, "disk.img")
    megabytes = sum(os.path.getsize(os.path.join(path, name)) for path, _, names in os.walk(root) for name in names
                    if not os.path.islink(os.path.join(path, name))) // 1000000
    must("mke2fs", "-q", "-t", "ext2", "-d", root, disk, f"{megabytes + 32}M")
    return disk


def qemu_command(machine, disk, console, answers):
    """Cores are numbered node by node; each node that has cores is a socket of its own, as many on each."""
    with_cores = [i for i, node in enumerate(machine.nodes) if node.cores > 0]
    cores = machine.nodes[with_cores[0]].cores
    assert all(machine.nodes[i].cores == cores for i in with_cores), f"{machine.name}: sockets of QEMU are equally large"
    memory = sum(node.memory_mb for node in machine.nodes)
    cpu = "max" if machine.threads == 1 else "max,vendor=GenuineIntel"  # QEMU tells of AMD's hardware threads with KVM alone
    command = ["qemu-system-x86_64", "-accel", "tcg,thread=single,tb-size=256", "-cpu", cpu, "-m", f"{memory}M",
               "-smp", f"{len(with_cores) * cores * machine.threads},sockets={len(with_cores)},cores={cores},threads={machine.threads}"]
    for i, node in enumerate(machine.nodes):
        command += ["-object", f"memory-backend-ram,id=m{i},size={node.memory_mb}M", "-numa", f"node,nodeid={i},memdev=m{i}"]
    for i, j in itertools.permutations(range(len(machine.nodes)), 2):
        command += ["-numa", f"dist,src={i},dst={j},val=32"]
    for socket, i in enumerate(with_cores):
        command += ["-numa", f"cpu,node-id={i},socket-id={socket}"]
    with open(os.path.join(KERNEL, "config"), encoding="utf-8") as f:
        has_nvme = "\nCONFIG_BLK_DEV_NVME=y\n" in f.read()
    device, name = ("nvme,serial=disk", "nvme0n1") if has_nvme else ("virtio-blk-pci", "vda")
    command += ["-drive", f"if=none,id=disk,file={disk},format=raw,snapshot=on", "-device", f"{device},drive=disk"]
    # The kernel waits for ticks of its timer to come in time, which on a busy computer they do not.
    command += ["-kernel", os.path.join(KERNEL, "vmlinuz"),
                "-append", f"root=/dev/{name} ro init=/init no_timer_check console=ttyS0 panic=-1 machine={machine.name}"]
    return command + ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", f"file:{console}",
                      "-serial", f"file:{answers}"]


def read_file(path):
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8", errors="replace", newline="") as f:
        return f.read().replace("\r\n", "\n")


def read_answers(text):
    """The steps that have ended, and whether the machine came to its end."""
    steps, name, texts, ended = {}, "", {}, False
    for line in text.split("\n"):
        word, _, rest = line.partition(" ")
        if word == "begin":
            name, texts = rest, {"out": [], "err": []}
        elif word in ("out", "err") and name:
            texts[word].append(rest + "\n")
        elif word == "end" and name:
            code, seconds = rest.split()
            steps[name] = Done(int(code), float(seconds), "".join(texts["out"]), "".join(texts["err"]))
        elif word == "done":
            ended = True
    return steps, ended


def boot(machine, disk, folder):
    """Boots a machine, waits until it has turned itself off, and returns what it told."""
    console, answers = (os.path.join(folder, f"{machine.name}.{what}") for what in ("console", "answers"))
    times = os.times()
    ran = Ran(machine)
    process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *qemu_command(machine, disk, console, answers)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        said, _ = process.communicate(timeout=SECONDS_OF_A_MACHINE)
        if process.returncode != 0:
            ran.problem = f"QEMU ended with exit code {process.returncode}: {said.decode(errors='replace').strip()}"
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        ran.problem = f"it still ran after {SECONDS_OF_A_MACHINE} s"
    ran.seconds = os.times().elapsed - times.elapsed
    ran.console = read_file(console)
    ran.steps, ended = read_answers(read_file(answers))
    if not ended and not ran.problem:
        missing = [name for name in machine.steps if name not in ran.steps]
        ran.problem = f"it went off before step {missing[0]!r} had ended" if missing else "it went off early"
    return ran
