// A device cache made on the host for tests: sequences with tables of blocks, some of them shared, rows by the definition
// of gpu/kernels/cache_rows.hpp, and what these rows mean as floats.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "gpu/kernels/cache_rows.hpp"
#include "quant/float_types.hpp"
#include "tests/support/random_values.hpp"

namespace dodeca::tests {

// A float of 16 bits: f16 in a cache of F16, bf16 in others.
inline std::uint16_t encode_16(gpu::CacheType type, float x) {
  return type == gpu::CacheType::kF16 ? quant::f32_to_f16(x) : quant::f32_to_bf16(x);
}
inline float decode_16(gpu::CacheType type, std::uint16_t bits) {
  return type == gpu::CacheType::kF16 ? quant::f16_to_f32(bits) : quant::bf16_to_f32(bits);
}

// Writes one row and returns what it holds.
inline std::vector<float> encode_cache_row(const gpu::CacheShape& shape, const std::vector<float>& values,
                                           std::byte* out) {
  const std::int32_t latent = shape.latent, width = shape.latent + shape.rope;
  std::vector<float> held = values;
  if (shape.type == gpu::CacheType::kF32) {
    std::memcpy(out, values.data(), values.size() * sizeof(float));
    return held;
  }
  float scale = 1.0f;
  if (shape.type == gpu::CacheType::kInt8) {
    float top = 0.0f;
    for (std::int32_t i = 0; i < latent; ++i) top = std::max(top, std::abs(values[i]));
    const bool tiny = top < 0x1p-100f;
    if (!tiny) scale = top / 127.0f;
    for (std::int32_t i = 0; i < latent; ++i) {
      const auto q = static_cast<std::int8_t>(tiny ? 0.0f : std::nearbyint(values[i] * (127.0f / top)));
      std::memcpy(out + i, &q, 1);
      held[i] = scale * static_cast<float>(q);
    }
    const float tail[4] = {scale, 0.0f, 0.0f, 0.0f};
    std::memcpy(out + cache_scale_offset(shape), tail, sizeof tail);
  }
  const auto put_16 = [&](std::int32_t i, std::byte* to) {
    const std::uint16_t bits = encode_16(shape.type, values[i] / scale);
    std::memcpy(to, &bits, sizeof bits);
    held[i] = scale * decode_16(shape.type, bits);
  };
  for (std::int32_t i = 0; i < latent && shape.type != gpu::CacheType::kInt8; ++i) put_16(i, out + 2 * i);
  for (std::int32_t i = latent; i < width; ++i) put_16(i, out + cache_rope_offset(shape) + 2 * (i - latent));
  return held;
}

// Sequences of `length` positions each; their first `shared` positions (whole blocks) lie in the same blocks. What no
// position has written is NaN. `seed` of the block order: the same rows in other blocks.
struct HostCache {
  gpu::CacheShape shape;
  std::vector<std::byte> bytes;
  std::vector<std::int32_t> table;
  std::int32_t table_stride = 0, row_bytes = 0;
  std::vector<std::vector<float>> rows;  // [sequence] -> [length, latent + rope], as held

  HostCache(const gpu::CacheShape& of, std::int32_t n_sequences, std::int32_t length, std::int32_t shared,
            unsigned block_seed = 1)
      : shape(of), table_stride((length + gpu::kCacheBlock - 1) / gpu::kCacheBlock), row_bytes(cache_row_bytes(of)) {
    const std::int32_t shared_blocks = shared / gpu::kCacheBlock,
                       n_blocks = shared_blocks + n_sequences * (table_stride - shared_blocks) + 3;
    std::vector<std::int32_t> blocks(static_cast<std::size_t>(n_blocks));
    for (std::int32_t i = 0; i < n_blocks; ++i) blocks[i] = i;
    std::mt19937 random(block_seed);
    std::shuffle(blocks.begin(), blocks.end(), random);
    bytes.assign(static_cast<std::size_t>(n_blocks) * gpu::kCacheBlock * row_bytes, std::byte{0xff});
    std::size_t next = shared_blocks;
    for (std::int32_t s = 0; s < n_sequences; ++s) {
      for (std::int32_t b = 0; b < table_stride; ++b) table.push_back(b < shared_blocks ? blocks[b] : blocks[next++]);
      rows.emplace_back();
      for (std::int32_t p = 0; p < length; ++p) {
        const bool common = p < shared_blocks * gpu::kCacheBlock;
        const auto values = random_values(static_cast<std::size_t>(shape.latent) + static_cast<std::size_t>(shape.rope),
                                          static_cast<unsigned>(p + (common ? 0 : 10000 * (s + 1))));
        const auto held = encode_cache_row(shape, values, bytes.data() + offset(s, p));
        rows.back().insert(rows.back().end(), held.begin(), held.end());
      }
    }
  }
  std::int64_t offset(std::int32_t sequence, std::int32_t position) const {
    return gpu::cache_row_offset(table[sequence * table_stride + position / gpu::kCacheBlock], position, row_bytes);
  }
};

}  // namespace dodeca::tests
