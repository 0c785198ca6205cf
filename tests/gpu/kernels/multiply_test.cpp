#include "gpu/kernels/multiply.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "quant/codec.hpp"
#include "tests/cpu/kernels/matmul_data.hpp"
#include "tests/gpu/on_device.hpp"

namespace dodeca::gpu {
namespace {

using quant::DType;
using tests::Factors;
using tests::Product;

constexpr DType kMultiplied[] = {
#define TYPE(name, lower) DType::k##name,
#include "gpu/kernels/multiply_types.inc"
#undef TYPE
};

const cpu::MatmulKernel& scalar(DType dtype) { return *cpu::select_matmul(dtype, cpu::Isa::kScalar).gemv; }
bool is_floats(DType dtype) { return cpu::layout_of(dtype).act == cpu::ActFormat::kF32; }
std::int64_t block_of(DType dtype) { return quant::type_info(dtype).block_elements; }

std::vector<std::byte> copy_of(std::span<const std::byte> bytes) { return {bytes.begin(), bytes.end()}; }

// How a product is launched, besides its shape.
struct Way {
  std::int32_t multiprocessors = 1, piece_columns = 0;
  bool gather = false, accumulate = false;
};

// The product of the first n_rows activation rows (or gathered ones), with factors 1, where nothing else is said.
class OnCard {
 public:
  OnCard(Device& device, const Product& product)
      : device_(device),
        product_(product),
        weights_(device, copy_of(product.weights())),
        acts_(device, copy_of(product.acts())) {}

  std::vector<float> run(std::int32_t n_rows, const Way& way) const {
    const auto n = static_cast<std::int32_t>(product_.n_out);
    std::vector<std::int32_t> rows;
    for (std::int32_t i = 0; i < n_rows; ++i)
      rows.push_back(static_cast<std::int32_t>(product_.act_row(i, way.gather)));
    const OnDevice<std::int32_t> act_rows(device_, rows);
    const OnDevice<float> out(device_, std::vector<float>(static_cast<std::size_t>(n_rows * n), tests::kMarker));
    MultiplyLaunch launch = plan_multiply(product_.dtype,
                                          {.weights = weights_.data(),
                                           .acts = acts_.data(),
                                           .act_rows = way.gather ? act_rows.data() : nullptr,
                                           .out = out.data(),
                                           .act_stride = static_cast<std::int64_t>(product_.act_stride()),
                                           .out_stride = n,
                                           .n_in = static_cast<std::int32_t>(product_.n_in),
                                           .n_out = n,
                                           .n_rows = n_rows,
                                           .n_groups = 1,
                                           .accumulate = way.accumulate},
                                          way.multiprocessors, way.piece_columns);
    return run(launch, out);
  }
  // With work space; twice, which must not make a difference.
  std::vector<float> run(MultiplyLaunch& launch, const OnDevice<float>& out) const {
    const std::vector<float> before = out.values();
    const OnDevice<float> partials(device_, launch.n_partials);
    const OnDevice<std::uint32_t> counters(device_, std::vector<std::uint32_t>(launch.n_counters));
    launch.args.partials = launch.n_partials == 0 ? nullptr : partials.data();
    launch.args.counters = launch.n_counters == 0 ? nullptr : counters.data();
    device_.launch(out.stream(), launch.kernel, launch.grid, &launch.args, sizeof launch.args);
    std::vector<float> first = out.values();
    CHECK(counters.values() == std::vector<std::uint32_t>(launch.n_counters));
    device_.copy_to_device(out.stream(), out.data(), before.data(), before.size() * sizeof(float));
    device_.launch(out.stream(), launch.kernel, launch.grid, &launch.args, sizeof launch.args);
    const std::vector<float> second = out.values();
    CHECK(std::memcmp(first.data(), second.data(), first.size() * sizeof(float)) == 0);
    return first;
  }
  const OnDevice<std::byte>& weights() const { return weights_; }
  const OnDevice<std::byte>& acts() const { return acts_; }

 private:
  Device& device_;
  const Product& product_;
  OnDevice<std::byte> weights_, acts_;
};

// What a float32 sum of a result may be off by, on both sides together: (2 blocks + warps + 16) * 2^-24 times the sum of
// the terms' magnitudes. [n_rows, n_out]
std::vector<double> bounds(const Product& p, std::int64_t n_rows, bool gather) {
  const auto n = static_cast<std::size_t>(p.n_in);
  const std::size_t row_bytes = *quant::row_bytes(p.dtype, p.n_in);
  const double relative = (2.0 * static_cast<double>(p.n_in / std::min<std::int64_t>(block_of(p.dtype), 256)) +
                           static_cast<double>(p.n_in) / 256 + 16) *
                          0x1p-24;
  std::vector<double> magnitude(static_cast<std::size_t>(p.n_out) * n);
  for (const tests::Part part : {tests::Part::kScaled, tests::Part::kMin}) {
    std::vector<std::byte> rows = p.rows;
    tests::keep_part(p.dtype, p.n_in, rows, part);
    std::vector<float> decoded(n);
    for (std::size_t r = 0; r < static_cast<std::size_t>(p.n_out); ++r) {
      quant::decode_row(p.dtype, rows.data() + r * row_bytes, decoded.data(), p.n_in);
      for (std::size_t k = 0; k < n; ++k) magnitude[r * n + k] += std::fabs(decoded[k]);
    }
  }
  std::vector<double> result;
  for (std::int64_t i = 0; i < n_rows; ++i) {
    const std::vector<float> x = p.dequantized_act(p.act_row(i, gather));
    for (std::size_t r = 0; r < static_cast<std::size_t>(p.n_out); ++r) {
      double sum = 0;
      for (std::size_t k = 0; k < n; ++k) sum += magnitude[r * n + k] * std::fabs(x[k]);
      result.push_back(relative * sum);
    }
  }
  return result;
}

// Within the bound, and equal where that is zero; NaN and infinities at the same places.
bool is_close(float got, float want, double bound) {
  if (std::isnan(want)) return std::isnan(got);
  return got == want || std::fabs(static_cast<double>(got) - want) <= bound;
}
void check_close(const std::vector<float>& got, const std::vector<float>& want, const std::vector<double>& bound) {
  REQUIRE(got.size() == want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (is_close(got[i], want[i], bound[i])) continue;
    FAIL_CHECK("result " << i << " is " << got[i] << " instead of " << want[i] << ", " << bound[i] << " apart at most");
    return;
  }
}
void check_same_bits(const std::vector<float>& got, const std::vector<float>& want) {
  REQUIRE(got.size() == want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::memcmp(&got[i], &want[i], sizeof(float)) == 0) continue;
    FAIL_CHECK("result " << i << " is " << got[i] << " instead of " << want[i]);
    return;
  }
}

// What a processor makes of a weight in pieces of columns: the pieces' results, added in their order.
std::vector<float> in_pieces(const Product& p, std::int64_t n_rows, std::int64_t piece) {
  const cpu::Layout& layout = cpu::layout_of(p.dtype);
  std::vector<float> out(static_cast<std::size_t>(n_rows * p.n_out));
  std::vector<std::byte> scratch(cpu::matmul_scratch_bytes(p.n_in));
  for (std::int64_t tile = 0; tile < p.n_tiles(); ++tile) {
    for (std::int64_t begin = 0; begin < p.n_in; begin += piece) {
      const std::byte* w = p.weights().data() + static_cast<std::size_t>(tile) * layout.tile_bytes(p.n_in);
      scalar(p.dtype).run({.layout = &layout,
                           .weights = w + (begin == 0 ? 0 : layout.tile_bytes(begin)),
                           .n_in = std::min(piece, p.n_in - begin),
                           .n_out = std::min<std::int64_t>(16, p.n_out - 16 * tile),
                           .tile_begin = 0,
                           .tile_end = 1,
                           .acts = p.acts().data() + 4 * begin,
                           .act_stride = p.act_stride(),
                           .n_acts = n_rows,
                           .out = out.data() + 16 * tile,
                           .out_stride = p.n_out,
                           .accumulate = begin > 0,
                           .scratch = scratch.data()});
    }
  }
  return out;
}

struct Shape {
  std::int64_t n_in, n_out;
};
constexpr Shape kShapes[] = {{256, 16}, {1536, 37}, {2112, 20}, {7168, 9}};
bool fits(DType dtype, const Shape& shape) {
  const std::int64_t block = is_floats(dtype)                                       ? block_of(dtype)
                             : cpu::layout_of(dtype).act == cpu::ActFormat::kQ8_256 ? 256
                                                                                    : 32;
  return shape.n_in % block == 0;
}

}  // namespace

TEST_CASE("multiply: what a card has no product for is refused") {
  CHECK(can_multiply(DType::kQ4_K));
  CHECK(!can_multiply(DType::kIQ2_XXS));
  CHECK_THROWS_WITH(plan_multiply(DType::kIQ2_XXS, {}, 1), "no device product for type IQ2_XXS");
}

TEST_CASE("multiply: integers are exact, in every type and for every number of rows") {
  for (const DType dtype : kMultiplied) {
    if (is_floats(dtype)) continue;
    CAPTURE(std::string(quant::name_of(dtype)));
    const Product product(dtype, 512, 20, 17, 7, Factors::kOne);
    for (const std::int32_t n_rows : {1, 2, 3, 9, 17}) {
      const Way way{.multiprocessors = n_rows % 2 == 0 ? 1 : 82};
      const std::vector<float> want = product.run(scalar(dtype), n_rows, false);
      for_each_emulation([&](Device& device) { check_same_bits(OnCard(device, product).run(n_rows, way), want); });
    }
  }
}

TEST_CASE("multiply: results are within the bound of a processor's, in every type and shape") {
  const std::unique_ptr<Device> descending = open_test_device({.order = emulation::Order::kDescending}),
                                shuffled = open_test_device({.order = emulation::Order::kShuffled});
  for (const DType dtype : kMultiplied) {
    CAPTURE(std::string(quant::name_of(dtype)));
    for (const Shape& shape : kShapes) {
      if (!fits(dtype, shape)) continue;
      CAPTURE(shape.n_in);
      const Product product(dtype, shape.n_in, shape.n_out, 77, 3);
      const std::vector<double> bound = bounds(product, 77, true);
      for (const std::int32_t n_rows : {1, 2, 3, 8, 13, 64, 77}) {
        if (n_rows > 13 && is_floats(dtype)) continue;  // as 13 rows
        CAPTURE(n_rows);
        const Way way{
            .multiprocessors = n_rows == 2 ? 1 : 82, .gather = true, .accumulate = n_rows == 3 || n_rows == 77};
        const std::vector<float> want = product.run(scalar(dtype), n_rows, true, 0, product.n_tiles(), way.accumulate);
        std::vector<double> limit(bound.begin(), bound.begin() + n_rows * shape.n_out);
        if (way.accumulate) {
          for (double& one : limit) one += tests::kMarker * 0x1p-22;
        }
        check_close(OnCard(n_rows % 2 == 0 ? *descending : *shuffled, product).run(n_rows, way), want, limit);
      }
    }
  }
}

TEST_CASE("multiply: floats in a processor's pieces have the processor's bits") {
  for (const DType dtype : kMultiplied) {
    if (!is_floats(dtype)) continue;
    CAPTURE(std::string(quant::name_of(dtype)));
    for (const Shape& shape : {Shape{256, 16}, Shape{896, 40}}) {
      const Product product(dtype, shape.n_in, shape.n_out, 8, 5);
      for (const std::int32_t piece : {128, 384, static_cast<std::int32_t>(shape.n_in)}) {
        CAPTURE(piece);
        for (const std::int32_t n_rows : {1, 2, 4, 7}) {
          const Way way{.multiprocessors = n_rows == 2 ? 1 : 40, .piece_columns = piece};
          const std::vector<float> want = in_pieces(product, n_rows, piece);
          for_each_emulation([&](Device& device) { check_same_bits(OnCard(device, product).run(n_rows, way), want); });
        }
      }
    }
  }
}

TEST_CASE("multiply: a router of DeepSeek-V3's width has the processor's bits") {
  const Product router(DType::kF32, 7168, 40, 8, 5);
  const std::unique_ptr<Device> device = open_test_device({.order = emulation::Order::kShuffled});
  const OnCard card(*device, router);
  for (const std::int32_t piece : {448, 7168}) {
    for (const std::int32_t n_rows : {1, 8})
      check_same_bits(card.run(n_rows, {.multiprocessors = 82, .piece_columns = piece}),
                      in_pieces(router, n_rows, piece));
  }
}

TEST_CASE("multiply: zero, tiny, huge and overflowing factors end as on a processor") {
  for_each_emulation([](Device& device) {
    for (const DType dtype : kMultiplied) {
      CAPTURE(std::string(quant::name_of(dtype)));
      const Product product(dtype, 512, 16, 17, 11, Factors::kExtreme);
      const OnCard card(device, product);
      for (const std::int32_t n_rows : {4, 17})
        check_close(card.run(n_rows, {}), product.run(scalar(dtype), n_rows, false), bounds(product, n_rows, false));
    }
  });
}

TEST_CASE("multiply: a NaN in an activation row is in all its results, and in no other row's") {
  for_each_emulation([](Device& device) {
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    for (const DType dtype : kMultiplied) {
      CAPTURE(std::string(quant::name_of(dtype)));
      const Product product(dtype, 512, 20, 20, 2);
      const OnCard card(device, product);
      const cpu::ActFormat format = cpu::layout_of(dtype).act;
      // A row's first block: its scale, or its first value.
      const std::size_t at = product.act_stride() + (format == cpu::ActFormat::kQ8_256  ? 304
                                                     : format == cpu::ActFormat::kQ8_32 ? 32
                                                                                        : 0);
      device.copy_to_device(card.acts().stream(), card.acts().data() + at, &kNan, sizeof kNan);
      device.synchronize();
      for (const std::int32_t n_rows : {3, 20}) {
        const std::vector<float> got = card.run(n_rows, {});
        for (std::size_t i = 0; i < got.size(); ++i) CHECK(std::isnan(got[i]) == (i / 20 == 1));
      }
    }
  });
}

TEST_CASE("multiply: groups have slices, rows and factors of their own") {
  for_each_emulation([](Device& device) {
    for (const DType dtype : {DType::kQ4_K, DType::kQ8_0, DType::kBF16}) {
      CAPTURE(std::string(quant::name_of(dtype)));
      // Three slices of 20 rows: the tiles of three products, one after another.
      std::vector<std::unique_ptr<Product>> slices;
      std::vector<std::byte> bytes;
      for (std::uint32_t s = 0; s < 3; ++s) {
        slices.push_back(std::make_unique<Product>(dtype, 512, 20, 12, 20));
        slices.back() = std::make_unique<Product>(dtype, 512, 20, 12, 20 + s);
        const auto packed = slices.back()->weights();
        bytes.insert(bytes.end(), packed.begin(), packed.end());
      }
      const Product& first = *slices.front();
      const OnCard card(device, first);
      const OnDevice<std::byte> weights(device, bytes);
      const OnDevice<std::int32_t> chosen(device, std::vector<std::int32_t>{2, -1, 0, 1}),
          begin(device, std::vector<std::int32_t>{0, 3, 5, 5, 14}),
          act_rows(device, std::vector<std::int32_t>{7, 0, 3, 9, 9, 11, 1, 2, 4, 5, 6, 8, 10, 0});
      std::vector<float> factor(12);
      for (std::size_t i = 0; i < factor.size(); ++i) factor[i] = 0.5f + static_cast<float>(i);
      const OnDevice<float> factors(device, factor), out(device, std::vector<float>(14 * 24, tests::kMarker));
      MultiplyLaunch launch = plan_multiply(dtype,
                                            {.weights = weights.data(),
                                             .acts = card.acts().data(),
                                             .slices = chosen.data(),
                                             .group_begin = begin.data(),
                                             .act_rows = act_rows.data(),
                                             .factors = factors.data(),
                                             .out = out.data(),
                                             .slice_bytes = static_cast<std::int64_t>(bytes.size() / 3),
                                             .act_stride = static_cast<std::int64_t>(first.act_stride()),
                                             .out_stride = 24,
                                             .n_in = 512,
                                             .n_out = 20,
                                             .n_rows = 9,
                                             .n_groups = 4},
                                            82, is_floats(dtype) ? 512 : 0);
      const std::vector<float> got = card.run(launch, out);
      const std::int32_t slice_of[] = {2, 2, 2, -1, -1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
      const std::int32_t act_of[] = {7, 0, 3, 9, 9, 11, 1, 2, 4, 5, 6, 8, 10, 0};
      for (std::size_t i = 0; i < 14; ++i) {
        CAPTURE(i);
        for (std::size_t r = 0; r < 24; ++r) {
          const float value = got[24 * i + r];
          if (slice_of[i] < 0 || r >= 20) {
            CHECK(value == tests::kMarker);
            continue;
          }
          // The activations are the first product's, whose weights are those of slice 0: computed by hand.
          const Product& slice = *slices[static_cast<std::size_t>(slice_of[i])];
          std::vector<float> w(512);
          quant::decode_row(dtype, slice.rows.data() + r * *quant::row_bytes(dtype, 512), w.data(), 512);
          const std::vector<float> x = first.dequantized_act(act_of[i]);
          double sum = 0, magnitude = 0;
          for (std::size_t k = 0; k < 512; ++k) {
            sum += static_cast<double>(w[k]) * x[k];
            magnitude += std::fabs(static_cast<double>(w[k]) * x[k]);
          }
          const double f = factor[static_cast<std::size_t>(act_of[i])];
          CHECK(std::fabs(value - f * sum) <= 1e-5 * f * magnitude);
        }
      }
    }
  });
}

TEST_CASE("multiply: heads read and write rows that lie apart") {
  for_each_emulation([](Device& device) {
    // Two heads of 16 x 256, three rows: activations [row, head], results [row, head, 20].
    const Product heads(DType::kQ8_0, 256, 32, 6, 9);
    const OnCard card(device, heads);
    const OnDevice<float> out(device, std::vector<float>(3 * 40, tests::kMarker));
    const auto stride = static_cast<std::int64_t>(heads.act_stride());
    MultiplyLaunch launch = plan_multiply(DType::kQ8_0,
                                          {.weights = card.weights().data(),
                                           .acts = card.acts().data(),
                                           .out = out.data(),
                                           .slice_bytes = static_cast<std::int64_t>(heads.weights().size() / 2),
                                           .act_stride = 2 * stride,
                                           .act_group_stride = stride,
                                           .out_stride = 40,
                                           .out_group_stride = 20,
                                           .n_in = 256,
                                           .n_out = 16,
                                           .n_rows = 3,
                                           .n_groups = 2},
                                          1);
    const std::vector<float> got = card.run(launch, out);
    const std::vector<float> all = heads.run(scalar(DType::kQ8_0), 6, false);  // [row and head, both heads' rows]
    const std::vector<double> bound = bounds(heads, 6, false);
    for (std::size_t i = 0; i < 3; ++i) {
      for (std::size_t head = 0; head < 2; ++head) {
        for (std::size_t r = 0; r < 20; ++r) {
          const float value = got[40 * i + 20 * head + r];
          const std::size_t at = 32 * (2 * i + head) + 16 * head + r;
          if (r < 16)
            CHECK(std::fabs(static_cast<double>(value) - all[at]) <= bound[at]);
          else
            CHECK(value == tests::kMarker);
        }
      }
    }
  });
}

TEST_CASE("multiply: bytes and operations of a launch") {
  const MultiplyArgs args{.n_in = 512, .n_out = 32, .n_rows = 3, .n_groups = 2};
  CHECK(multiply_operations(args) == 2ull * 2 * 3 * 512 * 32);
  // 32 rows of 2 blocks of 144 bytes in each group; rows of 512 values as 640 bytes, results as floats.
  CHECK(multiply_bytes(DType::kQ4_K, args) == 2 * 32 * 2 * 144 + 2 * 3 * (640 + 4 * 32));
}

}  // namespace dodeca::gpu
