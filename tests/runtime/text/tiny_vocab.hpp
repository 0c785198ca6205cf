// Vocabularies of a few tokens, as GGUF metadata.
#pragma once

#include <string>
#include <vector>

#include "runtime/load/gguf.hpp"
#include "runtime/text/byte_map.hpp"
#include "runtime/text/tokenizer.hpp"

namespace dodeca::tests {

struct TinyVocab {
  std::string model = "gpt2", pre = "default";
  std::vector<std::string> tokens, merges;
  std::vector<std::int32_t> types;
  std::vector<float> scores;
  bool no_merges = false, add_space_prefix = true;

  runtime::TokenId add(std::string text, std::int32_t type = 1, float score = 0) {
    tokens.push_back(std::move(text));
    types.push_back(type);
    scores.push_back(score);
    return static_cast<runtime::TokenId>(tokens.size() - 1);
  }
  void with_bytes() {
    for (int byte = 0; byte < 256; ++byte) add(runtime::bytes_to_mapped(std::string(1, static_cast<char>(byte))));
  }
  runtime::TokenId byte(char c) const { return static_cast<unsigned char>(c); }  // after with_bytes() at the front

  runtime::Metadata metadata() const {
    using namespace runtime;
    Metadata m;
    m.set("tokenizer.ggml.model", model);
    if (model == "gpt2") m.set("tokenizer.ggml.pre", pre);
    m.set("tokenizer.ggml.tokens", MetaArray<std::string>{tokens});
    m.set("tokenizer.ggml.token_type", MetaArray<std::int32_t>{types});
    if (model == "llama") m.set("tokenizer.ggml.scores", MetaArray<float>{scores});
    if (model == "llama") m.set("tokenizer.ggml.add_space_prefix", add_space_prefix);
    if (model == "gpt2" && !no_merges) m.set("tokenizer.ggml.merges", MetaArray<std::string>{merges});
    m.set("tokenizer.ggml.add_bos_token", model == "llama");
    return m;
  }
};

}  // namespace dodeca::tests
