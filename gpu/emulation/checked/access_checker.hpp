// Checks every access of a kernel's threads against what is known of the bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpu/emulation/block.hpp"
#include "gpu/emulation/memory.hpp"

namespace dodeca::gpu::emulation {

class AccessChecker final : public Observer {
 public:
  explicit AccessChecker(const Memory& memory);

  void begin_block(Block& block) override;
  void end_block() override;
  void barrier() override { ++epoch_; }
  void warp_barrier(std::uint32_t first_thread, std::uint32_t mask) override;
  void place_shared(const std::byte* begin, std::size_t bytes) override;
  void access(const void* address, std::size_t bytes, Access access, std::uint32_t thread) override;

 private:
  // An access: who, and when by the block's barriers and by the thread's own warp barriers.
  struct Moment {
    std::uint32_t epoch = 0;  // 0: never
    std::uint16_t clock = 0;
    std::uint16_t thread = 0;
  };
  struct SharedByte {
    bool in_variable = false, written = false, written_atomically = false;
    Moment write;
    std::vector<Moment> reads;  // since the last write, the last of each thread
  };
  void access_shared(std::size_t offset, std::size_t bytes, Access access, std::uint32_t thread);
  void access_global(std::uintptr_t address, std::size_t bytes, Access access);
  bool is_before(const Moment& moment, std::uint32_t thread) const;
  void race(const Moment& other, bool other_writes, Access access, std::size_t offset) const;

  const Memory& memory_;
  Block* block_ = nullptr;
  std::uint32_t epoch_ = 0;  // of the block; goes on from block to block
  std::vector<SharedByte> shared_;
  std::vector<std::size_t> placed_;                // bytes of shared_ that the block uses
  std::vector<std::vector<std::uint16_t>> known_;  // [thread][lane]: the clocks of its warp that it has seen
  std::uintptr_t last_begin_ = 0, last_end_ = 0;   // the allocation of the last access
};

}  // namespace dodeca::gpu::emulation
