"""The variants as F32 GGUF, in the layout of today's llama.cpp converter (attn_k_b, attn_v_b) or of early 2025 (attn_kv_b)."""
import struct

import numpy as np

import gqa_gguf
import hf_variants

# What GGUF has no key for: a factor on cos and sin, and normalizing without scaling.
NOT_EXPRESSIBLE = ("v3_mscale_differs", "v3_mscale_absent", "v2_norm_topk_with_scale", *gqa_gguf.NOT_EXPRESSIBLE)


def metadata(c, old_layout, group_keys):
    architecture = {"glm_moe_dsa": "glm-dsa", "deepseek_v32": "deepseek32"}.get(c["model_type"], "deepseek2")
    p, a = architecture + ".", architecture + ".attention."
    nope, rope, v, rank, heads = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"], c["kv_lora_rank"], c["num_attention_heads"]
    kv = {
        "general.architecture": architecture, "general.name": "variant", "general.alignment": 32, "general.file_type": 0,
        p + "block_count": c["num_hidden_layers"], p + "context_length": c["max_position_embeddings"], p + "embedding_length": c["hidden_size"],
        p + "feed_forward_length": c["intermediate_size"], p + "expert_feed_forward_length": c["moe_intermediate_size"],
        p + "leading_dense_block_count": c["first_k_dense_replace"], p + "vocab_size": c["vocab_size"], p + "expert_count": c["n_routed_experts"],
        p + "expert_used_count": c["num_experts_per_tok"], p + "expert_shared_count": c["n_shared_experts"],
        p + "expert_weights_scale": float(c["routed_scaling_factor"]), p + "expert_gating_func": 2 if c["scoring_func"] == "sigmoid" else 1,
        a + "head_count": heads, a + "layer_norm_rms_epsilon": float(c["rms_norm_eps"]), a + "kv_lora_rank": rank, p + "rope.dimension_count": rope,
        "tokenizer.ggml.model": "none"}
    if "index_topk" in c:
        kv.update({a + "indexer.head_count": c["index_n_heads"], a + "indexer.key_length": c["index_head_dim"], a + "indexer.top_k": c["index_topk"]})
        if "indexer_types" in c:  # else the reader's rule says it
            kv[a + "indexer.types"] = [kind == "full" for kind in c["indexer_types"]]
    if c["norm_topk_prob"]:
        kv[p + "expert_weights_norm"] = True
    if c["q_lora_rank"]:
        kv[a + "q_lora_rank"] = c["q_lora_rank"]
    if old_layout:
        kv.update({a + "head_count_kv": heads, a + "key_length": nope + rope, a + "value_length": v})
    else:
        kv.update({a + "head_count_kv": 1, a + "key_length": rank + rope, a + "value_length": rank, a + "key_length_mla": nope + rope,
                   a + "value_length_mla": v})
    if group_keys and c.get("n_group") is not None:
        kv.update({p + "expert_group_count": c["n_group"], p + "expert_group_used_count": c["topk_group"]})
    r = c.get("rope_scaling") or c.get("rope_parameters") or {}
    kv[p + "rope.freq_base"] = float(r.get("rope_theta", c.get("rope_theta") or 10000.0))
    if r.get("rope_type", r.get("type", "default")) == "yarn":
        kv.update({p + "rope.scaling.type": "yarn", p + "rope.scaling.factor": float(r["factor"]),
                   p + "rope.scaling.original_context_length": r["original_max_position_embeddings"],
                   p + "rope.scaling.yarn_beta_fast": float(r["beta_fast"]), p + "rope.scaling.yarn_beta_slow": float(r["beta_slow"]),
                   p + "rope.scaling.yarn_log_multiplier": 0.1 * r["mscale_all_dim"]})
    return kv


def tensors(c, w, old_layout):
    """(GGUF name, float32 array in numpy order, i.e. reversed GGUF dimensions)"""
    heads, nope, v, rank = c["num_attention_heads"], c["qk_nope_head_dim"], c["v_head_dim"], c["kv_lora_rank"]
    yield "token_embd.weight", w["model.embed_tokens.weight"]
    yield "output_norm.weight", w["model.norm.weight"]
    if "lm_head.weight" in w:
        yield "output.weight", w["lm_head.weight"]
    plain = {
        "input_layernorm.weight": "attn_norm.weight", "post_attention_layernorm.weight": "ffn_norm.weight", "self_attn.q_proj.weight": "attn_q.weight",
        "self_attn.q_a_proj.weight": "attn_q_a.weight", "self_attn.q_a_layernorm.weight": "attn_q_a_norm.weight",
        "self_attn.q_b_proj.weight": "attn_q_b.weight", "self_attn.kv_a_proj_with_mqa.weight": "attn_kv_a_mqa.weight",
        "self_attn.kv_a_layernorm.weight": "attn_kv_a_norm.weight", "self_attn.o_proj.weight": "attn_output.weight",
        "self_attn.q_a_proj.bias": "attn_q_a.bias", "self_attn.kv_a_proj_with_mqa.bias": "attn_kv_a_mqa.bias",
        "self_attn.o_proj.bias": "attn_output.bias",
        "self_attn.indexer.wq_b.weight": "indexer.attn_q_b.weight", "self_attn.indexer.wk.weight": "indexer.attn_k.weight",
        "self_attn.indexer.k_norm.weight": "indexer.k_norm.weight", "self_attn.indexer.k_norm.bias": "indexer.k_norm.bias",
        "self_attn.indexer.weights_proj.weight": "indexer.proj.weight",
        "mlp.gate_proj.weight": "ffn_gate.weight", "mlp.up_proj.weight": "ffn_up.weight", "mlp.down_proj.weight": "ffn_down.weight",
        "mlp.gate.weight": "ffn_gate_inp.weight", "mlp.gate.e_score_correction_bias": "exp_probs_b.bias",
        "mlp.shared_experts.gate_proj.weight": "ffn_gate_shexp.weight", "mlp.shared_experts.up_proj.weight": "ffn_up_shexp.weight",
        "mlp.shared_experts.down_proj.weight": "ffn_down_shexp.weight"}
    for i in range(c["num_hidden_layers"]):
        h, b = f"model.layers.{i}.", f"blk.{i}."
        for hf, name in plain.items():
            if h + hf in w:
                yield b + name, w[h + hf]
        kv = w[h + "self_attn.kv_b_proj.weight"]
        if old_layout:
            yield b + "attn_kv_b.weight", kv
        else:
            kv = kv.reshape(heads, nope + v, rank)
            yield b + "attn_k_b.weight", kv[:, :nope].transpose(0, 2, 1)
            yield b + "attn_v_b.weight", kv[:, nope:]
        if h + "mlp.gate.weight" in w:
            for part in ("gate", "up", "down"):
                yield f"{b}ffn_{part}_exps.weight", np.stack([w[f"{h}mlp.experts.{e}.{part}_proj.weight"] for e in range(c["n_routed_experts"])])


def string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def value(x):
    if isinstance(x, bool):
        return struct.pack("<I?", 7, x)
    if isinstance(x, int):
        return struct.pack("<II", 4, x)
    if isinstance(x, float):
        return struct.pack("<If", 6, x)
    if isinstance(x, list):  # of flags
        return struct.pack("<IIQ", 9, 7, len(x)) + bytes(x)
    return struct.pack("<I", 8) + string(x)


def write_gguf(variant, w, path, old_layout=False, group_keys=True, form="plain"):
    """form: of variants with grouped queries alone (gqa_gguf.py)."""
    c = hf_variants.VARIANTS[variant][0]
    if hf_variants.is_grouped(variant):
        return write(gqa_gguf.metadata(c), gqa_gguf.tensors(c, w, form), path)
    return write(metadata(c, old_layout, group_keys), tensors(c, w, old_layout), path)


def write(kv, named, path):
    all_tensors = [(n, np.ascontiguousarray(x, np.float32)) for n, x in named]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(all_tensors), len(kv)) + b"".join(string(k) + value(x) for k, x in kv.items())
    at = 0
    for name, x in all_tensors:
        head += string(name) + struct.pack(f"<I{x.ndim}QIQ", x.ndim, *reversed(x.shape), 0, at)
        at += -(-x.nbytes // 32) * 32
    with open(path, "wb") as f:
        f.write(head + b"\0" * (-len(head) % 32))
        for _, x in all_tensors:
            f.write(x.tobytes() + b"\0" * (-x.nbytes % 32))
