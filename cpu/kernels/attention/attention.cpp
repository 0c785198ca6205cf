#include "cpu/kernels/attention/attention.hpp"

#include "quant/codec.hpp"

namespace dodeca::cpu {
namespace {

constexpr std::array kMlaBlock{
#define MLA_BLOCK(isa, function) KernelLine<MlaBlockFn>{#function "_" #isa, isa_tag::isa, isa::function},
#include "cpu/kernels/attention/attention.inc"
};
constexpr std::array kDecodeRows{
#define DECODE_ROWS(isa, function) KernelLine<DecodeRowsFn>{#function "_" #isa, isa_tag::isa, isa::function},
#include "cpu/kernels/attention/attention.inc"
};
constexpr KernelTable<MlaBlockFn> kMlaBlockTable = best_lines(kMlaBlock);
constexpr KernelTable<DecodeRowsFn> kDecodeRowsTable = best_lines(kDecodeRows);

}  // namespace

void decode_cache_rows(quant::DType dtype, const std::byte* rows, std::size_t row_bytes, std::int64_t n,
                       std::int64_t width, float* out, Isa isa) noexcept {
  kDecodeRowsTable[static_cast<std::size_t>(isa)](dtype, rows, row_bytes, n, width, out);
}

void encode_cache_row(quant::DType dtype, const float* row, std::int64_t width, std::byte* out) noexcept {
  quant::encode_row_once(dtype, row, out, width);
}

void mla_block(const MlaBlockArgs& args, Isa isa) noexcept { kMlaBlockTable[static_cast<std::size_t>(isa)](args); }

std::span<const KernelLine<MlaBlockFn>> mla_block_kernels() { return kMlaBlock; }
std::span<const KernelLine<DecodeRowsFn>> decode_cache_rows_kernels() { return kDecodeRows; }

}  // namespace dodeca::cpu
