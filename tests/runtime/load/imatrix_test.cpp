#include "runtime/load/imatrix.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "runtime/base/error.hpp"
#include "tests/support/memory_file.hpp"
#include "tests/support/temp_dir.hpp"

using namespace dodeca;
using namespace dodeca::runtime;
using dodeca::tests::MemoryFile;
using dodeca::tests::TempDir;

namespace {

ImportanceMatrix example() {
  ImportanceMatrix matrix;
  matrix.entries["blk.0.attn_q.weight"] = {.n_in = 4, .sums = {2, 4, 6, 8}, .counts = {2}};
  matrix.entries["blk.0.ffn_up_exps.weight"] = {.n_in = 2, .sums = {1, 2, 0, 0, 9, 6}, .counts = {1, 0, 3}};
  matrix.datasets = {"text"};
  matrix.n_chunks = 5;
  matrix.chunk_size = 16;
  return matrix;
}

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string failure(const std::string& bytes) {
  try {
    ImportanceMatrix::read(MemoryFile(bytes).path());
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("importance: means of a slice, of the others where nothing reached it, of heads in one row") {
  const ImportanceMatrix matrix = example();
  const auto* attention = matrix.find("blk.0.attn_q.weight", 4, 1);
  REQUIRE(attention != nullptr);
  CHECK(ImportanceMatrix::importance(*attention, 4, 0) == std::vector<float>{1, 2, 3, 4});
  // Two heads of two columns share the count.
  CHECK(ImportanceMatrix::importance(*matrix.find("blk.0.attn_q.weight", 2, 2), 2, 1) == std::vector<float>{3, 4});
  const auto* experts = matrix.find("blk.0.ffn_up_exps.weight", 2, 3);
  REQUIRE(experts != nullptr);
  CHECK(ImportanceMatrix::importance(*experts, 2, 2) == std::vector<float>{3, 2});
  CHECK(ImportanceMatrix::importance(*experts, 2, 1) == std::vector<float>{2.5, 2});
  CHECK(ImportanceMatrix::unreached(*experts) == std::vector<std::int64_t>{1});
  CHECK(matrix.find("blk.1.attn_q.weight", 4, 1) == nullptr);
  CHECK_THROWS_AS(matrix.find("blk.0.attn_q.weight", 3, 2), Error);
}

TEST_CASE("importance matrices survive both file forms") {
  const TempDir dir;
  example().write_gguf(dir / "a.gguf");
  const ImportanceMatrix gguf = ImportanceMatrix::read(dir / "a.gguf");
  CHECK(gguf.entries.size() == 2);
  CHECK(gguf.entries.at("blk.0.ffn_up_exps.weight").sums == std::vector<float>{1, 2, 0, 0, 9, 6});
  CHECK(gguf.entries.at("blk.0.ffn_up_exps.weight").counts == std::vector<float>{1, 0, 3});
  CHECK(gguf.n_chunks == 5);
  CHECK(gguf.chunk_size == 16);
  CHECK(gguf.datasets == std::vector<std::string>{"text"});

  example().write_dat(dir / "a.dat");
  const ImportanceMatrix dat = ImportanceMatrix::read(dir / "a.dat");
  CHECK(dat.n_chunks == 5);
  CHECK(dat.datasets == std::vector<std::string>{"text"});
  CHECK(ImportanceMatrix::importance(*dat.find("blk.0.attn_q.weight", 4, 1), 4, 0) == std::vector<float>{1, 2, 3, 4});
  const auto* experts = dat.find("blk.0.ffn_up_exps.weight", 2, 3);
  CHECK(ImportanceMatrix::importance(*experts, 2, 0) == std::vector<float>{1, 2});
  CHECK(ImportanceMatrix::importance(*experts, 2, 1) == std::vector<float>{2.5, 2});  // what was written for it
  CHECK(ImportanceMatrix::importance(*experts, 2, 2) == std::vector<float>{3, 2});
}

TEST_CASE("importance matrices add up; other shapes are refused") {
  ImportanceMatrix sum = example();
  sum.add(example());
  CHECK(sum.entries.at("blk.0.attn_q.weight").sums == std::vector<float>{4, 8, 12, 16});
  CHECK(sum.entries.at("blk.0.ffn_up_exps.weight").counts == std::vector<float>{2, 0, 6});
  CHECK(sum.n_chunks == 10);
  CHECK(sum.datasets.size() == 1);
  ImportanceMatrix other = example();
  other.entries["blk.0.attn_q.weight"].n_in = 2;
  other.entries["blk.0.attn_q.weight"].counts = {1, 1};
  CHECK_THROWS_AS(sum.add(other), Error);
}

TEST_CASE("a damaged importance matrix is an error wherever it is cut, and what is in it is checked") {
  const TempDir dir;
  example().write_gguf(dir / "a.gguf");
  example().write_dat(dir / "a.dat");
  for (const char* name : {"a.gguf", "a.dat"}) {
    const std::string whole = bytes_of(dir / name);
    REQUIRE(failure(whole).empty());
    int accepted = 0;
    for (std::size_t n = 0; n < whole.size(); ++n) accepted += failure(whole.substr(0, n)).empty();
    // A GGUF may lack its last padding, a .dat the fields that came later.
    CHECK(accepted <= (std::string_view(name) == "a.gguf" ? 31 : 2));
    for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
      std::string flipped = whole;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
      failure(flipped);  // an error or not, but never a crash
    }
  }
  std::string negative = bytes_of(dir / "a.dat");
  const float minus = -1.0f, nan = std::nanf("");
  for (const float value : {minus, nan}) {
    std::memcpy(negative.data() + 4 + 4 + 19 + 8, &value, sizeof value);
    CHECK(failure(negative).find("neither zero nor positive") != std::string::npos);
  }
  ImportanceMatrix empty;
  empty.write_gguf(dir / "empty.gguf");
  CHECK_NOTHROW(ImportanceMatrix::read(dir / "empty.gguf"));
}
