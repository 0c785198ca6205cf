// Random rows of any decodable type, for measurements that depend on shapes and types but not on values: every code
// bit is random, the block factors are set so that the weights have the wanted deviation and a mean near 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "quant/dtype.hpp"
#include "runtime/base/hash.hpp"

namespace dodeca::runtime {

// n_rows rows of n_in weights, finite once decoded. Deviations are kept to a few per cent where the factor is an f16 or
// f32, to a factor of 1.5 where it is a power of two (MXFP4). type_info(dtype).decodable holds.
std::vector<std::byte> random_rows(quant::DType dtype, std::int64_t n_rows, std::int64_t n_in, double deviation,
                                   std::uint64_t seed);
// One row of n_blocks blocks.
std::vector<std::byte> random_blocks(quant::DType dtype, std::int64_t n_blocks, double deviation, std::uint64_t seed);

}  // namespace dodeca::runtime
