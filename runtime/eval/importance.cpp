#include "runtime/eval/importance.hpp"

#include <fmt/core.h>

namespace dodeca::runtime {
namespace {

ImportanceMatrix::Entry entry_of(const InputSums::Input& input) {
  ImportanceMatrix::Entry entry{.n_in = input.n_in, .sums = {}, .counts = {}};
  entry.sums.assign(input.sums.begin(), input.sums.end());
  entry.counts.assign(input.counts.begin(), input.counts.end());
  return entry;
}

ImportanceMatrix::Entry entry_of_heads(const InputSums::Input& input) {
  ImportanceMatrix::Entry entry = entry_of(input);
  entry.n_in *= input.n_slices;
  entry.counts.resize(1);
  return entry;
}

}  // namespace

ImportanceMatrix importance_matrix(const ModelConfig& config, const InputSums& sums, bool output) {
  ImportanceMatrix matrix;
  for (std::size_t l = 0; l < sums.layers.size(); ++l) {
    const InputSums::Layer& layer = sums.layers[l];
    const auto put = [&](std::string_view name, ImportanceMatrix::Entry entry) {
      if (entry.n_slices() > 0) matrix.entries[fmt::format("blk.{}.{}.weight", l, name)] = std::move(entry);
    };
    const bool moe = config.layers[l].ffn == FfnKind::kMoe;
    if (config.layers[l].attention == AttentionKind::kMla) {
      put(layer.q_b.n_slices > 0 ? "attn_q_a" : "attn_q", entry_of(layer.attention));
      put("attn_kv_a_mqa", entry_of(layer.attention));
      put("attn_q_b", entry_of(layer.q_b));
      put("attn_k_b", entry_of_heads(layer.k_b));
      put("attn_v_b", entry_of_heads(layer.v_b));
    } else {
      for (const char* name : {"attn_q", "attn_k", "attn_v"}) put(name, entry_of(layer.attention));
    }
    put("attn_output", entry_of(layer.output));
    if (moe) {
      put("ffn_gate_inp", entry_of(layer.feed_forward));
      put("ffn_gate_exps", entry_of(layer.experts));
      put("ffn_up_exps", entry_of(layer.experts));
      put("ffn_down_exps", entry_of(layer.experts_down));
    }
    if (layer.dense_down.n_slices > 0) {
      put(moe ? "ffn_gate_shexp" : "ffn_gate", entry_of(layer.feed_forward));
      put(moe ? "ffn_up_shexp" : "ffn_up", entry_of(layer.feed_forward));
      put(moe ? "ffn_down_shexp" : "ffn_down", entry_of(layer.dense_down));
    }
  }
  if (output) matrix.entries["output.weight"] = entry_of(sums.head);
  return matrix;
}

}  // namespace dodeca::runtime
