"""What a check of the laboratory can ask. Each function here makes a check: a function of the machine that has run and of the
reference, which gives the problem as text, and "" where there is none."""
import re

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
LOCAL_SHARE = 0.99  # the least share of a node's weights that may lie on it
NODE_LINE = re.compile(r"^node (\d+): ([\d.]+) (KiB|MiB|GiB) of weights, ([\d.]+) % local, (\d+) % in huge pages$", re.M)


class Skipped(Exception):
    """A check that cannot be made; the text says why."""


def _tail(text):
    return " | ".join(text.strip().splitlines()[-4:])[-600:]


def ends(step, code=0):
    def check(ran, _):
        done = ran.steps[step]
        return "" if done.code == code else f"{step}: exit code {done.code} after {done.seconds} s, want {code}: {_tail(done.err)}"
    return check


def both(*checks):
    def check(ran, reference):
        return next(filter(None, (each(ran, reference) for each in checks)), "")
    return check


def same(step, other):
    """Two steps give the same standard output."""
    def check(ran, reference):
        one, two = ran.steps[step].out, ran.steps[other].out
        return ends(step)(ran, reference) or ends(other)(ran, reference) or ("" if one == two else f"{one!r}, and {other}: {two!r}")
    return check


def text_as_here(step, numa):
    """A step's text is what the program gives on this computer with --numa `numa`."""
    def check(ran, reference):
        here, there = reference.text(numa), ran.steps[step].out
        return ends(step)(ran, reference) or ("" if here == there else f"{there!r}, and here with --numa {numa}: {here!r}")
    return check


def layers_as_here(step, numa):
    """A step's lines of --dump-layers are this computer's with --numa `numa`."""
    def check(ran, reference):
        here, there = reference.layers(numa).splitlines(), ran.steps[step].out.splitlines()
        different = next((f"{two!r}, and here with --numa {numa}: {one!r}" for one, two in zip(here, there) if one != two), "")
        return ends(step)(ran, reference) or different or ("" if len(here) == len(there) else f"{len(there)} lines, and here {len(here)}")
    return check


def says(step, *patterns):
    """Each pattern is in a line of standard error."""
    def check(ran, _):
        err = ran.steps[step].err
        missing = [pattern for pattern in patterns if not re.search(pattern, err, re.M)]
        return f"{step}: nothing like {missing[0]!r} in: {_tail(err)}" if missing else ""
    return check


def says_not(step, *patterns):
    def check(ran, _):
        found = [re.search(pattern, ran.steps[step].err, re.M) for pattern in patterns]
        return next((f"{step}: says {match[0]!r}" for match in found if match), "")
    return check


def refuses(step, *patterns):
    """Exit code 1; one sentence, the last line, says why: all patterns are in it."""
    def check(ran, reference):
        lines = ran.steps[step].err.strip().splitlines() or [""]
        missing = [pattern for pattern in patterns if not re.search(pattern, lines[-1])]
        n_sentences = sum(line.startswith("dodeca run: ") for line in lines)
        return (ends(step, 1)(ran, reference) or (f"{step}: nothing like {missing[0]!r} in: {lines[-1]}" if missing else "") or
                ("" if n_sentences == 1 else f"{step}: {n_sentences} sentences: {_tail(ran.steps[step].err)}"))
    return check


def cases_pass(step, at_least=1):
    """A program of unit tests: so many of its cases ran, and none failed."""
    def check(ran, reference):
        done = ran.steps[step]
        if done.code == 127:
            raise Skipped("the build has no such program")
        match = re.search(r"test cases: +(\d+) \| +(\d+) passed", done.out)
        if not match or int(match[2]) < at_least:
            return f"{step}: exit code {done.code}: {_tail(done.out)}"
        return "" if done.code == 0 else f"{step}: {' | '.join(done.out.strip().splitlines()[-30:])}"
    return check


def skips_nothing(step):
    def check(ran, _):
        skipped = re.findall(r"MESSAGE: (skipped.*)", ran.steps[step].out)
        return f"{step}: {'; '.join(skipped)}" if skipped else ""
    return check


# ---- where memory is ------------------------------------------------------------------------------------------------

def _parts_said(err):
    """By node: the least number of bytes that the program may mean, share that is local, share in huge pages."""
    return {int(node): ((float(size) - 0.005) * UNITS[unit], float(local) / 100, float(huge) / 100)
            for node, size, unit, local, huge in NODE_LINE.findall(err)}


def _weights_said(err):
    """The least number of bytes of the whole model."""
    match = re.search(r"^model: .*?([\d.]+) (KiB|MiB|GiB) in memory", err, re.M)
    return (float(match[1]) - 0.05) * UNITS[match[2]] if match else float("inf")


def local(step, *nodes):
    """The program says that it has weights on these nodes, and all of them local."""
    def check(ran, _):
        said = _parts_said(ran.steps[step].err)
        if sorted(said) != sorted(nodes):
            return f"{step}: says something of the nodes {sorted(said)}, want {list(nodes)}: {_tail(ran.steps[step].err)}"
        wrong = [node for node in nodes if said[node][1] < 1]
        return f"{step}: node {wrong[0]}: {said[wrong[0]][1]:.1%} local" if wrong else ""
    return check


class Mapping:
    """A line of numa_maps: policy, bytes by node, whether it has a file or is of huge pages."""

    def __init__(self, line):
        words = line.split()
        self.policy = words[1]
        self.is_anonymous = not any(word.startswith("file=") for word in words) or "huge" in words
        self.is_huge = "huge" in words
        values = dict(word.split("=", 1) for word in words[2:] if "=" in word)
        page = int(values.get("kernelpagesize_kB", 4)) << 10
        self.bytes = {int(key[1:]): int(value) * page for key, value in values.items() if re.fullmatch(r"N\d+", key)}


def mappings(done):
    """What while_generating showed of the anonymous memory of a program."""
    section = re.search(r"== numa_maps\n(.*?)(?:^== |\Z)", done.out, re.S | re.M)
    lines = section[1].splitlines() if section else []
    return [mapping for mapping in map(Mapping, lines) if mapping.is_anonymous]


def _on_nodes(found, policy=None):
    total = {}
    for mapping in found:
        if policy is None or re.fullmatch(policy, mapping.policy):
            for node, size in mapping.bytes.items():
                total[node] = total.get(node, 0) + size
    return total


def _sizes(total):
    return ", ".join(f"node {node}: {size / UNITS['MiB']:.1f} MiB" for node, size in sorted(total.items())) or "nothing"


def counted(step, *nodes):
    """The kernel counts, in the mappings that are bound to each node, at least the weights that the program says, and on no other; and
    with what is interleaved, at least the model."""
    def check(ran, reference):
        done = ran.steps[step]
        said, found = _parts_said(done.err), mappings(done)
        for node in nodes:
            total = _on_nodes(found, rf"bind(=static)?:{node}")
            here = total.get(node, 0)
            if node not in said or here < max(said[node][0], LOCAL_SHARE * sum(total.values())):
                return f"{step}: node {node} is said to have {_sizes({node: said.get(node, (0,))[0]})}, and the kernel has: {_sizes(total)}"
        placed, model = sum(_on_nodes(found, "(bind|interleave).*").values()), _weights_said(done.err)
        if placed < model:  # what no part has alone is interleaved
            return f"{step}: {placed / UNITS['MiB']:.1f} MiB are bound or interleaved, the model has {model / UNITS['MiB']:.1f} MiB"
        return ends(step)(ran, reference)
    return check


def spread(step, *nodes):
    """Interleaved memory: as much as the model at least, in equal shares on these nodes."""
    def check(ran, reference):
        done = ran.steps[step]
        total = _on_nodes(mappings(done), r"interleave(=static)?:.*")
        size = sum(total.values())
        if size < _weights_said(done.err) or any(abs(total.get(node, 0) / size - 1 / len(nodes)) > 0.1 for node in nodes):
            return f"{step}: interleaved: {_sizes(total)}; {_tail(done.err)}"
        return ends(step)(ran, reference)
    return check


def nothing_on(step, *nodes, but=UNITS["MiB"]):
    """No anonymous memory of the program is on these nodes, but for so much."""
    def check(ran, reference):
        total = _on_nodes(mappings(ran.steps[step]))
        wrong = [node for node in nodes if total.get(node, 0) > but]
        return f"{step}: {_sizes(total)}" if wrong or not total else ends(step)(ran, reference)
    return check


def in_huge_pages(step, *nodes, at_least):
    """Explicit huge pages: so many bytes on each of these nodes."""
    def check(ran, reference):
        total = _on_nodes(mapping for mapping in mappings(ran.steps[step]) if mapping.is_huge)
        wrong = [node for node in nodes if total.get(node, 0) < at_least]
        return f"{step}: in pages of hugetlbfs: {_sizes(total)}" if wrong else ends(step)(ran, reference)
    return check


def huge_as_said(step, node, at_least):
    """The share in transparent huge pages that the program says of a node is so large, and the kernel counts as many."""
    def check(ran, reference):
        done = ran.steps[step]
        said = _parts_said(done.err).get(node, (0, 0, 0))
        huge = sum(int(size) for size in re.findall(r"^AnonHugePages: +(\d+) kB", done.out, re.M)) << 10
        if said[2] < at_least or huge < (said[2] - 0.01) * said[0]:
            return f"{step}: {said[2]:.0%} are said to be in huge pages, the kernel counts {huge / UNITS['MiB']:.1f} MiB"
        return ends(step)(ran, reference)
    return check


def not_cached(step, before, model, share=0.1):
    """While the program has this model in memory, the page cache has grown by no more than a share of its file."""
    def check(ran, reference):
        cached = [re.search(r"^Cached: +(\d+) kB", ran.steps[name].out, re.M) for name in (before, step)]
        if not all(cached):
            return f"{step}: nothing is known of the page cache: {_tail(ran.steps[step].err)}"
        grown = (int(cached[1][1]) - int(cached[0][1])) << 10
        of = reference.file_bytes(model)
        if grown > share * of:
            return f"{step}: the page cache has grown by {grown / UNITS['MiB']:.0f} MiB with a file of {of / UNITS['MiB']:.0f} MiB"
        return ends(step)(ran, reference)
    return check
