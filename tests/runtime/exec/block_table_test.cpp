// Who holds which cache block, and that nobody writes into another's.
#include "runtime/exec/block_table.hpp"

#include <doctest/doctest.h>

#include <random>

#include "runtime/exec/kv_cache.hpp"
#include "tests/support/small_config.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::tests;
using namespace dodeca::runtime;
using namespace dodeca::runtime::exec;

// A cache whose rows say by whom and when they were written.
struct Written {
  KvCache cache;
  std::vector<std::vector<float>> rows;  // [sequence][position] what was written there

  Written(std::int64_t n_positions, std::int32_t n_sequences)
      : cache(small_mla_config(),
              {.n_positions = n_positions, .n_sequences = n_sequences, .types = {quant::DType::kF32}}),
        rows(static_cast<std::size_t>(n_sequences)) {}

  void append(std::int32_t s, std::int64_t n, float value) {
    cache.append(s, n);
    std::vector<float> row(static_cast<std::size_t>(cache.format(0).width));
    for (std::int64_t i = 0; i < n; ++i) {
      const auto position = static_cast<std::int64_t>(rows[static_cast<std::size_t>(s)].size());
      rows[static_cast<std::size_t>(s)].push_back(value + static_cast<float>(i));
      std::fill(row.begin(), row.end(), value + static_cast<float>(i));
      for (std::int64_t layer = 0; layer < cache.n_layers(); ++layer) cache.write_row(layer, s, position, row.data());
    }
  }
  void truncate(std::int32_t s, std::int64_t n) {
    cache.truncate(s, n);
    if (static_cast<std::int64_t>(rows[static_cast<std::size_t>(s)].size()) > n)
      rows[static_cast<std::size_t>(s)].resize(static_cast<std::size_t>(n));
  }
  void fork(std::int32_t from, std::int32_t to, std::int64_t n) {
    cache.fork(from, to, n);
    if (from != to) rows[static_cast<std::size_t>(to)] = rows[static_cast<std::size_t>(from)];
    truncate(to, n);
  }
  bool intact() {
    std::vector<float> row(static_cast<std::size_t>(cache.format(0).width));
    for (std::int32_t s = 0; s < cache.n_sequences(); ++s) {
      const std::vector<float>& want = rows[static_cast<std::size_t>(s)];
      if (cache.length(s) != static_cast<std::int64_t>(want.size())) return false;
      for (std::size_t position = 0; position < want.size(); ++position) {
        for (std::int64_t layer = 0; layer < cache.n_layers(); ++layer) {
          cache.read_row(layer, s, static_cast<std::int64_t>(position), row.data());
          if (row.front() != want[position] || row.back() != want[position]) return false;
        }
      }
    }
    return true;
  }
};

}  // namespace

TEST_CASE("truncating inside a block that a fork shares leaves the fork as it was") {
  Written written(512, 2);
  written.append(0, 100, 1000);
  written.fork(0, 1, 64);
  written.truncate(0, 30);
  written.append(0, 50, 2000);  // into the block that sequence 1 holds too
  CHECK(written.intact());
  written.fork(0, 1, 70);
  written.append(1, 5, 3000);
  written.append(0, 20, 4000);
  CHECK(written.intact());
  written.truncate(0, 0);
  written.truncate(1, 0);
  CHECK(written.cache.free_positions() == written.cache.capacity());
}

TEST_CASE("copies of shared blocks are counted before they are made, of partial ones at the fork") {
  Written written(192, 2);  // three blocks
  written.append(0, 128, 1);
  written.fork(0, 1, 128);
  written.truncate(1, 100);  // inside the second block, which both hold
  CHECK(written.cache.free_positions() == 64);
  CHECK(written.cache.can_append(1, 28));        // its own copy of the second block holds them
  CHECK_FALSE(written.cache.can_append(1, 29));  // and one more there is not
  CHECK_THROWS_AS(written.cache.append(1, 29), Error);
  CHECK(written.intact());
  written.append(1, 28, 500);
  CHECK(written.cache.free_positions() == 0);
  CHECK(written.intact());
  written.truncate(1, 0);
  written.fork(0, 1, 100);  // a partial block is copied now: whoever goes on needs no room for it
  CHECK(written.cache.free_positions() == 0);
  CHECK(written.cache.can_append(1, 28));
  written.append(1, 28, 900);
  CHECK(written.intact());
}

TEST_CASE("any order of appending, cutting and forking leaves every sequence its own rows") {
  std::mt19937 random(5);
  Written written(64 * 12, 4);
  for (int step = 0; step < 600; ++step) {
    const auto s = static_cast<std::int32_t>(random() % 4), other = static_cast<std::int32_t>(random() % 4);
    const std::int64_t n = 1 + random() % 90;
    switch (random() % 3) {
      case 0:
        if (written.cache.can_append(s, n)) written.append(s, n, static_cast<float>(step * 100));
        break;
      case 1:
        written.truncate(s, n);
        break;
      default:
        if (std::min(n, written.cache.length(s)) % 64 == 0 || written.cache.free_positions() > 0 || s == other)
          written.fork(s, other, n);
        break;
    }
    REQUIRE(written.intact());
  }
  for (std::int32_t s = 0; s < 4; ++s) written.truncate(s, 0);
  CHECK(written.cache.free_positions() == written.cache.capacity());
}
