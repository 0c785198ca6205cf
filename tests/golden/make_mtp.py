"""Write tests/golden/mtp.json: what the demo's layer of multi-token prediction predicts, computed in numpy float64.

usage: make_mtp.py MODEL_DIR OUT.json      (numpy 1.24 or newer; from the root: make_mtp.py bench/demo/model tests/golden/mtp.json)
The layers are those of tests/peer/hf_numpy.py, which transformers confirmed; the way into the extra layer is the
DeepSeek-V3 report's, section 2.2: from the hidden state of position p (behind the last norm) and the embedding of token
p + 1 (the first half of the projection's input), a layer, a norm, and the head's prediction of token p + 2."""
import json
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peer"))
from hf_numpy import attention, ffn, rms_norm, route  # noqa: E402

TEXTS = "tests/golden/golden.json"  # the ids


def e4m3(codes):
    codes = codes.astype(np.int64)
    sign, exponent, mantissa = np.where(codes & 128, -1.0, 1.0), codes >> 3 & 15, codes & 7
    return sign * np.where(exponent == 0, mantissa / 8 * 2.0**-6, (1 + mantissa / 8) * 2.0 ** (exponent - 7.0))


def read(directory):
    """All tensors of a checkpoint as float64, FP8 times the scales of its blocks of 128 x 128."""
    raw = {}
    for name in sorted(os.listdir(directory)):
        if not name.endswith(".safetensors"):
            continue
        data = open(os.path.join(directory, name), "rb").read()
        size = int.from_bytes(data[:8], "little")
        for key, info in json.loads(data[8 : 8 + size]).items():
            if key == "__metadata__":
                continue
            begin, end = info["data_offsets"]
            piece = data[8 + size + begin : 8 + size + end]
            if info["dtype"] == "F8_E4M3":
                values = e4m3(np.frombuffer(piece, np.uint8))
            elif info["dtype"] == "BF16":
                values = (np.frombuffer(piece, np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
            else:
                values = np.frombuffer(piece, np.float32).astype(np.float64)
            raw[key] = values.reshape(info["shape"])
    for key in [k for k in raw if k.endswith("_scale_inv")]:
        weight = raw[key.removesuffix("_scale_inv")]
        scale = raw.pop(key).repeat(128, 0)[: weight.shape[0]].repeat(128, 1)[:, : weight.shape[1]]
        weight *= scale
    return raw


def layer(x, w, c, i):
    p, eps = f"model.layers.{i}.", c["rms_norm_eps"]
    x = x + attention(rms_norm(x, w[p + "input_layernorm.weight"], eps), w, p + "self_attn.", c, None)
    h = rms_norm(x, w[p + "post_attention_layernorm.weight"], eps)
    if i < c["first_k_dense_replace"]:
        return x + ffn(h, w, p + "mlp.")
    y = ffn(h, w, p + "mlp.shared_experts.")
    logits, bias = h @ w[p + "mlp.gate.weight"].T, w[p + "mlp.gate.e_score_correction_bias"]
    for t in range(len(x)):
        chosen, weight, _ = route(logits[t], bias, c)
        for e, s in zip(chosen, weight):
            y[t] += s * ffn(h[t], w, f"{p}mlp.experts.{e}.")
    return x + y


def log_softmax(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def main():
    directory, out = sys.argv[1:3]
    w, c = read(directory), json.load(open(os.path.join(directory, "config.json")))
    n, eps, cases = c["num_hidden_layers"], c["rms_norm_eps"], []
    p = f"model.layers.{n}."
    for case in json.load(open(TEXTS))["cases"]:
        ids = np.array(case["ids"])
        embedded = w["model.embed_tokens.weight"][ids]
        x = embedded
        for i in range(n):
            x = layer(x, w, c, i)
        hidden = rms_norm(x, w["model.norm.weight"], eps)
        joined = np.concatenate([rms_norm(embedded[1:], w[p + "enorm.weight"], eps), rms_norm(hidden[:-1], w[p + "hnorm.weight"], eps)], -1)
        y = rms_norm(layer(joined @ w[p + "eh_proj.weight"].T, w, c, n), w[p + "shared_head.norm.weight"], eps)
        z = log_softmax(y @ w["lm_head.weight"].T)
        cases.append({"ids": ids.tolist(), "likeliest": z.argmax(-1).tolist(),
                      "logprobs": [round(float(z[i, ids[i + 2]]), 6) for i in range(len(ids) - 2)],
                      "likeliest_logprobs": [round(float(v), 6) for v in z.max(-1)]})
    json.dump({"source": "tests/golden/make_mtp.py: numpy float64, FP8 dequantized exactly", "cases": cases}, open(out, "w"))


if __name__ == "__main__":
    main()
