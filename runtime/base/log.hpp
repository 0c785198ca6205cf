// Where notices go: a sink that the caller passes in. The library never prints.
#pragma once

#include <functional>
#include <string_view>

namespace dodeca::runtime {

// One complete line without newline. kWarning: something the user should act on. kInfo: shown by default. kDetail: with
// -v.
enum class Level { kWarning, kInfo, kDetail };
using Log = std::function<void(Level, std::string_view line)>;

// Called now and then from the thread that runs the operation: done and total in the operation's own unit (bytes,
// rows). Returning false asks the operation to stop cleanly; it then throws Stopped.
using Progress = std::function<bool(double done, double total)>;
struct Stopped {};

}  // namespace dodeca::runtime
