// The decoders and encoders of all formats, one block at a time. Users call codec.hpp.
//
// decode(block, y): y gets the block's values. encode(x, block), of the types that need no search: x is finite; every
// block written decodes to finite values, whatever x is (values beyond what the format's f16 scale can hold saturate).
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/blocks.hpp"

namespace dodeca::quant {

// plain.cpp: n values
void decode_f32(const std::byte* src, float* dst, std::int64_t n);
void decode_f16(const std::byte* src, float* dst, std::int64_t n);
void decode_bf16(const std::byte* src, float* dst, std::int64_t n);
void encode_f32(const float* src, std::byte* dst, std::int64_t n);
void encode_f16(const float* src, std::byte* dst, std::int64_t n);
void encode_bf16(const float* src, std::byte* dst, std::int64_t n);

// fp8.cpp
void decode(const BlockF8_E4M3_B128& block, float* y);
void encode(const float* x, BlockF8_E4M3_B128& block);

// legacy.cpp
void decode(const BlockQ4_0& block, float* y);
void decode(const BlockQ4_1& block, float* y);
void decode(const BlockQ5_0& block, float* y);
void decode(const BlockQ5_1& block, float* y);
void decode(const BlockQ8_0& block, float* y);
void encode_once(const float* x, BlockQ8_0& block);

// q2_k.cpp, q3_k.cpp, q4_k.cpp (Q4_K and Q5_K), q6_k.cpp, q8_k.cpp
void decode(const BlockQ2_K& block, float* y);
void decode(const BlockQ3_K& block, float* y);
void decode(const BlockQ4_K& block, float* y);
void decode(const BlockQ5_K& block, float* y);
void decode(const BlockQ6_K& block, float* y);
void decode(const BlockQ8_K& block, float* y);
void encode(const float* x, BlockQ8_K& block);

// iq1.cpp, iq2.cpp, iq3.cpp, iq4.cpp (with MXFP4), ternary.cpp
void decode(const BlockIQ1_S& block, float* y);
void decode(const BlockIQ1_M& block, float* y);
void decode(const BlockIQ2_XXS& block, float* y);
void decode(const BlockIQ2_XS& block, float* y);
void decode(const BlockIQ2_S& block, float* y);
void decode(const BlockIQ3_XXS& block, float* y);
void decode(const BlockIQ3_S& block, float* y);
void decode(const BlockIQ4_NL& block, float* y);
void decode(const BlockIQ4_XS& block, float* y);
void decode(const BlockMXFP4& block, float* y);
void decode(const BlockTQ1_0& block, float* y);
void decode(const BlockTQ2_0& block, float* y);

}  // namespace dodeca::quant
