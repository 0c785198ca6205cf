#include "cpu/kernels/encode/encode.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "quant/codec.hpp"
#include "tests/cpu/kernels/matmul_data.hpp"

using namespace dodeca;

TEST_CASE("every line encodes to the scalar line's bits") {
  std::mt19937 random(7);
  for (const quant::TypeInfo& type : quant::all_types()) {
    if (!type.encodable) continue;
    const std::int64_t block = std::max<std::int64_t>(type.block_elements, 32);
    for (const std::int64_t blocks : {1, 3, 17}) {
      const std::int64_t n = blocks * block;
      const auto count = static_cast<std::size_t>(n);
      for (int kind = 0; kind < 6; ++kind) {
        std::vector<float> x = tests::random_floats(count, random), w = tests::random_floats(count, random);
        for (std::size_t i = 0; i < count; ++i) {
          w[i] = std::fabs(w[i]);
          if (kind == 1) x[i] = i % 64 == 5 ? x[i] : 0.0f;
          if (kind == 2) x[i] = std::round(x[i] * 8) / 2;  // ties
          if (kind == 3) x[i] *= 1e-12f;
          if (kind == 4) w[i] = i % 3 == 0 ? 0.0f : w[i] * 1e15f;
          if (kind == 5) x[i] = i % 2 ? 1.5f : x[i] * 1e30f;
        }
        tests::Guarded src(count * sizeof(float)), importance(count * sizeof(float));
        std::memcpy(src.data(), x.data(), src.size());
        std::memcpy(importance.data(), w.data(), importance.size());
        const auto* values = reinterpret_cast<const float*>(src.data());
        for (const float* weights :
             {static_cast<const float*>(nullptr), reinterpret_cast<const float*>(importance.data())}) {
          tests::Guarded want(*quant::row_bytes(type.dtype, n));
          quant::encode_row(type.dtype, values, want.data(), n, weights);
          for (const auto& line : cpu::encode_row_kernels()) {
            if (line.isa > cpu::host_isa()) {
              MESSAGE("skipped, this host has no such instructions: ", line.name);
              continue;
            }
            tests::Guarded got(want.size());
            if (!line.run(type.dtype, values, got.data(), n, weights)) continue;
            CHECK_MESSAGE(std::memcmp(want.data(), got.data(), want.size()) == 0, line.name, " ", type.name, " n ", n,
                          " kind ", kind, weights ? " weighted" : "");
          }
        }
      }
    }
  }
}

TEST_CASE("types without a search come from their only encoder") {
  std::mt19937 random(8);
  const std::vector<float> x = tests::random_floats(256, random);
  for (const quant::DType dtype : {quant::DType::kF16, quant::DType::kBF16, quant::DType::kF8_E4M3_B128}) {
    std::vector<std::byte> want(*quant::row_bytes(dtype, 256)), got(want.size());
    quant::encode_row(dtype, x.data(), want.data(), 256);
    cpu::encode_row(dtype, x.data(), got.data(), 256, nullptr, cpu::host_isa());
    CHECK(want == got);
  }
}
