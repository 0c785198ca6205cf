#!/usr/bin/env python3
"""Dependencies point one way: quant <- cpu, gpu <- runtime <- bench, tests; inside runtime and cpu as the tables below say.
Third-party headers are included only where their wrapper is."""
import re

from repo_files import finish, read, repo_files

TOP = {
    "quant": {"quant"},
    "cpu": {"quant", "cpu"},
    "gpu": {"quant", "gpu"},
    "runtime": {"quant", "cpu", "gpu", "runtime"},
    "bench": {"quant", "cpu", "gpu", "runtime", "bench"},
    "tests": {"quant", "cpu", "gpu", "runtime", "bench", "tests"},
}
_LOADING = {"base", "load", "model", "plan", "weights"}
_RUNNING = _LOADING | {"exec", "device", "text", "sample", "engine"}
RUNTIME = {
    "base": {"base"},
    "load": {"base", "load"},
    "text": {"base", "load", "text"},
    "model": {"base", "load", "model"},
    "plan": {"base", "load", "model", "plan"},
    "weights": _LOADING,
    "exec": _LOADING | {"exec"},
    "device": _LOADING | {"exec", "device"},
    "predict": _LOADING | {"exec", "device", "predict"},
    "sample": {"base", "sample"},
    "engine": _RUNNING,
    "batch": _RUNNING | {"batch"},
    "cluster": _RUNNING | {"cluster"},
    "eval": _RUNNING | {"eval"},
    "quantize": {"base", "load", "text", "model", "quantize"},
}
RUNTIME["allocate"] = RUNTIME["eval"] | RUNTIME["quantize"] | {"allocate"}
RUNTIME["cli"] = set(RUNTIME) | {"cli"}
# Where kernels turn to what stands for CUDA on the host.
DIALECT = {"gpu/kernels/dialect.hpp", "gpu/kernels/tensor.hpp"}
# header -> path prefixes that may include it
THIRD_PARTY = {
    r"hwloc(\.h|/.*)": ["cpu/topology", "cpu/memory"],
    r"omp\.h": ["cpu/team"],
    r"(oneapi/)?dnnl.*": ["cpu/kernels/matmul/"],
    r"CLI/.*": ["runtime/cli/options.cpp"],
    r"(cuda|cublas).*": ["gpu/cuda/"],
    r"mpi\.h": ["runtime/cluster/mpi_cluster.cpp"],
    r"pcre2\.h": ["runtime/text/"],
    r".*intrin\.h": ["cpu/"],
    r"doctest.*": ["tests/"],
    r"(fmt|nlohmann)/.*": ["runtime/", "bench/", "tests/"],
}

problems = []
for path in repo_files():
    if not path.endswith((".cpp", ".hpp", ".inc", ".cu", ".cuh")):
        continue
    parts = path.split("/")
    for number, line in enumerate(read(path).splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if not match:
            continue
        quote, header = match.groups()
        where = f"{path}:{number}"
        if quote == '"':
            target = header.split("/")
            if len(target) == 1:
                problems.append(f'{where}: "{header}" is not written from the root')
                continue
            if parts[0] in TOP and target[0] in TOP and target[0] not in TOP[parts[0]]:
                problems.append(f"{where}: {parts[0]} may not include {header}")
            elif parts[0] == target[0] == "runtime" and parts[1] in RUNTIME and target[1] not in RUNTIME[parts[1]]:
                problems.append(f"{where}: runtime/{parts[1]} may not include {header}")
            elif path.startswith("cpu/kernels/") and target[0] == "cpu" and target[1] in ("team.hpp", "memory.hpp", "topology.hpp"):
                problems.append(f"{where}: kernels know no threads and no memory placement")
            elif path.startswith("gpu/kernels/") and target[0] == "gpu" and target[1] != "kernels" and path not in DIALECT:
                problems.append(f"{where}: kernels know no devices")
            elif header.startswith("gpu/cuda/") and not path.startswith("gpu/cuda/"):
                problems.append(f"{where}: {header} is the card's own; gpu/cards.hpp is what others see")
            elif header.startswith("gpu/emulation/") and parts[0] in ("runtime", "bench"):
                problems.append(f"{where}: {header} is for tests; open_device in gpu/device.hpp is what others see")
        for pattern, allowed in THIRD_PARTY.items():
            if re.fullmatch(pattern, header) and not path.startswith(tuple(allowed)) and not path.startswith("tests/"):
                problems.append(f"{where}: <{header}> belongs to {', '.join(allowed)}")
finish("includes", problems)
