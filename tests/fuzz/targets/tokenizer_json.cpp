// tokenizer.json and the small files beside it.
#include <nlohmann/json.hpp>

#include "runtime/text/pretokenizer.hpp"
#include "runtime/text/tokenizer.hpp"
#include "tests/fuzz/target.hpp"

namespace dodeca::tests {

void fuzz_tokenizer_json(std::string_view bytes) {
  static constexpr const char* kFiles[] = {"tokenizer.json", "tokenizer_config.json", "generation_config.json"};
  const auto files = split_files(bytes, std::size(kFiles));
  for (std::size_t i = 0; i < std::size(kFiles); ++i) put_file(kFiles[i], i < files.size() ? files[i] : "{}");
  const auto tokenizer = runtime::Tokenizer::from_directory(scratch_folder());
  const auto ids = tokenizer.encode("abc \xff<x>  12 \n\u00e9");
  for (const runtime::TokenId id : ids) require(id >= 0 && id < tokenizer.vocab_size(), "token id");
  tokenizer.decode(ids, true);
  tokenizer.eos_text();
  runtime::Metadata out;
  tokenizer.write_metadata(out, tokenizer.vocab_size());
}

std::vector<std::string> fuzz_tokenizer_json_seeds() {
  const std::string model =
      R"("model":{"type":"BPE","ignore_merges":false,"vocab":{"a":0,"b":1,"ab":2,"<x>":3,"Ġ":4,"c":5},)"
      R"("merges":["a b",["ab","c"]]})";
  const std::string added =
      R"("added_tokens":[{"id":3,"content":"<x>","single_word":true,"lstrip":true,"rstrip":true,"special":true}],)";
  return {
      join_files(
          {"{" + added +
               R"("pre_tokenizer":{"type":"ByteLevel","add_prefix_space":true,"use_regex":true},"post_processor":)"
               R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<x>","type_id":0}},)"
               R"({"Sequence":{"id":"A","type_id":0}}]},)" +
               model + "}",
           R"({"add_bos_token":true,"bos_token":{"content":"<x>"},"eos_token":"<x>",)"
           R"("tokenizer_class":"LlamaTokenizerFast","chat_template":[{"name":"default","template":"{{ 1 }}"}]})",
           R"({"eos_token_id":[3,2],"bos_token_id":3})"}),
      R"({"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":)" +
          runtime::Json(runtime::find_pre("llama-bpe")->patterns[0]).dump() +
          R"(},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]},)" +
          model + "}",
      R"({"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace",)"
      R"("pattern":{"String":" "},"content":"▁"}]},"pre_tokenizer":null,"model":{"type":"BPE","vocab":{"▁":0,)"
      R"("a":1,"▁a":2,"<0x0A>":3},"merges":["▁ a"]}})"};
}

}  // namespace dodeca::tests
