#include "cpu/kernels/activation/activation.hpp"

namespace dodeca::cpu {
namespace {

#define KERNEL(isa, function) KernelLine<SwigluFn>{#function "_" #isa, isa_tag::isa, isa::function},
constexpr std::array kLines{
#include "cpu/kernels/activation/activation.inc"
};
#undef KERNEL
constexpr KernelTable<SwigluFn> kTable = best_lines(kLines);

}  // namespace

void swiglu(const float* gate, const float* up, std::int64_t n, float* out, Isa isa) noexcept {
  kTable[static_cast<std::size_t>(isa)](gate, up, n, out);
}

std::span<const KernelLine<SwigluFn>> swiglu_kernels() { return kLines; }

}  // namespace dodeca::cpu
