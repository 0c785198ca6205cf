// dodeca-bench tune: which variants of the matrix products are the fastest on this processor, measured and kept in a file.
#pragma once

#include <span>
#include <string>

namespace dodeca::bench {

int cmd_tune(std::span<const std::string> args);

}  // namespace dodeca::bench
