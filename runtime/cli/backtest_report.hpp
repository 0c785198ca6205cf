// The back-test as Markdown and as JSON: what others have published, what the model says of it, and what it says of dodeca on
// the same machines; then the table of machines for which predictions are asked the most.
#pragma once

#include <string>

#include "runtime/load/json.hpp"

namespace dodeca::runtime::cli {

std::string backtest_text();
Json backtest_json();

}  // namespace dodeca::runtime::cli
