// A small GGUF model whose keys and tensors a test changes before it is written: every weight is 1, the model is a dense
// layer and two with experts, sigmoid routing with a selection bias.
//   ModelFile file;
//   file.keys.erase("deepseek2.expert_gating_func");
//   file.rename("blk.1.exp_probs_b.bias", "blk.1.exp_probs_b");
//   file.write(dir / "m.gguf");
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "runtime/load/gguf.hpp"
#include "runtime/model/wanted.hpp"
#include "tests/support/small_config.hpp"

namespace dodeca::tests {

struct ModelFile {
  runtime::Metadata keys;
  std::vector<runtime::GgufWriter::TensorSpec> tensors;
  runtime::ModelConfig config = small_mla_config(1, 2);

  ModelFile() {
    const runtime::ModelConfig& c = config;
    const auto key = [&](const char* name, std::int64_t value) {
      keys.set(std::string("deepseek2.") + name, static_cast<std::uint32_t>(value));
    };
    config.n_shared_experts = 2;
    keys.set("general.architecture", std::string("deepseek2"));
    key("block_count", c.n_layers);
    key("context_length", c.context_length);
    key("embedding_length", c.hidden_size);
    key("feed_forward_length", c.intermediate_size);
    key("leading_dense_block_count", 1);
    key("attention.head_count", c.n_heads);
    key("attention.q_lora_rank", c.q_lora_rank);
    key("attention.kv_lora_rank", c.kv_lora_rank);
    key("attention.key_length", c.kv_lora_rank + c.qk_rope_head_dim);
    key("attention.value_length", c.kv_lora_rank);
    key("attention.key_length_mla", c.qk_nope_head_dim + c.qk_rope_head_dim);
    key("attention.value_length_mla", c.v_head_dim);
    key("rope.dimension_count", c.qk_rope_head_dim);
    key("vocab_size", c.vocab_size);
    key("expert_count", c.n_routed_experts);
    key("expert_used_count", c.n_experts_per_tok);
    key("expert_shared_count", c.n_shared_experts);
    key("expert_feed_forward_length", c.moe_intermediate_size);
    key("expert_gating_func", 2);
    key("expert_group_count", 1);
    keys.set("deepseek2.expert_weights_norm", true);
    keys.set("deepseek2.expert_weights_scale", 2.5f);
    keys.set("deepseek2.attention.layer_norm_rms_epsilon", 1e-6f);
    keys.set("deepseek2.rope.freq_base", 10000.0f);
    for (const runtime::WantedWeight& w : runtime::wanted_weights(c, false)) {
      if (w.optional && !w.name.ends_with("exp_probs_b.bias")) continue;
      add(w.name, w.vector          ? std::vector{w.n_in}
                  : w.n_slices == 1 ? std::vector{w.n_in, w.n_out}
                                    : std::vector{w.n_in, w.n_out, w.n_slices});
    }
  }

  void add(const std::string& name, std::vector<std::int64_t> dims) {
    tensors.push_back({name, quant::DType::kF32, std::move(dims)});
  }
  runtime::GgufWriter::TensorSpec& at(const std::string& name) {
    return *std::ranges::find(tensors, name, &runtime::GgufWriter::TensorSpec::name);
  }
  void rename(const std::string& from, const std::string& to) { at(from).name = to; }
  void drop(const std::string& name) {
    std::erase_if(tensors, [&](const auto& tensor) { return tensor.name == name; });
  }
  void write(const std::filesystem::path& path) const {
    runtime::GgufWriter writer(path, keys, tensors);
    for (const auto& tensor : tensors) {
      std::int64_t n = 1;
      for (const std::int64_t dim : tensor.dims) n *= dim;
      const std::vector<float> ones(static_cast<std::size_t>(n), 1.0f);
      writer.append(std::as_bytes(std::span(ones)));
    }
    writer.finish();
  }
};

}  // namespace dodeca::tests
