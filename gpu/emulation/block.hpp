// The threads of one block of a kernel, run one at a time on fibers until all have ended: barriers, operations of a
// warp, shared memory. Nothing here runs in parallel; the order is ascending, descending or shuffled by a seed. What a
// real device would leave undefined is a Finding.
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
  bool observed;  // compiled so that an Observer sees its accesses
};

// Throws a Finding where a card would refuse to launch.
void check_launch(const Kernel& kernel, const Grid& grid, std::size_t args_bytes);

enum class Order { kAscending, kDescending, kShuffled };

struct Index3 {
  std::uint32_t x = 0, y = 0, z = 0;
};

using Site = std::source_location;

// An operation that lanes of a warp do together. Each lane of `mask` brings an operand, which lies on its own stack;
// the last to arrive runs `complete` for all. operands[lane] is null for lanes that do not take part.
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

// A copy to shared memory on its way (cp.async).
struct LateCopy {
  void* to;
  const void* from;
  int bytes;
  bool valid;  // otherwise zeros are written
  int group;
};

struct Thread {
  enum State : std::uint8_t { kFresh, kReady, kAtBarrier, kInWarpCall, kEnded };
  Index3 index;
  State state = kFresh;
  Fiber* fiber = nullptr;
  int callers = 0;  // that wait in a call whose mask has this lane as its lowest
  WarpCall call;    // while kInWarpCall
  Site barrier;     // while kAtBarrier
  std::vector<LateCopy> copies;
  int copy_group = 0;
  [[gnu::no_sanitize_thread]] std::uint32_t lane() const { return index.x % 32; }
};

// A shared variable of a kernel; one for each declaration. Placed anew in every run of a block.
struct SharedSlot {
  std::uint64_t block_run = 0;
  std::byte* place = nullptr;
};

enum class Access { kRead, kWrite, kAtomic };

// Sees every byte that a kernel touches, where the kernels were compiled for it (gpu/emulation/checked). Throws what it
// finds, in the running thread.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void begin_block(Block& block) = 0;
  virtual void end_block() = 0;
  // All threads have met; threads of `mask` from `first_thread` on have met in __syncwarp.
  virtual void barrier() = 0;
  virtual void warp_barrier(std::uint32_t first_thread, std::uint32_t mask) = 0;
  virtual void place_shared(const std::byte* begin, std::size_t bytes) = 0;
  virtual void access(const void* address, std::size_t bytes, Access access, std::uint32_t thread) = 0;
};

class Block {
 public:
  Block(Order order, std::uint64_t seed);
  ~Block();

  // Runs a whole grid, block after block.
  void run(const Kernel& kernel, const Grid& grid, const void* args);
  // Sees the kernels that are compiled for it.
  void set_observer(Observer* observer) { attached_observer_ = observer; }

  // ---- for built-ins, called by the running thread; what is inline here is no access of the kernel ----------------
  // All threads; the sum over all of `vote`.
  int barrier(const Site& site, int vote);
  void warp_call(const WarpCall& call);
  std::byte* shared(SharedSlot& slot, std::size_t bytes, std::size_t align);
  [[gnu::no_sanitize_thread]] std::byte* dynamic_shared() { return shared_; }
  void touch_atomically(const void* address, std::size_t bytes) {
    if (observer_ != nullptr) observer_->access(address, bytes, Access::kAtomic, running_->index.x);
  }
  void read_shared(void* to, const void* from, std::size_t bytes, int lane);
  void copy_later(void* shared, const void* global, int bytes, bool valid);
  void commit_copies();
  void wait_for_copies(int groups);
  [[noreturn]] void fail(const std::string& what) const;
  [[noreturn]] void fail_shuffle(int source) const;

  [[gnu::no_sanitize_thread]] const Thread& thread() const { return *running_; }
  Index3 block_index, block_dim, grid_dim;

  const void* args() const { return args_; }
  std::size_t args_bytes() const { return kernel_->args_bytes; }
  std::uint32_t threads() const { return grid_.threads; }
  const std::byte* shared_begin() const { return shared_; }
  bool on_stack(std::uintptr_t address) const { return running_->fiber->owns(address); }

 private:
  void run_block();
  void run_threads();
  void resume(Fiber* fiber);
  void run_on_fiber();
  void complete(const WarpCall& call, std::uint32_t first);
  std::string stuck() const;
  std::string place(const Thread& thread) const;

  Order order_;
  std::uint64_t seed_, launches_ = 0;
  std::uint64_t run_ = 0;  // the number of the block that runs, of all blocks on this host thread
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
  Observer* attached_observer_ = nullptr;
  Observer* observer_ = nullptr;  // of the kernel that runs
};

// The block that runs on this host thread; built-ins find their thread through it.
extern thread_local constinit Block* current_block;

}  // namespace dodeca::gpu::emulation
