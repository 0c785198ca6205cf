// Latent attention of one layer on a device (exec/mla_attention.hpp has the words): in absorbed form, for kRowsAtOnce rows
// at a time because queries in the latent space are large, or for prompts, where there is room for it, in decompressed form
// with keys and values of some heads at a time.
#pragma once

#include <span>
#include <vector>

#include "gpu/kernels/halves.hpp"
#include "gpu/kernels/mla_decode.hpp"
#include "runtime/device/device_cache.hpp"
#include "runtime/device/device_ops.hpp"
#include "runtime/exec/rows.hpp"

namespace dodeca::runtime::device {

// Rows of a pass that stand behind one another: a prompt of one sequence whose context is decompressed, or any others, which
// attend in absorbed form.
struct RowRun {
  RowRange rows;
  bool decompressed = false;
  std::int32_t sequence = 0;     // of a prompt
  std::int64_t n_positions = 0;  // that its last row sees
};
// More prompt rows of a sequence than `short_prompt` are a run of their own.
std::vector<RowRun> row_runs(std::span<const exec::Row> rows, std::int64_t short_prompt);

class DeviceAttention {
 public:
  DeviceAttention(const ModelConfig& config, const BlockPlan& plan, const DeviceWeights& weights,
                  const DeviceCache& cache, gpu::MlaArithmetic arithmetic);

  // Reads kResidual (+= addition, null: none), leaves what is to be added in kOutput. runs: of all rows, or none, which
  // attends in absorbed form.
  void launch(const DeviceOps& ops, std::int64_t n, const DeviceRows* addition, std::int64_t table_stride,
              std::span<const RowRun> runs) const;

 private:
  void project_queries(const DeviceOps& ops, RowRange rows) const;
  void append(const DeviceOps& ops, RowRange rows, const gpu::CacheBlocks& cache) const;
  void absorb(const DeviceOps& ops, RowRange rows) const;
  void attend(const DeviceOps& ops, RowRange rows, const gpu::CacheBlocks& cache) const;
  gpu::HalfType half_type() const {
    return shape_.type == gpu::CacheType::kF16 ? gpu::HalfType::kF16 : gpu::HalfType::kBf16;
  }
  void carry_out(const DeviceOps& ops, RowRange rows) const;
  void project_heads(const DeviceOps& ops, RowRange rows) const;
  void pack_queries(const DeviceOps& ops, RowRange rows) const;
  void attend_prompt(const DeviceOps& ops, const RowRun& run, const gpu::CacheBlocks& cache) const;
  void widen(const DeviceOps& ops, RowRange rows) const;

  const ModelConfig& config_;
  gpu::CacheShape shape_;
  gpu::MlaArithmetic arithmetic_;
  std::byte* rows_;
  const float *norm_, *q_a_norm_, *q_a_bias_, *kv_a_norm_, *kv_a_bias_, *output_bias_;
  const std::uint16_t* decompression_;
  DeviceMatrix q_, q_a_, q_b_, kv_a_, k_b_, v_b_, output_;
};

}  // namespace dodeca::runtime::device
