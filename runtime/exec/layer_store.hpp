// The cached rows of one layer: blocks of cpu::kContextBlock rows of `width` values in a type of the cache, and behind the
// rows of a block, where the layer has an indexer, as many index keys. In memory
// (LayerStore) type I8 means the rows of bytes of cpu/kernels/attention/integer.hpp; a device has rows of its own.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "cpu/kernels/attention/integer_kernels.hpp"
#include "cpu/kernels/index/index_kernels.hpp"
#include "cpu/memory.hpp"
#include "quant/dtype.hpp"
#include "runtime/model/config.hpp"

namespace dodeca::runtime::exec {

inline constexpr std::array kCacheTypes = {quant::DType::kF32, quant::DType::kF16, quant::DType::kBF16,
                                           quant::DType::kQ8_0, quant::DType::kI8};

// What a layer's rows are.
struct RowFormat {
  quant::DType dtype = quant::DType::kF16;  // of kCacheTypes
  std::int64_t width = 0;                   // values per row
  std::size_t row_bytes = 0;
  // How integer attention reads the rows; nothing where they are floats, not latent, or of a width it does not take.
  std::optional<cpu::IntegerShape> integer;
  // Index keys are words whatever the type, because half of f16's digits would change what is chosen and scoring reads
  // them as they are; floats on the float32 route.
  std::optional<cpu::IndexShape> index = {};

  std::size_t index_bytes() const { return index ? cpu::index_row_bytes(*index) : 0; }
  std::size_t position_bytes() const { return row_bytes + index_bytes(); }

  // integer_attention false: rows are only rounded to the type, attention computes in float. Throws
  // Error{kUnsupported} for a type, or a width that the type's block does not divide.
  static RowFormat of(const ModelConfig& config, AttentionKind kind, quant::DType dtype, bool integer_attention);
  // Of a layer: the same, with its index keys.
  static RowFormat of_layer(const ModelConfig& config, std::int64_t layer, quant::DType dtype, bool integer_attention);
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
  // The first rows of a block as they are, then their index keys: n_rows * position_bytes().
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
    return this->block(block, copy) + index_offset();
  }
  void copy_rows(std::int32_t from, std::int32_t to, std::int64_t n_rows) override;
  void read_bytes(std::int32_t block, std::int64_t n_rows, std::byte* out) const override;
  void write_bytes(std::int32_t block, std::int64_t n_rows, const std::byte* rows) override;
  void encode_row(const float* values, std::byte* row) const noexcept override;

  // Encodes one row of finite floats by the scalar rule of its format, and decodes it. What F16 cannot hold becomes the
  // largest that it can, and clamped() is true from then on. Rows may be written by several threads at once.
  void write_row(std::int32_t block, std::int64_t row, const float* values) noexcept;
  void read_row(std::int32_t block, std::int64_t row, float* values) const noexcept;
  void write_index_row(std::int32_t block, std::int64_t row, const float* key) noexcept;
  bool clamped() const { return clamped_.load(std::memory_order_relaxed); }

 private:
  std::size_t offset(std::int32_t block) const;
  std::byte* block_of(std::size_t copy, std::int32_t block) { return copies_[copy].data() + offset(block); }

  std::size_t index_offset() const;  // in a block

  std::vector<cpu::Buffer> copies_;  // [n_blocks][kContextBlock, row_bytes][kContextBlock, index_bytes] each
  std::atomic<bool> clamped_{false};
};

}  // namespace dodeca::runtime::exec
