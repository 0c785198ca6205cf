// Random weights, activations and a caller for the matrix-product tests: guarded buffers, every layout, every shape.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "cpu/kernels/matmul/matmul.hpp"

namespace dodeca::tests {

// Memory whose end is a page boundary with an unreadable page behind it; n bytes, aligned to 64 when n is a multiple
// of 64.
class Guarded {
 public:
  explicit Guarded(std::size_t n);
  ~Guarded();
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  void* map_;
  std::size_t mapped_, size_;
  std::byte* data_;
};

// Which part of a block's value to keep: a block is d * (...) - dmin * (...) (or + m).
enum class Part { kAll, kScaled, kMin };

// n_rows rows of random blocks with tame factors (any code bits, no NaN); [n_rows, row bytes].
std::vector<std::byte> random_rows(quant::DType dtype, std::int64_t n_rows, std::int64_t n_in, std::mt19937& random);
void keep_part(quant::DType dtype, std::vector<std::byte>& rows, Part part);

std::vector<float> random_floats(std::size_t n, std::mt19937& random);

// One product: weights packed, activations stored, everything guarded.
class Product {
 public:
  Product(quant::DType dtype, std::int64_t n_in, std::int64_t n_out, std::int64_t n_act_rows, std::uint32_t seed);
  // n_acts rows, gathered in a scrambled order when `gather`, else the first ones. Tiles [begin, end). What is not
  // written stays at a marker. [n_acts, n_out]
  std::vector<float> run(const cpu::MatmulKernel& kernel, std::int64_t n_acts, bool gather, std::int64_t tile_begin,
                         std::int64_t tile_end) const;
  std::vector<float> run(const cpu::MatmulKernel& kernel, std::int64_t n_acts, bool gather) const;
  std::int64_t act_row(std::int64_t i, bool gather) const;
  std::vector<float> dequantized_act(std::int64_t row) const;  // what the stored activation row stands for
  std::int64_t n_tiles() const { return (n_out + cpu::kTileRows - 1) / cpu::kTileRows; }

  const quant::DType dtype;
  const std::int64_t n_in, n_out, n_act_rows;
  const std::vector<std::byte> rows;

 private:
  const cpu::Layout& layout_;
  const std::size_t act_stride_;
  Guarded weights_, acts_;
};

}  // namespace dodeca::tests
