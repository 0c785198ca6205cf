// Random bytes through every kind of vocabulary, and hostile vocabularies: an error or a working tokenizer, never
// anything else.
#include <doctest/doctest.h>

#include <fstream>
#include <random>

#include "runtime/text/chat_template.hpp"
#include "runtime/text/tokenizer.hpp"
#include "tests/runtime/text/tiny_vocab.hpp"
#include "tests/support/temp_dir.hpp"

using namespace dodeca::runtime;
using namespace dodeca::tests;

namespace {

std::string random_text(std::mt19937& random, std::size_t max_units) {
  static const std::vector<std::string> kUnits = {" ",
                                                  "\n",
                                                  "a",
                                                  "b",
                                                  "ab",
                                                  "1",
                                                  "'s",
                                                  "é",
                                                  "中",
                                                  "🚀",
                                                  "<｜User｜>",
                                                  "<｜",
                                                  "\xff",
                                                  "\xe4",
                                                  "\x80",
                                                  "\xf0\x9f",
                                                  std::string(1, '\0')};
  std::string text;
  for (std::size_t n = random() % max_units; n > 0; --n) {
    const auto pick = random();
    text += pick % 4 == 0 ? std::string(1, static_cast<char>(pick >> 8)) : kUnits[(pick >> 8) % kUnits.size()];
  }
  return text;
}

void write(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

// Whatever comes of it, it is an Error or a tokenizer that survives use.
bool works(const Metadata& metadata) {
  try {
    const Tokenizer tokenizer = Tokenizer::from_gguf(metadata);
    const auto ids = tokenizer.encode("abc <s> \xff 123\n");
    for (const TokenId id : ids) REQUIRE((id >= 0 && id < tokenizer.vocab_size()));
    tokenizer.decode(ids, true);
    Metadata out;
    tokenizer.write_metadata(out, tokenizer.vocab_size());
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

TEST_CASE("any bytes survive the way to ids and back") {
  const Tokenizer demo = Tokenizer::from_directory(DODECA_SOURCE_DIR "/bench/demo/model");
  TinyVocab bytes_only;
  bytes_only.with_bytes();
  std::vector<Tokenizer> tokenizers;
  for (const char* pre :
       {"default", "gpt-2", "deepseek-llm", "deepseek-coder", "llama-bpe", "gpt-4o", "kimi-k2", "qwen2", "smollm"}) {
    bytes_only.pre = pre;
    tokenizers.push_back(Tokenizer::from_gguf(bytes_only.metadata()));
  }
  std::mt19937 random(3);
  for (int round = 0; round < 2000; ++round) {
    const std::string text = random_text(random, 60);
    const Tokenizer& one = tokenizers[random() % tokenizers.size()];
    CHECK(one.decode(one.encode(text)) == text);
    for (const bool parse : {false, true}) {
      const auto ids = demo.encode(text, {.add_special = false, .parse_special = parse});
      CHECK(demo.decode(ids, true) == text);
      Utf8Stream stream;
      std::string streamed;
      for (const TokenId id : ids) streamed += stream.take(demo.piece(id, true));
      streamed += stream.flush();
      Utf8Stream whole;
      const std::string at_once = whole.take(text);
      CHECK(streamed == at_once + whole.flush());
    }
  }
}

TEST_CASE("hostile GGUF vocabularies") {
  TinyVocab v;
  v.with_bytes();
  v.add("ab");
  v.merges = {"a b"};
  CHECK(works(v.metadata()));
  const auto with = [&](const char* key, MetaValue value) {
    Metadata m = v.metadata();
    m.set(key, std::move(value));
    return m;
  };
  const auto without = [&](const char* key) {
    Metadata m = v.metadata();
    m.erase(key);
    return m;
  };
  CHECK_FALSE(works(Metadata()));
  CHECK_FALSE(works(without("tokenizer.ggml.tokens")));
  CHECK_FALSE(works(without("tokenizer.ggml.merges")));
  CHECK(works(without("tokenizer.ggml.token_type")));
  CHECK(works(without("tokenizer.ggml.pre")));
  CHECK_FALSE(works(with("tokenizer.ggml.model", std::string("none"))));
  CHECK_FALSE(works(with("tokenizer.ggml.model", std::string("bert"))));
  CHECK_FALSE(works(with("tokenizer.ggml.model", std::uint32_t{7})));
  CHECK_FALSE(works(with("tokenizer.ggml.model", std::string("llama"))));  // no scores
  CHECK_FALSE(works(with("tokenizer.ggml.pre", std::string("no-such"))));
  CHECK_FALSE(works(with("tokenizer.ggml.tokens", MetaArray<std::string>{})));
  CHECK_FALSE(works(with("tokenizer.ggml.tokens", std::string("x"))));
  CHECK_FALSE(works(with("tokenizer.ggml.token_type", MetaArray<std::int32_t>{{1, 2}})));
  CHECK(works(with("tokenizer.ggml.token_type", MetaArray<std::int32_t>{std::vector<std::int32_t>(257, -77)})));
  CHECK(works(with("tokenizer.ggml.bos_token_id", std::uint32_t{4'000'000'000})));
  TinyVocab long_token = v;
  long_token.add(std::string(1025, 'a'), 3);
  CHECK_FALSE(works(long_token.metadata()));  // every byte of a text may begin one
  CHECK(works(with("tokenizer.ggml.eos_token_id", std::int32_t{-1})));
  CHECK_FALSE(works(with("tokenizer.ggml.bos_token_id", std::string("0"))));
  CHECK(works(with("tokenizer.ggml.add_bos_token", true)));  // without a BOS
  CHECK(works(with("tokenizer.ggml.tokens", MetaArray<std::string>{std::vector<std::string>(257, "")})));
  CHECK(works(with("tokenizer.ggml.tokens", MetaArray<std::string>{std::vector<std::string>(257, "\xff\xfe")})));
  CHECK(works(with("tokenizer.ggml.merges", MetaArray<std::string>{{"", " ", "  ", "ab", "a b c", "\xff b", " b"}})));
  std::vector<std::string> many;
  for (int i = 0; i < 1'000'000; ++i) many.push_back("a b" + std::to_string(i % 5000));
  CHECK(works(with("tokenizer.ggml.merges", MetaArray<std::string>{std::move(many)})));

  TinyVocab s;
  s.model = "llama";
  s.add("a", 1, std::numeric_limits<float>::quiet_NaN());
  s.add("aa", 1, std::numeric_limits<float>::infinity());
  s.add("<0xZZ>", 6);
  s.add("<0x", 6);
  CHECK(works(s.metadata()));
  Metadata few = s.metadata();
  few.set("tokenizer.ggml.scores", MetaArray<float>{{1.0f}});
  CHECK_FALSE(works(few));
}

TEST_CASE("hostile tokenizer.json files") {
  const TempDir dir;
  const auto attempt = [&](const std::string& json) {
    write(dir / "tokenizer.json", json);
    try {
      const Tokenizer tokenizer = Tokenizer::from_directory(dir.path());
      tokenizer.decode(tokenizer.encode("abc \xff<x>"));
      return true;
    } catch (const Error&) {
      return false;
    }
  };
  const std::string level = R"("pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true})";
  const auto model = [&](const std::string& vocab, const std::string& merges = "[]", const std::string& more = "") {
    return "{" + level + R"(, "model": {"type": "BPE", "vocab": )" + vocab + R"(, "merges": )" + merges + "}" + more +
           "}";
  };
  CHECK(attempt(model(R"({"a": 0, "b": 1, "ab": 2})", R"(["a b"])")));
  CHECK(attempt(model(R"({"a": 0, "b": 1, "ab": 2})", R"([["a", "b"]])")));
  CHECK(attempt(model(R"({"a": 0, "b": 5})")));  // gaps
  for (const char* vocab : {"{}", "[]", "null", R"({"a": -1})", R"({"a": 4000000000})", R"({"a": 900000})",
                            R"({"a": "0"})", R"({"a": 0.5})", R"({"a": 0, "b": 0})", R"({"a": null})"}) {
    CHECK_FALSE_MESSAGE(attempt(model(vocab)), vocab);
  }
  for (const char* merges : {"null", R"(["ab"])", R"([" b"])", R"(["a "])", "[1]", R"([["a"]])", R"([["a", 1]])",
                             R"([["a", "b", "c"]])", "{}"}) {
    CHECK_FALSE_MESSAGE(attempt(model(R"({"a": 0})", merges)), merges);
  }
  for (const char* added : {R"({})", R"([{"id": -1, "content": "x"}])", R"([{"id": 99999999, "content": "x"}])",
                            R"([{"content": "x"}])", R"([{"id": 0, "content": "x"}])", "[1]"}) {
    CHECK_FALSE_MESSAGE(attempt(model(R"({"a": 0})", "[]", std::string(R"(, "added_tokens": )") + added)), added);
  }
  for (const char* pre :
       {R"({"type": "Whitespace"})", R"({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"})",
        R"({"type": "Split"})", R"({})", R"([])",
        R"({"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Removed"})",
        R"({"type": "Sequence", "pretokenizers": [{"type": "Sequence"}]})"}) {
    CHECK_FALSE_MESSAGE(
        attempt(std::string(R"({"model": {"vocab": {"a": 0}, "merges": []}, "pre_tokenizer": )") + pre + "}"), pre);
  }
  CHECK_FALSE(attempt(R"({"model": {"type": "Unigram", "vocab": {"a": 0}}})"));
  for (const char* bad : {"", "{", "[]", "null", "1", "\"x\"", "{\"model\": 1}", "\xff"})
    CHECK_FALSE_MESSAGE(attempt(bad), bad);

  CHECK(attempt(model(R"({"a": 0})")));
  std::filesystem::resize_file(dir / "tokenizer.json", std::uintmax_t{230} << 20);
  CHECK_THROWS_WITH_AS(Tokenizer::from_directory(dir.path()), doctest::Contains("at most 67108864 are read"), Error);

  // Every truncation of a good file, and random damage to it.
  const std::string good = model(R"({"a": 0, "b": 1, "ab": 2, "<x>": 3})", R"(["a b"])",
                                 R"(, "added_tokens": [{"id": 3, "content": "<x>", "special": true, "lstrip": true}])");
  CHECK(attempt(good));
  for (std::size_t n = 0; n < good.size(); ++n) CHECK_FALSE(attempt(good.substr(0, n)));
  std::mt19937 random(9);
  for (int round = 0; round < 500; ++round) {
    std::string damaged = good;
    for (std::uint32_t n = 1 + random() % 3; n > 0; --n)
      damaged[random() % damaged.size()] = static_cast<char>(random() % 2 == 0 ? random() : "{}[],:\"0"[random() % 8]);
    attempt(damaged);
  }
}

TEST_CASE("damaged chat templates") {
  const std::string good =
      "{%- set ns = namespace(a=1) -%}{% for m in messages if m.role != 'x' %}{{ m['content'][1:] | trim ~ loop.index "
      "}}{% else %}{% endfor %}"
      "{% macro f(x, y=2) %}{{ x if y is defined else [1, {'k': -2}] }}{% endmacro %}{{ f(1) }}{# c #}";
  std::mt19937 random(5);
  const auto attempt = [](const std::string& source) {
    try {
      ChatTemplate::from_source(source, "<s>", "</s>").render(std::vector<ChatMessage>{{"user", "hello"}});
    } catch (const Error&) {
    }
  };
  for (std::size_t n = 0; n <= good.size(); ++n) attempt(good.substr(0, n));
  for (int round = 0; round < 3000; ++round) {
    std::string damaged = good;
    for (std::uint32_t n = 1 + random() % 4; n > 0; --n) {
      const std::size_t at = random() % damaged.size();
      switch (random() % 3) {
        case 0:
          damaged[at] = "{}%|()[]'\"-+.,:=# \n"[random() % 19];
          break;
        case 1:
          damaged.erase(at, 1 + random() % 5);
          break;
        default:
          damaged.insert(at, damaged.substr(random() % damaged.size(), random() % 12));
      }
      if (damaged.empty()) damaged = " ";
    }
    attempt(damaged);
  }
}
