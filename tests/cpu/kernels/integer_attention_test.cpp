#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
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

// Latent rows as a cache holds them, and the lanes that attend to them.
struct Case {
  IntegerShape shape;
  DType dtype;
  std::int64_t n_lanes, n_positions;
  float spread = 1.0f;  // of the queries

  std::int64_t width() const { return shape.key + shape.rope; }
  std::size_t row_bytes() const {
    return dtype == DType::kI8 ? cpu::int8_row_bytes(shape.key, shape.rope) : *quant::row_bytes(dtype, width());
  }
  std::string text() const {
    return std::string(quant::name_of(dtype)) + " key " + std::to_string(shape.key) + " rope " +
           std::to_string(shape.rope) + " value " + std::to_string(shape.value) + ", " + std::to_string(n_lanes) +
           " lanes, " + std::to_string(n_positions) + " positions";
  }
};

Case latent(DType dtype, std::int64_t key, std::int64_t rope, std::int64_t n_lanes, std::int64_t n_positions) {
  return {{dtype == DType::kI8 ? Digits::k8 : Digits::k16, key, rope, key}, dtype, n_lanes, n_positions};
}

class Rows {
 public:
  explicit Rows(const Case& c) : c_(c), bytes_(c.row_bytes() * static_cast<std::size_t>(c.n_positions)) {
    const auto values = random_values(static_cast<std::size_t>(c.n_positions * c.width()), 2);
    for (std::int64_t i = 0; i < c.n_positions; ++i) {
      if (c.dtype == DType::kI8)
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
      if (c_.dtype == DType::kI8)
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
Result attend(const cpu::IntegerAttention& variant, const Case& c, const std::vector<float>& q, const Rows& rows,
              const std::vector<std::int64_t>& hidden = {}) {
  const IntegerShape& s = c.shape;
  const auto lanes = static_cast<std::size_t>(c.n_lanes);
  const GuardedBuffer<float> queries{std::span<const float>(q)};
  GuardedBuffer<std::byte> strips((lanes + 15) / 16 * cpu::strip_bytes(s), 64);
  GuardedBuffer<std::byte> chunk(cpu::ChunkLayout(s).total, 64);
  const GuardedBuffer<float> max(std::vector<float>(lanes, -kInf)), sum(std::vector<float>(lanes, 0.0f)),
      acc(std::vector<float>(lanes * static_cast<std::size_t>(s.value), 0.0f));
  variant.pack_queries({s, queries.data(), c.width(), c.n_lanes, 0.2f, strips.data()});
  for (std::int64_t begin = 0; begin < c.n_positions; begin += cpu::kChunkPositions) {
    const std::int64_t n = std::min<std::int64_t>(cpu::kChunkPositions, c.n_positions - begin);
    std::vector<const std::byte*> blocks;
    for (std::int64_t i = 0; i < n; i += cpu::kWeightBlock) blocks.push_back(rows.row(begin + i));
    variant.load_cache({s, c.dtype, blocks.data(), c.row_bytes(), n, chunk.data()});
    GuardedBuffer<std::int32_t> visible(lanes);
    for (std::size_t l = 0; l < lanes; ++l) {
      const std::int64_t seen = c.n_positions - (hidden.empty() ? 0 : hidden[l]) - begin;
      visible[l] = static_cast<std::int32_t>(std::clamp<std::int64_t>(seen, 0, n));
    }
    variant.fold(
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

struct KeysAndValues {
  const float* keys;  // rows of [key | rope]
  const float* values;
  std::int64_t value_stride;
};

// Softmax attention by the textbook, in double; rows of queries are as those of keys.
std::vector<float> reference(const IntegerShape& s, const std::vector<float>& q, std::int64_t n, float scale,
                             const KeysAndValues& cache) {
  const std::int64_t width = s.key + s.rope, n_lanes = static_cast<std::int64_t>(q.size()) / width;
  std::vector<float> out;
  for (std::int64_t l = 0; l < n_lanes; ++l) {
    std::vector<double> weight(static_cast<std::size_t>(n));
    double max = -kInf, sum = 0;
    for (std::int64_t p = 0; p < n; ++p) {
      double& w = weight[static_cast<std::size_t>(p)];
      for (std::int64_t k = 0; k < width; ++k)
        w += static_cast<double>(q[static_cast<std::size_t>(l * width + k)]) * cache.keys[p * width + k];
      w *= scale;
      max = std::max(max, w);
    }
    for (double& w : weight) sum += w = std::exp(w - max);
    for (std::int64_t v = 0; v < s.value; ++v) {
      double value = 0;
      for (std::int64_t p = 0; p < n; ++p)
        value += weight[static_cast<std::size_t>(p)] * cache.values[p * cache.value_stride + v];
      out.push_back(static_cast<float>(value / sum));
    }
  }
  return out;
}

const std::vector<DType> kTypes = {DType::kI8, DType::kF16, DType::kBF16, DType::kQ8_0};

}  // namespace

TEST_CASE("integer attention: the scalar variant is softmax attention") {
  for (const DType dtype : kTypes) {
    for (const std::int64_t key : {160, 512}) {
      Case c = latent(dtype, key, 32, 5, 300);
      c.spread = 0.3f;
      const auto q = queries_of(c);
      const Rows rows(c);
      const Result got = attend(*cpu::integer_attention_kernels().front().run, c, q, rows);
      const auto floats = rows.floats();
      const auto want = reference(c.shape, q, c.n_positions, 0.2f, {floats.data(), floats.data(), c.width()});
      // Twice what was measured. Rounding to half a step: of the queries and the weights, and of the keys unless the
      // cache already did.
      const tests::Tolerance bound = dtype == DType::kI8 ? tests::Tolerance{.abs = 0.015, .nmse = 2.8e-4}
                                                         : tests::Tolerance{.abs = 2.8e-4, .nmse = 2.5e-8};
      const auto result = tests::compare(got.output(c.shape.value), want, bound);
      CHECK_MESSAGE(result.ok, c.text(), ": ", result.report);
    }
  }
}

TEST_CASE("integer attention: every variant gives the scalar bits") {
  const auto variants = cpu::integer_attention_kernels();
  REQUIRE(variants.front().isa == cpu::Isa::kScalar);
  std::vector<Case> cases;
  for (const DType dtype : kTypes) {
    cases.push_back(latent(dtype, 512, 64, 34, 70));
    cases.push_back(latent(dtype, 256, 32, 16, 257));
    cases.push_back(latent(dtype, 32, 2, 1, 1));
    cases.push_back(latent(dtype, 96, 130, 3, 64));
    cases.push_back(latent(dtype, 128, 64, 50, 320));  // whole chunks of whole strips
    cases.push_back(latent(dtype, 160, 6, 17, 63));
    cases.push_back(latent(dtype, 64, 0, 2, 255));
    cases.push_back(latent(dtype, 544, 518, 3, 66));  // too wide to be decoded at once, and the last blocks partial
    cases.push_back(latent(dtype, 1024, 544, 2, 17));
    cases.push_back(latent(dtype, 512, 510, 2, 17));  // wide enough, and no multiple of a vector
    Case narrow = latent(dtype, 128, 64, 33, 11);
    narrow.shape.value = 48;
    cases.push_back(narrow);
    Case sharp = latent(dtype, 64, 64, 4, 200);
    sharp.spread = 30.0f;
    cases.push_back(sharp);
  }
  std::erase_if(cases, [](const Case& c) { return c.dtype == DType::kQ8_0 && c.shape.rope % 32 != 0; });
  for (const Case& c : cases) {
    const auto q = queries_of(c);
    const Rows rows(c);
    std::vector<std::int64_t> some;
    for (std::int64_t l = 0; l < c.n_lanes; ++l) some.push_back(l % 5 == 4 ? c.n_positions : l % 3);
    for (const std::vector<std::int64_t>& hidden : {some, {}}) {
      const Result want = attend(*variants.front().run, c, q, rows, hidden);
      for (const auto& variant : variants) {
        if (!tests::variant_runs(variant.name, variant.isa)) continue;
        const Result got = attend(*variant.run, c, q, rows, hidden);
        CHECK_MESSAGE(same(got, want), variant.name, ", ", c.text(), hidden.empty() ? "" : ", some hidden");
        CHECK(got.intact);
      }
    }
  }
}

// Numbers that make the exact sums as large as they can be: a sum that wrapped around would be far off.
TEST_CASE("integer attention: the largest sums fit") {
  struct Extreme {
    std::string name;
    float (*row)(std::int64_t i, std::int64_t k);
  };
  const Extreme extremes[] = {
      {"all equal", [](std::int64_t, std::int64_t) { return 3.0f; }},
      {"signs by position", [](std::int64_t i, std::int64_t) { return i % 2 == 0 ? 5.0f : -5.0f; }},
      {"one of a row", [](std::int64_t i, std::int64_t k) { return k == 7       ? 60000.0f
                                                                   : i % 3 == 0 ? 0.5f
                                                                                : 0.0f; }},
      {"two blocks of unlike size", [](std::int64_t, std::int64_t k) { return k < 64 ? 100.0f : 0.01f; }},
      {"tiny", [](std::int64_t, std::int64_t k) { return k % 2 == 0 ? 1e-20f : -1e-20f; }},
      {"huge", [](std::int64_t, std::int64_t k) { return k % 2 == 0 ? 1e20f : 2e19f; }},
  };
  for (const Extreme& extreme : extremes) {
    const bool fits_f16 = extreme.name != "tiny" && extreme.name != "huge";
    for (const DType dtype : {DType::kF16, DType::kBF16}) {
      if (dtype == DType::kF16 && !fits_f16) continue;
      const Case c = latent(dtype, 192, 64, 3, 130);
      Rows rows(c);
      std::vector<float> values(static_cast<std::size_t>(c.width()));
      for (std::int64_t i = 0; i < c.n_positions; ++i) {
        for (std::int64_t k = 0; k < c.width(); ++k) values[static_cast<std::size_t>(k)] = extreme.row(i, k);
        quant::encode_row(dtype, values.data(), rows.row(i), c.width());
      }
      // Queries of the same kind, scaled so that scores stay within a few units.
      const auto floats = rows.floats();
      double squares = 0;
      for (std::int64_t k = 0; k < c.width(); ++k)
        squares += static_cast<double>(floats[static_cast<std::size_t>(k)]) * floats[static_cast<std::size_t>(k)];
      std::vector<float> q;
      for (std::int64_t l = 0; l < c.n_lanes; ++l) {
        for (std::int64_t k = 0; k < c.width(); ++k)
          q.push_back(
              static_cast<float>(floats[static_cast<std::size_t>(k)] * (5.0 * static_cast<double>(l + 1) / squares)));
      }
      const auto want = reference(c.shape, q, c.n_positions, 0.2f, {floats.data(), floats.data(), c.width()});
      for (const auto& variant : cpu::integer_attention_kernels()) {
        if (!tests::variant_runs(variant.name, variant.isa)) continue;
        const auto got = attend(*variant.run, c, q, rows).output(c.shape.value);
        double worst = 0, largest = 0;
        for (std::size_t i = 0; i < got.size(); ++i) {
          largest = std::max(largest, static_cast<double>(std::abs(want[i])));
          worst = std::max(worst, std::abs(static_cast<double>(got[i]) - want[i]));
          CHECK(std::isfinite(got[i]));
        }
        // Twice what was measured, of "one of a row".
        CHECK_MESSAGE(worst <= 5e-4 * largest, variant.name, ", ", extreme.name, ", ", quant::name_of(dtype),
                      ": off by ", worst, " of ", largest);
      }
    }
  }
}

TEST_CASE("integer attention: lanes do not see each other, nor what is hidden from them") {
  for (const DType dtype : kTypes) {
    const Case all = latent(dtype, 64, 32, 37, 100);
    const auto q = queries_of(all);
    const Rows rows(all);
    for (const auto& variant : cpu::integer_attention_kernels()) {
      if (!tests::variant_runs(variant.name, variant.isa)) continue;
      std::vector<std::int64_t> hidden;
      for (std::int64_t l = 0; l < all.n_lanes; ++l) hidden.push_back(l);
      const std::vector<float> want = attend(*variant.run, all, q, rows, hidden).output(all.shape.value);
      for (std::int64_t l = 0; l < all.n_lanes; l += 4) {
        Case one = all;
        one.n_lanes = 1;
        one.n_positions = all.n_positions - l;
        const std::vector<float> own(q.begin() + l * all.width(), q.begin() + (l + 1) * all.width());
        const std::vector<float> got = attend(*variant.run, one, own, Rows(one)).output(all.shape.value);
        CHECK_MESSAGE(tests::same_bits(got.data(), want.data() + l * all.shape.value, got.size()),
                      variant.name << " " << all.text() << " lane " << l);
      }
    }
  }
}

TEST_CASE("integer attention: NaN shows in its own lane only") {
  const Case c = latent(DType::kI8, 64, 16, 18, 70);
  auto q = queries_of(c);
  q[static_cast<std::size_t>(3 * c.width() + 7)] = std::numeric_limits<float>::quiet_NaN();
  q[static_cast<std::size_t>(17 * c.width() + 70)] = kInf;
  const Rows rows(c);
  for (const auto& variant : cpu::integer_attention_kernels()) {
    if (!tests::variant_runs(variant.name, variant.isa)) continue;
    const std::vector<float> out = attend(*variant.run, c, q, rows).output(c.shape.value);
    for (std::int64_t l = 0; l < c.n_lanes; ++l)
      CHECK(std::isnan(out[static_cast<std::size_t>(l * c.shape.value)]) == (l == 3 || l == 17));
  }
}

TEST_CASE("integer attention: keys and values of a head; products with the keys") {
  struct Head {
    std::int64_t latent, key, value, n;
  };
  // Values wider than the keys, and more positions than fit beside them, too.
  for (const Head& h : {Head{96, 64, 48, 77}, {64, 32, 176, 256}, {288, 256, 128, 255}, {32, 32, 272, 250}}) {
    for (const Digits digits : {Digits::k8, Digits::k16}) {
      const IntegerShape cached{digits, h.latent, 16, h.latent}, head{digits, h.key, 16, h.value};
      const DType dtype = digits == Digits::k8 ? DType::kI8 : DType::kF16;
      const std::int64_t n = h.n, n_lanes = 48, stride = h.key + h.value + 8, out_stride = n_lanes + 2;
      const Case c{cached, dtype, n_lanes, n};
      CAPTURE(c.text());
      CAPTURE(h.key);
      CAPTURE(h.value);
      const Rows rows(c);
      const auto weights = random_values(static_cast<std::size_t>(n_lanes * h.latent), 7),
                 made = random_values(static_cast<std::size_t>(n * stride), 8),
                 q = random_values(static_cast<std::size_t>(n_lanes * (h.key + 16)), 9);
      std::vector<float> want_product, want_acc;
      for (const auto& variant : cpu::integer_attention_kernels()) {
        if (!tests::variant_runs(variant.name, variant.isa)) continue;
        const cpu::IntegerAttention& f = *variant.run;
        const IntegerShape plain = cpu::without_rope(cached);
        GuardedBuffer<std::byte> product_strips(3 * cpu::strip_bytes(plain), 64),
            strips(3 * cpu::strip_bytes(head), 64), latents(cpu::ChunkLayout(cached).total, 64),
            chunk(cpu::ChunkLayout(head).total, 64);
        std::vector<const std::byte*> blocks;
        for (std::int64_t i = 0; i < n; i += cpu::kWeightBlock) blocks.push_back(rows.row(i));
        f.load_cache({cached, dtype, blocks.data(), c.row_bytes(), n, latents.data()});
        f.pack_queries({plain, weights.data(), h.latent, n_lanes, 1.0f, product_strips.data()});
        GuardedBuffer<float> product(static_cast<std::size_t>((n - 1) * out_stride + n_lanes));
        // The packed weights have no rope part: the chunk's layout decides where its keys are.
        f.project({cached, product_strips.data(), n_lanes, latents.data(), n, product.data(), out_stride});
        CHECK(product.intact());
        GuardedBuffer<float> acc(std::vector<float>(static_cast<std::size_t>(n_lanes * h.value), 0.0f)),
            max(std::vector<float>(n_lanes, -kInf)), sum(std::vector<float>(n_lanes, 0.0f));
        f.load_head({head, made.data(), made.data() + h.key, stride, n, latents.data(), cached, chunk.data()});
        f.pack_queries({head, q.data(), h.key + 16, n_lanes, 0.1f, strips.data()});
        const std::vector<std::int32_t> visible(n_lanes, static_cast<std::int32_t>(n));
        f.fold({head, strips.data(), n_lanes, chunk.data(), n, visible.data(), max.data(), sum.data(), acc.data(),
                h.value});
        CHECK(acc.intact());
        CHECK(latents.intact());
        CHECK(chunk.intact());
        std::vector<float> products;
        for (std::int64_t i = 0; i < n; ++i)
          products.insert(products.end(), product.data() + i * out_stride, product.data() + i * out_stride + n_lanes);
        if (!want_acc.empty()) {
          CHECK_MESSAGE(tests::same_bits(products.data(), want_product.data(), products.size()), variant.name);
          CHECK_MESSAGE(tests::same_bits(acc.data(), want_acc.data(), want_acc.size()), variant.name);
          continue;
        }
        want_product = products;
        want_acc.assign(acc.data(), acc.data() + acc.size());
        const auto floats = rows.floats();
        std::vector<float> exact, keys;
        for (std::int64_t i = 0; i < n; ++i) {
          for (std::int64_t l = 0; l < n_lanes; ++l) {
            double total = 0;
            for (std::int64_t k = 0; k < h.latent; ++k)
              total += static_cast<double>(floats[static_cast<std::size_t>(i * c.width() + k)]) *
                       weights[static_cast<std::size_t>(l * h.latent + k)];
            exact.push_back(static_cast<float>(total));
          }
          keys.insert(keys.end(), made.begin() + i * stride, made.begin() + i * stride + h.key);
          keys.insert(keys.end(), floats.begin() + i * c.width() + h.latent, floats.begin() + (i + 1) * c.width());
        }
        // Twice what was measured, as above.
        const bool bytes = digits == Digits::k8;
        const auto projected =
            tests::compare(products, exact, {.abs = bytes ? 0.95 : 0.012, .nmse = bytes ? 8e-5 : 1.1e-8});
        CHECK_MESSAGE(projected.ok, projected.report);
        std::vector<float> out(want_acc);
        for (std::size_t i = 0; i < out.size(); ++i) out[i] /= sum[i / static_cast<std::size_t>(h.value)];
        const auto attended =
            tests::compare(out, reference(head, q, n, 0.1f, {keys.data(), made.data() + h.key, stride}),
                           {.abs = bytes ? 0.033 : 3e-4, .nmse = bytes ? 6e-4 : 4e-8});
        CHECK_MESSAGE(attended.ok, attended.report);
      }
    }
  }
}

TEST_CASE("integer attention: no lanes, nothing done") {
  const Case c = latent(DType::kI8, 32, 2, 0, 3);
  const Rows rows(c);
  for (const auto& variant : cpu::integer_attention_kernels()) {
    if (tests::variant_runs(variant.name, variant.isa)) CHECK(attend(*variant.run, c, {}, rows).intact);
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
    CHECK(std::abs(back[i] - row[i]) <= 0.5001f * (i < 512 ? amax / 127.0f : rope_amax / 4080.0f));
}
