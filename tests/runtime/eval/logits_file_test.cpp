#include "runtime/eval/logits_file.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "runtime/base/error.hpp"
#include "runtime/eval/log_probs.hpp"
#include "tests/support/memory_file.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_gguf.hpp"

using namespace dodeca::runtime;
using namespace dodeca::runtime::eval;
using namespace dodeca::tests;

namespace {

// Context 4 (one scored row a chunk), vocabulary 3, 2 chunks, as the format lays it out.
std::string good() {
  std::string out = "_logits_" + le(4u) + le(3) + le(2);
  for (const std::int32_t token : {0, 1, 2, 0, 1, 1, 2, 2}) out += le(token);
  for (int chunk = 0; chunk < 2; ++chunk) {
    out += le(0.5f) + le(-3.0f - static_cast<float>(chunk));
    for (const std::uint16_t q : {1, 2, 3, 0}) out += le(static_cast<std::uint16_t>(q));
  }
  return out;
}

bool opens(const std::string& bytes) {
  const MemoryFile file(bytes);
  try {
    const LogitsReader reader(file.path());
    std::vector<std::uint16_t> row(static_cast<std::size_t>(packed_row_size(reader.header().n_vocab)));
    for (std::int64_t chunk = 0; chunk < reader.header().n_chunks; ++chunk) {
      for (std::int64_t i = 0; i < reader.header().rows_per_chunk(); ++i) reader.read_row(chunk, i, row);
    }
    return true;
  } catch (const Error&) {
    return false;
  }
}

std::string patched(std::size_t at, const std::string& bytes) { return good().replace(at, bytes.size(), bytes); }

}  // namespace

TEST_CASE("a base file is read as the format lays it out") {
  const MemoryFile file(good());
  const LogitsReader reader(file.path());
  CHECK(reader.header().n_ctx == 4);
  CHECK(reader.header().n_vocab == 3);
  CHECK(reader.header().n_chunks == 2);
  CHECK(reader.header().rows_per_chunk() == 1);
  CHECK(reader.header().tokens == std::vector<std::int32_t>{0, 1, 2, 0, 1, 1, 2, 2});
  std::vector<std::uint16_t> row(8);
  reader.read_row(1, 0, row);
  const PackedRow packed = unpack_row(row, 3);
  CHECK(packed.log_prob(0) == -3.5f);
  CHECK(packed.log_prob(2) == -2.5f);
}

TEST_CASE("what is written is what the format lays out") {
  const TempDir dir;
  const MemoryFile file(good());
  const LogitsReader reader(file.path());
  LogitsWriter writer(dir / "base", reader.header());
  std::vector<std::uint16_t> row(8);
  for (std::int64_t chunk = 0; chunk < 2; ++chunk) {
    reader.read_row(chunk, 0, row);
    writer.append(row);
  }
  writer.finish();
  CHECK(read_bytes(dir / "base") == good());
}

TEST_CASE("damaged base files are errors") {
  REQUIRE(opens(good()));
  for (std::size_t n = 0; n < good().size(); ++n) {
    CAPTURE(n);
    CHECK_FALSE(opens(good().substr(0, n)));
  }
  CHECK_FALSE(opens(patched(0, "X")));
  CHECK_FALSE(opens(patched(8, le(0u))));
  CHECK_FALSE(opens(patched(8, le(2u))));
  CHECK_FALSE(opens(patched(8, le(0xFFFFFFFFu))));
  CHECK_FALSE(opens(patched(12, le(0))));
  CHECK_FALSE(opens(patched(12, le(-1))));
  CHECK_FALSE(opens(patched(12, le(INT32_MAX))));
  CHECK_FALSE(opens(patched(12, le(2))));  // token 2 is outside then
  CHECK_FALSE(opens(patched(16, le(0))));
  CHECK_FALSE(opens(patched(16, le(-1))));
  CHECK_FALSE(opens(patched(16, le(INT32_MAX))));
  CHECK_FALSE(opens(patched(20, le(-1))));
  CHECK_FALSE(opens(patched(20, le(3))));
  CHECK_FALSE(opens(patched(52, le(0x7FC00000u))));  // scale NaN
  CHECK_FALSE(opens(patched(56, le(0xFF800000u))));  // smallest log-probability -inf
  CHECK_FALSE(opens(patched(52, le(-1.0f))));
}
