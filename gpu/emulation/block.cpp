#include "gpu/emulation/block.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <numeric>
#include <random>
#include <utility>

namespace dodeca::gpu::emulation {

thread_local constinit Block* current_block = nullptr;

namespace {

constexpr std::align_val_t kSharedAlign{128};
constexpr std::size_t kSharedGap = 16;  // between variables, where accesses are observed
constexpr int kPoison = 0xff;           // a NaN in every kind of float, -1 in integers

std::string text(const Index3& index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}
std::string text(const Site& site) {
  const std::string path = site.file_name();
  return path.substr(path.rfind('/') + 1) + ":" + std::to_string(site.line());
}
bool same(const Site& a, const Site& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         (a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0);
}

}  // namespace

void check_launch(const Kernel& kernel, const Grid& grid, std::size_t args_bytes) {
  const auto refuse = [&](const std::string& what) {
    throw Finding(std::string("launch of ") + kernel.name + ": " + what);
  };
  if (args_bytes != kernel.args_bytes)
    refuse(std::to_string(args_bytes) + " bytes of arguments where it has " + std::to_string(kernel.args_bytes));
  if (grid.threads == 0 || grid.threads > kernel.max_threads)
    refuse(std::to_string(grid.threads) + " threads in a block where it allows 1 to " +
           std::to_string(kernel.max_threads));
  if (grid.blocks_x == 0 || grid.blocks_y == 0 || grid.blocks_z == 0 || grid.blocks_y > 65535 || grid.blocks_z > 65535)
    refuse("a grid of " + std::to_string(grid.blocks_x) + " x " + std::to_string(grid.blocks_y) + " x " +
           std::to_string(grid.blocks_z) + " blocks");
  if (grid.shared_bytes > kSharedBytes)
    refuse(std::to_string(grid.shared_bytes) + " bytes of shared memory where a block may have " +
           std::to_string(kSharedBytes));
}

Block::Block(Order order, std::uint64_t seed)
    : order_(order), seed_(seed), shared_(static_cast<std::byte*>(operator new(kSharedBytes, kSharedAlign))) {}
Block::~Block() { operator delete(shared_, kSharedAlign); }

void Block::run(const Kernel& kernel, const Grid& grid, const void* args) {
  kernel_ = &kernel;
  observer_ = kernel.observed ? attached_observer_ : nullptr;
  grid_ = grid;
  args_ = args;
  grid_dim = {grid.blocks_x, grid.blocks_y, grid.blocks_z};
  block_dim = {grid.threads, 1, 1};
  const std::uint64_t n_blocks = std::uint64_t{grid.blocks_x} * grid.blocks_y * grid.blocks_z;
  std::mt19937_64 random(seed_ + launches_++);
  std::vector<std::uint32_t> block_order;
  if (order_ == Order::kShuffled) {
    block_order.resize(n_blocks);
    std::iota(block_order.begin(), block_order.end(), 0);
    std::shuffle(block_order.begin(), block_order.end(), random);
  }
  thread_order_.resize(grid.threads);
  std::iota(thread_order_.begin(), thread_order_.end(), 0);
  if (order_ == Order::kDescending) std::reverse(thread_order_.begin(), thread_order_.end());

  Block* const outer = std::exchange(current_block, this);
  for (std::uint64_t i = 0; i < n_blocks && failure_.empty(); ++i) {
    std::uint64_t number = i;
    if (order_ == Order::kShuffled) {
      number = block_order[i];
      std::shuffle(thread_order_.begin(), thread_order_.end(), random);
    } else if (order_ == Order::kDescending) {
      number = n_blocks - 1 - i;
    }
    block_index = {static_cast<std::uint32_t>(number % grid.blocks_x),
                   static_cast<std::uint32_t>(number / grid.blocks_x % grid.blocks_y),
                   static_cast<std::uint32_t>(number / grid.blocks_x / grid.blocks_y)};
    run_block();
  }
  current_block = outer;
  kernel_ = nullptr;
  if (!failure_.empty()) throw Finding(std::exchange(failure_, {}));
}

void Block::run_block() {
  static thread_local std::uint64_t runs = 0;
  run_ = ++runs;
  shared_used_ = grid_.shared_bytes;
  std::memset(shared_, kPoison, shared_used_);
  threads_.assign(grid_.threads, Thread());
  for (std::uint32_t i = 0; i < grid_.threads; ++i) threads_[i].index.x = i;
  next_fresh_ = 0;
  at_barrier_ = 0;
  barrier_sum_ = 0;
  if (observer_ != nullptr) {
    observer_->begin_block(*this);
    observer_->place_shared(shared_, shared_used_);
  }
  run_threads();
  if (observer_ != nullptr) observer_->end_block();
  running_ = nullptr;
  if (failure_.empty()) return;
  for (Thread& thread : threads_) {  // abandoned where they were
    if (thread.state != Thread::kAtBarrier && thread.state != Thread::kInWarpCall && thread.state != Thread::kReady)
      continue;
    if (thread.fiber == nullptr) continue;
    thread.fiber->restart();
    free_fibers_.push_back(thread.fiber);
  }
}

void Block::run_threads() {
  while (next_fresh_ < threads_.size() && failure_.empty()) {
    if (free_fibers_.empty()) {
      fibers_.push_back(std::make_unique<Fiber>([](void* block) { static_cast<Block*>(block)->run_on_fiber(); }, this));
      free_fibers_.push_back(fibers_.back().get());
    }
    Fiber* const fiber = free_fibers_.back();
    free_fibers_.pop_back();
    resume(fiber);
  }
  for (bool progress = true; progress && failure_.empty();) {
    progress = false;
    for (const std::uint32_t i : thread_order_) {
      Thread& thread = threads_[i];
      if (thread.state != Thread::kReady || !failure_.empty()) continue;
      progress = true;
      running_ = &thread;
      resume(thread.fiber);
    }
  }
  if (!failure_.empty()) return;
  if (std::any_of(threads_.begin(), threads_.end(), [](const Thread& t) { return t.state != Thread::kEnded; }))
    failure_ = stuck();
}

// Until its thread waits, or has ended and none is fresh.
void Block::resume(Fiber* fiber) {
  running_fiber_ = fiber;
  fiber->resume();
  if (running_->state == Thread::kEnded) free_fibers_.push_back(fiber);
}

// What every fiber does: one fresh thread after the other. Threads that never wait cost no switch.
void Block::run_on_fiber() {
  for (;;) {
    while (next_fresh_ < threads_.size() && failure_.empty()) {
      running_ = &threads_[thread_order_[next_fresh_++]];
      running_->fiber = running_fiber_;
      running_->state = Thread::kReady;
      try {
        kernel_->run(args_);
      } catch (const std::exception& error) {
        failure_ = error.what();
      }
      running_->state = Thread::kEnded;
    }
    running_fiber_->suspend();
  }
}

int Block::barrier(const Site& site, int vote) {
  for (const Thread& other : threads_) {
    if (at_barrier_ == 0 || other.state != Thread::kAtBarrier) continue;
    if (!same(other.barrier, site))
      fail("divergent barrier: it is at " + text(site) + " while thread " + std::to_string(other.index.x) +
           " waits at " + text(other.barrier));
    break;
  }
  barrier_sum_ += vote;
  if (++at_barrier_ < threads_.size()) {
    running_->state = Thread::kAtBarrier;
    running_->barrier = site;
    running_fiber_->suspend();
    return barrier_result_;
  }
  at_barrier_ = 0;
  barrier_result_ = std::exchange(barrier_sum_, 0);
  for (Thread& thread : threads_) thread.state = Thread::kReady;
  if (observer_ != nullptr) observer_->barrier();
  return barrier_result_;
}

void Block::warp_call(const WarpCall& call) {
  Thread& self = *running_;
  const std::uint32_t first = self.index.x / 32 * 32;
  if ((call.mask >> self.lane() & 1) == 0)
    fail(std::string(call.name) + " at " + text(call.site) + " with a mask without its own lane");
  if (first + 32 - std::countl_zero(call.mask) > threads_.size())
    fail(std::string(call.name) + " at " + text(call.site) + " names lanes that the block does not have");
  self.call = call;
  // Counted by the lowest lane of the mask, so that all but the last only wait.
  Thread& lowest = threads_[first + std::countr_zero(call.mask)];
  ++lowest.callers;
  if (lowest.callers < std::popcount(call.mask)) {
    self.state = Thread::kInWarpCall;
    running_fiber_->suspend();
    return;
  }
  lowest.callers = 0;
  complete(call, first);
}

// All lanes that the mask names have come.
void Block::complete(const WarpCall& call, std::uint32_t first) {
  void* operands[32] = {};
  for (std::uint32_t left = call.mask; left != 0; left &= left - 1) {
    const int lane = std::countr_zero(left);
    const Thread& thread = threads_[first + lane];
    const WarpCall& other = thread.call;
    if (&thread != running_ && thread.state != Thread::kInWarpCall)
      fail("divergent warp: it is in " + std::string(call.name) + " at " + text(call.site) + " while lane " +
           std::to_string(lane) + ", which it names, is elsewhere");
    if (other.mask != call.mask || !same(other.site, call.site))
      fail("divergent warp: it is in " + std::string(call.name) + " at " + text(call.site) + " while lane " +
           std::to_string(lane) + ", which it names, is in " + other.name + " at " + text(other.site) +
           (other.mask != call.mask ? " with another mask" : ""));
    operands[lane] = other.operand;
  }
  call.complete(operands, call.mask);
  if (observer_ != nullptr && call.orders_memory) observer_->warp_barrier(first, call.mask);
  for (std::uint32_t left = call.mask; left != 0; left &= left - 1)
    threads_[first + std::countr_zero(left)].state = Thread::kReady;
}

std::byte* Block::shared(SharedSlot& slot, std::size_t bytes, std::size_t align) {
  if (slot.block_run == run_) return slot.place;
  const std::size_t gap = observer_ != nullptr ? kSharedGap : 0;
  const std::size_t begin = (shared_used_ + gap + align - 1) / align * align;
  if (begin + bytes > kSharedBytes)
    fail("needs more than " + std::to_string(kSharedBytes) + " bytes of shared memory, which a block may have");
  slot = {run_, shared_ + begin};
  std::memset(slot.place, kPoison, bytes);
  shared_used_ = begin + bytes;
  if (observer_ != nullptr) observer_->place_shared(slot.place, bytes);
  return slot.place;
}

void Block::fail(const std::string& what) const { throw Finding(place(*running_) + " " + what); }

void Block::fail_shuffle(int source) const {
  fail("a shuffle reads lane " + std::to_string(source) + ", which does not take part");
}

std::string Block::place(const Thread& thread) const {
  return std::string("kernel ") + kernel_->name + ", block " + text(block_index) + ", thread " +
         std::to_string(thread.index.x) + ":";
}

// Why no thread can go on, said of the first that waits.
std::string Block::stuck() const {
  const auto is_waiting = [](const Thread& t) {
    return t.state == Thread::kAtBarrier || t.state == Thread::kInWarpCall;
  };
  const Thread& waiting = *std::find_if(threads_.begin(), threads_.end(), is_waiting);
  const auto doing = [](const Thread& thread) -> std::string {
    if (thread.state == Thread::kEnded) return "has ended";
    if (thread.state == Thread::kAtBarrier) return "waits at the barrier " + text(thread.barrier);
    return std::string("waits in ") + thread.call.name + " at " + text(thread.call.site);
  };
  const bool barrier = waiting.state == Thread::kAtBarrier;
  const std::uint32_t first = waiting.index.x / 32 * 32;
  for (const Thread& other : threads_) {
    const bool wanted = barrier || (other.index.x / 32 * 32 == first && (waiting.call.mask >> other.lane() & 1) != 0);
    if (!wanted || other.state == waiting.state) continue;
    return place(waiting) + (barrier ? " divergent barrier: it " : " divergent warp: it ") + doing(waiting) +
           " while thread " + std::to_string(other.index.x) + " " + doing(other);
  }
  return place(waiting) + " it " + doing(waiting) + " and no thread can go on";
}

}  // namespace dodeca::gpu::emulation
