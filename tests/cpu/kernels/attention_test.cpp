#include "cpu/kernels/attention/attention.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "quant/codec.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/guarded_buffer.hpp"
#include "tests/support/kernel_variants.hpp"
#include "tests/support/random_values.hpp"

using namespace dodeca;
using quant::DType;
using tests::GuardedBuffer;
using tests::random_values;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

struct Shape {
  std::int64_t n_heads, width, value_width, n_positions;
};

// Running state of a context that is folded in block by block, every buffer guarded.
class Attention {
 public:
  Attention(const Shape& shape, const std::vector<float>& q, const std::vector<float>& rows)
      : shape_(shape),
        q_(std::span<const float>(q)),
        max_(std::vector<float>(shape.n_heads, -kInf)),
        sum_(std::vector<float>(shape.n_heads, 0.0f)),
        acc_(std::vector<float>(shape.n_heads * shape.value_width, 0.0f)),
        scratch_(static_cast<std::size_t>(shape.n_heads) * cpu::kContextBlock),
        rows_(rows) {}

  void run(cpu::MlaBlockFn* block, float scale) {
    for (std::int64_t p = 0; p < shape_.n_positions; p += cpu::kContextBlock) {
      const std::int64_t n = std::min<std::int64_t>(cpu::kContextBlock, shape_.n_positions - p);
      const GuardedBuffer<float> rows(std::span<const float>(rows_).subspan(p * shape_.width, n * shape_.width));
      block({.q = q_.data(),
             .n_heads = shape_.n_heads,
             .width = shape_.width,
             .value_width = shape_.value_width,
             .rows = rows.data(),
             .n_positions = n,
             .scale = scale,
             .max = max_.data(),
             .sum = sum_.data(),
             .acc = acc_.data(),
             .scratch = scratch_.data()});
    }
  }
  bool same_as(const Attention& other) const {
    return tests::same_bits(max_.data(), other.max_.data(), max_.size()) &&
           tests::same_bits(sum_.data(), other.sum_.data(), sum_.size()) &&
           tests::same_bits(acc_.data(), other.acc_.data(), acc_.size());
  }
  bool intact() const { return max_.intact() && sum_.intact() && acc_.intact() && scratch_.intact(); }
  std::vector<float> output() const {
    std::vector<float> out(acc_.size());
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = acc_[i] / sum_[i / shape_.value_width];
    return out;
  }

 private:
  Shape shape_;
  GuardedBuffer<float> q_, max_, sum_, acc_, scratch_;
  std::vector<float> rows_;
};

// Softmax attention by the textbook, in double.
std::vector<float> reference(const Shape& s, const std::vector<float>& q, const std::vector<float>& rows, float scale) {
  std::vector<float> out;
  for (std::int64_t h = 0; h < s.n_heads; ++h) {
    std::vector<double> weight(s.n_positions);
    double max = -kInf, sum = 0;
    for (std::int64_t p = 0; p < s.n_positions; ++p) {
      for (std::int64_t k = 0; k < s.width; ++k)
        weight[p] += static_cast<double>(q[h * s.width + k]) * rows[p * s.width + k];
      weight[p] *= scale;
      max = std::max(max, weight[p]);
    }
    for (double& w : weight) sum += w = std::exp(w - max);
    for (std::int64_t v = 0; v < s.value_width; ++v) {
      double value = 0;
      for (std::int64_t p = 0; p < s.n_positions; ++p) value += weight[p] * rows[p * s.width + v];
      out.push_back(static_cast<float>(value / sum));
    }
  }
  return out;
}

std::string text_of(const Shape& s) {
  return std::to_string(s.n_heads) + " heads, width " + std::to_string(s.width) + "/" + std::to_string(s.value_width) +
         ", " + std::to_string(s.n_positions) + " positions";
}

}  // namespace

TEST_CASE("mla_block: the scalar variant is softmax attention, over several blocks") {
  for (const Shape& shape : {Shape{2, 72, 64, 1}, Shape{3, 96, 80, 64}, Shape{2, 576, 512, 300}}) {
    const auto q = random_values(shape.n_heads * shape.width, 1),
               rows = random_values(shape.n_positions * shape.width, 2);
    const float scale = 1.0f / std::sqrt(static_cast<float>(shape.width));
    Attention attention(shape, q, rows);
    attention.run(cpu::mla_block_kernels().front().run, scale);
    const auto result =
        tests::compare(attention.output(), reference(shape, q, rows, scale), {.abs = 3e-6, .rel = 1e-5});
    CHECK_MESSAGE(result.ok, text_of(shape), ": ", result.report);
  }
}

TEST_CASE("mla_block: every variant gives the scalar bits") {
  const auto variants = cpu::mla_block_kernels();
  REQUIRE(variants.front().isa == cpu::Isa::kScalar);
  std::vector<Shape> shapes = {{8, 288, 256, 130}, {16, 576, 512, 64}, {128, 576, 512, 3}, {17, 64, 64, 65}};
  for (std::int64_t heads = 1; heads <= 9; ++heads) {
    for (const std::int64_t positions : {1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65})
      shapes.push_back({heads, 80, 64, positions});
  }
  for (std::int64_t width = 1; width <= 70; width += 3) {
    shapes.push_back({3, width, width, 7});
    shapes.push_back({5, width + 9, width, 66});
  }
  for (const auto& variant : variants) {
    if (!tests::variant_runs(variant.name, variant.isa)) continue;
    for (const Shape& shape : shapes) {
      const auto q = random_values(shape.n_heads * shape.width, 3),
                 rows = random_values(shape.n_positions * shape.width, 4);
      Attention want(shape, q, rows), got(shape, q, rows);
      want.run(variants.front().run, 0.135f);
      got.run(variant.run, 0.135f);
      CHECK_MESSAGE(got.same_as(want), variant.name, ", ", text_of(shape));
      CHECK(got.intact());
    }
  }
}

TEST_CASE("mla_block: heads do not see each other") {
  const Shape all{11, 96, 64, 100};
  const auto q = random_values(all.n_heads * all.width, 5), rows = random_values(all.n_positions * all.width, 6);
  for (const auto& variant : cpu::mla_block_kernels()) {
    if (!tests::variant_runs(variant.name, variant.isa)) continue;
    Attention together(all, q, rows);
    together.run(variant.run, 0.2f);
    const std::vector<float> want = together.output();
    for (std::int64_t h = 0; h < all.n_heads; ++h) {
      const std::vector<float> one(q.begin() + h * all.width, q.begin() + (h + 1) * all.width);
      Attention alone({1, all.width, all.value_width, all.n_positions}, one, rows);
      alone.run(variant.run, 0.2f);
      const std::vector<float> got = alone.output();
      CHECK_MESSAGE(tests::same_bits(got.data(), want.data() + h * all.value_width, got.size()),
                    variant.name << " head " << h);
    }
  }
}

TEST_CASE("mla_block: very different scores neither overflow nor vanish; NaN shows in its own head only") {
  const Shape shape{2, 32, 16, 70};
  auto q = random_values(shape.n_heads * shape.width, 7);
  const auto rows = random_values(shape.n_positions * shape.width, 8, 300.0f);
  for (const auto& variant : cpu::mla_block_kernels()) {
    if (!tests::variant_runs(variant.name, variant.isa)) continue;
    Attention attention(shape, q, rows);
    attention.run(variant.run, 10.0f);
    const auto result =
        tests::compare(attention.output(), reference(shape, q, rows, 10.0f), {.abs = 1e-3, .rel = 1e-4});
    CHECK_MESSAGE(result.ok, variant.name, ": ", result.report);
    auto bad = q;
    bad[3] = std::numeric_limits<float>::quiet_NaN();
    Attention spoilt(shape, bad, rows);
    spoilt.run(variant.run, 10.0f);
    const std::vector<float> out = spoilt.output();
    for (std::int64_t v = 0; v < shape.value_width; ++v) {
      CHECK(std::isnan(out[v]));
      CHECK_FALSE(std::isnan(out[shape.value_width + v]));
    }
  }
}

TEST_CASE("decode_cache_rows: every variant gives the codec's bits; rows may be far apart") {
  for (const auto& variant : cpu::decode_cache_rows_kernels()) {
    if (!tests::variant_runs(variant.name, variant.isa)) continue;
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0}) {
      for (const std::int64_t width : {32, 64, 96, 288, 576, 1, 7, 40}) {
        const auto row_bytes = quant::row_bytes(dtype, width);
        if (!row_bytes) continue;  // Q8_0 has blocks of 32
        for (const std::int64_t n : {0, 1, 3}) {
          const std::size_t stride = *row_bytes + 6;
          GuardedBuffer<std::byte> packed(n == 0 ? 0 : (n - 1) * stride + *row_bytes);
          for (std::int64_t i = 0; i < n; ++i) {
            const auto row = random_values(width, static_cast<unsigned>(10 + i), 100.0f);
            quant::encode_row(dtype, row.data(), packed.data() + i * stride, width);
          }
          GuardedBuffer<float> out(n * width);
          std::vector<float> want(n * width);
          for (std::int64_t i = 0; i < n; ++i)
            quant::decode_row(dtype, packed.data() + i * stride, want.data() + i * width, width);
          variant.run({dtype, packed.data(), stride, n, width}, out.data());
          CHECK_MESSAGE(tests::same_bits(out.data(), want.data(), want.size()),
                        variant.name << " " << quant::name_of(dtype) << " width " << width);
          CHECK(out.intact());
        }
      }
    }
  }
}

TEST_CASE("decode_cache_rows: all half and bfloat16 bit patterns") {
  std::vector<std::uint16_t> bits(65536);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
  const auto* bytes = reinterpret_cast<const std::byte*>(bits.data());
  for (const auto& variant : cpu::decode_cache_rows_kernels()) {
    if (!tests::variant_runs(variant.name, variant.isa)) continue;
    for (const DType dtype : {DType::kF16, DType::kBF16}) {
      std::vector<float> got(65536), want(65536);
      quant::decode_row(dtype, bytes, want.data(), 65536);
      variant.run({dtype, bytes, 2 * 65536, 1, 65536}, got.data());
      CHECK_MESSAGE(tests::same_bits(got.data(), want.data(), want.size()), variant.name, " ", quant::name_of(dtype));
    }
  }
}

TEST_CASE("mla_block: values of their own, as values that are part of a row, in every variant") {
  for (const Shape& shape :
       {Shape{1, 128, 128, 64}, Shape{8, 96, 96, 33}, Shape{19, 24, 40, 7}, Shape{5, 64, 200, 1}}) {
    const auto q = random_values(shape.n_heads * shape.width, 1),
               keys = random_values(shape.n_positions * shape.width, 2),
               values = random_values(shape.n_positions * shape.value_width, 3);
    // The same with rows of [value | key] and queries that are zero over the value.
    const std::int64_t wide = shape.value_width + shape.width;
    std::vector<float> padded(static_cast<std::size_t>(shape.n_heads * wide), 0.0f),
        rows(static_cast<std::size_t>(shape.n_positions * wide));
    for (std::int64_t h = 0; h < shape.n_heads; ++h)
      std::copy_n(q.begin() + h * shape.width, shape.width, padded.begin() + h * wide + shape.value_width);
    for (std::int64_t i = 0; i < shape.n_positions; ++i) {
      std::copy_n(values.begin() + i * shape.value_width, shape.value_width, rows.begin() + i * wide);
      std::copy_n(keys.begin() + i * shape.width, shape.width, rows.begin() + i * wide + shape.value_width);
    }
    const std::vector<float> want =
        reference({shape.n_heads, wide, shape.value_width, shape.n_positions}, padded, rows, 0.1f);
    std::vector<float> first;
    for (const auto& variant : cpu::mla_block_kernels()) {
      if (!tests::variant_runs(variant.name, variant.isa)) continue;
      const GuardedBuffer<float> own_q{std::span<const float>(q)}, own_keys{std::span<const float>(keys)},
          own_values{std::span<const float>(values)};
      GuardedBuffer<float> max(std::vector<float>(shape.n_heads, -kInf)), sum(std::vector<float>(shape.n_heads, 0.0f)),
          acc(std::vector<float>(shape.n_heads * shape.value_width, 0.0f)),
          scratch(static_cast<std::size_t>(shape.n_heads) * cpu::kContextBlock);
      const std::byte* ahead[] = {reinterpret_cast<const std::byte*>(rows.data())};
      variant.run({.q = own_q.data(),
                   .n_heads = shape.n_heads,
                   .width = shape.width,
                   .value_width = shape.value_width,
                   .rows = own_keys.data(),
                   .n_positions = shape.n_positions,
                   .scale = 0.1f,
                   .max = max.data(),
                   .sum = sum.data(),
                   .acc = acc.data(),
                   .scratch = scratch.data(),
                   .values = own_values.data(),
                   .ahead = ahead,
                   .n_ahead = 1,
                   .ahead_bytes = rows.size() * sizeof(float)});
      CHECK(max.intact());
      CHECK(acc.intact());
      CHECK(scratch.intact());
      std::vector<float> got(acc.size());
      for (std::size_t i = 0; i < got.size(); ++i) got[i] = acc[i] / sum[i / shape.value_width];
      if (first.empty()) first = got;
      CHECK_MESSAGE(tests::same_bits(got.data(), first.data(), got.size()), variant.name, ", ", text_of(shape));
      const auto result = tests::compare(got, want, {.abs = 1e-5});
      CHECK_MESSAGE(result.ok, variant.name, ", ", text_of(shape), ": ", result.report);
    }
  }
}
