#include "runtime/batch/worker.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <system_error>

#include "runtime/base/output_file.hpp"
#include "runtime/load/json.hpp"

namespace dodeca::runtime::batch {
namespace {

// State and start of a process from /proc/N/stat, behind the name in parentheses, which may hold anything.
struct ProcessStatus {
  char state = 0;
  std::uint64_t started = 0;
};
std::optional<ProcessStatus> status_of(std::int64_t process) {
  const std::string text = read_small_file(fmt::format("/proc/{}/stat", process));
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream rest(text.substr(name_end + 1));
  ProcessStatus status;
  std::string field;
  rest >> status.state;
  for (int n = 4; n < 22; ++n) rest >> field;
  rest >> status.started;
  if (!rest) return std::nullopt;
  return status;
}

std::string boot_of_this_system() { return read_small_file("/proc/sys/kernel/random/boot_id"); }

std::string own_process_space() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/ns/pid", error).string();
}

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

std::string slurm_job() {
  const std::string array = environment("SLURM_ARRAY_JOB_ID");
  return array.empty() ? environment("SLURM_JOB_ID") : array + "_" + environment("SLURM_ARRAY_TASK_ID");
}

}  // namespace

std::string WorkerIdentity::text() const {
  return fmt::format("{}, process {}{}{}", host, process, job.empty() ? "" : ", job ", job);
}

WorkerIdentity this_worker() {
  WorkerIdentity worker;
  std::random_device random;
  worker.token = fmt::format("{:08x}{:08x}", random(), random());
  char host[256] = {};
  worker.host = ::gethostname(host, sizeof host - 1) == 0 ? host : "";
  worker.job = slurm_job();
  worker.boot = boot_of_this_system();
  worker.process_space = own_process_space();
  worker.process = ::getpid();
  if (const auto status = status_of(worker.process)) worker.started = status->started;
  return worker;
}

bool has_ended(const WorkerIdentity& worker) {
  if (worker.boot.empty() || worker.boot != boot_of_this_system()) return false;
  if (worker.process_space.empty() || worker.process_space != own_process_space()) return false;
  const std::optional<ProcessStatus> status = status_of(worker.process);
  // /proc may hide the processes of other users (hidepid); the system still says whether they are there.
  if (!status) return ::kill(static_cast<pid_t>(worker.process), 0) != 0 && errno == ESRCH;
  return status->started != worker.started || status->state == 'Z' || status->state == 'X';
}

std::optional<WorkerSign> parse_worker(std::string_view text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  try {
    const Json json = Json::parse(text.substr(0, end));
    for (const char* number : {"process", "started", "interval_ms"})
      if (!json.at(number).is_number_integer()) return std::nullopt;
    WorkerSign sign;
    sign.identity = {json.at("token"),         json.at("host"),    json.at("job"),    json.at("boot"),
                     json.at("process_space"), json.at("process"), json.at("started")};
    const std::chrono::milliseconds interval(json.at("interval_ms").get<std::int64_t>());
    sign.interval = std::clamp(interval, std::chrono::milliseconds(0), kLongestInterval);
    sign.left = text.substr(end + 1).starts_with("left");
    return sign;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

WorkerFile::WorkerFile(const RunFolder& folder, const WorkerIdentity& identity, std::chrono::milliseconds interval)
    : path_(folder.worker(identity.token)) {
  const Json json = {{"token", identity.token},
                     {"host", identity.host},
                     {"job", identity.job},
                     {"boot", identity.boot},
                     {"process_space", identity.process_space},
                     {"process", identity.process},
                     {"started", identity.started},
                     {"interval_ms", interval.count()}};
  const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  identity_bytes_ = text.size();
  OutputFile file(path_, text.size(), OutputFile::Links::kReplace);
  file.append(text.data(), text.size());
  file.finish();
  beat();
}

WorkerFile::~WorkerFile() { write_sign(true); }

void WorkerFile::beat() {
  ++count_;
  write_sign(false);
}

// Always the same number of bytes, in place: a reader sees the old count, the new one or a mix, and all tell him that the
// worker lives. Opened and closed each time, which is when NFS sends what was written, and never created: without its
// folder the run is over.
void WorkerFile::write_sign(bool left) {
  const int fd = ::open(path_.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return;
  const std::string sign = fmt::format("{} {:020}\n", left ? "left" : "here", count_);
  [[maybe_unused]] const ssize_t written = ::pwrite(fd, sign.data(), sign.size(), static_cast<off_t>(identity_bytes_));
  ::close(fd);
}

Heartbeat::Heartbeat(WorkerFile& file, std::chrono::milliseconds interval)
    : thread_([this, &file, interval] {
        std::unique_lock lock(mutex_);
        while (!wake_.wait_for(lock, interval, [this] { return ending_; })) file.beat();
      }) {}

Heartbeat::~Heartbeat() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

}  // namespace dodeca::runtime::batch
