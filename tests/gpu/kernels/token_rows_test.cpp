// From tokens to rows and from rows to tokens: embed_rows, argmax_rows.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "gpu/kernels/argmax_rows.hpp"
#include "gpu/kernels/embed_rows.hpp"
#include "quant/codec.hpp"
#include "tests/cpu/kernels/matmul_data.hpp"
#include "tests/gpu/on_device.hpp"
#include "tests/support/random_values.hpp"

namespace dodeca::gpu {
namespace {

using quant::DType;

std::vector<Best> argmax(Device& device, const std::vector<float>& values, std::int32_t n_rows) {
  const OnDevice<float> in(device, values);
  const OnDevice<std::uint32_t> counters(device, std::vector<std::uint32_t>(static_cast<std::size_t>(n_rows)));
  const OnDevice<Best> out(device, static_cast<std::size_t>(n_rows));
  ArgmaxRowsArgs args{.in = in.data(),
                      .out = out.data(),
                      .counters = counters.data(),
                      .in_stride = static_cast<std::int64_t>(values.size()) / n_rows,
                      .n_rows = n_rows,
                      .n = static_cast<std::int32_t>(values.size()) / n_rows};
  const OnDevice<Best> partials(device, argmax_partials(args));
  args.partials = partials.data();
  device.launch<KernelId::argmax_rows>(out.stream(), argmax_rows_grid(args), args);
  CHECK(counters.values() == std::vector<std::uint32_t>(static_cast<std::size_t>(n_rows)));
  return out.values();
}

}  // namespace

TEST_CASE("embed_rows: what the format's definition decodes") {
  for_each_emulation([](Device& device) {
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_K, DType::kQ6_K}) {
      CAPTURE(std::string(quant::name_of(dtype)));
      REQUIRE(can_embed(dtype));
      const std::int64_t n = 768;
      const std::size_t row_bytes = *quant::row_bytes(dtype, n);
      const tests::Product table(dtype, n, 9, 1, 4, tests::Factors::kExtreme);
      const OnDevice<std::byte> rows(device, table.rows);
      const std::vector<std::int32_t> tokens = {8, 0, 3, 3};
      const OnDevice<std::int32_t> ids(device, tokens);
      const OnDevice<float> out(device, std::vector<float>(4 * 800, -1.0f));
      EmbedRowsArgs args{.table = rows.data(),
                         .rows = ids.data(),
                         .out = out.data(),
                         .row_bytes = static_cast<std::int64_t>(row_bytes),
                         .out_stride = 800,
                         .n_rows = 4,
                         .n = static_cast<std::int32_t>(n),
                         .dtype = dtype};
      device.launch<KernelId::embed_rows>(out.stream(), embed_rows_grid(args), args);
      const std::vector<float> got = out.values();
      for (std::size_t i = 0; i < 4; ++i) {
        std::vector<float> want(800, -1.0f);
        quant::decode_row(dtype, table.rows.data() + static_cast<std::size_t>(tokens[i]) * row_bytes, want.data(), n);
        CHECK(std::memcmp(got.data() + 800 * i, want.data(), 800 * sizeof(float)) == 0);
      }
    }
  });
  CHECK(!can_embed(DType::kQ2_K));
}

TEST_CASE("argmax_rows: the largest, and of equal ones the first") {
  for_each_emulation([](Device& device) {
    for (const std::size_t n :
         {std::size_t{1}, std::size_t{300}, std::size_t{4096}, std::size_t{4097}, std::size_t{20000}}) {
      CAPTURE(n);
      std::vector<float> values = tests::random_values(3 * n, static_cast<unsigned>(n));
      for (std::size_t i = 0; i < n; ++i) values[n + i] = -7.0f;                       // all equal
      values[2 * n + n / 2] = values[2 * n + n - 1] = values[2 * n + n / 3] = 100.0f;  // three times
      const std::vector<Best> best = argmax(device, values, 3);
      std::size_t want = 0;
      for (std::size_t i = 1; i < n; ++i) want = values[i] > values[want] ? i : want;
      CHECK(best[0].index == static_cast<std::int32_t>(want));
      CHECK(best[0].value == values[want]);
      CHECK(best[1].index == 0);
      CHECK(best[2].index == static_cast<std::int32_t>(n / 3));
      CHECK(best[2].value == 100.0f);
    }
  });
}

TEST_CASE("argmax_rows: a NaN is the result, an infinity too, and zeros have no sign") {
  constexpr float kInf = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN();
  for_each_emulation([&](Device& device) {
    std::vector<float> values(5 * 9000, -1.0f);
    values[8999] = kNaN, values[8000] = kNaN, values[3] = kInf;
    values[9000 + 5000] = kInf;
    for (int i = 0; i < 9000; ++i) values[18000 + i] = -kInf;
    values[27000 + 8500] = -0.0f;
    values[36000 + 8500] = 0.0f, values[36000 + 10] = -0.0f;
    const std::vector<Best> best = argmax(device, values, 5);
    CHECK(std::isnan(best[0].value));
    CHECK(best[0].index == 8000);
    CHECK(best[1].value == kInf);
    CHECK(best[1].index == 5000);
    CHECK(best[2].value == -kInf);
    CHECK(best[2].index == 0);
    CHECK(std::bit_cast<std::uint32_t>(best[3].value) == 0u);
    CHECK(best[3].index == 8500);
    CHECK(best[4].index == 10);
  });
}

}  // namespace dodeca::gpu
