#!/usr/bin/env python3
"""Are quantized results as good here as in llama.cpp? Both programs on the same files, against the same float32 logits.

  bench/parity.py demo                 every type on the demo model: files made here and there, perplexity and divergence in both
  bench/parity.py demo --types Q2_K,Q3_K,ud-q2_k_xl
  bench/parity.py synth                files of V2-Lite's, V3's and the old layout's shapes, without vocabulary, on fixed ids

Wanted: divergence from float32 at most 10 % above llama.cpp's on the same file; perplexity of files made here at most 0.5 %
above those of llama.cpp's quantizer; files made here give the same perplexity there to 0.3 %; on the synthetic files dodeca and
llama.cpp differ by at most twice what llama.cpp differs from float32. Exit code 1 where one of these fails.
Needs bash bench/setup.sh --peers and a release build; run it with .deps/venv/bin/python.
"""
import argparse
import os
import sys
import tempfile

import numpy as np

from peer_tools import DEMO as DEMO_FOLDER, ROOT, figure, run, ud_q2_k_xl_flags

DEMO = os.path.join(DEMO_FOLDER, "model")
TEXT = os.path.join(DEMO_FOLDER, "valid.txt")

MADE_HERE = ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "IQ3_S", "IQ3_XXS",
             "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S", "ud-q2_k_xl"]
MADE_THERE = ["TQ1_0", "TQ2_0", "MXFP4_MOE"]


def wants_importance(kind):
    return kind.startswith("IQ") and kind != "IQ4_NL"


def keeps_ends(kind):
    """llama-imatrix leaves embeddings and head out, and without importance the smallest types are refused."""
    return kind.startswith(("IQ1", "IQ2"))


SYNTH = {  # llama.cpp knows models without q_lora by their 27 layers
    "v2lite": ["v2lite", "--experts", "12"],
    "v3": ["v3slice", "--layers", "2", "--experts", "64"],
    "old layout": ["v2lite", "--experts", "8", "--old-layout"],
}
failures = []


def verdict(ok, what):
    if not ok:
        failures.append(what)
    return "ok" if ok else "FAILS"


def statistics(text):
    """(perplexity, mean divergence) of a --kl-divergence run."""
    return figure(r"Mean PPL\(Q\)", text), figure(r"Mean\s+KLD", text)


def read_base(path):
    """A --kl-divergence-base file: tokens [windows, n_ctx] and log-probabilities [windows, scored, vocabulary]."""
    with open(path, "rb") as f:
        data = f.read()
    assert data[:8] == b"_logits_", path
    n_ctx, n_vocab, n_chunk = np.frombuffer(data, np.int32, 3, 8)
    row_words = 2 * ((n_vocab + 1) // 2) + 4
    tokens = np.frombuffer(data, np.int32, n_ctx * n_chunk, 20).reshape(n_chunk, n_ctx)
    rows = np.frombuffer(data, np.uint16, offset=20 + 4 * n_ctx * n_chunk).reshape(-1, row_words)
    head = np.ascontiguousarray(rows[:, :4]).view(np.float32)
    log_probs = head[:, :1] * rows[:, 4:4 + n_vocab].astype(np.float32) + head[:, 1:2]
    return tokens, log_probs.reshape(n_chunk, -1, n_vocab)


def mean_divergence(base, other):
    return float(np.mean(np.sum(np.exp(base) * (base - other), axis=1)))


class Programs:
    def __init__(self, args):
        self.dodeca = os.path.join(args.build, "dodeca")
        self.peer = args.peer or run("bash", os.path.join(ROOT, "bench", "llama_cpp.sh")).strip().splitlines()[-1]
        self.binding = args.binding
        self.threads = str(args.threads)

    def ours(self, model, base):
        return statistics(run(self.dodeca, "ppl", "-m", model, "--kl-divergence-base", base, "--kl-divergence", "-c", "512",
                              "-t", self.threads, "-q"))

    def theirs(self, model, base):
        """From llama.cpp's own base file: what it prints is sometimes cut, because its logging thread may end too early."""
        path = model + ".kld"
        run(os.path.join(self.peer, "llama-perplexity"), "-m", model, "-f", TEXT, "--kl-divergence-base", path, "-c", "512",
            "-t", self.threads)
        (tokens, ours), (their_tokens, theirs) = read_base(base), read_base(path)
        os.remove(path)
        if not np.array_equal(tokens, their_tokens):
            raise RuntimeError(f"{model}: the programs cut the text into different tokens")
        targets = tokens[:, -theirs.shape[1]:].reshape(-1)
        theirs, ours = theirs.reshape(len(targets), -1), ours.reshape(len(targets), -1)
        return float(np.exp(-np.mean(theirs[np.arange(len(targets)), targets]))), mean_divergence(ours, theirs)


def make_there(programs, source, target, kind, imatrix):
    command = [os.path.join(programs.peer, "llama-quantize")]
    if kind == "ud-q2_k_xl":
        command += [*ud_q2_k_xl_flags(), source, target, "Q2_K"]
    else:
        if kind not in ("F16", "BF16"):
            command += ["--pure"] if kind != "MXFP4_MOE" else []
            command += ["--imatrix", imatrix] if wants_importance(kind) else []
            command += ["--token-embedding-type", "q4_k", "--output-tensor-type", "q6_k"] if keeps_ends(kind) else []
        # llama-quantize's name for a uniform file of the type
        command += [source, target, {"Q3_K": "Q3_K_S", "Q4_K": "Q4_K_S", "Q5_K": "Q5_K_S"}.get(kind, kind)]
    run(*command)


def demo(programs, types, folder):
    source = os.path.join(folder, "f32.gguf")
    base = os.path.join(folder, "base.kld")
    imatrix = os.path.join(folder, "imatrix.gguf")
    run(programs.dodeca, "quantize", DEMO, source, "--type", "F32")
    print(run(programs.dodeca, "ppl", "-m", source, "-f", TEXT, "-c", "512", "--compute", "f32", "--kl-divergence-base", base,
              "-t", programs.threads, "-q").strip().splitlines()[-1])
    if any(wants_importance(t) for t in types):
        run(os.path.join(programs.peer, "llama-imatrix"), "-m", source, "-f", TEXT, "-o", imatrix, "-t", programs.threads)
    print("\n| type | made by | PPL here | PPL there | KLD here | KLD there | same PPL | divergence | quantizer |")
    print("|---|---|--:|--:|--:|--:|---|---|---|")
    for kind in types:
        made = {}
        for maker in ("llama.cpp", "dodeca"):
            if maker == "dodeca" and kind not in MADE_HERE:
                continue
            path = os.path.join(folder, f"{kind}-{maker}.gguf")
            try:
                if maker == "llama.cpp":
                    make_there(programs, source, path, kind, imatrix)
                else:
                    option = "--recipe" if kind == "ud-q2_k_xl" else "--type"
                    extra = ["--imatrix", imatrix] if wants_importance(kind) else []
                    extra += ["--tensor-type", "token_embd=q4_k", "--tensor-type", r"^output\.weight=q6_k"] if keeps_ends(kind) else []
                    run(programs.dodeca, "quantize", source, path, option, kind, "-q", *extra)
                (ours_ppl, ours_kld), (theirs_ppl, theirs_kld) = programs.ours(path, base), programs.theirs(path, base)
            except RuntimeError as error:
                failures.append(f"{kind} made by {maker}")
                print(f"| {kind} | {maker} | {str(error).splitlines()[0][-200:]} {str(error).splitlines()[-1][-200:]} |")
                continue
            finally:
                if os.path.exists(path):
                    os.remove(path)
            made[maker] = ours_ppl
            # 16-bit files leave divergences near the resolution of the base file: those are compared with it
            same = ""
            if maker == "dodeca":
                same = verdict(abs(ours_ppl / theirs_ppl - 1) <= 3e-3, f"{kind}: perplexity {ours_ppl}, there {theirs_ppl}")
            close = verdict(ours_kld <= 1.1 * theirs_kld + 2e-5, f"{kind} by {maker}: divergence {ours_kld}, there {theirs_kld}")
            quantizer = ""
            if maker == "dodeca" and "llama.cpp" in made:
                ratio = ours_ppl / made["llama.cpp"]
                quantizer = f"{100 * (ratio - 1):+.2f} % " + verdict(ratio <= 1.005, f"{kind}: perplexity {ratio} of llama.cpp's quantizer's")
            print(f"| {kind} | {maker} | {ours_ppl:.4f} | {theirs_ppl:.4f} | {ours_kld:.6f} | {theirs_kld:.6f} | {same} | {close} "
                  f"| {quantizer} |", flush=True)


def synth(programs, shapes, n_ctx, folder):
    rng = np.random.default_rng(11)
    print("\n| file | KLD f32 to dodeca | KLD f32 to llama.cpp | KLD llama.cpp to dodeca | same best token | |")
    print("|---|--:|--:|--:|--:|---|")
    for name in shapes:
        model = os.path.join(folder, "synth.gguf")
        ids = os.path.join(folder, "ids.txt")
        run(sys.executable, os.path.join(ROOT, "bench", "synth_gguf.py"), SYNTH[name][0], model, *SYNTH[name][1:])
        with open(ids, "w", encoding="ascii") as f:
            f.write(" ".join(map(str, rng.integers(0, 16384, 2 * n_ctx))))
        logits = {}
        for route, extra in (("f32", ["--compute", "f32"]), ("dodeca", []), ("llama.cpp", None)):
            path = os.path.join(folder, "logits.kld")
            if extra is None:
                command = [sys.executable, os.path.join(ROOT, "bench", "peer_logits.py"), "-m", model, "--ids", ids, "-c", n_ctx,
                           "-t", programs.threads, "--library", programs.peer, "-o", path]
                command += ["--binding", programs.binding] if programs.binding else []
            else:
                command = [programs.dodeca, "ppl", "-m", model, "--ids", ids, "-c", n_ctx, "-t", programs.threads,
                           "--kl-divergence-base", path, "-q", *extra]
            run(*command)
            log_probs = read_base(path)[1]
            logits[route] = log_probs.reshape(-1, log_probs.shape[-1])
            os.remove(path)
        os.remove(model)
        rows = min(len(v) for v in logits.values())
        f32, ours, theirs = (logits[r][-rows:] for r in ("f32", "dodeca", "llama.cpp"))
        between, their_own = mean_divergence(theirs, ours), mean_divergence(f32, theirs)
        same = 100 * float(np.mean(ours.argmax(1) == theirs.argmax(1)))
        ok = verdict(between <= 2 * their_own, f"{name}: {between} between the programs, {their_own} from float32 there")
        print(f"| {name} | {mean_divergence(f32, ours):.6f} | {their_own:.6f} | {between:.6f} | {same:.1f} % | {ok} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["demo", "synth"])
    parser.add_argument("--types", default=",".join(MADE_HERE + MADE_THERE))
    parser.add_argument("--shapes", default=",".join(SYNTH))
    parser.add_argument("-c", "--ctx-size", type=int, default=128, help="window of the synthetic files")
    parser.add_argument("-t", "--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    parser.add_argument("--peer", help="folder of llama.cpp's tools (default: what bench/llama_cpp.sh builds)")
    parser.add_argument("--binding", help="for bench/peer_logits.py, with --peer")
    args = parser.parse_args()
    programs = Programs(args)
    with tempfile.TemporaryDirectory(prefix="dodeca-parity-") as folder:
        if args.what == "demo":
            demo(programs, args.types.split(","), folder)
        else:
            synth(programs, args.shapes.split(","), args.ctx_size, folder)
    for failure in failures:
        print(f"fails: {failure}")
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
