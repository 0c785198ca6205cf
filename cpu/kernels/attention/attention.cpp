#include "cpu/kernels/attention/attention.hpp"

#include "quant/check.hpp"
#include "quant/codec.hpp"

namespace dodeca::cpu {
namespace {

constexpr std::array kMlaBlock{
#define MLA_BLOCK(isa, function) KernelVariant<MlaBlockFn>{#function "_" #isa, isa_tag::isa, isa::function},
#include "cpu/kernels/attention/attention.inc"
};
constexpr std::array kDecodeRows{
#define DECODE_ROWS(isa, function) KernelVariant<DecodeRowsFn>{#function "_" #isa, isa_tag::isa, isa::function},
#include "cpu/kernels/attention/attention.inc"
};

}  // namespace

void decode_cache_rows(quant::DType dtype, const std::byte* rows, std::size_t row_bytes, std::int64_t n,
                       std::int64_t width, float* out, Isa isa) noexcept {
  DODECA_CHECK(n >= 0 && n <= kContextBlock && width > 0, n, width);
  DODECA_CHECK(row_bytes >= quant::row_bytes(dtype, width).value_or(0), dtype, width, row_bytes);
  best_variant(kDecodeRows, isa).run(dtype, rows, row_bytes, n, width, out);
}

void encode_cache_row(quant::DType dtype, const float* row, std::int64_t width, std::byte* out) noexcept {
  quant::encode_row_once(dtype, row, out, width);
}

void mla_block(const MlaBlockArgs& args, Isa isa) noexcept {
  DODECA_CHECK(args.n_heads > 0 && args.n_positions > 0 && args.n_positions <= kContextBlock, args.n_heads,
               args.n_positions);
  DODECA_CHECK(0 < args.value_width && args.value_width <= args.width, args.value_width, args.width);
  best_variant(kMlaBlock, isa).run(args);
}

std::span<const KernelVariant<MlaBlockFn>> mla_block_kernels() { return kMlaBlock; }
std::span<const KernelVariant<DecodeRowsFn>> decode_cache_rows_kernels() { return kDecodeRows; }

}  // namespace dodeca::cpu
