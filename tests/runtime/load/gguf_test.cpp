#include "runtime/load/gguf.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_gguf.hpp"

using namespace dodeca::runtime;
using namespace dodeca::tests;
using dodeca::quant::DType;
namespace quant = dodeca::quant;

namespace {

std::string data_of(const GgufFile& file, std::string_view name) {
  const GgufTensor* tensor = file.find(name);
  REQUIRE(tensor != nullptr);
  std::string bytes(tensor->bytes, '?');
  file.read(*tensor, 0, std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

// n shards of one model: "a" in the second, "b" and "c" in the last; the first has no tensors, as gguf-split may write
// it.
struct Split {
  std::vector<TinyGguf> shards;
  explicit Split(int n) {
    for (int i = 0; i < n; ++i) {
      TinyGguf& shard = shards.emplace_back();
      if (i == 0) shard.str("general.architecture", "deepseek2");
      shard.u16("split.no", static_cast<std::uint16_t>(i))
          .u16("split.count", static_cast<std::uint16_t>(n))
          .i32("split.tensors.count", 3);
    }
    const std::vector<float> one{1.0f}, two{2.0f}, three{3.0f};
    shards[1].f32_tensor("a", {1}, one);
    shards.back().f32_tensor("b", {1}, two).f32_tensor("c", {1}, three);
  }
  void write(const TempDir& dir, const std::string& prefix = "m") const {
    for (std::size_t i = 0; i < shards.size(); ++i) shards[i].write(dir / name(i, prefix));
  }
  std::string name(std::size_t i, const std::string& prefix = "m") const {
    return fmt::format("{}-{:05}-of-{:05}.gguf", prefix, i + 1, shards.size());
  }
};

std::string open_failure(const std::filesystem::path& path, GgufUse use = GgufUse::kWeights) {
  try {
    GgufFile::open(path, use);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("metadata of every type come back, versions 2 and 3") {
  for (const std::uint32_t version : {2u, 3u}) {
    const TempDir dir;
    TinyGguf gguf;
    gguf.version = version;
    gguf.u8("u8", 255)
        .i8("i8", -128)
        .u16("u16", 65535)
        .i16("i16", -32768)
        .u32("u32", 4294967295u)
        .i32("i32", -5)
        .f32("f32", 1.5f);
    gguf.boolean("yes", true)
        .boolean("no", false)
        .str("str", "h\xc3\xa9\xff")
        .u64("u64", UINT64_MAX)
        .i64("i64", INT64_MIN)
        .f64("f64", -2.25);
    gguf.strings("names", {"", "a", std::string("b\0c", 3)})
        .f32s("floats", {1, 2})
        .i32s("ints", {-1, 2, 3})
        .u32s("empty", {});
    gguf.raw_array("bools", 7, 3, std::string("\1\0\1", 3))
        .raw_array("u8s", 0, 2, "\x01\xff")
        .raw_array("i8s", 1, 2, "\x01\xff");
    gguf.raw_array("u16s", 2, 1, "\xff\xff")
        .raw_array("i16s", 3, 1, "\xff\xff")
        .raw_array("u64s", 10, 1, le(std::uint64_t{7}));
    gguf.raw_array("i64s", 11, 1, le(std::int64_t{-7})).raw_array("f64s", 12, 1, le(0.5));
    gguf.write(dir / "m.gguf");
    const GgufFile file = GgufFile::open(dir / "m.gguf");
    const Metadata& m = file.metadata();
    CHECK(file.version() == version);
    CHECK(m.entries().size() == 25);
    CHECK(m.entries()[0].first == "u8");
    CHECK(m.integer("u8") == 255);
    CHECK(m.integer("i8") == -128);
    CHECK(m.integer("u16") == 65535);
    CHECK(m.integer("i16") == -32768);
    CHECK(m.integer("u32") == 4294967295);
    CHECK(m.integer("i32") == -5);
    CHECK(m.number("f32") == 1.5);
    CHECK(m.boolean("yes") == true);
    CHECK(m.boolean("no") == false);
    CHECK(m.string("str") == "h\xc3\xa9\xff");
    CHECK(m.integer("i64") == INT64_MIN);
    CHECK(m.number("f64") == -2.25);
    REQUIRE(m.strings("names") != nullptr);
    CHECK(*m.strings("names") == std::vector<std::string>{"", "a", std::string("b\0c", 3)});
    CHECK(m.numbers("floats") == std::vector<double>{1, 2});
    CHECK(m.integers("ints") == std::vector<std::int64_t>{-1, 2, 3});
    CHECK(m.integers("empty") == std::vector<std::int64_t>{});
    CHECK(std::get<MetaArray<bool>>(*m.find("bools")).values == std::vector<bool>{true, false, true});
    CHECK(m.integers("u8s") == std::vector<std::int64_t>{1, 255});
    CHECK(m.integers("i8s") == std::vector<std::int64_t>{1, -1});
    CHECK(m.integers("u16s") == std::vector<std::int64_t>{65535});
    CHECK(m.integers("i16s") == std::vector<std::int64_t>{-1});
    CHECK(m.integers("u64s") == std::vector<std::int64_t>{7});
    CHECK(m.integers("i64s") == std::vector<std::int64_t>{-7});
    CHECK(m.numbers("f64s") == std::vector<double>{0.5});
  }
}

TEST_CASE("tensors have dims, place and data, at any alignment") {
  for (const std::uint64_t alignment : {8u, 32u, 64u, 4096u}) {
    const TempDir dir;
    TinyGguf gguf;
    gguf.alignment = alignment;
    gguf.u32("general.alignment", static_cast<std::uint32_t>(alignment));
    const std::string q8(34 * 6, 'q'), bf16("12345678");
    const std::vector<float> f{1, 2, 3};
    gguf.f32_tensor("norm", {3}, f)
        .tensor("experts", DType::kQ8_0, {32, 2, 3}, bytes_of(q8))
        .tensor("last", DType::kBF16, {2, 2}, bytes_of(bf16));
    gguf.write(dir / "m.gguf");
    const GgufFile file = GgufFile::open(dir / "m.gguf");
    CHECK(file.alignment() == alignment);
    REQUIRE(file.tensors().size() == 3);
    const GgufTensor& experts = file.tensors()[1];
    CHECK(experts.name == "experts");
    CHECK(experts.dtype == DType::kQ8_0);
    CHECK(experts.dims == std::vector<std::int64_t>{32, 2, 3});
    CHECK(experts.bytes == 34 * 6);
    CHECK(experts.n_elements() == 192);
    CHECK(experts.n_rows() == 6);
    CHECK(experts.offset % alignment == 0);
    CHECK(experts.type_name() == "Q8_0");
    CHECK(data_of(file, "norm") == le(1.0f) + le(2.0f) + le(3.0f));
    CHECK(data_of(file, "experts") == q8);
    CHECK(data_of(file, "last") == bf16);
    CHECK(file.find("nothing") == nullptr);
    std::string part(3, '?');
    file.read(*file.find("last"), 5, std::as_writable_bytes(std::span(part)));
    CHECK(part == "678");
    CHECK_THROWS_AS(file.read(*file.find("last"), 6, std::as_writable_bytes(std::span(part))), Error);
    CHECK_THROWS_AS(file.read(*file.find("last"), UINT64_MAX, std::as_writable_bytes(std::span(part))), Error);
    CHECK(file.file_bytes() == std::filesystem::file_size(dir / "m.gguf"));
  }
}

TEST_CASE("a tensor whose rows begin with a scale has so many bytes more") {
  const TempDir dir;
  const std::string rows(3 * (4 + 2 * 136), 'r');
  const std::vector<float> one{1.0f};
  TinyGguf gguf;
  gguf.tensor("w", DType::kIQ4_KS, {512, 3}, bytes_of(rows)).f32_tensor("behind", {1}, one);
  gguf.write(dir / "m.gguf");
  const GgufFile file = GgufFile::open(dir / "m.gguf");
  CHECK(file.tensors()[0].bytes == rows.size());
  CHECK(data_of(file, "w") == rows);
  CHECK(data_of(file, "behind") == le(1.0f));
}

TEST_CASE("interleaved rows are read as plain rows, whatever part is asked for") {
  const TempDir dir;
  const quant::InterleavedType& type = *quant::find_interleaved(344);  // IQ4_KS_R4
  const std::size_t row_bytes = *quant::row_bytes(type.dtype, 512), group_bytes = 4 * row_bytes;
  std::string interleaved(2 * group_bytes, '?'), plain(interleaved.size(), '?');
  for (std::size_t i = 0; i < interleaved.size(); ++i) interleaved[i] = static_cast<char>(167 * i + i / 256);
  for (std::size_t at = 0; at < plain.size(); at += group_bytes) {
    quant::deinterleave(type, bytes_of(interleaved).data() + at, 512,
                        std::as_writable_bytes(std::span(plain)).data() + at);
  }
  TinyGguf gguf;
  gguf.raw_tensor("w", type.id, {512, 4, 2}, bytes_of(interleaved)).write(dir / "m.gguf");
  const GgufFile file = GgufFile::open(dir / "m.gguf");
  CHECK(file.tensors()[0].dtype == DType::kIQ4_KS);
  CHECK(file.tensors()[0].type_name() == "IQ4_KS_R4");
  CHECK(data_of(file, "w") == plain);
  for (const std::size_t begin : {std::size_t{0}, row_bytes, 3 * row_bytes, group_bytes - 1, group_bytes}) {
    for (const std::size_t n : {std::size_t{1}, row_bytes, 2 * row_bytes, group_bytes}) {
      std::string part(n, '?');
      file.read(file.tensors()[0], begin, std::as_writable_bytes(std::span(part)));
      CHECK(part == plain.substr(begin, n));
    }
  }
  std::string byte(1, '?');
  CHECK_THROWS_AS(file.read(file.tensors()[0], plain.size(), std::as_writable_bytes(std::span(byte))), Error);

  TinyGguf odd;
  odd.raw_tensor("w", type.id, {512, 6}, bytes_of(interleaved)).write(dir / "odd.gguf");
  CHECK(open_failure(dir / "odd.gguf").find("tensor w has 6 rows, no multiple of the 4 that IQ4_KS_R4 interleaves") !=
        std::string::npos);
}

TEST_CASE("bytes behind the last tensor are harmless, and a file may have no tensors") {
  const TempDir dir;
  TinyGguf gguf;
  write_bytes(dir / "none.gguf", gguf.str("general.architecture", "x").bytes());
  CHECK(GgufFile::open(dir / "none.gguf").tensors().empty());
  const std::vector<float> one{1.0f};
  gguf.f32_tensor("t", {1}, one);
  write_bytes(dir / "more.gguf", gguf.bytes() + "trailing");
  CHECK(GgufFile::open(dir / "more.gguf").tensors().size() == 1);
}

TEST_CASE("split files are one file; siblings come from the first shard's name") {
  const TempDir dir;
  const Split split(3);
  split.write(dir);
  const GgufFile file = GgufFile::open(dir / split.name(0));
  CHECK(file.files().size() == 3);
  CHECK(file.tensors().size() == 3);
  CHECK(file.metadata().string("general.architecture") == "deepseek2");
  CHECK(file.find("a")->file == 1);
  CHECK(data_of(file, "a") == le(1.0f));
  CHECK(data_of(file, "c") == le(3.0f));
}

TEST_CASE("a split file with something wrong is refused with what it is") {
  const TempDir dir;
  Split split(3);
  const auto check = [&](const std::string& part) {
    split.write(dir);
    const std::string message = open_failure(dir / split.name(0));
    CHECK_MESSAGE(message.find(part) != std::string::npos, message);
    split = Split(3);
  };
  SUBCASE("another shard than the first is opened") {
    split.write(dir);
    const std::string message = open_failure(dir / split.name(1));
    CHECK_MESSAGE(message.find("m-00001-of-00003.gguf") != std::string::npos, message);
  }
  SUBCASE("missing shards are all named") {
    split.write(dir);
    std::filesystem::remove(dir / split.name(1));
    std::filesystem::remove(dir / split.name(2));
    const std::string message = open_failure(dir / split.name(0));
    CHECK(message.find(split.name(1)) != std::string::npos);
    CHECK(message.find(split.name(2)) != std::string::npos);
  }
  SUBCASE("the first is not named as a shard") {
    split.write(dir);
    std::filesystem::rename(dir / split.name(0), dir / "renamed.gguf");
    CHECK(open_failure(dir / "renamed.gguf").find("00001-of-00003") != std::string::npos);
  }
  SUBCASE("a shard that says another number") {
    split.write(dir);
    std::filesystem::copy_file(dir / split.name(1), dir / split.name(2),
                               std::filesystem::copy_options::overwrite_existing);
    CHECK(open_failure(dir / split.name(0)).find("says that it is shard 2 of 3") != std::string::npos);
  }
  SUBCASE("the same tensor twice") {
    const std::vector<float> one{1.0f};
    split.shards[2].f32_tensor("a", {1}, one);
    check("tensor a appears twice");
  }
  SUBCASE("too few tensors") {
    split.shards[1] = TinyGguf();
    split.shards[1].u16("split.no", 1).u16("split.count", 3).i32("split.tensors.count", 3);
    check("split.tensors.count says 3");
  }
  SUBCASE("a shard without the keys") {
    split.shards[2] = TinyGguf();
    check("lacks the key split.");
  }
  SUBCASE("a truncated shard") {
    split.write(dir);
    std::filesystem::resize_file(dir / split.name(2), std::filesystem::file_size(dir / split.name(2)) - 1);
    const std::string message = open_failure(dir / split.name(0));
    CHECK(message.find("incomplete download?") != std::string::npos);
    CHECK(message.find(split.name(2)) != std::string::npos);
  }
}

TEST_CASE("a merged file keeps split.count 0 or 1 and is one file") {
  for (const std::uint16_t count : {0, 1}) {
    const TempDir dir;
    TinyGguf gguf;
    gguf.u16("split.no", 4).u16("split.count", count).i32("split.tensors.count", 99).write(dir / "m.gguf");
    CHECK(GgufFile::open(dir / "m.gguf").files().size() == 1);
  }
}

TEST_CASE("foreign tensor types are refused by name, and listed when only inspecting") {
  const TempDir dir;
  const std::string foreign(96, 'x'), last(5, 'y');
  const std::vector<float> one{1.0f};
  TinyGguf gguf;
  gguf.raw_tensor("blk.0.w", 134, {256}, bytes_of(foreign))
      .f32_tensor("norm", {1}, one)
      .raw_tensor("new", 77, {3}, bytes_of(last));
  gguf.write(dir / "m.gguf");
  const std::string message = open_failure(dir / "m.gguf");
  CHECK_MESSAGE(message.find("unsupported: tensor blk.0.w has type IQ1_BN (ik_llama.cpp)") != std::string::npos,
                message);

  const GgufFile file = GgufFile::open(dir / "m.gguf", GgufUse::kInspect);
  REQUIRE(file.tensors().size() == 3);
  CHECK_FALSE(file.tensors()[0].known);
  CHECK(file.tensors()[0].bytes == 96);
  CHECK(file.tensors()[0].type_name().find("IQ1_BN") != std::string::npos);
  CHECK(data_of(file, "norm") == le(1.0f));
  CHECK(file.tensors()[2].bytes == 5);
  CHECK(file.tensors()[2].type_name() == "type 77");
  std::byte byte;
  CHECK_THROWS_AS(file.read(file.tensors()[0], 0, {&byte, 1}), Error);

  for (const auto& [id, advice] : {std::pair{153u, "trellis codes, which are made for cards, are not supported"},
                                   std::pair{212u, "its rows are interleaved; the file with plain rows can be read"}}) {
    TinyGguf refused;
    refused.raw_tensor("t", id, {256}, bytes_of(foreign)).write(dir / "r.gguf");
    const std::string why = open_failure(dir / "r.gguf");
    CHECK_MESSAGE(why.find(advice) != std::string::npos, why);
  }

  TinyGguf neither;  // nor can the plain rows of this type be read
  neither.raw_tensor("t", 335, {256}, bytes_of(foreign)).write(dir / "n.gguf");
  CHECK(open_failure(dir / "n.gguf").find("tensor t has type IQ2_BN_R4 (ik_llama.cpp) (id 335)") != std::string::npos);
  CHECK(open_failure(dir / "n.gguf").find("plain rows") == std::string::npos);

  TinyGguf unknown;
  unknown.raw_tensor("t", 77, {3}, bytes_of(last)).write(dir / "u.gguf");
  CHECK(open_failure(dir / "u.gguf").find("bad file: tensor t has the unknown type id 77") == 0);
}

TEST_CASE("a vocabulary of 128,000 tokens and a million keys open in well under their limits") {
  const TempDir dir;
  std::vector<std::string> tokens;
  for (int i = 0; i < 128000; ++i) tokens.push_back("token" + std::to_string(i));
  TinyGguf vocabulary;
  vocabulary.strings("tokenizer.ggml.tokens", tokens).write(dir / "v.gguf");
  TinyGguf keys;
  for (int i = 0; i < 1000000; ++i) keys.u8("k" + std::to_string(i), 0);
  keys.write(dir / "k.gguf");

  const auto begin = std::chrono::steady_clock::now();
  CHECK(GgufFile::open(dir / "v.gguf").metadata().strings("tokenizer.ggml.tokens")->size() == 128000);
  const auto middle = std::chrono::steady_clock::now();
  CHECK(GgufFile::open(dir / "k.gguf").metadata().entries().size() == 1000000);
  const auto end = std::chrono::steady_clock::now();
  using Seconds = std::chrono::duration<double>;
  MESSAGE("vocabulary ", Seconds(middle - begin).count(), " s, million keys ", Seconds(end - middle).count(), " s");
  // Generous enough for sanitizers on a busy machine; a quadratic reader needs hours for the second.
  CHECK(Seconds(middle - begin).count() < 5.0);
  CHECK(Seconds(end - middle).count() < 60.0);
}

TEST_CASE("is_gguf looks at the magic only and never throws") {
  const TempDir dir;
  write_bytes(dir / "yes", "GGUFxxxx");
  write_bytes(dir / "no", "GGU");
  CHECK(is_gguf(dir / "yes"));
  CHECK_FALSE(is_gguf(dir / "no"));
  CHECK_FALSE(is_gguf(dir.path()));
  CHECK_FALSE(is_gguf(dir / "absent"));
}
