#include "runtime/load/safetensors.hpp"

#include <doctest/doctest.h>

#include <ctime>
#include <string>
#include <vector>

#include "tests/support/memory_file.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_gguf.hpp"

using namespace dodeca::runtime;
using namespace dodeca::tests;
using dodeca::quant::DType;

namespace {

std::string file_bytes(const std::string& header, const std::string& data) {
  return le(std::uint64_t{header.size()}) + header + data;
}

const std::string kHeader =
    R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
    R"("b":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[8,11]},"scalar":{"dtype":"BF16","shape":[],"data_offsets":[11,13]},)"
    R"("none":{"dtype":"F16","shape":[0,7],"data_offsets":[13,13]},"odd":{"dtype":"U16","shape":[1],"data_offsets":[13,15]}}   )";
const std::string kData = "aaaaAAAAbbbSSoo";

std::string failure(const std::filesystem::path& path) {
  try {
    parse_safetensors(InputFile(path), 0);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::string dir_failure(const TempDir& dir) {
  try {
    SafetensorsDir::open(dir.path());
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::string data_of(const SafetensorsDir& dir, std::string_view name) {
  const SafeTensor* tensor = dir.find(name);
  REQUIRE(tensor != nullptr);
  std::string bytes(tensor->bytes, '?');
  dir.read(*tensor, 0, std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

std::string one(const std::string& entry) { return "{\"t\":" + entry + "}"; }

}  // namespace

TEST_CASE("a single file gives names, types, shapes and data") {
  const TempDir dir;
  write_bytes(dir / "model.safetensors", file_bytes(kHeader, kData));
  const SafetensorsDir model = SafetensorsDir::open(dir.path());
  REQUIRE(model.tensors().size() == 5);
  const SafeTensor& a = *model.find("a");
  CHECK(a.dtype == DType::kF32);
  CHECK(a.dtype_name == "F32");
  CHECK(a.shape == std::vector<std::int64_t>{2, 1});
  CHECK(data_of(model, "a") == "aaaaAAAA");
  CHECK(data_of(model, "b") == "bbb");
  CHECK(model.find("b")->dtype == DType::kF8_E4M3);
  CHECK(data_of(model, "scalar") == "SS");
  CHECK(model.find("none")->bytes == 0);
  CHECK_FALSE(model.find("odd")->known);
  std::byte byte;
  CHECK_THROWS_AS(model.read(*model.find("odd"), 0, {&byte, 1}), Error);
  CHECK_THROWS_AS(model.read(a, 8, {&byte, 1}), Error);
  CHECK_THROWS_AS(model.read(a, UINT64_MAX, {&byte, 1}), Error);
  CHECK(model.find("zzz") == nullptr);
}

TEST_CASE("shards are found through the index, and a scale may lie in another shard than its weight") {
  const TempDir dir;
  write_bytes(dir / "one.safetensors",
              file_bytes(one(R"({"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]})"), "ww"));
  write_bytes(
      dir / "two.safetensors",
      file_bytes(
          R"({"t_scale":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"stale":{"dtype":"I8","shape":[1],"data_offsets":[4,5]}})",
          "ssssx"));
  const auto index = [&](const std::string& map) {
    write_bytes(dir / "model.safetensors.index.json", "{\"metadata\":{\"total_size\":6},\"weight_map\":" + map + "}");
  };
  index(R"({"t_scale":"two.safetensors","t":"one.safetensors"})");
  const SafetensorsDir model = SafetensorsDir::open(dir.path());
  CHECK(model.files().size() == 2);
  CHECK(model.tensors().size() == 2);
  CHECK(data_of(model, "t") == "ww");
  CHECK(data_of(model, "t_scale") == "ssss");
  CHECK(model.find("stale") == nullptr);

  index(R"({"t":"one.safetensors","x":"three.safetensors","y":"four.safetensors"})");
  CHECK(dir_failure(dir).find("2 of 3 shards are missing") != std::string::npos);
  CHECK(dir_failure(dir).find("three.safetensors, four.safetensors") != std::string::npos);
  index(R"({"t":"two.safetensors"})");
  CHECK(dir_failure(dir).find("tensor t is not in two.safetensors") != std::string::npos);
  for (const char* map : {R"({"t":"../one.safetensors"})", R"({"t":"/etc/passwd"})", R"({"t":".."})", R"({"t":""})",
                          R"({"t":7})", R"({"t":"a\\b"})", R"({"t":"a\u0000b"})", R"({})", R"([])",
                          R"({"t":"one.safetensors","t":"one.safetensors"})"}) {
    CAPTURE(map);
    index(map);
    CHECK_FALSE(dir_failure(dir).empty());
  }
  write_bytes(dir / "model.safetensors.index.json", "{}");
  CHECK(dir_failure(dir).find("weight_map") != std::string::npos);
}

TEST_CASE("an index of 200,000 entries is read, one of 1,000,000 is refused, both soon") {
  const TempDir dir;
  const auto index = [&](int n) {
    std::string map;
    for (int i = 0; i < n; ++i) map += (i > 0 ? ",\"t" : "\"t") + std::to_string(i) + "\":\"absent.safetensors\"";
    write_bytes(dir / "model.safetensors.index.json", "{\"weight_map\":{" + map + "}}");
  };
  index(200'000);
  const std::clock_t begin = std::clock();
  CHECK(dir_failure(dir).find("1 of 1 shards are missing") != std::string::npos);
  CHECK(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC < 15);  // half a second without sanitizers
  index(1'000'000);
  CHECK(dir_failure(dir).find("more than 600000 JSON values") != std::string::npos);
  std::filesystem::resize_file(dir / "model.safetensors.index.json", std::uintmax_t{230} << 20);
  CHECK(dir_failure(dir).find("at most 67108864 are read") != std::string::npos);
}

TEST_CASE("a directory without weights, and what is no directory, are told") {
  const TempDir dir;
  CHECK(dir_failure(dir).find("neither") != std::string::npos);
  CHECK_THROWS_AS(SafetensorsDir::open(dir / "absent"), Error);
}

TEST_CASE("malformed safetensors files are errors that say what is wrong") {
  const TempDir dir;
  struct Case {
    const char* name;
    std::string bytes;
    const char* message;
  };
  const auto f32 = [](const std::string& shape, const std::string& offsets) {
    return one(R"({"dtype":"F32","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}");
  };
  const Case cases[] = {
      {"empty", "", "has 0 bytes"},
      {"7 bytes", "1234567", "has 7 bytes"},
      {"header longer than the file", le(std::uint64_t{9}) + "{}", "incomplete download?"},
      {"header of 2^64-1 bytes", le(UINT64_MAX) + "{}", "at most 100000000"},
      {"header above 100 MB", le(std::uint64_t{100000001}) + "{}", "at most 100000000"},
      {"empty header", file_bytes("", ""), "does not begin with {"},
      {"header begins with a space", file_bytes(" {}", ""), "does not begin with {"},
      {"an array", file_bytes("[]", ""), "does not begin with {"},
      {"broken JSON", file_bytes("{\"a\":", ""), "not valid JSON"},
      {"invalid UTF-8", file_bytes("{\"\xff\":1}", ""), "not valid JSON"},
      {"duplicate tensor",
       file_bytes(
           R"({"t":{"dtype":"I8","shape":[0],"data_offsets":[0,0]},"t":{"dtype":"I8","shape":[0],"data_offsets":[0,0]}})",
           ""),
       "appears twice"},
      {"duplicate field", file_bytes(one(R"({"dtype":"I8","dtype":"I8","shape":[0],"data_offsets":[0,0]})"), ""),
       "appears twice"},
      {"unknown field", file_bytes(one(R"({"dtype":"I8","shape":[0],"data_offsets":[0,0],"x":1})"), ""), "exactly"},
      {"unknown field in a known one's place", file_bytes(one(R"({"x":"I8","shape":[0],"data_offsets":[0,0]})"), ""),
       "exactly"},
      {"field missing", file_bytes(one(R"({"dtype":"I8","shape":[0]})"), ""), "exactly"},
      {"entry no object", file_bytes(one("1"), ""), "exactly"},
      {"three offsets", file_bytes(f32("[1]", "[0,4,4]"), "1234"), "exactly"},
      {"empty name", file_bytes(R"({"":{"dtype":"I8","shape":[0],"data_offsets":[0,0]}})", ""), "without name"},
      {"metadata no strings", file_bytes(R"({"__metadata__":{"a":1}})", ""), "__metadata__"},
      {"negative dimension", file_bytes(f32("[-1]", "[0,4]"), "1234"), "dimension"},
      {"fractional dimension", file_bytes(f32("[1.0]", "[0,4]"), "1234"), "dimension"},
      {"dimension above 2^63", file_bytes(f32("[18446744073709551615]", "[0,4]"), "1234"), "dimension"},
      {"dimensions overflow", file_bytes(f32("[4611686018427387904,4]", "[0,4]"), "1234"), "overflow"},
      {"size overflows", file_bytes(f32("[4611686018427387904]", "[0,4]"), "1234"), "overflow"},
      {"offset negative", file_bytes(f32("[1]", "[-4,0]"), "1234"), "offset"},
      {"end before begin", file_bytes(f32("[0]", "[4,0]"), "1234"), "before they begin"},
      {"end outside", file_bytes(f32("[2]", "[0,8]"), "1234"), "incomplete download?"},
      {"end far outside", file_bytes(f32("[2]", "[0,9223372036854775807]"), "1234"), "incomplete download?"},
      {"size does not match the shape", file_bytes(f32("[2]", "[0,4]"), "1234"), "are 8 bytes"},
      {"size of an unread dtype does not match",
       file_bytes(one(R"({"dtype":"U16","shape":[3],"data_offsets":[0,4]})"), "1234"), "are 6 bytes"},
      {"hole at the start", file_bytes(f32("[1]", "[4,8]"), "12345678"), "hole"},
      {"hole between",
       file_bytes(
           R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"I8","shape":[1],"data_offsets":[2,3]}})",
           "123"),
       "hole"},
      {"overlap",
       file_bytes(
           R"({"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"I8","shape":[2],"data_offsets":[1,3]}})",
           "123"),
       "inside"},
      {"same data twice",
       file_bytes(
           R"({"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}})",
           "12"),
       "inside"},
      {"trailing bytes", file_bytes(f32("[1]", "[0,4]"), "12345"), "belong to none"},
      {"data without tensors", file_bytes("{}", "1"), "belong to none"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    write_bytes(dir / "m.safetensors", c.bytes);
    const std::string message = failure(dir / "m.safetensors");
    CHECK_MESSAGE(message.find(c.message) != std::string::npos, "said: ", message);
    CHECK(message.find("m.safetensors") != std::string::npos);
  }
}

TEST_CASE("headers alone are enough where no data are asked for") {
  const MemoryFile cut(file_bytes(kHeader, "aa"));
  CHECK_THROWS_AS(parse_safetensors(InputFile(cut.path()), 0), Error);
  const std::vector<SafeTensor> tensors = parse_safetensors(InputFile(cut.path()), 0, SafetensorsUse::kHeaders);
  REQUIRE(tensors.size() == 5);
  CHECK(tensors[0].bytes == 8);
  const MemoryFile torn(file_bytes(kHeader, "").substr(0, 40));
  CHECK_THROWS_AS(parse_safetensors(InputFile(torn.path()), 0, SafetensorsUse::kHeaders), Error);
}

TEST_CASE("a dtype that nobody knows is an error only when its data are asked for") {
  const TempDir dir;
  write_bytes(dir / "model.safetensors", file_bytes(one(R"({"dtype":"F4","shape":[5],"data_offsets":[0,3]})"), "123"));
  const SafetensorsDir model = SafetensorsDir::open(dir.path());
  CHECK_FALSE(model.find("t")->known);
  CHECK_THROWS_WITH_AS(data_of(model, "t"), "unsupported: tensor t has the type F4", Error);
}

TEST_CASE("a safetensors file cut at any byte, or with any header bit flipped, never crashes") {
  const std::string whole = file_bytes(kHeader, kData);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    CAPTURE(n);
    const MemoryFile memory(std::string_view(whole).substr(0, n));
    CHECK_FALSE(failure(memory.path()).empty());
  }
  for (std::size_t bit = 0; bit < (8 + kHeader.size()) * 8; ++bit) {
    std::string bytes = whole;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    const MemoryFile memory(bytes);
    try {
      const InputFile file(memory.path());
      for (const SafeTensor& tensor : parse_safetensors(file, 0)) CHECK(tensor.offset + tensor.bytes <= file.size());
    } catch (const Error&) {
    }
  }
}

TEST_CASE("the demo checkpoint opens") {
  const SafetensorsDir model = SafetensorsDir::open(DODECA_SOURCE_DIR "/bench/demo/model");
  CHECK(model.files().size() == 2);
  const SafeTensor* embedding = model.find("model.embed_tokens.weight");
  REQUIRE(embedding != nullptr);
  CHECK(embedding->dtype == DType::kBF16);
  CHECK(embedding->shape.size() == 2);
  CHECK(model.find("model.layers.1.mlp.gate.e_score_correction_bias")->dtype == DType::kF32);
}

TEST_CASE("files that were joined by hand are told as such") {
  const TempDir dir;
  write_bytes(dir / "model.safetensors", file_bytes(kHeader, kData) + file_bytes(kHeader, kData));
  CHECK(failure(dir / "model.safetensors").find("joined by hand") != std::string::npos);
}
