// The KV cache: a block table (who holds which positions) over one store of rows per layer. Not thread-safe but for
// rows, which the members of a pass read and write at once; one executor owns it.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "runtime/exec/block_table.hpp"
#include "runtime/exec/layer_store.hpp"
#include "runtime/model/config.hpp"

namespace dodeca::runtime::exec {

struct KvCacheOptions {
  std::int64_t n_positions = 0;  // capacity over all sequences, rounded up to whole blocks
  std::int32_t n_sequences = 1;
  RowTypes types = {};
  bool integer_attention = true;  // false: rows are only rounded to the type, attention computes in float
  bool mtp = false;               // stores for the multi-token-prediction layers too
  std::vector<std::int64_t> layers_elsewhere = {};  // whose rows are not in this memory
  // Memory nodes of each copy of the rows (LayerStore): one copy, or one for every part of the model.
  std::vector<std::vector<int>> copies = {{}};
};

// The rows of a layer elsewhere: the layer, blocks of the cache.
using MakeCacheLayer = std::function<std::unique_ptr<CacheLayer>(std::int64_t layer, std::int64_t n_blocks)>;

struct CachePlace {
  std::int32_t sequence = 0;
  std::int64_t position = 0;
};

class KvCache {
 public:
  // Throws as RowFormat::of, and as `make`, which is asked for the layers elsewhere.
  KvCache(const ModelConfig& config, const KvCacheOptions& options, const MakeCacheLayer& make = {});
  static std::uint64_t bytes_needed(const ModelConfig& config, const KvCacheOptions& options);  // all copies

  std::int64_t capacity() const { return table_.capacity(); }
  std::int64_t free_positions() const { return table_.free_positions(); }  // in whole free blocks
  std::int32_t n_sequences() const { return table_.n_sequences(); }
  std::int64_t length(std::int32_t sequence) const { return table_.length(sequence); }

  bool can_append(std::int32_t sequence, std::int64_t n) const { return table_.can_append(sequence, n); }
  // Makes room for n more positions and counts them; rows are then written by the forward pass. Error{kDoesNotFit} with
  // numbers.
  void append(std::int32_t sequence, std::int64_t n);
  void truncate(std::int32_t sequence, std::int64_t n) { table_.truncate(sequence, n); }  // keeps the first n positions
  // dst (emptied first) becomes the first n positions of src. Error{kDoesNotFit}: no block is free for a partial last one.
  void fork(std::int32_t src, std::int32_t dst, std::int64_t n);

  // All positions of a sequence as bytes, and back into an emptied sequence. restore throws Error{kBadFile} when the
  // stream was saved for another shape or type. Rows of layers of multi-token prediction are saved where they are, zeros for
  // the last position; a cache without these layers passes them over, one that has them takes zeros where the stream has none.
  void save(std::int32_t sequence, std::ostream& out) const;
  void restore(std::int32_t sequence, std::istream& in);

  std::int64_t n_layers() const { return static_cast<std::int64_t>(layers_.size()); }
  const RowFormat& format(std::int64_t layer) const { return layers_[layer]->format(); }
  std::size_t position_bytes() const;  // of one position in all layers
  // The first layer in which a value had to be cut down to the largest of f16.
  std::optional<std::int64_t> clamped_layer() const;

  // Rows of floats as the first positions of a sequence in one layer, wherever it is: those of `rows` in turn, for
  // measuring. n <= length(sequence).
  void fill(std::int64_t layer, std::int32_t sequence, std::int64_t n, std::span<const std::vector<float>> rows);

  // Where a position lies: a block of every layer, and its row there.
  std::int32_t block_index(std::int32_t sequence, std::int64_t position) const {
    return table_.block_of(sequence, position);
  }

  // Rows of one position in one layer in memory; position < length(sequence).
  void write_row(std::int64_t layer, std::int32_t sequence, std::int64_t position, const float* values) noexcept;
  void read_row(std::int64_t layer, std::int32_t sequence, std::int64_t position, float* values) const noexcept;
  // Of grouped queries: one head's key or value.
  void write_key(std::int64_t layer, const CachePlace& at, std::int64_t head, const float* key) noexcept;
  void write_value(std::int64_t layer, const CachePlace& at, std::int64_t head, const float* value) noexcept;
  void write_index_row(std::int64_t layer, std::int32_t sequence, std::int64_t position, const float* key) noexcept;
  // First row of the block that holds `position` (a multiple of kContextBlock), in the copy of a part of the model.
  const std::byte* block(std::int64_t layer, std::int32_t sequence, std::int64_t position, std::size_t part = 0) const;
  // Its index keys, of layers that have an indexer.
  const std::byte* index_block(std::int64_t layer, std::int32_t sequence, std::int64_t position,
                               std::size_t part = 0) const;

 private:
  void copy_rows(std::int32_t from, std::int32_t to, std::int64_t n_rows);
  LayerStore& store(std::int64_t layer) { return *stores_[layer]; }
  const LayerStore& store(std::int64_t layer) const { return *stores_[layer]; }

  RowFormat format_behind(std::int64_t layer) const;  // also of draft layers that are not here
  void restore_rows(std::int32_t sequence, std::istream& in, std::int64_t n_saved);

  std::int64_t n_main_layers_;
  BlockTable table_;
  std::vector<std::unique_ptr<CacheLayer>> layers_;
  std::vector<LayerStore*> stores_;  // the same where they are in memory, else null
};

}  // namespace dodeca::runtime::exec
