#include "runtime/batch/shared_run.hpp"

#include <fmt/core.h>

#include <random>
#include <system_error>

#include "runtime/base/error.hpp"
#include "runtime/batch/run_folder.hpp"

namespace dodeca::runtime::batch {

State begin_or_join(const BatchOptions& options, const InputIndex& input, std::int64_t unit_requests) {
  const std::filesystem::path path = state_path(options.output);
  const State own = new_state(input, options);
  std::optional<State> there = read_state(path, Remedy::kRemoveResults);
  if (!there) {
    std::error_code none;
    for (const std::filesystem::path& file : {options.output, options.errors})
      if (const auto size = std::filesystem::file_size(file, none); !none && size > 0)
        throw Error(ErrorKind::kBadRequest,
                    fmt::format("{} has contents but there is no {}: they are not of an interrupted run", file.string(),
                                path.string()))
            .with(Remedy::kRemoveResults);
    State begun = own;
    std::random_device random;
    begun.shared = SharedRun{random(), unit_requests, false, {}};
    if (create_state(path, begun)) {
      RunFolder::remove_others(options.output, begun.shared->run);
      there = begun;
    } else {
      there = read_state(path, Remedy::kRemoveResults);
    }
  }
  if (!there || !there->shared)
    throw Error(ErrorKind::kBadRequest,
                fmt::format("{} was begun by one process alone, and goes on so", options.output.string()))
        .with(Remedy::kRemoveResults);
  require_same_run(*there, own, options, Remedy::kRemoveResults);
  return *there;
}

}  // namespace dodeca::runtime::batch
