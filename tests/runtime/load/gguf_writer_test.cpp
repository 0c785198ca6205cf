#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/load/gguf.hpp"
#include "runtime/load/write_log.hpp"
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
  m.set("u8s", Array<std::uint8_t>{{0, 255}});
  m.set("i8s", Array<std::int8_t>{{-1}});
  m.set("u16s", Array<std::uint16_t>{{1, 2, 3}});
  m.set("i16s", Array<std::int16_t>{{-1, 1}});
  m.set("u32s", Array<std::uint32_t>{});
  m.set("i32s", Array<std::int32_t>{{-1, 7}});
  m.set("f32s", Array<float>{{0.5f, -0.0f}});
  m.set("bools", Array<bool>{{true, false, true}});
  m.set("strings", Array<std::string>{{"", "a", std::string("b\0c", 3)}});
  m.set("u64s", Array<std::uint64_t>{{UINT64_MAX}});
  m.set("i64s", Array<std::int64_t>{{INT64_MIN}});
  m.set("f64s", Array<double>{{1e300}});
  return m;
}

template <class T>
bool same(const T& a, const T& b) {
  return a == b;
}
template <class T>
bool same(const Array<T>& a, const Array<T>& b) {
  return a.values == b.values;
}

bool same_value(const MetaValue& a, const MetaValue& b) {
  if (a.index() != b.index()) return false;
  return std::visit([&](const auto& v) { return same(v, std::get<std::decay_t<decltype(v)>>(b)); }, a);
}

void append(GgufWriter& writer, const std::string& bytes) { writer.append(std::as_bytes(std::span(bytes))); }

std::size_t n_entries(const TempDir& dir) {
  std::size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(dir.path())) ++n;
  return n;
}

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
    metadata.set("s", Array<std::string>{{"a", "b"}});
    metadata.set("n", Array<std::int32_t>{{4, 5}});

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
  CHECK(n_entries(dir) == 1);
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
    CHECK(n_entries(dir) == 0);
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
  const auto damage = [](const std::filesystem::path& file, std::size_t from_end) {
    std::fstream f(file, std::ios::in | std::ios::out | std::ios::binary);
    f.seekp(-static_cast<std::streamoff>(from_end), std::ios::end);
    f.put('~');
  };

  interrupted();
  CHECK(std::filesystem::exists(partial));
  CHECK(finished_by("work") == 1);
  interrupted();
  {
    GgufWriter other(path, metadata, specs, "other work");
    CHECK(other.finished_tensors() == 0);
    CHECK(other.discarded_bytes() > 12);
  }
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

TEST_CASE("what a log vouches for is there at every moment of going on") {
  const TempDir dir;
  const std::vector<WrittenTensor> entries = {{100, 1}, {200, 2}, {300, 3}};
  const auto begin = [&](std::string_view identity, std::span<const WrittenTensor> standing) {
    WriteLog log(dir / "log");
    log.begin(identity, standing);
  };
  begin("work", entries);
  const std::string whole = read_bytes(dir / "log");
  // Where not one byte can be written: a full disk, or killed before the first.
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{0, 0};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      begin("work", entries);
    } catch (const Error&) {
    }
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(read_bytes(dir / "log") == whole);
  // A torn end and entries that do not stand are cut, and what comes next follows.
  write_bytes(dir / "log", whole + "3 400 00000");
  {
    WriteLog log(dir / "log");
    log.begin("work", std::span(entries).first(2));
    CHECK(read_write_log(dir / "log", "work")->size() == 2);
    log.add(std::span(entries).last(1));
  }
  CHECK(read_bytes(dir / "log") == whole);
  CHECK_FALSE(read_write_log(dir / "log", "other work"));
  begin("other work", {});
  CHECK(read_write_log(dir / "log", "other work")->empty());
  {
    const WriteLog log(dir / "log");
    CHECK_THROWS_WITH_AS(WriteLog(dir / "log"), doctest::Contains("another process"), Error);
  }
  CHECK(std::filesystem::exists(dir / "log"));
  { const WriteLog unused(dir / "new"); }
  CHECK_FALSE(std::filesystem::exists(dir / "new"));
}

namespace {

// Six tensors of 100 floats, the data of tensor i being bytes of i; files of at most 1120 bytes hold two.
struct SplitWork {
  std::filesystem::path path;
  Metadata metadata;
  std::vector<GgufWriter::TensorSpec> specs;
  SplitLimits limits{.max_bytes = 1120};

  explicit SplitWork(std::filesystem::path to) : path(std::move(to)) {
    metadata.set("general.architecture", std::string("x"));
    metadata.set("tokens", Array<std::string>{{"a", "b"}});
    for (const char* name : {"a", "b", "c", "d", "e", "f"}) specs.push_back({name, DType::kF32, {100}});
  }
  std::vector<GgufWriter::File> files() const { return GgufWriter::files_of(path, metadata, specs, limits); }
  // Writes tensors up to `end` of those that are not there; finishes when all are.
  void write(std::size_t end = 6, std::optional<std::string_view> identity = std::nullopt) const {
    GgufWriter writer(path, metadata, specs, identity, limits);
    for (std::size_t i = writer.finished_tensors(); i < end; ++i)
      writer.append(std::vector<std::byte>(400, static_cast<std::byte>(i)));
    if (end == specs.size()) writer.finish();
  }
  std::string bytes() const {
    std::string all;
    for (const GgufWriter::File& file : files()) all += read_bytes(file.path);
    return all;
  }
};

}  // namespace

TEST_CASE("a split file: names, keys, limits") {
  const TempDir dir;
  const SplitWork work(dir / "m.gguf");
  const std::vector<GgufWriter::File> files = work.files();
  REQUIRE(files.size() == 3);
  CHECK(files[0].path == dir / "m-00001-of-00003.gguf");
  work.write();
  CHECK(n_entries(dir) == 3);
  for (std::size_t no = 0; no < 3; ++no) {
    CHECK(std::filesystem::file_size(files[no].path) == files[no].bytes);
    CHECK(files[no].bytes <= work.limits.max_bytes);
    const GgufFile shard = GgufFile::open(files[0].path);
    REQUIRE(shard.files().size() == 3);
  }
  const GgufFile whole = GgufFile::open(files[0].path);
  REQUIRE(whole.tensors().size() == 6);
  CHECK(whole.metadata().strings("tokens")->size() == 2);
  CHECK(std::get<std::uint16_t>(*whole.metadata().find("split.no")) == 0);
  CHECK(std::get<std::uint16_t>(*whole.metadata().find("split.count")) == 3);
  CHECK(std::get<std::int32_t>(*whole.metadata().find("split.tensors.count")) == 6);
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(whole.tensors()[i].file == static_cast<int>(i / 2));
    std::vector<std::byte> data(400);
    whole.read(whole.tensors()[i], 0, data);
    CHECK(data == std::vector<std::byte>(400, static_cast<std::byte>(i)));
  }

  SplitWork one = work;  // in number: 4 and 2; where all fits there is still a number in the name
  one.limits = {.max_tensors = 4};
  CHECK(one.files()[0].n_tensors == 4);
  CHECK(one.files()[1].n_tensors == 2);
  one.limits = {.max_bytes = 1 << 20};
  REQUIRE(one.files().size() == 1);
  CHECK(one.files()[0].path == dir / "m-00001-of-00001.gguf");
  one.limits = {.max_bytes = files[0].bytes - 1};
  CHECK(one.files().size() > 3);
  one.limits = {.max_bytes = 400};
  CHECK_THROWS_WITH_AS(one.files(), doctest::Contains("tensor a"), Error);
}

TEST_CASE("a split file that is to be continued: killed between any two tensors, and between any two renames") {
  const TempDir dir;
  const SplitWork plain(dir / "plain.gguf"), work(dir / "m.gguf");
  plain.write();
  const std::string want = plain.bytes();
  const std::filesystem::path log = dir / "m.gguf.partial.log";
  const auto partial = [](const GgufWriter::File& file) {
    std::filesystem::path path = file.path;
    path += ".partial";
    return path;
  };
  const std::vector<GgufWriter::File> files = work.files();
  for (std::size_t killed = 0; killed < 6; ++killed) {
    work.write(killed, "work");
    for (const GgufWriter::File& file : files) CHECK_FALSE(std::filesystem::exists(file.path));
    work.write(6, "work");
    CHECK(work.bytes() == want);
    CHECK(n_entries(dir) == 6);
    for (const GgufWriter::File& file : files) std::filesystem::remove(file.path);
  }

  const auto all_written = [&] {
    GgufWriter writer(work.path, work.metadata, work.specs, "work", work.limits);
    for (std::size_t i = 0; i < 6; ++i) writer.append(std::vector<std::byte>(400, static_cast<std::byte>(i)));
  };
  for (std::size_t n_named = 0; n_named <= 3; ++n_named) {
    all_written();
    for (std::size_t i = 0; i < n_named; ++i) std::filesystem::rename(partial(files[2 - i]), files[2 - i].path);
    {
      GgufWriter writer(work.path, work.metadata, work.specs, "work", work.limits);
      CHECK(writer.finished_tensors() == 6);
      CHECK(writer.checksums().size() == 6);
      writer.finish();
    }
    CHECK(work.bytes() == want);
    CHECK(n_entries(dir) == 6);
    for (const GgufWriter::File& file : files) std::filesystem::remove(file.path);
  }

  // Damaged after the last was renamed: it and what is behind the damage are made again.
  all_written();
  std::filesystem::rename(partial(files[2]), files[2].path);
  std::string damaged = read_bytes(partial(files[1]));
  damaged.back() = '~';
  damaged[damaged.size() - 400] = '~';
  write_bytes(partial(files[1]), damaged);
  work.write(6, "work");
  CHECK(work.bytes() == want);
  CHECK(n_entries(dir) == 6);

  // An older set of the same names is there until the new one is whole; another work's unfinished files go.
  work.write(3, "work");
  CHECK(work.bytes() == want);
  SplitWork other = work;
  other.limits = {.max_tensors = 1};
  {
    GgufWriter writer(other.path, other.metadata, other.specs, "work", other.limits);
    CHECK(writer.finished_tensors() == 0);
    CHECK(writer.discarded_bytes() > 1000);
    CHECK_FALSE(std::filesystem::exists(partial(files[0])));
    CHECK_THROWS_AS(work.write(1, "work"), Error);  // two at once
  }
  CHECK(std::filesystem::exists(log));
}
