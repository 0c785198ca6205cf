#include "cpu/kernels/encode/encode_kernels.hpp"
#include "quant/codec.hpp"

namespace dodeca::cpu::scalar {

bool encode_row(quant::DType dtype, const float* src, std::byte* dst, std::int64_t n,
                const float* importance) noexcept {
  quant::encode_row(dtype, src, dst, n, importance);
  return true;
}

}  // namespace dodeca::cpu::scalar
