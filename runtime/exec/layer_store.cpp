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

cpu::Digits digits_of(DType dtype) { return dtype == DType::kI8 ? cpu::Digits::k8 : cpu::Digits::k16; }

std::optional<cpu::IntegerShape> latent_shape(const ModelConfig& c, DType dtype, bool wanted) {
  if (!wanted || dtype == DType::kF32 || c.kv_lora_rank % 32 != 0 || c.qk_rope_head_dim % 2 != 0) return {};
  // Blocks of 32 end where the rope part begins.
  if (dtype == DType::kQ8_0 && c.qk_rope_head_dim % 32 != 0) return {};
  return cpu::IntegerShape{digits_of(dtype), c.kv_lora_rank, c.qk_rope_head_dim, c.kv_lora_rank};
}

void check_type(DType dtype) {
  if (std::ranges::find(kCacheTypes, dtype) != kCacheTypes.end()) return;
  throw Error(ErrorKind::kUnsupported,
              fmt::format("cache type {} (known: f32, f16, bf16, q8_0, i8)", quant::name_of(dtype)));
}

// Of n numbers that are encoded together; `what` for the message.
std::size_t bytes_of(DType dtype, std::int64_t n, std::string_view what) {
  if (const auto bytes = quant::row_bytes(dtype, n)) return *bytes;
  throw Error(ErrorKind::kUnsupported,
              fmt::format("cache type {} needs {} of a multiple of {} values, this model's have {}",
                          quant::name_of(dtype), what, quant::type_info(dtype).block_elements, n));
}

RowFormat latent_format(const ModelConfig& config, DType dtype, bool integer_attention) {
  RowFormat format{.dtype = dtype,
                   .value_dtype = dtype,
                   .width = config.cache_row_width(AttentionKind::kMla),
                   .integer = latent_shape(config, dtype, integer_attention)};
  if (dtype != DType::kI8) {
    format.row_bytes = bytes_of(dtype, format.width, "rows");
    return format;
  }
  if (!format.integer) {
    throw Error(
        ErrorKind::kUnsupported,
        fmt::format("cache type i8 is for latent attention in integers (not on the float32 route), with a latent of a "
                    "multiple of 32 values and an even rope part; this model's have {} and {}",
                    config.kv_lora_rank, config.qk_rope_head_dim));
  }
  format.row_bytes = cpu::int8_row_bytes(format.integer->key, format.integer->rope);
  return format;
}

RowFormat grouped_format(const ModelConfig& config, DType keys, DType values, bool integer_attention) {
  const std::int64_t n = config.head_dim;
  const auto bytes = [n](DType dtype) {
    return dtype == DType::kI8 ? cpu::int8_row_bytes(n, 0) : bytes_of(dtype, n, "heads");
  };
  RowFormat format{.dtype = keys,
                   .value_dtype = values,
                   .width = config.cache_row_width(AttentionKind::kGqa),
                   .n_heads = config.n_kv_heads,
                   .head_dim = n,
                   .key_bytes = bytes(keys),
                   .value_bytes = bytes(values)};
  format.row_bytes = static_cast<std::size_t>(format.n_heads) * (format.key_bytes + format.value_bytes);
  if (integer_attention && keys != DType::kF32 && values != DType::kF32 && n % 32 == 0)
    format.integer = cpu::IntegerShape{digits_of(keys), n, 0, n, digits_of(values)};
  return format;
}

void encode(DType dtype, const float* values, std::int64_t n, std::byte* out) noexcept {
  if (dtype == DType::kI8)
    cpu::encode_int8_row(values, n, 0, out);
  else
    quant::encode_row_once(dtype, values, out, n);
}

void decode(DType dtype, const std::byte* from, std::int64_t n, float* out) noexcept {
  if (dtype == DType::kI8)
    cpu::decode_int8_row(from, n, 0, out);
  else
    quant::decode_row(dtype, from, out, n);
}

// f(where it is in a block of memory, where it is in a row of bytes, bytes) for each piece of row i: each head's keys
// and values of grouped queries, or the row; and its index key.
template <class F>
void for_each_piece(const RowFormat& format, std::int64_t i, F&& f) {
  const auto row = static_cast<std::size_t>(i);
  std::size_t at = 0;
  if (format.n_heads == 0) f(row * format.row_bytes, at, format.row_bytes);
  for (std::int64_t h = 0; h < format.n_heads; ++h, at += format.key_bytes)
    f(format.keys_at(h) + row * format.key_bytes, at, format.key_bytes);
  for (std::int64_t h = 0; h < format.n_heads; ++h, at += format.value_bytes)
    f(format.values_at(h) + row * format.value_bytes, at, format.value_bytes);
  if (format.index) f(format.index_at() + row * format.index_bytes(), format.row_bytes, format.index_bytes());
}

}  // namespace

RowFormat RowFormat::of(const ModelConfig& config, AttentionKind kind, const RowTypes& types, bool integer_attention) {
  const DType values = types.values.value_or(types.keys);
  check_type(types.keys);
  check_type(values);
  if (kind == AttentionKind::kGqa) return grouped_format(config, types.keys, values, integer_attention);
  if (values != types.keys) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("a cache of type {} with values of type {}: latent attention has one cache, in one type",
                            quant::name_of(types.keys), quant::name_of(values)));
  }
  return latent_format(config, types.keys, integer_attention);
}

RowFormat RowFormat::of_layer(const ModelConfig& config, std::int64_t layer, const RowTypes& types,
                              bool integer_attention) {
  RowFormat format = of(config, config.layer(layer).attention, types, integer_attention);
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

void LayerStore::copy_rows(std::int32_t from, std::int32_t to, std::int64_t n_rows) {
  for (std::size_t copy = 0; copy < n_copies(); ++copy) {
    std::byte* out = block_of(copy, to);
    const std::byte* in = block(from, copy);
    // The first rows of every piece.
    for_each_piece(format(), 0, [&](std::size_t at, std::size_t, std::size_t bytes) {
      std::memcpy(out + at, in + at, static_cast<std::size_t>(n_rows) * bytes);
    });
  }
}

void LayerStore::read_bytes(std::int32_t block, std::int64_t n_rows, std::byte* out) const {
  const std::byte* in = this->block(block);
  for (std::int64_t i = 0; i < n_rows; ++i, out += format().position_bytes()) {
    for_each_piece(format(), i, [&](std::size_t at, std::size_t in_row, std::size_t bytes) {
      std::memcpy(out + in_row, in + at, bytes);
    });
  }
}

void LayerStore::write_bytes(std::int32_t block, std::int64_t n_rows, const std::byte* rows) {
  for (std::size_t copy = 0; copy < n_copies(); ++copy) {
    std::byte* out = block_of(copy, block);
    for (std::int64_t i = 0; i < n_rows; ++i) {
      const std::byte* in = rows + static_cast<std::size_t>(i) * format().position_bytes();
      for_each_piece(format(), i, [&](std::size_t at, std::size_t in_row, std::size_t bytes) {
        std::memcpy(out + at, in + in_row, bytes);
      });
    }
  }
}

void LayerStore::encode_row(const float* values, std::byte* row) const noexcept {
  const RowFormat& f = format();
  if (f.n_heads > 0) {
    for (std::int64_t h = 0; h < f.n_heads; ++h, values += f.head_dim, row += f.key_bytes)
      encode(f.dtype, values, f.head_dim, row);
    for (std::int64_t h = 0; h < f.n_heads; ++h, values += f.head_dim, row += f.value_bytes)
      encode(f.value_dtype, values, f.head_dim, row);
  } else if (f.dtype == DType::kI8) {
    cpu::encode_int8_row(values, f.integer->key, f.integer->rope, row);
  } else {
    quant::encode_row_once(f.dtype, values, row, f.width);
  }
}

LayerStore::Piece LayerStore::piece(std::int64_t row, std::int64_t head, bool value) const {
  const RowFormat& f = format();
  const auto i = static_cast<std::size_t>(row);
  if (value) return {f.value_dtype, f.head_dim, f.values_at(head) + i * f.value_bytes, f.value_bytes};
  return {f.dtype, f.head_dim, f.keys_at(head) + i * f.key_bytes, f.key_bytes};
}

void LayerStore::write_piece(std::int32_t block, const Piece& piece, const float* values) noexcept {
  const std::byte* first = block_of(0, block) + piece.at;
  encode(piece.dtype, values, piece.n, block_of(0, block) + piece.at);
  for (std::size_t copy = 1; copy < n_copies(); ++copy)
    std::memcpy(block_of(copy, block) + piece.at, first, piece.bytes);
  note_clamping(piece.dtype, values, piece.n);
}

void LayerStore::note_clamping(DType dtype, const float* values, std::int64_t n) noexcept {
  if (dtype == DType::kF16 && std::any_of(values, values + n, [](float x) { return std::abs(x) > kLargestF16; }))
    clamped_.store(true, std::memory_order_relaxed);
}

void LayerStore::write_key(std::int32_t block, std::int64_t row, std::int64_t head, const float* key) noexcept {
  write_piece(block, piece(row, head, false), key);
}

void LayerStore::write_value(std::int32_t block, std::int64_t row, std::int64_t head, const float* value) noexcept {
  write_piece(block, piece(row, head, true), value);
}

void LayerStore::write_row(std::int32_t block, std::int64_t row, const float* values) noexcept {
  const RowFormat& f = format();
  if (f.n_heads > 0) {
    for (std::int64_t h = 0; h < f.n_heads; ++h) {
      write_key(block, row, h, values + h * f.head_dim);
      write_value(block, row, h, values + (f.n_heads + h) * f.head_dim);
    }
    return;
  }
  const std::size_t at = static_cast<std::size_t>(row) * f.row_bytes;
  encode_row(values, block_of(0, block) + at);
  for (std::size_t copy = 1; copy < n_copies(); ++copy)
    std::memcpy(block_of(copy, block) + at, block_of(0, block) + at, f.row_bytes);
  note_clamping(f.dtype, values, f.width);
}

void LayerStore::read_row(std::int32_t block, std::int64_t row, float* values) const noexcept {
  const RowFormat& f = format();
  const std::byte* from = this->block(block);
  if (f.n_heads > 0) {
    for (std::int64_t h = 0; h < f.n_heads; ++h) {
      decode(f.dtype, from + piece(row, h, false).at, f.head_dim, values + h * f.head_dim);
      decode(f.value_dtype, from + piece(row, h, true).at, f.head_dim, values + (f.n_heads + h) * f.head_dim);
    }
    return;
  }
  from += static_cast<std::size_t>(row) * f.row_bytes;
  if (f.dtype == DType::kI8)
    cpu::decode_int8_row(from, f.integer->key, f.integer->rope, values);
  else
    quant::decode_row(f.dtype, from, values, f.width);
}

void LayerStore::write_index_row(std::int32_t block, std::int64_t row, const float* key) noexcept {
  const std::size_t bytes = format().index_bytes(), at = format().index_at() + static_cast<std::size_t>(row) * bytes;
  cpu::encode_index_row(*format().index, key, block_of(0, block) + at);
  for (std::size_t copy = 1; copy < n_copies(); ++copy)
    std::memcpy(block_of(copy, block) + at, block_of(0, block) + at, bytes);
}

}  // namespace dodeca::runtime::exec
