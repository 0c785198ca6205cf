"""Read the GGUF files that dodeca makes of models with grouped queries in llama.cpp, and compare with the judge.

usage: hf_llama_cpp.py PATH_TO_DODECA [VARIANT ...]    needs llama-cpp-python (written with 0.3.36)
The variants of gqa_variants.py get the demo's vocabulary, without which llama.cpp opens no file. Layers that draft are kept. llama.cpp
rounds the ends of gpt-oss's YaRN ramp, which the model was trained without: there the judge does so too. The last line is `N passed, N failed`."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
from llama_cpp import Llama

import gqa_numpy
import gqa_variants
import hf_gguf
import hf_variants

DEMO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "demo", "model")
LIMIT = 1e-3  # max |delta log-prob|


def log_probs(path, ids):
    model = Llama(path, n_ctx=512, logits_all=True, verbose=False, n_threads=2, type_k=0, type_v=0)
    model.eval(ids.tolist())
    z = np.array(model.scores[: len(ids)], np.float64)
    z -= z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def difference(program, name, directory):
    config, how = hf_variants.VARIANTS[name]
    with open(os.path.join(DEMO, "config.json")) as f:
        config = dict(config, vocab_size=json.load(f)["vocab_size"])
    own = name + "_with_vocabulary"
    hf_variants.VARIANTS[own] = gqa_variants.VARIANTS[own] = (config, how)
    checkpoint, file = os.path.join(directory, own), os.path.join(directory, own + ".gguf")
    weights, _ = hf_variants.write_checkpoint(own, checkpoint)
    for vocabulary in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(DEMO, vocabulary), checkpoint)
    subprocess.run([program, "quantize", checkpoint, file, "--type", "F32", "--keep-mtp", "-q"], check=True)
    ids = hf_variants.token_ids(own)
    if config["model_type"] == "gpt_oss":
        config = dict(config, rope_scaling=dict(config["rope_scaling"], truncate=True))
    return np.abs(log_probs(file, ids) - gqa_numpy.log_probs(weights, config, ids)[0]).max()


def main():
    names = sys.argv[2:] or [name for name in list(gqa_variants.VARIANTS) if name not in hf_gguf.NOT_EXPRESSIBLE]
    failed = 0
    for name in names:
        with tempfile.TemporaryDirectory() as directory:
            worst = difference(sys.argv[1], name, directory)
        failed += worst > LIMIT
        print(f"{'ok  ' if worst <= LIMIT else 'FAIL'} {name:26} |llama.cpp - judge| max {worst:.2e} over all logits", flush=True)
    print(f"{len(names) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
