"""The machines of the laboratory: what runs on each, and what has to hold."""
import shlex

from checks import (both, cases_pass, counted, ends, huge_as_said, in_huge_pages, layers_as_here, local, not_cached, nothing_on, refuses,
                    same, says, says_not, skips_nothing, spread, text_as_here)
from emulator import Machine, Node
from reference import COMPLETION

MiB = 1 << 20

HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage/enabled"
BALANCING = "/proc/sys/kernel/numa_balancing"


def run(*options, model="demo.gguf"):
    return shlex.join(("dodeca", "run", "-m", f"/models/{model}", *COMPLETION, *options))


def watch(*options, model="demo.gguf"):
    """Long enough to be looked at; ended as soon as it generates."""
    return f"while_generating {run('-p', 'It', '-n', '400', '--ignore-eos', '--no-display-prompt', *options, model=model)}"


def layers(*options):
    """The bits of every block, a line each."""
    return f"{run(*options)} --dump-layers /tmp/layers >/dev/null && cat /tmp/layers"


def misplaced(command):
    """All memory on node 0, wherever the program binds it."""
    return f"export LD_PRELOAD=\"$LD_PRELOAD /lib64/misplaced.so\"; {command}"


def unit_tests(program, *files):
    return f"{program} --no-colors --source-file={','.join(f'*/{name}_test.cpp' for name in files)}"


MEMORY_TESTS = unit_tests("test_cpu", "memory", "node_memory", "residency", "topology", "seats", "crews")
PLACEMENT_TESTS = unit_tests("test_runtime_weights", "part_residency")

ONE = Machine("one", (Node(512, 2),), {
    "auto": run(),
    "off": run("--numa", "off"),
    "interleave": run("--numa", "interleave"),
    "parts 8": run("--numa", "parts=8"),
    "absent node": run("--numa", "nodes=1"),
}, (
    ("one node runs as without nodes", both(text_as_here("auto", "off"), says_not("auto", "^numa:", "^node "))),
    ("--numa off changes no text", same("off", "auto")),
    ("--numa interleave changes no text", same("interleave", "auto")),
    ("8 virtual nodes give the text that they give elsewhere", text_as_here("parts 8", "parts=8")),
    ("a node that is not there is one sentence", refuses("absent node", "node 1 is not there")),
))

# The kernel has 70 MiB of the first node. There is room for large.gguf in memory, but not for its file beside it.
TWO = Machine("two", (Node(256, 2), Node(224, 2)), {
    "auto": run(),
    "again": run("--numa", "nodes=0,1", "--verify-placement"),
    "layers": layers(),
    "off": run("--numa", "off"),
    "node 1": watch("--numa", "nodes=1"),
    "interleave": watch("--numa", "interleave", "--huge-pages", "off"),
    "balancing off": f"with_setting {BALANCING} 0 {run('-n', '1')}",
    "no huge pages": f"with_setting {HUGE_PAGES} never {run('-n', '1')}",
    "empty pool": run("--huge-pages", "2M"),
    "pool": "pool_pages 4; " + watch("--huge-pages", "2M") + "; code=$?; pool_pages 0; exit $code",
    "misplaced": misplaced(run("--numa", "nodes=0,1")),
    "allowed": misplaced(run("--numa-allow-remote")),
    "before": "cat /proc/meminfo",
    "large": watch("-ub", "32", model="large.gguf"),
    "long context": run("-c", "60000", "-ub", "32"),
    "cpuset": "memory_of 0; " + watch(),
    "cpuset node 1": "memory_of 0; " + run("--numa", "nodes=1"),
    "memory tests": f"pool_pages 4; {MEMORY_TESTS}; code=$?; pool_pages 0; exit $code",
    "placement tests": PLACEMENT_TESTS,
    "imatrix": "for i in $(seq 40); do echo It is a truth universally acknowledged; done >/tmp/text; "
               "dodeca imatrix -m /models/demo.gguf -f /tmp/text -c 64 --chunks 1 -o /tmp/imatrix.gguf",
}, (
    ("auto gives the text of 2 virtual nodes", text_as_here("auto", "parts=2")),
    ("and the bits of every block", layers_as_here("layers", "parts=2")),
    ("the nodes by name, with --verify-placement, give the same text", same("again", "auto")),
    ("auto says what it does", says("auto", r"^numa: 2 nodes \(0, 1\): a part on each; cache: one copy per node$")),
    ("all weights are local", local("auto", 0, 1)),
    ("all weights are local when all pages are asked for", local("again", 0, 1)),
    ("--numa off gives the text of one part", text_as_here("off", "off")),
    ("--numa nodes=1 leaves node 0 alone", both(nothing_on("node 1", 0, but=8 * MiB), local("node 1", 1))),
    ("--numa interleave spreads the weights evenly", spread("interleave", 0, 1)),
    ("balancing by the kernel is warned of", says("auto", "numa_balancing=0")),
    ("and is not where it is off", both(ends("balancing off"), says_not("balancing off", "numa_balancing"))),
    ("missing huge pages are warned of", says("no huge pages", "echo madvise > .*transparent_hugepage")),
    ("and are not where they are there", says_not("auto", "transparent_hugepage")),
    ("a pool without pages is said, and the program runs", both(same("empty pool", "auto"), says("empty pool", r"pool.*node 0"))),
    ("--huge-pages 2M takes pages of the pool on each node", in_huge_pages("pool", 0, 1, at_least=4 * MiB)),
    ("a model that lies on the wrong node is refused",
     refuses("misplaced", "100.0 % of the .* on node 1 lie elsewhere", "--numa-allow-remote")),
    ("and runs where that is allowed, with a warning",
     both(same("allowed", "auto"), says("allowed", "^100.0 % of the .* on node 1 lie elsewhere"))),
    ("the kernel counts the parts of a large model on their nodes", both(local("large", 0, 1), counted("large", 0, 1))),
    ("and does not cache its file", not_cached("large", "before", "large.gguf")),
    ("a cpuset's memory alone is used", both(nothing_on("cpuset", 1, but=0), says("cpuset", "cpuset.mems"))),
    ("a node outside of the cpuset is one sentence", refuses("cpuset node 1", "node 1.*may not use")),
    ("a cache that has no room for two copies is interleaved", says("long context", "^numa: 2 nodes .*cache: one copy, interleaved$")),
    ("and changes no text", text_as_here("long context", "parts=2")),
    ("unit tests of memory pass on two nodes, with a pool of huge pages",
     both(cases_pass("memory tests", at_least=20), skips_nothing("memory tests"))),
    ("imatrix runs, in one part", both(ends("imatrix"), says("imatrix", r"^numa: 2 nodes \(0, 1\): memory interleaved"))),
    ("a misplaced slab is found out", cases_pass("placement tests", at_least=4)),
))


def with_parts(name, n_nodes, cores):
    """Equal nodes, a part on each."""
    nodes = tuple(range(n_nodes))
    return Machine(name, tuple(Node(128, cores) for _ in nodes), {
        "layers": layers(),
        "watched": watch(),
    }, (
        (f"auto gives the bits of {n_nodes} virtual nodes, in every block", layers_as_here("layers", f"parts={n_nodes}")),
        ("all weights are local", local("watched", *nodes)),
        ("the kernel counts them on their nodes", counted("watched", *nodes)),
    ))


UNEVEN = Machine("uneven", (Node(384, 1), Node(96, 1)), {
    "auto": watch(),
    "siblings": run("-t", "4"),
}, (
    ("parts fit on a large and a small node", both(local("auto", 0, 1), counted("auto", 0, 1))),
    ("second threads of cores are warned of", says("siblings", "4 threads share 2 cores")),
    ("and give the text of 2 virtual nodes", text_as_here("siblings", "parts=2")),
), threads=2)

SMALL = Machine("small", (Node(384, 2), Node(112, 2)), {
    "large": run(model="large.gguf"),
    "large on node 0": watch("--numa", "nodes=0", model="large.gguf"),
}, (
    ("a node too small is one sentence that says what would help",
     refuses("large", r"node 1 needs [\d.]+ GiB .*[\d.]+ GiB are free", "--numa interleave", "--numa nodes=")),
    ("the large node alone takes the model", both(counted("large on node 0", 0), nothing_on("large on node 0", 1, but=8 * MiB))),
    ("in huge pages, and as many as the program says", huge_as_said("large on node 0", 0, at_least=0.5)),
))

NO_CORES = Machine("no-cores", (Node(384, 2), Node(256, 0)), {
    "auto": watch(),
    "text": run(),
    "interleave": watch("--numa", "interleave", "--huge-pages", "off"),
    "node 1": run("--numa", "nodes=1"),
    "memory tests": MEMORY_TESTS,
    "placement tests": PLACEMENT_TESTS,
}, (
    ("auto leaves a node without cores alone, and says so",
     both(nothing_on("auto", 1, but=0), says("auto", r"node \(1\) without a processor", r"^numa: 1 node \(0\): all of it there"))),
    ("all weights are local", local("auto", 0)),
    ("and gives the text of one part", text_as_here("text", "off")),
    ("interleave takes its memory", spread("interleave", 0, 1)),
    ("a part without cores is one sentence", refuses("node 1", "node 1 has memory and no processor")),
    ("unit tests of memory pass beside a node without cores", cases_pass("memory tests", at_least=20)),
    ("and those of placement", cases_pass("placement tests", at_least=4)),
))

# The longest first.
MACHINES = (TWO, with_parts("eight", 8, 1), with_parts("four", 4, 1), ONE, UNEVEN, SMALL, NO_CORES)
