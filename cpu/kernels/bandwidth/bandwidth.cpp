#include "cpu/kernels/bandwidth/bandwidth.hpp"

namespace dodeca::cpu {
namespace {

#define KERNEL(isa, function) KernelLine<XorOfFn>{#function "_" #isa, isa_tag::isa, isa::function},
constexpr std::array kLines{
#include "cpu/kernels/bandwidth/bandwidth.inc"
};
#undef KERNEL
constexpr KernelTable<XorOfFn> kTable = best_lines(kLines);

}  // namespace

std::uint64_t xor_of(const std::byte* data, std::size_t bytes, Isa isa) noexcept {
  return kTable[static_cast<std::size_t>(isa)](data, bytes);
}

std::span<const KernelLine<XorOfFn>> xor_of_kernels() { return kLines; }

}  // namespace dodeca::cpu
