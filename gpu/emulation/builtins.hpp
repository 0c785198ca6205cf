// The emulation's side of gpu/kernels/dialect.hpp: what a kernel's source sees where it is compiled for the host.
// Compiled twice: as it is, and with every access observed (DODECA_CHECKED_KERNELS, gpu/emulation/checked).
#pragma once

#include <cstddef>
#include <cstdint>

#include "gpu/emulation/arithmetic.hpp"
#include "gpu/emulation/atomics.hpp"
#include "gpu/emulation/block.hpp"
#include "gpu/emulation/vectors.hpp"
#include "gpu/emulation/warp.hpp"

#ifdef DODECA_CHECKED_KERNELS
#define DODECA_KERNELS checked
#define DODECA_KERNELS_OBSERVED true
#else
#define DODECA_KERNELS emulated
#define DODECA_KERNELS_OBSERVED false
#endif

// NOLINTBEGIN(readability-identifier-naming): CUDA's names
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline

#define threadIdx (::dodeca::gpu::emulation::thread_index())
#define blockIdx (::dodeca::gpu::emulation::block_index())
#define blockDim (::dodeca::gpu::emulation::block_dim())
#define gridDim (::dodeca::gpu::emulation::grid_dim())

#define DODECA_KERNEL(name, Args, ...)                                                             \
  static void name##_body(const Args& args);                                                       \
  extern const ::dodeca::gpu::emulation::Kernel name##_kernel;                                     \
  const ::dodeca::gpu::emulation::Kernel name##_kernel{                                            \
      #name, [](const void* args) { name##_body(*static_cast<const Args*>(args)); }, sizeof(Args), \
      ::dodeca::gpu::emulation::threads_of(__VA_ARGS__), DODECA_KERNELS_OBSERVED};                 \
  static void name##_body([[maybe_unused]] const Args& args)

#define DODECA_SHARED(type, name, extents)                                        \
  using name##_array = type extents;                                              \
  static thread_local constinit ::dodeca::gpu::emulation::SharedSlot name##_slot; \
  auto& name = *reinterpret_cast<name##_array*>(                                  \
      ::dodeca::gpu::emulation::shared_at(name##_slot, sizeof(name##_array), alignof(name##_array)))

namespace dodeca::gpu::emulation {

inline constexpr int warpSize = 32;
// Of a kernel's declaration: how many blocks shall fit a multiprocessor is a card's affair.
constexpr std::uint32_t threads_of(std::uint32_t threads, std::uint32_t = 1) { return threads; }

[[gnu::no_sanitize_thread]] inline Index3 thread_index() { return current_block->thread().index; }
[[gnu::no_sanitize_thread]] inline Index3 block_index() { return current_block->block_index; }
[[gnu::no_sanitize_thread]] inline Index3 block_dim() { return current_block->block_dim; }
[[gnu::no_sanitize_thread]] inline Index3 grid_dim() { return current_block->grid_dim; }
[[gnu::no_sanitize_thread]] inline std::byte* shared_at(SharedSlot& slot, std::size_t bytes, std::size_t align) {
  return current_block->shared(slot, bytes, align);
}
template <class T>
[[gnu::no_sanitize_thread]] inline T* dynamic_shared() {
  return reinterpret_cast<T*>(current_block->dynamic_shared());
}

[[gnu::no_sanitize_thread]] inline int all_meet(int vote, const Site& site) {
  return current_block->barrier(site, vote);
}
inline void __syncthreads(Site site = Site::current()) { all_meet(0, site); }
inline int __syncthreads_count(int vote, Site site = Site::current()) { return all_meet(vote != 0 ? 1 : 0, site); }
inline int __syncthreads_or(int vote, Site site = Site::current()) { return __syncthreads_count(vote, site) != 0; }
inline int __syncthreads_and(int vote, Site site = Site::current()) {
  return __syncthreads_count(vote == 0 ? 1 : 0, site) == 0;
}

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
template <class T>
T __ldg(const T* from) {
  return *from;
}
template <class T>
T load_once(const T* from) {
  return *from;
}
template <class T>
T __ldcs(const T* from) {
  return *from;
}
template <class T>
void __stcs(T* to, T value) {
  *to = value;
}

}  // namespace dodeca::gpu::emulation
// NOLINTEND(readability-identifier-naming)

namespace dodeca::gpu::DODECA_KERNELS {
using namespace dodeca::gpu::emulation;
}
