// A process that answers part of a batch, as the others see it: a file in the folder of the run that says who it is, and a
// count in it that goes up while the process lives. The others compare that count with what they read before, by their
// own clocks: the clocks of two machines, and the times of files, are never compared.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "runtime/batch/run_folder.hpp"

namespace dodeca::runtime::batch {

struct WorkerIdentity {
  std::string token;      // drawn at random: names its file
  std::string host, job;  // for people; job: Slurm's, or empty
  // Where others on the same running system can look whether it lives.
  std::string boot, process_space;
  std::int64_t process = 0;
  std::uint64_t started = 0;  // of the process, in the system's ticks: numbers are used again

  std::string text() const;  // "node7, process 123, job 55_3"
};
WorkerIdentity this_worker();
// Whether the process is known to have ended. False of other machines and other containers: nobody can tell.
bool has_ended(const WorkerIdentity& worker);

// No worker counts on more seldom: in a file that says so the interval is this one.
inline constexpr std::chrono::milliseconds kLongestInterval{5000};

// What a worker's file says.
struct WorkerSign {
  WorkerIdentity identity;
  std::chrono::milliseconds interval{0};  // between two counts
  bool left = false;                      // it ended and gives back what it has
};
std::optional<WorkerSign> parse_worker(std::string_view text);

class WorkerFile {
 public:
  // interval: how often the owner means to call beat().
  WorkerFile(const RunFolder& folder, const WorkerIdentity& identity, std::chrono::milliseconds interval);
  // Says that the worker has left, as far as that is possible.
  ~WorkerFile();
  WorkerFile(const WorkerFile&) = delete;
  WorkerFile& operator=(const WorkerFile&) = delete;
  // One count more. Failures are not told: at worst others do this one's work too, and the results of one count.
  void beat();

 private:
  void write_sign(bool left);
  std::filesystem::path path_;
  std::size_t identity_bytes_ = 0;
  std::uint64_t count_ = 0;
};

// Calls beat() from a thread of its own, so that the length of a forward pass does not matter.
class Heartbeat {
 public:
  Heartbeat(WorkerFile& file, std::chrono::milliseconds interval);
  ~Heartbeat();

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace dodeca::runtime::batch
