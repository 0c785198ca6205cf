// dodeca-bench without a command: llama-bench's options, tests and output formats.
#pragma once

#include <span>
#include <string>

namespace dodeca::bench {

int cmd_bench(std::span<const std::string> args);

}  // namespace dodeca::bench
