// Preloaded into a program whose memory is to lie on the wrong node: whatever node it binds memory to, it gets node 0.
#include <dlfcn.h>
#include <sys/syscall.h>

#include <cstdarg>

extern "C" long syscall(long number, ...) noexcept {
  using Function = long(long, ...);
  static auto* const real = reinterpret_cast<Function*>(dlsym(RTLD_NEXT, "syscall"));
  long arguments[6];
  va_list list;
  va_start(list, number);
  for (long& argument : arguments) argument = va_arg(list, long);
  va_end(list);
  const unsigned long node_0[] = {1, 0};
  if (number == SYS_mbind) {
    arguments[3] = reinterpret_cast<long>(node_0);
    arguments[4] = 65;  // bits of the mask; the kernel reads one less
  }
  return real(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}
