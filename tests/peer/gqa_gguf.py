"""The variants with grouped queries as F32 GGUF: in the layout of today's llama.cpp converter, with fused tensors (attn_qkv,
ffn_gate_up_exps), or with a tensor for each expert as very early Mixtral files have them."""
import numpy as np

import gqa_variants

ARCHITECTURES = {"qwen3_moe": "qwen3moe", "glm4_moe": "glm4moe", "minimax_m2": "minimax-m2", "gpt_oss": "gpt-oss", "llama": "llama", "mixtral": "llama"}
# What GGUF has no key for: weights that are not normalized, dense layers between others, windows of Mixtral.
NOT_EXPRESSIBLE = ("qwen3_moe_no_norm", "qwen3_moe_dense_layers", "mixtral_window")


def metadata(c):
    a, d, kind = ARCHITECTURES[c["model_type"]], gqa_variants.head_dim(c), c["model_type"]
    dim = c["rotary_dim"] if "rotary_dim" in c else int(d * c.get("partial_rotary_factor", 1.0))
    kv = {
        "general.architecture": a, "general.name": "variant", "general.alignment": 32, "general.file_type": 0, "block_count": c["num_hidden_layers"],
        "context_length": c["max_position_embeddings"], "embedding_length": c["hidden_size"], "feed_forward_length": c["intermediate_size"],
        "attention.head_count": c["num_attention_heads"], "attention.head_count_kv": c["num_key_value_heads"], "attention.key_length": d,
        "attention.value_length": d, "attention.layer_norm_rms_epsilon": float(c["rms_norm_eps"]), "rope.dimension_count": dim,
        "rope.freq_base": float(c["rope_theta"]), "tokenizer.ggml.model": "none"}
    if gqa_variants.n_experts(c):
        kv.update({"expert_count": gqa_variants.n_experts(c), "expert_used_count": c["num_experts_per_tok"]})
        if a != "llama":
            kv["expert_feed_forward_length"] = gqa_variants.expert_width(c)
    if kind == "glm4_moe":
        kv.update({"expert_shared_count": c["n_shared_experts"], "leading_dense_block_count": c["first_k_dense_replace"], "expert_gating_func": 2,
                   "expert_weights_scale": float(c["routed_scaling_factor"]), "expert_weights_norm": True, "expert_group_count": c["n_group"],
                   "expert_group_used_count": c["topk_group"]})
    if kind == "minimax_m2":
        kv["expert_gating_func"] = 2
    if kind == "gpt_oss":
        kv["attention.sliding_window"] = c["sliding_window"]
        windowed = [t == "sliding_attention" for t in c["layer_types"]]
        if windowed != [i % 2 == 0 for i in range(len(windowed))]:
            kv["attention.sliding_window_pattern"] = windowed
    r = c.get("rope_scaling") or {}
    if r.get("rope_type", r.get("type")) in ("yarn", "linear"):
        kv.update({"rope.scaling.type": r.get("rope_type", r.get("type")), "rope.scaling.factor": float(r["factor"])})
    if "original_max_position_embeddings" in r and r["rope_type"] == "yarn":
        kv["rope.scaling.original_context_length"] = r["original_max_position_embeddings"]
    return {k if "." in k and k.split(".")[0] in ("general", "tokenizer") else f"{a}.{k}": v for k, v in kv.items()}


def turned(x, c):
    """Rows of Llama's queries and keys: neighbours instead of halves."""
    if ARCHITECTURES[c["model_type"]] != "llama":
        return x
    d = gqa_variants.head_dim(c)
    return x.reshape(-1, 2, d // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def experts(c, w, p, form):
    block, names = gqa_variants.sparse_block(c)
    n = gqa_variants.n_experts(c)
    if c["model_type"] == "gpt_oss":
        both, bias = w[p + "mlp.experts.gate_up_proj"].transpose(0, 2, 1), w[p + "mlp.experts.gate_up_proj_bias"]
        parts = {"gate": both[:, 0::2], "up": both[:, 1::2], "down": w[p + "mlp.experts.down_proj"].transpose(0, 2, 1)}
        for name, x in (("gate", bias[:, 0::2]), ("up", bias[:, 1::2]), ("down", w[p + "mlp.experts.down_proj_bias"])):
            yield f"ffn_{name}_exps.bias", x
    else:
        parts = {name: np.stack([w[f"{p}{block}experts.{e}.{hf}.weight"] for e in range(n)]) for name, hf in zip(("gate", "up", "down"), names)}
    if form == "one by one":
        for name, x in parts.items():
            for e in range(n):
                yield f"ffn_{name}.{e}.weight", x[e]
        return
    if form == "fused":
        parts = {"gate_up": np.concatenate([parts["gate"], parts["up"]], 1), "down": parts["down"]}
    for name, x in parts.items():
        yield f"ffn_{name}_exps.weight", x


def tensors(c, w, form):
    yield "token_embd.weight", w["model.embed_tokens.weight"]
    yield "output_norm.weight", w["model.norm.weight"]
    if not c["tie_word_embeddings"]:
        yield "output.weight", w["lm_head.weight"]
    r = c.get("rope_scaling") or {}
    if r.get("rope_type") == "llama3":
        d = gqa_variants.head_dim(c)
        theta = c["rope_theta"] ** (-2.0 * np.arange(d // 2) / d)
        turns = r["original_max_position_embeddings"] * theta / (2 * np.pi)
        kept = np.clip((turns - r["low_freq_factor"]) / (r["high_freq_factor"] - r["low_freq_factor"]), 0, 1)
        yield "rope_freqs.weight", 1 / ((1 - kept) / r["factor"] + kept)
    block = gqa_variants.sparse_block(c)[0]
    norm = "post_attention_norm" if c["model_type"] in ("glm4_moe", "gpt_oss") else "ffn_norm"
    plain = {"input_layernorm.weight": "attn_norm.weight", "post_attention_layernorm.weight": norm + ".weight", "self_attn.o_proj.weight": "attn_output.weight",
             "self_attn.o_proj.bias": "attn_output.bias", "self_attn.q_norm.weight": "attn_q_norm.weight", "self_attn.k_norm.weight": "attn_k_norm.weight",
             "self_attn.sinks": "attn_sinks.weight", "mlp.gate_proj.weight": "ffn_gate.weight", "mlp.up_proj.weight": "ffn_up.weight",
             "mlp.down_proj.weight": "ffn_down.weight", block + "gate.weight": "ffn_gate_inp.weight", "mlp.router.weight": "ffn_gate_inp.weight",
             "mlp.router.bias": "ffn_gate_inp.bias", "mlp.gate.e_score_correction_bias": "exp_probs_b.bias",
             "block_sparse_moe.e_score_correction_bias": "exp_probs_b.bias", "mlp.shared_experts.gate_proj.weight": "ffn_gate_shexp.weight",
             "mlp.shared_experts.up_proj.weight": "ffn_up_shexp.weight", "mlp.shared_experts.down_proj.weight": "ffn_down_shexp.weight"}
    for i in range(c["num_hidden_layers"]):
        p, b = f"model.layers.{i}.", f"blk.{i}."
        for hf, name in plain.items():
            if p + hf in w:
                yield b + name, w[p + hf]
        for end in ("weight", "bias"):
            if p + "self_attn.q_proj." + end not in w:
                continue
            qkv = {name: w[f"{p}self_attn.{name}_proj.{end}"] for name in "qkv"}
            qkv["q"], qkv["k"] = turned(qkv["q"], c), turned(qkv["k"], c)
            if form == "fused":
                yield f"{b}attn_qkv.{end}", np.concatenate(list(qkv.values()))
            else:
                yield from ((f"{b}attn_{name}.{end}", x) for name, x in qkv.items())
        if gqa_variants.has_experts(c, i):
            yield from ((b + name, x) for name, x in experts(c, w, p, form))
