#pragma once

#include <span>
#include <string>

namespace dodeca::bench {

// dodeca-bench shares: how evenly a token's work is dealt over teams of any size.
int cmd_shares(std::span<const std::string> args);

}  // namespace dodeca::bench
