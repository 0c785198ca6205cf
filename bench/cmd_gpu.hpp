// dodeca-bench gpu: a device, its link and its kernels, measured alone.
#pragma once

#include <span>
#include <string>

namespace dodeca::bench {

int cmd_gpu(std::span<const std::string> args);

}  // namespace dodeca::bench
