#!/usr/bin/env python3
"""Write a Hugging Face checkpoint in the layout of DeepSeek-V3's, with its true tensor shapes and random FP8 values: for measuring
what quantizing the 671B model needs, on a machine that cannot hold it. Reduced only in layers and experts.

  bench/synth_checkpoint.py DIRECTORY                        1 dense and 1 MoE layer of 32 experts, 6 GB
  bench/synth_checkpoint.py DIRECTORY --layers 5 --experts 64

Without a tokenizer. Needs numpy (bash bench/setup.sh --peers)."""
import argparse
import json
import math
import os
import struct

import numpy as np

HIDDEN, HEADS, Q_LORA, KV_LORA, NOPE, ROPE, V = 7168, 128, 1536, 512, 128, 64, 128
DENSE_FF, EXPERT_FF, VOCAB = 18432, 2048, 129280
SHARD_BYTES = 2 << 30
rng = np.random.default_rng(11)


def config(layers, experts):
    return {
        "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "hidden_size": HIDDEN, "num_hidden_layers": layers,
        "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "q_lora_rank": Q_LORA, "kv_lora_rank": KV_LORA,
        "qk_nope_head_dim": NOPE, "qk_rope_head_dim": ROPE, "v_head_dim": V, "intermediate_size": DENSE_FF,
        "moe_intermediate_size": EXPERT_FF, "n_routed_experts": experts, "n_shared_experts": 1, "num_experts_per_tok": 8, "n_group": 8,
        "topk_group": 4, "topk_method": "noaux_tc", "scoring_func": "sigmoid", "norm_topk_prob": True, "routed_scaling_factor": 2.5,
        "first_k_dense_replace": 1, "moe_layer_freq": 1, "vocab_size": VOCAB, "rms_norm_eps": 1e-06, "rope_theta": 10000,
        "max_position_embeddings": 163840, "hidden_act": "silu", "tie_word_embeddings": False, "attention_bias": False,
        "num_nextn_predict_layers": 0, "torch_dtype": "bfloat16", "bos_token_id": 0, "eos_token_id": 1,
        "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32, "beta_slow": 1,
                         "mscale": 1.0, "mscale_all_dim": 1.0},
        "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]},
    }


class Checkpoint:
    """Tensors gathered into shards of about SHARD_BYTES."""

    def __init__(self, directory):
        self.directory, self.shards, self.pending, self.size, self.total = directory, [], [], 0, 0
        os.makedirs(directory, exist_ok=True)

    def add(self, name, dtype, shape, data):
        self.pending.append((name, dtype, shape, data))
        self.size += len(data)
        self.total += len(data)
        if self.size >= SHARD_BYTES:
            self.flush()

    def flush(self):
        if not self.pending:
            return
        header, offset = {}, 0
        for name, dtype, shape, data in self.pending:
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
            offset += len(data)
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        path = os.path.join(self.directory, f"shard-{len(self.shards)}.part")
        with open(path, "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text)
            for _, _, _, data in self.pending:
                f.write(data)
        self.shards.append((path, [name for name, _, _, _ in self.pending]))
        self.pending, self.size = [], 0

    def finish(self):
        self.flush()
        weight_map = {}
        for i, (path, names) in enumerate(self.shards):
            name = f"model-{i + 1:05d}-of-{len(self.shards):06d}.safetensors"
            os.replace(path, os.path.join(self.directory, name))
            weight_map.update({n: name for n in names})
        with open(os.path.join(self.directory, "model.safetensors.index.json"), "w", encoding="utf-8") as f:
            json.dump({"metadata": {"total_size": self.total}, "weight_map": weight_map}, f)

    def bf16(self, name, *shape, deviation=0.02):
        values = rng.standard_normal(math.prod(shape), dtype=np.float32) * np.float32(deviation)
        self.add(name, "BF16", list(shape), (values.view(np.uint32) >> 16).astype(np.uint16).tobytes())

    def ones(self, name, *shape):
        self.add(name, "BF16", list(shape), np.full(math.prod(shape), 0x3F80, np.uint16).tobytes())

    def fp8(self, name, rows, columns):
        codes = rng.integers(0, 256, rows * columns, dtype=np.uint8)
        codes[(codes & 0x7F) == 0x7F] ^= 1  # the NaN codes
        self.add(name + ".weight", "F8_E4M3", [rows, columns], codes.tobytes())
        blocks = [-(-rows // 128), -(-columns // 128)]
        scales = rng.uniform(0.5, 1.5, blocks).astype(np.float32) * np.float32(0.02 / 87)  # 87: deviation of random codes
        self.add(name + ".weight_scale_inv", "F32", blocks, scales.tobytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--layers", type=int, default=2, help="the first is dense (default: 2)")
    parser.add_argument("--experts", type=int, default=32, help="per MoE layer, a multiple of 8 (default: 32)")
    args = parser.parse_args()
    out = Checkpoint(args.directory)
    out.bf16("model.embed_tokens.weight", VOCAB, HIDDEN)
    for layer in range(args.layers):
        p = f"model.layers.{layer}."
        for name, n in (("input_layernorm", HIDDEN), ("post_attention_layernorm", HIDDEN), ("self_attn.q_a_layernorm", Q_LORA),
                        ("self_attn.kv_a_layernorm", KV_LORA)):
            out.ones(p + name + ".weight", n)
        a = p + "self_attn."
        out.fp8(a + "q_a_proj", Q_LORA, HIDDEN)
        out.fp8(a + "q_b_proj", HEADS * (NOPE + ROPE), Q_LORA)
        out.fp8(a + "kv_a_proj_with_mqa", KV_LORA + ROPE, HIDDEN)
        out.fp8(a + "kv_b_proj", HEADS * (NOPE + V), KV_LORA)
        out.fp8(a + "o_proj", HIDDEN, HEADS * V)
        blocks = [(p + "mlp.", DENSE_FF)]
        if layer > 0:
            out.bf16(p + "mlp.gate.weight", args.experts, HIDDEN)
            out.add(p + "mlp.gate.e_score_correction_bias", "F32", [args.experts], np.zeros(args.experts, np.float32).tobytes())
            blocks = [(p + f"mlp.experts.{e}.", EXPERT_FF) for e in range(args.experts)] + [(p + "mlp.shared_experts.", EXPERT_FF)]
        for prefix, width in blocks:
            out.fp8(prefix + "gate_proj", width, HIDDEN)
            out.fp8(prefix + "up_proj", width, HIDDEN)
            out.fp8(prefix + "down_proj", HIDDEN, width)
        print(f"layer {layer + 1}/{args.layers}", flush=True)
    out.ones("model.norm.weight", HIDDEN)
    out.bf16("lm_head.weight", VOCAB, HIDDEN)
    out.finish()
    with open(os.path.join(args.directory, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config(args.layers, args.experts), f, indent=2)
    print(f"{args.directory}: {out.total} bytes of tensors")


if __name__ == "__main__":
    main()
