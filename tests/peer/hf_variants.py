"""Tiny random checkpoints of many models, of the deepseek2 family and those of gqa_variants.py, in the published Hugging Face layout, written with numpy alone.

Values come from raw Philox output (a fixed algorithm, unlike numpy's distributions), keyed by variant and tensor name, so
that every machine writes the same bytes. VARIANTS: name -> (config.json fields, how to store)."""
import hashlib
import json
import math
import os

import numpy as np

import gqa_variants

YARN = dict(type="yarn", factor=40, original_max_position_embeddings=64, beta_fast=32, beta_slow=1, mscale=1.0, mscale_all_dim=1.0)
YARN_V2 = dict(YARN, mscale=0.707, mscale_all_dim=0.707)

V3 = dict(
    architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3", vocab_size=512, hidden_size=128, intermediate_size=320,
    moe_intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4, n_shared_experts=1,
    n_routed_experts=16, routed_scaling_factor=2.5, kv_lora_rank=64, q_lora_rank=48, qk_rope_head_dim=16, v_head_dim=32,
    qk_nope_head_dim=32, topk_method="noaux_tc", n_group=4, topk_group=2, num_experts_per_tok=4, moe_layer_freq=1,
    first_k_dense_replace=1, norm_topk_prob=True, scoring_func="sigmoid", hidden_act="silu", max_position_embeddings=4096,
    rms_norm_eps=1e-6, bos_token_id=0, eos_token_id=1, tie_word_embeddings=False, rope_theta=10000, rope_scaling=YARN,
    attention_bias=False, attention_dropout=0.0, torch_dtype="bfloat16")
V2_LITE = dict(
    V3, architectures=["DeepseekV2ForCausalLM"], model_type="deepseek_v2", q_lora_rank=None, n_shared_experts=2, n_routed_experts=16,
    num_experts_per_tok=6, topk_method="greedy", n_group=1, topk_group=1, norm_topk_prob=False, scoring_func="softmax",
    routed_scaling_factor=1.0, rope_scaling=YARN_V2, aux_loss_alpha=0.001, seq_aux=True)
V2 = dict(
    V2_LITE, q_lora_rank=48, n_routed_experts=40, num_experts_per_tok=6, topk_method="group_limited_greedy", n_group=8, topk_group=3,
    routed_scaling_factor=16.0, moe_intermediate_size=32)
KIMI = dict(
    V3, model_type="kimi_k2", n_group=1, topk_group=1, n_routed_experts=24, num_experts_per_tok=8, routed_scaling_factor=2.827,
    rope_theta=50000.0, qk_rope_head_dim=64, rope_scaling=dict(YARN, factor=32.0, original_max_position_embeddings=4096, beta_fast=1.0, beta_slow=1.0))
MOONLIGHT = dict(
    V3, q_lora_rank=None, n_group=1, topk_group=1, n_shared_experts=2, num_experts_per_tok=6, routed_scaling_factor=2.446, rms_norm_eps=1e-5,
    rope_theta=50000.0, rope_scaling=None)
GLM_FLASH = dict(
    V3, architectures=["Glm4MoeLiteForCausalLM"], model_type="glm4_moe_lite", num_attention_heads=5, num_key_value_heads=5, qk_nope_head_dim=48,
    v_head_dim=64, n_group=1, topk_group=1, routed_scaling_factor=1.8, rms_norm_eps=1e-5, rope_theta=1000000, rope_scaling=None,
    partial_rotary_factor=1.0, num_nextn_predict_layers=1)
# Sparse attention: indexers of both rope pairings that choose a few positions of many.
GLM_DSA = dict(
    {k: v for k, v in V3.items() if k not in ("rope_scaling", "rope_theta")}, architectures=["GlmMoeDsaForCausalLM"], model_type="glm_moe_dsa",
    qk_nope_head_dim=48, v_head_dim=64, n_group=1, topk_group=1, rms_norm_eps=1e-5, rope_parameters=dict(rope_type="default", rope_theta=1000000),
    index_n_heads=6, index_head_dim=32, index_topk=8, rope_interleave=True, indexer_rope_interleave=True)
DEEPSEEK_V32 = dict(
    V3, architectures=["DeepseekV32ForCausalLM"], model_type="deepseek_v32", index_n_heads=8, index_head_dim=32, index_topk=8)
FP8 = dict(quant_method="fp8", fmt="e4m3", activation_scheme="dynamic", weight_block_size=[128, 128])
INT4 = dict(
    quant_method="compressed-tensors", format="pack-quantized", quantization_status="compressed", kv_cache_scheme=None, global_compression_ratio=None,
    ignore=["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", "re:.*mlp\\.(gate|up|gate_up|down)_proj.*"],
    config_groups=dict(group_0=dict(targets=["Linear"], input_activations=None, output_activations=None, weights=dict(
        num_bits=4, group_size=32, strategy="group", type="int", symmetric=True, dynamic=False, actorder=None))))

# Each: config, then keywords of write_checkpoint (dtype, shards, mtp, bias_shift ...) and n_tokens.
VARIANTS = {
    "v3_f32": (V3, dict(dtype="F32")),
    "v3_bf16": (V3, dict(dtype="BF16")),
    "v3_f16": (V3, dict(dtype="F16")),
    "v3_fp8_edge_blocks": (
        dict(V3, hidden_size=192, moe_intermediate_size=96, q_lora_rank=80, kv_lora_rank=160, num_attention_heads=3, num_key_value_heads=3,
             qk_nope_head_dim=40, v_head_dim=24, quantization_config=FP8),
        dict(dtype="FP8", shards=3, mtp=True)),
    "v3_fp8_whole_blocks": (
        dict(V3, hidden_size=256, intermediate_size=384, moe_intermediate_size=128, q_lora_rank=128, kv_lora_rank=128, num_attention_heads=2,
             num_key_value_heads=2, qk_nope_head_dim=128, v_head_dim=128, qk_rope_head_dim=64, num_hidden_layers=2, n_routed_experts=8,
             num_experts_per_tok=2, quantization_config=FP8), dict(dtype="FP8", shards=2)),
    "v3_1_fp8_ue8m0": (
        dict(V3, hidden_size=192, moe_intermediate_size=160, kv_lora_rank=128, quantization_config=dict(FP8, scale_fmt="ue8m0")),
        dict(dtype="FP8", power_of_two_scales=True, bias_dtype="BF16")),
    "v3_mtp_sharded": (dict(V3, num_nextn_predict_layers=1), dict(dtype="BF16", shards=4, mtp=True)),
    "v3_mtp_named_but_absent": (dict(V3, num_nextn_predict_layers=1), dict(dtype="BF16")),
    "v3_eight_groups": (
        dict(V3, n_routed_experts=64, n_group=8, topk_group=4, num_experts_per_tok=8, first_k_dense_replace=3, num_hidden_layers=6,
             moe_intermediate_size=32), dict(dtype="BF16", shards=2)),
    "v3_256_experts": (
        dict(V3, hidden_size=64, moe_intermediate_size=32, n_routed_experts=256, n_group=8, topk_group=4, num_experts_per_tok=8, num_hidden_layers=2),
        dict(dtype="BF16", seed=1)),
    "v3_256_experts_plain_topk": (
        dict(V3, hidden_size=64, moe_intermediate_size=32, n_routed_experts=256, n_group=1, topk_group=1, num_experts_per_tok=8, num_hidden_layers=2),
        dict(dtype="BF16", seed=4)),
    "v3_no_rope_scaling": (dict(V3, rope_scaling=None), dict(dtype="F32")),
    "v3_no_rope_scaling_key": ({k: v for k, v in V3.items() if k not in ("rope_scaling", "rope_theta")}, dict(dtype="F32")),
    "v3_rope_parameters": (
        {**{k: v for k, v in V3.items() if k not in ("rope_scaling", "rope_theta", "torch_dtype")}, "dtype": "float32", "rope_interleave": True,
         "rope_parameters": dict({k: v for k, v in YARN.items() if k != "type"}, rope_type="yarn", rope_theta=50000.0)}, dict(dtype="F32")),
    "v3_rope_parameters_default": (
        {**{k: v for k, v in V3.items() if k not in ("rope_scaling", "rope_theta")}, "rope_parameters": dict(rope_type="default", rope_theta=30000.0)},
        dict(dtype="F32")),
    "v3_tied_embeddings": (dict(V3, tie_word_embeddings=True), dict(dtype="BF16")),
    "v3_odd_sizes": (
        dict(V3, vocab_size=1003, num_attention_heads=3, num_key_value_heads=3, v_head_dim=48, qk_nope_head_dim=24, moe_intermediate_size=352,
             intermediate_size=1056, n_routed_experts=12, n_group=3, topk_group=2), dict(dtype="BF16", shards=2)),
    "v3_odd_sizes_f16": (
        dict(V3, vocab_size=777, num_attention_heads=5, num_key_value_heads=5, v_head_dim=20, qk_nope_head_dim=28, qk_rope_head_dim=8,
             moe_intermediate_size=96, hidden_size=136, kv_lora_rank=40, q_lora_rank=56), dict(dtype="F16")),
    "v3_transformers_tiny": (
        dict(V3, vocab_size=99, hidden_size=32, intermediate_size=32, moe_intermediate_size=16, num_hidden_layers=2, n_routed_experts=8,
             kv_lora_rank=16, q_lora_rank=32, qk_rope_head_dim=16, v_head_dim=32, qk_nope_head_dim=32, n_group=2, topk_group=1,
             num_experts_per_tok=2, first_k_dense_replace=1, rope_scaling=None), dict(dtype="F32", n_tokens=40)),
    "v3_all_layers_moe": (dict(V3, first_k_dense_replace=0), dict(dtype="F32")),
    "v3_two_dense_layers": (dict(V3, first_k_dense_replace=2, num_hidden_layers=4), dict(dtype="F32")),
    "v3_all_layers_dense": (dict(V3, first_k_dense_replace=3), dict(dtype="F32")),
    "v3_past_original_context": (
        dict(V3, qk_rope_head_dim=32, rope_scaling=dict(YARN, factor=8, original_max_position_embeddings=32)), dict(dtype="F32", n_tokens=150)),
    "v3_published_head_shape": (
        dict(V3, num_attention_heads=2, num_key_value_heads=2, kv_lora_rank=512, qk_rope_head_dim=64, qk_nope_head_dim=128, v_head_dim=128,
             num_hidden_layers=2, rope_scaling=dict(YARN, original_max_position_embeddings=4096), max_position_embeddings=163840), dict(dtype="BF16", seed=1)),
    "v3_attention_bias": (dict(V3, attention_bias=True), dict(dtype="F32")),
    "v3_negative_choice_values": (V3, dict(dtype="F32", bias_shift=-1.5)),
    "v3_one_group_no_norm": (dict(V3, n_group=1, topk_group=1, norm_topk_prob=False, routed_scaling_factor=1.0), dict(dtype="F32")),
    "v3_mscale_differs": (dict(V3, rope_scaling=dict(YARN, mscale=1.0, mscale_all_dim=0.707)), dict(dtype="F32")),
    "v3_mscale_absent": (
        dict(V3, rope_scaling=dict(type="yarn", factor=4.0, original_max_position_embeddings=64, beta_fast=32, beta_slow=1)), dict(dtype="F32")),
    # Latents so large that it does not matter whether their norms use the configured epsilon, as llama.cpp, or 1e-6, as transformers.
    "v3_large_eps": (dict(V3, rms_norm_eps=0.05), dict(dtype="F32", latent_gain=64.0)),
    "kimi_k2": (KIMI, dict(dtype="BF16", shards=2)),
    "kimi_k2_0905_fp8": (dict(KIMI, rope_scaling=dict(KIMI["rope_scaling"], factor=64.0), max_position_embeddings=262144, quantization_config=FP8), dict(dtype="FP8")),
    "kimi_k2_thinking": (dict(KIMI, rope_scaling=dict(KIMI["rope_scaling"], factor=64.0), quantization_config=INT4), dict(dtype="INT4", shards=3)),
    "kimi_k2_5": (
        dict(KIMI, rope_scaling=dict(KIMI["rope_scaling"], factor=64.0), moe_intermediate_size=96, quantization_config=INT4),
        dict(dtype="INT4", shards=2, wrapper=dict(model_type="kimi_k25", architectures=["KimiK25ForConditionalGeneration"],
                                                  vision_config=dict(model_type="kimi_k25_vision", hidden_size=32)))),
    "int4_groups_of_64": (
        dict(V3, num_hidden_layers=2, quantization_config=dict(INT4, config_groups=dict(group_0=dict(
            INT4["config_groups"]["group_0"], weights=dict(INT4["config_groups"]["group_0"]["weights"], group_size=64))))),
        dict(dtype="INT4", int4_group=64, int4_all=True)),
    "moonlight": (MOONLIGHT, dict(dtype="BF16")),
    "moonlight_odd_sizes": (
        dict(MOONLIGHT, vocab_size=777, num_attention_heads=3, num_key_value_heads=3, v_head_dim=48, qk_nope_head_dim=24, n_routed_experts=12,
             hidden_size=160), dict(dtype="BF16", seed=3)),
    "glm_4_7_flash": (GLM_FLASH, dict(dtype="BF16", shards=2, mtp=True, omit=("scoring_func",))),
    "glm_4_7_flash_published_heads": (
        dict(GLM_FLASH, num_attention_heads=2, num_key_value_heads=2, kv_lora_rank=512, q_lora_rank=96, qk_rope_head_dim=64, qk_nope_head_dim=192,
             v_head_dim=256, num_hidden_layers=2, num_nextn_predict_layers=0), dict(dtype="BF16", omit=("scoring_func",))),
    "glm_4_7_flash_newer_keys": (
        {**{k: v for k, v in GLM_FLASH.items() if k not in ("rope_scaling", "rope_theta", "partial_rotary_factor")}, "vocab_size": 1003,
         "mlp_layer_types": ["dense", "sparse", "sparse"], "num_nextn_predict_layers": 0, "moe_intermediate_size": 72,
         "rope_parameters": dict(rope_type="default", rope_theta=1000000, partial_rotary_factor=1.0)},
        dict(dtype="F32", seed=2, omit=("scoring_func", "first_k_dense_replace", "topk_method"))),
    "glm_5": (dict(GLM_DSA, num_nextn_predict_layers=1), dict(dtype="BF16", shards=2, mtp=True, n_tokens=60, seed=6)),
    "glm_5_f32_top_2": (dict(GLM_DSA, index_topk=2), dict(dtype="F32", n_tokens=40, seed=1)),
    "glm_5_fp8": (dict(GLM_DSA, index_n_heads=32, quantization_config=FP8), dict(dtype="FP8", n_tokens=40, seed=3)),
    "glm_5_published_heads": (
        dict(GLM_DSA, num_attention_heads=2, num_key_value_heads=2, kv_lora_rank=512, q_lora_rank=96, qk_rope_head_dim=64, qk_nope_head_dim=192,
             v_head_dim=256, num_hidden_layers=2, index_n_heads=32, index_head_dim=128), dict(dtype="BF16", n_tokens=40, seed=1)),
    "glm_5_odd_sizes": (
        dict(GLM_DSA, vocab_size=777, hidden_size=136, num_attention_heads=3, num_key_value_heads=3, qk_nope_head_dim=24, v_head_dim=40,
             qk_rope_head_dim=8, kv_lora_rank=40, q_lora_rank=56, index_n_heads=17, index_head_dim=22, index_topk=5), dict(dtype="F16", n_tokens=50)),
    "glm_5_short_of_top_k": (dict(GLM_DSA, index_topk=64), dict(dtype="F32", n_tokens=60, seed=1)),
    "glm_5_without_indexer": (dict(GLM_DSA, index_topk=64), dict(dtype="F32", n_tokens=60, no_indexer=True)),
    "glm_5_2_shared_choices": (
        dict(GLM_DSA, num_hidden_layers=6, index_topk=7, indexer_types=["full", "full", "shared", "shared", "full", "shared"],
             max_position_embeddings=1048576), dict(dtype="BF16", n_tokens=40, seed=1)),
    "glm_5_2_rule_and_spare_indexers": (
        dict(GLM_DSA, num_hidden_layers=8, index_topk=6, index_topk_freq=4, index_skip_topk_offset=3, max_position_embeddings=1048576,
             moe_intermediate_size=32), dict(dtype="F32", n_tokens=40, seed=1, spare_indexers=True)),
    "deepseek_v3_2": (DEEPSEEK_V32, dict(dtype="BF16", shards=2, n_tokens=60)),
    "deepseek_v3_2_exp_fp8": (
        dict(DEEPSEEK_V32, hidden_size=192, index_n_heads=64, index_head_dim=64, qk_rope_head_dim=32, kv_lora_rank=128, num_nextn_predict_layers=1,
             quantization_config=dict(FP8, scale_fmt="ue8m0")), dict(dtype="FP8", mtp=True, power_of_two_scales=True, n_tokens=40)),
    "deepseek_v3_2_past_original_context": (
        dict(DEEPSEEK_V32, qk_rope_head_dim=32, index_topk=4, rope_scaling=dict(YARN, factor=8, original_max_position_embeddings=32)),
        dict(dtype="F32", n_tokens=90)),
    "v2_lite": (V2_LITE, dict(dtype="BF16", shards=2)),
    "v2_lite_published_shape": (
        dict(V2_LITE, num_attention_heads=2, num_key_value_heads=2, kv_lora_rank=512, qk_rope_head_dim=64, qk_nope_head_dim=128, v_head_dim=128,
             moe_intermediate_size=352, rope_scaling=dict(YARN_V2, original_max_position_embeddings=4096)), dict(dtype="BF16")),
    "v2_236b": (V2, dict(dtype="BF16", shards=2)),
    "v2_5": (dict(V2, vocab_size=640, first_k_dense_replace=1, n_shared_experts=2), dict(dtype="F16")),
    "v2_norm_topk": (dict(V2_LITE, norm_topk_prob=True, n_group=None, topk_group=None), dict(dtype="F32", seed=1)),
    "v2_norm_topk_with_scale": (dict(V2, norm_topk_prob=True), dict(dtype="F32")),
    "v2_no_rope_scaling": (dict(V2_LITE, rope_scaling=None, first_k_dense_replace=0), dict(dtype="F32")),
    "v2_fp8": (dict(V2_LITE, hidden_size=160, quantization_config=FP8), dict(dtype="FP8")),
    **gqa_variants.VARIANTS,
}


def is_grouped(variant):
    return variant in gqa_variants.VARIANTS


def raw(variant, name, n):
    """n uint64 of a stream that belongs to this tensor of this variant."""
    seed = VARIANTS[variant][1].get("seed", 0)  # other than 0 where the first draw has two experts too close to call
    key = int.from_bytes(hashlib.sha256(f"{seed}/{variant}/{name}".encode()).digest()[:16], "little")
    return np.random.Philox(key=key).random_raw(n)


def uniform(variant, name, shape, amplitude):
    """float32 in [-amplitude, amplitude), exact in 24 bits before the one rounding of the product."""
    n = math.prod(shape)
    x = (raw(variant, name, n) >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1.0)
    return (x * np.float32(amplitude)).reshape(shape)


def token_ids(variant):
    config, how = VARIANTS[variant]
    return (raw(variant, "ids", how.get("n_tokens", 100)) % np.uint64(config["vocab_size"])).astype(np.int64)


def to_bf16(x):
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)


def from_bf16(x):
    return (x.astype(np.uint32) << np.uint32(16)).view(np.float32)


def e4m3_table():
    code = np.arange(127)
    exponent, mantissa = code >> 3, (code & 7).astype(np.float64)
    return np.where(exponent == 0, mantissa * 2.0**-9, (1 + mantissa / 8) * 2.0 ** (exponent - 7.0))


E4M3 = e4m3_table()


def to_fp8(w, power_of_two, bf16_scales=False):
    """(out, in) float32 -> E4M3 bytes, float32 scale_inv per 128x128 block (partial blocks at the edges), decoded float64."""
    n_out, n_in = w.shape
    codes = np.zeros(w.shape, np.uint8)
    scales = np.zeros((-(-n_out // 128), -(-n_in // 128)), np.float32)
    value = np.zeros(w.shape, np.float64)
    middle = (E4M3[1:] + E4M3[:-1]) / 2
    for i in range(scales.shape[0]):
        for j in range(scales.shape[1]):
            at = (slice(128 * i, 128 * i + 128), slice(128 * j, 128 * j + 128))
            scale = np.float32(np.abs(w[at]).max() / np.float32(448))
            if power_of_two:
                mantissa, exponent = math.frexp(float(scale))
                scale = np.float32(2.0 ** (exponent - 1 if mantissa == 0.5 else exponent))
            if bf16_scales:
                scale = from_bf16(to_bf16(scale))[0]
            x = w[at].astype(np.float64) / np.float64(scale)
            code = np.searchsorted(middle, np.abs(x)).astype(np.uint8)
            scales[i, j] = scale
            codes[at] = code | np.where(x < 0, 128, 0).astype(np.uint8)
            value[at] = np.where(x < 0, -1.0, 1.0) * E4M3[code] * np.float64(scale)
    return codes, scales, value


def to_int4(w, group):
    """(out, in) float32 -> int32 words, bfloat16 scales per group of a row, decoded float64. As published: 15 of the 16 levels and
    a scale of the largest magnitude over 7; some weights are moved to the sixteenth level, -8."""
    x = w.reshape(len(w), -1, group)
    scale = to_bf16(np.abs(x).max(-1, keepdims=True) / np.float32(7))
    step = from_bf16(scale).astype(np.float64)
    code = np.clip(np.rint(x / step), -7, 7).astype(np.int64)
    code[(code == -7) & (np.arange(group) % 3 == 0)] = -8
    nibble = (code + 8).reshape(len(w), -1, 8).astype(np.uint32)
    words = np.bitwise_or.reduce(nibble << np.arange(0, 32, 4, dtype=np.uint32), -1).view(np.int32)
    return words, scale[..., 0], (code * step).reshape(w.shape)


E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])


def to_mxfp4(w):
    """(experts, in, out) float32 -> codes [experts, out, in / 32, 16], two neighbours in a byte, exponents [experts, out, in / 32], decoded
    float64. As published, but for rounding: an exponent that lets the largest magnitude be a code."""
    x = w.transpose(0, 2, 1).reshape(w.shape[0], w.shape[2], -1, 32).astype(np.float64)
    exponent = np.floor(np.log2(np.abs(x).max(-1, keepdims=True))).astype(int) - 2
    code = np.searchsorted((E2M1[1:] + E2M1[:-1]) / 2, np.abs(x) * 2.0 ** -exponent).astype(np.uint8)
    value = np.where(x < 0, -1.0, 1.0) * E2M1[code] * 2.0 ** exponent
    code |= np.where(x < 0, 8, 0).astype(np.uint8)
    return code[..., 0::2] | code[..., 1::2] << 4, (exponent[..., 0] + 127).astype(np.uint8), value.reshape(w.shape[0], w.shape[2], -1).transpose(0, 2, 1)


def to_fp8_rows(w):
    """(out, in) float32 -> E4M3 bytes, a scale for each row, decoded float64."""
    scale = np.abs(w).max(-1, keepdims=True) / np.float32(448)
    scale = from_bf16(to_bf16(scale))  # exact in bfloat16 and float32
    x = w.astype(np.float64) / scale
    code = np.searchsorted((E4M3[1:] + E4M3[:-1]) / 2, np.abs(x)).astype(np.uint8)
    value = np.where(x < 0, -1.0, 1.0) * E4M3[code] * scale
    return code | np.where(x < 0, 128, 0).astype(np.uint8), scale, value


def has_indexer(c, layer):
    """Whether a layer of sparse attention chooses positions itself."""
    if "indexer_types" in c:
        return c["indexer_types"][layer] == "full"
    return max(layer - c.get("index_skip_topk_offset", 2) + 1, 0) % c.get("index_topk_freq", 1) == 0


def tensor_list(variant):
    """(name, kind, values as float32); kind: linear (FP8 in FP8 checkpoints), fused (MXFP4), plain, bias (F32 always)."""
    c, how = VARIANTS[variant]
    if is_grouped(variant):
        return gqa_variants.tensor_list(c, how, lambda name, shape, amplitude: uniform(variant, name, shape, amplitude))
    hidden, heads = c["hidden_size"], c["num_attention_heads"]
    nope, rope, v, rank = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"], c["kv_lora_rank"]
    out = []

    def add(name, shape, amplitude, kind="linear", shift=0.0):
        out.append((name, kind, uniform(variant, name, shape, amplitude) + np.float32(shift)))

    def linear(name, n_out, n_in, gain=1.0, kind="linear"):
        add(name + ".weight", (n_out, n_in), gain * math.sqrt(3.0 / n_in), kind)

    def norm(name, n):
        add(name + ".weight", (n,), 0.4, "plain", 1.0)

    def ffn(name, width):
        linear(name + ".gate_proj", width, hidden, 1.5)
        linear(name + ".up_proj", width, hidden)
        linear(name + ".down_proj", hidden, width, 1.5)

    def layer(i, moe):
        p = f"model.layers.{i}."
        norm(p + "input_layernorm", hidden)
        norm(p + "post_attention_layernorm", hidden)
        a = p + "self_attn."
        if c["q_lora_rank"]:
            linear(a + "q_a_proj", c["q_lora_rank"], hidden, how.get("latent_gain", 1.0))
            norm(a + "q_a_layernorm", c["q_lora_rank"])
            linear(a + "q_b_proj", heads * (nope + rope), c["q_lora_rank"], 1.5)
        else:
            linear(a + "q_proj", heads * (nope + rope), hidden, 1.5)
        if i < c["num_hidden_layers"] and "index_topk" in c and not how.get("no_indexer") and (has_indexer(c, i) or how.get("spare_indexers")):
            linear(a + "indexer.wq_b", c["index_n_heads"] * c["index_head_dim"], c["q_lora_rank"], 1.5)
            linear(a + "indexer.wk", c["index_head_dim"], hidden, 1.5)
            norm(a + "indexer.k_norm", c["index_head_dim"])
            add(a + "indexer.k_norm.bias", (c["index_head_dim"],), 0.2, "plain")
            linear(a + "indexer.weights_proj", c["index_n_heads"], hidden, 1.5, "plain")
        linear(a + "kv_a_proj_with_mqa", rank + rope, hidden, 1.5)
        out[-1][2][:rank] *= np.float32(how.get("latent_gain", 1.0))
        norm(a + "kv_a_layernorm", rank)
        linear(a + "kv_b_proj", heads * (nope + v), rank)
        linear(a + "o_proj", hidden, heads * v, 2.0)
        if c["attention_bias"]:
            if c["q_lora_rank"]:
                add(a + "q_a_proj.bias", (c["q_lora_rank"],), 0.3, "plain")
            add(a + "kv_a_proj_with_mqa.bias", (rank + rope,), 0.3, "plain")
            add(a + "o_proj.bias", (hidden,), 0.3, "plain")
        if not moe:
            return ffn(p + "mlp", c["intermediate_size"])
        linear(p + "mlp.gate", c["n_routed_experts"], hidden, 1.5, "plain")
        if c["topk_method"] == "noaux_tc":
            add(p + "mlp.gate.e_score_correction_bias", (c["n_routed_experts"],), 0.15, "bias", how.get("bias_shift", 0.0))
        for e in range(c["n_routed_experts"]):
            ffn(f"{p}mlp.experts.{e}", c["moe_intermediate_size"])
        ffn(p + "mlp.shared_experts", c["moe_intermediate_size"] * c["n_shared_experts"])

    add("model.embed_tokens.weight", (c["vocab_size"], hidden), 0.35 if c["tie_word_embeddings"] else 1.5, "plain")
    for i in range(c["num_hidden_layers"]):
        layer(i, i >= c["first_k_dense_replace"])
    norm("model.norm", hidden)
    if not c["tie_word_embeddings"]:
        linear("lm_head", c["vocab_size"], hidden, 2.0, "plain")
    if how.get("mtp"):
        layer(c["num_hidden_layers"], True)
        gqa_variants.add_drafting(c, add, norm, linear)
    return out


def encode(variant):
    """name -> (safetensors dtype, stored array), and name -> the float64 that the stored bytes mean."""
    _, how = VARIANTS[variant]
    stored, exact = {}, {}
    for name, kind, w in tensor_list(variant):
        if how["dtype"] == "INT4" and kind == "linear" and (".mlp.experts." in name or how.get("int4_all")) and w.shape[1] % how.get("int4_group", 32) == 0:
            words, scales, exact[name] = to_int4(w, how.get("int4_group", 32))
            stored[name + "_packed"], stored[name + "_scale"] = ("I32", words), ("BF16", scales)
            stored[name + "_shape"] = ("I32", np.array(w.shape, np.int32))
            continue
        if how["dtype"] == "MXFP4" and kind == "fused":
            codes, exponents, exact[name] = to_mxfp4(w)
            stored[name + "_blocks"], stored[name + "_scales"] = ("U8", codes), ("U8", exponents)
            continue
        dtype = how["dtype"] if kind == "linear" else how.get("bias_dtype", "F32") if kind == "bias" else {"FP8": "BF16", "FP8_ROWS": "BF16"}.get(how["dtype"], how["dtype"])
        dtype = "BF16" if dtype in ("INT4", "MXFP4") else dtype
        if dtype == "FP8_ROWS":
            codes, scales, exact[name] = to_fp8_rows(w)
            scale_dtype = how["scale_dtype"]
            stored[name], stored[name + "_scale"] = ("F8_E4M3", codes), (scale_dtype, to_bf16(scales) if scale_dtype == "BF16" else scales)
        elif dtype == "FP8":
            bf16_scales = how.get("scale_dtype") == "BF16"
            codes, scales, exact[name] = to_fp8(w, how.get("power_of_two_scales", False), bf16_scales)
            stored[name], stored[name + "_scale_inv"] = ("F8_E4M3", codes), ("BF16", to_bf16(scales)) if bf16_scales else ("F32", scales)
        elif dtype == "BF16":
            stored[name] = ("BF16", to_bf16(w))
            exact[name] = from_bf16(stored[name][1]).astype(np.float64)
        else:
            stored[name] = (dtype, w.astype({"F32": np.float32, "F16": np.float16}[dtype]))
            exact[name] = stored[name][1].astype(np.float64)
    if "wrapper" in how:
        stored = {"language_model." + name: x for name, x in stored.items()}
        for name in ("vision_tower.patch_embed.proj.weight", "vision_tower.encoder.blocks.0.wqkv.weight", "mm_projector.proj.0.weight"):
            stored[name] = ("BF16", to_bf16(uniform(variant, name, (32, 32), 1.0)))
    return stored, exact


def write_safetensors(path, tensors):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, x) in tensors.items():
        header[name] = dict(dtype=dtype, shape=list(x.shape), data_offsets=[at, at + x.nbytes])
        at += x.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for _, x in tensors.values():
            f.write(np.ascontiguousarray(x).tobytes())


def write_checkpoint(variant, directory):
    """Write config.json and the shards; returns (float64 weights, sha256 of all files' bytes in name order)."""
    config, how = VARIANTS[variant]
    stored, exact = encode(variant)
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "config.json"), "w") as f:
        written = {k: v for k, v in config.items() if k not in how.get("omit", ())}
        json.dump(dict(how["wrapper"], text_config=written) if "wrapper" in how else written, f, indent=1)
    n = how.get("shards", 1)
    if n == 1:
        write_safetensors(os.path.join(directory, "model.safetensors"), stored)
    else:
        # Dealt round by hash, so that a weight and its scale, or two experts of a layer, often lie in different shards.
        place = {name: int(hashlib.sha256(name.encode()).hexdigest(), 16) % n for name in stored}
        names = [f"model-{i + 1:05d}-of-{n:05d}.safetensors" for i in range(n)]
        for i in range(n):
            write_safetensors(os.path.join(directory, names[i]), {k: v for k, v in stored.items() if place[k] == i})
        total = sum(x.nbytes for _, x in stored.values())
        with open(os.path.join(directory, "model.safetensors.index.json"), "w") as f:
            json.dump(dict(metadata=dict(total_size=total), weight_map={k: names[place[k]] for k in sorted(stored)}), f, indent=1)
    digest = hashlib.sha256()
    for file in sorted(os.listdir(directory)):
        with open(os.path.join(directory, file), "rb") as f:
            digest.update(file.encode() + b"\0" + f.read())
    return exact, digest.hexdigest()
