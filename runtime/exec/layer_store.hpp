// The cached rows of one layer: blocks of cpu::kContextBlock rows of `width` values in the types of the cache, and
// behind the rows of a block, where the layer has an indexer, as many index keys. In memory (LayerStore) type I8 means
// the rows of bytes of cpu/kernels/attention/integer.hpp; a device has rows of its own.
//
// A row of grouped queries is the keys of its heads, then the values of its heads. In a block of memory each head's
// keys lie together, and its values, since whoever attends reads those of one head.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "cpu/kernels/attention/attention_kernels.hpp"
#include "cpu/kernels/attention/integer_kernels.hpp"
#include "cpu/kernels/index/index_kernels.hpp"
#include "cpu/memory.hpp"
#include "quant/dtype.hpp"
#include "runtime/model/config.hpp"

namespace dodeca::runtime::exec {

inline constexpr std::array kCacheTypes = {quant::DType::kF32, quant::DType::kF16, quant::DType::kBF16,
                                           quant::DType::kQ8_0, quant::DType::kI8};

// Types of the rows of a cache, of kCacheTypes.
struct RowTypes {
  quant::DType keys = quant::DType::kF16;   // and of latent rows
  std::optional<quant::DType> values = {};  // of grouped queries; nothing: as the keys
};

// What a layer's rows are.
struct RowFormat {
  quant::DType dtype = quant::DType::kF16, value_dtype = dtype;  // of kCacheTypes
  std::int64_t width = 0;                                        // values per row
  std::size_t row_bytes = 0;
  // How integer attention reads the rows; nothing where they are floats, or of a width it does not take.
  std::optional<cpu::IntegerShape> integer;
  // Of grouped queries: key-value heads, the numbers and the bytes of one's key and value. 0: a row is one piece.
  std::int64_t n_heads = 0, head_dim = 0;
  std::size_t key_bytes = 0, value_bytes = 0;
  // Index keys are words whatever the type is: with fewer digits than f16 has, other positions would be chosen. Scoring
  // reads them as they are. On the float32 route they are floats.
  std::optional<cpu::IndexShape> index = {};

  std::size_t index_bytes() const { return index ? cpu::index_row_bytes(*index) : 0; }
  std::size_t position_bytes() const { return row_bytes + index_bytes(); }

  // integer_attention false: rows are only rounded to the types, attention computes in float. Throws
  // Error{kUnsupported} for a type, or a width that the type's block does not divide.
  static RowFormat of(const ModelConfig& config, AttentionKind kind, const RowTypes& types, bool integer_attention);
  // Of a layer: the same, with its index keys.
  static RowFormat of_layer(const ModelConfig& config, std::int64_t layer, const RowTypes& types,
                            bool integer_attention);

  // Where the keys and the values of a head, and index keys, begin in a block of memory.
  std::size_t keys_at(std::int64_t head) const {
    return static_cast<std::size_t>(head * cpu::kContextBlock) * key_bytes;
  }
  std::size_t values_at(std::int64_t head) const {
    return keys_at(n_heads) + static_cast<std::size_t>(head * cpu::kContextBlock) * value_bytes;
  }
  std::size_t index_at() const { return cpu::kContextBlock * row_bytes; }
};

// Where the rows of a layer are. Failures of a device throw.
class CacheLayer {
 public:
  explicit CacheLayer(const RowFormat& format) : format_(format) {}
  virtual ~CacheLayer() = default;
  CacheLayer(const CacheLayer&) = delete;
  CacheLayer& operator=(const CacheLayer&) = delete;

  const RowFormat& format() const { return format_; }
  virtual void copy_rows(std::int32_t from, std::int32_t to, std::int64_t n_rows) = 0;  // the first of a block
  // The first rows of a block, each with its index key behind it: n_rows * position_bytes().
  virtual void read_bytes(std::int32_t block, std::int64_t n_rows, std::byte* out) const = 0;
  virtual void write_bytes(std::int32_t block, std::int64_t n_rows, const std::byte* rows) = 0;
  // A row of the layer's format from finite floats, by the scalar rule of the format.
  virtual void encode_row(const float* values, std::byte* row) const noexcept = 0;

 private:
  RowFormat format_;
};

// In one copy, or in equal ones, each where its readers are.
class LayerStore final : public CacheLayer {
 public:
  // copies: the memory nodes of each, as cpu::SlabOptions has them; one at least.
  LayerStore(const RowFormat& format, std::int64_t n_blocks, const std::vector<std::vector<int>>& copies = {{}});

  std::size_t n_copies() const { return copies_.size(); }
  const std::byte* block(std::int32_t block, std::size_t copy = 0) const {
    return copies_[copy].data() + offset(block);
  }
  // Its index keys.
  const std::byte* index_block(std::int32_t block, std::size_t copy = 0) const {
    return this->block(block, copy) + format().index_at();
  }
  void copy_rows(std::int32_t from, std::int32_t to, std::int64_t n_rows) override;
  void read_bytes(std::int32_t block, std::int64_t n_rows, std::byte* out) const override;
  void write_bytes(std::int32_t block, std::int64_t n_rows, const std::byte* rows) override;
  void encode_row(const float* values, std::byte* row) const noexcept override;

  // Encodes one row of finite floats by the scalar rule of its format, and decodes it. What F16 cannot hold becomes the
  // largest that it can, and clamped() is true from then on. Rows may be written by several threads at once.
  void write_row(std::int32_t block, std::int64_t row, const float* values) noexcept;
  // Of grouped queries: one head's part of a row, [head_dim].
  void write_key(std::int32_t block, std::int64_t row, std::int64_t head, const float* key) noexcept;
  void write_value(std::int32_t block, std::int64_t row, std::int64_t head, const float* value) noexcept;
  void read_row(std::int32_t block, std::int64_t row, float* values) const noexcept;
  void write_index_row(std::int32_t block, std::int64_t row, const float* key) noexcept;
  bool clamped() const { return clamped_.load(std::memory_order_relaxed); }

 private:
  std::size_t offset(std::int32_t block) const;
  std::byte* block_of(std::size_t copy, std::int32_t block) { return copies_[copy].data() + offset(block); }
  // n numbers of a row into `at` of a block, in every copy.
  struct Piece {
    quant::DType dtype;
    std::int64_t n;
    std::size_t at, bytes;
  };
  Piece piece(std::int64_t row, std::int64_t head, bool value) const;
  void write_piece(std::int32_t block, const Piece& piece, const float* values) noexcept;
  void note_clamping(quant::DType dtype, const float* values, std::int64_t n) noexcept;

  std::vector<cpu::Buffer> copies_;  // [n_blocks][kContextBlock, row_bytes][kContextBlock, index_bytes] each
  std::atomic<bool> clamped_{false};
};

}  // namespace dodeca::runtime::exec
