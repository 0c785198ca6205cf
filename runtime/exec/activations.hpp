// Activations at one point of the forward pass, in every format that the weights reading them want. Used inside the
// parallel region: nothing allocates after construction.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "cpu/isa.hpp"
#include "cpu/kernels/matmul/matmul_args.hpp"
#include "cpu/kernels/quantize_act/quantize_act.hpp"
#include "cpu/memory.hpp"
#include "quant/check.hpp"

namespace dodeca::runtime::exec {

// Columns of a row that are finished together: whole blocks of every format, for a whole number of tiles.
inline constexpr std::int64_t kBlockColumns = 256;
inline std::int64_t blocks_of(std::int64_t n) { return (n + kBlockColumns - 1) / kBlockColumns; }

// Formats beside float32 that rows are kept in.
class ActFormats {
 public:
  void add(cpu::ActFormat format) { bits_ |= 1u << static_cast<unsigned>(format); }
  void add(ActFormats other) { bits_ |= other.bits_; }
  bool has(cpu::ActFormat format) const { return (bits_ >> static_cast<unsigned>(format) & 1u) != 0; }

 private:
  unsigned bits_ = 0;
};

// Rows of n values as floats, and int8 copies in the formats that were asked for; equally many for each part.
class Activations {
 public:
  Activations() = default;
  Activations(std::int64_t n_rows, std::int64_t n, ActFormats formats, std::int64_t n_parts = 1);
  static std::uint64_t bytes_needed(std::int64_t n_rows, std::int64_t n, ActFormats formats);

  std::int64_t width() const { return n_; }
  std::int64_t n_rows() const { return n_rows_; }
  std::int64_t n_parts() const { return n_parts_; }
  // Where the rows of a part begin.
  std::int64_t first_row(std::int64_t part) const { return part * rows_per_part_; }
  float* row(std::int64_t i) { return const_cast<float*>(std::as_const(*this).row(i)); }
  const float* row(std::int64_t i) const {
    DODECA_CHECK(i >= 0 && i < n_rows_, i, n_rows_, n_);
    return reinterpret_cast<const float*>(floats_.data() + static_cast<std::size_t>(i) * stride_);
  }
  std::int64_t stride_floats() const { return static_cast<std::int64_t>(stride_ / sizeof(float)); }
  // Makes the int8 copies of row i from its first n floats, in whole blocks of each format: rows that several weights
  // share are as wide as the widest, and a format that a narrow one wants need not divide that.
  void quantize(std::int64_t i, std::int64_t n, cpu::Isa isa) noexcept;
  // The same for one block of columns, the last of which may be shorter.
  void quantize_block(std::int64_t i, std::int64_t block, std::int64_t n, cpu::Isa isa) noexcept;
  // What products with row i are multiplied with: 1, or the factor of a norm that the row itself holds the rest of.
  float factor(std::int64_t i) const { return factors_[static_cast<std::size_t>(i)]; }
  void set_factor(std::int64_t i, float factor) { factors_[static_cast<std::size_t>(i)] = factor; }
  const float* factors() const { return factors_.data(); }
  // Row i from a column on, a multiple of whole blocks of the format and of 64, as a weight reads it, and the bytes from
  // one row to the next.
  const std::byte* data(cpu::ActFormat format, std::int64_t i = 0, std::int64_t column = 0) const {
    const cpu::Buffer& rows = format == cpu::ActFormat::kF32 ? floats_ : copies_[index(format)];
    return rows.data() + static_cast<std::size_t>(i) * stride(format) + cpu::act_row_bytes(format, column);
  }
  std::size_t stride(cpu::ActFormat format) const {
    return format == cpu::ActFormat::kF32 ? stride_ : strides_[index(format)];
  }
  // The rows of each part onto its node, as far as whole pages go; before the first touch.
  void bind_parts(std::span<const int> nodes);
  // The first `n_rows` rows of `from`, which has the same width and formats.
  void copy(const Activations& from, std::int64_t n_rows);

 private:
  static std::size_t index(cpu::ActFormat format) { return format == cpu::ActFormat::kQ8_256 ? 0 : 1; }
  std::int64_t n_ = 0, n_rows_ = 0, n_parts_ = 1, rows_per_part_ = 0;
  std::size_t stride_ = 0;
  std::array<std::size_t, 2> strides_ = {};  // 0: format not wanted
  cpu::Buffer floats_;
  std::array<cpu::Buffer, 2> copies_;
  std::vector<float> factors_;
};

}  // namespace dodeca::runtime::exec
