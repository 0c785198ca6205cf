// Any text through the byte-level vocabularies with published patterns.
#include "runtime/text/tokenizer.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/runtime/text/tiny_vocab.hpp"

namespace dodeca::tests {
namespace {

std::vector<runtime::Tokenizer> byte_tokenizers() {
  TinyVocab vocab;
  vocab.with_bytes();
  vocab.add("ab");
  vocab.add("<|im_end|>", 3);
  vocab.merges = {"a b"};
  std::vector<runtime::Tokenizer> tokenizers;
  for (const char* pre : {"default", "deepseek-llm", "deepseek-v3", "llama-bpe", "gpt-4o", "kimi-k2", "qwen2"}) {
    vocab.pre = pre;
    tokenizers.push_back(runtime::Tokenizer::from_gguf(vocab.metadata()));
  }
  return tokenizers;
}

}  // namespace

void fuzz_text(std::string_view bytes) {
  static const std::vector<runtime::Tokenizer> tokenizers = byte_tokenizers();
  for (const runtime::Tokenizer& tokenizer : tokenizers) {
    const auto ids = tokenizer.encode(bytes);
    require(tokenizer.decode(ids, true) == bytes, "another text comes back");
  }
  runtime::Utf8Stream stream;
  const std::string text = stream.take(bytes) + stream.flush();
  require(text.size() <= 3 * bytes.size(), "repaired text");
}

std::vector<std::string> fuzz_text_seeds() {
  return {"Hello, it's 12345 o'clock.\n\n  \u00e9t\u00e9 \u4e2d\u6587\uff0c\u3042 \U0001F680<|im_end|>\r\n\t",
          "\xff\xfe\xe4\xb8 a\u0301\u0300 abababab 1e10 ____ ''''", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
}

}  // namespace dodeca::tests
