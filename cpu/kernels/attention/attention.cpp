#include "cpu/kernels/attention/attention.hpp"

#include "quant/check.hpp"

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

void decode_cache_rows(const CacheRows& from, float* out, Isa isa) noexcept {
  DODECA_CHECK(from.n >= 0 && from.n <= kContextBlock && from.width > 0, from.n, from.width);
  DODECA_CHECK(from.row_bytes >= quant::row_bytes(from.dtype, from.width).value_or(0), from.dtype, from.width,
               from.row_bytes);
  best_variant(kDecodeRows, isa).run(from, out);
}

void mla_block(const MlaBlockArgs& args, Isa isa) noexcept {
  DODECA_CHECK(args.n_heads > 0 && args.n_positions > 0 && args.n_positions <= kContextBlock, args.n_heads,
               args.n_positions);
  DODECA_CHECK(0 < args.value_width && (args.values != nullptr || args.value_width <= args.width), args.value_width,
               args.width);
  best_variant(kMlaBlock, isa).run(args);
}

std::span<const KernelVariant<MlaBlockFn>> mla_block_kernels() { return kMlaBlock; }
std::span<const KernelVariant<DecodeRowsFn>> decode_cache_rows_kernels() { return kDecodeRows; }

}  // namespace dodeca::cpu
