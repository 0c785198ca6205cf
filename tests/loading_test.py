#!/usr/bin/env python3
"""Model files that are not what they seem: changed in place, moved, not fetched, with tensors too many; metadata overridden."""
import json
import os
import shutil
import signal
import struct
import subprocess
import time

from program import DEMO, DODECA, check, finish, must, read, run, scratch

PROMPT = "It is a truth universally acknowledged, that a single man in possession of a good fortune"


def copy_checkpoint(folder):
    """The demo's, its shards linked, its small files copied."""
    os.makedirs(folder)
    for name in os.listdir(DEMO):
        if name.endswith(".safetensors"):
            os.symlink(os.path.join(DEMO, name), os.path.join(folder, name))
        else:
            shutil.copy(os.path.join(DEMO, name), folder)
    return folder


def add_tensors(folder, tensors):
    """One more shard, of BF16 vectors of ones by name and length."""
    header, at = {}, 0
    for name, n in tensors.items():
        header[name] = {"dtype": "BF16", "shape": [n], "data_offsets": [at, at + 2 * n]}
        at += 2 * n
    text = json.dumps(header).encode()
    with open(os.path.join(folder, "more.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"\x80\x3f" * (at // 2))
    index_path = os.path.join(folder, "model.safetensors.index.json")
    index = json.loads(read(index_path))
    index["weight_map"].update({name: "more.safetensors" for name in tensors})
    with open(index_path, "w") as f:
        json.dump(index, f)


def set_config(folder, **values):
    path = os.path.join(folder, "config.json")
    config = json.loads(read(path))
    config.update(values)
    with open(path, "w") as f:
        json.dump(config, f)


def change_a_norm(model):
    """Halves the first value of one norm; size, header and samples of the data stay."""
    facts = json.loads(must(DODECA, "inspect", model, "--json").out)
    norm = next(t for t in facts["tensors"] if t["name"] == "blk.2.ffn_norm.weight")
    with open(model, "r+b") as f:
        f.seek(norm["offset"] + 40)
        value, = struct.unpack("<f", f.read(4))
        f.seek(norm["offset"] + 40)
        f.write(struct.pack("<f", value * 0.5 + 1))


def complete(model, *more):
    return must(DODECA, "run", "-m", model, "-p", PROMPT, "-n", 12, "--temp", 0, "--no-display-prompt", "--no-progress", *more)


def check_prompt_cache(folder, model):
    path, cache = os.path.join(folder, "m.gguf"), os.path.join(folder, "cache")
    shutil.copy(model, path)
    complete(path, "--prompt-cache", cache)
    moved = os.path.join(folder, "moved.gguf")
    shutil.copy(path, moved)
    check("were in the cache" in complete(moved, "--prompt-cache", cache, "-t", "1").err, "a copy of the model uses the prompt cache")
    change_a_norm(path)
    want, got = complete(path), complete(path, "--prompt-cache", cache)
    check("another model" in got.err and got.out == want.out, f"one norm changed: the prompt cache is not used: {got.err[-300:]!r}")


def check_batch(folder, model):
    path, requests = os.path.join(folder, "b.gguf"), os.path.join(folder, "requests.jsonl")
    results = os.path.join(folder, "results.jsonl")
    shutil.copy(model, path)
    with open(requests, "w") as f:
        for i in range(4):
            f.write(json.dumps({"custom_id": str(i), "method": "POST", "url": "/v1/completions",
                                "body": {"prompt": f"Number {i}", "max_tokens": 3}}) + "\n")
    command = [DODECA, "batch", "-m", path, "-i", requests, "-o", results, "--no-progress"]
    must(*command)
    done = read(results)
    os.utime(path)
    check("nothing left to do" in must(*command).err, "a finished batch knows a model that was touched only")
    with open(results, "wb") as f:
        f.write(b"".join(done.splitlines(keepends=True)[:2]))
    shutil.copy(path, path + ".copy")
    os.replace(path + ".copy", path)
    check("2 of 4 requests are done" in must(*command).err, "a copied model goes on")
    change_a_norm(path)
    refused = run(*command)
    check(refused.code == 1 and "weights have changed" in refused.err, f"a changed model is refused: {refused.err!r}")
    with open(results, "wb") as f:
        f.write(b"".join(done.splitlines(keepends=True)[:2]))
    refused = run(*command)
    check(refused.code == 1 and "weights have changed" in refused.err, f"in mid-batch too: {refused.err!r}")


def check_quantize(folder, model):
    source, out = os.path.join(folder, "s.gguf"), os.path.join(folder, "out", "q.gguf")
    os.makedirs(os.path.dirname(out))
    shutil.copy(model, source)
    command = [DODECA, "quantize", source, out, "IQ2_XXS", "-t", "1", "--no-progress"]
    log = out + ".partial.log"
    # The fastest processors encode all in one go; without vectors it takes a second for every few lines of the log.
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "DODECA_ISA": "scalar"})
    while process.poll() is None and not (os.path.exists(log) and len(read(log).splitlines()) > 6):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    check(not os.path.exists(out) and os.path.exists(log), "the quantization was interrupted")
    shutil.copytree(os.path.dirname(out), os.path.join(folder, "again"))
    shutil.copy(source, source + ".copy")
    os.replace(source + ".copy", source)
    check("resuming behind" in must(*command).err, "a quantization goes on with a copied source")
    shutil.rmtree(os.path.dirname(out))
    os.rename(os.path.join(folder, "again"), os.path.dirname(out))
    facts = json.loads(must(DODECA, "inspect", source, "--json").out)
    embeddings = next(t for t in facts["tensors"] if t["name"] == "token_embd.weight")
    with open(source, "r+b") as f:  # outside the samples
        f.seek(embeddings["offset"] + 70001)
        byte = f.read(1)
        f.seek(embeddings["offset"] + 70001)
        f.write(bytes([byte[0] ^ 1]))
    refused = run(*command)
    check(refused.code == 1 and "source has changed" in refused.err, f"with a changed source it is refused: {refused.err!r}")


def check_checkpoint(folder):
    model = copy_checkpoint(os.path.join(folder, "unknown"))
    add_tensors(model, {"model.layers.1.self_attn.mystery": 8, "model.layers.0.self_attn.rotary_emb.inv_freq": 8})
    refused = run(DODECA, "run", "-m", model, "-p", "x", "-n", "1")
    check(refused.code == 1 and "1 (model.layers.1.self_attn.mystery)" in refused.err, f"an unknown tensor: {refused.err!r}")
    check("self_attn.mystery" in must(DODECA, "inspect", model).out.splitlines()[-1], "inspect says it too")
    model = copy_checkpoint(os.path.join(folder, "rotary"))
    add_tensors(model, {"model.layers.0.self_attn.rotary_emb.inv_freq": 8})
    said = must(DODECA, "run", "-m", model, "-p", "x", "-n", "1", "--temp", "0").err
    check("rotary_emb.inv_freq" in said, "a harmless tensor is said")

    model = copy_checkpoint(os.path.join(folder, "pointer"))
    shard = os.path.join(model, "model-00002-of-00002.safetensors")
    os.remove(shard)
    with open(shard, "w") as f:
        f.write("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 21893640\n")
    refused = run(DODECA, "run", "-m", model, "-p", "x", "-n", "1")
    check(refused.code == 1 and "Git-LFS pointer" in refused.err and "model-00002" in refused.err, f"a pointer: {refused.err!r}")


def check_biases(folder):
    config = json.loads(read(os.path.join(DEMO, "config.json")))
    model = copy_checkpoint(os.path.join(folder, "biases"))
    set_config(model, attention_bias=True)
    refused = run(DODECA, "run", "-m", model, "-p", "x", "-n", "1")
    check(refused.code == 1 and "bias" in refused.err, f"attention_bias without biases: {refused.err!r}")
    n_layers = config["num_hidden_layers"] + config.get("num_nextn_predict_layers", 0)
    tensors = {}
    for layer in range(n_layers):
        prefix = f"model.layers.{layer}.self_attn."
        tensors[prefix + "q_a_proj.bias"] = config["q_lora_rank"]
        tensors[prefix + "kv_a_proj_with_mqa.bias"] = config["kv_lora_rank"] + config["qk_rope_head_dim"]
        tensors[prefix + "o_proj.bias"] = config["hidden_size"]
    add_tensors(model, tensors)
    text = complete(model).out
    check(text != complete(DEMO).out, "biases are added")
    gguf = os.path.join(folder, "biases.gguf")
    must(DODECA, "quantize", model, gguf, "F32", "-q")
    said = complete(gguf)
    check("attn_q_a.bias" in said.err, "biases of a GGUF are told")
    check(must(DODECA, "run", "-m", gguf, "-p", PROMPT, "-n", "4", "--temp", "0", "--compute", "f32", "-q").out ==
          must(DODECA, "run", "-m", model, "-p", PROMPT, "-n", "4", "--temp", "0", "--compute", "f32", "-q").out,
          "biases are the same in both forms")


def check_overrides(model):
    ids = must(DODECA, "tokenize", "-m", model, "-p", "x", "--ids").out
    without = must(DODECA, "tokenize", "-m", model, "-p", "x", "--ids", "--override-kv",
                   "tokenizer.ggml.add_bos_token=bool:false,tokenizer.ggml.add_eos_token=bool:false").out
    check(len(without) < len(ids), f"tokenize --override-kv: {ids!r}, {without!r}")
    for command in (["tokenize", "-p", "x"], ["run", "-p", "x"]):
        refused = run(DODECA, command[0], "-m", model, *command[1:], "--override-kv", "general.name=bool:maybe")
        check(refused.code == 2 and "maybe" in refused.err, f"{command[0]}: {refused.err!r}")


def main():
    with scratch() as folder:
        model = os.path.join(folder, "demo.gguf")
        must(DODECA, "quantize", DEMO, model, "Q8_0", "-q")
        check_overrides(model)
        check_prompt_cache(folder, model)
        check_batch(folder, model)
        check_quantize(folder, model)
        check_checkpoint(folder)
        check_biases(folder)
    finish("loading_test")


main()
