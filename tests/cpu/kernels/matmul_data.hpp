// Random weights, activations and a caller for the matrix-product tests: guarded buffers, every layout, every shape.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cpu/kernels/matmul/matmul.hpp"
#include "tests/support/guarded_buffer.hpp"

namespace dodeca::tests {

// Which part of a block's value to keep: a block is d * (...) - dmin * (...) (or + m).
inline constexpr float kMarker = 12345.0f;

enum class Part { kAll, kScaled, kMin };

// kTame: every block factor is finite and of middling size. kExtreme: in every other row one block has a zero, the
// smallest subnormal or the largest factor, or one whose products overflow or are NaN; in every fourth the codes of a
// block are alike. kOne: all factors are one, those of the activations too, so that results are whole numbers.
enum class Factors { kTame, kExtreme, kOne };

void keep_part(quant::DType dtype, std::int64_t n_in, std::vector<std::byte>& rows, Part part);

// One product: weights packed, activations stored, everything guarded.
class Product {
 public:
  Product(quant::DType dtype, std::int64_t n_in, std::int64_t n_out, std::int64_t n_act_rows, std::uint32_t seed,
          Factors factors = Factors::kTame);
  // n_acts rows, gathered in a scrambled order when `gather`, else the first ones. Tiles [begin, end). What is not
  // written stays at a marker, and accumulated results are added to it. [n_acts, n_out]
  std::vector<float> run(const cpu::MatmulKernel& kernel, std::int64_t n_acts, bool gather, std::int64_t tile_begin,
                         std::int64_t tile_end, bool accumulate = false) const;
  std::vector<float> run(const cpu::MatmulKernel& kernel, std::int64_t n_acts, bool gather) const;
  std::int64_t act_row(std::int64_t i, bool gather) const;
  std::vector<float> dequantized_act(std::int64_t row) const;             // what the stored activation row stands for
  std::span<const std::byte> weights() const { return weights_.span(); }  // packed
  std::span<const std::byte> acts() const { return acts_.span(); }        // rows act_stride() bytes apart
  std::size_t act_stride() const { return act_stride_; }
  std::int64_t n_tiles() const { return (n_out + cpu::kTileRows - 1) / cpu::kTileRows; }

  const quant::DType dtype;
  const std::int64_t n_in, n_out, n_act_rows;
  const std::vector<std::byte> rows;

 private:
  const cpu::Layout& layout_;
  const std::size_t act_stride_;
  GuardedBuffer<std::byte> weights_, acts_;
};

}  // namespace dodeca::tests
