// The latent KV cache: per layer rows of cache_row_width() values, in blocks of kContextBlock positions shared between
// sequences by reference count. Type I8 means the rows of bytes of cpu/kernels/attention/integer.hpp. Every block has one owner list; a fork shares whole blocks and copies the last partial one. Not
// thread-safe: one executor owns it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <iosfwd>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cpu/kernels/attention/integer_kernels.hpp"
#include "cpu/memory.hpp"
#include "quant/dtype.hpp"
#include "runtime/model/config.hpp"

namespace dodeca::runtime {

inline constexpr std::array kCacheTypes = {quant::DType::kF32, quant::DType::kF16, quant::DType::kBF16,
                                           quant::DType::kQ8_0, quant::DType::kI8};

struct KvCacheOptions {
  std::int64_t n_positions = 0;  // capacity over all sequences, rounded up to whole blocks
  std::int32_t n_sequences = 1;
  quant::DType dtype = quant::DType::kF16;  // of kCacheTypes
  bool integer_attention = true;            // false: rows are only rounded to the type, attention computes in float
};

class KvCache {
 public:
  // Throws Error{kUnsupported} for a type or a width that the type's block does not divide.
  KvCache(const ModelConfig& config, const KvCacheOptions& options);
  static std::uint64_t bytes_needed(const ModelConfig& config, const KvCacheOptions& options);

  std::int64_t capacity() const { return n_blocks_ * block_positions(); }
  std::int64_t free_positions() const;  // in whole free blocks
  std::int32_t n_sequences() const { return static_cast<std::int32_t>(sequences_.size()); }
  std::int64_t length(std::int32_t sequence) const { return sequences_[sequence].length; }

  // True when n more positions fit for the sequence (blocks available).
  bool can_append(std::int32_t sequence, std::int64_t n) const;
  // Makes room for n more positions and counts them; rows are then written by the forward pass. Error{kDoesNotFit} with
  // numbers.
  void append(std::int32_t sequence, std::int64_t n);
  void truncate(std::int32_t sequence, std::int64_t n);  // keeps the first n positions
  // dst (emptied first) becomes the first n positions of src.
  void fork(std::int32_t src, std::int32_t dst, std::int64_t n);

  // The first n positions of a sequence as bytes, and back into an emptied sequence. restore throws Error{kBadFile}
  // when the stream was saved for another shape or type.
  void save(std::int32_t sequence, std::ostream& out) const;
  void restore(std::int32_t sequence, std::istream& in);

  quant::DType dtype() const { return dtype_; }
  // How integer attention reads the rows; nothing where they are floats, not latent, or of a width it does not take.
  const std::optional<cpu::IntegerShape>& integer_shape() const { return integer_shape_; }
  // Encodes one row of row_width() finite floats by the scalar rule of its format, and decodes it. What F16 cannot hold
  // becomes the largest that it can; clamped_layer() then tells the first layer where that happened. Rows may be written
  // by several threads at once.
  void write_row(std::int64_t layer, std::int32_t sequence, std::int64_t position, const float* values) noexcept;
  std::optional<std::int64_t> clamped_layer() const;
  void read_row(std::int64_t layer, std::int32_t sequence, std::int64_t position, float* values) const noexcept;
  std::int64_t n_layers() const { return n_layers_; }
  std::int64_t row_width() const { return width_; }
  std::size_t row_bytes() const { return row_bytes_; }
  // The row of one position in one layer; position < length(sequence).
  std::byte* row(std::int64_t layer, std::int32_t sequence, std::int64_t position);
  // First row of the block that holds `position` (a multiple of kContextBlock).
  const std::byte* block(std::int64_t layer, std::int32_t sequence, std::int64_t position) const;

 private:
  struct Sequence {
    std::vector<std::int32_t> blocks;
    std::int64_t length = 0;
  };
  static std::int64_t block_positions();
  std::int32_t take_block();
  void drop_block(std::int32_t block);
  std::size_t offset(std::int64_t layer, std::int32_t block) const;

  quant::DType dtype_;
  std::optional<cpu::IntegerShape> integer_shape_;
  std::int64_t n_layers_ = 0, width_ = 0, n_blocks_ = 0;
  std::size_t row_bytes_ = 0;
  cpu::Buffer data_;  // [n_blocks, n_layers, kContextBlock, row_bytes]
  std::vector<std::int32_t> references_, free_;
  std::vector<Sequence> sequences_;
  static constexpr std::int64_t kNoLayer = std::numeric_limits<std::int64_t>::max();
  std::atomic<std::int64_t> clamped_layer_{kNoLayer};
};

}  // namespace dodeca::runtime
