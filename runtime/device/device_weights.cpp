#include "runtime/device/device_weights.hpp"

#include <algorithm>
#include <vector>

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

DeviceWeights::DeviceWeights(gpu::Device& device, const gpu::Stream& stream, const Plan& plan)
    : device_(device), stream_(stream) {
  const std::vector<bool> read = read_on_device(plan);
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < read.size(); ++i) bytes += read[i] ? device_weight_bytes(plan.weights[i]) : 0;
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
}

void DeviceWeights::take(const WeightPlan& weight, const WeightStore& store) {
  if (const auto vector = vectors_.find(weight.id); vector != vectors_.end()) {
    const std::span<const float> values = store.vector(weight.id);
    device_.copy_to_device(stream_, vector->second, values.data(), values.size_bytes());
  } else if (const auto matrix = matrices_.find(weight.id); matrix != matrices_.end()) {
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
