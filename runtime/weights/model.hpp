// A loaded model: configuration and placed, packed weights. Read-only after load.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "cpu/isa.hpp"
#include "cpu/kernels/matmul/tuning.hpp"
#include "cpu/team.hpp"
#include "runtime/base/log.hpp"
#include "runtime/model/config.hpp"
#include "runtime/model/weight_source.hpp"

namespace dodeca::runtime {

struct LoadOptions {
  cpu::Isa isa = cpu::host_isa();
  bool compute_f32 = false;       // the float32 reference route: weights decoded, activations never quantized
  bool check_memory = true;       // refuse when weights + extra_bytes exceed what is free
  std::uint64_t extra_bytes = 0;  // cache and work space that will be asked for, for the check and its message
  int n_parts = 1;                // feed-forward blocks cut into this many parts (plan/partition.hpp)
  bool onednn = false;            // BF16 and F32 weights times prompt rows by oneDNN (plan/plan.hpp)
  cpu::MatmulTuning tuning;       // which kernels are the fastest here
  Progress progress;              // bytes read of all
};

struct Weights;  // weights/weights.hpp: the packed tensors, for exec

class Model {
 public:
  // Reads, repacks and places every weight. Throws Error{kDoesNotFit} before reading when memory is short; Stopped when
  // progress returned false.
  static std::unique_ptr<Model> load(const WeightSource& source, cpu::Team& team, const LoadOptions& options,
                                     const Log& log);
  ~Model();

  const ModelConfig& config() const;
  const Weights& weights() const { return *weights_; }
  cpu::Isa isa() const;
  std::uint64_t weight_bytes() const;  // in memory
  std::uint64_t contents() const;      // a checksum of every weight as it was read (model/contents.hpp)

 private:
  Model();
  std::unique_ptr<Weights> weights_;
};

}  // namespace dodeca::runtime
