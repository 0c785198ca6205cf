// dodeca-bench attention: the kernels of latent attention over each cache type, in both forms, at DeepSeek-V3's sizes.
#pragma once

#include <span>
#include <string>

namespace dodeca::bench {

int cmd_attention(std::span<const std::string> args);

}  // namespace dodeca::bench
