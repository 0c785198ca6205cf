"""Compare dodeca with independent references on many small models, of the deepseek2 family and with grouped queries.

usage: hf_reference.py --check PATH_TO_DODECA [--only NAME ...] [--quick] [--keep DIR]
Each variant of hf_variants.py is written anew from its seed (numpy alone), run through `dodeca ppl --ids FILE --tokens`,
and its token log-probabilities are compared with tests/golden/hf/expected.json (made by hf_golden.py: numpy float64,
confirmed by transformers). --quick: the float32 route of the directory only. The last line is `N passed, N failed`."""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile

import numpy as np

import hf_gguf
import hf_variants

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "hf", "expected.json")
F32_LIMIT = 2e-3                     # max |delta log-prob|, --compute f32
# Median |delta log-prob| of the default route, whose cache is f16; rounding may flip a close routing decision, which moves single
# tokens far, so the median is bounded, not the maximum.
ROUTE_LIMIT = 5e-3
# The same where weights are packed integers: their products take activations of 8 bits, one part in 250 of the largest of 32.
INT4_ROUTE_LIMIT = 1e-1
# Median against the judge with a cache rounded the same way: a value that float32 rounds to the other neighbour can flip a
# routing decision early and move everything after it a little.
CACHE_LIMIT = 1e-2
# What the default route may add to the rounding of its cache: the median |delta log-prob| against an f32 cache over that of the float32
# route, whose rows are only rounded. A routing decision that flips in one of the two moves one variant, not the median of all.
EXACTNESS_LIMIT = {"f16": 1.25, "q8_0": 1.1}


def run_ppl(program, model, ids_file, *flags):
    """Log-probabilities of the tokens after the first, and the raw output; RuntimeError with the program's words on failure."""
    command = [program, "ppl", "-m", model, "--ids", ids_file, "--tokens", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"exit {done.returncode}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no message'}")
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
    if not rows or rows[0]["logprob"] is not None:
        raise RuntimeError("the first token's logprob is not null")
    want = [int(x) for x in open(ids_file).read().split()]
    if [r["id"] for r in rows] != want:
        raise RuntimeError("the ids printed are not the ids given")
    return np.array([math.nan if r["logprob"] is None else r["logprob"] for r in rows[1:]]), done.stdout


class Checker:
    def __init__(self, program):
        self.program, self.passed, self.failed = program, 0, 0
        self.exactness = {kind: [] for kind in EXACTNESS_LIMIT}

    def check(self, what, ok, detail):
        self.passed, self.failed = self.passed + bool(ok), self.failed + (not ok)
        print(f"  {'ok  ' if ok else 'FAIL'} {what:34} {detail}", flush=True)

    def compare(self, what, expected, limit, statistic, *run):
        """Run and compare; returns the raw output, or None when the program failed."""
        try:
            got, output = run_ppl(self.program, *run)
        except (RuntimeError, json.JSONDecodeError, subprocess.TimeoutExpired) as error:
            self.check(what, False, str(error))
            return None
        if len(got) != len(expected):
            self.check(what, False, f"{len(got)} log-probs, expected {len(expected)}")
            return output
        delta = np.abs(got - expected)
        value = getattr(np, statistic)(delta)
        self.check(what, value <= limit, f"max {delta.max():.2e} (token {int(np.argmax(delta)) + 1})  mean {delta.mean():.2e}  "
                                         f"median {np.median(delta):.2e}  limit on the {statistic} {limit:g}")
        return output

    def same(self, what, first, *run):
        if first is None:
            return self.check(what, False, "the run to compare with failed")
        try:
            self.check(what, run_ppl(self.program, *run)[1] == first, "equal to the last bit printed")
        except (RuntimeError, json.JSONDecodeError, subprocess.TimeoutExpired) as error:
            self.check(what, False, str(error))

    def refused(self, what, word, *run):
        try:
            run_ppl(self.program, *run)
            self.check(what, False, "accepted")
        except RuntimeError as error:
            self.check(what, str(error).startswith("exit 1") and word.lower() in str(error).lower(), str(error))

    def variant(self, name, golden, directory, quick):
        print(name, flush=True)
        model = os.path.join(directory, name)
        weights, digest = hf_variants.write_checkpoint(name, model)
        self.check("checkpoint's bytes", digest == golden["sha256"], "as when the reference was made")
        ids = os.path.join(directory, name + ".ids")
        with open(ids, "w") as f:
            f.write("\n".join(map(str, hf_variants.token_ids(name))) + "\n")
        expected, f32 = np.array(golden["token_logprobs"]), ("--compute", "f32")
        first = self.compare("float32", expected, F32_LIMIT, "max", model, ids, *f32, "-t", "2")
        if quick:
            return
        self.same("float32, -t 1 and -t 2", first, model, ids, *f32, "-t", "1")
        self.same("float32, -ub 16", first, model, ids, *f32, "-ub", "16")
        limit = INT4_ROUTE_LIMIT if hf_variants.VARIANTS[name][1]["dtype"] in ("INT4", "MXFP4") else ROUTE_LIMIT
        default = self.compare("default route", np.array(golden["cache"]["f16"]), limit, "median", model, ids, "-t", "2")
        self.same("default route, -t 1 and -t 2", default, model, ids, "-t", "1")
        self.same("default route, -ub 16", default, model, ids, "-t", "2", "-ub", "16")
        for isa in ("scalar", "avx2"):
            self.same(f"float32, --isa {isa}", first, model, ids, *f32, "--isa", isa)
            self.same(f"default route, --isa {isa}", default, model, ids, "--isa", isa)
        self.same("float32, -ctk f32", first, model, ids, *f32, "-ctk", "f32")
        for kind, rounded in golden["cache"].items():
            self.compare(f"float32, -ctk {kind}", np.array(rounded), CACHE_LIMIT, "median", model, ids, *f32, "-ctk", kind)
            if kind in EXACTNESS_LIMIT:
                self.exactness[kind].append(self.added_error(model, ids, kind, f32))
        if "q8_0" not in golden["cache"]:
            self.refused("-ctk q8_0, rows not in blocks of 32", "Q8_0", model, ids, *f32, "-ctk", "q8_0")
        self.gguf(name, weights, directory, ids, expected, f32)

    def added_error(self, model, ids, kind, f32):
        def error(*flags):
            with_kind, exact = (run_ppl(self.program, model, ids, *flags, "-ctk", k)[0] for k in (kind, "f32"))
            return np.median(np.abs(with_kind - exact))
        return error() / error(*f32)

    def check_exactness(self):
        for kind, ratios in self.exactness.items():
            if len(ratios) >= 8:
                self.check(f"default route, -ctk {kind}", np.median(ratios) <= EXACTNESS_LIMIT[kind],
                           f"{len(ratios)} variants: {np.median(ratios):.3f} times the error of rounding the rows, {min(ratios):.2f} to {max(ratios):.2f}")

    def gguf(self, name, weights, directory, ids, expected, f32):
        if name in hf_gguf.NOT_EXPRESSIBLE:
            return print("  skipped: GGUF has no keys for this variant", flush=True)
        path = os.path.join(directory, name + ".gguf")
        done = subprocess.run([self.program, "quantize", os.path.join(directory, name), path, "--type", "F32", "-q"], capture_output=True, text=True)
        self.compare("GGUF, by dodeca quantize", expected, F32_LIMIT, "max", path, ids, *f32)
        if done.returncode != 0:
            print(f"       quantize: {done.stderr.strip()}", flush=True)
        if hf_variants.is_grouped(name):
            return self.grouped_gguf(name, weights, path, ids, expected, f32)
        for old in (False, True):
            hf_gguf.write_gguf(name, weights, path, old_layout=old)
            self.compare(f"GGUF, {'attn_kv_b' if old else 'attn_k_b and attn_v_b'}", expected, F32_LIMIT, "max", path, ids, *f32)
        if name.startswith("v3_256_experts"):
            hf_gguf.write_gguf(name, weights, path, group_keys=False)
            plain = ("--plain-topk",) if name.endswith("plain_topk") else ()
            self.compare("GGUF without group keys " + " ".join(plain), expected, F32_LIMIT, "max", path, ids, *f32, *plain)
        os.remove(path)


    def grouped_gguf(self, name, weights, path, ids, expected, f32):
        for form in ("plain", "fused") + ("one by one",) * name.startswith("mixtral"):
            hf_gguf.write_gguf(name, weights, path, form=form)
            self.compare(f"GGUF, {form}", expected, F32_LIMIT, "max", path, ids, *f32)
        os.remove(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", metavar="DODECA", required=True, help="the program to test")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these variants only")
    parser.add_argument("--quick", action="store_true", help="the float32 route of the directory only")
    parser.add_argument("--keep", metavar="DIR", help="write the checkpoints here and keep them")
    args = parser.parse_args()
    with open(GOLDEN) as f:
        golden = json.load(f)["variants"]
    checker = Checker(args.check)
    with tempfile.TemporaryDirectory() as scratch:
        for name in hf_variants.VARIANTS:
            if not args.only or name in args.only:
                checker.variant(name, golden[name], args.keep or scratch, args.quick)
    checker.check_exactness()
    print(f"{checker.passed} passed, {checker.failed} failed")
    return 1 if checker.failed else 0


if __name__ == "__main__":
    sys.exit(main())
