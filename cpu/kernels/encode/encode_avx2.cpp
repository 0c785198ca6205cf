#include "cpu/kernels/encode/encode_kernels.hpp"
#include "cpu/kernels/encode/lanes_avx2.hpp"
#include "quant/encode/encode_row.hpp"

namespace dodeca::cpu::avx2 {

bool encode_row(quant::DType dtype, const float* src, std::byte* dst, std::int64_t n,
                const float* importance) noexcept {
  return quant::encode_row_searching<Lanes>(dtype, src, dst, n, importance);
}

}  // namespace dodeca::cpu::avx2
