#include "runtime/exec/kv_cache.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <istream>
#include <ostream>

#include "cpu/kernels/attention/attention.hpp"
#include "cpu/kernels/index/index.hpp"

namespace dodeca::runtime::exec {
namespace {

constexpr std::int64_t kPositions = cpu::kContextBlock;
constexpr std::int64_t kMostDraftLayers = 64;  // of a model (runtime/model/config.cpp)
constexpr char kMagic[8] = {'d', 'o', 'd', 'e', 'c', 'K', 'V', '5'};

// A saved sequence: this, a LayerHeader per layer, then for every block its rows layer by layer.
struct Header {
  char magic[8];
  std::uint64_t n_layers, length;
};
struct LayerHeader {
  std::uint64_t dtype, width, row_bytes;
  bool operator==(const LayerHeader&) const = default;
};

// Two types where keys and values differ.
LayerHeader header_of(const RowFormat& format) {
  const auto keys = static_cast<std::uint64_t>(format.dtype), values = static_cast<std::uint64_t>(format.value_dtype);
  const std::int64_t index = format.index ? format.index->head_dim : 0;
  return {keys == values ? keys : (values + 1) << 32 | keys, static_cast<std::uint64_t>(format.width + index),
          format.position_bytes()};
}

// Of the layers; nothing where they are elsewhere.
std::vector<std::optional<RowFormat>> formats_of(const ModelConfig& config, const KvCacheOptions& options) {
  std::vector<std::optional<RowFormat>> formats;
  for (std::int64_t layer = 0; layer < config.n_layers + (options.mtp ? config.n_mtp_layers : 0); ++layer) {
    formats.emplace_back();
    if (std::ranges::find(options.layers_elsewhere, layer) == options.layers_elsewhere.end())
      formats.back() = RowFormat::of_layer(config, layer, options.types, options.integer_attention);
  }
  return formats;
}

}  // namespace

std::uint64_t KvCache::bytes_needed(const ModelConfig& config, const KvCacheOptions& options) {
  std::uint64_t position = 0;
  for (const auto& format : formats_of(config, options)) position += format ? format->position_bytes() : 0;
  return static_cast<std::uint64_t>(BlockTable::blocks_for(options.n_positions) * kPositions) * position *
         options.copies.size();
}

KvCache::KvCache(const ModelConfig& config, const KvCacheOptions& options, const MakeCacheLayer& make)
    : n_main_layers_(config.n_layers), table_(options.n_positions, options.n_sequences) {
  for (const auto& format : formats_of(config, options)) {
    std::unique_ptr<LayerStore> store =
        format ? std::make_unique<LayerStore>(*format, table_.n_blocks(), options.copies) : nullptr;
    stores_.push_back(store.get());
    layers_.push_back(format ? std::move(store) : make(std::ssize(layers_), table_.n_blocks()));
  }
}

void KvCache::copy_rows(std::int32_t from, std::int32_t to, std::int64_t n_rows) {
  for (const auto& layer : layers_) layer->copy_rows(from, to, n_rows);
}

void KvCache::append(std::int32_t sequence, std::int64_t n) {
  table_.append(sequence, n, [this](auto from, auto to, auto n_rows) { copy_rows(from, to, n_rows); });
}

void KvCache::fork(std::int32_t src, std::int32_t dst, std::int64_t n) {
  table_.fork(src, dst, n, [this](auto from, auto to, auto n_rows) { copy_rows(from, to, n_rows); });
}

std::size_t KvCache::position_bytes() const {
  std::size_t bytes = 0;
  for (const auto& layer : layers_) bytes += layer->format().position_bytes();
  return bytes;
}

std::optional<std::int64_t> KvCache::clamped_layer() const {
  const auto found =
      std::ranges::find_if(stores_, [](const LayerStore* store) { return store != nullptr && store->clamped(); });
  return found == stores_.end() ? std::nullopt : std::optional<std::int64_t>(found - stores_.begin());
}

void KvCache::write_row(std::int64_t layer, std::int32_t sequence, std::int64_t position,
                        const float* values) noexcept {
  store(layer).write_row(table_.block_of(sequence, position), position % kPositions, values);
}

void KvCache::write_index_row(std::int64_t layer, std::int32_t sequence, std::int64_t position,
                              const float* key) noexcept {
  store(layer).write_index_row(table_.block_of(sequence, position), position % kPositions, key);
}

void KvCache::read_row(std::int64_t layer, std::int32_t sequence, std::int64_t position, float* values) const noexcept {
  store(layer).read_row(table_.block_of(sequence, position), position % kPositions, values);
}

void KvCache::write_key(std::int64_t layer, const CachePlace& at, std::int64_t head, const float* key) noexcept {
  store(layer).write_key(table_.block_of(at.sequence, at.position), at.position % kPositions, head, key);
}

void KvCache::write_value(std::int64_t layer, const CachePlace& at, std::int64_t head, const float* value) noexcept {
  store(layer).write_value(table_.block_of(at.sequence, at.position), at.position % kPositions, head, value);
}

const std::byte* KvCache::block(std::int64_t layer, std::int32_t sequence, std::int64_t position,
                                std::size_t part) const {
  const LayerStore& rows = store(layer);
  return rows.block(table_.block_of(sequence, position), rows.n_copies() > 1 ? part : 0);
}

const std::byte* KvCache::index_block(std::int64_t layer, std::int32_t sequence, std::int64_t position,
                                      std::size_t part) const {
  const LayerStore& rows = store(layer);
  return rows.index_block(table_.block_of(sequence, position), rows.n_copies() > 1 ? part : 0);
}

void KvCache::fill(std::int64_t layer, std::int32_t sequence, std::int64_t n,
                   std::span<const std::vector<float>> rows) {
  CacheLayer& to = *layers_[layer];
  const RowFormat& format = to.format();
  std::vector<std::byte> bytes(static_cast<std::size_t>(kPositions) * format.position_bytes());
  std::size_t next = 0;
  for (std::int64_t position = 0; position < n; position += kPositions) {
    const std::int64_t count = std::min(kPositions, n - position);
    for (std::int64_t i = 0; i < count; ++i) {
      const float* row = rows[next++ % rows.size()].data();
      std::byte* at = bytes.data() + static_cast<std::size_t>(i) * format.position_bytes();
      to.encode_row(row, at);
      if (format.index) cpu::encode_index_row(*format.index, row, at + format.row_bytes);
    }
    to.write_bytes(block_index(sequence, position), count, bytes.data());
  }
}

void KvCache::save(std::int32_t sequence, std::ostream& out) const {
  const std::int64_t length = this->length(sequence);
  Header header{
      .magic = {}, .n_layers = static_cast<std::uint64_t>(n_layers()), .length = static_cast<std::uint64_t>(length)};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  out.write(reinterpret_cast<const char*>(&header), sizeof header);
  for (const auto& layer : layers_) {
    const LayerHeader own = header_of(layer->format());
    out.write(reinterpret_cast<const char*>(&own), sizeof own);
  }
  std::vector<std::byte> rows;
  for (std::int64_t position = 0; position < length; position += kPositions) {
    const std::int64_t n = std::min(kPositions, length - position);
    for (std::int64_t l = 0; l < n_layers(); ++l) {
      const CacheLayer& layer = *layers_[l];
      const std::size_t row_bytes = layer.format().position_bytes();
      rows.resize(static_cast<std::size_t>(n) * row_bytes);
      layer.read_bytes(block_index(sequence, position), n, rows.data());
      // The last row of a layer that drafts belongs to a token that is not saved.
      if (l >= n_main_layers_ && position + n == length)
        std::fill_n(rows.end() - static_cast<std::ptrdiff_t>(row_bytes), row_bytes, std::byte{0});
      out.write(reinterpret_cast<const char*>(rows.data()), static_cast<std::streamsize>(rows.size()));
    }
  }
}

RowFormat KvCache::format_behind(std::int64_t layer) const {
  if (layer < n_layers()) return format(layer);
  RowFormat last = format(n_main_layers_ - 1);
  last.index.reset();
  return last;
}

void KvCache::restore(std::int32_t sequence, std::istream& in) {
  truncate(sequence, 0);
  Header header{};
  if (!in.read(reinterpret_cast<char*>(&header), sizeof header) ||
      std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) {
    throw Error(ErrorKind::kBadFile, "the saved cache does not begin as one");
  }
  const auto n_saved = static_cast<std::int64_t>(std::min<std::uint64_t>(header.n_layers, 1 << 20));
  if (n_saved < n_main_layers_ || n_saved > n_main_layers_ + kMostDraftLayers) {
    throw Error(ErrorKind::kBadFile, fmt::format("the saved cache is of another shape: {} layers, this cache has {}",
                                                 header.n_layers, n_layers()));
  }
  for (std::int64_t layer = 0; layer < n_saved; ++layer) {
    LayerHeader saved{};
    const LayerHeader own = header_of(format_behind(layer));
    if (!in.read(reinterpret_cast<char*>(&saved), sizeof saved))
      throw Error(ErrorKind::kBadFile, fmt::format("the saved cache ends before its layer {}", layer));
    if (saved != own) {
      throw Error(
          ErrorKind::kBadFile,
          fmt::format("the saved cache is of another shape or type: layer {} has rows of {} values ({} bytes) in "
                      "type {}, this cache has {} ({} bytes) in {}",
                      layer, saved.width, saved.row_bytes, saved.dtype, own.width, own.row_bytes, own.dtype));
    }
  }
  if (header.length > static_cast<std::uint64_t>(capacity())) {
    throw Error(ErrorKind::kDoesNotFit,
                fmt::format("the saved cache has {} positions, this one has room for {}", header.length, capacity()));
  }
  append(sequence, static_cast<std::int64_t>(header.length));
  restore_rows(sequence, in, n_saved);
}

void KvCache::restore_rows(std::int32_t sequence, std::istream& in, std::int64_t n_saved) {
  const std::int64_t length = this->length(sequence);
  std::vector<std::byte> rows;
  for (std::int64_t position = 0; position < length; position += kPositions) {
    const std::int64_t n = std::min(kPositions, length - position);
    for (std::int64_t layer = 0; layer < std::max(n_saved, n_layers()); ++layer) {
      rows.assign(static_cast<std::size_t>(n) * format_behind(layer).position_bytes(), std::byte{0});
      if (layer < n_saved &&
          !in.read(reinterpret_cast<char*>(rows.data()), static_cast<std::streamsize>(rows.size()))) {
        truncate(sequence, 0);
        throw Error(ErrorKind::kBadFile, fmt::format("the saved cache ends before its {} positions", length));
      }
      if (layer < n_layers()) layers_[layer]->write_bytes(block_index(sequence, position), n, rows.data());
    }
  }
}

}  // namespace dodeca::runtime::exec
