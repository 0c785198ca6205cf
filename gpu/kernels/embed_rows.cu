#include "gpu/kernels/dialect.hpp"
#include "gpu/kernels/embed_rows.hpp"
#include "quant/formats/k_types.hpp"
#include "quant/formats/legacy.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

// Blocks in a file have no alignment to speak of: two bytes at least.
__device__ inline std::uint16_t half_at(const void* at) { return *static_cast<const std::uint16_t*>(at); }

__device__ inline float value_of_q8_0(const std::byte* row, std::int32_t k) {
  const auto& block = reinterpret_cast<const quant::BlockQ8_0*>(row)[k / 32];
  return f16_to_f32(half_at(&block.d)) * static_cast<float>(block.qs[k % 32]);
}

__device__ inline float value_of_q4_k(const std::byte* row, std::int32_t k) {
  const auto& block = reinterpret_cast<const quant::BlockQ4_K*>(row)[k / 256];
  const std::int32_t sub = k % 256 / 32;
  const std::uint8_t* const s = block.scales;
  const int scale = sub < 4 ? s[sub] & 63 : (s[sub + 4] & 15) | (s[sub - 4] >> 6) << 4;
  const int min = sub < 4 ? s[sub + 4] & 63 : (s[sub + 4] >> 4) | (s[sub] >> 6) << 4;
  const int code = block.qs[32 * (sub / 2) + k % 32] >> (4 * (sub % 2)) & 15;
  return f16_to_f32(half_at(&block.d)) * static_cast<float>(scale) * static_cast<float>(code) -
         f16_to_f32(half_at(&block.dmin)) * static_cast<float>(min);
}

__device__ inline float value_of_q6_k(const std::byte* row, std::int32_t k) {
  const auto& block = reinterpret_cast<const quant::BlockQ6_K*>(row)[k / 256];
  const std::int32_t i = k % 256, sixteen = i / 16;
  const int low = block.ql[64 * (i / 128) + i % 64] >> (4 * (i % 128 / 64)) & 15;
  const int high = block.qh[32 * (i / 128) + i % 32] >> (2 * (i % 128 / 32)) & 3;
  const float scale = f16_to_f32(half_at(&block.d)) * static_cast<float>(block.scales[sixteen]);
  return scale * static_cast<float>((low | high << 4) - 32);
}

__device__ inline float value_of(quant::DType dtype, const std::byte* row, std::int32_t k) {
  switch (dtype) {
    case quant::DType::kF32:
      return reinterpret_cast<const float*>(row)[k];
    case quant::DType::kF16:
      return f16_to_f32(reinterpret_cast<const std::uint16_t*>(row)[k]);
    case quant::DType::kBF16:
      return bf16_to_f32(reinterpret_cast<const std::uint16_t*>(row)[k]);
    case quant::DType::kQ8_0:
      return value_of_q8_0(row, k);
    case quant::DType::kQ4_K:
      return value_of_q4_k(row, k);
    case quant::DType::kQ6_K:
      return value_of_q6_k(row, k);
    default:
      return __uint_as_float(0x7fc00000u);
  }
}

DODECA_KERNEL(embed_rows, EmbedRowsArgs, kEmbedRowsThreads) {
  const std::int64_t i = blockIdx.y, row = args.rows == nullptr ? i : args.rows[i];
  const auto k = static_cast<std::int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
  if (k < args.n) args.out[i * args.out_stride + k] = value_of(args.dtype, args.table + row * args.row_bytes, k);
}

}  // namespace dodeca::gpu::DODECA_KERNELS
