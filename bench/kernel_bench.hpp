// One matrix-product variant at a time: how fast it goes with weights from cache and with weights from memory. Every
// rate is the sum over the members of a team; each member works on weights and activations of its own.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cpu/kernels/matmul/matmul.hpp"
#include "cpu/kernels/peak/peak.hpp"
#include "cpu/memory.hpp"
#include "cpu/team.hpp"

namespace dodeca::bench {

struct KernelBenchOptions {
  cpu::Isa isa = cpu::Isa::kScalar;
  std::size_t buffer_bytes = 0;  // packed weights, several times the last-level caches
  std::size_t cache_bytes = 0;   // what stays in a member's own cache
  std::int64_t n_in = 2048;      // columns
  double seconds = 0.1;          // for each rate
};

class KernelBench {
 public:
  KernelBench(cpu::Team& team, const KernelBenchOptions& options);

  // Fills the buffer with random packed weights of a type and makes activations for up to max_columns rows.
  void use(quant::DType dtype, std::int64_t max_columns);
  double bytes_per_weight() const { return bytes_per_weight_; }

  // Throws runtime::Error when an exact variant gives other bits than the scalar variant `reference`.
  void check(const cpu::MatmulKernel& kernel, const cpu::MatmulKernel& reference, std::int64_t columns);
  // Medians, as in from_memory().
  struct FromCache {
    double weights_per_s = 0;
    double peak_macs_per_s = 0;  // of the register-only loop `peak`, alternating with the kernel
  };
  FromCache from_cache(const cpu::MatmulKernel& kernel, std::int64_t columns, const cpu::PeakKernel& peak);
  struct FromMemory {
    double weights_per_s = 0;
    double read_bytes_per_s = 0;  // of the plain read loop, alternating with the kernel
  };
  FromMemory from_memory(const cpu::MatmulKernel& kernel, std::int64_t columns);
  // Several variants with weights from cache, each with every number of columns in every round, so that all meet the same
  // disturbances: seconds of thread CPU time per tile as times[variant][index of columns][round]. Other members only keep
  // their cores as busy.
  using Times = std::vector<std::vector<std::vector<double>>>;
  Times race(std::span<const cpu::MatmulKernel* const> variants, std::span<const std::int64_t> columns, double seconds);

 private:
  struct Space {  // of one member
    cpu::Buffer out, scratch;
  };
  // Tiles [begin, begin + count) of the buffer times `columns` rows.
  void multiply(const cpu::MatmulKernel& kernel, std::int64_t columns, std::int64_t begin, std::int64_t count,
                Space& space) const;
  // That stay in a member's cache, `most` at most: whole calls, since a tile that is left over has too few sums to be fast.
  std::int64_t cached_tiles(std::int64_t most) const;

  cpu::Team& team_;
  KernelBenchOptions options_;
  cpu::Buffer weights_, acts_;
  std::vector<Space> spaces_;
  const cpu::Layout* layout_ = nullptr;
  std::size_t tile_bytes_ = 0, act_stride_ = 0;
  std::int64_t n_tiles_ = 0;  // in the buffer
  double bytes_per_weight_ = 0;
};

}  // namespace dodeca::bench
