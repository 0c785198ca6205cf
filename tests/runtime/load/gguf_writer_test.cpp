#include <doctest/doctest.h>

#include <fstream>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "runtime/load/gguf.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_gguf.hpp"

using namespace dodeca::runtime;
using namespace dodeca::tests;
using dodeca::quant::DType;

namespace {

Metadata all_types() {
  Metadata m;
  m.set("u8", std::uint8_t{255});
  m.set("i8", std::int8_t{-128});
  m.set("u16", std::uint16_t{65535});
  m.set("i16", std::int16_t{-32768});
  m.set("u32", std::uint32_t{4294967295u});
  m.set("i32", std::int32_t{-5});
  m.set("f32", 1.5f);
  m.set("yes", true);
  m.set("str", std::string("h\xc3\xa9\xff\0z", 6));
  m.set("u64", std::uint64_t{UINT64_MAX});
  m.set("i64", std::int64_t{INT64_MIN});
  m.set("f64", -2.25);
  m.set("u8s", MetaArray<std::uint8_t>{{0, 255}});
  m.set("i8s", MetaArray<std::int8_t>{{-1}});
  m.set("u16s", MetaArray<std::uint16_t>{{1, 2, 3}});
  m.set("i16s", MetaArray<std::int16_t>{{-1, 1}});
  m.set("u32s", MetaArray<std::uint32_t>{});
  m.set("i32s", MetaArray<std::int32_t>{{-1, 7}});
  m.set("f32s", MetaArray<float>{{0.5f, -0.0f}});
  m.set("bools", MetaArray<bool>{{true, false, true}});
  m.set("strings", MetaArray<std::string>{{"", "a", std::string("b\0c", 3)}});
  m.set("u64s", MetaArray<std::uint64_t>{{UINT64_MAX}});
  m.set("i64s", MetaArray<std::int64_t>{{INT64_MIN}});
  m.set("f64s", MetaArray<double>{{1e300}});
  return m;
}

template <class T>
bool same(const T& a, const T& b) {
  return a == b;
}
template <class T>
bool same(const MetaArray<T>& a, const MetaArray<T>& b) {
  return a.values == b.values;
}

bool same_value(const MetaValue& a, const MetaValue& b) {
  if (a.index() != b.index()) return false;
  return std::visit([&](const auto& v) { return same(v, std::get<std::decay_t<decltype(v)>>(b)); }, a);
}

void append(GgufWriter& writer, const std::string& bytes) { writer.append(std::as_bytes(std::span(bytes))); }

}  // namespace

TEST_CASE("metadata of all types survive writing and reading") {
  const TempDir dir;
  const Metadata written = all_types();
  GgufWriter writer(dir / "m.gguf", written, {});
  writer.finish();
  const GgufFile file = GgufFile::open(dir / "m.gguf");
  CHECK(file.version() == 3);
  REQUIRE(file.metadata().entries().size() == written.entries().size());
  for (std::size_t i = 0; i < written.entries().size(); ++i) {
    CAPTURE(written.entries()[i].first);
    CHECK(file.metadata().entries()[i].first == written.entries()[i].first);
    CHECK(same_value(file.metadata().entries()[i].second, written.entries()[i].second));
  }
}

TEST_CASE("what is written is byte for byte what the format says, at any alignment and in pieces of any size") {
  for (const std::uint32_t alignment : {8u, 32u, 256u}) {
    const TempDir dir;
    const std::string q8(34 * 3, 'q'), half("123456");
    const std::vector<float> floats{1, 2, 3};
    TinyGguf expected;
    expected.alignment = alignment;
    expected.u32("general.alignment", alignment)
        .str("general.architecture", "x")
        .strings("s", {"a", "b"})
        .i32s("n", {4, 5});
    expected.f32_tensor("norm", {3}, floats).tensor("q", DType::kQ8_0, {32, 3}, std::as_bytes(std::span(q8)));
    expected.tensor("half", DType::kF16, {3, 1}, std::as_bytes(std::span(half)));
    Metadata metadata;
    metadata.set("general.alignment", alignment);
    metadata.set("general.architecture", std::string("x"));
    metadata.set("s", MetaArray<std::string>{{"a", "b"}});
    metadata.set("n", MetaArray<std::int32_t>{{4, 5}});

    GgufWriter writer(dir / "m.gguf", metadata,
                      {{"norm", DType::kF32, {3}}, {"q", DType::kQ8_0, {32, 3}}, {"half", DType::kF16, {3, 1}}});
    append(writer, le(1.0f) + le(2.0f));
    append(writer, le(3.0f));
    for (std::size_t i = 0; i < q8.size(); i += 17) append(writer, q8.substr(i, 17));
    append(writer, half);
    writer.finish();
    std::string bytes = read_bytes(dir / "m.gguf");
    CHECK(bytes.size() == writer.total_bytes());
    const std::string want = expected.bytes();
    REQUIRE(bytes.size() >= want.size());
    CHECK(bytes.substr(want.size()).find_first_not_of('\0') == std::string::npos);  // the last tensor is padded as well
    bytes.resize(want.size());
    CHECK(bytes == want);
  }
}

TEST_CASE("an unfinished writer leaves nothing, and a file of that name as it was") {
  const TempDir dir;
  write_bytes(dir / "m.gguf", "precious");
  {
    GgufWriter writer(dir / "m.gguf", {}, {{"t", DType::kF32, {4}}});
    append(writer, "12345678");
    CHECK_THROWS_AS(writer.finish(), Error);
  }
  CHECK(read_bytes(dir / "m.gguf") == "precious");
  CHECK(dir.n_entries() == 1);
}

TEST_CASE("data must fit the announced tensors exactly") {
  const TempDir dir;
  GgufWriter writer(dir / "m.gguf", {}, {{"t", DType::kF32, {2}}, {"u", DType::kF32, {1}}});
  CHECK_THROWS_AS(append(writer, "123456789"), Error);  // not into the next tensor
  append(writer, "12345678");
  append(writer, "1234");
  CHECK_THROWS_AS(append(writer, "1"), Error);
  append(writer, "");
  writer.finish();
  CHECK(GgufFile::open(dir / "m.gguf").tensors().size() == 2);
}

TEST_CASE("specifications that no file can hold are refused before a file appears") {
  const TempDir dir;
  const auto refuse = [&](GgufWriter::TensorSpec spec) {
    CHECK_THROWS_AS(GgufWriter(dir / "m.gguf", {}, {std::move(spec)}), Error);
    CHECK(dir.n_entries() == 0);
  };
  refuse({"", DType::kF32, {1}});
  refuse({std::string(64, 'n'), DType::kF32, {1}});
  refuse({std::string("a\0b", 3), DType::kF32, {1}});
  refuse({"t", DType::kF32, {}});
  refuse({"t", DType::kF32, {1, 1, 1, 1, 1}});
  refuse({"t", DType::kF32, {0}});
  refuse({"t", DType::kF32, {-1}});
  refuse({"t", DType::kF32, {INT64_MAX, 4}});
  refuse({"t", DType::kF32, {INT64_MAX}});
  refuse({"t", DType::kQ4_K, {128, 2}});
  refuse({"t", DType::kF8_E4M3_B128, {128}});
  refuse({"t", DType::kF32, {std::int64_t{1} << 58}});  // more than any disk
  CHECK_THROWS_AS(GgufWriter(dir / "m.gguf", {}, {{"t", DType::kF32, {1}}, {"t", DType::kF32, {1}}}), Error);
  Metadata metadata;
  metadata.set("general.alignment", std::uint32_t{24});
  CHECK_THROWS_AS(GgufWriter(dir / "m.gguf", metadata, {}), Error);
}

TEST_CASE("a writer that is to be continued goes on behind what is intact") {
  const TempDir dir;
  const std::filesystem::path path = dir / "m.gguf", partial = dir / "m.gguf.partial", log = dir / "m.gguf.partial.log";
  Metadata metadata;
  metadata.set("general.architecture", std::string("x"));
  const std::vector<GgufWriter::TensorSpec> specs = {
      {"a", DType::kF32, {3}}, {"b", DType::kF32, {100}}, {"c", DType::kF32, {5}}};
  const auto bytes = [](std::size_t n, int value) { return std::vector<std::byte>(n, static_cast<std::byte>(value)); };
  const auto interrupted = [&] {  // one tensor noted, a second one half written
    GgufWriter writer(path, metadata, specs, "work");
    if (writer.finished_tensors() == 0) writer.append(bytes(12, 1));
    writer.append(bytes(50, 2));
  };
  const auto finished_by = [&](std::string_view identity) {
    return GgufWriter(path, metadata, specs, identity).finished_tensors();
  };
  // Begins anew: tells how much goes.
  const auto discarded_by = [&](std::string_view identity) {
    const GgufWriter writer(path, metadata, specs, identity, {}, true);
    CHECK(writer.finished_tensors() == 0);
    return writer.discarded_bytes();
  };
  const auto damage = [](const std::filesystem::path& file, std::size_t from_end) {
    std::fstream f(file, std::ios::in | std::ios::out | std::ios::binary);
    f.seekp(-static_cast<std::streamoff>(from_end), std::ios::end);
    f.put('~');
  };

  interrupted();
  CHECK(std::filesystem::exists(partial));
  CHECK(finished_by("work") == 1);
  // Another work does not take its place unasked, and then it is still there.
  interrupted();
  CHECK_THROWS_WITH_AS(finished_by("other work"), doctest::Contains("with 1 finished tensors"), Error);
  CHECK(finished_by("work") == 1);
  interrupted();
  CHECK(discarded_by("other work") > 12);
  interrupted();
  CHECK(discarded_by("work") > 12);
  interrupted();
  damage(log, 2);  // in the checksum
  CHECK(finished_by("work") == 0);
  interrupted();
  damage(partial, std::filesystem::file_size(partial) - 0x60);  // in the header or the first tensor
  CHECK(finished_by("work") == 0);
  interrupted();
  std::filesystem::remove(log);
  CHECK(finished_by("work") == 0);
  interrupted();
  {
    GgufWriter busy(path, metadata, specs, "work");
    CHECK_THROWS_AS(GgufWriter(path, metadata, specs, "work"), Error);  // two at once
  }
  {
    GgufWriter writer(path, metadata, specs, "work");
    REQUIRE(writer.finished_tensors() == 1);
    writer.append(bytes(400, 2));
    writer.append(bytes(20, 3));
    writer.finish();
  }
  CHECK_FALSE(std::filesystem::exists(partial));
  CHECK_FALSE(std::filesystem::exists(log));
  {
    GgufWriter plain(dir / "plain.gguf", metadata, specs);
    plain.append(bytes(12, 1));
    plain.append(bytes(400, 2));
    plain.append(bytes(20, 3));
    plain.finish();
  }
  const auto content = [](const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    return std::string{std::istreambuf_iterator<char>(in), {}};
  };
  CHECK(content(path) == content(dir / "plain.gguf"));
}
