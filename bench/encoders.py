#!/usr/bin/env python3
"""Quantizers beside llama.cpp's: weighted squared error and weights per second and core, on the same rows.

  bench/encoders.py --dodeca-bench build/release/dodeca-bench --ggml LIBGGML_BASE.so [--types Q2_K,Q3_K]

LIBGGML_BASE.so is llama.cpp's library of that name (llama-cpp-python installs one). Rows: Gaussian, Laplace, Student's t
with four degrees of freedom, and the demo model's own; importance: none, random (log-normal), and like activations
(log-normal with a few large channels). Both sides are timed by the CPU time of one thread, alternating, best of --runs.
Needs numpy.
"""
import argparse
import ctypes
import json
import pathlib
import struct
import subprocess
import tempfile
import time

import numpy

# name: ggml's id, weights and bytes of a block
TYPES = {
    "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210),
    "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34),
    "IQ4_NL": (20, 32, 18), "IQ4_XS": (23, 256, 136), "IQ3_XXS": (18, 256, 98), "IQ3_S": (21, 256, 110),
    "IQ2_XXS": (16, 256, 66), "IQ2_XS": (17, 256, 74), "IQ2_S": (22, 256, 82),
    "IQ1_S": (19, 256, 50), "IQ1_M": (29, 256, 56),
}
NEEDS_IMPORTANCE = {"IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ1_M"}  # of llama.cpp: it gets ones where there is none
ROWS, COLUMNS = 32, 2048


def demo_rows(folder):
    """Rows from all over the demo's BF16 matrices."""
    parts = []
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        (size,) = struct.unpack("<Q", data[:8])
        for name, info in json.loads(data[8:8 + size]).items():
            if name == "__metadata__" or info["dtype"] != "BF16" or len(info["shape"]) != 2 or info["shape"][1] % 256:
                continue
            begin, end = info["data_offsets"]
            bits = numpy.frombuffer(data[8 + size + begin:8 + size + end], numpy.uint16).astype(numpy.uint32) << 16
            matrix = bits.view(numpy.float32).reshape(info["shape"])
            parts.append(matrix[:max(1, len(matrix) // 40)].ravel())
    values = numpy.concatenate(parts)
    rows = values[:values.size // COLUMNS * COLUMNS].reshape(-1, COLUMNS)
    return numpy.ascontiguousarray(rows[::max(1, len(rows) // ROWS)][:ROWS])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dodeca-bench", required=True)
    parser.add_argument("--ggml", required=True)
    parser.add_argument("--types", default=",".join(TYPES))
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()

    ggml = ctypes.CDLL(args.ggml)
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
    random = numpy.random.default_rng(1)
    shape = (ROWS, COLUMNS)
    rows = {"Gaussian": random.standard_normal(shape), "Laplace": random.laplace(size=shape),
            "Student t4": random.standard_t(4, size=shape)}
    rows = {name: (0.02 * x).astype(numpy.float32) for name, x in rows.items()}
    rows["demo"] = demo_rows(pathlib.Path(__file__).parent / "demo" / "model")
    channels = numpy.exp(0.7 * random.standard_normal(COLUMNS))
    channels[random.integers(0, COLUMNS, 12)] *= 100
    importances = {"none": None, "random": numpy.exp(random.standard_normal(COLUMNS)).astype(numpy.float32),
                   "activations": (0.01 * channels).astype(numpy.float32)}

    print("| type | importance | " + " | ".join(f"{name}: error, speed" for name in rows) + " | Gaussian: Mweights/s |")
    print("| --- | --- |" + " ---: |" * (len(rows) + 1))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name in args.types.split(","):
            number, elements, size = TYPES[name]
            ggml.ggml_quantize_init(number)
            for kind, importance in importances.items():
                cells, rate = [], 0
                for x in rows.values():
                    theirs = importance
                    if importance is None and name in NEEDS_IMPORTANCE:
                        theirs = numpy.ones(COLUMNS, numpy.float32)
                    blocks = numpy.zeros(x.size // elements * size, numpy.uint8)
                    x.tofile(folder / "rows")
                    command = [args.dodeca_bench, "encoders", "--rows", folder / "rows", "--columns", str(COLUMNS),
                               "--type", name, "--blocks", folder / "blocks", "--runs", "3"]
                    if importance is not None:
                        importance.tofile(folder / "importance")
                        command += ["--importance", folder / "importance"]
                    their_best, our_best = 1e30, 0
                    for _ in range(args.runs):
                        begin = time.thread_time()
                        ggml.ggml_quantize_chunk(number, x.ctypes.data, blocks.ctypes.data, 0, len(x), COLUMNS,
                                                 None if theirs is None else theirs.ctypes.data)
                        their_best = min(their_best, time.thread_time() - begin)
                        blocks.tofile(folder / "blocks")
                        ours = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                        our_best = max(our_best, ours["weights_per_s"])
                    cells.append(f"{ours['error'] / ours['blocks_error']:.3f}, {our_best * their_best / x.size:.1f}x")
                    rate = rate or our_best
                print(f"| {name} | {kind} | " + " | ".join(cells) + f" | {rate / 1e6:.0f} |", flush=True)


if __name__ == "__main__":
    main()
