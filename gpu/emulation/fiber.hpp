// A fiber: a stack of its own that runs a function and can stop in the middle. Switching costs some nanoseconds. Fibers
// belong to one host thread. A function that never returns to its caller's loop is abandoned with its stack: nothing is
// unwound, so what runs on fibers holds nothing that must be destroyed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dodeca::gpu::emulation {

class Fiber {
 public:
  using Function = void (*)(void*);

  // `function` never returns: it ends by suspending for good.
  Fiber(Function function, void* argument);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // From the host thread's own stack: runs the fiber until it suspends.
  void resume();
  // From inside the running fiber: back to where resume() was called.
  void suspend();
  // Forget what the fiber was doing; it starts anew at the next resume().
  void restart();
  bool owns(std::uintptr_t address) const { return address - stack_ < kStackBytes; }

 private:
  static constexpr std::size_t kGuardBytes = 4096;
#if defined(__SANITIZE_ADDRESS__)
  static constexpr std::size_t kStackBytes = 256 << 10;
#else
  static constexpr std::size_t kStackBytes = 64 << 10;
#endif
  static void enter(Fiber* fiber);

  Function function_;
  void* argument_;
  std::uintptr_t stack_;           // the lowest usable address
  void* stack_pointer_ = nullptr;  // while suspended
  void* host_pointer_ = nullptr;   // of the host's stack, while running
  void* host_fake_stack_ = nullptr;
  const void* host_stack_ = nullptr;
  std::size_t host_stack_bytes_ = 0;
};

}  // namespace dodeca::gpu::emulation
