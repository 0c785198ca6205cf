#include "runtime/exec/activations.hpp"

#include <algorithm>
#include <cstring>

namespace dodeca::runtime::exec {
namespace {

struct Copy {
  cpu::ActFormat format;
  std::int64_t block;
};
constexpr std::array<Copy, 2> kCopies = {{{cpu::ActFormat::kQ8_256, 256}, {cpu::ActFormat::kQ8_32, 32}}};

std::size_t stride_of(cpu::ActFormat format, std::int64_t n, ActFormats formats) {
  return format == cpu::ActFormat::kF32 || formats.has(format) ? cpu::act_row_bytes(format, n) : 0;
}

}  // namespace

Activations::Activations(std::int64_t n_rows, std::int64_t n, ActFormats formats, std::int64_t n_parts)
    : n_(n),
      n_rows_(n_rows),
      n_parts_(n_parts),
      rows_per_part_(n_rows / n_parts),
      stride_(stride_of(cpu::ActFormat::kF32, n, formats)) {
  floats_ = cpu::Buffer(static_cast<std::size_t>(n_rows) * stride_);
  factors_.assign(static_cast<std::size_t>(n_rows), 1.0f);
  for (const Copy& copy : kCopies) {
    strides_[index(copy.format)] = stride_of(copy.format, n, formats);
    copies_[index(copy.format)] = cpu::Buffer(static_cast<std::size_t>(n_rows) * strides_[index(copy.format)]);
  }
}

std::uint64_t Activations::bytes_needed(std::int64_t n_rows, std::int64_t n, ActFormats formats) {
  std::uint64_t row = stride_of(cpu::ActFormat::kF32, n, formats);
  for (const Copy& copy : kCopies) row += stride_of(copy.format, n, formats);
  return static_cast<std::uint64_t>(n_rows) * (row + sizeof(float));
}

void Activations::quantize(std::int64_t i, std::int64_t n, cpu::Isa isa) noexcept {
  for (const auto& [format, block] : kCopies) {
    const std::size_t stride = strides_[index(format)];
    if (stride > 0)
      cpu::quantize_act(format, row(i), n / block * block,
                        copies_[index(format)].data() + static_cast<std::size_t>(i) * stride, isa);
  }
}

void Activations::quantize_block(std::int64_t i, std::int64_t block, std::int64_t n, cpu::Isa isa) noexcept {
  const std::int64_t begin = block * kBlockColumns, end = std::min(n, begin + kBlockColumns);
  for (const auto& [format, columns] : kCopies) {
    const std::size_t stride = strides_[index(format)];
    const std::int64_t n_whole = (end - begin) / columns * columns;
    if (stride == 0 || n_whole == 0) continue;
    cpu::quantize_act(
        format, row(i) + begin, n_whole,
        copies_[index(format)].data() + static_cast<std::size_t>(i) * stride + cpu::act_row_bytes(format, begin), isa);
  }
}

void Activations::bind_parts(std::span<const int> nodes) {
  if (n_parts_ != std::ssize(nodes)) return;
  const auto bind = [&](cpu::Buffer& rows, std::size_t stride) {
    for (std::size_t p = 0; p < nodes.size() && stride > 0; ++p) {
      const auto part = static_cast<std::int64_t>(p);
      rows.bind_range(static_cast<std::size_t>(first_row(part)) * stride,
                      static_cast<std::size_t>(first_row(part + 1)) * stride, nodes[p]);
    }
  };
  bind(floats_, stride_);
  for (std::size_t k = 0; k < copies_.size(); ++k) bind(copies_[k], strides_[k]);
}

void Activations::copy(const Activations& from, std::int64_t n_rows) {
  std::memcpy(floats_.data(), from.floats_.data(), static_cast<std::size_t>(n_rows) * stride_);
  std::copy_n(from.factors_.begin(), n_rows, factors_.begin());
  for (std::size_t k = 0; k < copies_.size(); ++k) {
    if (strides_[k] > 0)
      std::memcpy(copies_[k].data(), from.copies_[k].data(), static_cast<std::size_t>(n_rows) * strides_[k]);
  }
}

}  // namespace dodeca::runtime::exec
