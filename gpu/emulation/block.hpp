// The threads of one block of a kernel, run one at a time on fibers until all have ended: barriers, operations of a warp,
// shared memory. Nothing here runs in parallel; the order is ascending, descending or shuffled by a seed. What a real
// device would leave undefined is a Finding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <source_location>
#include <stdexcept>
#include <string>
#include <vector>

#include "gpu/emulation/fiber.hpp"
#include "gpu/kernels/grid.hpp"

namespace dodeca::gpu::emulation {

// A mistake of a kernel or of who launched it: one sentence with the kernel, the block and the thread.
class Finding : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// One compiled kernel, as DODECA_KERNEL makes it.
struct Kernel {
  const char* name;
  void (*run)(const void* args);
  std::size_t args_bytes;
  std::uint32_t max_threads;
};

enum class Order { kAscending, kDescending, kShuffled };

struct Index3 {
  std::uint32_t x = 0, y = 0, z = 0;
};

using Site = std::source_location;

// An operation that lanes of a warp do together. Each lane of `mask` brings an operand, which lies on its own stack; the
// last to arrive runs `complete` for all. operands[lane] is null for lanes that do not take part.
struct WarpCall {
  const char* name = nullptr;
  std::uint32_t mask = 0;
  void (*complete)(void* const operands[32], std::uint32_t mask) = nullptr;
  void* operand = nullptr;
  bool orders_memory = false;  // of the lanes among each other: __syncwarp alone
  Site site;
};

// Shared memory of a block, static and dynamic: what cards of 24 GB have.
inline constexpr std::size_t kSharedBytes = 99 << 10;

class Block;

struct Thread {
  enum State : std::uint8_t { kFresh, kReady, kAtBarrier, kInWarpCall, kEnded };
  Index3 index;
  State state = kFresh;
  Fiber* fiber = nullptr;
  WarpCall call;  // while kInWarpCall
  Site barrier;   // while kAtBarrier
  std::uint32_t lane() const { return index.x % 32; }
};

// A shared variable of a kernel; one for each declaration. Placed anew in every run of a block.
struct SharedSlot {
  const Block* block = nullptr;
  std::uint64_t block_run = 0;
  std::byte* place = nullptr;
};

// Sees every byte that a kernel touches, where the kernels were compiled for it (gpu/emulation/checked). Block times go
// up at every barrier.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void begin_block(Block& block) = 0;
  virtual void barrier() = 0;
  virtual void warp_barrier(std::uint32_t first_thread, std::uint32_t mask) = 0;
  virtual void touch_atomically(const void* address, std::size_t bytes) = 0;
};

class Block {
 public:
  Block(Order order, std::uint64_t seed);
  ~Block();

  // Runs a whole grid, block after block.
  void run(const Kernel& kernel, const Grid& grid, const void* args);
  void set_observer(Observer* observer) { observer_ = observer; }

  // ---- for built-ins: called by the running thread -------------------------------------------------------------------
  // All threads; the sum over all of `vote`.
  int barrier(const Site& site, int vote);
  void warp_call(const WarpCall& call);
  std::byte* shared(SharedSlot& slot, std::size_t bytes, std::size_t align);
  std::byte* dynamic_shared() { return shared_; }
  void touch_atomically(const void* address, std::size_t bytes) {
    if (observer_ != nullptr) observer_->touch_atomically(address, bytes);
  }
  [[noreturn]] void fail(const std::string& what) const;

  const Thread& thread() const { return *running_; }
  Index3 block_index, block_dim, grid_dim;

  const Kernel* kernel() const { return kernel_; }
  std::uint32_t threads() const { return grid_.threads; }
  // Shared memory that variables of this block take so far, dynamic first.
  const std::byte* shared_begin() const { return shared_; }
  std::size_t shared_bytes() const { return shared_used_; }
  bool on_stack(std::uintptr_t address) const { return running_ != nullptr && running_->fiber->owns(address); }

 private:
  void run_block();
  void run_threads();
  void resume(Fiber* fiber);
  void run_on_fiber();
  std::string stuck() const;
  std::string place(const Thread& thread) const;

  Order order_;
  std::uint64_t seed_, block_runs_ = 0;
  const Kernel* kernel_ = nullptr;
  Grid grid_;
  const void* args_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<std::uint32_t> thread_order_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> free_fibers_;
  Fiber* running_fiber_ = nullptr;
  Thread* running_ = nullptr;
  std::size_t next_fresh_ = 0;
  std::uint32_t at_barrier_ = 0;
  int barrier_sum_ = 0, barrier_result_ = 0;
  std::byte* shared_;
  std::size_t shared_used_ = 0;
  std::string failure_;
  Observer* observer_ = nullptr;
};

// The block that runs on this host thread; built-ins find their thread through it.
extern thread_local constinit Block* current_block;

}  // namespace dodeca::gpu::emulation
