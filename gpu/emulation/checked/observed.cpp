// The functions that g++ calls for every access in files compiled with -fsanitize=thread.
#include "gpu/emulation/checked/observed.hpp"

namespace dodeca::gpu::emulation {

thread_local constinit AccessChecker* observed = nullptr;

namespace {

void see(const void* address, std::size_t bytes, Access access) {
  if (observed != nullptr) observed->access(address, bytes, access, current_block->thread().index.x);
}

}  // namespace

}  // namespace dodeca::gpu::emulation

using dodeca::gpu::emulation::Access, dodeca::gpu::emulation::see;

// NOLINTBEGIN(readability-identifier-naming): the compiler's names
extern "C" {
#define ACCESSES(name, bytes)                                                              \
  void __tsan_read##name(void* address) { see(address, bytes, Access::kRead); }            \
  void __tsan_write##name(void* address) { see(address, bytes, Access::kWrite); }          \
  void __tsan_volatile_read##name(void* address) { see(address, bytes, Access::kRead); }   \
  void __tsan_volatile_write##name(void* address) { see(address, bytes, Access::kWrite); } \
  void __tsan_unaligned_read##name(void* address) { see(address, bytes, Access::kRead); }  \
  void __tsan_unaligned_write##name(void* address) { see(address, bytes, Access::kWrite); }
ACCESSES(1, 1)
ACCESSES(2, 2)
ACCESSES(4, 4)
ACCESSES(8, 8)
ACCESSES(16, 16)
#undef ACCESSES
void __tsan_read_range(void* address, std::size_t bytes) { see(address, bytes, Access::kRead); }
void __tsan_write_range(void* address, std::size_t bytes) { see(address, bytes, Access::kWrite); }
void __tsan_vptr_update(void*, void*) {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}
}
// NOLINTEND(readability-identifier-naming)
