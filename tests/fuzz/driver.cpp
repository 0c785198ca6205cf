#include "tests/fuzz/driver.hpp"

#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "runtime/base/hash.hpp"
#include "tests/fuzz/mutator.hpp"

#if defined(__SANITIZE_ADDRESS__)
// Large enough to find what is used after it was freed, small enough not to look like a flood of memory.
extern "C" const char* __asan_default_options() { return "quarantine_size_mb=32"; }
#endif

namespace dodeca::tests {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kLook = std::chrono::milliseconds(5);
constexpr double kWaiting = 20;  // times the processor time may pass on a busy machine before an input counts as hung
constexpr std::size_t kMaxBytes = std::size_t{16} << 20;

// What the process that runs the inputs shows to the one that watches it.
struct Shown {
  std::atomic<std::uint64_t> begun, ended, n_accepted;
  std::atomic<double> slowest;
  std::atomic<std::size_t> size;
  std::atomic<bool> complete;
  char bytes[kMaxBytes];  // the input begun last
};

class Shared {
 public:
  Shared() : memory_(::mmap(nullptr, sizeof(Shown), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    if (memory_ == MAP_FAILED) throw std::runtime_error("no memory to share");
  }
  ~Shared() { ::munmap(memory_, sizeof(Shown)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  Shown& operator*() const { return *static_cast<Shown*>(memory_); }

 private:
  void* memory_;
};

double seconds_of(clockid_t clock) {
  timespec time{};
  if (::clock_gettime(clock, &time) != 0) return 0;
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

std::uint64_t resident_bytes(pid_t process) {
  std::ifstream in(fmt::format("/proc/{}/statm", process));
  std::uint64_t all = 0, resident = 0;
  in >> all >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

[[noreturn]] void run_inputs(const FuzzTarget& target, const FuzzLimits& limits, Shown& shown) {
  int code = 0;
  try {
    Mutator mutator(target.seeds(), std::min(limits.max_bytes, kMaxBytes));
    const double begin = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    for (std::uint64_t n = 0; n < limits.n_inputs; ++n) {
      const std::string bytes = mutator.input(limits.first + n).substr(0, kMaxBytes);
      std::memcpy(shown.bytes, bytes.data(), bytes.size());
      shown.size = bytes.size();
      ++shown.begun;
      const double before = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
      if (accepts(target, bytes)) ++shown.n_accepted;
      const double after = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
      shown.slowest = std::max(shown.slowest.load(), after - before);
      ++shown.ended;
      if (after - begin > limits.seconds) break;
    }
    shown.complete = true;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%.*s: %s\n", static_cast<int>(target.name.size()), target.name.data(), error.what());
    code = 1;
  }
  std::exit(code);  // leaks are looked for here
}

// Waits for the process; what it did wrong, or nothing.
std::string watch(pid_t process, const FuzzTarget& target, const Shown& shown, std::uint64_t& peak) {
  clockid_t clock{};
  ::clock_getcpuclockid(process, &clock);
  std::uint64_t number = 0, at_rest = 0;
  double processor = 0;
  Clock::time_point wall = Clock::now();
  std::string killed;
  for (;;) {
    int status = 0;
    const pid_t done = ::waitpid(process, &status, WNOHANG);
    if (done == process) {
      if (!killed.empty()) return killed;
      if (WIFSIGNALED(status))
        return fmt::format("ended by signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
      if (WEXITSTATUS(status) != 0)
        return fmt::format("ended with code {}{}", WEXITSTATUS(status),
                           shown.complete ? " after its last input: see above, it may leak memory" : "");
      return shown.complete ? "" : "ended the process";
    }
    const std::uint64_t resident = resident_bytes(process);
    peak = std::max(peak, resident);
    if (shown.begun != number || shown.begun == shown.ended) {
      number = shown.begun;
      processor = seconds_of(clock);
      wall = Clock::now();
      if (number <= 1) at_rest = resident;
    }
    const double took = seconds_of(clock) - processor;
    const double waited = std::chrono::duration<double>(Clock::now() - wall).count();
    if (killed.empty() && number > 0) {
      if (took > target.seconds || waited > kWaiting * target.seconds)
        killed = fmt::format("took {:.1f} s of processor time ({:.1f} s in all), {:.0f} s are allowed", took, waited,
                             target.seconds);
      else if (resident > at_rest + target.bytes)
        killed =
            fmt::format("took {} MiB of memory, {} MiB are allowed", (resident - at_rest) >> 20, target.bytes >> 20);
      if (!killed.empty()) ::kill(process, SIGKILL);
    }
    std::this_thread::sleep_for(kLook);
  }
}

}  // namespace

FuzzResult fuzz(const FuzzTarget& target, const FuzzLimits& limits) {
  const Shared shared;
  Shown& shown = *shared;
  std::fflush(nullptr);
  const pid_t process = ::fork();
  if (process < 0) throw std::runtime_error("cannot fork");
  if (process == 0) run_inputs(target, limits, shown);
  FuzzResult result;
  result.problem = watch(process, target, shown, result.peak_bytes);
  remove_scratch(process);
  result.n_inputs = shown.begun;
  result.n_accepted = shown.n_accepted;
  result.slowest = shown.slowest;
  if (result.problem.empty()) return result;
  const std::string_view bytes(shown.bytes, shown.size);
  std::filesystem::create_directories(limits.found);
  result.input = limits.found / fmt::format("{}-{:016x}", target.name, runtime::fnv1a(bytes));
  std::ofstream(result.input, std::ios::binary) << bytes;
  return result;
}

}  // namespace dodeca::tests
