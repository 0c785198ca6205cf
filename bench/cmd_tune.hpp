// dodeca-bench tune: which matrix-product lines are the fastest on this processor, measured and kept in a file.
#pragma once

#include <span>
#include <string>

namespace dodeca::bench {

int cmd_tune(std::span<const std::string> args);

}  // namespace dodeca::bench
