#include "runtime/device/device_weights.hpp"

#include <algorithm>
#include <vector>

#include "quant/float_types.hpp"
#include "runtime/device/device_demand.hpp"

namespace dodeca::runtime::device {

std::vector<bool> read_on_device(const Plan& plan) {
  std::vector<bool> read(plan.weights.size(), false);
  for (const BlockPlan& block : plan.blocks) {
    for (const std::size_t i : block.weights) {
      if (block.place_of(plan.weights[i].id.role) == Place::kDevice) read[i] = true;
    }
  }
  return read;
}

DeviceMatrix unplaced_matrix(const WeightPlan& weight) {
  const quant::Layout* layout = device_layout(weight);
  const std::int64_t tiles = (weight.n_out + quant::kTileRows - 1) / quant::kTileRows;
  return {.dtype = layout->dtype,
          .layout = layout,
          .n_in = weight.n_in,
          .n_out = weight.n_out,
          .n_slices = weight.n_slices,
          .piece_columns = weight.id.role == WeightRole::kRouter ? weight.piece_columns : 0,
          .slice_bytes = static_cast<std::uint64_t>(tiles) * layout->tile_bytes(weight.n_in)};
}

DeviceWeights::DeviceWeights(gpu::Device& device, const gpu::Stream& stream, const Plan& plan, bool f16)
    : device_(device), stream_(stream), config_(plan.config), f16_(f16) {
  const std::vector<bool> read = read_on_device(plan);
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < read.size(); ++i) bytes += read[i] ? device_weight_bytes(plan.weights[i]) : 0;
  for (const BlockPlan& block : plan.blocks) bytes += block.decompresses ? decompression_bytes(config_) : 0;
  memory_ = device.allocate(bytes);
  std::byte* at = memory_.data();
  for (std::size_t i = 0; i < read.size(); ++i) {
    if (!read[i]) continue;
    const WeightPlan& w = plan.weights[i];
    if (w.layout == nullptr) {
      vectors_[w.id] = reinterpret_cast<float*>(at);
    } else {
      matrices_[w.id] = unplaced_matrix(w);
      matrices_[w.id].data = at;
    }
    at += device_weight_bytes(w);
  }
  for (const BlockPlan& block : plan.blocks) {
    if (!block.decompresses) continue;
    decompression_[block.layer] = reinterpret_cast<std::uint16_t*>(at);
    at += decompression_bytes(config_);
  }
}

void DeviceWeights::take(const WeightPlan& weight, const WeightStore& store) {
  if (const auto vector = vectors_.find(weight.id); vector != vectors_.end()) {
    const std::span<const float> values = store.vector(weight.id);
    device_.copy_to_device(stream_, vector->second, values.data(), values.size_bytes());
  } else if (const auto matrix = matrices_.find(weight.id); matrix != matrices_.end()) {
    const auto halves = decompression_.find(weight.id.layer);
    if (halves != decompression_.end() && (weight.id.role == WeightRole::kKB || weight.id.role == WeightRole::kVB))
      take_decompression(halves->second, weight, store);
    for (const PackedMatrix& from : store.parts(weight.id)) {
      if (from.reference)
        decode(matrix->second, from);
      else
        copy(matrix->second, from);
    }
  } else {
    return;
  }
  device_.synchronize(stream_);
}

void DeviceWeights::copy(const DeviceMatrix& matrix, const PackedMatrix& from) {
  std::byte* to = const_cast<std::byte*>(matrix.data) +
                  static_cast<std::uint64_t>(from.row_begin / quant::kTileRows) * from.tile_bytes;
  device_.copy_to_device(stream_, to, from.data, from.bytes());
}

void DeviceWeights::decode(const DeviceMatrix& matrix, const PackedMatrix& from) {
  std::vector<std::byte> tiles(static_cast<std::size_t>(from.n_tiles) * matrix.layout->tile_bytes(from.n_in));
  for (std::int64_t slice = 0; slice < from.n_slices; ++slice) {
    write_tiles(from, matrix, slice, {0, from.n_tiles}, tiles.data());
    device_.copy_to_device(stream_,
                           const_cast<std::byte*>(matrix.data) + static_cast<std::uint64_t>(slice) * matrix.slice_bytes,
                           tiles.data(), tiles.size());
    device_.synchronize(stream_);
  }
}

// A head at a time: k_b's columns are rows here, v_b's rows stay rows.
void DeviceWeights::take_decompression(std::uint16_t* out, const WeightPlan& weight, const WeightStore& store) {
  const bool keys = weight.id.role == WeightRole::kKB;
  const auto latent = static_cast<std::size_t>(config_.kv_lora_rank),
             nope = static_cast<std::size_t>(config_.qk_nope_head_dim),
             value = static_cast<std::size_t>(config_.v_head_dim), n_rows = keys ? nope : value;
  std::vector<std::uint16_t> rows(n_rows * latent);
  std::vector<float> decoded;
  std::vector<std::byte> scratch;
  for (std::int64_t head = 0; head < weight.n_slices; ++head) {
    for (const PackedMatrix& from : store.parts(weight.id)) {
      decoded.resize(static_cast<std::size_t>(from.n_in));
      scratch.resize(quant::row_bytes(weight.dtype, from.n_in).value_or(decoded.size() * sizeof(float)));
      for (std::int64_t r = 0; r < from.n_out; ++r) {
        from.decode_row(head, r, scratch.data(), decoded.data());
        for (std::size_t k = 0; k < decoded.size(); ++k) {
          const std::size_t row = static_cast<std::size_t>(from.row_begin + r),
                            column = static_cast<std::size_t>(from.column_begin) + k;
          rows[keys ? column * latent + row : row * latent + column] =
              f16_ ? quant::f32_to_f16(decoded[k]) : quant::f32_to_bf16(decoded[k]);
        }
      }
    }
    device_.copy_to_device(stream_,
                           out + (static_cast<std::size_t>(head) * (nope + value) + (keys ? 0 : nope)) * latent,
                           rows.data(), rows.size() * sizeof(std::uint16_t));
    device_.synchronize(stream_);
  }
}

const std::uint16_t* DeviceWeights::decompression(std::int64_t layer) const {
  const auto found = decompression_.find(layer);
  return found == decompression_.end() ? nullptr : found->second;
}

void write_tiles(const PackedMatrix& from, const DeviceMatrix& matrix, std::int64_t slice, const cpu::Range& tiles,
                 std::byte* out) {
  if (!from.reference) {
    std::copy_n(from.slice(slice) + static_cast<std::size_t>(tiles.begin) * from.tile_bytes,
                static_cast<std::size_t>(tiles.end - tiles.begin) * from.tile_bytes, out);
    return;
  }
  // Rows in file form become tiles of float32.
  const auto width = static_cast<std::size_t>(from.n_in);
  std::vector<float> rows(quant::kTileRows * width);
  for (std::int64_t t = tiles.begin; t < tiles.end; ++t) {
    const std::byte* pointers[quant::kTileRows] = {};
    for (std::int64_t r = 0; r < std::min<std::int64_t>(quant::kTileRows, from.n_out - t * quant::kTileRows); ++r) {
      float* row = rows.data() + static_cast<std::size_t>(r) * width;
      from.decode_row(slice, t * quant::kTileRows + r, nullptr, row);
      pointers[r] = reinterpret_cast<const std::byte*>(row);
    }
    matrix.layout->pack(pointers, from.n_in,
                        out + static_cast<std::size_t>(t - tiles.begin) * matrix.layout->tile_bytes(from.n_in));
  }
}

DeviceMatrix DeviceWeights::matrix(WeightId id) const {
  const auto found = matrices_.find(id);
  return found == matrices_.end() ? DeviceMatrix{} : found->second;
}

const float* DeviceWeights::vector(WeightId id) const {
  const auto found = vectors_.find(id);
  return found == vectors_.end() ? nullptr : found->second;
}

}  // namespace dodeca::runtime::device
