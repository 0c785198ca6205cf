#include "runtime/model/model_files.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>

#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_gguf.hpp"

using dodeca::runtime::model_files;
using dodeca::tests::TempDir;
using dodeca::tests::write_bytes;

namespace {

std::set<std::string> names_of(const std::filesystem::path& model) {
  std::set<std::string> names;
  for (const auto& path : model_files(model)) names.insert(path.filename().string());
  return names;
}

}  // namespace

TEST_CASE("the files of a model, by their names") {
  const TempDir dir;
  using Names = std::set<std::string>;
  for (const char* name : {"m.gguf", "s-00001-of-00003.gguf", "s-00002-of-00003.gguf", "s-00003-of-00003.gguf",
                           "s-00001-of-00002.gguf", "t-00002-of-00003.gguf", "s-00002-of-00003.gguf.partial"})
    write_bytes(dir / name, "x");
  CHECK(names_of(dir / "m.gguf") == Names{"m.gguf"});
  const Names set{"s-00001-of-00003.gguf", "s-00002-of-00003.gguf", "s-00003-of-00003.gguf"};
  CHECK(names_of(dir / "s-00001-of-00003.gguf") == set);
  CHECK(names_of(dir / "s-00002-of-00003.gguf") == set);
  CHECK(names_of(dir / "absent.gguf") == Names{"absent.gguf"});

  std::filesystem::create_directory(dir / "checkpoint");
  const Names belongs{"config.json",         "tokenizer.json", "model-00001-of-00001.safetensors",
                      "chat_template.jinja", "tiktoken.model", "model.safetensors.index.json"};
  for (const std::string& name : belongs) write_bytes(dir / "checkpoint" / name, "x");
  for (const char* other : {"out.gguf", "results.jsonl", "notes.txt"}) write_bytes(dir / "checkpoint" / other, "x");
  CHECK(names_of(dir / "checkpoint") == belongs);
}
