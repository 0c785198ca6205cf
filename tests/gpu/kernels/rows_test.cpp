// Kernels that work row by row: the bits of the processor's scalar definitions.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "cpu/kernels/activation/activation.hpp"
#include "cpu/kernels/norm/norm.hpp"
#include "cpu/kernels/quantize_act/quantize_act.hpp"
#include "gpu/kernels/add_weighted_rows.hpp"
#include "gpu/kernels/quantize_rows.hpp"
#include "gpu/kernels/weigh_rows.hpp"
#include "tests/gpu/on_device.hpp"
#include "tests/support/random_values.hpp"

namespace dodeca::gpu {
namespace {

using cpu::ActFormat;
using cpu::Isa;

constexpr std::byte kUntouched{0xff};
constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

// Rows `width` apart of which the first n values are random; what NaN, infinities, zeros and tiny values do is in some.
std::vector<float> rows_with_specials(std::size_t n_rows, std::size_t n, std::size_t width, unsigned seed) {
  std::vector<float> rows = tests::random_values(n_rows * width, seed);
  const auto at = [&](std::size_t row, std::size_t k) -> float& { return rows[row * width + k % n]; };
  if (n_rows > 1) at(1, 3) = kNan, at(1, 300) = kInfinity;
  if (n_rows > 2) at(2, 40) = -kInfinity;
  for (std::size_t k = 0; n_rows > 3 && k < n; ++k)
    at(3, k) = k < 256 ? 0.0f : k < 288 ? 0x1p-130f : at(3, k) * 0x1p-99f;
  for (std::size_t k = 0; n_rows > 4 && k < n; ++k) at(4, k) = static_cast<float>(k % 64) - 31.5f;  // ties when rounded
  return rows;
}

// The same bits, but NaN equals any NaN.
void check_same(std::span<const float> got, std::span<const float> want) {
  REQUIRE(got.size() == want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(want[i]) ? std::isnan(got[i])
                            : std::bit_cast<std::uint32_t>(got[i]) == std::bit_cast<std::uint32_t>(want[i]))
      continue;
    FAIL_CHECK("value " << i << " is " << got[i] << " instead of " << want[i]);
    return;
  }
}

// One copy of some rows, on the device.
class Copy {
 public:
  Copy(Device& device, ActFormat format, std::size_t n_rows, std::size_t n)
      : format_(format),
        block_(format == ActFormat::kQ8_256 ? 256 : 32),
        stride_(cpu::act_row_bytes(format, static_cast<std::int64_t>((n + block_ - 1) / block_ * block_))),
        rows_(device, std::vector<std::byte>(n_rows * stride_, kUntouched)) {}

  std::byte* data() const { return rows_.data(); }
  std::int64_t stride() const { return static_cast<std::int64_t>(stride_); }

  // Of the first n of these values the whole blocks, and nothing else.
  void check_row(std::size_t row, const float* x, std::size_t n) const {
    const std::size_t whole = n / block_ * block_, used = n / block_ * (block_ + block_ / 4);
    alignas(64) std::byte want[40960];
    REQUIRE(stride_ <= sizeof want);
    cpu::quantize_act(format_, x, static_cast<std::int64_t>(whole), want, Isa::kScalar);
    const std::vector<std::byte> all = rows_.values();
    const std::byte* const got = all.data() + row * stride_;
    CHECK(std::memcmp(got, want, used) == 0);
    CHECK(std::all_of(got + used, got + stride_, [](std::byte b) { return b == kUntouched; }));
  }

 private:
  ActFormat format_;
  std::size_t block_, stride_;
  OnDevice<std::byte> rows_;
};

struct Copies {
  Copies(Device& device, std::size_t n_rows, std::size_t n)
      : q8_256(device, ActFormat::kQ8_256, n_rows, n), q8_32(device, ActFormat::kQ8_32, n_rows, n) {}

  RowCopies args() const { return {q8_256.data(), q8_32.data(), q8_256.stride(), q8_32.stride()}; }
  void check_row(std::size_t row, const float* x, std::size_t n) const {
    q8_256.check_row(row, x, n);
    q8_32.check_row(row, x, n);
  }

  Copy q8_256, q8_32;
};

constexpr std::size_t kWidths[] = {8, 100, 256, 288, 1536, 8200};

}  // namespace

TEST_CASE("quantize_rows: the integers, scales and sums of a processor") {
  for_each_emulation([](Device& device) {
    for (const std::size_t n : kWidths) {
      CAPTURE(n);
      const std::size_t n_rows = 5, width = n + 4;
      const std::vector<float> x = rows_with_specials(n_rows, n, width, 1);
      const OnDevice<float> in(device, x);
      const Copies copies(device, n_rows, n);
      const QuantizeRowsArgs args{.in = in.data(),
                                  .in_stride = static_cast<std::int64_t>(width),
                                  .copies = copies.args(),
                                  .n_rows = static_cast<std::int32_t>(n_rows),
                                  .n = static_cast<std::int32_t>(n)};
      device.launch<KernelId::quantize_rows>(in.stream(), quantize_rows_grid(args), args);
      for (std::size_t row = 0; row < n_rows; ++row) copies.check_row(row, x.data() + row * width, n);
    }
  });
}

TEST_CASE("swiglu_rows: silu(gate) * up and its copies, with the bits of a processor") {
  for_each_emulation([](Device& device) {
    for (const std::size_t n : {std::size_t{100}, std::size_t{2048}}) {
      const std::size_t n_rows = 5, width = n + 4;
      std::vector<float> gate = rows_with_specials(n_rows, n, width, 2), up = tests::random_values(n_rows * width, 3u);
      for (std::size_t i = 0; i < n; ++i) gate[i] *= 40.0f;  // where exp becomes tiny, and zero
      const OnDevice<float> gates(device, gate), ups(device, up),
          out(device, std::vector<float>(n_rows * width, -1.0f));
      const Copies copies(device, n_rows, n);
      const auto stride = static_cast<std::int64_t>(width);
      const SwigluRowsArgs args{.gate = gates.data(),
                                .up = ups.data(),
                                .out = out.data(),
                                .gate_stride = stride,
                                .up_stride = stride,
                                .out_stride = stride,
                                .copies = copies.args(),
                                .n_rows = static_cast<std::int32_t>(n_rows),
                                .n = static_cast<std::int32_t>(n)};
      device.launch<KernelId::swiglu_rows>(out.stream(), swiglu_rows_grid(args), args);
      const std::vector<float> got = out.values();
      for (std::size_t row = 0; row < n_rows; ++row) {
        std::vector<float> want(width, -1.0f);
        cpu::swiglu(gate.data() + row * width, up.data() + row * width, static_cast<std::int64_t>(n), want.data(),
                    Isa::kScalar);
        check_same(std::span(got).subspan(row * width, width), want);
        copies.check_row(row, want.data(), n);
      }
    }
  });
}

TEST_CASE("weigh_rows: residual sum, weighed row, copies and factor, with the bits of a processor") {
  for_each_emulation([](Device& device) {
    for (const std::size_t n : kWidths) {
      CAPTURE(n);
      for (const bool adds : {false, true}) {
        CAPTURE(adds);
        const std::size_t n_rows = 5, width = n + 4;
        constexpr float kEps = 1e-6f;
        const std::vector<float> x = rows_with_specials(n_rows, n, width, 4),
                                 add = tests::random_values(n_rows * width, 5u), weight = tests::random_values(n, 6u);
        const OnDevice<float> residual(device, x), addition(device, add), weights(device, weight),
            weighed(device, std::vector<float>(n_rows * width, -1.0f)), factors(device, n_rows);
        const Copies copies(device, n_rows, n);
        const auto stride = static_cast<std::int64_t>(width);
        const WeighRowsArgs args{.residual = residual.data(),
                                 .addition = adds ? addition.data() : nullptr,
                                 .weight = weights.data(),
                                 .weighed = weighed.data(),
                                 .factors = factors.data(),
                                 .residual_stride = stride,
                                 .addition_stride = stride,
                                 .weighed_stride = stride,
                                 .copies = copies.args(),
                                 .n_rows = static_cast<std::int32_t>(n_rows),
                                 .n = static_cast<std::int32_t>(n),
                                 .eps = kEps};
        device.launch<KernelId::weigh_rows>(residual.stream(), weigh_rows_grid(args), args);
        const std::vector<float> sums = residual.values(), rows = weighed.values(), got_factors = factors.values();
        for (std::size_t row = 0; row < n_rows; ++row) {
          std::vector<float> sum(x.data() + row * width, x.data() + (row + 1) * width), out(width, -1.0f);
          float squares = 0;
          for (std::size_t k = 0; k < n; k += 256)  // as the executor finishes a row, block by block
            squares += cpu::add_and_weigh(
                {sum.data() + k, adds ? add.data() + row * width + k : nullptr, weight.data() + k,
                 static_cast<std::int64_t>(std::min<std::size_t>(256, n - k)), sum.data() + k, out.data() + k},
                Isa::kScalar);
          check_same(std::span(sums).subspan(row * width, width), sum);
          check_same(std::span(rows).subspan(row * width, width), out);
          const float factor = 1.0f / std::sqrt(squares / static_cast<float>(n) + kEps);
          check_same({&got_factors[row], 1}, {&factor, 1});
          copies.check_row(row, out.data(), n);
        }
      }
    }
  });
}

TEST_CASE("weigh_rows: one row to add to all, in place, without copies") {
  const auto device = open_test_device();
  const std::vector<float> x = tests::random_values(3 * 64, 7u), bias = tests::random_values(64, 8u), weight(64, 2.0f);
  const OnDevice<float> rows(*device, x), addition(*device, bias), weights(*device, weight), factors(*device, 3);
  const WeighRowsArgs args{.residual = rows.data(),
                           .addition = addition.data(),
                           .weight = weights.data(),
                           .weighed = rows.data(),
                           .factors = factors.data(),
                           .residual_stride = 64,
                           .weighed_stride = 64,
                           .n_rows = 3,
                           .n = 64};
  device->launch<KernelId::weigh_rows>(rows.stream(), weigh_rows_grid(args), args);
  std::vector<float> want(x.size());
  for (std::size_t i = 0; i < want.size(); ++i) want[i] = (x[i] + bias[i % 64]) * 2.0f;
  check_same(rows.values(), want);
}

TEST_CASE("add_weighted_rows: the terms of a row in their order, of those within a range") {
  for_each_emulation([](Device& device) {
    const std::size_t n = 300, n_rows = 3, n_terms = 4, n_in = 12;
    const std::vector<float> in = tests::random_values(n_in * n, 1u),
                             weight = tests::random_values(n_rows * n_terms, 2u),
                             before = tests::random_values(n_rows * n, 3u);
    const std::vector<std::int32_t> index = {11, 2, 5, 2, 0, -1, 9, 1, -1, -1, -1, -1};
    for (const bool accumulate : {false, true}) {
      for (const bool indexed : {false, true}) {
        const OnDevice<float> out(device, before), rows(device, in), weights(device, weight);
        const OnDevice<std::int32_t> indices(device, index);
        const AddWeightedRowsArgs args{.out = out.data(),
                                       .in = rows.data(),
                                       .weights = indexed ? weights.data() : nullptr,
                                       .indices = indexed ? indices.data() : nullptr,
                                       .first_index = 1,
                                       .end_index = 11,
                                       .out_stride = n,
                                       .in_stride = n,
                                       .n_rows = n_rows,
                                       .n_terms = n_terms,
                                       .n = n,
                                       .accumulate = accumulate};
        device.launch<KernelId::add_weighted_rows>(out.stream(), add_weighted_rows_grid(args), args);
        std::vector<float> want = before;
        for (std::size_t row = 0; row < n_rows; ++row) {
          for (std::size_t k = 0; k < n; ++k) {
            float sum = accumulate ? before[row * n + k] : 0.0f;
            for (std::size_t t = row * n_terms; t < (row + 1) * n_terms; ++t) {
              if (indexed && (index[t] < 1 || index[t] >= 11)) continue;
              const std::size_t from = indexed ? static_cast<std::size_t>(index[t] - 1) : t;
              sum += (indexed ? weight[t] : 1.0f) * in[from * n + k];
            }
            want[row * n + k] = sum;
          }
        }
        check_same(out.values(), want);
      }
    }
  });
}

}  // namespace dodeca::gpu
