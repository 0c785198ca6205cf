// The kernels of one generated token of DeepSeek-V3 on a device, each alone: time, and by the formulas of their headers
// (gpu/kernels) bytes and operations.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/gpu_link.hpp"
#include "gpu/kernels/cache_rows.hpp"
#include "quant/dtype.hpp"

namespace dodeca::bench {

struct KernelTime {
  std::string kernel, shape;  // "multiply_q4_k_1", "output projection, 16384 -> 7168"
  gpu::Grid grid;
  double us = 0;
  std::uint64_t bytes = 0, operations = 0;  // of a launch; bytes that come from memory at the least
  // Of products with V3's output projection, by which types are compared; else 0 rows.
  std::int32_t n_rows = 0;
  quant::DType dtype = quant::DType::kF32;
  bool multiplies_integers = false;

  double bytes_per_second() const { return us > 0 ? static_cast<double>(bytes) / us * 1e6 : 0; }
  double operations_per_second() const { return us > 0 ? static_cast<double>(operations) / us * 1e6 : 0; }
};

// `pool`: device memory that stands for weights and caches. Launches go round in it, so that what they read is not in
// the L2 where the pool is larger.
class GpuKernels {
 public:
  using Report = std::function<void(const KernelTime&)>;
  GpuKernels(gpu::Device& device, const gpu::DeviceMemory& pool, const GpuMeasure& measure, Report report);

  void products();   // every type and number of columns; every matrix in some types
  void attention();  // every cache type, three contexts
  void rows();       // what else a layer launches

 private:
  struct Matrix;
  // One launch: `i` says which copy of what it reads, of bytes_each.
  using Launch = std::function<void(std::int64_t i)>;
  void time(KernelTime result, std::uint64_t bytes_each, const Launch& launch);
  void product(const Matrix& matrix, quant::DType dtype, std::int32_t n_rows);
  void decode(gpu::CacheType type, std::int32_t n_positions);
  template <gpu::KernelId kernel>
  void one(const std::string& shape, const gpu::Grid& grid, const gpu::KernelArgs<kernel>& args, std::uint64_t bytes,
           std::uint64_t operations);
  // Memory of zeros until the next case.
  template <class T>
  T* room(std::size_t n);

  gpu::Device& device_;
  const gpu::DeviceMemory& pool_;
  GpuMeasure measure_;
  Report report_;
  std::int32_t multiprocessors_;
  gpu::Stream stream_;
  std::vector<gpu::DeviceMemory> memory_;  // of the case at hand
};

}  // namespace dodeca::bench
