#include "runtime/exec/kv_cache.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <istream>
#include <ostream>

#include "cpu/kernels/attention/attention.hpp"
#include "cpu/kernels/attention/integer.hpp"
#include "quant/codec.hpp"

namespace dodeca::runtime {
namespace {

constexpr float kLargestF16 = 65504.0f;
constexpr char kMagic[8] = {'d', 'o', 'd', 'e', 'c', 'K', 'V', '4'};

struct Header {
  char magic[8];
  std::uint32_t dtype;
  std::uint32_t n_layers;
  std::uint64_t width, row_bytes, length;
};

std::int64_t blocks_for(std::int64_t n) { return (n + cpu::kContextBlock - 1) / cpu::kContextBlock; }

std::int64_t row_width_of(const ModelConfig& config) {
  std::int64_t width = 0;
  for (std::int64_t layer = 0; layer < config.n_layers; ++layer) width = std::max(width, config.cache_row_width(layer));
  return width;
}

std::optional<cpu::IntegerShape> integer_shape_of(const ModelConfig& c, const KvCacheOptions& o) {
  const bool latent = std::ranges::all_of(c.layers, [](const auto& l) { return l.attention == AttentionKind::kMla; });
  if (!o.integer_attention || !latent || o.dtype == quant::DType::kF32 || c.kv_lora_rank % 32 != 0 ||
      c.qk_rope_head_dim % 2 != 0)
    return {};
  // Blocks of 32 end where the rope part begins.
  if (o.dtype == quant::DType::kQ8_0 && c.qk_rope_head_dim % 32 != 0) return {};
  const auto digits = o.dtype == quant::DType::kI8 ? cpu::Digits::k8 : cpu::Digits::k16;
  return cpu::IntegerShape{digits, c.kv_lora_rank, c.qk_rope_head_dim, c.kv_lora_rank};
}

std::size_t checked_row_bytes(const ModelConfig& config, const KvCacheOptions& o) {
  using quant::DType;
  const DType dtype = o.dtype;
  const std::int64_t width = row_width_of(config);
  if (std::ranges::find(kCacheTypes, dtype) == kCacheTypes.end()) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("cache type {} (known: f32, f16, bf16, q8_0, i8)", quant::name_of(dtype)));
  }
  if (dtype == DType::kI8) {
    const auto shape = integer_shape_of(config, o);
    if (!shape) {
      throw Error(
          ErrorKind::kUnsupported,
          fmt::format(
              "cache type i8 is for latent attention in integers (not on the float32 route), with a latent of a "
              "multiple of 32 values and an even rope part; this model's have {} and {}",
              config.kv_lora_rank, config.qk_rope_head_dim));
    }
    return cpu::int8_row_bytes(shape->key, shape->rope);
  }
  const auto bytes = quant::row_bytes(dtype, width);
  if (!bytes) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("cache type {} needs rows of a multiple of {} values, this model's have {}",
                            quant::name_of(dtype), quant::type_info(dtype).block_elements, width));
  }
  return *bytes;
}

}  // namespace

std::int64_t KvCache::block_positions() { return cpu::kContextBlock; }

std::uint64_t KvCache::bytes_needed(const ModelConfig& config, const KvCacheOptions& options) {
  const std::size_t row = checked_row_bytes(config, options);
  return static_cast<std::uint64_t>(blocks_for(options.n_positions) * cpu::kContextBlock * config.n_layers) * row;
}

KvCache::KvCache(const ModelConfig& config, const KvCacheOptions& options)
    : dtype_(options.dtype),
      integer_shape_(integer_shape_of(config, options)),
      n_layers_(config.n_layers),
      width_(row_width_of(config)),
      n_blocks_(blocks_for(options.n_positions)),
      row_bytes_(checked_row_bytes(config, options)),
      data_(bytes_needed(config, options)),
      references_(static_cast<std::size_t>(n_blocks_), 0),
      sequences_(static_cast<std::size_t>(options.n_sequences)) {
  for (std::int64_t block = n_blocks_ - 1; block >= 0; --block) free_.push_back(static_cast<std::int32_t>(block));
}

std::int64_t KvCache::free_positions() const { return static_cast<std::int64_t>(free_.size()) * block_positions(); }

std::int32_t KvCache::take_block() {
  const std::int32_t block = free_.back();
  free_.pop_back();
  references_[static_cast<std::size_t>(block)] = 1;
  return block;
}

void KvCache::drop_block(std::int32_t block) {
  if (--references_[static_cast<std::size_t>(block)] == 0) free_.push_back(block);
}

bool KvCache::can_append(std::int32_t sequence, std::int64_t n) const {
  const Sequence& s = sequences_[static_cast<std::size_t>(sequence)];
  return blocks_for(s.length + n) - static_cast<std::int64_t>(s.blocks.size()) <=
         static_cast<std::int64_t>(free_.size());
}

void KvCache::append(std::int32_t sequence, std::int64_t n) {
  if (!can_append(sequence, n)) {
    throw Error(ErrorKind::kDoesNotFit,
                fmt::format("the context is full: {} more positions asked for, {} of {} are free", n, free_positions(),
                            capacity()));
  }
  Sequence& s = sequences_[static_cast<std::size_t>(sequence)];
  s.length += n;
  while (static_cast<std::int64_t>(s.blocks.size()) < blocks_for(s.length)) s.blocks.push_back(take_block());
}

void KvCache::truncate(std::int32_t sequence, std::int64_t n) {
  Sequence& s = sequences_[static_cast<std::size_t>(sequence)];
  if (n >= s.length) return;
  s.length = n;
  while (static_cast<std::int64_t>(s.blocks.size()) > blocks_for(n)) {
    drop_block(s.blocks.back());
    s.blocks.pop_back();
  }
}

void KvCache::fork(std::int32_t src, std::int32_t dst, std::int64_t n) {
  if (src == dst) return truncate(dst, n);
  truncate(dst, 0);
  const Sequence& from = sequences_[static_cast<std::size_t>(src)];
  Sequence& to = sequences_[static_cast<std::size_t>(dst)];
  n = std::min(n, from.length);
  const std::int64_t whole = n / block_positions(), rest = n % block_positions();
  if (rest > 0 && free_.empty()) {
    throw Error(ErrorKind::kDoesNotFit,
                fmt::format("the context is full: no block is free to fork {} positions, {} in all", n, capacity()));
  }
  for (std::int64_t i = 0; i < whole; ++i) {
    to.blocks.push_back(from.blocks[static_cast<std::size_t>(i)]);
    ++references_[static_cast<std::size_t>(to.blocks.back())];
  }
  if (rest > 0) {
    const std::int32_t source = from.blocks[static_cast<std::size_t>(whole)], copy = take_block();
    for (std::int64_t layer = 0; layer < n_layers_; ++layer) {
      std::memcpy(data_.data() + offset(layer, copy), data_.data() + offset(layer, source),
                  static_cast<std::size_t>(rest) * row_bytes_);
    }
    to.blocks.push_back(copy);
  }
  to.length = n;
}

std::size_t KvCache::offset(std::int64_t layer, std::int32_t block) const {
  return static_cast<std::size_t>((block * n_layers_ + layer) * block_positions()) * row_bytes_;
}

std::byte* KvCache::row(std::int64_t layer, std::int32_t sequence, std::int64_t position) {
  const std::int32_t block =
      sequences_[static_cast<std::size_t>(sequence)].blocks[static_cast<std::size_t>(position / block_positions())];
  return data_.data() + offset(layer, block) + static_cast<std::size_t>(position % block_positions()) * row_bytes_;
}

const std::byte* KvCache::block(std::int64_t layer, std::int32_t sequence, std::int64_t position) const {
  return data_.data() + offset(layer, sequences_[static_cast<std::size_t>(sequence)]
                                          .blocks[static_cast<std::size_t>(position / block_positions())]);
}

std::optional<std::int64_t> KvCache::clamped_layer() const {
  const std::int64_t layer = clamped_layer_.load();
  return layer == kNoLayer ? std::nullopt : std::optional(layer);
}

void KvCache::write_row(std::int64_t layer, std::int32_t sequence, std::int64_t position,
                        const float* values) noexcept {
  std::byte* to = row(layer, sequence, position);
  if (dtype_ == quant::DType::kI8)
    cpu::encode_int8_row(values, integer_shape_->key, integer_shape_->rope, to);
  else
    quant::encode_row_once(dtype_, values, to, width_);
  if (dtype_ == quant::DType::kF16 &&
      std::any_of(values, values + width_, [](float x) { return std::abs(x) > kLargestF16; })) {
    std::int64_t first = clamped_layer_.load();
    while (layer < first && !clamped_layer_.compare_exchange_weak(first, layer)) {
    }
  }
}

void KvCache::read_row(std::int64_t layer, std::int32_t sequence, std::int64_t position, float* values) const noexcept {
  const std::byte* from =
      block(layer, sequence, position) + static_cast<std::size_t>(position % block_positions()) * row_bytes_;
  if (dtype_ == quant::DType::kI8)
    cpu::decode_int8_row(from, integer_shape_->key, integer_shape_->rope, values);
  else
    quant::decode_row(dtype_, from, values, width_);
}

void KvCache::save(std::int32_t sequence, std::ostream& out) const {
  const Sequence& s = sequences_[static_cast<std::size_t>(sequence)];
  Header header{.magic = {},
                .dtype = static_cast<std::uint32_t>(dtype_),
                .n_layers = static_cast<std::uint32_t>(n_layers_),
                .width = static_cast<std::uint64_t>(width_),
                .row_bytes = row_bytes_,
                .length = static_cast<std::uint64_t>(s.length)};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  out.write(reinterpret_cast<const char*>(&header), sizeof header);
  for (std::int64_t position = 0; position < s.length; position += block_positions()) {
    const std::int64_t n = std::min(block_positions(), s.length - position);
    for (std::int64_t layer = 0; layer < n_layers_; ++layer) {
      out.write(reinterpret_cast<const char*>(block(layer, sequence, position)),
                static_cast<std::streamsize>(static_cast<std::size_t>(n) * row_bytes_));
    }
  }
}

void KvCache::restore(std::int32_t sequence, std::istream& in) {
  truncate(sequence, 0);
  Header header{};
  if (!in.read(reinterpret_cast<char*>(&header), sizeof header) ||
      std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) {
    throw Error(ErrorKind::kBadFile, "the saved cache does not begin as one");
  }
  if (header.dtype != static_cast<std::uint32_t>(dtype_) || header.n_layers != static_cast<std::uint64_t>(n_layers_) ||
      header.width != static_cast<std::uint64_t>(width_) || header.row_bytes != row_bytes_) {
    throw Error(ErrorKind::kBadFile, fmt::format("the saved cache is of another shape or type: {} layers of {} values "
                                                 "({} bytes) in type {}, this cache has {} of {} ({} bytes) in {}",
                                                 header.n_layers, header.width, header.row_bytes, header.dtype,
                                                 n_layers_, width_, row_bytes_, static_cast<std::uint32_t>(dtype_)));
  }
  if (header.length > static_cast<std::uint64_t>(capacity())) {
    throw Error(ErrorKind::kDoesNotFit,
                fmt::format("the saved cache has {} positions, this one has room for {}", header.length, capacity()));
  }
  append(sequence, static_cast<std::int64_t>(header.length));
  const std::int64_t length = this->length(sequence);
  for (std::int64_t position = 0; position < length; position += block_positions()) {
    const std::int64_t n = std::min(block_positions(), length - position);
    for (std::int64_t layer = 0; layer < n_layers_; ++layer) {
      if (!in.read(reinterpret_cast<char*>(row(layer, sequence, position)),
                   static_cast<std::streamsize>(static_cast<std::size_t>(n) * row_bytes_))) {
        truncate(sequence, 0);
        throw Error(ErrorKind::kBadFile, fmt::format("the saved cache ends before its {} positions", header.length));
      }
    }
  }
}

}  // namespace dodeca::runtime
