// dodeca-bench sample: the time from a step's logits to its tokens.
#pragma once

#include <span>
#include <string>

namespace dodeca::bench {

int cmd_sample(std::span<const std::string> args);

}  // namespace dodeca::bench
