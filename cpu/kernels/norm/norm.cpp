#include "cpu/kernels/norm/norm.hpp"

namespace dodeca::cpu {
namespace {

#define KERNEL(isa, function) KernelLine<RmsNormFn>{#function "_" #isa, isa_tag::isa, isa::function},
constexpr std::array kLines{
#include "cpu/kernels/norm/norm.inc"
};
#undef KERNEL
constexpr KernelTable<RmsNormFn> kTable = best_lines(kLines);

}  // namespace

void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* out, Isa isa) noexcept {
  kTable[static_cast<std::size_t>(isa)](x, weight, n, eps, out);
}

std::span<const KernelLine<RmsNormFn>> rms_norm_kernels() { return kLines; }

}  // namespace dodeca::cpu
