#include "runtime/exec/kv_cache.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <istream>
#include <ostream>

#include "cpu/kernels/attention/attention.hpp"

namespace dodeca::runtime::exec {
namespace {

constexpr std::int64_t kPositions = cpu::kContextBlock;
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

LayerHeader header_of(const RowFormat& format) {
  return {static_cast<std::uint64_t>(format.dtype), static_cast<std::uint64_t>(format.width), format.row_bytes};
}

std::vector<RowFormat> formats_of(const ModelConfig& config, const KvCacheOptions& options) {
  std::vector<RowFormat> formats;
  for (std::int64_t layer = 0; layer < config.n_layers + (options.mtp ? config.n_mtp_layers : 0); ++layer)
    formats.push_back(RowFormat::of(config, config.layer(layer).attention, options.dtype, options.integer_attention));
  return formats;
}

}  // namespace

std::uint64_t KvCache::bytes_needed(const ModelConfig& config, const KvCacheOptions& options) {
  std::uint64_t position = 0;
  for (const RowFormat& format : formats_of(config, options)) position += format.row_bytes;
  return static_cast<std::uint64_t>(BlockTable::blocks_for(options.n_positions) * kPositions) * position;
}

KvCache::KvCache(const ModelConfig& config, const KvCacheOptions& options)
    : table_(options.n_positions, options.n_sequences) {
  for (const RowFormat& format : formats_of(config, options))
    stores_.push_back(std::make_unique<LayerStore>(format, table_.n_blocks()));
}

void KvCache::copy_rows(std::int32_t from, std::int32_t to, std::int64_t n_rows) {
  for (const auto& store : stores_) store->copy_rows(from, to, n_rows);
}

void KvCache::append(std::int32_t sequence, std::int64_t n) {
  table_.append(sequence, n, [this](auto from, auto to, auto n_rows) { copy_rows(from, to, n_rows); });
}

void KvCache::fork(std::int32_t src, std::int32_t dst, std::int64_t n) {
  table_.fork(src, dst, n, [this](auto from, auto to, auto n_rows) { copy_rows(from, to, n_rows); });
}

std::size_t KvCache::position_bytes() const {
  std::size_t bytes = 0;
  for (const auto& store : stores_) bytes += store->format().row_bytes;
  return bytes;
}

std::optional<std::int64_t> KvCache::clamped_layer() const {
  const auto found = std::ranges::find_if(stores_, [](const auto& store) { return store->clamped(); });
  return found == stores_.end() ? std::nullopt : std::optional<std::int64_t>(found - stores_.begin());
}

void KvCache::write_row(std::int64_t layer, std::int32_t sequence, std::int64_t position,
                        const float* values) noexcept {
  store(layer).write_row(table_.block_of(sequence, position), position % kPositions, values);
}

void KvCache::read_row(std::int64_t layer, std::int32_t sequence, std::int64_t position, float* values) const noexcept {
  store(layer).read_row(table_.block_of(sequence, position), position % kPositions, values);
}

std::byte* KvCache::row(std::int64_t layer, std::int32_t sequence, std::int64_t position) {
  return store(layer).row(table_.block_of(sequence, position), position % kPositions);
}

const std::byte* KvCache::block(std::int64_t layer, std::int32_t sequence, std::int64_t position) const {
  return store(layer).block(table_.block_of(sequence, position));
}

void KvCache::save(std::int32_t sequence, std::ostream& out) const {
  const std::int64_t length = this->length(sequence);
  Header header{
      .magic = {}, .n_layers = static_cast<std::uint64_t>(n_layers()), .length = static_cast<std::uint64_t>(length)};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  out.write(reinterpret_cast<const char*>(&header), sizeof header);
  for (const auto& store : stores_) {
    const LayerHeader layer = header_of(store->format());
    out.write(reinterpret_cast<const char*>(&layer), sizeof layer);
  }
  for (std::int64_t position = 0; position < length; position += kPositions) {
    const std::int64_t n = std::min(kPositions, length - position);
    for (std::int64_t layer = 0; layer < n_layers(); ++layer) {
      out.write(reinterpret_cast<const char*>(block(layer, sequence, position)),
                static_cast<std::streamsize>(static_cast<std::size_t>(n) * format(layer).row_bytes));
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
  if (header.n_layers != static_cast<std::uint64_t>(n_layers())) {
    throw Error(ErrorKind::kBadFile, fmt::format("the saved cache is of another shape: {} layers, this cache has {}",
                                                 header.n_layers, n_layers()));
  }
  for (std::int64_t layer = 0; layer < n_layers(); ++layer) {
    LayerHeader saved{};
    const LayerHeader own = header_of(format(layer));
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
  const std::int64_t length = this->length(sequence);
  for (std::int64_t position = 0; position < length; position += kPositions) {
    const std::int64_t n = std::min(kPositions, length - position);
    for (std::int64_t layer = 0; layer < n_layers(); ++layer) {
      if (!in.read(reinterpret_cast<char*>(row(layer, sequence, position)),
                   static_cast<std::streamsize>(static_cast<std::size_t>(n) * format(layer).row_bytes))) {
        truncate(sequence, 0);
        throw Error(ErrorKind::kBadFile, fmt::format("the saved cache ends before its {} positions", header.length));
      }
    }
  }
}

}  // namespace dodeca::runtime::exec
