// Names of all kernels and the types of their arguments, from kernels.inc. KernelId::add_rows is the kernel add_rows.
#pragma once

#include <iterator>
#include <string_view>

namespace dodeca::gpu {

#define KERNEL(name, args) struct args;
#include "gpu/kernels/kernels.inc"
#undef KERNEL

enum class KernelId : int {
#define KERNEL(name, args) name,  // NOLINT(readability-identifier-naming): as the kernel is called
#include "gpu/kernels/kernels.inc"
#undef KERNEL
};

inline constexpr std::string_view kKernelNames[] = {
#define KERNEL(name, args) #name,
#include "gpu/kernels/kernels.inc"
#undef KERNEL
};
inline constexpr int kKernels = static_cast<int>(std::size(kKernelNames));
inline constexpr std::string_view name_of(KernelId kernel) { return kKernelNames[static_cast<int>(kernel)]; }

template <KernelId kernel>
struct KernelArgsOf;
#define KERNEL(name, args)              \
  template <>                           \
  struct KernelArgsOf<KernelId::name> { \
    using Type = args;                  \
  };
#include "gpu/kernels/kernels.inc"
#undef KERNEL
template <KernelId kernel>
using KernelArgs = typename KernelArgsOf<kernel>::Type;

}  // namespace dodeca::gpu
