"""Tiny models with grouped queries in the published Hugging Face layouts: hf_variants.py writes them like its own.

VARIANTS: name -> (config.json fields, how to store). `tensor_list` names every tensor with its kind and values."""
import math

QWEN = dict(
    architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe", vocab_size=512, hidden_size=128, intermediate_size=320, moe_intermediate_size=64,
    num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2, head_dim=32, num_experts=16, num_experts_per_tok=4, norm_topk_prob=True,
    decoder_sparse_step=1, mlp_only_layers=[], attention_bias=False, hidden_act="silu", max_position_embeddings=4096, rms_norm_eps=1e-6,
    rope_theta=1000000.0, rope_scaling=None, use_sliding_window=False, sliding_window=None, tie_word_embeddings=False, torch_dtype="bfloat16")
GLM = dict(
    architectures=["Glm4MoeForCausalLM"], model_type="glm4_moe", vocab_size=512, hidden_size=128, intermediate_size=320, moe_intermediate_size=64,
    num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2, head_dim=32, n_routed_experts=16, num_experts_per_tok=4, n_shared_experts=1,
    n_group=1, topk_group=1, first_k_dense_replace=1, norm_topk_prob=True, routed_scaling_factor=2.5, attention_bias=True, use_qk_norm=True,
    partial_rotary_factor=0.5, hidden_act="silu", max_position_embeddings=4096, rms_norm_eps=1e-5, rope_theta=1000000, rope_scaling=None,
    tie_word_embeddings=False, torch_dtype="bfloat16")
MINIMAX = dict(
    architectures=["MiniMaxM2ForCausalLM"], model_type="minimax_m2", vocab_size=512, hidden_size=128, intermediate_size=64, num_hidden_layers=3,
    num_attention_heads=6, num_key_value_heads=2, head_dim=32, rotary_dim=16, num_local_experts=16, num_experts_per_tok=4, scoring_func="sigmoid",
    use_routing_bias=True, use_qk_norm=True, qk_norm_type="per_layer", hidden_act="silu", max_position_embeddings=4096, rms_norm_eps=1e-6,
    rope_theta=5000000, tie_word_embeddings=False, torch_dtype="bfloat16")
OSS_YARN = dict(rope_type="yarn", factor=32.0, original_max_position_embeddings=64, beta_fast=32.0, beta_slow=1.0, truncate=False)
OSS = dict(
    architectures=["GptOssForCausalLM"], model_type="gpt_oss", vocab_size=512, hidden_size=96, intermediate_size=96, num_hidden_layers=4,
    num_attention_heads=8, num_key_value_heads=2, head_dim=32, num_local_experts=8, num_experts_per_tok=4, attention_bias=True, sliding_window=16,
    layer_types=["sliding_attention", "full_attention"] * 2, swiglu_limit=7.0, hidden_act="silu", max_position_embeddings=2048, rms_norm_eps=1e-5,
    rope_theta=150000, rope_scaling=OSS_YARN, tie_word_embeddings=False, torch_dtype="bfloat16")
LLAMA = dict(
    architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=512, hidden_size=128, intermediate_size=320, num_hidden_layers=3,
    num_attention_heads=4, num_key_value_heads=2, attention_bias=False, mlp_bias=False, hidden_act="silu", max_position_embeddings=4096,
    rms_norm_eps=1e-5, rope_theta=500000.0, rope_scaling=None, tie_word_embeddings=False, torch_dtype="bfloat16")
LLAMA3_ROPE = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)
MIXTRAL = dict(
    architectures=["MixtralForCausalLM"], model_type="mixtral", vocab_size=512, hidden_size=128, intermediate_size=96, num_hidden_layers=3,
    num_attention_heads=4, num_key_value_heads=2, num_local_experts=8, num_experts_per_tok=2, hidden_act="silu", max_position_embeddings=4096,
    rms_norm_eps=1e-5, rope_theta=1000000.0, sliding_window=None, tie_word_embeddings=False, torch_dtype="bfloat16")
FP8 = dict(quant_method="fp8", fmt="e4m3", activation_scheme="dynamic", weight_block_size=[128, 128])
FP8_ROWS = dict(quant_method="compressed-tensors", format="float-quantized", quantization_status="compressed", ignore=["lm_head"], config_groups=dict(
    group_0=dict(targets=["Linear"], input_activations=dict(num_bits=8, type="float", strategy="token", dynamic=True, symmetric=True),
                 weights=dict(num_bits=8, type="float", strategy="channel", dynamic=False, symmetric=True))))

VARIANTS = {
    "qwen3_moe": (QWEN, dict(dtype="BF16", shards=2)),
    "qwen3_moe_f32": (QWEN, dict(dtype="F32", seed=1)),
    "qwen3_moe_odd_sizes": (
        dict(QWEN, vocab_size=777, hidden_size=136, num_attention_heads=9, num_key_value_heads=3, head_dim=24, moe_intermediate_size=72, num_experts=12),
        dict(dtype="F32")),
    "qwen3_moe_one_head_each": (dict(QWEN, num_attention_heads=3, num_key_value_heads=3, head_dim=64), dict(dtype="F16")),
    "qwen3_moe_fp8": (
        dict(QWEN, hidden_size=192, moe_intermediate_size=160, quantization_config=FP8), dict(dtype="FP8", shards=2, scale_dtype="BF16", seed=1)),
    "qwen3_moe_yarn": (
        dict(QWEN, rope_theta=10000.0, rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=1024)), dict(dtype="F32")),
    "qwen3_moe_dense_layers": (dict(QWEN, num_hidden_layers=4, mlp_only_layers=[1]), dict(dtype="F32")),
    "qwen3_moe_no_norm": (dict(QWEN, norm_topk_prob=False), dict(dtype="F32", seed=1)),
    "qwen3_moe_tied": (dict(QWEN, tie_word_embeddings=True), dict(dtype="BF16")),
    "qwen3_moe_128_experts": (
        dict(QWEN, hidden_size=64, moe_intermediate_size=32, num_experts=128, num_experts_per_tok=8, num_hidden_layers=2), dict(dtype="BF16")),
    "llama": (LLAMA, dict(dtype="BF16", shards=2)),
    "llama_3_1": (dict(LLAMA, rope_scaling=LLAMA3_ROPE), dict(dtype="F32")),
    "llama_linear": (dict(LLAMA, rope_scaling=dict(type="linear", factor=2.0)), dict(dtype="F32")),
    "llama_tied_bias": (dict(LLAMA, tie_word_embeddings=True, attention_bias=True), dict(dtype="F32")),
    "llama_head_dim": (dict(LLAMA, head_dim=48, num_attention_heads=6, num_key_value_heads=2, hidden_size=144), dict(dtype="F16")),
    "llama_fp8_rows": (dict(LLAMA, rope_scaling=LLAMA3_ROPE, hidden_size=256, quantization_config=dict(
        quant_method="fbgemm_fp8", activation_scale_ub=1200.0, modules_to_not_convert=["lm_head"])), dict(dtype="FP8_ROWS", scale_dtype="F32")),
    "mixtral": (MIXTRAL, dict(dtype="BF16", shards=3)),
    "mixtral_f32": (MIXTRAL, dict(dtype="F32", seed=2)),
    "mixtral_window": (dict(MIXTRAL, sliding_window=24), dict(dtype="F32")),
    "glm4_moe": (GLM, dict(dtype="BF16", shards=2)),
    "glm4_moe_mtp": (dict(GLM, num_nextn_predict_layers=1), dict(dtype="BF16", mtp=True, seed=1)),
    "glm4_moe_air": (dict(GLM, use_qk_norm=False, routed_scaling_factor=1.0, num_nextn_predict_layers=1), dict(dtype="BF16")),
    "glm4_moe_groups": (dict(GLM, n_group=4, topk_group=2, n_shared_experts=2, first_k_dense_replace=2), dict(dtype="F32")),
    "glm4_moe_no_bias": (dict(GLM, attention_bias=False, first_k_dense_replace=0, moe_intermediate_size=72), dict(dtype="F32", seed=1)),
    "glm4_moe_fp8_rows": (
        dict(GLM, hidden_size=192, moe_intermediate_size=128, intermediate_size=256, quantization_config=FP8_ROWS), dict(dtype="FP8_ROWS", scale_dtype="BF16")),
    "minimax_m2": (MINIMAX, dict(dtype="BF16", shards=2)),
    "minimax_m2_f32": (dict(MINIMAX, num_attention_heads=4, num_key_value_heads=1, rotary_dim=24), dict(dtype="F32", seed=3)),
    "minimax_m2_fp8": (
        dict(MINIMAX, hidden_size=256, intermediate_size=128, quantization_config=dict(FP8, fmt="float8_e4m3fn")), dict(dtype="FP8", shards=2)),
    "gpt_oss": (dict(OSS, quantization_config=dict(quant_method="mxfp4")), dict(dtype="MXFP4", shards=2)),
    "gpt_oss_bf16": (OSS, dict(dtype="BF16", seed=1)),
    "gpt_oss_f32_odd": (
        dict(OSS, hidden_size=160, intermediate_size=72, num_attention_heads=6, num_key_value_heads=3, vocab_size=777, sliding_window=5,
             layer_types=["full_attention", "sliding_attention", "sliding_attention", "full_attention"]), dict(dtype="F32", seed=1)),
    "gpt_oss_width_2880": (
        dict(OSS, hidden_size=2880, intermediate_size=64, num_attention_heads=2, num_key_value_heads=1, head_dim=64, num_local_experts=4,
             num_experts_per_tok=2, num_hidden_layers=2, layer_types=["sliding_attention", "full_attention"], vocab_size=256,
             quantization_config=dict(quant_method="mxfp4")), dict(dtype="MXFP4", n_tokens=40)),
}


def n_experts(c):
    return c.get("n_routed_experts", c.get("num_experts", c.get("num_local_experts", 0)))


def expert_width(c):
    return c.get("moe_intermediate_size", c["intermediate_size"])


def head_dim(c):
    return c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]


def has_experts(c, layer):
    if c["model_type"] == "glm4_moe":
        return layer >= c["first_k_dense_replace"]
    return n_experts(c) > 0 and layer not in c.get("mlp_only_layers", ())


def sparse_block(c):
    """Prefix of a routed block, and the names of an expert's gate, up and down."""
    if c["model_type"] in ("mixtral", "minimax_m2"):
        return "block_sparse_moe.", ("w1", "w3", "w2")
    return "mlp.", ("gate_proj", "up_proj", "down_proj")


def add_drafting(c, add, norm, linear):
    """What a layer of multi-token prediction has beside a layer's own; also of hf_variants.py."""
    p, hidden = f"model.layers.{c['num_hidden_layers']}.", c["hidden_size"]
    for name in ("embed_tokens", "shared_head.head"):
        add(f"{p}{name}.weight", (c["vocab_size"], hidden), 0.3, "plain")
    for name in ("enorm", "hnorm", "shared_head.norm"):
        norm(p + name, hidden)
    linear(p + "eh_proj", hidden, 2 * hidden, 1.0, "plain")


def tensor_list(c, how, uniform):
    """(name, kind, values as float32); kind: linear (FP8 in FP8 checkpoints), fused (all experts: MXFP4), plain, bias (F32 always)."""
    hidden, heads, kv, d = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"], head_dim(c)
    oss, block, parts = c["model_type"] == "gpt_oss", *sparse_block(c)
    out = []

    def add(name, shape, amplitude, kind="plain", shift=0.0):
        out.append((name, kind, uniform(name, shape, amplitude) + shift))

    def linear(name, n_out, n_in, gain=1.0, kind="linear", bias=False):
        add(name + ".weight", (n_out, n_in), gain * math.sqrt(3.0 / n_in), kind)
        if bias:
            add(name + ".bias", (n_out,), 0.3)

    def norm(name, n):
        add(name + ".weight", (n,), 0.4, shift=1.0)

    def ffn(name, width, names=("gate_proj", "up_proj", "down_proj")):
        for part, shape, gain in zip(names, ((width, hidden), (width, hidden), (hidden, width)), (1.5, 1.0, 1.5)):
            linear(f"{name}.{part}", *shape, gain)

    def attention(a):
        bias = c.get("attention_bias", False)
        linear(a + "q_proj", heads * d, hidden, 1.5, bias=bias)
        linear(a + "k_proj", kv * d, hidden, 1.5, bias=bias)
        linear(a + "v_proj", kv * d, hidden, bias=bias)
        linear(a + "o_proj", hidden, heads * d, 2.0, bias=bias and c["model_type"] != "glm4_moe")
        if c["model_type"] == "qwen3_moe" or c.get("use_qk_norm"):
            whole = c["model_type"] == "minimax_m2"
            norm(a + "q_norm", heads * d if whole else d)
            norm(a + "k_norm", kv * d if whole else d)
        if oss:
            add(a + "sinks", (heads,), 1.5)

    def layer(i, moe):
        p = f"model.layers.{i}."
        norm(p + "input_layernorm", hidden)
        norm(p + "post_attention_layernorm", hidden)
        attention(p + "self_attn.")
        if not moe:
            return ffn(p + "mlp", c["intermediate_size"])
        n, width = n_experts(c), expert_width(c)
        if oss:
            linear(p + "mlp.router", n, hidden, 1.5, "plain", bias=True)
            add(p + "mlp.experts.gate_up_proj", (n, hidden, 2 * width), 4.0 * math.sqrt(3.0 / hidden), "fused")
            add(p + "mlp.experts.gate_up_proj_bias", (n, 2 * width), 0.5)
            add(p + "mlp.experts.down_proj", (n, width, hidden), 1.0 * math.sqrt(3.0 / width), "fused")
            return add(p + "mlp.experts.down_proj_bias", (n, hidden), 0.3)
        linear(p + block + "gate", n, hidden, 1.5, "plain")
        if c["model_type"] == "glm4_moe":
            add(p + "mlp.gate.e_score_correction_bias", (n,), 0.15, "bias")
            ffn(p + "mlp.shared_experts", width * c["n_shared_experts"])
        if c["model_type"] == "minimax_m2":
            add(p + block + "e_score_correction_bias", (n,), 0.15, "bias")
        for e in range(n):
            ffn(f"{p}{block}experts.{e}", width, parts)

    add("model.embed_tokens.weight", (c["vocab_size"], hidden), 0.35 if c["tie_word_embeddings"] else 1.5)
    for i in range(c["num_hidden_layers"]):
        layer(i, has_experts(c, i))
    norm("model.norm", hidden)
    if not c["tie_word_embeddings"]:
        linear("lm_head", c["vocab_size"], hidden, 2.0, "plain")
    if how.get("mtp"):
        layer(c["num_hidden_layers"], True)
        add_drafting(c, add, norm, linear)
    return out
