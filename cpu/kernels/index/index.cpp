#include "cpu/kernels/index/index.hpp"

#include <cstring>

#include "cpu/kernels/attention/words.hpp"
#include "quant/check.hpp"

namespace dodeca::cpu {
namespace {

#define KERNEL(isa, function) KernelVariant<IndexScoreFn>{#function "_" #isa, isa_tag::isa, isa::function},
constexpr std::array kVariants{
#include "cpu/kernels/index/index_scores.inc"
};
#undef KERNEL

}  // namespace

void encode_index_row(const IndexShape& shape, const float* key, std::byte* out) noexcept {
  if (shape.numbers == IndexNumbers::kFloats) {
    std::memcpy(out, key, static_cast<std::size_t>(shape.head_dim) * sizeof(float));
    return;
  }
  const float scale =
      quantize_words(key, shape.head_dim, shape.head_dim, reinterpret_cast<std::int16_t*>(out + sizeof(float)));
  std::memcpy(out, &scale, sizeof scale);
}

void pack_index_query(const IndexShape& shape, std::int64_t head, const float* query, float weight,
                      std::byte* strips) noexcept {
  std::byte* strip = strips + static_cast<std::size_t>(head / kIndexLanes) * index_strip_bytes(shape);
  const std::int64_t lane = head % kIndexLanes, n = shape.head_dim;
  auto* factors = reinterpret_cast<float*>(strip);
  if (shape.numbers == IndexNumbers::kWords) {
    std::int16_t words[kMostIndexDim];
    factors[lane] = weight * quantize_words(query, n, n, words);
    auto* out = reinterpret_cast<std::int16_t*>(factors + kIndexLanes);
    for (std::int64_t d = 0; d < n; ++d) out[(d / 2 * kIndexLanes + lane) * 2 + d % 2] = words[d];
  } else {
    factors[lane] = weight;
    for (std::int64_t d = 0; d < n; ++d) factors[(1 + d) * kIndexLanes + lane] = query[d];
  }
  if (head + 1 < shape.n_heads) return;
  const auto rows = static_cast<std::int64_t>(index_strip_bytes(shape) / (4 * kIndexLanes));
  auto* dwords = reinterpret_cast<std::uint32_t*>(strip);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t empty = lane + 1; empty < kIndexLanes; ++empty) dwords[row * kIndexLanes + empty] = 0;
  }
}

void index_scores(const IndexScoreArgs& args, Isa isa) noexcept {
  DODECA_CHECK(args.shape.head_dim > 0 && args.shape.head_dim % 2 == 0 && args.shape.head_dim <= kMostIndexDim,
               args.shape.head_dim);
  DODECA_CHECK(args.n >= 0 && args.shape.n_heads > 0, args.n, args.shape.n_heads);
  best_variant(kVariants, isa).run(args);
}

std::span<const KernelVariant<IndexScoreFn>> index_scores_kernels() { return kVariants; }

}  // namespace dodeca::cpu
