// Memory of the emulated device: every allocation stands between two red zones, is poisoned at first (a NaN in every
// kind of float), and can be found by address. AddressSanitizer, where it is on, stops at the first access to a red
// zone; without it, writes there are found afterwards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace dodeca::gpu::emulation {

inline constexpr std::size_t kDeviceAlign = 256;

class Memory {
 public:
  Memory() = default;
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  std::byte* allocate(std::size_t bytes);
  // Throws a Finding when something wrote beyond it.
  void free(std::byte* begin);
  // Throws a Finding when something wrote beyond an allocation.
  void check_red_zones() const;
  // Throws a Finding unless all bytes are in one allocation; `what` is "copy_to_device" for example.
  void check_range(const void* begin, std::size_t bytes, const std::string& what) const;
  // Throws a Finding when it is memory of the device.
  void check_host(const void* address, const std::string& what) const;
  // Bytes of the allocation around `address`: 0 where there is none. `begin` is where it begins.
  std::size_t around(std::uintptr_t address, std::uintptr_t& begin) const;
  // Host memory that the device reads and writes too: pinned or registered.
  void add_host(const void* begin, std::size_t bytes) { host_[reinterpret_cast<std::uintptr_t>(begin)] = bytes; }
  void remove_host(const void* begin) { host_.erase(reinterpret_cast<std::uintptr_t>(begin)); }
  bool is_host(std::uintptr_t address, std::size_t bytes) const;
  // Where an address lies, in words: "16 bytes behind an allocation of 4096 bytes".
  std::string describe(std::uintptr_t address) const;

 private:
  void check_red_zone(std::uintptr_t begin, std::size_t bytes) const;
  std::map<std::uintptr_t, std::size_t> allocations_, host_;  // begin -> bytes
};

}  // namespace dodeca::gpu::emulation
