#include "runtime/exec/layer_store.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/kernels/attention/attention.hpp"
#include "cpu/kernels/attention/integer.hpp"
#include "cpu/kernels/index/index.hpp"
#include "quant/codec.hpp"

namespace dodeca::runtime::exec {
namespace {

using quant::DType;

constexpr float kLargestF16 = 65504.0f;

std::optional<cpu::IntegerShape> integer_shape(const ModelConfig& c, AttentionKind kind, DType dtype, bool wanted) {
  if (!wanted || kind != AttentionKind::kMla || dtype == DType::kF32 || c.kv_lora_rank % 32 != 0 ||
      c.qk_rope_head_dim % 2 != 0)
    return {};
  // Blocks of 32 end where the rope part begins.
  if (dtype == DType::kQ8_0 && c.qk_rope_head_dim % 32 != 0) return {};
  const auto digits = dtype == DType::kI8 ? cpu::Digits::k8 : cpu::Digits::k16;
  return cpu::IntegerShape{digits, c.kv_lora_rank, c.qk_rope_head_dim, c.kv_lora_rank};
}

}  // namespace

RowFormat RowFormat::of(const ModelConfig& config, AttentionKind kind, DType dtype, bool integer_attention) {
  if (std::ranges::find(kCacheTypes, dtype) == kCacheTypes.end()) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("cache type {} (known: f32, f16, bf16, q8_0, i8)", quant::name_of(dtype)));
  }
  RowFormat format{.dtype = dtype,
                   .width = config.cache_row_width(kind),
                   .integer = integer_shape(config, kind, dtype, integer_attention)};
  if (dtype == DType::kI8) {
    if (!format.integer) {
      throw Error(
          ErrorKind::kUnsupported,
          fmt::format(
              "cache type i8 is for latent attention in integers (not on the float32 route), with a latent of a "
              "multiple of 32 values and an even rope part; this model's have {} and {}",
              config.kv_lora_rank, config.qk_rope_head_dim));
    }
    format.row_bytes = cpu::int8_row_bytes(format.integer->key, format.integer->rope);
    return format;
  }
  const auto bytes = quant::row_bytes(dtype, format.width);
  if (!bytes) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("cache type {} needs rows of a multiple of {} values, this model's have {}",
                            quant::name_of(dtype), quant::type_info(dtype).block_elements, format.width));
  }
  format.row_bytes = *bytes;
  return format;
}

RowFormat RowFormat::of_layer(const ModelConfig& config, std::int64_t layer, DType dtype, bool integer_attention) {
  RowFormat format = of(config, config.layer(layer).attention, dtype, integer_attention);
  if (config.chooses(layer))
    format.index = cpu::IndexShape{integer_attention ? cpu::IndexNumbers::kWords : cpu::IndexNumbers::kFloats,
                                   config.indexer.n_heads, config.indexer.head_dim};
  return format;
}

LayerStore::LayerStore(const RowFormat& format, std::int64_t n_blocks, const std::vector<std::vector<int>>& copies)
    : CacheLayer(format) {
  for (const std::vector<int>& nodes : copies)
    copies_.emplace_back(static_cast<std::size_t>(n_blocks * cpu::kContextBlock) * format.position_bytes(), nodes);
}

std::size_t LayerStore::offset(std::int32_t block) const {
  return static_cast<std::size_t>(block) * cpu::kContextBlock * format().position_bytes();
}

std::size_t LayerStore::index_offset() const { return cpu::kContextBlock * format().row_bytes; }

void LayerStore::copy_rows(std::int32_t from, std::int32_t to, std::int64_t n_rows) {
  const auto n = static_cast<std::size_t>(n_rows);
  for (std::size_t copy = 0; copy < n_copies(); ++copy) {
    std::memcpy(block_of(copy, to), block(from, copy), n * format().row_bytes);
    std::memcpy(block_of(copy, to) + index_offset(), index_block(from, copy), n * format().index_bytes());
  }
}

void LayerStore::read_bytes(std::int32_t block, std::int64_t n_rows, std::byte* out) const {
  const std::size_t n = static_cast<std::size_t>(n_rows), row_bytes = n * format().row_bytes;
  std::memcpy(out, this->block(block), row_bytes);
  std::memcpy(out + row_bytes, index_block(block), n * format().index_bytes());
}

void LayerStore::write_bytes(std::int32_t block, std::int64_t n_rows, const std::byte* rows) {
  const std::size_t n = static_cast<std::size_t>(n_rows), row_bytes = n * format().row_bytes;
  for (std::size_t copy = 0; copy < n_copies(); ++copy) {
    std::memcpy(block_of(copy, block), rows, row_bytes);
    std::memcpy(block_of(copy, block) + index_offset(), rows + row_bytes, n * format().index_bytes());
  }
}

void LayerStore::encode_row(const float* values, std::byte* row) const noexcept {
  if (format().dtype == DType::kI8)
    cpu::encode_int8_row(values, format().integer->key, format().integer->rope, row);
  else
    quant::encode_row_once(format().dtype, values, row, format().width);
}

void LayerStore::write_row(std::int32_t block, std::int64_t row, const float* values) noexcept {
  const std::size_t at = static_cast<std::size_t>(row) * format().row_bytes;
  encode_row(values, block_of(0, block) + at);
  for (std::size_t copy = 1; copy < n_copies(); ++copy)
    std::memcpy(block_of(copy, block) + at, block_of(0, block) + at, format().row_bytes);
  if (format().dtype == DType::kF16 &&
      std::any_of(values, values + format().width, [](float x) { return std::abs(x) > kLargestF16; }))
    clamped_.store(true, std::memory_order_relaxed);
}

void LayerStore::read_row(std::int32_t block, std::int64_t row, float* values) const noexcept {
  const std::byte* from = this->block(block) + static_cast<std::size_t>(row) * format().row_bytes;
  if (format().dtype == DType::kI8)
    cpu::decode_int8_row(from, format().integer->key, format().integer->rope, values);
  else
    quant::decode_row(format().dtype, from, values, format().width);
}

void LayerStore::write_index_row(std::int32_t block, std::int64_t row, const float* key) noexcept {
  const std::size_t bytes = format().index_bytes(), at = index_offset() + static_cast<std::size_t>(row) * bytes;
  cpu::encode_index_row(*format().index, key, block_of(0, block) + at);
  for (std::size_t copy = 1; copy < n_copies(); ++copy)
    std::memcpy(block_of(copy, block) + at, block_of(0, block) + at, bytes);
}

}  // namespace dodeca::runtime::exec
