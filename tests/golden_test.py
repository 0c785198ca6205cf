#!/usr/bin/env python3
"""The demo model through the program against tests/golden/golden.json (Hugging Face transformers, float32): tokenization, token
log-probabilities, greedy continuations, perplexity; from the checkpoint directory and from a float32 GGUF made of it.

    golden_test.py BUILD [--cases]    --cases: without the perplexities of the whole text, which scalar kernels need long for
"""
import array
import json
import os
import sys

from program import DEMO, DODECA, ROOT, check, finish, must, scratch

with open(os.path.join(ROOT, "tests", "golden", "golden.json"), encoding="utf-8") as f:
    golden = json.load(f)


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8", newline="") as f:
        f.write(text)
    return path


def check_model(model, folder, what):
    for n, case in enumerate(golden["cases"]):
        text = write(folder, "text.txt", case["text"])
        ids = json.loads(must(DODECA, "tokenize", "-m", model, "-f", text, "--ids", "--no-bos").out)
        check(ids == case["ids"], f"{what}, case {n}: tokenization")

        ids_file = write(folder, "ids.txt", " ".join(map(str, case["ids"])))
        lines = must(DODECA, "ppl", "-m", model, "--ids", ids_file, "--tokens", "--compute", "f32").out.splitlines()
        tokens = [json.loads(line) for line in lines if line.startswith("{")]
        check([t["id"] for t in tokens] == case["ids"], f"{what}, case {n}: one line per token")
        check(tokens[0]["logprob"] is None, f"{what}, case {n}: the first token has no log-probability")
        worst = max(abs(t["logprob"] - want) for t, want in zip(tokens[1:], case["token_logprobs"]))
        check(worst < 2e-3, f"{what}, case {n}: log-probabilities differ by up to {worst}")

    requests = [{"custom_id": str(n), "method": "POST", "url": "/v1/completions",
                 "body": {"model": "demo", "prompt": case["ids"], "max_tokens": 24, "temperature": 0}}
                for n, case in enumerate(golden["cases"])]
    requests_file = write(folder, "requests.jsonl", "".join(json.dumps(r) + "\n" for r in requests))
    results_file = os.path.join(folder, f"results-{what}.jsonl")
    must(DODECA, "batch", "-m", model, "-i", requests_file, "-o", results_file, "--compute", "f32", "-c", "512")
    with open(results_file, encoding="utf-8") as f:
        results = {r["custom_id"]: r for r in map(json.loads, f)}
    os.remove(results_file)
    for n, case in enumerate(golden["cases"]):
        text = results[str(n)]["response"]["body"]["choices"][0]["text"]
        check(text == case["greedy24_text"], f"{what}, case {n}: greedy continuation {text!r}")


def check_perplexity(folder):
    with open(os.path.join(ROOT, "bench", "demo", "valid_ids.bin"), "rb") as f:
        ids = array.array("H", f.read())
    ids_file = write(folder, "valid.txt", " ".join(map(str, ids)))
    out = must(DODECA, "ppl", "-m", DEMO, "--ids", ids_file, "-c", "512", "--compute", "f32").out
    value = float(out.split("PPL =")[-1].split()[0])
    want = golden["perplexity"]["ppl"]
    check(abs(value / want - 1) < 1e-3, f"perplexity {value}, transformers has {want}")
    print(f"perplexity {value}, transformers {want}")


# 50.31 when written; the file that llama.cpp's quantizer makes of the same types has 50.49.
def check_dynamic(folder):
    gguf = os.path.join(folder, "dynamic.gguf")
    must(DODECA, "quantize", DEMO, gguf, "--recipe", "ud-q2_k_xl")
    out = must(DODECA, "ppl", "-m", gguf, "-f", os.path.join(ROOT, "bench", "demo", "valid.txt"), "-c", "512").out
    value = float(out.split("PPL =")[-1].split()[0])
    check(49.4 < value < 50.7, f"perplexity of the dynamic GGUF {value}")
    print(f"perplexity of the dynamic GGUF {value}")


with scratch() as folder:
    gguf = os.path.join(folder, "f32.gguf")
    must(DODECA, "quantize", DEMO, gguf, "--type", "F32")
    check_model(DEMO, folder, "directory")
    check_model(gguf, folder, "GGUF")
    if "--cases" not in sys.argv:
        check_perplexity(folder)
        check_dynamic(folder)
finish("golden outputs")
