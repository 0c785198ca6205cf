#include "runtime/quantize/encode_weights.hpp"

#include "cpu/kernels/encode/encode.hpp"
#include "quant/gain.hpp"

namespace dodeca::runtime::quantize {

void encode_weights(quant::DType dtype, std::span<const float> row, std::byte* dst, const float* importance,
                    cpu::Isa isa, std::vector<float>& scratch) {
  const std::int64_t n = std::ssize(row);
  cpu::encode_row(dtype, row.data(), dst, n, importance, isa);
  if (!quant::loses_gain(dtype)) return;
  scratch.resize(row.size());
  quant::restore_gain(dtype, row.data(), dst, n, importance, scratch.data());
}

}  // namespace dodeca::runtime::quantize
