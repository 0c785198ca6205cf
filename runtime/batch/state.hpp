// OUTPUT.state: what the results beside it belong to. Kept when the batch is complete, so that the same command then
// finds nothing to do.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "runtime/base/error.hpp"
#include "runtime/base/output_file.hpp"
#include "runtime/batch/batch.hpp"
#include "runtime/batch/input_index.hpp"

namespace dodeca::runtime::batch {

// Of a batch that several workers answer (shared_batch.hpp).
struct SharedRun {
  std::uint64_t run = 0;           // drawn when it was begun; names its folder
  std::int64_t unit_requests = 0;  // requests of one unit
  bool merged = false;             // the results are whole, and the folder is not needed any more
  BatchCounts counts;              // of the merged results
};

struct State {
  std::string input, model, sampling, prompts;  // fingerprints, the last two in words
  std::string contents, stamp;                  // of the model's weights, and of its files when they were read
  std::int64_t created = 0;
  bool restarting = false;  // a --restart was interrupted between this file and the emptying of the others
  // Bytes of the two files that were synced when this was written: at the least so many are.
  std::uint64_t synced_results = 0, synced_errors = 0;
  std::optional<SharedRun> shared;
};

std::filesystem::path state_path(const std::filesystem::path& output);
// Of a batch that begins now; contents and stamp are not known yet.
State new_state(const InputIndex& input, const BatchOptions& options);

// What stands in the file; nullopt when there is none. Error{kBadFile} or Error{kUnsupported} with this remedy.
std::optional<State> read_state(const std::filesystem::path& path, Remedy remedy);
// Of what stands in the file; nullopt also where it cannot be read.
std::optional<SharedRun> shared_run_of(const std::filesystem::path& path);
void write_state(const std::filesystem::path& path, const State& state);  // replaces the file as a whole
void finish_state(OutputFile& file, const State& state);                  // likewise, in a file that was begun before
// False when there is one already: of several processes, on several machines, one makes it.
bool create_state(const std::filesystem::path& path, const State& state);

// Files beside `path` that killed processes left under temporary names of OutputFile's.
inline constexpr std::string_view kTemporaryTail = ".#.#.tmp";
void remove_leftovers(const std::filesystem::path& path);

// Error{kBadRequest} with this remedy when a file of results has contents though there is no state.
void require_no_results(const BatchOptions& options, Remedy remedy);
// Error{kBadRequest} with this remedy when what `old` describes may not be mixed with what `now` does.
void require_same_run(const State& old, const State& now, const BatchOptions& options, Remedy remedy);

}  // namespace dodeca::runtime::batch
