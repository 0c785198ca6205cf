#include "gpu/kernels/cache_rows.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "cpu/kernels/norm/norm.hpp"
#include "cpu/kernels/rope/rope.hpp"
#include "tests/gpu/kernels/cache_cases.hpp"
#include "tests/gpu/kernels/launcher.hpp"
#include "tests/support/compare.hpp"

using namespace dodeca;
using gpu::CacheType;
using gpu::KernelId;
using gpu::RopePairs;
using tests::Launcher;
using tests::random_values;

namespace {

struct AppendCase {
  gpu::CacheShape shape;
  RopePairs pairs = RopePairs::kNeighbours;
  bool bias = false;
  float spread = 1.0f;
};

constexpr std::int32_t kBlocks = 5;
const std::vector<std::int32_t> kTable = {3, 1, 1, 4};  // two sequences, two blocks each
const std::vector<std::int32_t> kSequences = {0, 1, 0, 0};
const std::vector<std::int32_t> kPositions = {0, 127, -1, 70};

std::vector<double> inverse_frequencies(std::int32_t rope) {
  std::vector<double> all;
  for (std::int32_t i = 0; i < rope / 2; ++i) all.push_back(std::pow(10000.0, -2.0 * i / rope));
  return all;
}

// What the CPU would write for row r, as floats.
std::vector<float> cpu_row(const AppendCase& of, std::vector<float> kv, const std::vector<float>& bias,
                           const std::vector<float>& norm, std::int32_t position) {
  for (std::size_t i = 0; of.bias && i < kv.size(); ++i) kv[i] += bias[i];
  cpu::rms_norm(kv.data(), norm.data(), of.shape.latent, 1e-6f, kv.data(), cpu::Isa::kScalar);
  std::vector<float> angles(static_cast<std::size_t>(of.shape.rope));
  cpu::rope_angles(position, inverse_frequencies(of.shape.rope), angles.data());
  const auto rotate = of.pairs == RopePairs::kHalves ? cpu::rope_rotate_halves : cpu::rope_rotate;
  rotate(kv.data() + of.shape.latent, angles.data(), of.shape.rope / 2);
  return kv;
}

// All bytes of the cache after rows were appended; 0xff where nothing is written.
struct Appended {
  std::vector<std::byte> bytes;
  std::vector<std::vector<float>> rows;  // what the CPU has for each row
};
Appended append(const AppendCase& of, const gpu::emulation::EmulationOptions& options = {}) {
  Launcher device(options);
  const std::size_t width = static_cast<std::size_t>(of.shape.latent + of.shape.rope), n = kPositions.size();
  const auto kv = random_values(n * width, 3, of.spread), bias = random_values(width, 4),
             norm = random_values(static_cast<std::size_t>(of.shape.latent), 5);
  float* const cos_sin = device.room<float>(n * static_cast<std::size_t>(of.shape.rope));
  const std::int32_t* const positions = device.put(kPositions);
  const gpu::RopeAnglesArgs angles{.positions = positions,
                                   .inv_freq = device.put(inverse_frequencies(of.shape.rope)),
                                   .cos_sin = cos_sin,
                                   .magnitude = 1.0f,
                                   .n_rows = static_cast<std::int32_t>(n),
                                   .rope = of.shape.rope};
  device.launch<KernelId::rope_angles>(rope_angles_grid(angles), angles);
  const std::size_t bytes = static_cast<std::size_t>(kBlocks * gpu::kCacheBlock * cache_row_bytes(of.shape));
  std::byte* const rows = device.put(std::vector<std::byte>(bytes, std::byte{0xff}));
  const gpu::AppendCacheArgs args{.kv = device.put(kv),
                                  .bias = of.bias ? device.put(bias) : nullptr,
                                  .norm = device.put(norm),
                                  .cos_sin = cos_sin,
                                  .sequences = device.put(kSequences),
                                  .positions = positions,
                                  .cache = {rows, device.put(kTable), 2, cache_row_bytes(of.shape)},
                                  .shape = of.shape,
                                  .kv_stride = static_cast<std::int64_t>(width),
                                  .eps = 1e-6f,
                                  .n_rows = static_cast<std::int32_t>(n),
                                  .pairs = of.pairs};
  device.launch<KernelId::append_cache_rows>(append_cache_grid(args), args);
  Appended result{device.get(rows, bytes), {}};
  for (std::size_t r = 0; r < n; ++r) {
    const std::vector<float> row(kv.begin() + static_cast<std::ptrdiff_t>(r * width),
                                 kv.begin() + static_cast<std::ptrdiff_t>((r + 1) * width));
    result.rows.push_back(kPositions[r] < 0 ? row : cpu_row(of, row, bias, norm, kPositions[r]));
  }
  return result;
}

template <class T>
T value_at(const std::byte* bytes, std::int64_t i) {
  T value;
  std::memcpy(&value, bytes + i * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return value;
}

// Both differ from the CPU's floats by their rounding, and by float32 sums in another order (1e-6 of a value).
void check_row(const gpu::CacheShape& shape, const std::vector<float>& want, const std::byte* row) {
  const bool int8 = shape.type == CacheType::kInt8;
  const std::byte* const keys = row + cache_rope_offset(shape);
  const float scale = int8 ? value_at<float>(row + cache_scale_offset(shape), 0) : 1.0f;
  const float rounding = shape.type == CacheType::kF16 ? 0x1p-11f : 0x1p-8f;
  float largest = 0.0f;
  for (std::int32_t i = 0; i < shape.latent; ++i) largest = std::max(largest, std::abs(want[i]));
  if (int8) CHECK(std::abs(scale - largest / 127.0f) <= 2e-6f * scale);
  std::int64_t bad = 0;
  for (std::int32_t i = 0; i < shape.latent + shape.rope; ++i) {
    const std::byte* const part = i < shape.latent ? row : keys;
    const std::int32_t at = i < shape.latent ? i : i - shape.latent;
    float got = 0.0f, bound = (rounding + 3e-6f) * std::abs(want[i]) + 0x1p-25f;
    if (shape.type == CacheType::kF32) {
      got = value_at<float>(part, at);
      bound = 3e-6f * std::abs(want[i]);
    } else if (int8 && i < shape.latent) {
      got = scale * static_cast<float>(value_at<std::int8_t>(row, i));
      bound = 0.501f * scale;
    } else {
      got = scale * tests::decode_16(shape.type, value_at<std::uint16_t>(part, at));
    }
    if (!(std::abs(got - want[i]) <= bound)) ++bad;
  }
  CHECK(bad == 0);
}

}  // namespace

TEST_CASE("append_cache_rows: bias, norm and rope as on the CPU, in the row's place and nowhere else") {
  for (const CacheType type : {CacheType::kF32, CacheType::kF16, CacheType::kBf16, CacheType::kInt8}) {
    for (const AppendCase& of :
         {AppendCase{{512, 64, type}}, AppendCase{{256, 32, type}, RopePairs::kHalves, true},
          AppendCase{{64, 128, type}, RopePairs::kNeighbours, true, 1e-3f}, AppendCase{{64, 16, type}}}) {
      const Appended appended = append(of);
      const std::int32_t row_bytes = cache_row_bytes(of.shape);
      std::vector<bool> written(appended.bytes.size());
      for (std::size_t r = 0; r < kPositions.size(); ++r) {
        if (kPositions[r] < 0) continue;
        const auto block = kTable[static_cast<std::size_t>(2 * kSequences[r] + kPositions[r] / gpu::kCacheBlock)];
        const auto at = gpu::cache_row_offset(block, kPositions[r], row_bytes);
        check_row(of.shape, appended.rows[r], appended.bytes.data() + at);
        for (std::int32_t i = 0; i < row_bytes; ++i) written[static_cast<std::size_t>(at + i)] = true;
      }
      std::int64_t strayed = 0;
      for (std::size_t i = 0; i < written.size(); ++i)
        if (!written[i] && appended.bytes[i] != std::byte{0xff}) ++strayed;
      CHECK(strayed == 0);
      for (const auto& options : tests::ways_to_run()) CHECK(append(of, options).bytes == appended.bytes);
    }
  }
}

TEST_CASE("append_cache_rows: a latent of zeros, and one that is not finite") {
  for (const float value : {0.0f, INFINITY, std::nanf("")}) {
    Launcher device;
    const gpu::CacheShape shape{64, 16, CacheType::kInt8};
    std::vector<float> kv(80, 0.0f);
    kv[5] = value;
    kv[64] = 3.0f;
    std::vector<float> cos_sin(16, 0.0f);
    for (std::size_t i = 0; i < 16; i += 2) cos_sin[i] = 1.0f;
    const std::size_t bytes = static_cast<std::size_t>(gpu::kCacheBlock * cache_row_bytes(shape));
    std::byte* const rows = device.put(std::vector<std::byte>(bytes));
    const gpu::AppendCacheArgs args{
        .kv = device.put(kv),
        .norm = device.put(std::vector<float>(64, 1.0f)),
        .cos_sin = device.put(cos_sin),
        .sequences = device.put(std::vector<std::int32_t>{0}),
        .positions = device.put(std::vector<std::int32_t>{0}),
        .cache = {rows, device.put(std::vector<std::int32_t>{0}), 1, cache_row_bytes(shape)},
        .shape = shape,
        .kv_stride = 80,
        .eps = 1e-6f,
        .n_rows = 1};
    device.launch<KernelId::append_cache_rows>(append_cache_grid(args), args);
    const auto row = device.get(rows, bytes);
    const float scale = value_at<float>(row.data() + 96, 0);
    const float rope = quant::bf16_to_f32(value_at<std::uint16_t>(row.data() + 64, 0));
    if (value == 0.0f) {
      CHECK(scale == 1.0f);
      CHECK(rope == 3.0f);
    } else {
      CHECK(std::isnan(scale));
    }
    for (std::int64_t i = 0; i < 64; ++i) CHECK(value_at<std::int8_t>(row.data(), i) == 0);
  }
}

TEST_CASE("append_cache_rows: what F16 cannot hold becomes the largest that it can") {
  Launcher device;
  const gpu::CacheShape shape{64, 16, CacheType::kF16};
  std::vector<float> kv(80, 1.0f), cos_sin(16, 0.0f);
  for (std::size_t i = 0; i < 16; i += 2) cos_sin[i] = 1.0f;
  kv[64] = 1e6f;
  kv[65] = -INFINITY;
  kv[66] = std::nanf("");
  std::byte* const rows = device.put(std::vector<std::byte>(gpu::kCacheBlock * 160));
  const gpu::AppendCacheArgs args{.kv = device.put(kv),
                                  .norm = device.put(std::vector<float>(64, 1e5f)),
                                  .cos_sin = device.put(cos_sin),
                                  .sequences = device.put(std::vector<std::int32_t>{0}),
                                  .positions = device.put(std::vector<std::int32_t>{0}),
                                  .cache = {rows, device.put(std::vector<std::int32_t>{0}), 1, cache_row_bytes(shape)},
                                  .shape = shape,
                                  .kv_stride = 80,
                                  .eps = 1e-6f,
                                  .n_rows = 1};
  device.launch<KernelId::append_cache_rows>(append_cache_grid(args), args);
  const auto row = device.get(rows, 160);
  const auto held = [&](std::int64_t i) { return quant::f16_to_f32(value_at<std::uint16_t>(row.data(), i)); };
  CHECK(held(5) == 65504.0f);
  CHECK(std::isnan(held(64)));  // 1e6 * cos - infinity * 0
  CHECK(held(65) == -65504.0f);
  CHECK(std::isnan(held(66)));
  CHECK(held(68) == 1.0f);
}

TEST_CASE("rope_angles and rope_rows have the CPU's bits, in place or moved") {
  constexpr std::int32_t kHeads = 3, kRope = 64, kNope = 32, kLatent = 128, kRows = 2;
  for (const RopePairs pairs : {RopePairs::kNeighbours, RopePairs::kHalves}) {
    Launcher device;
    const std::vector<std::int32_t> positions = {70000, 5};
    float* const cos_sin = device.room<float>(kRows * kRope);
    const gpu::RopeAnglesArgs angles{.positions = device.put(positions),
                                     .inv_freq = device.put(inverse_frequencies(kRope)),
                                     .cos_sin = cos_sin,
                                     .magnitude = 0.7f,
                                     .n_rows = kRows,
                                     .rope = kRope};
    device.launch<KernelId::rope_angles>(rope_angles_grid(angles), angles);
    const auto q = random_values(kRows * kHeads * (kNope + kRope), 1);
    float* const in = device.put(q);
    float* const out = device.put(std::vector<float>(kRows * kHeads * (kLatent + kRope), 9.0f));
    gpu::RopeRowsArgs args{.in = in + kNope,
                           .out = out + kLatent,
                           .cos_sin = cos_sin,
                           .in_row_stride = kHeads * (kNope + kRope),
                           .in_head_stride = kNope + kRope,
                           .out_row_stride = kHeads * (kLatent + kRope),
                           .out_head_stride = kLatent + kRope,
                           .n_rows = kRows,
                           .n_heads = kHeads,
                           .rope = kRope,
                           .pairs = pairs};
    device.launch<KernelId::rope_rows>(rope_rows_grid(args), args);
    const auto moved = device.get(out, kRows * kHeads * (kLatent + kRope));
    args.out = in + kNope;
    args.out_row_stride = args.in_row_stride;
    args.out_head_stride = args.in_head_stride;
    device.launch<KernelId::rope_rows>(rope_rows_grid(args), args);
    const auto in_place = device.get(in, q.size());
    for (std::int32_t row = 0; row < kRows; ++row) {
      std::vector<float> want_angles(kRope);
      cpu::rope_angles(positions[row], inverse_frequencies(kRope), want_angles.data());
      for (float& x : want_angles) x *= 0.7f;
      for (std::int32_t head = 0; head < kHeads; ++head) {
        const std::int32_t i = row * kHeads + head;
        std::vector<float> want(q.begin() + i * (kNope + kRope), q.begin() + (i + 1) * (kNope + kRope));
        (pairs == RopePairs::kHalves ? cpu::rope_rotate_halves : cpu::rope_rotate)(want.data() + kNope,
                                                                                   want_angles.data(), kRope / 2);
        CHECK(std::equal(want.begin(), want.end(), in_place.begin() + i * (kNope + kRope)));
        CHECK(std::equal(want.begin() + kNope, want.end(), moved.begin() + i * (kLatent + kRope) + kLatent));
        CHECK(moved[i * (kLatent + kRope)] == 9.0f);
      }
    }
  }
}

TEST_CASE("copy_cache_rows: rows between blocks of every layer, and to and from a staging buffer") {
  constexpr std::int32_t kLayers = 3, kRowBytes = 2 * (64 + 16), kLayerBytes = 4 * gpu::kCacheBlock * kRowBytes;
  std::vector<std::byte> cache(kLayers * kLayerBytes);
  for (std::size_t i = 0; i < cache.size(); ++i) cache[i] = static_cast<std::byte>(i * 7 + i / 251);
  Launcher device;
  std::byte* const rows = device.put(cache);
  const gpu::PinnedMemory staging = device.device().allocate_pinned(kLayers * 64 * kRowBytes);
  const auto at = [&](std::int32_t block) { return rows + gpu::cache_row_offset(block, 0, kRowBytes); };
  // The first 17 rows of block 2 to block 0; all of block 3 to the staging buffer.
  const std::vector<gpu::CacheCopy> copies = {{at(2), at(0), kLayerBytes, kLayerBytes, 17 * kRowBytes},
                                              {at(3), staging.data(), kLayerBytes, 64 * kRowBytes, 64 * kRowBytes}};
  const gpu::CopyCacheArgs args{device.put(copies), 2, kLayers};
  device.launch<KernelId::copy_cache_rows>(copy_cache_grid(args), args);
  const auto got = device.get(rows, cache.size());
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    std::byte* const base = cache.data() + layer * kLayerBytes;
    std::copy_n(base + gpu::cache_row_offset(2, 0, kRowBytes), 17 * kRowBytes, base);
    CHECK(std::memcmp(staging.data() + layer * 64 * kRowBytes, base + gpu::cache_row_offset(3, 0, kRowBytes),
                      64 * kRowBytes) == 0);
  }
  CHECK(got == cache);
}
