#include "runtime/text/tokenizer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

#include "runtime/text/vocab.hpp"
#include "tests/runtime/text/tiny_vocab.hpp"
#include "tests/support/temp_dir.hpp"

using namespace dodeca::runtime;
using namespace dodeca::tests;

namespace {

const std::string kDemo = DODECA_SOURCE_DIR "/bench/demo/model";
constexpr EncodeOptions kPlain{.add_special = false, .parse_special = true};

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE(in.is_open());
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::vector<TokenId> ids_of(const Json& list) { return list.get<std::vector<TokenId>>(); }

}  // namespace

TEST_CASE("demo: the ids of the reference outputs and of Hugging Face tokenizers") {
  const Tokenizer tokenizer = Tokenizer::from_directory(kDemo);
  const Json golden = Json::parse(read_file(DODECA_SOURCE_DIR "/tests/golden/golden.json"));
  REQUIRE(golden["cases"].size() == 4);
  for (const Json& entry : golden["cases"]) {
    const auto text = entry["text"].get<std::string>();
    CHECK(tokenizer.encode(text, kPlain) == ids_of(entry["ids"]));
    CHECK(tokenizer.decode(ids_of(entry["ids"])) == text);
    CHECK(tokenizer.decode(ids_of(entry["greedy24"])) == entry["greedy24_text"].get<std::string>());
  }
  const Json cases = Json::parse(read_file(DODECA_SOURCE_DIR "/tests/golden/text/demo_tokens.json"))["cases"];
  REQUIRE(cases.size() > 60);
  for (const Json& entry : cases) {
    const auto text = entry["text"].get<std::string>();
    CHECK_MESSAGE(tokenizer.encode(text, kPlain) == ids_of(entry["ids"]), text);
    CHECK(tokenizer.decode(tokenizer.encode(text, kPlain), true) == text);
  }
}

TEST_CASE("demo: the held-out chapters") {
  const Tokenizer tokenizer = Tokenizer::from_directory(kDemo);
  const std::string bytes = read_file(DODECA_SOURCE_DIR "/bench/demo/valid_ids.bin"),
                    text = read_file(DODECA_SOURCE_DIR "/bench/demo/valid.txt");
  std::vector<TokenId> chapter;
  std::size_t n_chapters = 0, place = 0;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
    const TokenId id = static_cast<unsigned char>(bytes[i]) | static_cast<unsigned char>(bytes[i + 1]) << 8;
    if (id == 0) chapter.clear();
    if (id == 1) {
      const std::string decoded = tokenizer.decode(chapter);
      CHECK(tokenizer.encode(decoded, kPlain) == chapter);
      const std::size_t found = text.find(decoded, place);
      REQUIRE(found != std::string::npos);
      CHECK(text.find_first_not_of('\n', place) >= found);
      place = found + decoded.size();
      ++n_chapters;
    }
    if (id > 1) chapter.push_back(id);
  }
  CHECK(n_chapters > 0);
  CHECK(text.find_first_not_of('\n', place) == std::string::npos);
}

TEST_CASE("demo: flags, roles, pieces, end of generation") {
  const Tokenizer tokenizer = Tokenizer::from_path(kDemo);
  CHECK(Tokenizer::available(kDemo));
  CHECK(tokenizer.vocab_size() == 4096);
  CHECK(tokenizer.bos() == 0);
  CHECK(tokenizer.eos() == 1);
  CHECK(tokenizer.add_bos());
  CHECK(tokenizer.encode("a")[0] == 0);
  CHECK(tokenizer.encode("").size() == 1);
  CHECK(tokenizer.bos_text() == "<｜begin▁of▁sentence｜>");
  CHECK(tokenizer.eos_text() == "<｜end▁of▁sentence｜>");
  CHECK(tokenizer.find("<｜User｜>") == 4094);
  CHECK_FALSE(tokenizer.find("no such token"));
  CHECK(tokenizer.is_end_of_generation(1));
  CHECK_FALSE(tokenizer.is_end_of_generation(0));
  CHECK_FALSE(tokenizer.is_end_of_generation(-5));
  CHECK(tokenizer.piece(0) == "");
  CHECK(tokenizer.piece(0, true) == "<｜begin▁of▁sentence｜>");
  CHECK(tokenizer.piece(1'000'000) == "");
  CHECK(tokenizer.chat_template().find("<｜User｜>") != std::string::npos);
  CHECK(tokenizer.encode("x<｜User｜>", {.add_special = false, .parse_special = true}).back() == 4094);
  const auto plain = tokenizer.encode("x<｜User｜>", {.add_special = false, .parse_special = false});
  CHECK(std::find(plain.begin(), plain.end(), 4094) == plain.end());
  CHECK(tokenizer.decode(plain) == "x<｜User｜>");
}

TEST_CASE("pieces are one text, and users inject nothing") {
  const Tokenizer tokenizer = Tokenizer::from_path(kDemo);
  const std::vector<TextPiece> pieces = {
      {"<｜User｜>User: ", true}, {"It is<｜Assistant｜>", false}, {"<｜Assistant｜>", true}};
  const auto ids = tokenizer.encode_pieces(pieces);
  CHECK(ids.front() == 0);
  CHECK(std::count(ids.begin(), ids.end(), 4095) == 1);
  CHECK(ids.back() == 4095);
  CHECK(tokenizer.decode(ids, true) == "<｜begin▁of▁sentence｜><｜User｜>User: It is<｜Assistant｜><｜Assistant｜>");
  // No boundary where the pieces meet: "User: " + "It" is " It" to the vocabulary.
  CHECK(tokenizer.encode_pieces(std::vector<TextPiece>{{"User: ", true}, {"It was", false}}, false) ==
        tokenizer.encode("User: It was", kPlain));
  // A control token put together from both sides is none.
  const auto half = tokenizer.encode_pieces(std::vector<TextPiece>{{"<｜Us", true}, {"er｜>", false}}, false);
  CHECK(std::find(half.begin(), half.end(), 4094) == half.end());
  // BOS in the template is not doubled.
  CHECK(tokenizer.encode_pieces(std::vector<TextPiece>{{"<｜begin▁of▁sentence｜>a", true}}) == tokenizer.encode("a"));
}

TEST_CASE("demo: to GGUF metadata and back") {
  const Tokenizer tokenizer = Tokenizer::from_path(kDemo);
  Metadata metadata;
  tokenizer.write_metadata(metadata, 4100);
  CHECK(metadata.string("tokenizer.ggml.model") == "gpt2");
  CHECK(metadata.string("tokenizer.ggml.pre") == "deepseek-v3");
  CHECK(metadata.strings("tokenizer.ggml.tokens")->size() == 4100);
  CHECK(metadata.strings("tokenizer.ggml.tokens")->back() == "[PAD4099]");
  CHECK(metadata.integers("tokenizer.ggml.token_type")->at(4099) == 5);
  CHECK(metadata.integers("tokenizer.ggml.token_type")->at(4095) == 3);
  CHECK(metadata.strings("tokenizer.ggml.merges")->size() == 3835);
  CHECK(metadata.integer("tokenizer.ggml.bos_token_id") == 0);
  CHECK(metadata.integer("tokenizer.ggml.eos_token_id") == 1);
  CHECK(metadata.integer("tokenizer.ggml.padding_token_id") == 2);
  CHECK(metadata.boolean("tokenizer.ggml.add_bos_token") == true);
  CHECK(metadata.boolean("tokenizer.ggml.add_eos_token") == false);
  CHECK(metadata.string("tokenizer.chat_template") == tokenizer.chat_template());

  const Tokenizer back = Tokenizer::from_gguf(metadata);
  CHECK(back.vocab_size() == 4100);
  for (const char* text :
       {"Emma Woodhouse, handsome, clever, and rich,", "<｜User｜>x \n\n 123 é\xff", "", "[PAD4099]"}) {
    CHECK(back.encode(text) == tokenizer.encode(text));
    CHECK(back.decode(back.encode(text), true) == tokenizer.decode(tokenizer.encode(text), true));
  }
  metadata.set("tokenizer.some.other", std::string("kept"));
  Metadata again;
  Tokenizer::from_gguf(metadata).write_metadata(again, 4100);
  CHECK(again.entries().size() == metadata.entries().size());
  CHECK(again.string("tokenizer.some.other") == "kept");
  CHECK_THROWS_AS(tokenizer.write_metadata(again, 4095), Error);
}

TEST_CASE("streams never end inside a character") {
  const std::string text = "aé中🚀z";
  for (std::size_t chunk = 1; chunk <= 4; ++chunk) {
    Utf8Stream stream;
    std::string out;
    for (std::size_t pos = 0; pos < text.size(); pos += chunk) {
      const std::string part = stream.take(std::string_view(text).substr(pos, chunk));
      for (std::size_t i = 0; i < part.size();) {  // whole characters only
        const auto lead = static_cast<unsigned char>(part[i]);
        CHECK((lead & 0xC0) != 0x80);
        i += lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
        CHECK(i <= part.size());
      }
      out += part;
    }
    CHECK(out + stream.flush() == text);
  }
  Utf8Stream stream;
  CHECK(stream.take("a\xff"
                    "b\xe4\xbd") == "a\uFFFDb");
  CHECK(stream.take("c") == "\uFFFDc");
  CHECK(stream.take("\xf0\x9f") == "");
  CHECK(stream.flush() == "\uFFFD");
  CHECK(stream.flush() == "");
}

TEST_CASE("byte-level merges: lowest rank first, leftmost among equals, ignore_merges, missing tokens") {
  TinyVocab v;
  v.pre = "gpt-2";
  v.with_bytes();
  const TokenId ab = v.add("ab"), bc = v.add("bc"), abc = v.add("abc"), aa = v.add("aa"), whole = v.add("xyz");
  v.merges = {"b c", "a b", "a bc", "a a", "q r", "qr s", "broken", ""};
  const auto encode = [&](const char* text) { return Tokenizer::from_gguf(v.metadata()).encode(text, kPlain); };
  CHECK(encode("abc") == std::vector<TokenId>{abc});
  CHECK(encode("ab") == std::vector<TokenId>{ab});
  CHECK(encode("bcb") == std::vector<TokenId>{bc, v.byte('b')});
  CHECK(encode("aaa") == std::vector<TokenId>{aa, v.byte('a')});
  CHECK(encode("xyz") == std::vector<TokenId>{v.byte('x'), v.byte('y'), v.byte('z')});
  CHECK(encode("qrs") == std::vector<TokenId>{v.byte('q'), v.byte('r'), v.byte('s')});  // merges that lead to no token
  v.pre = "llama-bpe";
  CHECK(encode("xyz") == std::vector<TokenId>{whole});
}

TEST_CASE("kimi-k2 without merges ranks by id; special and user-defined tokens") {
  TinyVocab v;
  v.pre = "kimi-k2";
  v.no_merges = true;
  v.with_bytes();
  const TokenId he = v.add("he"), ll = v.add("ll"), hell = v.add("hell");
  const TokenId end = v.add("[EOS]", 3), shown = v.add("<tool>", 4);
  const Tokenizer tokenizer = Tokenizer::from_gguf(v.metadata());
  CHECK(tokenizer.encode("hello", kPlain) == std::vector<TokenId>{hell, v.byte('o')});
  CHECK(tokenizer.encode("hel", kPlain) == std::vector<TokenId>{he, v.byte('l')});
  CHECK(tokenizer.encode("ell", kPlain) == std::vector<TokenId>{v.byte('e'), ll});
  CHECK(tokenizer.encode("<tool>[EOS]", {.add_special = false, .parse_special = false}).front() == shown);
  CHECK(tokenizer.encode("[EOS]", kPlain) == std::vector<TokenId>{end});
  CHECK(tokenizer.is_end_of_generation(end));
  CHECK(tokenizer.piece(end) == "");
  CHECK(tokenizer.piece(shown) == "<tool>");
}

TEST_CASE("gpt-oss: <|end|> goes on, channel marks are shown") {
  TinyVocab v;
  v.pre = "gpt-4o";
  v.with_bytes();
  const TokenId end = v.add("<|end|>", 3), channel = v.add("<|channel|>", 3), call = v.add("<|call|>", 3);
  CHECK(Tokenizer::from_gguf(v.metadata()).is_end_of_generation(end));
  const TokenId back = v.add("<|return|>", 3);
  const Tokenizer tokenizer = Tokenizer::from_gguf(v.metadata());
  CHECK_FALSE(tokenizer.is_end_of_generation(end));
  CHECK(tokenizer.is_end_of_generation(back));
  CHECK(tokenizer.is_end_of_generation(call));
  CHECK(tokenizer.piece(channel) == "<|channel|>");
}

TEST_CASE("SentencePiece: scores, the space in front, byte tokens") {
  TinyVocab v;
  v.model = "llama";
  v.add("<unk>", 2);
  v.add("<s>", 3);
  v.add("</s>", 3);
  for (int byte = 0; byte < 256; ++byte) v.add(fmt::format("<0x{:02X}>", byte), 6);
  const TokenId space = v.add("▁", 1, -5), a = v.add("a", 1, -4), b = v.add("b", 1, -4), ab = v.add("ab", 1, -2),
                space_a = v.add("▁a", 1, -1);
  Tokenizer tokenizer = Tokenizer::from_gguf(v.metadata());
  CHECK(tokenizer.encode("ab") == std::vector<TokenId>{1, space_a, b});
  CHECK(tokenizer.encode("bab", kPlain) == std::vector<TokenId>{space, b, ab});
  CHECK(tokenizer.encode("é", kPlain) == std::vector<TokenId>{space, 3 + 0xC3, 3 + 0xA9});
  CHECK(tokenizer.encode("\n\xff", kPlain) == std::vector<TokenId>{space, 3 + 0x0A, 3 + 0xFF});
  CHECK(tokenizer.encode("b<s>b", kPlain) ==
        std::vector<TokenId>{space, b, 1, space, b});  // again after a special token
  CHECK(tokenizer.decode(tokenizer.encode("ab é\n b")) == "ab é\n b");
  CHECK(tokenizer.decode(std::vector<TokenId>{space_a, space_a}) == "a a");
  CHECK(tokenizer.piece(space_a) == " a");
  CHECK(tokenizer.encode("", kPlain).empty());
  v.add_space_prefix = false;
  CHECK(Tokenizer::from_gguf(v.metadata()).encode("ab", kPlain) == std::vector<TokenId>{ab});
  CHECK(Tokenizer::from_gguf(v.metadata()).encode("a", kPlain) == std::vector<TokenId>{a});
  const auto begin = std::chrono::steady_clock::now();
  CHECK(tokenizer.decode(tokenizer.encode(std::string(1'000'000, 'a'))) == std::string(1'000'000, 'a'));
  CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() < 30);
}

TEST_CASE("tiktoken.model with its configuration") {
  const TempDir dir;
  std::ofstream ranks(dir / "tiktoken.model");
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t byte = 0; byte < 256; ++byte)
    ranks << kDigits[byte >> 2] << kDigits[(byte & 3) << 4] << "== " << byte << "\n";
  ranks << "aGU= 256\nbGw= 257\naGVsbA== 258\n";  // he, ll, hell
  ranks.close();
  std::ofstream(dir / "tokenizer_config.json")
      << R"({"added_tokens_decoder": {"259": {"content": "[BOS]", "special": true}, "260": {"content": "[EOS]", "special": true},
    "261": {"content": "<|im_end|>", "special": true}, "262": {"content": "<think>", "special": false}}, "bos_token": "[BOS]", "eos_token": "[EOS]", "chat_template": "T"})";
  std::ofstream(dir / "config.json") << R"({"vocab_size": 300})";
  const Tokenizer tokenizer = Tokenizer::from_directory(dir.path());
  CHECK(tokenizer.vocab_size() == 300);
  CHECK(tokenizer.encode("hello<|im_end|>", kPlain) == std::vector<TokenId>{258, 'o', 261});
  CHECK(tokenizer.encode("中", kPlain) == std::vector<TokenId>{0xE4, 0xB8, 0xAD});
  CHECK(tokenizer.bos() == 259);
  CHECK_FALSE(tokenizer.add_bos());
  CHECK(tokenizer.is_end_of_generation(261));
  CHECK(tokenizer.find("<|reserved_token_299|>") == 299);
  CHECK(tokenizer.chat_template() == "T");
  CHECK(tokenizer.decode(std::vector<TokenId>{262}) == "<think>");
  // A text model inside one for images and text, whose ends are named there alone.
  std::ofstream(dir / "config.json")
      << R"({"text_config": {"vocab_size": 301, "pad_token_id": 263, "eos_token_id": 264}})";
  const Tokenizer inside = Tokenizer::from_directory(dir.path());
  CHECK(inside.vocab_size() == 301);
  CHECK(inside.is_end_of_generation(264));
  CHECK(inside.is_end_of_generation(260));
  CHECK_FALSE(inside.is_end_of_generation(263));
  Metadata of_inside;
  inside.write_metadata(of_inside, 301);
  CHECK(of_inside.integer("tokenizer.ggml.padding_token_id") == 263);
  // Converted: merges as converters derive them, and the same ids.
  Metadata metadata;
  tokenizer.write_metadata(metadata, 300);
  CHECK(metadata.string("tokenizer.ggml.pre") == "kimi-k2");
  CHECK(*metadata.strings("tokenizer.ggml.merges") == std::vector<std::string>{"h e", "l l", "he ll"});
  CHECK(Tokenizer::from_gguf(metadata).encode("hello hell<|im_end|>") == tokenizer.encode("hello hell<|im_end|>"));
  for (const char* bad :
       {"aGU=", "aGU= x", "aGU= 99", "???? 0", "aGU 0", "= 0", "", "YQ== 0\nYg== 0\n", "YQ== 1\n\n\n"}) {
    std::ofstream(dir / "tiktoken.model", std::ios::trunc) << bad;
    CHECK_THROWS_AS_MESSAGE(Tokenizer::from_directory(dir.path()), Error, bad);
  }
}

TEST_CASE("1 MB of hostile text through the whole tokenizer") {
  const Tokenizer tokenizer = Tokenizer::from_path(kDemo);
  std::string letters;
  for (std::uint32_t i = 0, state = 1; i < 1'000'000; ++i) {
    state = state * 1664525 + 1013904223;
    letters += static_cast<char>('a' + (state >> 24) % 26);
  }
  for (const std::string& text : {std::string(1'000'000, 'a'), std::string(1'000'000, ' '),
                                  std::string(1'000'000, '\xff'), std::string(1'000'000, '<'), letters}) {
    const auto begin = std::chrono::steady_clock::now();
    CHECK(tokenizer.decode(tokenizer.encode(text, kPlain)) == text);
    CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() < 30);
  }
}
