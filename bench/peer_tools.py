"""What the scripts that compare with llama.cpp share: running programs, reading their statistics, its quantizer's flags."""
import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DEMO = os.path.join(ROOT, "bench", "demo")

# The mixture ud-q2_k_xl in llama-quantize's words (regular expression, type), on top of its Q2_K.
UD_Q2_K_XL = [("ffn_(gate|up)_exps", "q2_k"), ("ffn_down_exps", "q3_k"), ("attn_q_a", "q4_k"), ("attn_q_b", "q4_k"),
              ("attn_output", "q4_k"), ("attn_kv_a_mqa", "q6_k"), ("attn_k_b", "q8_0"), ("attn_v_b", "q6_k"),
              ("ffn_(gate|up)_shexp", "q4_k"), ("ffn_down_shexp", "q6_k"), (r"ffn_(gate|up)\.weight", "q4_k"),
              (r"ffn_down\.weight", "q6_k")]


def ud_q2_k_xl_flags():
    rules = [word for pattern, dtype in UD_Q2_K_XL for word in ("--tensor-type", f"{pattern}={dtype}")]
    return [*rules, "--token-embedding-type", "q4_k", "--output-tensor-type", "q6_k"]


def run(*command):
    """Both streams as text; RuntimeError with their end when the program fails."""
    done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{text[-1500:]}")
    return text


def figure(pattern, text):
    """The number that follows; of a --kl-divergence run both programs print the same lines."""
    found = re.search(pattern + r"\s*:\s*(-?[\d.]+)", text)
    if not found:
        raise RuntimeError(f"no {pattern} in the output, which ends in: {text.strip()[-300:]!r}")
    return float(found[1])
