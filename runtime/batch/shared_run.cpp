#include "runtime/batch/shared_run.hpp"

#include <fmt/core.h>

#include <random>

namespace dodeca::runtime::batch {
namespace {

// Whoever began the batch at the same time may have removed the temporary file of this one's state.
bool begin_first(const std::filesystem::path& path, const State& state) try {
  return create_state(path, state);
} catch (const Error&) {
  if (!std::filesystem::exists(path)) throw;
  return false;
}

}  // namespace

State begin_or_join(const BatchOptions& options, const InputIndex& input, std::int64_t unit_requests) {
  const std::filesystem::path path = state_path(options.output);
  const State own = new_state(input, options);
  std::optional<State> there = read_state(path, Remedy::kRemoveResults);
  if (!there) {
    require_no_results(options, Remedy::kRemoveResults);
    State begun = own;
    std::random_device random;
    begun.shared = SharedRun{random(), unit_requests, false, {}};
    const std::vector<RunFolder> earlier = RunFolder::all_of(options.output);
    if (begin_first(path, begun)) {
      end_earlier_runs(options, earlier);
      there = begun;
    } else {
      there = read_state(path, Remedy::kRemoveResults);
    }
  }
  if (!there)
    throw Error(ErrorKind::kIo, fmt::format("{} was removed by another process at this moment; the same command begins "
                                            "or joins the batch",
                                            path.string()));
  if (!there->shared)
    throw Error(ErrorKind::kBadRequest,
                fmt::format("{} was begun by one process alone, and goes on so", options.output.string()))
        .with(Remedy::kRemoveResults);
  require_same_run(*there, own, options, Remedy::kRemoveResults);
  return *there;
}

void require_whole_results(const BatchOptions& options, const State& merged) {
  const auto check = [](const std::filesystem::path& path, std::uint64_t bytes) {
    std::error_code none;
    const std::uint64_t size = std::filesystem::file_size(path, none);
    if (!none && size == bytes) return;
    throw Error(ErrorKind::kBadRequest,
                fmt::format("{} was changed after all requests were answered: it had {} bytes and {}", path.string(),
                            bytes, none ? "cannot be read now" : fmt::format("has {} now", size)))
        .with(Remedy::kRemoveResults);
  };
  check(options.output, merged.synced_results);
  check(options.errors, merged.synced_errors);
}

Error run_is_over(const BatchOptions& options, const std::optional<State>& there) {
  if (there)
    return Error(ErrorKind::kBadRequest,
                 fmt::format("{} was begun anew by another process: what this one does belongs to it no more",
                             options.output.string()));
  return Error(ErrorKind::kBadRequest,
               fmt::format("{} is gone while the batch is answered: when it is back under this name the same command "
                           "goes on with what is done",
                           state_path(options.output).string()))
      .with(Remedy::kRemoveResults);
}

void end_earlier_runs(const BatchOptions& options, std::span<const RunFolder> folders) {
  for (const RunFolder& folder : folders) folder.remove();
  for (const auto& path : {options.output, options.errors, state_path(options.output)}) remove_leftovers(path);
}

}  // namespace dodeca::runtime::batch
