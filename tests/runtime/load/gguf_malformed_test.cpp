// Every row of the list of malformed GGUF input, truncation at every byte, and bit flips.
#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "runtime/load/gguf.hpp"
#include "tests/support/memory_file.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_gguf.hpp"

using namespace dodeca::runtime;
using namespace dodeca::tests;
using dodeca::quant::DType;

namespace {

const std::vector<float> kFloats(64, 1.0f);

std::span<const std::byte> zeros(std::size_t n) {
  static const std::vector<std::byte> kZeros(4096);
  return std::span(kZeros).first(n);
}

TinyGguf good() {
  TinyGguf gguf;
  gguf.str("general.architecture", "deepseek2")
      .u32("general.alignment", 32)
      .u32("deepseek2.block_count", 2)
      .boolean("flag", true);
  gguf.strings("tokenizer.ggml.tokens", {"a", "bc", ""}).f32s("scores", {1, 2, 3});
  gguf.f32_tensor("norm", {8}, std::span(kFloats).first(8)).tensor("w", DType::kQ8_0, {32, 2}, zeros(68));
  gguf.tensor("last", DType::kF16, {4}, zeros(8));
  return gguf;
}

struct Case {
  const char* name;
  std::string bytes;
  const char* message;  // part of what the error says
};

std::string patched(std::size_t offset, const std::string& bytes) {
  std::string out = good().bytes();
  return out.replace(offset, bytes.size(), bytes);
}

std::string with(const std::function<void(TinyGguf&)>& change) {
  TinyGguf gguf;
  change(gguf);
  return gguf.bytes() + std::string(4096, '\0');  // so that only the thing itself can be refused
}

std::vector<Case> cases() {
  const auto tensor = [](std::string_view name, std::uint32_t type, std::vector<std::int64_t> dims,
                         std::optional<std::uint64_t> offset = {}) {
    return with([&](TinyGguf& g) { g.raw_tensor(name, type, dims, zeros(0), offset); });
  };
  const std::int64_t huge = std::int64_t{1} << 62;
  return {
      {"empty file", "", "not a GGUF"},
      {"23 bytes", good().bytes().substr(0, 23), "not a GGUF"},
      {"wrong magic", patched(0, "GGUX"), "not a GGUF"},
      {"legacy magic", patched(0, "ggjt"), "not a GGUF"},
      {"version 0", patched(4, le(0u)), "version 0"},
      {"version 1", patched(4, le(1u)), "version 1"},
      {"version 4", patched(4, le(4u)), "version 4"},
      {"big-endian version 3", patched(4, std::string("\0\0\0\3", 4)), "big-endian"},
      {"negative tensor count", patched(8, le(std::int64_t{-1})), "tensors do not fit"},
      {"absurd tensor count", patched(8, le(std::uint64_t{1} << 40)), "tensors do not fit"},
      {"negative key count", patched(16, le(std::int64_t{-1})), "keys do not fit"},
      {"absurd key count", patched(16, le(std::uint64_t{1} << 40)), "keys do not fit"},
      {"one tensor too many", with([](TinyGguf& g) { g.tensor_count = 1; }), "without name"},
      {"key longer than the file", with([](TinyGguf& g) {
                                     g.kv_count = 1;
                                     g.raw("k", 0, "1");
                                   }).replace(24, 8, le(std::uint64_t{60000})),
       "needs 60000 bytes"},
      {"key of 2^63 bytes", with([](TinyGguf& g) { g.u8("k", 1); }).replace(24, 8, le(std::uint64_t{1} << 63)),
       "at most 65535"},
      {"key of 2^64-1 bytes", with([](TinyGguf& g) { g.u8("k", 1); }).replace(24, 8, le(UINT64_MAX)), "at most 65535"},
      {"string of 2^64-1 bytes", with([](TinyGguf& g) { g.raw("k", 8, le(UINT64_MAX)); }), "at most"},
      {"string above 1 GiB", with([](TinyGguf& g) { g.raw("k", 8, le((std::uint64_t{1} << 30) + 1)); }),
       "at most 1073741824"},
      {"string of 1 GiB in a small file", with([](TinyGguf& g) { g.raw("k", 8, le(std::uint64_t{1} << 30)); }),
       "incomplete download?"},
      {"empty key", with([](TinyGguf& g) { g.u8("", 1); }), "empty metadata key"},
      {"duplicate key", with([](TinyGguf& g) { g.u8("k", 1).str("k", "x"); }), "k appears twice"},
      {"value type 13", with([](TinyGguf& g) { g.raw("k", 13, "12345678"); }), "unknown type 13"},
      {"value type 2^32-1", with([](TinyGguf& g) { g.raw("k", 0xFFFFFFFFu, "12345678"); }), "unknown type"},
      {"array of arrays", with([](TinyGguf& g) { g.raw_array("k", 9, 1, le(4u) + le(std::uint64_t{0})); }),
       "array of arrays"},
      {"array element type 13", with([](TinyGguf& g) { g.raw_array("k", 13, 1, "x"); }), "unknown type 13"},
      {"array above 2^30", with([](TinyGguf& g) { g.raw_array("k", 0, (std::uint64_t{1} << 30) + 1, ""); }),
       "at most 1073741824"},
      {"array whose bytes overflow", with([](TinyGguf& g) { g.raw_array("k", 10, std::uint64_t{1} << 61, ""); }),
       "elements"},
      {"array longer than the file", with([](TinyGguf& g) { g.raw_array("k", 10, 1 << 20, ""); }),
       "incomplete download?"},
      {"string array longer than the file", with([](TinyGguf& g) { g.raw_array("k", 8, 1 << 20, ""); }),
       "incomplete download?"},
      {"string array element too long", with([](TinyGguf& g) { g.raw_array("k", 8, 1, le(UINT64_MAX)); }), "at most"},
      {"bool 2", with([](TinyGguf& g) { g.raw("k", 7, "\x02"); }), "bool"},
      {"bool array with 2", with([](TinyGguf& g) { g.raw_array("k", 7, 2, "\x01\x02"); }), "bool"},
      {"alignment as string", with([](TinyGguf& g) { g.str("general.alignment", "32"); }), "should be an integer"},
      {"alignment below 0", with([](TinyGguf& g) { g.i32("general.alignment", -32); }), "power of two"},
      {"alignment 0", with([](TinyGguf& g) { g.u32("general.alignment", 0); }), "power of two"},
      {"alignment 24", with([](TinyGguf& g) { g.u32("general.alignment", 24); }), "power of two"},
      {"alignment 2^31", with([](TinyGguf& g) { g.u32("general.alignment", 1u << 31); }), "power of two"},
      {"tensor name of 64 bytes", tensor(std::string(64, 'n'), 0, {1}), "at most 63"},
      {"tensor name empty", tensor("", 0, {1}), "without name"},
      {"tensor name with NUL", tensor(std::string_view("a\0b", 3), 0, {1}), "NUL"},
      {"tensor twice", with([](TinyGguf& g) { g.raw_tensor("t", 0, {1}, zeros(4)).raw_tensor("t", 0, {1}, zeros(4)); }),
       "appears twice"},
      {"5 dimensions", tensor("t", 0, {1, 1, 1, 1, 1}), "5 dimensions"},
      {"2^32-1 dimensions",
       with([](TinyGguf& g) { g.tensor_count = 1; }).replace(24, 13, gguf_string("t") + "\xff\xff\xff\xff"),
       "dimensions"},
      {"no dimensions", tensor("t", 0, {}), "no dimensions"},
      {"negative dimension", tensor("t", 0, {4, -1}), "is -1"},
      {"dimension 0 first", tensor("t", 0, {0}), "is 0"},
      {"dimension 0 later", tensor("t", 0, {4, 0, 2}), "is 0"},
      {"dimensions overflow", tensor("t", 0, {huge, 4}), "overflow"},
      {"dimensions overflow late", tensor("t", 0, {1 << 30, 1 << 30, 1 << 30, 1 << 30}), "overflow"},
      {"bytes overflow", tensor("t", 0, {huge}), "overflow"},
      {"bytes at the edge", tensor("t", 24, {INT64_MAX}), "beyond any file"},
      {"type removed", tensor("t", 4, {32}), "Q4_2"},
      {"type removed repack", tensor("t", 31, {32}), "removed"},
      {"type of ik_llama.cpp", tensor("t", 155, {256}), "IQ4_KT"},
      {"type negative", tensor("t", 0xFFFFFFFFu, {32}), "which no GGUF has"},
      {"type of ours", tensor("t", 0x10000u, {128}), "which no GGUF has"},
      {"type unknown", tensor("t", 12345u, {32}), "unknown type id 12345"},
      {"row no multiple of the block", tensor("t", 8, {33}), "no multiple"},
      {"row no multiple, elements are", tensor("t", 8, {16, 2}), "no multiple"},
      {"offset not aligned", tensor("t", 0, {1}, 4), "alignment"},
      {"first offset not 0", tensor("t", 0, {1}, 32), "expected at 0"},
      {"overlap",
       with([](TinyGguf& g) { g.raw_tensor("a", 0, {16}, zeros(64)).raw_tensor("b", 0, {1}, zeros(4), 32); }),
       "expected at 64"},
      {"gap", with([](TinyGguf& g) { g.raw_tensor("a", 0, {16}, zeros(64)).raw_tensor("b", 0, {1}, zeros(4), 96); }),
       "expected at 64"},
      {"offset 2^64-32", tensor("t", 0, {1}, UINT64_MAX - 31), "expected at 0"},
      {"data beyond the end", tensor("t", 0, {1 << 20}), "incomplete download?"},
      {"data far beyond the end", tensor("t", 0, {std::int64_t{1} << 58}), "incomplete download?"},
  };
}

std::string load_failure(const std::filesystem::path& path, GgufUse use) {
  try {
    GgufFile::open(path, use);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("malformed GGUF files are errors that say what is wrong") {
  const TempDir dir;
  for (const Case& c : cases()) {
    CAPTURE(c.name);
    write_bytes(dir / "m.gguf", c.bytes);
    const std::string message = load_failure(dir / "m.gguf", GgufUse::kWeights);
    CHECK_MESSAGE(message.find(c.message) != std::string::npos, "said: ", message);
    load_failure(dir / "m.gguf", GgufUse::kInspect);  // may open; must not crash
  }
}

TEST_CASE("a sparse file of any size makes no count true: nothing is allocated for it") {
  const TempDir dir;
  const auto check = [&](const std::string& begin, const std::string& part) {
    write_bytes(dir / "m.gguf", begin);
    std::filesystem::resize_file(dir / "m.gguf", std::uint64_t{1} << 33);  // zeros that take no place on the disk
    const std::string message = load_failure(dir / "m.gguf", GgufUse::kWeights);
    CHECK_MESSAGE(message.find(part) != std::string::npos, message);
  };
  const std::string frame = "GGUF" + le(3u);
  check(frame + le(std::uint64_t{300000000}) + le(std::uint64_t{0}), "tensors do not fit");
  check(frame + le(std::uint64_t{0}) + le(std::uint64_t{300000000}), "keys do not fit");
  check(frame + le(std::uint64_t{0}) + le(std::uint64_t{1}) + gguf_string("k") + le(8u) + le(std::uint64_t{1} << 30),
        "header is longer");
  check(frame + le(std::uint64_t{0}) + le(std::uint64_t{1}) + gguf_string("k") + le(9u) + le(10u) +
            le(std::uint64_t{1} << 29),
        "header is longer");
  check(frame + le(std::uint64_t{0}) + le(std::uint64_t{1}) + gguf_string("k") + le(9u) + le(8u) +
            le(std::uint64_t{1} << 29),
        "header is longer");
  check(frame + le(std::uint64_t{0}) + le(std::uint64_t{1}) + gguf_string("k") + le(9u) + le(8u) +
            le(std::uint64_t{5'000'000}),
        "claims 5000000 strings; at most 4194304 are allowed");
}

TEST_CASE("a GGUF cut at any byte is an error, for weights and for inspection") {
  const std::string whole = good().bytes();
  REQUIRE(load_failure(MemoryFile(whole).path(), GgufUse::kWeights).empty());
  for (std::size_t n = 0; n < whole.size(); ++n) {
    CAPTURE(n);
    const MemoryFile file(std::string_view(whole).substr(0, n));
    const std::string message = load_failure(file.path(), GgufUse::kWeights);
    CHECK_FALSE(message.empty());
    if (n >= 24) CHECK_MESSAGE(message.find("incomplete download?") != std::string::npos, message);
    CHECK_FALSE(load_failure(file.path(), GgufUse::kInspect).empty());
  }
}

TEST_CASE("the size that a truncated file should have is told") {
  const std::string whole = good().bytes();
  const MemoryFile file(std::string_view(whole).substr(0, whole.size() - 3));
  const std::string message = load_failure(file.path(), GgufUse::kWeights);
  CHECK(message.find(fmt::format("has {} bytes", whole.size() - 3)) != std::string::npos);
  CHECK(message.find(fmt::format("need {}", whole.size())) != std::string::npos);
}

TEST_CASE("every single flipped bit of a header either opens inside the file's bounds or is an error") {
  const std::string whole = good().bytes();
  const std::size_t header = good().header().size();
  int opened = 0;
  for (std::size_t bit = 0; bit < header * 8; ++bit) {
    std::string bytes = whole;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    const MemoryFile file(bytes);
    for (const GgufUse use : {GgufUse::kWeights, GgufUse::kInspect}) {
      try {
        const GgufFile gguf = GgufFile::open(file.path(), use);
        for (const GgufTensor& tensor : gguf.tensors()) {
          CHECK(tensor.offset + tensor.bytes <= gguf.file_bytes());
          if (!tensor.known) continue;
          std::vector<std::byte> data(tensor.bytes);
          gguf.read(tensor, 0, data);
        }
        ++opened;
      } catch (const Error&) {
      }
    }
  }
  CHECK(opened > 0);  // flips in names and values are no damage that a reader can see
}

TEST_CASE("the alignment may be of any integer type") {
  const TempDir dir;
  TinyGguf gguf;
  gguf.alignment = 64;
  gguf.u64("general.alignment", 64).f32_tensor("t", {1}, std::vector<float>{1.0f});
  gguf.write(dir / "m.gguf");
  CHECK(GgufFile::open(dir / "m.gguf").alignment() == 64);
}

TEST_CASE("shards joined by hand, pieces of a cut file and web pages are told as such") {
  const TempDir dir;
  const auto shard = [](int number, const char* tensor) {
    TinyGguf gguf;
    gguf.u16("split.no", static_cast<std::uint16_t>(number)).u16("split.count", 2).i32("split.tensors.count", 1);
    if (tensor != nullptr) gguf.f32_tensor(tensor, {1}, std::vector<float>{1.0f});
    return gguf.bytes();
  };
  const auto said = [&](const char* name, const std::string& bytes) {
    write_bytes(dir / name, bytes);
    return load_failure(dir / name, GgufUse::kWeights);
  };
  const std::string first = shard(0, "a"), padding(28, '\0');
  CHECK(said("m.gguf", first + shard(1, "b")).find("joined by hand") != std::string::npos);
  CHECK(said("m.gguf", first + padding + shard(1, "b")).find("joined by hand") != std::string::npos);
  CHECK(said("m.gguf", shard(0, nullptr) + shard(1, "b")).find("joined by hand") != std::string::npos);
  CHECK(said("m.gguf.part1of2", first.substr(0, first.size() - 2)).find("'cat'") != std::string::npos);
  CHECK(said("m.gguf", "<!DOCTYPE html><html><head></head></html>").find("web page") != std::string::npos);
}
