// The weights of a device's blocks, in one piece of its memory each kind: tiles as processors have them, vectors as
// floats.
#pragma once

#include <map>

#include "cpu/team.hpp"
#include "gpu/device.hpp"
#include "runtime/plan/plan.hpp"
#include "runtime/weights/weight_store.hpp"

namespace dodeca::runtime::device {

struct DeviceMatrix {
  quant::DType dtype = quant::DType::kF32;  // of the tiles
  const quant::Layout* layout = nullptr;
  std::int64_t n_in = 0, n_out = 0, n_slices = 0;
  std::int64_t piece_columns = 0;  // the router's: as the processors add them, for the same bits; 0: as is fastest
  std::uint64_t slice_bytes = 0;
  const std::byte* data = nullptr;  // on the device

  explicit operator bool() const { return data != nullptr; }
};

class DeviceWeights {
 public:
  // Room for the weights of the plan's blocks on the device.
  // f16: of what prompts decompress with; else BF16.
  DeviceWeights(gpu::Device& device, const gpu::Stream& stream, const Plan& plan, bool f16);

  // Takes a weight if a block on the device reads it. Returns when it is there.
  void take(const WeightPlan& weight, const WeightStore& store);

  // Empty where the model has none.
  DeviceMatrix matrix(WeightId id) const;
  const float* vector(WeightId id) const;  // null: none
  // Of a layer whose prompts decompress: [heads, nope + value, latent] of 16-bit floats, keys' rows before values'; null:
  // they do not.
  const std::uint16_t* decompression(std::int64_t layer) const;

 private:
  void copy(const DeviceMatrix& matrix, const PackedMatrix& from);
  void decode(const DeviceMatrix& matrix, const PackedMatrix& from);
  void take_decompression(std::uint16_t* out, const WeightPlan& weight, const WeightStore& store);

  gpu::Device& device_;
  const gpu::Stream& stream_;
  gpu::DeviceMemory memory_;
  std::map<WeightId, DeviceMatrix> matrices_;
  std::map<WeightId, float*> vectors_;
  const ModelConfig config_;
  bool f16_;                                              // or BF16
  std::map<std::int64_t, std::uint16_t*> decompression_;  // [layer]
};

// Tiles of a slice of a weight in memory, as they lie on a device.
void write_tiles(const PackedMatrix& from, const DeviceMatrix& matrix, std::int64_t slice, const cpu::Range& tiles,
                 std::byte* out);

// A weight as it will lie, without its place.
DeviceMatrix unplaced_matrix(const WeightPlan& weight);

// Whether a block on the device reads the weight.
std::vector<bool> read_on_device(const Plan& plan);

}  // namespace dodeca::runtime::device
