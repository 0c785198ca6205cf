// Every storage type that a tensor can have: name, block length, bytes per block.
//
// Values below kInternal are the type ids of GGUF files; those from kInternal on exist in memory or in safetensors
// only. Nothing here allocates or throws: unknown ids and sizes that overflow come back as std::nullopt.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace dodeca::quant {

enum class DType : std::uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ8_1 = 9,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kQ8_K = 15,
  kIQ2_XXS = 16,
  kIQ2_XS = 17,
  kIQ3_XXS = 18,
  kIQ1_S = 19,
  kIQ4_NL = 20,
  kIQ3_S = 21,
  kIQ2_S = 22,
  kIQ4_XS = 23,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kI64 = 27,
  kF64 = 28,
  kIQ1_M = 29,
  kBF16 = 30,
  kTQ1_0 = 34,
  kTQ2_0 = 35,
  kMXFP4 = 39,
  kNVFP4 = 40,
  kQ1_0 = 41,
  kQ2_0 = 42,
  kInternal = 0x10000,
  kF8_E4M3 = 0x10000,       // raw FP8 values of a safetensors file; meaningless without their 128x128 block scales
  kF8_E4M3_B128 = 0x10001,  // a row of blocks {f32 scale; 128 x E4M3}: FP8 with its scale made self-contained
};

struct TypeInfo {
  DType dtype;
  std::string_view name;        // "Q2_K": upper case, as people write it
  std::int64_t block_elements;  // weights per block
  std::int64_t block_bytes;
  bool decodable;  // decode_row() accepts it
  bool encodable;  // encode_row() accepts it
};

// All types of the enum, in id order.
std::span<const TypeInfo> all_types();
// Null for an id that is not in the enum.
const TypeInfo* find_type(std::uint32_t id);
// Case-insensitive ("q2_k", "Q2_K"); null when there is none.
const TypeInfo* find_type(std::string_view name);
const TypeInfo& type_info(DType dtype);
inline std::string_view name_of(DType dtype) { return type_info(dtype).name; }

// Why an id that find_type() does not know is refused: the name of the foreign or removed type that owns it
// ("Q4_2 (removed from GGUF)", "IQ2_K (ik_llama.cpp)"), or empty when nothing is known of it.
std::string_view foreign_type_name(std::uint32_t id);

// Bytes of n_elements in whole blocks; nullopt when n is negative, no multiple of the block, or the product overflows.
std::optional<std::size_t> row_bytes(DType dtype, std::int64_t n_elements);

}  // namespace dodeca::quant
