#include "cpu/memory.hpp"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <new>
#include <string>
#include <system_error>
#include <vector>

namespace dodeca::cpu {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::size_t round_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

// A mapping of `bytes` that starts on a huge page: more is reserved, and what sticks out is given back.
std::byte* map_aligned(std::size_t bytes) {
  const std::size_t reserved = bytes + kHugePage;
  void* base = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) throw std::bad_alloc();
  auto* first = static_cast<std::byte*>(base);
  const std::size_t skip =
      round_up(reinterpret_cast<std::uintptr_t>(first), kHugePage) - reinterpret_cast<std::uintptr_t>(first);
  if (skip > 0) munmap(first, skip);
  munmap(first + skip + bytes, reserved - skip - bytes);
  return first + skip;
}

// The system call itself: libnuma would be a library for this one line. Containers whose seccomp profile forbids it
// (EPERM) and kernels without NUMA (ENOSYS) leave the memory unbound.
bool bind_to_node(std::byte* data, std::size_t bytes, int node) {
  constexpr int kBits = std::numeric_limits<unsigned long>::digits;
  std::vector<unsigned long> mask(static_cast<std::size_t>(node / kBits) + 1, 0);
  mask.back() = 1UL << (node % kBits);
  // The kernel reads one bit less than it is told.
  const unsigned long bits = mask.size() * kBits + 1;
  if (syscall(SYS_mbind, data, bytes, MPOL_BIND, mask.data(), bits, MPOL_MF_STRICT) == 0) return true;
  const int error = errno;
  if (error == EPERM || error == ENOSYS) return false;
  throw std::system_error(error, std::generic_category(),
                          "mbind of " + std::to_string(bytes) + " bytes to node " + std::to_string(node));
}

}  // namespace

Buffer::Buffer(std::size_t bytes, int node) {
  if (bytes == 0) return;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  if (bytes > std::numeric_limits<std::size_t>::max() / 2) throw std::bad_alloc();
  const std::size_t mapped = round_up(bytes, page);
  Buffer made;  // unmaps when the node refuses
  made.data_ = map_aligned(mapped);
  made.mapped_ = mapped;
  made.size_ = bytes;
  // Below one huge page the advice would only waste memory; where huge pages are off it changes nothing.
  if (mapped >= kHugePage) madvise(made.data_, mapped, MADV_HUGEPAGE);
  if (node >= 0) made.bound_ = bind_to_node(made.data_, mapped, node);
  *this = std::move(made);
}

Buffer::~Buffer() {
  if (data_ != nullptr) munmap(data_, mapped_);
}

const char* huge_page_mode() {
  std::FILE* file = std::fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
  if (file == nullptr) return "unknown";
  char line[128] = {};
  const std::size_t n = std::fread(line, 1, sizeof line - 1, file);
  std::fclose(file);
  line[n] = '\0';
  for (const char* mode : {"always", "madvise", "never"}) {
    if (std::strstr(line, ("[" + std::string(mode) + "]").c_str()) != nullptr) return mode;
  }
  return "unknown";
}

}  // namespace dodeca::cpu
