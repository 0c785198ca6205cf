#include "runtime/device/device_cache.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "cpu/kernels/attention/attention.hpp"
#include "quant/codec.hpp"
#include "quant/float_types.hpp"

namespace dodeca::runtime::device {

static_assert(gpu::kCacheBlock == cpu::kContextBlock);

namespace {

struct CacheTypeName {
  gpu::CacheType type;
  quant::DType dtype;
};
constexpr CacheTypeName kTypes[] = {{gpu::CacheType::kF16, quant::DType::kF16},
                                    {gpu::CacheType::kBf16, quant::DType::kBF16},
                                    {gpu::CacheType::kInt8, quant::DType::kI8},
                                    {gpu::CacheType::kF32, quant::DType::kF32}};

quant::DType dtype_of(gpu::CacheType type) { return std::ranges::find(kTypes, type, &CacheTypeName::type)->dtype; }

}  // namespace

gpu::CacheShape cache_shape(const ModelConfig& config, quant::DType type) {
  return {.latent = static_cast<std::int32_t>(config.kv_lora_rank),
          .rope = static_cast<std::int32_t>(config.qk_rope_head_dim),
          .type = std::ranges::find(kTypes, type, &CacheTypeName::dtype)->type};
}

void encode_cache_row(const float* values, const gpu::CacheShape& shape, std::byte* row) noexcept {
  const std::int32_t width = shape.latent + shape.rope;
  if (shape.type != gpu::CacheType::kInt8) return quant::encode_row_once(dtype_of(shape.type), values, row, width);
  float largest = 0.0f;
  for (std::int32_t i = 0; i < shape.latent; ++i) largest = std::max(largest, std::abs(values[i]));
  const bool small = largest < 0x1p-100f;
  const float scale = small ? 1.0f : largest / 127.0f, factor = small ? 0.0f : 127.0f / largest;
  std::memset(row, 0, static_cast<std::size_t>(gpu::cache_row_bytes(shape)));
  for (std::int32_t i = 0; i < shape.latent; ++i)
    row[i] = static_cast<std::byte>(static_cast<std::int8_t>(std::nearbyint(values[i] * factor)));
  for (std::int32_t i = shape.latent; i < width; ++i) {
    const std::uint16_t bits = quant::f32_to_bf16(values[i] / scale);
    std::memcpy(row + gpu::cache_rope_offset(shape) + 2 * (i - shape.latent), &bits, sizeof bits);
  }
  std::memcpy(row + gpu::cache_scale_offset(shape), &scale, sizeof scale);
}

class DeviceCache::Layer final : public exec::CacheLayer {
 public:
  Layer(DeviceCache& cache, std::byte* rows)
      : CacheLayer({.dtype = dtype_of(cache.shape_.type),
                    .width = cache.shape_.latent + cache.shape_.rope,
                    .row_bytes = static_cast<std::size_t>(gpu::cache_row_bytes(cache.shape_)),
                    .integer = std::nullopt}),
        cache_(cache),
        rows_(rows) {}

  void copy_rows(std::int32_t from, std::int32_t to, std::int64_t n_rows) override {
    cache_.device_.copy_on_device(cache_.stream_, block(to), block(from), bytes(n_rows));
  }
  void read_bytes(std::int32_t from, std::int64_t n_rows, std::byte* out) const override {
    cache_.device_.copy_to_host(cache_.stream_, out, block(from), bytes(n_rows));
    cache_.device_.synchronize(cache_.stream_);
  }
  void write_bytes(std::int32_t to, std::int64_t n_rows, const std::byte* rows) override {
    cache_.device_.copy_to_device(cache_.stream_, block(to), rows, bytes(n_rows));
    cache_.device_.synchronize(cache_.stream_);
  }

  void encode_row(const float* values, std::byte* row) const noexcept override {
    encode_cache_row(values, cache_.shape_, row);
  }

 private:
  std::size_t bytes(std::int64_t n_rows) const { return static_cast<std::size_t>(n_rows) * format().row_bytes; }
  std::byte* block(std::int32_t index) const {
    return rows_ + static_cast<std::size_t>(index) * bytes(gpu::kCacheBlock);
  }

  DeviceCache& cache_;
  std::byte* rows_;
};

DeviceCache::DeviceCache(gpu::Device& device, const gpu::Stream& stream, const gpu::CacheShape& shape,
                         std::vector<std::int64_t> layers, std::int64_t n_blocks)
    : device_(device),
      stream_(stream),
      shape_(shape),
      layers_(std::move(layers)),
      layer_bytes_(static_cast<std::uint64_t>(n_blocks * gpu::kCacheBlock) *
                   static_cast<std::uint64_t>(gpu::cache_row_bytes(shape))),
      memory_(layers_.empty() ? gpu::DeviceMemory() : device.allocate(layers_.size() * layer_bytes_)) {}

std::byte* DeviceCache::layer(std::int64_t layer) const {
  const auto index = std::ranges::find(layers_, layer) - layers_.begin();
  return memory_.data() + static_cast<std::uint64_t>(index) * layer_bytes_;
}

std::unique_ptr<exec::CacheLayer> DeviceCache::view(std::int64_t layer) {
  return std::make_unique<Layer>(*this, this->layer(layer));
}

}  // namespace dodeca::runtime::device
