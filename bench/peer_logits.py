#!/usr/bin/env python3
"""llama.cpp's logits for fixed token ids, without a vocabulary: loads its shared library through the ctypes declarations of the
archive that bench/llama_cpp.sh unpacked, and writes the logits in llama-perplexity's --kl-divergence-base format.

  .deps/venv/bin/python bench/peer_logits.py -m model.gguf --ids ids.txt -c 256 -o logits.kld
"""
import argparse
import ctypes
import os
import struct
import subprocess
import sys
import types

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CACHE_TYPES = {"f32": 0, "f16": 1, "q8_0": 8, "bf16": 30}  # ggml type ids


def import_llama(binding_dir, library_dir):
    """The module llama_cpp.llama_cpp alone: the package's __init__ would want packages that are not needed here."""
    os.environ["LLAMA_CPP_LIB_PATH"] = library_dir
    package = types.ModuleType("llama_cpp")
    package.__path__ = [os.path.join(binding_dir, "llama_cpp")]
    sys.modules["llama_cpp"] = package
    import llama_cpp.llama_cpp as llama
    return llama


def log_softmax_rows(logits):
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def write_row(out, logits):
    """One row of the file: f32 scale, f32 minimum log-probability, then u16 steps above it; 16 nats below the best and less
    count as the minimum."""
    low = logits.max() - 16.0
    scale = (logits.max() - low) / 65535.0
    steps = np.rint(np.maximum(logits - low, 0) / scale).astype(np.uint16)
    log_sum = np.log(np.exp((logits - logits.max()).astype(np.float64)).sum()) + logits.max()
    out.write(struct.pack("<ff", scale, low - log_sum) + steps.tobytes() + (b"\0\0" if len(steps) % 2 else b""))


class Peer:
    def __init__(self, llama, model_path, n_ctx, threads, cache_type):
        self.llama, self.n_ctx = llama, n_ctx
        self.log_callback = llama.llama_log_callback(lambda level, text, data: None)
        llama.llama_log_set(self.log_callback, None)
        llama.llama_backend_init()
        model_params = llama.llama_model_default_params()
        self.model = llama.llama_model_load_from_file(model_path.encode(), model_params)
        if not self.model:
            raise SystemExit(f"llama.cpp cannot load {model_path}")
        params = llama.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = n_ctx
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = CACHE_TYPES[cache_type]
        self.context = llama.llama_init_from_model(self.model, params)
        if not self.context:
            raise SystemExit(f"llama.cpp cannot make a context of {n_ctx} for {model_path}")
        self.n_vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self.model))

    def logits(self, ids, first):
        """Logits [len(ids) - first, vocabulary] of the positions from `first` on; the cache is emptied before."""
        llama = self.llama
        llama.llama_memory_clear(llama.llama_get_memory(self.context), True)
        batch = llama.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = int(token), i, 1, 0
            batch.logits[i] = i >= first
        if llama.llama_decode(self.context, batch) != 0:
            raise SystemExit("llama.cpp: llama_decode failed")
        rows = []
        for i in range(first, len(ids)):
            pointer = llama.llama_get_logits_ith(self.context, i)
            rows.append(np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), (self.n_vocab,)).copy())
        llama.llama_batch_free(batch)
        return np.array(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("--ids", required=True, help="decimal token ids separated by white space")
    parser.add_argument("-c", "--ctx-size", type=int, default=512)
    parser.add_argument("-t", "--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("-ctk", default="f16", choices=CACHE_TYPES)
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--library", help="folder of libllama.so (default: what bench/llama_cpp.sh builds)")
    parser.add_argument("--binding", help="folder that holds llama_cpp/llama_cpp.py (default: the unpacked archive)")
    args = parser.parse_args()
    library = args.library or subprocess.run(["bash", os.path.join(ROOT, "bench", "llama_cpp.sh")], check=True,
                                             stdout=subprocess.PIPE, text=True).stdout.strip()
    binding = args.binding or os.path.join(ROOT, ".deps", "llama.cpp", "source")
    with open(args.ids, encoding="ascii") as f:
        ids = np.array(f.read().split(), dtype=np.int32)
    n_chunks = len(ids) // args.ctx_size
    if n_chunks == 0:
        raise SystemExit(f"{args.ids} has {len(ids)} ids, fewer than one window of {args.ctx_size}")
    ids = ids[:n_chunks * args.ctx_size]
    peer = Peer(import_llama(binding, library), args.model, args.ctx_size, args.threads, args.ctk)
    first, nll, count = args.ctx_size // 2, 0.0, 0
    with open(args.output, "wb") as out:
        out.write(b"_logits_" + struct.pack("<Iii", args.ctx_size, peer.n_vocab, n_chunks) + ids.tobytes())
        for chunk in ids.reshape(n_chunks, args.ctx_size):
            logits = peer.logits(chunk, first)[:-1]  # the last position predicts beyond the window
            log_probs = log_softmax_rows(logits)
            nll -= log_probs[np.arange(len(log_probs)), chunk[first + 1:]].sum()
            count += len(log_probs)
            for row in logits:
                write_row(out, row)
    print(f"llama.cpp: {n_chunks} windows of {args.ctx_size}, PPL over their second halves = {np.exp(nll / count):.4f}")


if __name__ == "__main__":
    main()
