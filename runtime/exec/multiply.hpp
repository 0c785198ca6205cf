// Activations at one point of the forward pass, in every format that the weights reading them want, and the product
// with a packed weight. Used inside the parallel region: nothing allocates.
#pragma once

#include <cstdint>

#include "cpu/isa.hpp"
#include "cpu/kernels/matmul/matmul.hpp"
#include "cpu/kernels/quantize_act/quantize_act.hpp"
#include "cpu/memory.hpp"
#include "runtime/weights/weights.hpp"

namespace dodeca::runtime {

// Rows of n values as floats, and int8 copies in the formats that were asked for.
class Activations {
 public:
  Activations() = default;
  Activations(std::int64_t n_rows, std::int64_t n)
      : n_(n), n_rows_(n_rows), stride_(cpu::act_row_bytes(cpu::ActFormat::kF32, n)) {}

  // Before allocate(): this weight will read these rows.
  void wanted_by(const PackedMatrix& weight);
  static std::uint64_t bytes_per_row(std::int64_t n);  // upper bound over all formats
  void allocate();

  std::int64_t width() const { return n_; }
  std::int64_t n_rows() const { return n_rows_; }
  float* row(std::int64_t i) const {
    return reinterpret_cast<float*>(floats_.data() + static_cast<std::size_t>(i) * stride_);
  }
  std::int64_t stride_floats() const { return static_cast<std::int64_t>(stride_ / sizeof(float)); }
  // Makes the int8 copies of row i from its first n floats, in whole blocks of each format: rows that several weights
  // share are as wide as the widest, and a format that a narrow one wants need not divide that.
  void quantize(std::int64_t i, std::int64_t n, cpu::Isa isa) const noexcept;
  void quantize(std::int64_t i, cpu::Isa isa) const noexcept { quantize(i, n_, isa); }
  // Base and stride of the copies that a weight reads.
  const std::byte* data(cpu::ActFormat format) const {
    return format == cpu::ActFormat::kF32 ? floats_.data() : copies_[index(format)].data();
  }
  std::size_t stride(cpu::ActFormat format) const {
    return format == cpu::ActFormat::kF32 ? stride_ : strides_[index(format)];
  }

 private:
  static int index(cpu::ActFormat format) { return format == cpu::ActFormat::kQ8_256 ? 0 : 1; }
  std::int64_t n_ = 0, n_rows_ = 0;
  std::size_t stride_ = 0;
  std::size_t strides_[2] = {0, 0};  // 0: format not wanted
  cpu::Buffer floats_, copies_[2];
};

// Work space of one thread for multiply().
std::size_t multiply_scratch_bytes(const PackedMatrix& weight);

struct Product {
  const PackedMatrix& weight;
  std::int64_t slice = 0;
  std::int64_t tile_begin = 0, tile_end = 0;
  const std::byte* acts = nullptr;  // in the weight's format
  std::size_t act_stride = 0;
  const std::int32_t* act_rows = nullptr;  // null: 0, 1, 2, ...
  std::int64_t n_acts = 0;
  float* out = nullptr;  // out[i * out_stride + row], row absolute in the slice
  std::int64_t out_stride = 0;
  std::byte* scratch = nullptr;
  bool prompt = false;  // the rows are a prompt's
};
void multiply(const Product& product) noexcept;

}  // namespace dodeca::runtime
