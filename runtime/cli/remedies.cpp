#include "runtime/cli/remedies.hpp"

#include <fmt/core.h>

namespace dodeca::runtime::cli {

std::string_view remedy_text(Remedy remedy, std::string_view command) {
  const bool bench = command.starts_with("dodeca-bench");
  switch (remedy) {
    case Remedy::kNone:
    case Remedy::kCount:
      return "";
    case Remedy::kSmallerModel:
      return bench ? "a smaller depth or test (-d, -p, -n), a smaller cache type (-ctk q8_0), a smaller micro-batch "
                     "(-ub) or a smaller quantization would help"
                   : "a smaller context (-c), a smaller cache type (-ctk q8_0), a smaller micro-batch (-ub) or a "
                     "smaller quantization would help";
    case Remedy::kSmallerCache:
      return bench ? "a smaller -d, -p, -n or -ub, or -ctk q8_0 would help"
                   : "a smaller -c or -ub, or -ctk q8_0 would help";
    case Remedy::kFewerThreads:
      return "a smaller -t starts fewer";
    case Remedy::kLowerIsa:
      return "a lower --isa avoids it";
    case Remedy::kSetKey:
      return "--override-kv KEY=TYPE:VALUE sets a key";
    case Remedy::kOtherTemplate:
      return "--chat-template NAME chooses a built-in one";
    case Remedy::kBeginAnew:
      return "--restart begins anew and discards what is there";
    case Remedy::kRemoveResults:
      return "to begin anew, end all its processes and remove the files of -o and --errors and the .state beside -o";
    case Remedy::kJoinShards:
      return "--shard 0/1 goes on with it; to begin anew, end all its processes and give --restart, which discards "
             "what they "
             "have done";
    case Remedy::kMeasure:
      return "--calibration TEXT measures it";
    case Remedy::kLessOnDevice:
      return "a smaller -ngl, a larger --n-cpu-moe, a smaller -c or -ctk q8_0 would help";
    case Remedy::kOtherNodes:
      return bench ? "--numa interleave uses what is free on all nodes, --numa nodes=LIST chooses some, and a smaller "
                     "depth or test (-d, -p, -n) or a smaller quantization needs less"
                   : "--numa interleave uses what is free on all nodes, --numa nodes=LIST chooses some, and a smaller "
                     "context (-c) or a smaller quantization needs less";
    case Remedy::kAllowRemote:
      return "--numa-allow-remote runs all the same, --numa interleave does not ask for a place";
  }
  return "";
}

std::string error_text(const Error& error, std::string_view command) {
  const std::string_view remedy = remedy_text(error.remedy(), command);
  return remedy.empty() ? error.what() : fmt::format("{}; {}", error.what(), remedy);
}

}  // namespace dodeca::runtime::cli
