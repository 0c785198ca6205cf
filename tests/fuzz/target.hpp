// Fuzz targets: bytes go through a reader and through what uses its result. The reader may refuse them with an Error;
// any other exception, crash, endless loop or flood of memory is a finding. targets.inc lists them; driver.hpp runs
// them on mutations of their seeds, libfuzzer.cpp makes each an entry point of libFuzzer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dodeca::tests {

struct FuzzTarget {
  std::string_view name;
  void (*read)(std::string_view bytes);
  std::vector<std::string> (*seeds)();  // each is accepted
  double seconds;                       // of processor time for one input
  std::uint64_t bytes;                  // of memory for one input
};
std::span<const FuzzTarget> fuzz_targets();

// False: refused with an Error. Whatever else the target throws comes out.
bool accepts(const FuzzTarget& target, std::string_view bytes);

// What must hold whatever the bytes are; throws std::logic_error.
void require(bool condition, const char* what);

// Inputs that stand for several files: joined with a line "%%" between them, which none of the seeds contains.
std::string join_files(const std::vector<std::string_view>& files);
// At most n; the last takes the rest.
std::vector<std::string_view> split_files(std::string_view bytes, std::size_t n);

// A folder in memory of this process, for readers of directories. The process that made it removes it at its end;
// remove_scratch() does so for one that crashed.
const std::filesystem::path& scratch_folder();
void remove_scratch(int process);
// Writes scratch_folder()/name, without waiting for a disk; returns its path.
std::filesystem::path put_file(std::string_view name, std::string_view bytes);

}  // namespace dodeca::tests

#define FUZZ_TARGET(name, seconds, mib)           \
  namespace dodeca::tests {                       \
  void fuzz_##name(std::string_view bytes);       \
  std::vector<std::string> fuzz_##name##_seeds(); \
  }
#include "tests/fuzz/targets.inc"
#undef FUZZ_TARGET
