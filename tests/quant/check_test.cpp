#include "quant/check.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

namespace dodeca {
namespace {

struct Ended {
  int status;
  std::string text;  // of standard error
};

// Runs f in a process of its own.
template <class F>
Ended run_apart(F f) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);  // doctest would report it
    ::dup2(ends[1], STDERR_FILENO);
    f();
    ::_exit(0);
  }
  ::close(ends[1]);
  Ended ended{};
  char buffer[256];
  for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) ended.text.append(buffer, n);
  ::close(ends[0]);
  ::waitpid(child, &ended.status, 0);
  return ended;
}

}  // namespace

TEST_CASE("a failed check ends the program with its place, its condition and its values") {
  const Ended ended = run_apart([] {
    const int begin = 5;
    check_failed("kernel.cpp", 7, "begin < end", "begin, half, nothing", {begin, 0.5, nullptr});
  });
  CHECK(WIFSIGNALED(ended.status));
  CHECK(WTERMSIG(ended.status) == SIGABRT);
  CHECK(ended.text == "kernel.cpp:7: check failed: begin < end [begin, half, nothing = 5, 0.5, 0x0]\n");
}

TEST_CASE("a check costs nothing where checks are off and counts where they are on") {
  int evaluated = 0;
  const auto hold = [&] { return ++evaluated > 0; };
  DODECA_CHECK(hold(), evaluated);
  CHECK(evaluated == (kChecks ? 1 : 0));
  CHECK(hold());

  const Ended ended = run_apart([] { DODECA_CHECK(1 + 1 == 3); });
  CHECK((ended.status != 0) == kChecks);
  if (kChecks) CHECK(ended.text.find("check failed: 1 + 1 == 3\n") != std::string::npos);
}

}  // namespace dodeca
