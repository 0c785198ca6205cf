#include "runtime/cli/model_identity.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <utility>
#include <vector>

#include "runtime/load/gguf.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_gguf.hpp"

using namespace dodeca::runtime;
using namespace dodeca::tests;
using cli::model_outline;
using dodeca::quant::DType;

namespace {

// Vocabulary-like metadata larger than any fixed beginning of the file, then 16 MiB of weights.
void write_model(const std::filesystem::path& path, float weight, int shard = -1) {
  Metadata metadata;
  metadata.set("general.architecture", std::string("x"));
  metadata.set("filler", MetaArray<std::string>{std::vector<std::string>(40000, std::string(64, 'v'))});
  if (shard >= 0) {
    metadata.set("split.no", static_cast<std::uint16_t>(shard));
    metadata.set("split.count", std::uint16_t{2});
    metadata.set("split.tensors.count", std::int32_t{2});
  }
  GgufWriter writer(path, metadata, {{shard == 1 ? "u" : "t", DType::kF32, {1 << 22}}});
  const std::vector<float> values(1 << 22, weight);
  writer.append(std::as_bytes(std::span(values)));
  writer.finish();
}

void put(const std::filesystem::path& path, std::streamoff at, char c) {
  std::fstream f(path, std::ios::in | std::ios::out | std::ios::binary);
  f.seekp(at, at < 0 ? std::ios::end : std::ios::beg);
  f.put(c);
}

}  // namespace

TEST_CASE("the same header with other weights is another model; a copy is the same") {
  const TempDir dir;
  write_model(dir / "a.gguf", 1.0f);
  const std::string a = model_outline(dir / "a.gguf");
  std::filesystem::copy_file(dir / "a.gguf", dir / "copy.gguf");
  CHECK(model_outline(dir / "copy.gguf") == a);
  write_model(dir / "b.gguf", 2.0f);
  CHECK(std::filesystem::file_size(dir / "a.gguf") == std::filesystem::file_size(dir / "b.gguf"));
  CHECK(model_outline(dir / "b.gguf") != a);
  put(dir / "copy.gguf", 2 << 20, '~');  // far in the header
  CHECK(model_outline(dir / "copy.gguf") != a);
  std::filesystem::copy_file(dir / "a.gguf", dir / "last.gguf");
  put(dir / "last.gguf", -1, '~');
  CHECK(model_outline(dir / "last.gguf") != a);
}

TEST_CASE("every shard counts") {
  const TempDir dir;
  write_model(dir / "m-00001-of-00002.gguf", 1.0f, 0);
  write_model(dir / "m-00002-of-00002.gguf", 1.0f, 1);
  const std::string before = model_outline(dir / "m-00001-of-00002.gguf");
  CHECK(model_outline(dir / "m-00001-of-00002.gguf") == before);
  write_model(dir / "m-00002-of-00002.gguf", 2.0f, 1);
  CHECK(model_outline(dir / "m-00001-of-00002.gguf") != before);
}

TEST_CASE("of a directory, tables, templates and weights count") {
  const TempDir dir;
  const std::string header = "{}" + std::string(2 << 20, ' '), data(6 << 20, 'w');
  write_bytes(dir / "model.safetensors", le(std::uint64_t{header.size()}) + header + data);
  write_bytes(dir / "config.json", "{}");
  write_bytes(dir / "chat_template.jinja", "{{ a }}");
  std::string before = model_outline(dir.path());
  CHECK(model_outline(dir.path()) == before);
  const auto changed = [&] {
    const std::string now = model_outline(dir.path());
    return std::exchange(before, now) != now;
  };
  write_bytes(dir / "chat_template.jinja", "{{ b }}");
  CHECK(changed());
  write_bytes(dir / "config.json", "{ }");
  CHECK(changed());
  put(dir / "model.safetensors", 3 << 19, '~');  // in the header
  CHECK(changed());
  put(dir / "model.safetensors", -1, '~');
  CHECK(changed());
  write_bytes(dir / "notes.md", "of no weight");
  CHECK_FALSE(changed());
}
