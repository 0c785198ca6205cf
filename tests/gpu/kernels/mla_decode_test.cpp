#include "gpu/kernels/mla_decode.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "cpu/kernels/attention/attention.hpp"
#include "tests/gpu/kernels/cache_cases.hpp"
#include "tests/gpu/kernels/launcher.hpp"
#include "tests/support/compare.hpp"

using namespace dodeca;
using gpu::CacheType;
using gpu::KernelId;
using gpu::MlaArithmetic;
using tests::HostCache;
using tests::Launcher;

namespace {

constexpr const char* kTypeNames[] = {" f32, ", " f16, ", " bf16, ", " int8, "};
constexpr CacheType kTensorTypes[] = {CacheType::kF16, CacheType::kBf16, CacheType::kInt8};

struct AttentionCase {
  std::int32_t heads = 16;
  gpu::CacheShape shape = {64, 32, CacheType::kBf16};
  std::vector<std::int32_t> sequences, positions;  // of the rows
  std::int32_t most_chunks = 4;
  MlaArithmetic arithmetic = MlaArithmetic::kTensor;
  float query_size = 1.0f;  // a power of two; scores are as large as without

  std::int32_t width() const { return shape.latent + shape.rope; }
  float scale() const { return 2.0f / std::sqrt(static_cast<float>(width())) / query_size; }
  std::string text() const {
    return std::to_string(heads) + " heads, " + std::to_string(shape.latent) + " + " + std::to_string(shape.rope) +
           kTypeNames[static_cast<std::size_t>(shape.type)] + std::to_string(positions[0] + 1) + " positions";
  }
};

// Queries of row r of a case: a row's are the same wherever it stands.
std::vector<float> queries_of(const AttentionCase& of, std::size_t r) {
  return tests::random_values(static_cast<std::size_t>(of.heads * of.width()),
                              static_cast<unsigned>(77 + 1000 * of.sequences[r] + of.positions[r]), of.query_size);
}

// [rows, heads, latent] from the device; where nothing is written stands 12345.
std::vector<float> attend(const AttentionCase& of, const HostCache& cache,
                          const gpu::emulation::EmulationOptions& options = {}) {
  Launcher device(options);
  std::vector<float> queries;
  for (std::size_t r = 0; r < of.positions.size(); ++r) {
    const auto row = queries_of(of, r);
    queries.insert(queries.end(), row.begin(), row.end());
  }
  const auto n_rows = static_cast<std::int32_t>(of.positions.size());
  const std::size_t parts = of.positions.size() * static_cast<std::size_t>(of.most_chunks * of.heads),
                    n_out = of.positions.size() * static_cast<std::size_t>(of.heads * of.shape.latent);
  const gpu::MlaPartials partials{device.room<float>(parts), device.room<float>(parts),
                                  device.room<float>(parts * static_cast<std::size_t>(of.shape.latent))};
  const std::int32_t* const positions = device.put(of.positions);
  const gpu::MlaDecodeArgs args{
      .queries = device.put(queries),
      .sequences = device.put(of.sequences),
      .positions = positions,
      .cache = {device.put(cache.bytes), device.put(cache.table), cache.table_stride, cache.row_bytes},
      .shape = of.shape,
      .arithmetic = of.arithmetic,
      .partials = partials,
      .scale = of.scale(),
      .n_rows = n_rows,
      .n_heads = of.heads,
      .most_chunks = of.most_chunks};
  device.device().launch(device.stream(), mla_decode_kernel(args), mla_decode_grid(args), &args, sizeof args);
  float* const out = device.put(std::vector<float>(n_out, 12345.0f));
  const gpu::MlaMergeArgs merge{.partials = partials,
                                .positions = positions,
                                .out = out,
                                .n_rows = n_rows,
                                .n_heads = of.heads,
                                .latent = of.shape.latent,
                                .most_chunks = of.most_chunks};
  device.launch<KernelId::mla_merge>(mla_merge_grid(merge), merge);
  return device.get(out, n_out);
}

// As the kernels round it: F16 after scaling by a power of two that keeps digits of small values too.
float rounded_query(const AttentionCase& of, float q) {
  const float scale = of.shape.type == CacheType::kF16 ? 0x1p12f / of.query_size : 1.0f;
  return tests::decode_16(of.shape.type, tests::encode_16(of.shape.type, q * scale)) / scale;
}

// Softmax attention of a row by the textbook, in double; for tensor cores with rounded queries. `bound`: a weight's
// rounding to BF16 is at most 2^-8 of it (F16: 2^-11), that of their sum is the same where the sum is of rounded ones;
// roundings of many weights cancel, so half of that is asked for: 2^-8 (2^-11) of the sum of |weight * value|. Float32
// sums of at most 640 products in the scores, and of the weights, take less than 1e-4 of it.
struct Expected {
  std::vector<double> values, bound;
};
Expected expected(const AttentionCase& of, const HostCache& cache, std::size_t r) {
  const std::size_t width = static_cast<std::size_t>(of.width()), latent = static_cast<std::size_t>(of.shape.latent);
  const auto q = queries_of(of, r);
  const float* const rows = cache.rows[static_cast<std::size_t>(of.sequences[r])].data();
  const auto n = static_cast<std::size_t>(of.positions[r] + 1);
  const bool f32 = of.arithmetic == MlaArithmetic::kF32;
  const double rounding = of.shape.type == CacheType::kF16 ? 0x1p-11 : 0x1p-8;
  Expected result;
  for (std::size_t h = 0; h < static_cast<std::size_t>(of.heads); ++h) {
    std::vector<double> weight(n);
    double max = -INFINITY, sum = 0;
    for (std::size_t p = 0; p < n; ++p) {
      for (std::size_t k = 0; k < width; ++k)
        weight[p] +=
            static_cast<double>(f32 ? q[h * width + k] : rounded_query(of, q[h * width + k])) * rows[p * width + k];
      weight[p] *= of.scale();
      max = std::max(max, weight[p]);
    }
    for (double& w : weight) sum += w = std::exp(w - max);
    for (std::size_t v = 0; v < latent; ++v) {
      double value = 0, size = 0;
      for (std::size_t p = 0; p < n; ++p) {
        value += weight[p] * rows[p * width + v];
        size += weight[p] * std::abs(rows[p * width + v]);
      }
      result.values.push_back(value / sum);
      result.bound.push_back((f32 ? 1e-5 : rounding + 1e-4) * size / sum);
    }
  }
  return result;
}

void check_row(const AttentionCase& of, const Expected& want, const std::vector<float>& got, std::size_t r) {
  const std::size_t n = want.values.size();
  double worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double excess = std::abs(static_cast<double>(got[r * n + i]) - want.values[i]) / want.bound[i];
    if (!(excess <= worst)) {
      worst = excess;
      at = i;
    }
  }
  CHECK_MESSAGE(worst <= 1.0, of.text(), ", row ", r, ": ", worst, " of the bound at head ",
                at / static_cast<std::size_t>(of.shape.latent), ", value ",
                at % static_cast<std::size_t>(of.shape.latent));
}

std::int32_t longest(const AttentionCase& of) {
  return *std::max_element(of.positions.begin(), of.positions.end()) + 1;
}

void check(const AttentionCase& of) {
  const HostCache cache(of.shape, *std::max_element(of.sequences.begin(), of.sequences.end()) + 1, longest(of), 0);
  const auto got = attend(of, cache);
  for (std::size_t r = 0; r < of.positions.size(); ++r) check_row(of, expected(of, cache, r), got, r);
}

std::vector<float> row_of(const std::vector<float>& all, std::size_t r, std::size_t n) {
  return {all.begin() + static_cast<std::ptrdiff_t>(r * n), all.begin() + static_cast<std::ptrdiff_t>((r + 1) * n)};
}

}  // namespace

TEST_CASE("mla_decode: one row is softmax attention, for any number of heads, context and shape") {
  for (const CacheType type : kTensorTypes) {
    for (const std::int32_t positions : {1, 63, 64, 65, 255}) {
      for (const std::int32_t heads : {1, 16, 20})
        check({.heads = heads, .shape = {128, 32, type}, .sequences = {0}, .positions = {positions - 1}});
    }
    for (const gpu::CacheShape& shape :
         {gpu::CacheShape{64, 32, type}, {192, 64, type}, {256, 32, type}, {512, 128, type}, {448, 48, type}})
      check({.heads = 33, .shape = shape, .sequences = {0}, .positions = {149}});
    check({.heads = 8, .shape = {256, 32, type}, .sequences = {0}, .positions = {999}});
  }
}

TEST_CASE("mla_decode: the kernels of 512 + 64 and blocks of 64 heads") {
  for (const CacheType type : kTensorTypes) {
    for (const std::int32_t heads : {64, 100, 128})
      check({.heads = heads, .shape = {512, 64, type}, .sequences = {0}, .positions = {70}, .most_chunks = 2});
    check({.heads = 20, .shape = {512, 64, type}, .sequences = {0}, .positions = {70}});
  }
  check({.heads = 128, .shape = {512, 64, CacheType::kF16}, .sequences = {0}, .positions = {999}, .most_chunks = 3});
}

TEST_CASE("mla_decode: in F32 arithmetic nothing is rounded, whatever the cache holds") {
  for (const CacheType type : {CacheType::kF32, CacheType::kF16, CacheType::kBf16, CacheType::kInt8}) {
    for (const gpu::CacheShape& shape : {gpu::CacheShape{64, 16, type}, {256, 32, type}, {512, 128, type}}) {
      check(
          {.heads = 9, .shape = shape, .sequences = {0, 1}, .positions = {150, 63}, .arithmetic = MlaArithmetic::kF32});
    }
  }
}

TEST_CASE("mla_decode: queries of any size are scaled into F16, without a trace in the result") {
  AttentionCase of{.heads = 20, .shape = {128, 32, CacheType::kF16}, .sequences = {0}, .positions = {100}};
  const HostCache cache(of.shape, 1, longest(of), 0);
  const auto want = attend(of, cache);
  for (const float size : {0x1p40f, 0x1p-40f}) {
    of.query_size = size;
    CHECK(attend(of, cache) == want);
  }
}

TEST_CASE("mla_decode: a row has the same bits in any company, in any blocks") {
  for (const CacheType type : kTensorTypes) {
    // Two sequences that share two blocks; three rows of one of them; one row that is not there.
    const AttentionCase all{.heads = 20,
                            .shape = {128, 32, type},
                            .sequences = {0, 1, 1, 0, 1},
                            .positions = {299, 150, 151, -1, 152},
                            .most_chunks = 2};
    const HostCache cache(all.shape, 2, 300, 128), elsewhere(all.shape, 2, 300, 128, 9);
    const auto together = attend(all, cache);
    const auto n = static_cast<std::size_t>(all.heads * all.shape.latent);
    for (std::size_t r = 0; r < all.positions.size(); ++r) {
      if (all.positions[r] < 0) {
        CHECK(row_of(together, r, n) == std::vector<float>(n, 12345.0f));
        continue;
      }
      check_row(all, expected(all, cache, r), together, r);
      AttentionCase alone = all;
      alone.sequences = {all.sequences[r]};
      alone.positions = {all.positions[r]};
      CHECK(attend(alone, cache) == row_of(together, r, n));
      CHECK(attend(alone, elsewhere) == row_of(together, r, n));
    }
  }
}

TEST_CASE("mla_decode: the order of threads and blocks changes nothing") {
  for (const CacheType type : kTensorTypes) {
    const AttentionCase general{
        .heads = 40, .shape = {128, 32, type}, .sequences = {0, 0}, .positions = {200, 201}, .most_chunks = 2};
    AttentionCase f32 = general;
    f32.arithmetic = MlaArithmetic::kF32;
    const AttentionCase wide{.heads = 64, .shape = {512, 64, type}, .sequences = {0}, .positions = {40}};
    for (const AttentionCase& of : {general, f32, wide}) {
      const HostCache cache(of.shape, 1, longest(of), 0);
      const auto want = attend(of, cache);
      for (const auto& options : tests::ways_to_run()) CHECK(attend(of, cache, options) == want);
    }
  }
}

TEST_CASE("mla_decode: agrees with the CPU's attention over the same rows") {
  for (const CacheType type : kTensorTypes) {
    const AttentionCase of{.heads = 16, .shape = {256, 32, type}, .sequences = {0}, .positions = {255}};
    const HostCache cache(of.shape, 1, longest(of), 0);
    const std::int64_t width = of.width(), latent = of.shape.latent;
    const auto q = queries_of(of, 0);
    std::vector<float> max(16, -INFINITY), sum(16, 0.0f), acc(static_cast<std::size_t>(16 * latent), 0.0f),
        scratch(16 * cpu::kContextBlock);
    for (std::int64_t p = 0; p < longest(of); p += cpu::kContextBlock) {
      cpu::mla_block({.q = q.data(),
                      .n_heads = 16,
                      .width = width,
                      .value_width = latent,
                      .rows = cache.rows[0].data() + p * width,
                      .n_positions = cpu::kContextBlock,
                      .scale = of.scale(),
                      .max = max.data(),
                      .sum = sum.data(),
                      .acc = acc.data(),
                      .scratch = scratch.data()},
                     cpu::Isa::kScalar);
    }
    for (std::int64_t i = 0; i < 16 * latent; ++i) acc[i] /= sum[i / latent];
    // The CPU rounds neither queries nor weights: relative errors of up to 2^-8 each, of F16 an eighth.
    const double nmse = type == CacheType::kF16 ? 3e-5 / 64 : 3e-5;
    const auto result = tests::compare(attend(of, cache), acc, {.nmse = nmse});
    CHECK_MESSAGE(result.nmse < nmse, result.report);
  }
}

TEST_CASE("mla_decode: a context is cut by the row's position alone, into at most so many chunks") {
  static_assert(gpu::kCacheBlock == cpu::kContextBlock);
  for (std::int32_t most = 1; most < 200; most += 11) {
    for (std::int32_t position = 0; position < 70000; position = position * 2 + 1) {
      const gpu::MlaCut cut = gpu::mla_cut(position, most);
      CHECK(cut.count <= most);
      CHECK((cut.count - 1) * cut.length <= position);
      CHECK(cut.count * cut.length > position);
      CHECK(cut.length % gpu::kCacheBlock == 0);
      // A smaller limit that the context's blocks keep to changes nothing.
      const gpu::MlaCut same = gpu::mla_cut(position, std::min(most, position / gpu::kCacheBlock + 1));
      CHECK(same.length == cut.length);
    }
  }
}

TEST_CASE("mla_decode: shared memory of every shape is what cards of 24 GB have") {
  for (const CacheType type : kTensorTypes) {
    for (const std::int32_t heads : {1, 32, 64, 128}) {
      for (const gpu::CacheShape& shape : {gpu::CacheShape{512, 64, type}, {512, 128, type}, {64, 16, type}}) {
        const gpu::MlaDecodeArgs args{.cache = {nullptr, nullptr, 1, cache_row_bytes(shape)},
                                      .shape = shape,
                                      .n_rows = 1,
                                      .n_heads = heads,
                                      .most_chunks = 1};
        CHECK(mla_decode_grid(args).shared_bytes <= 99 * 1024);
      }
    }
  }
}
