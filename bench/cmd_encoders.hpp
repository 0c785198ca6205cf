// dodeca-bench encoders: error and speed of quantizing the rows of a file, and the error of blocks that another program
// made of them. bench/encoders.py compares with llama.cpp through it.
#pragma once

#include <span>
#include <string>

namespace dodeca::bench {

int cmd_encoders(std::span<const std::string> args);

}  // namespace dodeca::bench
