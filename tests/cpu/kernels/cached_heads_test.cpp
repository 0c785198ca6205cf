// Integer attention over the cached keys and values of one head, each in a type of its own, with windows.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <limits>
#include <string>
#include <vector>

#include "cpu/kernels/attention/integer.hpp"
#include "quant/codec.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/guarded_buffer.hpp"
#include "tests/support/kernel_variants.hpp"
#include "tests/support/random_values.hpp"

using namespace dodeca;
using cpu::Digits;
using cpu::IntegerShape;
using quant::DType;
using tests::GuardedBuffer;
using tests::random_values;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kScale = 0.2f;

const std::vector<DType> kTypes = {DType::kI8, DType::kF16, DType::kBF16, DType::kQ8_0};

std::size_t bytes_of(DType dtype, std::int64_t n) {
  return dtype == DType::kI8 ? cpu::int8_row_bytes(n, 0) : *quant::row_bytes(dtype, n);
}

// Rows of one head in blocks of the cache that do not follow each other.
class Plane {
 public:
  Plane(DType dtype, std::int64_t width, std::int64_t n, const std::vector<float>& values)
      : dtype_(dtype), width_(width), n_(n) {
    for (std::int64_t begin = 0; begin < n; begin += cpu::kWeightBlock) {
      const std::int64_t count = std::min<std::int64_t>(cpu::kWeightBlock, n - begin);
      blocks_.emplace_back(row_bytes() * static_cast<std::size_t>(count));
      for (std::int64_t i = 0; i < count; ++i) {
        const float* from = values.data() + (begin + i) * width;
        std::byte* to = blocks_.back().data() + static_cast<std::size_t>(i) * row_bytes();
        if (dtype == DType::kI8)
          cpu::encode_int8_row(from, width, 0, to);
        else
          quant::encode_row(dtype, from, to, width);
      }
    }
    for (const auto& block : blocks_) pointers_.push_back(block.data());
  }
  std::size_t row_bytes() const { return bytes_of(dtype_, width_); }
  const std::byte* const* blocks() const { return pointers_.data(); }
  std::vector<float> floats() const {
    std::vector<float> out(static_cast<std::size_t>(n_ * width_));
    for (std::int64_t i = 0; i < n_; ++i) {
      const std::byte* row = pointers_[static_cast<std::size_t>(i / cpu::kWeightBlock)] +
                             static_cast<std::size_t>(i % cpu::kWeightBlock) * row_bytes();
      if (dtype_ == DType::kI8)
        cpu::decode_int8_row(row, width_, 0, out.data() + i * width_);
      else
        quant::decode_row(dtype_, row, out.data() + i * width_, width_);
    }
    return out;
  }

 private:
  DType dtype_;
  std::int64_t width_, n_;
  std::deque<GuardedBuffer<std::byte>> blocks_;
  std::vector<const std::byte*> pointers_;
};

struct Case {
  DType key_type, value_type;
  std::int64_t key, value, n_lanes, n;
  float spread = 1.0f;

  IntegerShape shape() const {
    return {key_type == DType::kI8 ? Digits::k8 : Digits::k16, key, 0, value,
            value_type == DType::kI8 ? Digits::k8 : Digits::k16};
  }
  std::string text() const {
    return std::string(quant::name_of(key_type)) + " keys of " + std::to_string(key) + ", " +
           std::string(quant::name_of(value_type)) + " values of " + std::to_string(value) + ", " +
           std::to_string(n_lanes) + " lanes, " + std::to_string(n) + " positions";
  }
};

// Up to which position each lane sees, and what it does not see of the first ones; hidden may be empty.
struct Seen {
  std::vector<std::int32_t> visible, hidden;
};

struct Result {
  std::vector<float> max, sum, acc;
  bool intact = true;
};

Result attend(const cpu::IntegerAttention& f, const Case& c, const std::vector<float>& q, const Plane& keys,
              const Plane& values, const Seen& seen) {
  const IntegerShape s = c.shape();
  const auto lanes = static_cast<std::size_t>(c.n_lanes);
  GuardedBuffer<std::byte> strips((lanes + 15) / 16 * cpu::strip_bytes(s), 64), chunk(cpu::ChunkLayout(s).total, 64);
  const GuardedBuffer<float> max(std::vector<float>(lanes, -kInf)), sum(std::vector<float>(lanes, 0.0f)),
      acc(std::vector<float>(lanes * static_cast<std::size_t>(s.value), 0.0f));
  f.pack_queries({s, q.data(), c.key, c.n_lanes, kScale, strips.data()});
  f.load_rows({s, c.key_type, c.value_type, keys.blocks(), values.blocks(), keys.row_bytes(), values.row_bytes(), c.n,
               chunk.data()});
  f.fold({.shape = s,
          .queries = strips.data(),
          .n_lanes = c.n_lanes,
          .chunk = chunk.data(),
          .n = c.n,
          .visible = seen.visible.data(),
          .max = max.data(),
          .sum = sum.data(),
          .acc = acc.data(),
          .acc_stride = s.value,
          .hidden = seen.hidden.empty() ? nullptr : seen.hidden.data()});
  return {{max.data(), max.data() + lanes},
          {sum.data(), sum.data() + lanes},
          {acc.data(), acc.data() + acc.size()},
          max.intact() && sum.intact() && acc.intact() && strips.intact() && chunk.intact()};
}

bool same(const Result& a, const Result& b) {
  return tests::same_bits(a.max.data(), b.max.data(), a.max.size()) &&
         tests::same_bits(a.sum.data(), b.sum.data(), a.sum.size()) &&
         tests::same_bits(a.acc.data(), b.acc.data(), a.acc.size());
}

std::vector<Seen> some_views(const Case& c) {
  Seen all, some, window, late;
  for (std::int64_t l = 0; l < c.n_lanes; ++l) {
    const auto n = static_cast<std::int32_t>(c.n), lane = static_cast<std::int32_t>(l);
    all.visible.push_back(n);
    some.visible.push_back(l % 5 == 4 ? 0 : std::max(0, n - lane % 3));
    window.visible.push_back(std::max(0, n - lane % 7));
    window.hidden.push_back(std::min(window.visible.back(), std::max(0, n - 20 - lane % 7)));
    late.visible.push_back(n);
    late.hidden.push_back(l % 4 == 3 ? n : std::min(n, 64));
  }
  return {all, some, window, late};
}

}  // namespace

TEST_CASE("integer attention over cached heads: every variant gives the scalar bits") {
  const auto variants = cpu::integer_attention_kernels();
  REQUIRE(variants.front().isa == cpu::Isa::kScalar);
  for (const DType key_type : kTypes) {
    for (const DType value_type : kTypes) {
      for (const Case& c : {Case{key_type, value_type, 128, 128, 8, 256},
                            {key_type, value_type, 64, 64, 33, 200},
                            {key_type, value_type, 96, 96, 12, 65},
                            {key_type, value_type, 32, 32, 1, 1},
                            {key_type, value_type, 256, 256, 48, 129},
                            {key_type, value_type, 160, 192, 16, 77},
                            {key_type, value_type, 576, 544, 5, 17},
                            {key_type, value_type, 64, 64, 16, 192, 30.0f}}) {
        const auto q = random_values(static_cast<std::size_t>(c.n_lanes * c.key), 1, c.spread);
        const Plane keys(key_type, c.key, c.n, random_values(static_cast<std::size_t>(c.n * c.key), 2)),
            values(value_type, c.value, c.n, random_values(static_cast<std::size_t>(c.n * c.value), 3));
        for (const Seen& seen : some_views(c)) {
          const Result want = attend(*variants.front().run, c, q, keys, values, seen);
          for (const auto& variant : variants) {
            if (!tests::variant_runs(variant.name, variant.isa)) continue;
            const Result got = attend(*variant.run, c, q, keys, values, seen);
            CHECK_MESSAGE(same(got, want), variant.name, ", ", c.text());
            CHECK(got.intact);
          }
        }
      }
    }
  }
}

TEST_CASE("integer attention over cached heads: the scalar variant is softmax attention over what is seen") {
  for (const DType key_type : kTypes) {
    for (const DType value_type : kTypes) {
      const Case c{key_type, value_type, 128, 96, 6, 230, 0.3f};
      const auto q = random_values(static_cast<std::size_t>(c.n_lanes * c.key), 1, c.spread);
      const Plane keys(key_type, c.key, c.n, random_values(static_cast<std::size_t>(c.n * c.key), 2)),
          values(value_type, c.value, c.n, random_values(static_cast<std::size_t>(c.n * c.value), 3));
      const auto k = keys.floats(), v = values.floats();
      Seen seen;
      for (std::int32_t l = 0; l < c.n_lanes; ++l) {
        seen.visible.push_back(230 - 40 * l);
        seen.hidden.push_back(l % 2 == 0 ? 0 : 5 * l);
      }
      const Result got = attend(*cpu::integer_attention_kernels().front().run, c, q, keys, values, seen);
      std::vector<float> want, out;
      for (std::int64_t l = 0; l < c.n_lanes; ++l) {
        double sum = 0;
        std::vector<double> result(static_cast<std::size_t>(c.value));
        for (std::int64_t p = seen.hidden[static_cast<std::size_t>(l)]; p < seen.visible[static_cast<std::size_t>(l)];
             ++p) {
          double score = 0;
          for (std::int64_t i = 0; i < c.key; ++i)
            score += static_cast<double>(q[static_cast<std::size_t>(l * c.key + i)]) *
                     k[static_cast<std::size_t>(p * c.key + i)];
          const double weight = std::exp(score * static_cast<double>(kScale));
          sum += weight;
          for (std::int64_t i = 0; i < c.value; ++i)
            result[static_cast<std::size_t>(i)] += weight * v[static_cast<std::size_t>(p * c.value + i)];
        }
        for (std::int64_t i = 0; i < c.value; ++i) {
          want.push_back(static_cast<float>(result[static_cast<std::size_t>(i)] / sum));
          out.push_back(got.acc[static_cast<std::size_t>(l * c.value + i)] / got.sum[static_cast<std::size_t>(l)]);
        }
      }
      // As for latent rows (integer_attention_test.cpp), twice what was measured.
      const bool bytes = key_type == DType::kI8 || value_type == DType::kI8;
      const auto result = tests::compare(
          out, want, bytes ? tests::Tolerance{.abs = 0.03, .nmse = 6e-4} : tests::Tolerance{.abs = 6e-4, .nmse = 1e-7});
      CHECK_MESSAGE(result.ok, c.text(), ": ", result.report);
    }
  }
}

TEST_CASE(
    "integer attention over cached heads: rows of NaN, infinity and zeros show where they are seen, or not at all") {
  const Case c{DType::kF16, DType::kBF16, 64, 64, 20, 70};
  auto key_values = random_values(static_cast<std::size_t>(c.n * c.key), 2),
       value_values = random_values(static_cast<std::size_t>(c.n * c.value), 3);
  std::fill_n(key_values.begin() + 5 * c.key, c.key, 0.0f);
  std::fill_n(value_values.begin() + 6 * c.value, c.value, 0.0f);
  Plane keys(c.key_type, c.key, c.n, key_values), values(c.value_type, c.value, c.n, value_values);
  const std::uint16_t infinity = 0x7f80;
  std::memcpy(const_cast<std::byte*>(values.blocks()[0]) + 3 * values.row_bytes(), &infinity, sizeof infinity);
  Seen seen;
  for (std::int32_t l = 0; l < c.n_lanes; ++l) {
    seen.visible.push_back(70);
    seen.hidden.push_back(l < 10 ? 4 : 0);
  }
  const auto q = random_values(static_cast<std::size_t>(c.n_lanes * c.key), 1);
  const auto variants = cpu::integer_attention_kernels();
  const Result want = attend(*variants.front().run, c, q, keys, values, seen);
  for (const auto& variant : variants) {
    if (!tests::variant_runs(variant.name, variant.isa)) continue;
    const Result got = attend(*variant.run, c, q, keys, values, seen);
    for (std::int64_t l = 0; l < c.n_lanes; ++l)
      CHECK(std::isnan(got.acc[static_cast<std::size_t>(l * c.value)]) == (l >= 10));
    CHECK(tests::same_bits(got.acc.data(), want.acc.data(), static_cast<std::size_t>(10 * c.value)));
  }
}
