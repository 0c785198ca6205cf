// What the residual stream is behind every block of every pass, as text, so that two runs can be compared with diff:
//
//   pass 0, layer 3 attention: 12 rows, bits 0123456789abcdef, rms 0.532, largest 4.1 at row 7 column 90, last row 0.1 ...
#pragma once

#include <string>

#include "runtime/exec/executor.hpp"

namespace dodeca::runtime::cli {

// Writes a file anew. Throws Error{kIo} when it cannot be opened; a line that cannot be written ends the dump with a
// warning.
exec::BlockObserver dump_layers(const std::string& path, const Log& log);

}  // namespace dodeca::runtime::cli
