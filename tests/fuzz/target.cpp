#include "tests/fuzz/target.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <stdexcept>

#include "runtime/base/error.hpp"

namespace dodeca::tests {
namespace {

constexpr std::string_view kBetweenFiles = "\n%%\n";

constexpr FuzzTarget kTargets[] = {
#define FUZZ_TARGET(name, seconds, mib) {#name, fuzz_##name, fuzz_##name##_seeds, seconds, std::uint64_t{mib} << 20},
#include "tests/fuzz/targets.inc"
#undef FUZZ_TARGET
};

std::filesystem::path scratch_of(int process) {
  const bool memory = ::access("/dev/shm", W_OK) == 0;
  const std::filesystem::path folder = memory ? "/dev/shm" : std::filesystem::temp_directory_path();
  return folder / ("dodeca-fuzz-" + std::to_string(process));
}

struct Scratch {
  std::filesystem::path path = scratch_of(::getpid());
  Scratch() { std::filesystem::create_directories(path); }
  ~Scratch() { remove_scratch(::getpid()); }
};

}  // namespace

std::span<const FuzzTarget> fuzz_targets() { return kTargets; }

bool accepts(const FuzzTarget& target, std::string_view bytes) {
  try {
    target.read(bytes);
    return true;
  } catch (const runtime::Error&) {
    return false;
  }
}

void require(bool condition, const char* what) {
  if (!condition) throw std::logic_error(what);
}

std::string join_files(const std::vector<std::string_view>& files) {
  std::string out;
  for (const std::string_view file : files) out.append(out.empty() ? "" : kBetweenFiles).append(file);
  return out;
}

std::vector<std::string_view> split_files(std::string_view bytes, std::size_t n) {
  std::vector<std::string_view> files;
  while (files.size() + 1 < n) {
    const std::size_t at = bytes.find(kBetweenFiles);
    if (at == std::string_view::npos) break;
    files.push_back(bytes.substr(0, at));
    bytes.remove_prefix(at + kBetweenFiles.size());
  }
  files.push_back(bytes);
  return files;
}

const std::filesystem::path& scratch_folder() {
  static const Scratch scratch;
  return scratch.path;
}

void remove_scratch(int process) {
  std::error_code ignored;
  std::filesystem::remove_all(scratch_of(process), ignored);
}

std::filesystem::path put_file(std::string_view name, std::string_view bytes) {
  std::filesystem::path path = scratch_folder() / name;
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool good = fd >= 0 && ::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
  if (fd >= 0) ::close(fd);
  if (!good) throw std::runtime_error("cannot write " + path.string());
  return path;
}

}  // namespace dodeca::tests
