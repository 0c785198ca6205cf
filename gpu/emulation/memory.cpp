#include "gpu/emulation/memory.hpp"

#include <algorithm>
#include <cstring>
#include <new>

#include "gpu/emulation/block.hpp"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define FORBID(address, bytes) __asan_poison_memory_region(address, bytes)
#define ALLOW(address, bytes) __asan_unpoison_memory_region(address, bytes)
#else
#define FORBID(address, bytes) static_cast<void>(0)
#define ALLOW(address, bytes) static_cast<void>(0)
#endif

namespace dodeca::gpu::emulation {

namespace {

constexpr std::align_val_t kAlign{kDeviceAlign};
constexpr std::size_t kRedBytes = kDeviceAlign;
constexpr int kPoison = 0xff, kRed = 0xa5;

std::byte* pointer(std::uintptr_t address) { return reinterpret_cast<std::byte*>(address); }
// From the end of what was asked for.
std::size_t red_bytes_behind(std::size_t bytes) {
  return kRedBytes + (kDeviceAlign - bytes % kDeviceAlign) % kDeviceAlign;
}

}  // namespace

Memory::~Memory() {
  for (const auto& [begin, bytes] : allocations_) {
    ALLOW(pointer(begin) - kRedBytes, kRedBytes + bytes + red_bytes_behind(bytes));
    operator delete(pointer(begin) - kRedBytes, kAlign);
  }
}

std::byte* Memory::allocate(std::size_t bytes) {
  auto* const begin =
      static_cast<std::byte*>(operator new(kRedBytes + bytes + red_bytes_behind(bytes), kAlign)) + kRedBytes;
  std::memset(begin - kRedBytes, kRed, kRedBytes);
  std::memset(begin, kPoison, bytes);
  std::memset(begin + bytes, kRed, red_bytes_behind(bytes));
  FORBID(begin - kRedBytes, kRedBytes);
  FORBID(begin + bytes, red_bytes_behind(bytes));
  allocations_.emplace(reinterpret_cast<std::uintptr_t>(begin), bytes);
  return begin;
}

void Memory::free(std::byte* begin) {
  const auto found = allocations_.find(reinterpret_cast<std::uintptr_t>(begin));
  const std::size_t bytes = found->second;
  ALLOW(begin - kRedBytes, kRedBytes);
  ALLOW(begin + bytes, red_bytes_behind(bytes));
  allocations_.erase(found);
  struct Deleter {
    std::byte* begin;
    ~Deleter() { operator delete(begin - kRedBytes, kAlign); }
  } const deleter{begin};
  check_red_zone(reinterpret_cast<std::uintptr_t>(begin), bytes);
}

void Memory::check_red_zone(std::uintptr_t begin, std::size_t bytes) const {
  const auto red = [](std::byte byte) { return byte == std::byte{kRed}; };
  const std::byte* const end = pointer(begin) + bytes;
  if (std::all_of(pointer(begin) - kRedBytes, pointer(begin), red) &&
      std::all_of(end, end + red_bytes_behind(bytes), red))
    return;
  const std::byte* const place = std::find_if_not(end, end + red_bytes_behind(bytes), red);
  const bool behind = place != end + red_bytes_behind(bytes);
  throw Finding("something wrote " + (behind ? std::to_string(place - end) + " bytes behind" : std::string("before")) +
                " an allocation of " + std::to_string(bytes) + " bytes on the device");
}

void Memory::check_red_zones() const {
#if !defined(__SANITIZE_ADDRESS__)
  for (const auto& [begin, bytes] : allocations_) check_red_zone(begin, bytes);
#endif
}

std::size_t Memory::around(std::uintptr_t address, std::uintptr_t& begin) const {
  auto after = allocations_.upper_bound(address);
  if (after == allocations_.begin()) return 0;
  --after;
  begin = after->first;
  return address - begin < after->second ? after->second : 0;
}

void Memory::check_range(const void* begin, std::size_t bytes, const std::string& what) const {
  if (bytes == 0) return;
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  std::uintptr_t found = 0;
  const std::size_t have = around(address, found);
  if (have == 0) throw Finding(what + ": " + describe(address));
  if (address - found + bytes > have)
    throw Finding(what + ": " + std::to_string(bytes) + " bytes from byte " + std::to_string(address - found) +
                  " of an allocation of " + std::to_string(have) + " bytes on the device");
}

void Memory::check_host(const void* address, const std::string& what) const {
  std::uintptr_t begin = 0;
  if (around(reinterpret_cast<std::uintptr_t>(address), begin) != 0)
    throw Finding(what + ": memory of the device stands for memory of the host");
}

bool Memory::is_host(std::uintptr_t address, std::size_t bytes) const {
  auto after = host_.upper_bound(address);
  if (after == host_.begin()) return false;
  --after;
  return address - after->first + bytes <= after->second;
}

std::string Memory::describe(std::uintptr_t address) const {
  auto after = allocations_.upper_bound(address);
  if (after != allocations_.end() && after->first - address <= kRedBytes)
    return std::to_string(after->first - address) + " bytes before an allocation of " + std::to_string(after->second) +
           " bytes";
  if (after != allocations_.begin()) {
    --after;
    const std::uintptr_t end = after->first + after->second;
    if (address >= end && address - end < (64u << 10))
      return std::to_string(address - end) + " bytes behind an allocation of " + std::to_string(after->second) +
             " bytes";
  }
  return "an address outside all memory of the device";
}

}  // namespace dodeca::gpu::emulation
