// The rows of the KV cache on a device: those of all its layers in one piece of memory, in blocks as the table of
// exec::KvCache gives them (gpu/kernels/cache_rows.hpp).
#pragma once

#include "gpu/device.hpp"
#include "gpu/kernels/cache_rows.hpp"
#include "runtime/exec/kv_cache.hpp"

namespace dodeca::runtime::device {

gpu::CacheShape cache_shape(const ModelConfig& config, quant::DType type);  // F16, BF16, I8 or F32

// A row of finite floats as gpu/kernels/cache_rows.hpp defines it.
void encode_cache_row(const float* values, const gpu::CacheShape& shape, std::byte* row) noexcept;

class DeviceCache {
 public:
  // layers: those on the device. The stream is where rows are written and read.
  DeviceCache(gpu::Device& device, const gpu::Stream& stream, const gpu::CacheShape& shape,
              std::vector<std::int64_t> layers, std::int64_t n_blocks);

  const gpu::CacheShape& shape() const { return shape_; }
  std::byte* layer(std::int64_t layer) const;
  // What exec::KvCache sees of a layer; this must outlive it.
  std::unique_ptr<exec::CacheLayer> view(std::int64_t layer);

 private:
  class Layer;
  gpu::Device& device_;
  const gpu::Stream& stream_;
  gpu::CacheShape shape_;
  std::vector<std::int64_t> layers_;
  std::uint64_t layer_bytes_;
  gpu::DeviceMemory memory_;
};

}  // namespace dodeca::runtime::device
