#include "gpu/emulation/fiber.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <system_error>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// Saves the registers that a function must keep, and the stack, in *from; goes on where `to` was saved. System V ABI.
extern "C" void dodeca_switch_stack(void** from, void* to);
extern "C" void dodeca_start_fiber();
asm(R"(
.text
.globl dodeca_switch_stack
.type dodeca_switch_stack, @function
dodeca_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size dodeca_switch_stack, .-dodeca_switch_stack
.globl dodeca_start_fiber
.type dodeca_start_fiber, @function
dodeca_start_fiber:
  movq %r12, %rdi
  call *%r13
  ud2
.size dodeca_start_fiber, .-dodeca_start_fiber
)");

namespace dodeca::gpu::emulation {

namespace {
#if defined(__SANITIZE_ADDRESS__)
void leave_stack(void** fake_stack, const void* bottom, std::size_t bytes) {
  __sanitizer_start_switch_fiber(fake_stack, bottom, bytes);
}
void arrive_on_stack(void* fake_stack, const void** bottom, std::size_t* bytes) {
  __sanitizer_finish_switch_fiber(fake_stack, bottom, bytes);
}
#else
void leave_stack(void**, const void*, std::size_t) {}
void arrive_on_stack(void*, const void**, std::size_t*) {}
#endif
}  // namespace

Fiber::Fiber(Function function, void* argument) : function_(function), argument_(argument) {
  void* const memory = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "no memory for an emulated thread");
  mprotect(memory, kGuardBytes, PROT_NONE);
  stack_ = reinterpret_cast<std::uintptr_t>(memory) + kGuardBytes;
  restart();
}

Fiber::~Fiber() {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(reinterpret_cast<void*>(stack_), kStackBytes);
#endif
  munmap(reinterpret_cast<void*>(stack_ - kGuardBytes), kGuardBytes + kStackBytes);
}

void Fiber::restart() {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(reinterpret_cast<void*>(stack_), kStackBytes);
#endif
  // As dodeca_switch_stack leaves a stack: r15 r14 r13 r12 rbx rbp, and where to go on. After `ret` the stack pointer
  // is a multiple of 16, as it must be before a call.
  auto** const top = reinterpret_cast<void**>(stack_ + kStackBytes - 72);
  for (int i = 0; i < 6; ++i) top[i] = nullptr;
  top[2] = reinterpret_cast<void*>(&Fiber::enter);  // r13
  top[3] = this;                                    // r12
  top[6] = reinterpret_cast<void*>(&dodeca_start_fiber);
  top[7] = nullptr;
  stack_pointer_ = top;
}

void Fiber::enter(Fiber* fiber) {
  arrive_on_stack(nullptr, &fiber->host_stack_, &fiber->host_stack_bytes_);
  fiber->function_(fiber->argument_);
  __builtin_trap();
}

void Fiber::resume() {
  leave_stack(&host_fake_stack_, reinterpret_cast<void*>(stack_), kStackBytes);
  dodeca_switch_stack(&host_pointer_, stack_pointer_);
  arrive_on_stack(host_fake_stack_, nullptr, nullptr);
}

void Fiber::suspend() {
  void* fake_stack = nullptr;
  leave_stack(&fake_stack, host_stack_, host_stack_bytes_);
  dodeca_switch_stack(&stack_pointer_, host_pointer_);
  arrive_on_stack(fake_stack, &host_stack_, &host_stack_bytes_);
}

}  // namespace dodeca::gpu::emulation
