// Every storage type that a tensor can have (the list: quant/types.inc): name, block length, bytes per block.
//
// A row is its prefix (most types have none), then its blocks; nothing is aligned, and a tensor is its rows. Values below
// kInternal are the type ids of GGUF files; those from kInternal on exist in memory or in safetensors only. Nothing here allocates or throws: unknown ids and sizes that overflow come back as std::nullopt.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace dodeca::quant {

enum class DType : std::uint32_t {
#define TYPE(name, lower, id, ...) k##name = id,
#include "quant/types.inc"
  kInternal = 0x10000,
};

struct TypeInfo {
  DType dtype;
  std::string_view name;        // "Q2_K": upper case, as people write it
  std::int64_t block_elements;  // weights per block
  std::int64_t block_bytes;
  std::int64_t row_prefix_bytes;  // before the first block of every row: a scale of the whole row, or nothing
  bool decodable;                 // decode_row() accepts it
  bool encodable;                 // encode_row() accepts it
  DType fall_back;                // for rows that are no multiple of the block
  std::int32_t file_type;         // general.file_type of a GGUF whose matrices all have this type; -1: none
  std::string_view file_type_text;
};

// All types of the enum, in id order.
std::span<const TypeInfo> all_types();
// Null for an id that is not in the enum.
const TypeInfo* find_type(std::uint32_t id);
// Case-insensitive ("q2_k", "Q2_K"); null when there is none.
const TypeInfo* find_type(std::string_view name);
const TypeInfo& type_info(DType dtype);
inline std::string_view name_of(DType dtype) { return type_info(dtype).name; }

// Types that ik_llama.cpp added: llama.cpp does not read files with them, so they are used only where asked for.
inline constexpr std::uint32_t kFirstIkType = 133;
inline bool is_ik_type(DType dtype) {
  return static_cast<std::uint32_t>(dtype) >= kFirstIkType && dtype < DType::kInternal;
}

// Why an id that find_type() does not know is refused: the name of the foreign or removed type that owns it
// ("Q4_2 (removed from GGUF)", "IQ2_K (ik_llama.cpp)"), or empty when nothing is known of it.
std::string_view foreign_type_name(std::uint32_t id);

// Bytes of a row of n_elements: its prefix and whole blocks. nullopt when n is negative, no multiple of the block, or the
// sum overflows.
std::optional<std::size_t> row_bytes(DType dtype, std::int64_t n_elements);
// Bytes of n_rows rows; nullopt as above, and when n_rows is negative.
std::optional<std::size_t> tensor_bytes(DType dtype, std::int64_t n_elements, std::int64_t n_rows);

// Columns [begin, end) of a row as a row of their own, with the row's prefix: row_bytes(dtype, end - begin) bytes to dst.
// begin and end are multiples of the block.
void copy_columns(DType dtype, const std::byte* row, std::int64_t begin, std::int64_t end, std::byte* dst);

}  // namespace dodeca::quant
