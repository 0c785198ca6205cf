// OUTPUT.shards.RUN: where the workers of one batch meet. Its name holds a number drawn when the batch was begun, so that
// a worker of an earlier one that slept through the end of that finds its folder gone and can spoil nothing.
//
//   weights            checksum of the model's weights, by the first who loaded them
//   worker-TOKEN       one for each process (worker.hpp)
//   unit-U.claim-G     who answers unit U; G counts how often that was decided (claims.hpp)
//   unit-U.work-G      the lines that he has made
//   unit-U.done        all lines of the unit
// All but worker and work files are made once, by add_name() (base/output_file.hpp), and never change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dodeca::runtime::batch {

// So often a unit is claimed at the most. A claim with a higher number was not made by dodeca.
inline constexpr std::int64_t kMaxGenerations = 10000;

// Of one unit, as a listing shows it. On some storage that machines share a listing may be a minute old.
struct UnitFiles {
  std::int64_t generation = 0;  // of its last claim, at most kMaxGenerations; 0: nobody claimed it
  bool done = false;
};

class RunFolder {
 public:
  static constexpr std::string_view kTail = ".shards.#";  // after the output's name

  RunFolder(const std::filesystem::path& output, std::uint64_t run);
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path weights() const { return path_ / "weights"; }
  std::filesystem::path worker(std::string_view token) const { return path_ / ("worker-" + std::string(token)); }
  std::filesystem::path claim(std::int64_t unit, std::int64_t generation) const;
  std::filesystem::path work(std::int64_t unit, std::int64_t generation) const;
  std::filesystem::path done(std::int64_t unit) const;

  void make() const;  // unless it is there. Error{kIo}; also for a link under its name
  std::vector<UnitFiles> list(std::int64_t n_units) const;  // Error{kIo} when it is gone
  // With all in it that has names of ours, as far as that is possible.
  void remove() const;
  void remove_empty() const;  // only where nothing is in it
  // Those of all runs of this output.
  static std::vector<RunFolder> all_of(const std::filesystem::path& output);

 private:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
};

// All bytes of a file that others may write while it is read, or of /proc, whose files have no size. "" when there is
// none, it is no regular file, it is longer than kSmallFile or it cannot be read to its end. Opened anew, so that the
// server is asked. Never waits for a FIFO.
inline constexpr std::size_t kSmallFile = 64 << 10;
std::string read_small_file(const std::filesystem::path& path);
// The lines of a work or done file, of any length. Error{kIo} or Error{kBadFile} when it cannot be read.
std::string read_lines(const std::filesystem::path& path);

}  // namespace dodeca::runtime::batch
