// A GGUF as a model and as a vocabulary: configuration, weights by name, tokenizer.
#include "runtime/base/log.hpp"
#include "runtime/load/gguf.hpp"
#include "runtime/model/weight_source.hpp"
#include "runtime/text/chat_template.hpp"
#include "runtime/text/tokenizer.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/support/memory_file.hpp"
#include "tests/support/tiny_gguf.hpp"

namespace dodeca::tests {
namespace {

void use_tokenizer(const runtime::Tokenizer& tokenizer) {
  const auto ids = tokenizer.encode("abc <s> \xff 12\n");
  for (const runtime::TokenId id : ids) require(id >= 0 && id < tokenizer.vocab_size(), "token id");
  tokenizer.decode(ids, true);
  tokenizer.bos_text();
  tokenizer.is_end_of_generation(static_cast<runtime::TokenId>(tokenizer.vocab_size() - 1));
  runtime::Metadata out;
  tokenizer.write_metadata(out, tokenizer.vocab_size());
}

// The configuration of a model with one dense layer; its weights come in tensors().
TinyGguf small_model() {
  TinyGguf gguf;
  gguf.str("general.architecture", "deepseek2").u32("deepseek2.block_count", 1).u32("deepseek2.context_length", 64);
  gguf.u32("deepseek2.embedding_length", 8).u32("deepseek2.feed_forward_length", 8);
  gguf.u32("deepseek2.attention.head_count", 1).u32("deepseek2.attention.head_count_kv", 1);
  gguf.f32("deepseek2.attention.layer_norm_rms_epsilon", 1e-6f).f32("deepseek2.rope.freq_base", 1e4f);
  gguf.u32("deepseek2.attention.kv_lora_rank", 8).u32("deepseek2.attention.key_length", 16);
  gguf.u32("deepseek2.attention.value_length", 8).u32("deepseek2.rope.dimension_count", 8);
  gguf.u32("deepseek2.attention.key_length_mla", 16).u32("deepseek2.attention.value_length_mla", 8);
  gguf.u32("deepseek2.leading_dense_block_count", 1).u32("deepseek2.vocab_size", 4);
  gguf.str("tokenizer.ggml.model", "gpt2").str("tokenizer.ggml.pre", "default");
  gguf.strings("tokenizer.ggml.tokens", {"a", "b", "ab", "<s>"}).i32s("tokenizer.ggml.token_type", {1, 1, 1, 3});
  gguf.strings("tokenizer.ggml.merges", {"a b"}).u32("tokenizer.ggml.bos_token_id", 3);
  gguf.boolean("tokenizer.ggml.add_bos_token", true).str("tokenizer.chat_template", "{{ messages[0].content }}");
  return gguf;
}

void add_halves(TinyGguf& gguf, const char* name, const std::vector<std::int64_t>& dims) {
  std::int64_t n = 1;
  for (const std::int64_t dim : dims) n *= dim;
  gguf.f32_tensor(name, dims, std::vector<float>(static_cast<std::size_t>(n), 0.5f));
}

void add_weights(TinyGguf& gguf) {
  const auto add = [&](const char* name, const std::vector<std::int64_t>& dims) { add_halves(gguf, name, dims); };
  add("token_embd.weight", {8, 4});
  add("output_norm.weight", {8});
  add("output.weight", {8, 4});
  add("blk.0.attn_norm.weight", {8});
  add("blk.0.attn_q.weight", {8, 16});
  add("blk.0.attn_kv_a_mqa.weight", {8, 16});
  add("blk.0.attn_kv_a_norm.weight", {8});
  add("blk.0.attn_k_b.weight", {8, 8, 1});
  add("blk.0.attn_v_b.weight", {8, 8, 1});
  add("blk.0.attn_output.weight", {8, 8});
  add("blk.0.ffn_norm.weight", {8});
  add("blk.0.ffn_gate.weight", {8, 8});
  add("blk.0.ffn_up.weight", {8, 8});
  add("blk.0.ffn_down.weight", {8, 8});
}

// A layer of gpt-oss, queries, keys and values in one tensor, with all biases.
TinyGguf small_grouped_model() {
  TinyGguf gguf;
  gguf.str("general.architecture", "gpt-oss").u32("gpt-oss.block_count", 1).u32("gpt-oss.context_length", 64);
  gguf.u32("gpt-oss.embedding_length", 8).u32("gpt-oss.feed_forward_length", 8);
  gguf.u32("gpt-oss.attention.head_count", 2).u32("gpt-oss.attention.head_count_kv", 1);
  gguf.u32("gpt-oss.attention.key_length", 4).u32("gpt-oss.attention.value_length", 4);
  gguf.u32("gpt-oss.attention.sliding_window", 4).f32("gpt-oss.attention.layer_norm_rms_epsilon", 1e-5f);
  gguf.raw_array("gpt-oss.attention.sliding_window_pattern", 7, 1, std::string_view("\1", 1));
  gguf.str("gpt-oss.rope.scaling.type", "yarn").f32("gpt-oss.rope.scaling.factor", 4.0f);
  gguf.u32("gpt-oss.expert_count", 2).u32("gpt-oss.expert_used_count", 1);
  gguf.str("tokenizer.ggml.model", "none");
  const auto add = [&](const char* name, const std::vector<std::int64_t>& dims) { add_halves(gguf, name, dims); };
  add("token_embd.weight", {8, 4});
  add("output_norm.weight", {8});
  add("rope_freqs.weight", {2});
  add("blk.0.attn_norm.weight", {8});
  add("blk.0.attn_qkv.weight", {8, 16});
  add("blk.0.attn_qkv.bias", {16});
  add("blk.0.attn_sinks.weight", {2});
  add("blk.0.attn_output.weight", {8, 8});
  add("blk.0.attn_output.bias", {8});
  add("blk.0.post_attention_norm.weight", {8});
  add("blk.0.ffn_gate_inp.weight", {8, 2});
  add("blk.0.ffn_gate_inp.bias", {2});
  for (const char* bias : {"blk.0.ffn_gate_exps.bias", "blk.0.ffn_up_exps.bias", "blk.0.ffn_down_exps.bias"})
    add(bias, {8, 2});
  for (const char* name : {"blk.0.ffn_gate.0.weight", "blk.0.ffn_gate.1.weight", "blk.0.ffn_up.0.weight",
                           "blk.0.ffn_up.1.weight", "blk.0.ffn_down.0.weight", "blk.0.ffn_down.1.weight"})
    add(name, {8, 8});
  return gguf;
}

}  // namespace

void fuzz_gguf_model(std::string_view bytes) {
  using namespace runtime;
  const MemoryFile memory(bytes);
  if (Tokenizer::available(memory.path())) use_tokenizer(Tokenizer::from_path(memory.path()));
  const auto source = open_weights(memory.path(), {}, [](Level, std::string_view) {});
  for (const WeightInfo& weight : source->weights()) {
    require(weight.n_in > 0 && weight.n_out > 0 && weight.n_slices > 0, "weight's shape");
    std::vector<float> row(static_cast<std::size_t>(weight.n_in));
    source->read_rows_f32(weight, weight.n_slices - 1, weight.n_out - 1, weight.n_out, row.data());
  }
}

std::vector<std::string> fuzz_gguf_model_seeds() {
  TinyGguf gguf = small_model();
  add_weights(gguf);
  return {gguf.bytes(), small_grouped_model().bytes()};
}

}  // namespace dodeca::tests
