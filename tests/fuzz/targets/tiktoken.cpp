// tiktoken.model, tokenizer_config.json, config.json.
#include "runtime/text/tokenizer.hpp"
#include "tests/fuzz/target.hpp"

namespace dodeca::tests {

void fuzz_tiktoken(std::string_view bytes) {
  static constexpr const char* kFiles[] = {"tiktoken.model", "tokenizer_config.json", "config.json"};
  const auto files = split_files(bytes, std::size(kFiles));
  for (std::size_t i = 0; i < std::size(kFiles); ++i) put_file(kFiles[i], i < files.size() ? files[i] : "{}");
  const auto tokenizer = runtime::Tokenizer::from_directory(scratch_folder());
  const auto ids = tokenizer.encode("abc a\xff[BOS]12");
  for (const runtime::TokenId id : ids) require(id >= 0 && id < tokenizer.vocab_size(), "token id");
  tokenizer.decode(ids, true);
  runtime::Metadata out;
  tokenizer.write_metadata(out, tokenizer.vocab_size());
}

std::vector<std::string> fuzz_tiktoken_seeds() {
  return {join_files({"YQ== 0\nYg== 1\nYWI= 2\nIA== 3\n/w== 4\n",
                      R"({"added_tokens_decoder":{"5":{"content":"[BOS]","special":true},"6":{"content":"[EOS]"}},)"
                      R"("bos_token":"[BOS]","eos_token":"[EOS]","add_bos_token":true})",
                      R"({"vocab_size":8,"text_config":{"vocab_size":9},"eos_token_id":6})"}),
          "YQ== 0\r\nYg== 1"};
}

}  // namespace dodeca::tests
