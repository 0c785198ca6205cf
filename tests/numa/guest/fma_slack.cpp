// Preloaded into programs of the laboratory's machines. QEMU 7.2 (Debian 12) reads 16 bytes where a scalar fused
// multiply-add has an operand of 4 or 8 bytes in memory; at the end of a mapping that is a fault which no processor has.
// Hence what is unmapped directly behind other memory keeps one page, which can be read and costs nothing.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>

extern "C" int munmap(void* address, std::size_t bytes) noexcept {
  constexpr std::size_t kPage = 4096;
  const long result = syscall(SYS_munmap, address, bytes);
  unsigned char present = 0;
  const bool is_behind_memory = syscall(SYS_mincore, static_cast<char*>(address) - kPage, kPage, &present) == 0;
  if (result == 0 && is_behind_memory)
    syscall(SYS_mmap, address, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  return static_cast<int>(result);
}
