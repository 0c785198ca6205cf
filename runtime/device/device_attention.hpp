// Latent attention of one layer on a device, in absorbed form for every row (exec/mla_attention.hpp has the words), for
// kRowsAtOnce rows at a time: queries in the latent space are large.
#pragma once

#include "gpu/kernels/mla_decode.hpp"
#include "runtime/device/device_cache.hpp"
#include "runtime/device/device_ops.hpp"

namespace dodeca::runtime::device {

class DeviceAttention {
 public:
  DeviceAttention(const ModelConfig& config, const BlockPlan& plan, const DeviceWeights& weights,
                  const DeviceCache& cache, gpu::MlaArithmetic arithmetic);

  // Reads kResidual (+= addition, null: none), leaves what is to be added in kOutput.
  void launch(const DeviceOps& ops, std::int64_t n, const DeviceRows* addition, std::int64_t table_stride) const;

 private:
  void project_queries(const DeviceOps& ops, RowRange rows) const;
  void append(const DeviceOps& ops, RowRange rows, const gpu::CacheBlocks& cache) const;
  void absorb(const DeviceOps& ops, RowRange rows) const;
  void attend(const DeviceOps& ops, RowRange rows, const gpu::CacheBlocks& cache) const;
  void carry_out(const DeviceOps& ops, RowRange rows) const;

  const ModelConfig& config_;
  gpu::CacheShape shape_;
  gpu::MlaArithmetic arithmetic_;
  std::byte* rows_;
  const float *norm_, *q_a_norm_, *q_a_bias_, *kv_a_norm_, *kv_a_bias_, *output_bias_;
  DeviceMatrix q_, q_a_, q_b_, kv_a_, k_b_, v_b_, output_;
};

}  // namespace dodeca::runtime::device
