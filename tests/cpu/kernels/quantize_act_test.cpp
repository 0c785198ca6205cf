#include "cpu/kernels/quantize_act/quantize_act.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/support/guarded_buffer.hpp"
#include "tests/support/random_values.hpp"

using namespace dodeca;
using cpu::ActFormat;

TEST_CASE("activation rows are 64-byte multiples") {
  CHECK(cpu::act_row_bytes(ActFormat::kF32, 1) == 64);
  CHECK(cpu::act_row_bytes(ActFormat::kQ8_32, 32) == 64);
  CHECK(cpu::act_row_bytes(ActFormat::kQ8_32, 256) == 320);
  CHECK(cpu::act_row_bytes(ActFormat::kQ8_256, 512) == 640);
}

TEST_CASE("quantized activations: scale, rounding, sums") {
  float x[256] = {};
  x[0] = 127.0f;  // scale 1: codes are the rounded values
  x[1] = 2.5f;
  x[2] = -3.5f;
  x[3] = 0.49f;
  x[255] = -127.0f;
  cpu::Q8Block256 block;
  cpu::quantize_act(ActFormat::kQ8_256, x, 256, reinterpret_cast<std::byte*>(&block), cpu::Isa::kScalar);
  CHECK(block.scale == 1.0f);
  CHECK(block.q[0] == 127);
  CHECK(block.q[1] == 2);  // half to even
  CHECK(block.q[2] == -4);
  CHECK(block.q[3] == 0);
  CHECK(block.q[255] == -127);
  CHECK(block.sums16[0] == 125);
  CHECK(block.sums16[15] == -127);
  CHECK(block.sums32[0] == 125);
  CHECK(block.sum == -2);
}

TEST_CASE("every variant quantizes to the scalar variant's bits") {
  std::mt19937 random(5);
  for (const auto& variant : cpu::quantize_act_kernels()) {
    if (!cpu::host_isa().has(variant.isa)) {
      MESSAGE("skipped, this host has no such instructions: ", variant.name);
      continue;
    }
    for (ActFormat format : {ActFormat::kQ8_256, ActFormat::kQ8_32}) {
      const std::size_t step = format == ActFormat::kQ8_256 ? 256 : 32;
      for (std::size_t n : {step, 3 * step, 7 * step}) {
        for (int kind = 0; kind < 8; ++kind) {
          std::vector<float> x = tests::random_values(n, random);
          for (std::size_t i = 0; i < n; ++i) {
            if (kind == 1) x[i] = 0.0f;
            if (kind == 2) x[i] *= 1e-36f;                   // below the smallest scale: zero
            if (kind == 3) x[i] = std::round(x[i] * 8) / 2;  // ties
            if (kind == 4) x[i] *= 1e37f;
          }
          if (kind == 5) x[n / 2] = std::numeric_limits<float>::quiet_NaN();
          if (kind == 6) x[n - 1] = -std::numeric_limits<float>::infinity();
          if (kind == 7) x[0] = -std::numeric_limits<float>::max();
          const std::size_t bytes = cpu::act_row_bytes(format, static_cast<std::int64_t>(n));
          tests::GuardedBuffer<std::byte> want(bytes), got(bytes);
          variant.run(format, x.data(), static_cast<std::int64_t>(n), got.data());
          cpu::quantize_act(format, x.data(), static_cast<std::int64_t>(n), want.data(), cpu::Isa::kScalar);
          CHECK_MESSAGE(std::memcmp(want.data(), got.data(), bytes) == 0, variant.name, " n ", n, " kind ", kind);
        }
      }
    }
  }
}
