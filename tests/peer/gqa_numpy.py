"""Models with grouped queries in numpy float64, written from the published models' own rules; the judge as hf_numpy.py is one."""
import math

import numpy as np

import gqa_variants
from hf_numpy import cached, rms_norm, silu, top


def rope_settings(c):
    """(inverse frequencies [rotated dims / 2], factor on cos and sin)"""
    d = gqa_variants.head_dim(c)
    dim = c["rotary_dim"] if "rotary_dim" in c else int(d * c.get("partial_rotary_factor", 1.0))
    r, i = c.get("rope_scaling") or {}, np.arange(dim // 2)
    theta = c["rope_theta"] ** (-2.0 * i / dim)
    kind = r.get("rope_type", r.get("type", "default"))
    if kind == "linear":
        return theta / r["factor"], 1.0
    if kind == "llama3":
        turns = r["original_max_position_embeddings"] * theta / (2 * math.pi)
        kept = np.clip((turns - r["low_freq_factor"]) / (r["high_freq_factor"] - r["low_freq_factor"]), 0, 1)
        return theta * ((1 - kept) / r["factor"] + kept), 1.0
    if kind == "yarn":
        turns = lambda beta: dim * math.log(r["original_max_position_embeddings"] / (beta * 2 * math.pi)) / (2 * math.log(c["rope_theta"]))
        low, high = turns(r.get("beta_fast", 32)), turns(r.get("beta_slow", 1))
        if r.get("truncate", True):
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, dim - 1)
        ramp = np.clip((i - low) / max(0.001, high - low), 0, 1)
        return theta / r["factor"] * ramp + theta * (1 - ramp), 0.1 * math.log(r["factor"]) + 1
    return theta, 1.0


def rotate(x, theta, magnitude):
    """x [tokens, heads, dims]: pairs (i, i + rotated / 2) turned by position * theta_i; dims beyond stay."""
    half = len(theta)
    angle = np.arange(len(x))[:, None, None] * theta
    z = (x[..., :half] + 1j * x[..., half:2 * half]) * np.exp(1j * angle) * magnitude
    return np.concatenate([z.real, z.imag, x[..., 2 * half:]], -1)


def window_of(c, layer):
    if c["model_type"] == "gpt_oss" and c["layer_types"][layer] == "full_attention":
        return None
    return c.get("sliding_window") if c["model_type"] in ("gpt_oss", "mixtral") else None


def attention(x, w, p, c, layer, cache):
    n, heads, kv, d = len(x), c["num_attention_heads"], c["num_key_value_heads"], gqa_variants.head_dim(c)
    project = lambda name: x @ w[f"{p}{name}_proj.weight"].T + w.get(f"{p}{name}_proj.bias", 0.0)
    q, k, v = project("q"), project("k"), project("v").reshape(n, kv, d)
    if c["model_type"] == "minimax_m2" and p + "q_norm.weight" in w:
        q, k = (rms_norm(y, w[f"{p}{name}_norm.weight"], c["rms_norm_eps"]) for y, name in ((q, "q"), (k, "k")))
    q, k = q.reshape(n, heads, d), k.reshape(n, kv, d)
    if c["model_type"] != "minimax_m2" and p + "q_norm.weight" in w:
        q, k = (rms_norm(y, w[f"{p}{name}_norm.weight"], c["rms_norm_eps"]) for y, name in ((q, "q"), (k, "k")))
    theta, magnitude = rope_settings(c)
    q, k = rotate(q, theta, magnitude), rotate(k, theta, magnitude)
    k, v = cached(k.reshape(n, -1), cache).reshape(n, kv, d), cached(v.reshape(n, -1), cache).reshape(n, kv, d)
    group = heads // kv
    scores = np.einsum("thd,shd->hts", q, np.repeat(k, group, 1)) / math.sqrt(d)
    seen = np.tril(np.ones((n, n), bool))
    if window_of(c, layer):
        seen &= ~np.tril(np.ones((n, n), bool), -window_of(c, layer))
    scores = np.where(seen, scores, -np.inf)
    if p + "sinks" in w:
        scores = np.concatenate([scores, np.broadcast_to(w[p + "sinks"][:, None, None], (heads, n, 1))], -1)
    prob = np.exp(scores - scores.max(-1, keepdims=True))
    prob = (prob / prob.sum(-1, keepdims=True))[..., :n]
    return np.einsum("hts,shd->thd", prob, np.repeat(v, group, 1)).reshape(n, -1) @ w[p + "o_proj.weight"].T + w.get(p + "o_proj.bias", 0.0)


def route(logits, bias, c):
    """One token: experts, their weights, and the smallest relative gap of its decisions."""
    k, kind = c["num_experts_per_tok"], c["model_type"]
    if kind in ("glm4_moe", "minimax_m2"):
        score = 1 / (1 + np.exp(-logits))
    else:
        score = np.exp(logits - logits.max())
        score /= score.sum()
    choice, gap = score + bias, np.inf
    if c.get("n_group", 1) > 1:
        size = len(score) // c["n_group"]
        keep, gap = top(np.sort(choice.reshape(-1, size), -1)[:, -2:].sum(-1), c["topk_group"])
        choice = np.where(np.isin(np.arange(len(score)) // size, keep), choice, -np.inf)
    chosen, last = top(choice, k)
    weight = score[chosen]
    if c.get("norm_topk_prob", True):
        weight = weight / weight.sum()
    return chosen, weight * c.get("routed_scaling_factor", 1.0), min(gap, last)


def ffn(x, w, p, names=("gate_proj", "up_proj", "down_proj")):
    gate, up, down = (w[f"{p}{name}.weight"] for name in names)
    return (silu(x @ gate.T) * (x @ up.T)) @ down.T


def oss_expert(x, w, p, e):
    both = x @ w[p + "experts.gate_up_proj"][e] + w[p + "experts.gate_up_proj_bias"][e]
    gate, up = np.minimum(both[0::2], 7), np.clip(both[1::2], -7, 7)
    return (gate / (1 + np.exp(-1.702 * gate)) * (up + 1)) @ w[p + "experts.down_proj"][e] + w[p + "experts.down_proj_bias"][e]


def routed(h, w, p, c):
    """The experts' sums, the smallest routing gap, the experts used."""
    block, names = gqa_variants.sparse_block(c)
    p += block
    oss = c["model_type"] == "gpt_oss"
    logits = h @ w[p + ("router.weight" if oss else "gate.weight")].T + (w[p + "router.bias"] if oss else 0.0)
    bias = w.get(p + "gate.e_score_correction_bias", w.get(p + "e_score_correction_bias", np.zeros(logits.shape[1])))
    y = ffn(h, w, p + "shared_experts.") if c["model_type"] == "glm4_moe" else np.zeros_like(h)
    smallest, seen = np.inf, set()
    for t in range(len(h)):
        chosen, weight, gap = route(logits[t], bias, c)
        smallest = min(smallest, gap)
        seen.update(chosen.tolist())
        for e, s in zip(chosen, weight):
            y[t] += s * (oss_expert(h[t], w, p, e) if oss else ffn(h[t], w, f"{p}experts.{e}.", names))
    return y, smallest, len(seen)


def log_probs(w, c, ids, cache=None):
    """As hf_numpy.log_probs."""
    x = w["model.embed_tokens.weight"][ids]
    smallest, used, total = np.inf, 0, 0
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        x = x + attention(rms_norm(x, w[p + "input_layernorm.weight"], c["rms_norm_eps"]), w, p + "self_attn.", c, i, cache)
        h = rms_norm(x, w[p + "post_attention_layernorm.weight"], c["rms_norm_eps"])
        if not gqa_variants.has_experts(c, i):
            x = x + ffn(h, w, p + "mlp.")
            continue
        y, gap, n = routed(h, w, p, c)
        x, smallest, used, total = x + y, min(smallest, gap), used + n, total + gqa_variants.n_experts(c)
    head = w["model.embed_tokens.weight"] if c["tie_word_embeddings"] else w["lm_head.weight"]
    z = rms_norm(x, w["model.norm.weight"], c["rms_norm_eps"]) @ head.T
    z -= z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True)), smallest, used / total if total else 1.0
