// Attention of many rows in decompressed form, and the rows of 16-bit floats that it works with.
#include "gpu/kernels/mla_prompt.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/gpu/kernels/cache_cases.hpp"
#include "tests/gpu/kernels/launcher.hpp"
#include "tests/gpu/on_device.hpp"
#include "tests/support/compare.hpp"

namespace {

using namespace dodeca;
using gpu::CacheType;
using gpu::HalfType;
using gpu::KernelId;
using tests::HostCache;
using tests::Launcher;

CacheType cache_type(HalfType type) { return type == HalfType::kF16 ? CacheType::kF16 : CacheType::kBf16; }
std::uint16_t half_of(HalfType type, float x) { return tests::encode_16(cache_type(type), x); }
float float_of(HalfType type, std::uint16_t bits) { return tests::decode_16(cache_type(type), bits); }

std::vector<std::uint16_t> random_halves(HalfType type, std::size_t n, unsigned seed, float size = 1.0f) {
  std::vector<std::uint16_t> values;
  for (const float x : tests::random_values(n, seed, size)) values.push_back(half_of(type, x));
  return values;
}

struct PromptCase {
  std::int32_t heads, nope, rope, value;
  std::vector<std::int32_t> positions;
  HalfType type = HalfType::kF16;
  float query_size = 1.0f;

  std::int32_t width() const { return nope + rope; }
  std::int32_t n_positions() const {
    std::int32_t last = 0;
    for (const std::int32_t p : positions) last = std::max(last, p);
    return last + 1;
  }
  std::string text() const {
    return std::to_string(heads) + " heads of " + std::to_string(nope) + " + " + std::to_string(rope) + ", " +
           std::to_string(value) + ", " + std::to_string(positions.size()) + " rows, " + std::to_string(n_positions()) +
           " positions, " + (type == HalfType::kF16 ? "f16" : "bf16");
  }
};

std::vector<std::int32_t> positions_from(std::int32_t begin, std::int32_t n) {
  std::vector<std::int32_t> positions;
  for (std::int32_t i = 0; i < n; ++i) positions.push_back(begin + i);
  return positions;
}

struct PromptValues {
  std::vector<std::uint16_t> queries, keys, ropes;
  explicit PromptValues(const PromptCase& of) {
    const auto n = static_cast<std::size_t>(of.n_positions());
    keys = random_halves(of.type, n * static_cast<std::size_t>(of.heads) * static_cast<std::size_t>(of.nope + of.value),
                         5);
    ropes = random_halves(of.type, n * (static_cast<std::size_t>(of.rope) + 8), 6);
    // A row's queries are the same wherever it stands.
    for (const std::int32_t p : of.positions)
      for (const std::uint16_t x :
           random_halves(of.type, static_cast<std::size_t>(of.heads) * static_cast<std::size_t>(of.width()),
                         static_cast<unsigned>(1000 + p), of.query_size))
        queries.push_back(x);
  }
};

std::vector<std::uint16_t> attend(const PromptCase& of, const gpu::emulation::EmulationOptions& options = {}) {
  Launcher device(options);
  const PromptValues values(of);
  std::uint16_t* const queries = device.put(values.queries);
  const gpu::MlaPromptArgs args{.queries = queries,
                                .keys = device.put(values.keys),
                                .ropes = device.put(values.ropes),
                                .positions = device.put(of.positions),
                                .query_stride = of.heads * of.width(),
                                .key_stride = of.heads * (of.nope + of.value),
                                .rope_stride = of.rope + 8,
                                .type = of.type,
                                .n_rows = static_cast<std::int32_t>(of.positions.size()),
                                .n_heads = of.heads,
                                .nope = of.nope,
                                .rope = of.rope,
                                .value = of.value};
  device.device().launch(device.stream(), mla_prompt_kernel(args), mla_prompt_grid(args), &args, sizeof args);
  return device.get(queries, values.queries.size());
}

// In double, of the same 16-bit numbers.
std::vector<double> reference(const PromptCase& of, std::size_t row, std::int32_t head) {
  const PromptValues v(of);
  const auto width = static_cast<std::size_t>(of.width()),
             per_head = static_cast<std::size_t>(of.nope) + static_cast<std::size_t>(of.value);
  const std::size_t n = static_cast<std::size_t>(of.positions[row]) + 1, heads = static_cast<std::size_t>(of.heads),
                    h = static_cast<std::size_t>(head);
  std::vector<double> scores(n), out(static_cast<std::size_t>(of.value), 0.0);
  double most = -1e300, sum = 0;
  for (std::size_t p = 0; p < n; ++p) {
    double score = 0;
    for (std::size_t i = 0; i < width; ++i) {
      const std::uint16_t key =
          i < static_cast<std::size_t>(of.nope)
              ? v.keys[(p * heads + h) * per_head + i]
              : v.ropes[p * static_cast<std::size_t>(of.rope + 8) + i - static_cast<std::size_t>(of.nope)];
      score += double{float_of(of.type, v.queries[(row * heads + h) * width + i])} * float_of(of.type, key);
    }
    scores[p] = score;
    most = std::max(most, score);
  }
  for (std::size_t p = 0; p < n; ++p) {
    const double weight = std::exp2(scores[p] - most);
    sum += weight;
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] += weight * float_of(of.type, v.keys[(p * heads + h) * per_head + static_cast<std::size_t>(of.nope) + i]);
  }
  for (double& x : out) x /= sum;
  return out;
}

}  // namespace

TEST_CASE("mla_prompt: rows of any position, heads of any width, against the definition in double") {
  for (const HalfType type : {HalfType::kF16, HalfType::kBf16}) {
    for (const PromptCase& base :
         {PromptCase{2, 32, 16, 32, positions_from(0, 70)}, PromptCase{1, 128, 64, 128, positions_from(37, 66)},
          PromptCase{1, 192, 64, 256, positions_from(90, 5)}, PromptCase{3, 16, 16, 16, positions_from(0, 1)},
          PromptCase{2, 48, 16, 64, {7, -1, 8, 40, -1, 300}},
          PromptCase{1, 32, 32, 16, {31, 32, 33, 63, 64}, {}, 20.0f}}) {
      PromptCase of = base;
      of.type = type;
      CAPTURE(of.text());
      const std::vector<std::uint16_t> got = attend(of);
      const std::vector<std::uint16_t> before = PromptValues(of).queries;
      double most = 0;
      for (std::size_t row = 0; row < of.positions.size(); ++row) {
        for (std::int32_t head = 0; head < of.heads; ++head) {
          const std::size_t at = (row * static_cast<std::size_t>(of.heads) + static_cast<std::size_t>(head)) *
                                 static_cast<std::size_t>(of.width());
          if (of.positions[row] < 0) {
            CHECK(got[at] == before[at]);
            continue;
          }
          const std::vector<double> want = reference(of, row, head);
          for (std::size_t i = 0; i < want.size(); ++i)
            most = std::max(most, std::abs(float_of(type, got[at + i]) - want[i]));
        }
      }
      // Values are about 1 and results smaller; weights and results are rounded to 11 or 8 bits.
      CHECK(most < (type == HalfType::kF16 ? 1.5e-3 : 1.2e-2));
    }
  }
}

TEST_CASE("mla_prompt: a row has the same bits in every order of threads and beside any other rows") {
  const PromptCase of{2, 32, 16, 32, positions_from(20, 66)};
  const std::vector<std::uint16_t> want = attend(of);
  for (const gpu::emulation::EmulationOptions& way : tests::ways_to_run()) CHECK(attend(of, way) == want);
  const PromptCase alone{2, 32, 16, 32, positions_from(43, 3)};
  const std::vector<std::uint16_t> got = attend(alone);
  const std::size_t row = 2 * 48, first = 23 * row;
  for (std::size_t i = 0; i < got.size(); ++i)
    if (i % 48 < 32) CHECK(got[i] == want[first + i]);
}

TEST_CASE("multiply_halves: products of any size, and what F16 cannot hold") {
  gpu::for_each_emulation([](gpu::Device& device) {
    for (const HalfType type : {HalfType::kF16, HalfType::kBf16}) {
      for (const auto& [m, n, k] : {std::array{1, 2, 16}, {70, 66, 80}, {64, 128, 192}}) {
        CAPTURE(m);
        const auto rows = static_cast<std::size_t>(m), columns = static_cast<std::size_t>(n),
                   depth = static_cast<std::size_t>(k);
        std::vector<std::uint16_t> a = random_halves(type, rows * (depth + 8), 1),
                                   b = random_halves(type, columns * depth, 2);
        if (k == 192) a[0] = half_of(type, 60000.0f), b[0] = half_of(type, 60000.0f);
        const gpu::OnDevice<std::uint16_t> on_a(device, a), on_b(device, b),
            on_c(device, std::vector<std::uint16_t>(rows * (columns + 2), 0x1234));
        const gpu::MultiplyHalvesArgs args{.a = on_a.data(),
                                           .b = on_b.data(),
                                           .c = on_c.data(),
                                           .a_stride = k + 8,
                                           .b_stride = k,
                                           .c_stride = n + 2,
                                           .m = m,
                                           .n = n,
                                           .k = k};
        if (type == HalfType::kF16)
          device.launch<KernelId::multiply_halves_f16>(on_c.stream(), multiply_halves_grid(args), args);
        else
          device.launch<KernelId::multiply_halves_bf16>(on_c.stream(), multiply_halves_grid(args), args);
        const std::vector<std::uint16_t> c = on_c.values();
        double most = 0;
        for (std::size_t i = 0; i < rows; ++i) {
          CHECK(c[i * (columns + 2) + columns] == 0x1234);
          for (std::size_t j = 0; j < columns; ++j) {
            double want = 0, size = 0;
            for (std::size_t p = 0; p < depth; ++p) {
              const double term = double{float_of(type, a[i * (depth + 8) + p])} * float_of(type, b[j * depth + p]);
              want += term;
              size += std::abs(term);
            }
            const double got = float_of(type, c[i * (columns + 2) + j]);
            if (type == HalfType::kF16 && std::abs(want) > 65504) {
              CHECK(got == std::copysign(65504.0, want));
              continue;
            }
            most = std::max(most, (std::abs(got - want) - size * 1e-6) / std::max(1e-3, std::abs(want)));
          }
        }
        CHECK(most <= (type == HalfType::kF16 ? 0x1p-11 : 0x1p-8) * 1.01);
      }
    }
  });
}

TEST_CASE("cached rows, queries and results as 16-bit floats") {
  for (const CacheType type : {CacheType::kF16, CacheType::kBf16, CacheType::kInt8}) {
    const gpu::CacheShape shape{64, 32, type};
    const HalfType half = type == CacheType::kF16 ? HalfType::kF16 : HalfType::kBf16;
    const HostCache cache(shape, 2, 150, 64);
    Launcher device;
    std::uint16_t* const out = device.room<std::uint16_t>(140 * 96);
    const gpu::GatherCacheArgs args{
        .cache = {device.put(cache.bytes), device.put(cache.table), cache.table_stride, cache.row_bytes},
        .shape = shape,
        .out = out,
        .type = half,
        .sequence = 1,
        .n_positions = 140};
    device.launch<KernelId::gather_cache_rows>(gather_cache_grid(args), args);
    const std::vector<std::uint16_t> got = device.get(out, 140 * 96);
    for (std::size_t p = 0; p < 140; ++p)
      for (std::size_t i = 0; i < 96; ++i) REQUIRE(got[p * 96 + i] == half_of(half, cache.rows[1][p * 96 + i]));
  }
  for (const gpu::RopePairs pairs : {gpu::RopePairs::kNeighbours, gpu::RopePairs::kHalves}) {
    constexpr std::size_t kRows = 3, kHeads = 5, kNope = 32, kRope = 16, kWidth = kNope + kRope;
    const std::vector<float> queries = tests::random_values(kRows * kHeads * kWidth, 7u);
    std::vector<float> angles;
    for (std::size_t i = 0; i < kRows * kRope / 2; ++i) {
      angles.push_back(std::cos(0.1f * static_cast<float>(i)));
      angles.push_back(std::sin(0.1f * static_cast<float>(i)));
    }
    Launcher device;
    std::uint16_t* const out = device.room<std::uint16_t>(kRows * 256);
    const gpu::PackQueriesArgs args{.queries = device.put(queries),
                                    .cos_sin = device.put(angles),
                                    .out = out,
                                    .out_stride = 256,
                                    .factor = 0.25f,
                                    .type = HalfType::kF16,
                                    .pairs = pairs,
                                    .n_rows = kRows,
                                    .n_heads = kHeads,
                                    .nope = kNope,
                                    .rope = kRope};
    device.launch<KernelId::pack_queries>(pack_queries_grid(args), args);
    const std::vector<std::uint16_t> got = device.get(out, kRows * 256);
    for (std::size_t row = 0; row < kRows; ++row) {
      for (std::size_t head = 0; head < kHeads; ++head) {
        const float* const q = queries.data() + (row * kHeads + head) * kWidth;
        const std::uint16_t* const packed = got.data() + row * 256 + head * kWidth;
        for (std::size_t i = 0; i < kNope; ++i) CHECK(packed[i] == half_of(HalfType::kF16, q[i] * 0.25f));
        for (std::size_t i = 0; i < kRope / 2; ++i) {
          const bool near = pairs == gpu::RopePairs::kNeighbours;
          const std::size_t a = kNope + (near ? 2 * i : i), b = kNope + (near ? 2 * i + 1 : kRope / 2 + i);
          const float c = angles[row * kRope + 2 * i], s = angles[row * kRope + 2 * i + 1];
          CHECK(packed[a] == half_of(HalfType::kF16, (q[a] * c - q[b] * s) * 0.25f));
          CHECK(packed[b] == half_of(HalfType::kF16, (q[a] * s + q[b] * c) * 0.25f));
        }
      }
    }
    float* const wide = device.put(std::vector<float>(kRows * kHeads * 32, 9.0f));
    const gpu::WidenRowsArgs widen{.in = out,
                                   .out = wide,
                                   .in_stride = 256,
                                   .group_stride = kWidth,
                                   .out_stride = kHeads * 32,
                                   .type = HalfType::kF16,
                                   .n_rows = kRows,
                                   .n_groups = kHeads,
                                   .width = 32};
    device.launch<KernelId::widen_rows>(widen_rows_grid(widen), widen);
    const std::vector<float> floats = device.get(wide, kRows * kHeads * 32);
    for (std::size_t row = 0; row < kRows; ++row)
      for (std::size_t i = 0; i < kHeads * 32; ++i)
        CHECK(floats[row * kHeads * 32 + i] == float_of(HalfType::kF16, got[row * 256 + i / 32 * kWidth + i % 32]));
  }
}
