#include "cpu/bandwidth.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <vector>

#include "cpu/kernels/bandwidth/bandwidth.hpp"
#include "tests/support/guarded_buffer.hpp"
#include "tests/support/kernel_variants.hpp"

using namespace dodeca;

TEST_CASE("xor_of: every variant reads every word") {
  std::mt19937_64 rng(1);
  for (const auto& variant : cpu::xor_of_kernels()) {
    if (!tests::variant_runs(variant.name, variant.isa)) continue;
    for (const std::size_t n : {0, 64, 512, 640}) {  // words
      const tests::GuardedBuffer<std::uint64_t> words(n, 64);
      std::uint64_t want = 0;
      for (std::uint64_t& word : words.span()) want ^= word = rng();
      CHECK_MESSAGE(variant.run(reinterpret_cast<const std::byte*>(words.data()), n * 8) == want, variant.name, " ", n);
    }
  }
}

TEST_CASE("read_bandwidth: a plausible figure for any team, at every level") {
  const cpu::Buffer buffer(8 << 20);
  for (const int n : {1, 2, 3}) {
    cpu::Team team(n);
    for (const cpu::Isa isa : cpu::built_isas()) {
      if (!cpu::host_isa().has(isa)) continue;
      const double rate = cpu::read_bandwidth(team, buffer, 0.001, isa);
      CHECK(rate > 1e6);
      CHECK(rate < 1e13);
    }
  }
}

TEST_CASE("read_bandwidth: nothing to read is 0") {
  cpu::Team team(2);
  CHECK(cpu::read_bandwidth(team, cpu::Buffer(), 0.01) == 0);
  CHECK(cpu::read_bandwidth(team, cpu::Buffer(4096), 0.01) == 0);
}
