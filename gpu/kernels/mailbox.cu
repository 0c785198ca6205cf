#include "gpu/kernels/dialect.hpp"
#include "gpu/kernels/mailbox.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

DODECA_KERNEL(signal_flag, SignalFlagArgs, 1) {
  __threadfence_system();
  *static_cast<volatile std::uint32_t*>(args.flag) = args.value;
}

DODECA_KERNEL(await_flag, AwaitFlagArgs, 1) {
  const volatile std::uint32_t* const flag = args.flag;
  const volatile std::uint32_t* const give_up = args.give_up;
  while (static_cast<std::int32_t>(*flag - args.value) < 0 && *give_up == 0) {
  }
  __threadfence_system();
}

}  // namespace dodeca::gpu::DODECA_KERNELS
