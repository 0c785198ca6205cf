"""The deepseek2 architecture in numpy float64, written from the DeepSeek-V2 and V3 papers and the published models' own
rules; the judge where versions of transformers differ. Slow, plain, non-absorbed attention over one sequence."""
import math

import numpy as np

import hf_variants


def cached(row, kind):
    """A cache row [tokens, latent and rope] as `-ctk kind` would give it back."""
    if kind == "f16":
        return row.astype(np.float16).astype(np.float64)
    if kind == "bf16":
        return hf_variants.from_bf16(hf_variants.to_bf16(row)).astype(np.float64)
    if kind == "q8_0":  # blocks of 32: f16 scale, largest magnitude 127
        x = row.reshape(len(row), -1, 32)
        d = np.abs(x).max(-1, keepdims=True) / 127
        q = np.sign(x) * np.floor(np.abs(x) / np.where(d > 0, d, 1) + 0.5)
        return (q * d.astype(np.float16).astype(np.float64)).reshape(row.shape)
    return row


def rms_norm(x, w, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w


def silu(x):
    return x / (1 + np.exp(-x))


def rope_settings(c):
    """(inverse frequencies [rope / 2], factor on cos and sin, factor on the scores)"""
    dim, r = c["qk_rope_head_dim"], c.get("rope_scaling") or c.get("rope_parameters") or {}
    base = r.get("rope_theta", c.get("rope_theta") or 10000.0)
    i = np.arange(dim // 2)
    theta = base ** (-2.0 * i / dim)
    if r.get("rope_type", r.get("type", "default")) == "default":
        return theta, 1.0, 1.0
    factor, original = r["factor"], r["original_max_position_embeddings"]
    turns = lambda beta: dim * math.log(original / (beta * 2 * math.pi)) / (2 * math.log(base))
    low, high = max(math.floor(turns(r["beta_fast"])), 0), min(math.ceil(turns(r["beta_slow"])), dim - 1)
    ramp = np.clip((i - low) / max(0.001, high - low), 0, 1)
    theta = theta / factor * ramp + theta * (1 - ramp)
    mscale = lambda m: 0.1 * m * math.log(factor) + 1 if factor > 1 else 1.0
    all_dim = r.get("mscale_all_dim", 0)
    return theta, mscale(r.get("mscale", 1)) / mscale(all_dim), mscale(all_dim) ** 2


def rotate(x, theta, magnitude):
    """x [tokens, heads, rope]: pairs (2i, 2i + 1) turned by position * theta_i."""
    angle = np.arange(len(x))[:, None, None] * theta
    z = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angle) * magnitude
    return np.stack([z.real, z.imag], -1).reshape(x.shape)


def turn(x, theta, magnitude, halves):
    """The first dims of x [tokens, heads, dim] turned, in either pairing."""
    n = 2 * len(theta)
    first = x[..., :n]
    if halves:
        first = first.reshape(*first.shape[:-1], 2, -1).swapaxes(-1, -2).reshape(first.shape)
    first = rotate(first, theta, magnitude)
    if halves:
        first = first.reshape(*first.shape[:-1], -1, 2).swapaxes(-1, -2).reshape(first.shape)
    return np.concatenate([first, x[..., n:]], -1)


def choose(x, q_latent, w, p, c):
    """(which positions each token attends to [tokens, tokens], the smallest gap at the edge of a choice over the spread of its scores)"""
    n, heads, dim = len(x), c["index_n_heads"], c["index_head_dim"]
    theta, magnitude, _ = rope_settings(c)
    halves = not c.get("indexer_rope_interleave", c["model_type"] == "glm_moe_dsa")
    q = turn((q_latent @ w[p + "wq_b.weight"].T).reshape(n, heads, dim), theta, magnitude, halves)
    k = x @ w[p + "wk.weight"].T
    k = (k - k.mean(-1, keepdims=True)) / np.sqrt(k.var(-1, keepdims=True) + 1e-6) * w[p + "k_norm.weight"] + w[p + "k_norm.bias"]
    k = turn(k[:, None], theta, magnitude, halves)[:, 0]
    weight = x @ w[p + "weights_proj.weight"].T / math.sqrt(heads * dim)
    scores = np.einsum("ths,th->ts", np.maximum(np.einsum("thd,sd->ths", q, k), 0), weight)
    kept, smallest = np.zeros((n, n), bool), np.inf
    for t in range(n):
        order = np.argsort(-scores[t, : t + 1], kind="stable")
        kept[t, order[: c["index_topk"]]] = True
        if t + 1 > c["index_topk"]:
            smallest = min(smallest, (scores[t, order[c["index_topk"] - 1]] - scores[t, order[c["index_topk"]]]) / scores[t, : t + 1].std())
    return kept, smallest


def attention(x, w, p, c, cache, kept=None):
    """(result, the choice it used, the gap of that choice)"""
    n, heads = len(x), c["num_attention_heads"]
    nope, rope, v_dim, rank, eps = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"], c["kv_lora_rank"], c["rms_norm_eps"]
    gap = np.inf
    if c["q_lora_rank"]:
        q_latent = rms_norm(x @ w[p + "q_a_proj.weight"].T + w.get(p + "q_a_proj.bias", 0.0), w[p + "q_a_layernorm.weight"], eps)
        q = q_latent @ w[p + "q_b_proj.weight"].T
        if p + "indexer.wq_b.weight" in w and hf_variants.has_indexer(c, int(p.split(".")[2])):
            kept, gap = choose(x, q_latent, w, p + "indexer.", c)
    else:
        q = x @ w[p + "q_proj.weight"].T
    q = q.reshape(n, heads, nope + rope)
    kv = x @ w[p + "kv_a_proj_with_mqa.weight"].T + w.get(p + "kv_a_proj_with_mqa.bias", 0.0)
    latent, k_rope = rms_norm(kv[:, :rank], w[p + "kv_a_layernorm.weight"], eps), kv[:, None, rank:]
    theta, magnitude, score_factor = rope_settings(c)
    q_rope, k_rope = rotate(q[..., nope:], theta, magnitude), rotate(k_rope, theta, magnitude)
    row = cached(np.concatenate([latent, k_rope[:, 0]], -1), cache)
    latent, k_rope = row[:, :rank], row[:, None, rank:]
    kv = (latent @ w[p + "kv_b_proj.weight"].T).reshape(n, heads, nope + v_dim)
    scores = np.einsum("thd,shd->hts", q[..., :nope], kv[..., :nope]) + np.einsum("thd,sd->hts", q_rope, k_rope[:, 0])
    scores *= score_factor / math.sqrt(nope + rope)
    seen = np.tril(np.ones((n, n), bool))
    scores = np.where(seen if kept is None else seen & kept, scores, -np.inf)
    prob = np.exp(scores - scores.max(-1, keepdims=True))
    prob /= prob.sum(-1, keepdims=True)
    out = np.einsum("hts,shd->thd", prob, kv[..., nope:]).reshape(n, -1) @ w[p + "o_proj.weight"].T + w.get(p + "o_proj.bias", 0.0)
    return out, kept, gap


def top(values, k):
    """Indices of the k largest, lower index first among equals, and the relative gap of the last taken to the best left."""
    order = np.argsort(-values, kind="stable")
    if k == len(values) or values[order[k]] == -np.inf:
        return order[:k], np.inf
    last, next_best = values[order[k - 1]], values[order[k]]
    return order[:k], (last - next_best) / abs(last)


def route(logits, bias, c):
    """One token: experts, their weights, and the smallest relative gap of its decisions (to know whether float32 can decide alike)."""
    n, k = c["n_routed_experts"], c["num_experts_per_tok"]
    v2 = c["model_type"] == "deepseek_v2"
    if c["scoring_func"] == "sigmoid":
        score = 1 / (1 + np.exp(-logits))
    else:
        score = np.exp(logits - logits.max())
        score /= score.sum()
    choice = score + bias if c["topk_method"] == "noaux_tc" else score.copy()
    gap = np.inf
    groups = (c.get("n_group") or 1) if c["topk_method"] != "greedy" else 1
    if groups > 1:
        grouped = np.sort(choice.reshape(groups, -1), -1)
        group_score = grouped[:, -2:].sum(-1) if c["topk_method"] == "noaux_tc" else grouped[:, -1]
        keep, gap = top(group_score, c["topk_group"])
        choice = np.where(np.isin(np.arange(n) // (n // groups), keep), choice, -np.inf)
    chosen, last = top(choice, k)
    weight = score[chosen]
    if c["norm_topk_prob"]:
        weight = weight / weight.sum()
    if not (v2 and c["norm_topk_prob"]):  # DeepSeek-V2's own code normalizes or scales, never both
        weight = weight * c["routed_scaling_factor"]
    return chosen, weight, min(gap, last)


def ffn(x, w, p):
    return (silu(x @ w[p + "gate_proj.weight"].T) * (x @ w[p + "up_proj.weight"].T)) @ w[p + "down_proj.weight"].T


def log_probs(w, c, ids, cache=None):
    """(log-softmax [tokens, vocab], smallest gap of a choice of experts or positions, share of experts used at least once)"""
    x = w["model.embed_tokens.weight"][ids]
    smallest, used, total, kept = np.inf, 0, 0, None
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        attended, kept, gap = attention(rms_norm(x, w[p + "input_layernorm.weight"], c["rms_norm_eps"]), w, p + "self_attn.", c, cache, kept)
        x, smallest = x + attended, min(smallest, gap)
        h = rms_norm(x, w[p + "post_attention_layernorm.weight"], c["rms_norm_eps"])
        if i < c["first_k_dense_replace"]:
            x = x + ffn(h, w, p + "mlp.")
            continue
        y = ffn(h, w, p + "mlp.shared_experts.")
        logits, bias = h @ w[p + "mlp.gate.weight"].T, w.get(p + "mlp.gate.e_score_correction_bias", 0.0)
        seen = set()
        for t in range(len(ids)):
            chosen, weight, gap = route(logits[t], bias, c)
            smallest = min(smallest, gap)
            seen.update(chosen.tolist())
            for e, s in zip(chosen, weight):
                y[t] += s * ffn(h[t], w, f"{p}mlp.experts.{e}.")
        used, total = used + len(seen), total + c["n_routed_experts"]
        x = x + y
    head = w.get("lm_head.weight", w["model.embed_tokens.weight"]) if not c["tie_word_embeddings"] else w["model.embed_tokens.weight"]
    z = rms_norm(x, w["model.norm.weight"], c["rms_norm_eps"]) @ head.T
    z -= z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True)), smallest, used / total if total else 1.0
