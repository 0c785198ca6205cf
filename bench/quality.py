"""The work of bench/quality.sh."""
import argparse
import datetime
import math
import os
import sys
import tempfile

from peer_tools import DEMO, ROOT, figure, run, ud_q2_k_xl_flags

PEER = os.path.join(ROOT, ".deps", "llama.cpp", "build", "bin", "llama-quantize")

UNIFORM = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "IQ2_XS", "IQ3_XXS", "IQ3_S", "IQ4_XS"]
MIXTURES = ["ud-q2_k_xl", "Q3_K_M", "Q4_K_M"]
PEER_TYPES = ["Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "IQ2_XS", "IQ3_XXS", "IQ3_S", "IQ4_XS"]
KINDS = [  # name, colour, joined by a line
    ("allocated", "#c0392b", True), ("uniform", "#2471a3", False), ("mixture", "#1e8449", False), ("llama.cpp", "#7f8c8d", False)]


class Table:
    def __init__(self, dodeca, base, folder):
        self.dodeca, self.base, self.folder, self.rows = dodeca, base, folder, []

    def measure(self, kind, name, path):
        text = run(self.dodeca, "ppl", "-q", "-m", path, "--kl-divergence", "--kl-divergence-base", self.base)
        row = dict(kind=kind, name=name, bytes=os.path.getsize(path), ppl=figure(r"Mean PPL\(Q\)", text),
                   kld=figure(r"Mean\s+KLD", text), tail=figure(r"99\.9%\s+KLD", text),
                   top=figure("Same top p", text))
        print(f"{kind:10} {name:24} {row['bytes']:>12} bytes  KLD {row['kld']:.5f}", file=sys.stderr)
        self.rows.append(row)

    def quantized(self, kind, name, source, *flags):
        path = os.path.join(self.folder, "made.gguf")
        run(self.dodeca, "quantize", "-q", source, path, *flags)
        self.measure(kind, name, path)

    def markdown(self):
        yield "| file | size | bytes | perplexity | mean KLD | 99.9 % KLD | same top token |"
        yield "|---|--:|--:|--:|--:|--:|--:|"
        for r in sorted(self.rows, key=lambda r: r["bytes"]):
            yield (f"| {r['kind']} {r['name']} | {r['bytes'] / 2**20:.2f} MiB | {r['bytes']} | {r['ppl']:.3f} | {r['kld']:.5f} | "
                   f"{r['tail']:.4f} | {r['top']:.2f} % |")

    def above_curve(self):
        """Files of others that lie below the line through the allocated ones."""
        curve = sorted((r["bytes"], r["kld"]) for r in self.rows if r["kind"] == "allocated")
        for r in self.rows:
            smaller = [kld for size, kld in curve if size <= r["bytes"]]
            if r["kind"] != "allocated" and smaller and min(smaller) > r["kld"]:
                yield r

    def svg(self):
        width, height, left, bottom = 760, 480, 70, 50
        xs, ys = [math.log(r["bytes"]) for r in self.rows], [math.log(max(r["kld"], 1e-5)) for r in self.rows]
        x0, x1, y0, y1 = min(xs) - 0.03, max(xs) + 0.03, min(ys) - 0.2, max(ys) + 0.2

        def x_of(value):
            return left + (math.log(value) - x0) / (x1 - x0) * (width - left - 20)

        def y_of(value):
            return height - bottom - (math.log(max(value, 1e-5)) - y0) / (y1 - y0) * (height - bottom - 20)

        yield f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">'
        yield f'<rect width="{width}" height="{height}" fill="white"/>'
        for exponent in range(-5, 1):
            for digit in (1, 2, 5):
                value = digit * 10.0**exponent
                if y0 <= math.log(value) <= y1:
                    y = y_of(value)
                    yield f'<path d="M{left} {y:.1f}H{width - 20}" stroke="#ddd"/><text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        n_ticks = 6
        for i in range(n_ticks + 1):
            size = math.exp(x0 + (x1 - x0) * i / n_ticks)
            x, label = x_of(size), f"{size / 2**20:.1f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"
            yield f'<path d="M{x:.1f} 20V{height - bottom}" stroke="#eee"/><text x="{x:.1f}" y="{height - bottom + 18}" text-anchor="middle">{label}</text>'
        yield f'<text x="{width / 2}" y="{height - 10}" text-anchor="middle">size of the file</text>'
        yield f'<text x="16" y="{height / 2}" text-anchor="middle" transform="rotate(-90 16 {height / 2})">mean Kullback-Leibler divergence</text>'
        for index, (kind, colour, line) in enumerate(KINDS):
            rows = sorted((r for r in self.rows if r["kind"] == kind), key=lambda r: r["bytes"])
            if not rows:
                continue
            if line:
                path = "L".join(f"{x_of(r['bytes']):.1f} {y_of(r['kld']):.1f}" for r in rows)
                yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
            for r in rows:
                x, y = x_of(r["bytes"]), y_of(r["kld"])
                yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
                if kind != "allocated":
                    yield f'<text x="{x + 6:.1f}" y="{y - 5:.1f}" font-size="10" fill="{colour}">{r["name"]}</text>'
            y = 34 + 18 * index
            yield f'<circle cx="{width - 130}" cy="{y}" r="4" fill="{colour}"/><text x="{width - 120}" y="{y + 4}">{kind}</text>'
        yield "</svg>"


def parse():
    parser = argparse.ArgumentParser(prog="bench/quality.sh", description="Quality against size; see the head of bench/quality.sh.")
    parser.add_argument("--model", default=os.path.join(DEMO, "model"), help="Hugging Face directory or GGUF (default: the demo)")
    parser.add_argument("--calibration", default=os.path.join(DEMO, "calibration.txt"), help="text for importance and sensitivities")
    parser.add_argument("--text", default=os.path.join(DEMO, "valid.txt"), help="held-out text that everything is measured on")
    parser.add_argument("--sizes", default="6.2M,7M,7.8M,8840064,9.5M,10139360,11163104,12.4M,13742944,15673184,18718432,20M,27M", help="of the allocated files")
    parser.add_argument("--dodeca", default=os.path.join(ROOT, "build", "release", "dodeca"))
    parser.add_argument("--out", default=os.path.join(ROOT, "bench"), help="folder of QUALITY.md and quality.svg")
    return parser.parse_args()


def main():
    args = parse()
    with tempfile.TemporaryDirectory() as folder:
        def at(name):
            return os.path.join(folder, name)
        run(args.dodeca, "quantize", "-q", args.model, at("bf16.gguf"), "BF16")
        run(args.dodeca, "ppl", "-q", "-m", at("bf16.gguf"), "-f", args.text, "--kl-divergence-base", at("base"))
        run(args.dodeca, "imatrix", "-q", "-m", at("bf16.gguf"), "-f", args.calibration, "-o", at("imatrix.gguf"), "--no-ppl")
        imatrix = ["--imatrix", at("imatrix.gguf")]
        table = Table(args.dodeca, at("base"), folder)
        for size in args.sizes.split(","):
            table.quantized("allocated", size, at("bf16.gguf"), "--target-size", size, "--calibration", args.calibration,
                            "--sensitivities", at("sensitivities.json"), *imatrix)
        for dtype in UNIFORM:
            table.quantized("uniform", dtype, at("bf16.gguf"), "--type", dtype, *imatrix)
        for recipe in MIXTURES:
            table.quantized("mixture", recipe, at("bf16.gguf"), "--recipe", recipe, *imatrix)
        if os.path.exists(PEER):
            for name, flags in [(t, [t]) for t in PEER_TYPES] + [("ud-q2_k_xl", ["Q2_K"])]:
                extra = ud_q2_k_xl_flags() if name == "ud-q2_k_xl" else []
                run(PEER, *imatrix, *extra, at("bf16.gguf"), at("peer.gguf"), *flags)
                table.measure("llama.cpp", name, at("peer.gguf"))
        else:
            print("bench/quality.sh: without llama.cpp's quantizer (bash bench/llama_cpp.sh builds it)", file=sys.stderr)
    below = list(table.above_curve())
    with open(os.path.join(args.out, "quality.svg"), "w") as f:
        f.write("\n".join(table.svg()) + "\n")
    with open(os.path.join(args.out, "QUALITY.md"), "w") as f:
        f.write("# Quality against size\n\nMade by `bash bench/quality.sh` on " + datetime.date.today().isoformat() +
                ". Importance matrix and sensitivities from the calibration text, figures from the held-out text (windows of 512,\n"
                "second halves), all against the BF16 model, by `dodeca ppl`. \"llama.cpp\" files are its quantizer's, from the same\n"
                "source with the same importance matrix.\n\n![KLD against size](quality.svg)\n\n")
        f.write("\n".join(table.markdown()) + "\n\n")
        f.write("No other file has less divergence than an allocated one of its size or less.\n" if not below else
                "Below the allocated files' line: " + ", ".join(f"{r['kind']} {r['name']}" for r in below) + ".\n")
    print(os.path.join(args.out, "QUALITY.md"))


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(f"bench/quality.sh: {error}")
