// The process that mpirun starts, above the one that works (cluster.hpp).
#include <fmt/core.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "runtime/cluster/cluster.hpp"

namespace dodeca::runtime::cluster {
namespace {

int number_in(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::atoi(text);
}

}  // namespace

int n_started() { return number_in("OMPI_COMM_WORLD_SIZE", 1); }
int rank_started() { return number_in("OMPI_COMM_WORLD_RANK", 0); }
std::string name_of_rank(int rank, const std::string& host) { return fmt::format("rank {} ({})", rank, host); }

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "unknown host";
}

bool may_speak(const std::function<bool()>& stopped) {
  if (joined() != nullptr ? !joined()->silent() : rank_started() == 0) return true;
  const auto begin = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - begin < std::chrono::seconds(2)) {
    if (stopped()) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

void watch_over_rank(const char* program) {
  if (n_started() <= 1) return;
  sigset_t all, before;
  ::sigfillset(&all);
  ::sigprocmask(SIG_BLOCK, &all, &before);
  const pid_t above = ::getpid(), child = ::fork();
  if (child < 0) {  // it works without
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    return;
  }
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != above) ::_exit(1);
    ::setpgid(0, 0);  // a signal to all of mpirun's group comes once, from above
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    return;
  }
  while (true) {
    int status = 0, signal = 0;
    if (::waitpid(child, &status, WNOHANG) == child) {
      if (WIFEXITED(status)) ::_exit(WEXITSTATUS(status));
      if (!WIFSIGNALED(status)) continue;
      const std::string line =
          fmt::format("{}: {} was killed by signal {} ({})\n", program, name_of_rank(rank_started(), host_name()),
                      WTERMSIG(status), ::strsignal(WTERMSIG(status)));
      [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
      ::_exit(1);
    }
    if (::sigwait(&all, &signal) == 0 && signal != SIGCHLD) ::kill(child, signal);
  }
}

}  // namespace dodeca::runtime::cluster
