// The work space of a device, in one piece of its memory.
#pragma once

#include "gpu/device.hpp"
#include "runtime/device/device_demand.hpp"

namespace dodeca::runtime::device {

// Rows as kernels see them; strides are multiples of 64 bytes. Null: not wanted.
struct DeviceRows {
  float* rows = nullptr;
  std::byte *q8_256 = nullptr, *q8_32 = nullptr;
  float* factors = nullptr;                                      // of the rows, where a norm left some
  std::int64_t stride = 0, q8_256_stride = 0, q8_32_stride = 0;  // in floats; in bytes

  DeviceRows from(std::int64_t row) const {
    DeviceRows part = *this;
    part.rows += row * stride;
    if (q8_256 != nullptr) part.q8_256 += row * q8_256_stride;
    if (q8_32 != nullptr) part.q8_32 += row * q8_32_stride;
    part.factors += row;
    return part;
  }
  // What a weight reads, and the bytes from one row to the next.
  const std::byte* acts(quant::ActFormat format) const {
    return format == quant::ActFormat::kF32      ? reinterpret_cast<const std::byte*>(rows)
           : format == quant::ActFormat::kQ8_256 ? q8_256
                                                 : q8_32;
  }
  std::int64_t act_stride(quant::ActFormat format) const {
    return format == quant::ActFormat::kF32      ? stride * std::int64_t{sizeof(float)}
           : format == quant::ActFormat::kQ8_256 ? q8_256_stride
                                                 : q8_32_stride;
  }
};

// Where the parts of rows lie behind one another, in bytes.
struct RowsLayout {
  explicit RowsLayout(const DeviceDemand::Rows& rows);
  std::uint64_t stride = 0, q8_256_stride = 0, q8_32_stride = 0;  // 0: not wanted
  std::uint64_t q8_256 = 0, q8_32 = 0, factors = 0, bytes = 0;
};

class DeviceSpace {
 public:
  DeviceSpace(gpu::Device& device, const gpu::Stream& stream, const DeviceDemand& demand);

  const DeviceRows& rows(exec::RowBuffer buffer) const { return rows_[static_cast<std::size_t>(buffer)]; }
  template <class T>
  T* array(DeviceArray which) const {
    return reinterpret_cast<T*>(memory_.data() + arrays_[static_cast<std::size_t>(which)]);
  }
  std::uint64_t array_bytes(DeviceArray which) const { return demand_.of(which); }

 private:
  DeviceDemand demand_;
  gpu::DeviceMemory memory_;
  std::array<DeviceRows, static_cast<std::size_t>(exec::RowBuffer::kCount)> rows_ = {};
  std::array<std::uint64_t, static_cast<std::size_t>(DeviceArray::kCount)> arrays_ = {};
};

}  // namespace dodeca::runtime::device
