"""Make tests/golden/hf/expected.json: the numpy float64 judge, and how far transformers (float32) is from it.

usage: hf_golden.py [VARIANT ...]    needs torch and transformers; the stored file names the versions used."""
import copy
import json
import os
import sys
import tempfile

import numpy as np
import torch
import transformers

import gqa_numpy
import gqa_variants
import hf_numpy
import hf_variants

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "hf", "expected.json")
# Where transformers deliberately computes something else than the published models' own code.
DIFFERS = {
    "v2_norm_topk": "transformers' V2 router never normalizes",
    "v2_norm_topk_with_scale": "transformers' V2 router never normalizes; DeepSeek's own code then does not scale",
}


CLASSES = {"deepseek_v2": "DeepseekV2", "glm4_moe_lite": "Glm4MoeLite", "qwen3_moe": "Qwen3Moe", "glm4_moe": "Glm4Moe", "minimax_m2": "MiniMaxM2",
           "gpt_oss": "GptOss", "llama": "Llama", "mixtral": "Mixtral", "glm_moe_dsa": "GlmMoeDsa", "deepseek_v32": "DeepseekV32"}


def fused_experts(w, c, name):
    """transformers' gate_up_proj or down_proj of a layer's experts."""
    if name in w:  # gpt-oss has them so in its checkpoints
        return w[name]
    p, parts = name[: name.index("mlp.experts.")], ("gate_proj", "up_proj", "down_proj")
    block = "mlp."
    if c["model_type"] in grouped_types():
        block, parts = gqa_variants.sparse_block(c)
    n = c.get("n_routed_experts") or gqa_variants.n_experts(c)
    stacked = lambda part: np.stack([w[f"{p}{block}experts.{e}.{part}.weight"] for e in range(n)])
    return stacked(parts[2]) if name.endswith("down_proj") else np.concatenate([stacked(parts[0]), stacked(parts[1])], 1)


def grouped_types():
    return {c["model_type"] for c, _ in gqa_variants.VARIANTS.values()}


def with_transformers(c, w, ids):
    kind = CLASSES.get(c["model_type"], "DeepseekV3")
    fields = {k: copy.deepcopy(v) for k, v in c.items() if k not in ("quantization_config", "architectures", "model_type", "torch_dtype", "dtype")}
    fields = {k: v for k, v in fields.items() if v is not None or k in ("q_lora_rank", "rope_scaling", "sliding_window")}
    config = getattr(transformers, kind + "Config")(**fields)
    config._attn_implementation = "eager"
    model = getattr(transformers, kind + "ForCausalLM")(config).float().eval()
    state = {}
    for name, old in model.state_dict().items():
        if name.endswith(("mlp.experts.gate_up_proj", "mlp.experts.down_proj")):
            x = fused_experts(w, c, name)
        elif name == "lm_head.weight" and c["tie_word_embeddings"]:
            x = w["model.embed_tokens.weight"]
        elif ".indexer." in name and name not in w:  # chooses among fewer than it may: any weights do
            x = np.zeros(old.shape)
        else:
            block = gqa_variants.sparse_block(c)[0] if c["model_type"] in grouped_types() else "mlp."
            x = w[name] if name in w else w[name.replace("mlp.", block).replace("gate.e_score", "e_score" if block != "mlp." else "gate.e_score")]
        assert tuple(x.shape) == tuple(old.shape), (name, x.shape, old.shape)
        state[name] = torch.from_numpy(x.astype(np.float32))
    model.load_state_dict(state)
    with torch.no_grad():
        return model(torch.from_numpy(ids)[None]).logits[0].double().log_softmax(-1).numpy()


def main():
    names = sys.argv[1:] or list(hf_variants.VARIANTS)
    result = json.load(open(OUT)) if sys.argv[1:] and os.path.exists(OUT) else {"variants": {}}
    result["source"] = f"numpy float64 (hf_numpy.py); transformers {transformers.__version__}, torch {torch.__version__}, float32"
    for name in names:
        c, ids = hf_variants.VARIANTS[name][0], hf_variants.token_ids(name)
        with tempfile.TemporaryDirectory() as d:
            w, digest = hf_variants.write_checkpoint(name, d)
        judge = gqa_numpy if hf_variants.is_grouped(name) else hf_numpy
        lp, gap, used = judge.log_probs(w, c, ids)
        hf = with_transformers(c, w, ids)
        at = np.arange(len(ids) - 1)
        token = lp[at, ids[1:]]
        diff = float(np.abs(hf - lp).max())
        spread = float(lp.std(-1).mean())
        print(f"{name:28} |transformers - judge| max {diff:.2e} over all logits  routing gap {gap:.1e}  experts used {used:.2f}  "
              f"std {spread:.2f}  mean top p {np.exp(lp.max(-1)).mean():.3f}", flush=True)
        if name not in DIFFERS:
            assert diff < 2e-3, name
        assert gap > 3e-5, (name, "a routing decision too close for float32")
        entry = dict(sha256=digest, transformers_max_diff=float(f"{diff:.2g}"), routing_gap=float(f"{min(gap, 1e9):.2g}"),
                     token_logprobs=[round(float(x), 5) for x in token])
        row = c["kv_lora_rank"] + c["qk_rope_head_dim"] if judge is hf_numpy else gqa_variants.head_dim(c)
        kinds = ["f16", "bf16"] + ["q8_0"] * (row % 32 == 0)
        entry["cache"] = {k: [round(float(x), 4) for x in judge.log_probs(w, c, ids, k)[0][at, ids[1:]]] for k in kinds}
        if name in DIFFERS:
            entry["transformers_differs"] = DIFFERS[name]
        result["variants"][name] = entry
    result["variants"] = {k: result["variants"][k] for k in hf_variants.VARIANTS if k in result["variants"]}
    with open(OUT, "w") as f:
        text = json.dumps(result, indent=0, separators=(",", ":"))
        f.write(text.replace(",\n-", ",-").replace("[\n-", "[-").replace("\n]", "]") + "\n")


main()
