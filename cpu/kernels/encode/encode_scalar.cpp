#include "cpu/kernels/encode/encode_kernels.hpp"
#include "quant/encode/encode_row.hpp"

namespace dodeca::cpu::scalar {

bool encode_row(quant::DType dtype, const float* src, std::byte* dst, std::int64_t n,
                const float* importance) noexcept {
  return quant::encode_row_searching<quant::Lane>(dtype, src, dst, n, importance);
}

}  // namespace dodeca::cpu::scalar
