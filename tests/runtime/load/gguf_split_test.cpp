#include <doctest/doctest.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "runtime/load/gguf.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_gguf.hpp"

using namespace dodeca::runtime;
using namespace dodeca::tests;
using dodeca::quant::DType;

namespace {

// Six tensors of 100 floats, the data of tensor i being bytes of i; files of at most 1120 bytes hold two.
struct SplitWork {
  std::filesystem::path path;
  Metadata metadata;
  std::vector<GgufWriter::TensorSpec> specs;
  SplitLimits limits{.max_bytes = 1120};

  explicit SplitWork(std::filesystem::path to) : path(std::move(to)) {
    metadata.set("general.architecture", std::string("x"));
    metadata.set("tokens", MetaArray<std::string>{{"a", "b"}});
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
  CHECK(dir.n_entries() == 3);
  for (const GgufWriter::File& file : files) {
    CHECK(std::filesystem::file_size(file.path) == file.bytes);
    CHECK(file.bytes <= work.limits.max_bytes);
  }
  const GgufFile whole = GgufFile::open(files[0].path);
  REQUIRE(whole.files().size() == 3);
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
    CHECK(dir.n_entries() == 6);
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
    CHECK(dir.n_entries() == 6);
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
  CHECK(dir.n_entries() == 6);

  // An older set of the same names is there until the new one is whole. Other limits are other work: refused, or all
  // that is unfinished goes.
  work.write(3, "work");
  CHECK(work.bytes() == want);
  SplitWork other = work;
  other.limits = {.max_tensors = 1};
  CHECK_THROWS_WITH_AS(other.write(0, "work"), doctest::Contains("a run with other inputs or options left"), Error);
  CHECK(std::filesystem::exists(partial(files[0])));
  {
    GgufWriter writer(other.path, other.metadata, other.specs, "work", other.limits, true);
    CHECK(writer.finished_tensors() == 0);
    CHECK(writer.discarded_bytes() > 1000);
    CHECK_FALSE(std::filesystem::exists(partial(files[0])));
    CHECK_THROWS_AS(work.write(1, "work"), Error);  // two at once
  }
  CHECK(std::filesystem::exists(log));
}
