#include "gpu/emulation/checked/access_checker.hpp"

#include <algorithm>
#include <bit>
#include <string>

#include "gpu/emulation/checked/observed.hpp"

// Where the program itself lies, for tables of constants; made by the linker.
extern "C" const char __executable_start, _end;  // NOLINT(readability-identifier-naming)

namespace dodeca::gpu::emulation {

namespace {

std::string text(Access access, std::size_t bytes) {
  const char* const verb = access == Access::kRead ? "reads " : access == Access::kWrite ? "writes " : "changes ";
  return verb + std::to_string(bytes) + (bytes == 1 ? " byte" : " bytes");
}

}  // namespace

AccessChecker::AccessChecker(const Memory& memory) : memory_(memory), shared_(kSharedBytes), placed_(kSharedBytes) {}

void AccessChecker::begin_block(Block& block) {
  block_ = &block;
  first_epoch_ = ++epoch_;
  known_.assign(block.threads(), {});
  for (std::uint32_t thread = 0; thread < block.threads(); ++thread) known_[thread][thread % 32] = 1;
  last_begin_ = last_end_ = 0;  // memory may have come and gone
  observed = this;
}

void AccessChecker::end_block() { observed = nullptr; }

void AccessChecker::warp_barrier(std::uint32_t first_thread, std::uint32_t mask) {
  std::array<std::uint16_t, 32> all{};
  const auto each = [&](auto function) {
    for (std::uint32_t lane = 0; lane < 32; ++lane)
      if ((mask >> lane & 1) != 0) function(lane, known_[first_thread + lane]);
  };
  each([&](std::uint32_t, const std::array<std::uint16_t, 32>& known) {
    for (int other = 0; other < 32; ++other) all[other] = std::max(all[other], known[other]);
  });
  each([&](std::uint32_t lane, std::array<std::uint16_t, 32>& known) {
    known = all;
    ++known[lane];
  });
}

void AccessChecker::place_shared(const std::byte* begin, std::size_t bytes) {
  std::fill_n(placed_.begin() + (begin - block_->shared_begin()), bytes, first_epoch_);
}

void AccessChecker::access(const void* address, std::size_t bytes, Access access, std::uint32_t thread) {
  const auto number = reinterpret_cast<std::uintptr_t>(address);
  if (block_->on_stack(number)) return;
  const std::uintptr_t offset = number - reinterpret_cast<std::uintptr_t>(block_->shared_begin());
  if (offset < kSharedBytes)
    access_shared(offset, bytes, access, thread);
  else
    access_global(number, bytes, access);
}

// Whether what happened then is ordered before what `thread` does now.
bool AccessChecker::is_before(const Moment& moment, std::uint32_t thread) const {
  if (moment.epoch < epoch_ || moment.thread == thread) return true;
  return moment.thread / 32 == thread / 32 && known_[thread][moment.thread % 32] >= moment.clock;
}

void AccessChecker::access_shared(std::size_t offset, std::size_t bytes, Access access, std::uint32_t thread) {
  const Moment now{epoch_, known_[thread][thread % 32], static_cast<std::uint16_t>(thread)};
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    if (i >= shared_.size() || placed_[i] != first_epoch_)
      block_->fail(text(access, bytes) + " outside the variables in shared memory");
    SharedByte& byte = shared_[i];
    const bool written = byte.write.epoch >= first_epoch_;
    if (access != Access::kWrite && !written)
      block_->fail(text(access, bytes) + " of shared memory, at byte " + std::to_string(offset) +
                   ", that nothing has written");
    const bool both_atomic = access == Access::kAtomic && byte.written_atomically;
    if (written && !both_atomic && !is_before(byte.write, thread))
      race(byte.write.thread, true, access != Access::kRead, offset);
    if (access == Access::kRead) {
      read(byte, now);
    } else {
      write(byte, now, offset);
      byte.written_atomically = access == Access::kAtomic;
    }
  }
}

void AccessChecker::read(SharedByte& byte, const Moment& now) const {
  if (byte.read_epoch != epoch_) {
    byte.read_epoch = epoch_;
    byte.lanes = 0;
    byte.other_warps = false;
    byte.first_reader = now.thread;
  }
  if (byte.first_reader / 32 == now.thread / 32) {
    byte.lanes |= 1u << now.thread % 32;
    byte.clocks[now.thread % 32] = now.clock;
  } else {
    byte.other_warps = true;
    byte.other_reader = now.thread;
  }
}

void AccessChecker::write(SharedByte& byte, const Moment& now, std::size_t offset) const {
  if (byte.read_epoch == epoch_) {
    const std::uint32_t warp = now.thread / 32;
    if (byte.first_reader / 32 != warp) race(byte.first_reader, false, true, offset);
    if (byte.other_warps) race(byte.other_reader, false, true, offset);
    for (std::uint32_t left = byte.lanes; left != 0; left &= left - 1) {
      const auto lane = static_cast<std::uint32_t>(std::countr_zero(left));
      const Moment moment{epoch_, byte.clocks[lane], static_cast<std::uint16_t>(32 * warp + lane)};
      if (!is_before(moment, now.thread)) race(moment.thread, false, true, offset);
    }
    byte.read_epoch = 0;
  }
  byte.write = now;
}

void AccessChecker::race(std::uint32_t other, bool other_writes, bool writes, std::size_t offset) const {
  block_->fail(std::string("race in shared memory: it ") + (writes ? "writes" : "reads") + " byte " +
               std::to_string(offset) + ", which thread " + std::to_string(other) +
               (other_writes ? " has written" : " has read") + " since the last barrier of both");
}

void AccessChecker::access_global(std::uintptr_t address, std::size_t bytes, Access access) {
  if (address >= last_begin_ && address + bytes <= last_end_) return;
  std::uintptr_t begin = 0;
  const std::size_t have = memory_.around(address, begin);
  if (have != 0 && address - begin + bytes <= have) {
    last_begin_ = begin;
    last_end_ = begin + have;
    return;
  }
  const auto args = reinterpret_cast<std::uintptr_t>(block_->args());
  const auto program = reinterpret_cast<std::uintptr_t>(&__executable_start);
  const auto program_end = reinterpret_cast<std::uintptr_t>(&_end);
  const bool constant = (address >= args && address + bytes <= args + block_->args_bytes()) ||
                        (address >= program && address + bytes <= program_end);
  if (constant && access == Access::kRead) return;
  if (have == 0 && memory_.is_host(address, bytes)) return;
  block_->fail(text(access, bytes) + " out of bounds: " +
               (constant    ? "a constant or an argument"
                : have != 0 ? "from byte " + std::to_string(address - begin) + " of an allocation of " +
                                  std::to_string(have) + " bytes"
                            : memory_.describe(address)));
}

}  // namespace dodeca::gpu::emulation
