#include "runtime/quantize/encode_weights.hpp"

#include "cpu/kernels/encode/encode.hpp"
#include "quant/gain.hpp"

namespace dodeca::runtime {

void encode_weights(quant::DType dtype, const float* row, std::byte* dst, std::int64_t n, const float* importance,
                    cpu::Isa isa, std::vector<float>& scratch) {
  cpu::encode_row(dtype, row, dst, n, importance, isa);
  if (!quant::loses_gain(dtype)) return;
  scratch.resize(static_cast<std::size_t>(n));
  quant::restore_gain(dtype, row, dst, n, importance, scratch.data());
}

}  // namespace dodeca::runtime
