#!/usr/bin/env python3
"""Write a GGUF whose weights are random but valid quantized blocks, without a vocabulary: of architecture deepseek2, or of one
with grouped queries (qwen3moe, glm4moe, minimax-m2, gpt-oss, llama).

Speed depends on shapes and types, not on values, so such a file stands in for a real one of hundreds of GB where only speed is
measured; bench/parity.py feeds it fixed ids. Needs numpy (bash bench/setup.sh --peers; .deps/venv/bin/python).

  bench/synth_gguf.py lite /tmp/lite.gguf                    DeepSeek-V2-Lite-like, all rows multiples of 256
  bench/synth_gguf.py v2lite /tmp/v2lite.gguf                V2-Lite's true widths: 1408 and 10944 divide by 32 only
  bench/synth_gguf.py v3slice /tmp/v3.gguf --layers 2        DeepSeek-V3's true shapes, few layers
  bench/synth_gguf.py tinylite /tmp/old.gguf --old-layout    attn_kv_b, as files before April 2025 have it
  bench/synth_gguf.py qwen3-30b /tmp/q.gguf --layers 4 --all Q4_K    grouped queries; --vocab makes the output small
"""
import argparse
import struct

import numpy as np

# type name -> (id, weights per block, bytes per block)
TYPES = {
    "F32": (0, 1, 4), "Q4_0": (2, 32, 18), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34),
    "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210),
    "IQ2_XXS": (16, 256, 66), "IQ2_XS": (17, 256, 74), "IQ3_XXS": (18, 256, 98), "IQ1_S": (19, 256, 50),
    "IQ4_NL": (20, 32, 18), "IQ3_S": (21, 256, 110), "IQ2_S": (22, 256, 82), "IQ4_XS": (23, 256, 136),
    "Q6_0": (133, 32, 26), "IQ2_K": (137, 256, 76), "IQ3_K": (138, 256, 110), "IQ4_K": (139, 256, 144),
    "IQ5_K": (140, 256, 176), "IQ6_K": (141, 256, 212), "MXFP4": (39, 32, 17),
}
# For rows that 256 does not divide; every type not named becomes IQ4_NL.
FALLBACK = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
# Where the half-precision scale of a block is, and the standard deviation of its weights at scale 1.
SCALE = {
    "Q4_0": (0, 4.6), "Q5_0": (0, 9.2), "Q5_1": (0, 9.2), "Q8_0": (0, 74), "Q2_K": (80, 8.5), "Q3_K": (108, 40),
    "Q4_K": (0, 150), "Q5_K": (0, 300), "Q6_K": (208, 1400), "IQ2_XXS": (0, 120), "IQ2_XS": (0, 50), "IQ3_XXS": (0, 120),
    "IQ1_S": (0, 7), "IQ4_NL": (0, 70), "IQ3_S": (0, 128), "IQ2_S": (0, 50), "IQ4_XS": (0, 1500),
    "Q6_0": (0, 18), "IQ2_K": (0, 85), "IQ3_K": (0, 625), "IQ4_K": (0, 1250), "IQ5_K": (0, 1220), "IQ6_K": (0, 4800),
}
# Second scale, of the minimum: (offset, mean of the quants that it has to cancel).
MINIMUM = {"Q2_K": (82, 1.5), "Q4_K": (2, 7.5), "Q5_K": (2, 15.5), "Q5_1": (2, -15.5)}

SHAPES = {
    "v3slice": dict(hidden=7168, heads=128, q_lora=1536, layers=4, dense=1, dense_ff=18432, experts=256, used=8, ff=2048,
                    shared=1, vocab=16384, gating=2, groups=8, groups_used=4, scale=2.5),
    "lite": dict(hidden=2048, heads=16, q_lora=0, layers=27, dense=1, dense_ff=10752, experts=64, used=6, ff=1536,
                 shared=2, vocab=102400, gating=1, groups=0, groups_used=0, scale=1.0),
    "v2lite": dict(hidden=2048, heads=16, q_lora=0, layers=27, dense=1, dense_ff=10944, experts=64, used=6, ff=1408,
                   shared=2, vocab=102400, gating=1, groups=0, groups_used=0, scale=1.0),
    "tinylite": dict(hidden=512, heads=8, q_lora=256, layers=4, dense=1, dense_ff=1024, experts=16, used=4, ff=512,
                     shared=1, vocab=4096, gating=2, groups=4, groups_used=2, scale=2.5),
}
# With grouped queries: heads of `head` numbers, the first `rope` of which are rotated; norm: of each head's queries and keys, or
# of whole rows of them.
# window: positions that every second layer sees; types: of attention and embedding, and of experts, as published files have them.
GROUPED = {
    "qwen3-30b": dict(arch="qwen3moe", hidden=2048, heads=32, kv_heads=4, head=128, rope=128, base=1e6, norm="head", layers=48,
                      dense=0, dense_ff=6144, experts=128, used=8, ff=768, shared=0, vocab=151936, gating=0, context=40960),
    "qwen3-235b": dict(arch="qwen3moe", hidden=4096, heads=64, kv_heads=4, head=128, rope=128, base=1e6, norm="head", layers=94,
                       dense=0, dense_ff=12288, experts=128, used=8, ff=1536, shared=0, vocab=151936, gating=0, context=40960),
    "glm-4.5-air": dict(arch="glm4moe", hidden=4096, heads=96, kv_heads=8, head=128, rope=64, base=1e6, norm=None, layers=46,
                        dense=1, dense_ff=10944, experts=128, used=8, ff=1408, shared=1, vocab=151552, gating=2, context=131072),
    "minimax-m2": dict(arch="minimax-m2", hidden=3072, heads=48, kv_heads=8, head=128, rope=64, base=5e6, norm="whole", layers=62,
                       dense=0, dense_ff=1536, experts=256, used=8, ff=1536, shared=0, vocab=200064, gating=2, context=196608),
    "mixtral-8x7b": dict(arch="llama", hidden=4096, heads=32, kv_heads=8, head=128, rope=128, base=1e6, norm=None, layers=32,
                         dense=0, dense_ff=14336, experts=8, used=2, ff=14336, shared=0, vocab=32000, gating=0, context=32768),
    "gpt-oss-120b": dict(arch="gpt-oss", hidden=2880, heads=64, kv_heads=8, head=64, rope=64, base=1.5e5, norm=None, layers=36,
                         dense=0, dense_ff=2880, experts=128, used=4, ff=2880, shared=0, vocab=201088, gating=0, context=131072,
                         window=128, types=("Q8_0", "MXFP4")),
    "llama-405b": dict(arch="llama", hidden=16384, heads=128, kv_heads=8, head=128, rope=128, base=5e5, norm=None, layers=126,
                       dense=126, dense_ff=53248, experts=0, used=0, ff=0, shared=0, vocab=128256, gating=0, context=131072),
}
KV_LORA, NOPE, ROPE, VALUE = 512, 128, 64, 128
ALIGNMENT = 32
POOL_BLOCKS = 1 << 18  # random blocks made per tensor; larger tensors repeat them, rolled


def random_blocks(rng, kind, count, n_in):
    """count random blocks of a type, scaled so that a row of n_in weights has about unit gain."""
    _, _, size = TYPES[kind]
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    if kind == "MXFP4":  # its scale is a power of two; codes deviate by 2.9
        blocks[:, 0] = 127 + round(np.log2(1 / np.sqrt(n_in) / 2.9))
        return blocks
    offset, deviation = SCALE[kind]
    scale = 1.0 / np.sqrt(n_in) / deviation

    def put(at, value):
        blocks[:, at:at + 2] = np.frombuffer(np.float16(value).tobytes(), np.uint8)

    put(offset, scale)
    if kind in MINIMUM:
        at, mean = MINIMUM[kind]
        put(at, scale * mean)
    return blocks


class Writer:
    VALUE_TYPES = {"u32": (4, "<I"), "f32": (6, "<f"), "bool": (7, "<?")}

    def __init__(self, path, seed):
        self.path, self.pairs, self.tensors = path, [], []
        self.rng = np.random.default_rng(seed)

    def put(self, key, kind, value):
        head = struct.pack("<Q", len(key)) + key.encode()
        if kind == "str":
            self.pairs.append(head + struct.pack("<IQ", 8, len(value)) + value.encode())
        else:
            type_id, code = self.VALUE_TYPES[kind]
            self.pairs.append(head + struct.pack("<I", type_id) + struct.pack(code, value))

    def tensor(self, name, kind, *dims):
        if dims[0] % TYPES[kind][1]:
            kind = FALLBACK.get(kind, "IQ4_NL")
        if dims[0] % TYPES[kind][1]:
            raise SystemExit(f"{name}: rows of {dims[0]} are not whole blocks of {kind}")
        self.tensors.append((name, kind, dims))

    def write(self):
        with open(self.path, "wb") as out:
            out.write(b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.pairs)))
            for pair in self.pairs:
                out.write(pair)
            offset = 0
            for name, kind, dims in self.tensors:
                type_id, n, size = TYPES[kind]
                out.write(struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(dims)))
                out.write(struct.pack(f"<{len(dims)}Q", *dims) + struct.pack("<IQ", type_id, offset))
                n_bytes = int(np.prod(dims)) // n * size
                offset += -(-n_bytes // ALIGNMENT) * ALIGNMENT
            out.write(b"\0" * (-out.tell() % ALIGNMENT))
            for name, kind, dims in self.tensors:
                self.write_data(out, name, kind, dims)
                out.write(b"\0" * (-out.tell() % ALIGNMENT))

    def write_data(self, out, name, kind, dims):
        if kind == "F32":
            if "norm" in name:
                values = np.ones(dims, np.float32)
            else:  # the router's rows, and its small balancing bias
                gain = 0.02 if "exp_probs" in name else 1 / np.sqrt(dims[0])
                values = self.rng.standard_normal(dims[::-1], dtype=np.float32) * np.float32(gain)
            out.write(values.astype(np.float32).tobytes())
            return
        left = int(np.prod(dims)) // TYPES[kind][1]
        pool = random_blocks(self.rng, kind, min(left, POOL_BLOCKS), dims[0])
        while left:
            take = min(left, len(pool))
            out.write(np.roll(pool, int(self.rng.integers(len(pool))), 0)[:take].tobytes())
            left -= take


def describe(writer, shape, name, old_layout):
    writer.put("general.architecture", "str", "deepseek2")
    writer.put("general.name", "str", f"synthetic-{name}")
    writer.put("general.alignment", "u32", ALIGNMENT)
    writer.put("general.file_type", "u32", 10)
    writer.put("general.quantization_version", "u32", 2)
    heads = shape["heads"]
    numbers = dict(
        block_count=shape["layers"], context_length=163840, embedding_length=shape["hidden"],
        feed_forward_length=shape["dense_ff"], leading_dense_block_count=shape["dense"], vocab_size=shape["vocab"],
        expert_count=shape["experts"], expert_used_count=shape["used"], expert_shared_count=shape["shared"],
        expert_feed_forward_length=shape["ff"], expert_gating_func=shape["gating"])
    if shape["groups"]:
        numbers.update(expert_group_count=shape["groups"], expert_group_used_count=shape["groups_used"])
    numbers.update({"attention.head_count": heads, "attention.kv_lora_rank": KV_LORA, "rope.dimension_count": ROPE})
    if old_layout:
        numbers.update({"attention.head_count_kv": heads, "attention.key_length": NOPE + ROPE,
                        "attention.value_length": VALUE})
    else:
        numbers.update({"attention.head_count_kv": 1, "attention.key_length": KV_LORA + ROPE,
                        "attention.value_length": KV_LORA, "attention.key_length_mla": NOPE + ROPE,
                        "attention.value_length_mla": VALUE})
    if shape["q_lora"]:
        numbers["attention.q_lora_rank"] = shape["q_lora"]
    numbers["rope.scaling.original_context_length"] = 4096
    for key, value in numbers.items():
        writer.put("deepseek2." + key, "u32", value)
    for key, value in {"expert_weights_scale": shape["scale"], "attention.layer_norm_rms_epsilon": 1e-6,
                       "rope.freq_base": 10000.0, "rope.scaling.factor": 40.0,
                       "rope.scaling.yarn_log_multiplier": 0.1}.items():
        writer.put("deepseek2." + key, "f32", value)
    writer.put("deepseek2.expert_weights_norm", "bool", shape["gating"] == 2)
    writer.put("deepseek2.rope.scaling.type", "str", "yarn")
    writer.put("tokenizer.ggml.model", "str", "none")


def add_routed(add, shape, expert_types):
    hidden, ff, experts, shared_ff = shape["hidden"], shape["ff"], shape["experts"], shape["ff"] * shape["shared"]
    gate_type, down_type = expert_types
    add("ffn_gate_inp.weight", "F32", hidden, experts)
    if shape["gating"] == 2:
        add("exp_probs_b.bias", "F32", experts)
    add("ffn_gate_exps.weight", gate_type, hidden, ff, experts)
    add("ffn_up_exps.weight", gate_type, hidden, ff, experts)
    add("ffn_down_exps.weight", down_type, ff, hidden, experts)
    if shared_ff:
        add("ffn_gate_shexp.weight", "Q4_K", hidden, shared_ff)
        add("ffn_up_shexp.weight", "Q4_K", hidden, shared_ff)
        add("ffn_down_shexp.weight", "Q6_K", shared_ff, hidden)


def add_tensors(writer, shape, expert_types, old_layout):
    hidden, heads, q_lora = shape["hidden"], shape["heads"], shape["q_lora"]
    writer.tensor("token_embd.weight", "Q4_K", hidden, shape["vocab"])
    writer.tensor("output_norm.weight", "F32", hidden)
    writer.tensor("output.weight", "Q6_K", hidden, shape["vocab"])
    for layer in range(shape["layers"]):
        def add(name, kind, *dims):
            writer.tensor(f"blk.{layer}.{name}", kind, *dims)

        add("attn_norm.weight", "F32", hidden)
        if q_lora:
            add("attn_q_a.weight", "Q4_K", hidden, q_lora)
            add("attn_q_a_norm.weight", "F32", q_lora)
            add("attn_q_b.weight", "Q4_K", q_lora, heads * (NOPE + ROPE))
        else:
            add("attn_q.weight", "Q4_K", hidden, heads * (NOPE + ROPE))
        add("attn_kv_a_mqa.weight", "Q6_K", hidden, KV_LORA + ROPE)
        add("attn_kv_a_norm.weight", "F32", KV_LORA)
        if old_layout:
            add("attn_kv_b.weight", "Q6_K", KV_LORA, heads * (NOPE + VALUE))
        else:
            add("attn_k_b.weight", "Q8_0", NOPE, KV_LORA, heads)
            add("attn_v_b.weight", "Q6_K", KV_LORA, VALUE, heads)
        add("attn_output.weight", "Q4_K", heads * VALUE, hidden)
        add("ffn_norm.weight", "F32", hidden)
        if layer < shape["dense"]:
            add("ffn_gate.weight", "Q4_K", hidden, shape["dense_ff"])
            add("ffn_up.weight", "Q4_K", hidden, shape["dense_ff"])
            add("ffn_down.weight", "Q6_K", shape["dense_ff"], hidden)
            continue
        add_routed(add, shape, expert_types)


def describe_grouped(writer, shape, name):
    arch = shape["arch"]
    writer.put("general.architecture", "str", arch)
    writer.put("general.name", "str", f"synthetic-{name}")
    writer.put("general.alignment", "u32", ALIGNMENT)
    writer.put("general.file_type", "u32", 15)
    writer.put("general.quantization_version", "u32", 2)
    numbers = {"block_count": shape["layers"], "context_length": shape["context"], "embedding_length": shape["hidden"],
               "feed_forward_length": shape["dense_ff"], "vocab_size": shape["vocab"], "attention.head_count": shape["heads"],
               "attention.head_count_kv": shape["kv_heads"], "attention.key_length": shape["head"],
               "attention.value_length": shape["head"], "rope.dimension_count": shape["rope"]}
    if shape["experts"]:
        numbers |= {"expert_count": shape["experts"], "expert_used_count": shape["used"], "expert_feed_forward_length": shape["ff"]}
    if shape["gating"]:
        numbers["expert_gating_func"] = shape["gating"]
    if shape["shared"]:
        numbers |= {"expert_shared_count": shape["shared"], "leading_dense_block_count": shape["dense"]}
    for key, value in numbers.items():
        writer.put(f"{arch}.{key}", "u32", value)
    writer.put(f"{arch}.attention.layer_norm_rms_epsilon", "f32", 1e-6)
    writer.put(f"{arch}.rope.freq_base", "f32", shape["base"])
    if arch == "gpt-oss":
        writer.put("gpt-oss.attention.sliding_window", "u32", shape["window"])
        writer.put("gpt-oss.rope.scaling.type", "str", "yarn")
        writer.put("gpt-oss.rope.scaling.factor", "f32", 32.0)
        writer.put("gpt-oss.rope.scaling.original_context_length", "u32", 4096)
    if arch == "glm4moe":
        writer.put("glm4moe.expert_weights_scale", "f32", 1.0)
        writer.put("glm4moe.expert_weights_norm", "bool", True)
    writer.put("tokenizer.ggml.model", "str", "none")


def add_grouped_tensors(writer, shape, expert_types, output_type):
    hidden, experts = shape["hidden"], shape["experts"]
    queries, keys = shape["heads"] * shape["head"], shape["kv_heads"] * shape["head"]
    gate_type, down_type = expert_types
    biased = shape["arch"] == "gpt-oss"
    attention_type = shape["types"][0] if "types" in shape else "Q4_K"
    writer.tensor("token_embd.weight", attention_type, hidden, shape["vocab"])
    writer.tensor("output_norm.weight", "F32", hidden)
    writer.tensor("output.weight", output_type, hidden, shape["vocab"])
    for layer in range(shape["layers"]):
        def add(name, kind, *dims):
            writer.tensor(f"blk.{layer}.{name}", kind, *dims)

        add("attn_norm.weight", "F32", hidden)
        for name, width in (("q", queries), ("k", keys), ("v", keys)):
            add(f"attn_{name}.weight", attention_type, hidden, width)
            if shape["arch"] == "glm4moe" or biased:
                add(f"attn_{name}.bias", "F32", width)
            if shape["norm"] and name != "v":
                add(f"attn_{name}_norm.weight", "F32", shape["head"] if shape["norm"] == "head" else width)
        add("attn_output.weight", attention_type, queries, hidden)
        if biased:
            add("attn_output.bias", "F32", hidden)
            add("attn_sinks.weight", "F32", shape["heads"])
            add("ffn_gate_inp.bias", "F32", experts)
            for name, width in (("gate", shape["ff"]), ("up", shape["ff"]), ("down", hidden)):
                add(f"ffn_{name}_exps.bias", "F32", width, experts)
        add("post_attention_norm.weight" if shape["arch"] in ("glm4moe", "gpt-oss") else "ffn_norm.weight", "F32", hidden)
        if layer < shape["dense"]:
            add("ffn_gate.weight", gate_type if not experts else "Q4_K", hidden, shape["dense_ff"])
            add("ffn_up.weight", gate_type if not experts else "Q4_K", hidden, shape["dense_ff"])
            add("ffn_down.weight", down_type if not experts else "Q4_K", shape["dense_ff"], hidden)
            continue
        add_routed(add, shape, expert_types)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=[*SHAPES, *GROUPED])
    parser.add_argument("out", metavar="OUT.gguf")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--experts", type=int)
    parser.add_argument("--vocab", type=int)
    parser.add_argument("--all", choices=[t for t in TYPES if t != "F32"], help="one type for every routed expert; with grouped queries for the output, too")
    parser.add_argument("--old-layout", action="store_true", help="attn_kv_b instead of attn_k_b and attn_v_b")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    shape = dict((SHAPES | GROUPED)[args.shape])
    for name in ("layers", "experts", "vocab"):
        if getattr(args, name):
            shape[name] = getattr(args, name)
    shape["dense"] = min(shape["dense"], shape["layers"])
    writer = Writer(args.out, args.seed)
    expert_types = (args.all, args.all) if args.all else ("Q2_K", "Q3_K")
    output_type = args.all or "Q6_K"
    if "types" in shape:
        output_type, expert_types = shape["types"][0], (shape["types"][1],) * 2
    if args.shape in GROUPED:
        describe_grouped(writer, shape, args.shape)
        add_grouped_tensors(writer, shape, expert_types, output_type)
    else:
        describe(writer, shape, args.shape, args.old_layout)
        add_tensors(writer, shape, expert_types, args.old_layout)
    writer.write()


if __name__ == "__main__":
    main()
