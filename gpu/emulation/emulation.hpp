// The emulated device: the kernels of gpu/kernels compiled for the host, run one thread at a time, deterministically,
// with streams that do nothing before they must. What a real device would leave undefined is a Finding where it is
// noticed, thrown where the host waits. For tests and for machines without a card; not fast.
#pragma once

#include <cstdint>
#include <memory>

#include "gpu/device.hpp"
#include "gpu/emulation/block.hpp"
#include "gpu/emulation/kernel_table.hpp"
#include "gpu/emulation/memory.hpp"

namespace dodeca::gpu::emulation {

// When streams do their work.
enum class Streams {
  kLate,      // when the host waits for it, and only what it waits for
  kEager,     // at once
  kShuffled,  // when the host waits, and some of the other streams' work too, by the seed
};

struct EmulationOptions {
  std::uint64_t memory_limit = std::uint64_t{24} << 30;
  Order order = Order::kAscending;  // of blocks and of threads in a block
  Streams streams = Streams::kLate;
  std::uint64_t seed = 0;  // of what is shuffled
  // The device is lost at this launch, as a card with a memory error is: an error then and ever after; 0: never.
  std::uint64_t lost_at = 0;
  // After so long without a step, a wait for a flag that nobody sets is an error.
  double stuck_seconds = 60;
  // Both from checked(): kernels whose accesses are observed, and who observes them.
  KernelTable kernels = plain_kernels();
  std::unique_ptr<Observer> (*make_observer)(const Memory& memory) = nullptr;
};

// The device, and for tests a way to launch kernels that are in no list.
class EmulatedDevice : public Device {
 public:
  using Device::launch;
  virtual void launch(const Stream& stream, const Kernel& kernel, const Grid& grid, const void* args,
                      std::size_t args_bytes) = 0;

 protected:
  using Device::Device;
};

std::unique_ptr<EmulatedDevice> open_emulation(const EmulationOptions& options = {});

}  // namespace dodeca::gpu::emulation
