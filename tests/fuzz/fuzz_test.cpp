// The fuzzer itself: its seeds reach the readers, its inputs are the same in every run, and it sees what goes wrong.
#include <doctest/doctest.h>

#include <csignal>
#include <cstdlib>
#include <set>
#include <stdexcept>

#include "runtime/base/error.hpp"
#include "tests/fuzz/driver.hpp"
#include "tests/fuzz/mutator.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_gguf.hpp"

using namespace dodeca;
using namespace dodeca::tests;

namespace {

std::vector<std::string> one_seed() { return {"a harmless seed with (one [two] three)"}; }

FuzzResult fuzz_planted(void (*read)(std::string_view), const TempDir& found) {
  FuzzLimits limits;
  limits.n_inputs = 500;
  limits.found = found.path();
  return fuzz({"planted", read, one_seed, 0.5, std::uint64_t{200} << 20}, limits);
}

// What only a mutation does.
bool changed(std::string_view bytes) { return bytes != one_seed()[0] && bytes.size() > 3; }

void check_found(void (*read)(std::string_view), std::string_view problem) {
  const TempDir dir;
  const FuzzResult result = fuzz_planted(read, dir);
  CHECK_MESSAGE(result.problem.find(problem) != std::string::npos, result.problem);
  REQUIRE(std::filesystem::exists(result.input));
  CHECK(changed(read_bytes(result.input)));
  CHECK(result.n_inputs >= 2);
}

}  // namespace

TEST_CASE("every target accepts its seeds") {
  for (const FuzzTarget& target : fuzz_targets()) {
    CAPTURE(target.name);
    for (const std::string& seed : target.seeds()) CHECK(accepts(target, seed));
  }
}

TEST_CASE("every target survives some mutations") {
  for (const FuzzTarget& target : fuzz_targets()) {
    FuzzLimits limits;
    limits.n_inputs = 200;
    const TempDir dir;
    limits.found = dir.path();
    const FuzzResult result = fuzz(target, limits);
    CHECK_MESSAGE(result.problem.empty(), target.name, ": input ", result.n_inputs, " ", result.problem);
    CHECK_MESSAGE(result.n_accepted > 0, target.name);
  }
}

TEST_CASE("mutations are many, bounded and the same in every run") {
  Mutator one(one_seed(), 4096), two(one_seed(), 4096);
  std::set<std::string> inputs;
  for (std::uint64_t number = 0; number < 2000; ++number) {
    const std::string input = one.input(number);
    CHECK(input.size() <= 4096);
    inputs.insert(input);
  }
  CHECK(inputs.size() > 1500);
  CHECK(one.input(77) == two.input(77));
  CHECK(Mutator({}, 16).input(5).size() <= 16);
}

TEST_CASE("a length is changed together with what it counts") {
  const std::string payload(40, 'p');
  Mutator mutator({le(std::uint64_t{40}) + payload + "end"}, 4096);
  bool found = false;
  for (std::uint64_t number = 1; number < 2000 && !found; ++number) {
    const std::string input = mutator.input(number);
    const std::size_t n =
        std::min(input.find_first_not_of('p', 8), input.size()) - std::min<std::size_t>(8, input.size());
    found = n != 40 && n > 0 && input == le(std::uint64_t{n}) + std::string(n, 'p') + "end";
  }
  CHECK(found);
}

TEST_CASE("crashes, wrong exceptions, endless loops and floods of memory are found, with their input") {
  check_found(
      [](std::string_view bytes) {
        std::signal(SIGABRT, SIG_DFL);  // doctest's would report
        if (changed(bytes)) std::abort();
      },
      "signal 6");
  check_found(
      [](std::string_view bytes) {
        if (changed(bytes)) throw std::length_error("planted");
      },
      "code 1");
  check_found(
      [](std::string_view bytes) {
        if (changed(bytes)) std::exit(0);
      },
      "ended the process");
  check_found(
      [](std::string_view bytes) {
        for (volatile bool on = changed(bytes); on;) {
        }
      },
      "processor time");
  check_found(
      [](std::string_view bytes) {
        std::vector<std::string> held;
        while (changed(bytes)) held.emplace_back(std::size_t{1} << 20, 'x');
      },
      "MiB");
  const TempDir dir;
  const FuzzResult refused = fuzz_planted(
      [](std::string_view bytes) {
        if (changed(bytes)) throw runtime::Error(runtime::ErrorKind::kBadFile, "refused");
      },
      dir);
  CHECK(refused.problem.empty());
  CHECK(dir.n_entries() == 0);
}
