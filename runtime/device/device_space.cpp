#include "runtime/device/device_space.hpp"

namespace dodeca::runtime::device {
namespace {

using quant::ActFormat;

std::uint64_t stride_of(const DeviceDemand::Rows& rows, ActFormat format) {
  return cpu::act_row_bytes(format, rows.width);  // a multiple of 64
}

}  // namespace

RowsLayout::RowsLayout(const DeviceDemand::Rows& rows) {
  if (rows.n_rows == 0 || rows.width == 0) return;
  const auto n = static_cast<std::uint64_t>(rows.n_rows);
  stride = stride_of(rows, ActFormat::kF32);
  q8_256_stride = rows.formats.has(ActFormat::kQ8_256) ? stride_of(rows, ActFormat::kQ8_256) : 0;
  q8_32_stride = rows.formats.has(ActFormat::kQ8_32) ? stride_of(rows, ActFormat::kQ8_32) : 0;
  q8_256 = aligned(n * stride);
  q8_32 = q8_256 + aligned(n * q8_256_stride);
  factors = q8_32 + aligned(n * q8_32_stride);
  bytes = factors + aligned(n * sizeof(float));
}

DeviceSpace::DeviceSpace(gpu::Device& device, const gpu::Stream& stream, const DeviceDemand& demand)
    : demand_(demand), memory_(device.allocate(demand.bytes())) {
  std::uint64_t at = 0;
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    const DeviceDemand::Rows& wanted = demand.of(static_cast<exec::RowBuffer>(i));
    const RowsLayout layout(wanted);
    if (layout.bytes == 0) continue;
    std::byte* begin = memory_.data() + at;
    rows_[i] = {.rows = reinterpret_cast<float*>(begin),
                .q8_256 = layout.q8_256_stride == 0 ? nullptr : begin + layout.q8_256,
                .q8_32 = layout.q8_32_stride == 0 ? nullptr : begin + layout.q8_32,
                .factors = reinterpret_cast<float*>(begin + layout.factors),
                .stride = static_cast<std::int64_t>(layout.stride / sizeof(float)),
                .q8_256_stride = static_cast<std::int64_t>(layout.q8_256_stride),
                .q8_32_stride = static_cast<std::int64_t>(layout.q8_32_stride)};
    at += layout.bytes;
  }
  for (std::size_t i = 0; i < arrays_.size(); ++i) {
    arrays_[i] = at;
    at += aligned(demand.of(static_cast<DeviceArray>(i)));
  }
  // Counters begin at zero, and blocks of 32 columns behind a row's end are read as they are.
  if (memory_.bytes() > 0) device.fill(stream, memory_.data(), 0, memory_.bytes());
}

}  // namespace dodeca::runtime::device
