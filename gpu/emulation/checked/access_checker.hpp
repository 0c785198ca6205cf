// Checks every access of a kernel's threads against what is known of the bytes.
#pragma once

#include <array>
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
  // Only the block's barriers order threads of different warps, so that of one warp's reads all are kept, and of others'
  // that there were some.
  struct SharedByte {
    Moment write;
    std::uint32_t read_epoch = 0;  // of the reads that follow; there are none when it is not the current one
    std::uint32_t lanes = 0;       // of the first reader's warp that have read, at the times of `clocks`
    std::uint16_t first_reader = 0, other_reader = 0;  // threads; the other is of another warp
    bool other_warps = false, written_atomically = false;
    std::array<std::uint16_t, 32> clocks;
  };
  void read(SharedByte& byte, const Moment& now) const;
  void write(SharedByte& byte, const Moment& now, std::size_t offset) const;
  void access_shared(std::size_t offset, std::size_t bytes, Access access, std::uint32_t thread);
  void access_global(std::uintptr_t address, std::size_t bytes, Access access);
  bool is_before(const Moment& moment, std::uint32_t thread) const;
  void race(std::uint32_t other, bool other_writes, bool writes, std::size_t offset) const;

  const Memory& memory_;
  Block* block_ = nullptr;
  std::uint32_t epoch_ = 0, first_epoch_ = 0;  // of the block; they go on from block to block
  std::vector<SharedByte> shared_;             // what is from before first_epoch_ does not count
  std::vector<std::uint32_t> placed_;          // first_epoch_ of the last block with a variable there, for each byte
  std::vector<std::array<std::uint16_t, 32>> known_;  // [thread][lane]: the clocks of its warp that it has seen
  std::uintptr_t last_begin_ = 0, last_end_ = 0;      // the allocation of the last access
};

}  // namespace dodeca::gpu::emulation
