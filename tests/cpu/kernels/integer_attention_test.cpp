#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cpu/kernels/attention/integer.hpp"
#include "quant/codec.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/guarded_buffer.hpp"
#include "tests/support/kernel_lines.hpp"

using namespace dodeca;
using cpu::Digits;
using cpu::IntegerShape;
using quant::DType;
using tests::GuardedBuffer;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<float> random_values(std::size_t n, unsigned seed, float spread = 1.0f) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> values(n);
  for (float& value : values) value = normal(rng);
  return values;
}

// Latent rows as a cache holds them, and the lanes that attend to them.
struct Case {
  IntegerShape shape;
  DType dtype;
  std::int64_t n_lanes, n_positions;
  float spread = 1.0f;  // of the queries

  std::int64_t width() const { return shape.key + shape.rope; }
  std::size_t row_bytes() const {
    return dtype == DType::kQ8_0 ? cpu::int8_row_bytes(shape.key, shape.rope) : *quant::row_bytes(dtype, width());
  }
  std::string text() const {
    return std::string(quant::name_of(dtype)) + " key " + std::to_string(shape.key) + " rope " +
           std::to_string(shape.rope) + " value " + std::to_string(shape.value) + ", " + std::to_string(n_lanes) +
           " lanes, " + std::to_string(n_positions) + " positions";
  }
};

Case latent(DType dtype, std::int64_t key, std::int64_t rope, std::int64_t n_lanes, std::int64_t n_positions) {
  return {{dtype == DType::kQ8_0 ? Digits::k8 : Digits::k16, key, rope, key}, dtype, n_lanes, n_positions};
}

class Rows {
 public:
  explicit Rows(const Case& c) : c_(c), bytes_(c.row_bytes() * static_cast<std::size_t>(c.n_positions)) {
    const auto values = random_values(static_cast<std::size_t>(c.n_positions * c.width()), 2);
    for (std::int64_t i = 0; i < c.n_positions; ++i) {
      if (c.dtype == DType::kQ8_0)
        cpu::encode_int8_row(values.data() + i * c.width(), c.shape.key, c.shape.rope, row(i));
      else
        quant::encode_row(c.dtype, values.data() + i * c.width(), row(i), c.width());
    }
  }
  std::byte* row(std::int64_t i) const { return bytes_.data() + static_cast<std::size_t>(i) * c_.row_bytes(); }
  std::vector<float> floats() const {
    std::vector<float> out(static_cast<std::size_t>(c_.n_positions * c_.width()));
    for (std::int64_t i = 0; i < c_.n_positions; ++i) {
      float* to = out.data() + i * c_.width();
      if (c_.dtype == DType::kQ8_0)
        cpu::decode_int8_row(row(i), c_.shape.key, c_.shape.rope, to);
      else
        quant::decode_row(c_.dtype, row(i), to, c_.width());
    }
    return out;
  }

 private:
  Case c_;
  GuardedBuffer<std::byte> bytes_;
};

struct Result {
  std::vector<float> max, sum, acc;
  bool intact = true;
  std::vector<float> output(std::int64_t value) const {
    std::vector<float> out(acc.size());
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = acc[i] / sum[i / static_cast<std::size_t>(value)];
    return out;
  }
};

// Attention of all lanes over all positions; lane l sees n_positions - hidden[l].
Result attend(const cpu::IntegerAttention& line, const Case& c, const std::vector<float>& q, const Rows& rows,
              const std::vector<std::int64_t>& hidden = {}) {
  const IntegerShape& s = c.shape;
  const auto lanes = static_cast<std::size_t>(c.n_lanes);
  const GuardedBuffer<float> queries{std::span<const float>(q)};
  GuardedBuffer<std::byte> strips((lanes + 15) / 16 * cpu::strip_bytes(s), 64);
  GuardedBuffer<std::byte> chunk(cpu::ChunkLayout(s).total, 64);
  const GuardedBuffer<float> max(std::vector<float>(lanes, -kInf)), sum(std::vector<float>(lanes, 0.0f)),
      acc(std::vector<float>(lanes * static_cast<std::size_t>(s.value), 0.0f));
  line.pack_queries({s, queries.data(), c.width(), c.n_lanes, 0.2f, strips.data()});
  for (std::int64_t begin = 0; begin < c.n_positions; begin += cpu::kChunkPositions) {
    const std::int64_t n = std::min<std::int64_t>(cpu::kChunkPositions, c.n_positions - begin);
    std::vector<const std::byte*> blocks;
    for (std::int64_t i = 0; i < n; i += cpu::kWeightBlock) blocks.push_back(rows.row(begin + i));
    line.load_cache({s, c.dtype, blocks.data(), c.row_bytes(), n, chunk.data()});
    GuardedBuffer<std::int32_t> visible(lanes);
    for (std::size_t l = 0; l < lanes; ++l) {
      const std::int64_t seen = c.n_positions - (hidden.empty() ? 0 : hidden[l]) - begin;
      visible[l] = static_cast<std::int32_t>(std::clamp<std::int64_t>(seen, 0, n));
    }
    line.fold(
        {s, strips.data(), c.n_lanes, chunk.data(), n, visible.data(), max.data(), sum.data(), acc.data(), s.value});
  }
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

std::vector<float> queries_of(const Case& c, unsigned seed = 1) {
  return random_values(static_cast<std::size_t>(c.n_lanes * c.width()), seed, c.spread);
}

// Softmax attention by the textbook, in double.
std::vector<float> reference(const Case& c, const std::vector<float>& q, const std::vector<float>& rows) {
  std::vector<float> out;
  for (std::int64_t l = 0; l < c.n_lanes; ++l) {
    std::vector<double> weight(static_cast<std::size_t>(c.n_positions));
    double max = -kInf, sum = 0;
    for (std::int64_t p = 0; p < c.n_positions; ++p) {
      double& w = weight[static_cast<std::size_t>(p)];
      for (std::int64_t k = 0; k < c.width(); ++k)
        w += static_cast<double>(q[static_cast<std::size_t>(l * c.width() + k)]) *
             rows[static_cast<std::size_t>(p * c.width() + k)];
      w *= 0.2f;
      max = std::max(max, w);
    }
    for (double& w : weight) sum += w = std::exp(w - max);
    for (std::int64_t v = 0; v < c.shape.value; ++v) {
      double value = 0;
      for (std::int64_t p = 0; p < c.n_positions; ++p)
        value += weight[static_cast<std::size_t>(p)] * rows[static_cast<std::size_t>(p * c.width() + v)];
      out.push_back(static_cast<float>(value / sum));
    }
  }
  return out;
}

const std::vector<DType> kTypes = {DType::kQ8_0, DType::kF16, DType::kBF16};

}  // namespace

TEST_CASE("integer attention: the scalar line is softmax attention") {
  for (const DType dtype : kTypes) {
    Case c = latent(dtype, 160, 16, 5, 300);
    c.spread = 0.3f;
    const auto q = queries_of(c);
    const Rows rows(c);
    const Result got = attend(*cpu::integer_attention_kernels().front().run, c, q, rows);
    // Rounding to half a step: of the queries and the weights, and of the keys unless the cache already did. A score
    // (spread about 0.3 * 0.2 * sqrt(176)) is off by about 1 % with bytes, a weight by 1/510.
    const float bound = dtype == DType::kQ8_0 ? 0.02f : 0.0006f;
    const auto result =
        tests::compare(got.output(c.shape.value), reference(c, q, rows.floats()), {.abs = bound, .rel = 0});
    CHECK_MESSAGE(result.ok, c.text() << ": " << result.report);
  }
}

TEST_CASE("integer attention: every line gives the scalar bits") {
  const auto lines = cpu::integer_attention_kernels();
  REQUIRE(lines.front().isa == cpu::Isa::kScalar);
  std::vector<Case> cases;
  for (const DType dtype : kTypes) {
    cases.push_back(latent(dtype, 512, 64, 34, 70));
    cases.push_back(latent(dtype, 256, 32, 16, 257));
    cases.push_back(latent(dtype, 32, 2, 1, 1));
    cases.push_back(latent(dtype, 96, 130, 3, 64));
    cases.push_back(latent(dtype, 160, 6, 17, 63));
    cases.push_back(latent(dtype, 64, 0, 2, 255));
    Case narrow = latent(dtype, 128, 64, 33, 11);
    narrow.shape.value = 48;
    cases.push_back(narrow);
    Case sharp = latent(dtype, 64, 64, 4, 200);
    sharp.spread = 30.0f;
    cases.push_back(sharp);
  }
  for (const Case& c : cases) {
    const auto q = queries_of(c);
    const Rows rows(c);
    std::vector<std::int64_t> hidden;
    for (std::int64_t l = 0; l < c.n_lanes; ++l) hidden.push_back(l % 5 == 4 ? c.n_positions : l % 3);
    const Result want = attend(*lines.front().run, c, q, rows, hidden);
    for (const auto& line : lines) {
      if (!tests::line_runs(line.name, line.isa)) continue;
      const Result got = attend(*line.run, c, q, rows, hidden);
      CHECK_MESSAGE(same(got, want), line.name << ", " << c.text());
      CHECK(got.intact);
    }
  }
}

TEST_CASE("integer attention: lanes do not see each other, nor what is hidden from them") {
  for (const DType dtype : kTypes) {
    const Case all = latent(dtype, 64, 16, 37, 100);
    const auto q = queries_of(all);
    const Rows rows(all);
    for (const auto& line : cpu::integer_attention_kernels()) {
      if (!tests::line_runs(line.name, line.isa)) continue;
      std::vector<std::int64_t> hidden;
      for (std::int64_t l = 0; l < all.n_lanes; ++l) hidden.push_back(l);
      const std::vector<float> want = attend(*line.run, all, q, rows, hidden).output(all.shape.value);
      for (std::int64_t l = 0; l < all.n_lanes; l += 4) {
        Case one = all;
        one.n_lanes = 1;
        one.n_positions = all.n_positions - l;
        const std::vector<float> own(q.begin() + l * all.width(), q.begin() + (l + 1) * all.width());
        const std::vector<float> got = attend(*line.run, one, own, Rows(one)).output(all.shape.value);
        CHECK_MESSAGE(tests::same_bits(got.data(), want.data() + l * all.shape.value, got.size()),
                      line.name << " " << all.text() << " lane " << l);
      }
    }
  }
}

TEST_CASE("integer attention: NaN shows in its own lane only") {
  const Case c = latent(DType::kQ8_0, 64, 16, 18, 70);
  auto q = queries_of(c);
  q[static_cast<std::size_t>(3 * c.width() + 7)] = std::numeric_limits<float>::quiet_NaN();
  q[static_cast<std::size_t>(17 * c.width() + 70)] = kInf;
  const Rows rows(c);
  for (const auto& line : cpu::integer_attention_kernels()) {
    if (!tests::line_runs(line.name, line.isa)) continue;
    const std::vector<float> out = attend(*line.run, c, q, rows).output(c.shape.value);
    for (std::int64_t l = 0; l < c.n_lanes; ++l)
      CHECK(std::isnan(out[static_cast<std::size_t>(l * c.shape.value)]) == (l == 3 || l == 17));
  }
}

TEST_CASE("integer attention: keys and values of a head; products with the keys") {
  for (const Digits digits : {Digits::k8, Digits::k16}) {
    const IntegerShape cached{digits, 96, 16, 96}, head{digits, 64, 16, 48};
    const DType dtype = digits == Digits::k8 ? DType::kQ8_0 : DType::kF16;
    const std::int64_t n = 77, n_lanes = 48, stride = 120;
    Case c{cached, dtype, n_lanes, n};
    const Rows rows(c);
    const auto weights = random_values(static_cast<std::size_t>(n_lanes * 96), 7),
               made = random_values(static_cast<std::size_t>(n * stride), 8),
               q = random_values(static_cast<std::size_t>(n_lanes * 80), 9);
    std::vector<float> want_product, want_acc;
    for (const auto& line : cpu::integer_attention_kernels()) {
      if (!tests::line_runs(line.name, line.isa)) continue;
      const cpu::IntegerAttention& f = *line.run;
      GuardedBuffer<std::byte> strips(3 * cpu::strip_bytes(cached), 64), latents(cpu::ChunkLayout(cached).total, 64),
          chunk(cpu::ChunkLayout(head).total, 64);
      const std::byte* blocks[] = {rows.row(0), rows.row(64)};
      f.load_cache({cached, dtype, blocks, c.row_bytes(), n, latents.data()});
      IntegerShape plain = cached;
      plain.rope = 0;
      f.pack_queries({plain, weights.data(), 96, n_lanes, 1.0f, strips.data()});
      GuardedBuffer<float> product(static_cast<std::size_t>((n - 1) * 50 + n_lanes));
      // The packed weights have no rope part: the chunk's layout decides where its keys are.
      f.project({cached, strips.data(), n_lanes, latents.data(), n, product.data(), 50});
      CHECK(product.intact());
      GuardedBuffer<float> acc(static_cast<std::size_t>(n_lanes * 48)), max(std::vector<float>(n_lanes, -kInf)),
          sum(std::vector<float>(n_lanes, 0.0f));
      std::fill_n(acc.data(), acc.size(), 0.0f);
      f.load_head({head, made.data(), made.data() + 64, stride, n, latents.data(), cached, chunk.data()});
      f.pack_queries({head, q.data(), 80, n_lanes, 0.1f, strips.data()});
      const std::vector<std::int32_t> visible(n_lanes, n);
      f.fold({head, strips.data(), n_lanes, chunk.data(), n, visible.data(), max.data(), sum.data(), acc.data(), 48});
      CHECK(acc.intact());
      if (want_acc.empty()) {
        want_product.assign(product.data(), product.data() + product.size());
        want_acc.assign(acc.data(), acc.data() + acc.size());
        const auto floats = rows.floats();
        for (std::int64_t i = 0; i < n; i += 19) {
          double exact = 0;
          for (int k = 0; k < 96; ++k) exact += static_cast<double>(floats[i * 112 + k]) * weights[5 * 96 + k];
          CHECK(product[static_cast<std::size_t>(i * 50 + 5)] ==
                doctest::Approx(exact).epsilon(0).scale(1).epsilon(digits == Digits::k8 ? 0.2 : 0.01));
        }
      }
      for (std::int64_t i = 0; i < n; ++i)
        CHECK(tests::same_bits(product.data() + i * 50, want_product.data() + i * 50, n_lanes));
      CHECK_MESSAGE(tests::same_bits(acc.data(), want_acc.data(), want_acc.size()), line.name);
    }
  }
}

TEST_CASE("int8 cache rows: close to what went in, the rope part closer") {
  const auto row = random_values(576, 20);
  std::vector<std::byte> bytes(cpu::int8_row_bytes(512, 64));
  CHECK(bytes.size() == 648);
  std::vector<float> back(576);
  cpu::encode_int8_row(row.data(), 512, 64, bytes.data());
  cpu::decode_int8_row(bytes.data(), 512, 64, back.data());
  float amax = 0, rope_amax = 0;
  for (int i = 0; i < 576; ++i) (i < 512 ? amax : rope_amax) = std::max(i < 512 ? amax : rope_amax, std::abs(row[i]));
  for (int i = 0; i < 576; ++i)
    CHECK(std::abs(back[i] - row[i]) <= 0.5001f * (i < 512 ? amax / 127.0f : rope_amax / 8191.0f));
}
