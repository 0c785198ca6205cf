"""What a machine is, as far as speed depends on it, from /proc and /sys. Every value is a number, a yes or no, or a word of
the kernel's own: nothing that names a user, a host, a place or a piece of hardware."""
import collections
import glob
import os
import re

CPU = "/sys/devices/system/cpu"
# The instruction sets by which kernels are chosen, and whether a hypervisor is below.
FLAGS = re.compile(r"avx2|fma|f16c|avx512\w*|avx_vnni|amx_\w+|hypervisor")


def read(path):
    """A file's text without the white space around it; None where there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read().strip()
    except OSError:
        return None


def number(text):
    found = re.search(r"\d+", text or "")
    return int(found[0]) if found else None


def kib(text):
    """A size as sysfs and meminfo write it: '32768K', '16M', '2048 kB'."""
    size = number(text)
    return size * 1024 if size is not None and re.search(r"\dM", text) else size


def chosen(text):
    """The word in brackets: 'always [madvise] never'."""
    found = re.search(r"\[(\w+)\]", text or "")
    return found[1] if found else None


def processors(cpulist):
    """The processors of a list: '0-7,64-71'."""
    ranges = [part.split("-") for part in (cpulist or "").split(",") if part]
    return [cpu for ends in ranges for cpu in range(int(ends[0]), int(ends[-1]) + 1)]


def counted(values):
    """Each different value and how often it occurs."""
    counts = collections.Counter(v for v in values if v is not None)
    return [{"value": value, "count": count} for value, count in sorted(counts.items())]


def processor():
    fields = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", (read("/proc/cpuinfo") or "").split("\n\n")[0], re.MULTILINE))
    return {
        "vendor": fields.get("vendor_id"),
        "name": fields.get("model name"),
        "family": number(fields.get("cpu family")),
        "model": number(fields.get("model")),
        "stepping": number(fields.get("stepping")),
        "flags": sorted(f for f in fields.get("flags", "").split() if FLAGS.fullmatch(f)),
    }


def cache_groups(level):
    """Who shares a cache: how many such caches have which size and how many processors."""
    groups = set()
    for index in glob.glob(f"{CPU}/cpu[0-9]*/cache/index*"):
        if read(f"{index}/level") == str(level) and read(f"{index}/type") in ("Unified", "Data"):
            groups.add((read(f"{index}/shared_cpu_list"), kib(read(f"{index}/size"))))
    sizes = collections.Counter((size, len(processors(cpus))) for cpus, size in groups)
    return [{"kib": size, "processors": n, "count": count} for (size, n), count in sorted(sizes.items())]


def topology():
    places = [(read(f"{cpu}/topology/physical_package_id"), read(f"{cpu}/topology/core_id"))
              for cpu in glob.glob(f"{CPU}/cpu[0-9]*") if os.path.exists(f"{cpu}/topology/core_id")]
    return {
        "sockets": len({package for package, _ in places}),
        "cores": len(set(places)),
        "processors": len(places),
        "processors_allowed": len(os.sched_getaffinity(0)),
        "smt": read(f"{CPU}/smt/active") == "1",
        "l2": cache_groups(2),
        "l3": cache_groups(3),
    }


def nodes():
    found = []
    for node in sorted(glob.glob("/sys/devices/system/node/node[0-9]*"), key=number):
        total = re.search(r"MemTotal:\s*(\d+) kB", read(f"{node}/meminfo") or "")
        found.append({
            "processors": len(processors(read(f"{node}/cpulist"))),
            "memory_gib": round(int(total[1]) / 2**20, 1) if total else None,
            "distances": [int(d) for d in (read(f"{node}/distance") or "").split()],
        })
    return found


def memory():
    kinds = dict(re.findall(r"^(\w+):\s*(\d+)", read("/proc/meminfo") or "", re.MULTILINE))
    gib = {name: round(int(kinds[key]) / 2**20, 1) for name, key in (("total_gib", "MemTotal"), ("free_gib", "MemAvailable"))
           if key in kinds}
    pages = "/sys/kernel/mm/transparent_hugepage"
    return {
        **gib,
        "transparent_huge_pages": chosen(read(f"{pages}/enabled")),
        "huge_page_defrag": chosen(read(f"{pages}/defrag")),
        "reserved_huge_pages": number(kinds.get("HugePages_Total")),
        "huge_page_kib": number(kinds.get("Hugepagesize")),
        "numa_balancing": number(read("/proc/sys/kernel/numa_balancing")),
    }


def frequency():
    def of_all(name):
        return counted(read(path) for path in glob.glob(f"{CPU}/cpu[0-9]*/cpufreq/{name}"))

    return {
        "governor": of_all("scaling_governor"),
        "driver": of_all("scaling_driver"),
        "most_mhz": [{**v, "value": number(v["value"]) // 1000} for v in of_all("cpuinfo_max_freq")],
        "boost": number(read(f"{CPU}/cpufreq/boost")),
    }


def machine_facts():
    kernel = re.match(r"\d+(\.\d+)*", os.uname().release)  # what follows the number may be anybody's words
    return {
        "processor": processor(),
        "topology": topology(),
        "nodes": nodes(),
        "memory": memory(),
        "frequency": frequency(),
        "kernel": kernel[0] if kernel else None,
    }
