// The product of activation rows with tiles of a placed weight. Used inside the parallel region: nothing allocates.
#pragma once

#include <cstdint>

#include "runtime/plan/plan.hpp"
#include "runtime/weights/packed_matrix.hpp"

namespace dodeca::runtime::exec {

// Work space of one thread for multiply() with any part of a weight.
std::size_t multiply_scratch_bytes(const WeightPlan& weight);

struct Product {
  const PackedMatrix& weight;
  std::int64_t slice = 0;
  std::int64_t tile_begin = 0, tile_end = 0;
  const std::byte* acts = nullptr;  // in the weight's format
  std::size_t act_stride = 0;
  const std::int32_t* act_rows = nullptr;  // null: 0, 1, 2, ...
  const float* act_factors = nullptr;      // [activation row] what its results are multiplied with; null: 1
  std::int64_t n_acts = 0;
  float* out = nullptr;  // out[i * out_stride + row], row absolute in the matrix
  std::int64_t out_stride = 0;
  bool accumulate = false;  // added to what is there; factors then go to the sum
  std::byte* scratch = nullptr;
  bool prompt = false;  // the rows are a prompt's
};
void multiply(const Product& product) noexcept;
void scale(float* y, float factor, std::int64_t n) noexcept;  // y *= factor

}  // namespace dodeca::runtime::exec
