// fuzz TARGET... [--seconds N] [--found DIR]   mutations for N seconds of processor time each; exit code 1: a finding
// fuzz TARGET FILE...                          these inputs, in this process
// fuzz --list                                  the targets
// fuzz --seeds DIR                             writes the seeds as DIR/TARGET/NUMBER
#include <fmt/core.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>

#include "runtime/base/error.hpp"
#include "tests/fuzz/driver.hpp"
#include "tests/support/tiny_gguf.hpp"

using namespace dodeca::tests;

namespace {

const FuzzTarget* find_target(std::string_view name) {
  const auto targets = fuzz_targets();
  const auto it = std::ranges::find(targets, name, &FuzzTarget::name);
  return it == targets.end() ? nullptr : &*it;
}

void write_seeds(const std::filesystem::path& folder) {
  for (const FuzzTarget& target : fuzz_targets()) {
    std::filesystem::create_directories(folder / target.name);
    int number = 0;
    for (const std::string& seed : target.seeds()) write_bytes(folder / target.name / std::to_string(number++), seed);
  }
}

void replay(const FuzzTarget& target, const std::string& file) try {
  target.read(read_bytes(file));
  fmt::print("{}: {} is accepted\n", target.name, file);
} catch (const dodeca::runtime::Error& error) {
  fmt::print("{}: {} is refused: {}\n", target.name, file, error.what());
}

bool run(const FuzzTarget& target, const FuzzLimits& limits) {
  const FuzzResult result = fuzz(target, limits);
  fmt::print("{}: {} inputs, {} accepted, slowest {:.3f} s, at most {} MiB\n", target.name, result.n_inputs,
             result.n_accepted, result.slowest, result.peak_bytes >> 20);
  if (!result.problem.empty())
    fmt::print("{}: input {} {}; it is in {}\n", target.name, result.n_inputs, result.problem, result.input.string());
  return result.problem.empty();
}

int run_all(const std::vector<std::string>& arguments) {
  std::vector<const FuzzTarget*> targets;
  std::vector<std::string> files;
  FuzzLimits limits;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--seconds" && i + 1 < arguments.size()) {
      limits.seconds = std::stod(arguments[++i]);
    } else if (argument == "--found" && i + 1 < arguments.size()) {
      limits.found = arguments[++i];
    } else if (const FuzzTarget* target = find_target(argument)) {
      targets.push_back(target);
    } else if (std::filesystem::is_regular_file(argument)) {
      files.push_back(argument);
    } else {
      throw std::runtime_error(fmt::format("there is neither a target nor a file {}", argument));
    }
  }
  for (const std::string& file : files) {
    for (const FuzzTarget* target : targets) replay(*target, file);
  }
  bool good = true;
  if (files.empty()) {
    for (const FuzzTarget* target : targets) good = run(*target, limits) && good;
  }
  return good ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 1 && arguments[0] == "--list") {
    for (const FuzzTarget& target : fuzz_targets()) fmt::print("{}\n", target.name);
  } else if (arguments.size() == 2 && arguments[0] == "--seeds") {
    write_seeds(arguments[1]);
  } else if (arguments.empty()) {
    throw std::runtime_error(
        "usage: fuzz TARGET... [--seconds N] [--found DIR] | TARGET FILE... | --list | --seeds DIR");
  } else {
    return run_all(arguments);
  }
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "error: {}\n", error.what());
  return 2;
}
