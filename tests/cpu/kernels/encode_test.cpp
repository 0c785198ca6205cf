#include "cpu/kernels/encode/encode.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "quant/codec.hpp"
#include "tests/support/guarded_buffer.hpp"
#include "tests/support/kernel_variants.hpp"
#include "tests/support/random_values.hpp"

using namespace dodeca;

namespace {

constexpr std::array kNotSearched = {quant::DType::kF32, quant::DType::kF16, quant::DType::kBF16, quant::DType::kQ8_K,
                                     quant::DType::kF8_E4M3_B128};

}  // namespace

TEST_CASE("every variant encodes to the scalar variant's bits") {
  std::mt19937 random(7);
  std::vector<cpu::KernelVariant<cpu::EncodeRowFn>> variants;
  for (const auto& variant : cpu::encode_row_kernels()) {
    if (tests::variant_runs(variant.name, variant.isa)) variants.push_back(variant);
  }
  for (const quant::TypeInfo& type : quant::all_types()) {
    if (!type.encodable) continue;
    const bool searched = std::find(kNotSearched.begin(), kNotSearched.end(), type.dtype) == kNotSearched.end();
    const std::int64_t block = std::max<std::int64_t>(type.block_elements, 32);
    for (const std::int64_t blocks : {1, 3, 17}) {
      const std::int64_t n = blocks * block;
      const auto count = static_cast<std::size_t>(n);
      for (int kind = 0; kind < (blocks == 17 ? 1 : 6); ++kind) {  // a long row takes long and differs in its length
        std::vector<float> x = tests::random_values(count, random), w = tests::random_values(count, random);
        for (std::size_t i = 0; i < count; ++i) {
          w[i] = std::fabs(w[i]);
          if (kind == 1) x[i] = i % 64 == 5 ? x[i] : 0.0f;
          if (kind == 2) x[i] = std::round(x[i] * 8) / 2;  // ties
          if (kind == 3) x[i] *= 1e-12f;
          if (kind == 4) w[i] = i % 3 == 0 ? 0.0f : w[i] * 1e15f;
          if (kind == 5) x[i] = i % 2 ? 1.5f : x[i] * 1e30f;
        }
        const tests::GuardedBuffer<float> values{std::span<const float>(x)}, importance{std::span<const float>(w)};
        for (const float* weights :
             {static_cast<const float*>(nullptr), static_cast<const float*>(importance.data())}) {
          std::vector<std::byte> want(*quant::row_bytes(type.dtype, n));
          quant::encode_row(type.dtype, values.data(), want.data(), n, weights);
          for (const auto& variant : variants) {
            const tests::GuardedBuffer<std::byte> got(want.size());
            REQUIRE_MESSAGE(variant.run(type.dtype, values.data(), got.data(), n, weights) == searched, variant.name,
                            " ", type.name);
            if (!searched) continue;
            CHECK_MESSAGE(std::memcmp(want.data(), got.data(), want.size()) == 0, variant.name, " ", type.name, " n ",
                          n, " kind ", kind, weights ? " weighted" : "");
          }
        }
      }
    }
  }
}

TEST_CASE("types without a search come from their only encoder") {
  std::mt19937 random(8);
  const std::vector<float> x = tests::random_values(256, random);
  for (const quant::DType dtype : kNotSearched) {
    std::vector<std::byte> want(*quant::row_bytes(dtype, 256)), got(want.size());
    quant::encode_row(dtype, x.data(), want.data(), 256);
    cpu::encode_row(dtype, x.data(), got.data(), 256, nullptr, cpu::host_isa());
    CHECK(want == got);
  }
}
