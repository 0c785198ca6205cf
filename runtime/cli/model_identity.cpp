#include "runtime/cli/model_identity.hpp"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "runtime/base/error.hpp"
#include "runtime/base/file.hpp"
#include "runtime/base/hash.hpp"
#include "runtime/load/gguf.hpp"

namespace dodeca::runtime::cli {
namespace {

constexpr std::uint64_t kWholeBytes = std::uint64_t{1} << 20;      // of a file that is read whole
constexpr std::uint64_t kMaxHeaderBytes = std::uint64_t{1} << 28;  // as much of a header as is read
constexpr std::uint64_t kSampleBytes = 4096;
constexpr std::uint64_t kSamples = 1024;                         // over all files of a model
constexpr std::uint64_t kLeastSamples = 16, kMostSamples = 256;  // of one file

class Outline {
 public:
  explicit Outline(std::size_t n_files)
      : n_files_(n_files),
        samples_(std::clamp(kSamples / std::max<std::uint64_t>(n_files, 1), kLeastSamples, kMostSamples)) {}

  // `header`: bytes before the data.
  void add(const InputFile& file, std::uint64_t header) {
    sum_.add(fmt::format("{} {}\n", file.size(), header));
    if (file.size() <= kWholeBytes) header = file.size();
    add(file, 0, std::min({header, file.size(), kMaxHeaderBytes}));
    const std::uint64_t data = file.size() - std::min(header, file.size());
    if (data <= samples_ * kSampleBytes) return add(file, header, data);
    // The last one ends with the file.
    for (std::uint64_t i = 0; i < samples_; ++i)
      add(file, header + (data - kSampleBytes) / (samples_ - 1) * i, kSampleBytes);
    add(file, file.size() - kSampleBytes, kSampleBytes);
  }
  void add_name(const std::string& name) { sum_.add(name + "\n"); }
  std::string text() const { return fmt::format("{} files:{:016x}", n_files_, sum_.value()); }

 private:
  void add(const InputFile& file, std::uint64_t offset, std::uint64_t n) {
    for (std::uint64_t done = 0; done < n; done += piece_.size()) {
      piece_.resize(std::min(n - done, kWholeBytes));
      file.read(offset + done, piece_);
      sum_.add(piece_);
    }
  }

  const std::size_t n_files_;
  const std::uint64_t samples_;
  Checksum sum_;
  std::vector<std::byte> piece_;
};

std::uint64_t safetensors_header(const InputFile& file) {
  std::uint64_t length = 0;
  if (file.size() < sizeof length) return file.size();
  file.read(0, std::as_writable_bytes(std::span(&length, 1)));
  return length > file.size() - sizeof length ? file.size() : sizeof length + length;
}

// The files whose contents make the model, in an order that does not depend on where they are.
std::vector<std::filesystem::path> files_of_directory(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (const auto extension = entry.path().extension();
        entry.is_regular_file() &&
        (extension == ".safetensors" || extension == ".json" || extension == ".model" || extension == ".jinja"))
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

std::string outline_of_gguf(const std::filesystem::path& path) {
  const GgufFile gguf = GgufFile::open(path, GgufUse::kInspect);
  std::vector<std::uint64_t> headers;
  for (const InputFile& file : gguf.files()) headers.push_back(file.size());
  for (const GgufTensor& tensor : gguf.tensors()) {
    std::uint64_t& header = headers[tensor.file];
    header = std::min(header, tensor.offset);
  }
  Outline outline(headers.size());
  for (std::size_t i = 0; i < headers.size(); ++i) outline.add(gguf.files()[i], headers[i]);
  return outline.text();
}

std::string outline_of_directory(const std::filesystem::path& directory) {
  const std::vector<std::filesystem::path> files = files_of_directory(directory);
  Outline outline(files.size());
  for (const auto& path : files) {
    const InputFile file(path);
    outline.add_name(path.filename().string());
    outline.add(file, path.extension() == ".safetensors" ? safetensors_header(file) : file.size());
  }
  return outline.text();
}

}  // namespace

std::string model_outline(const std::filesystem::path& model) {
  return std::filesystem::is_directory(model) ? outline_of_directory(model) : outline_of_gguf(model);
}

std::string model_stamp(const std::filesystem::path& model) {
  std::vector<std::filesystem::path> files;
  if (std::filesystem::is_directory(model)) {
    files = files_of_directory(model);
  } else {
    const GgufFile gguf = GgufFile::open(model, GgufUse::kInspect);
    for (const InputFile& file : gguf.files()) files.push_back(file.path());
  }
  Checksum sum;
  for (const auto& path : files) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0)
      throw Error(ErrorKind::kIo, fmt::format("cannot look at {}: {}", path.string(), std::strerror(errno)));
    // The time of the last change of anything (ctime) is what nobody can set back.
    sum.add(fmt::format("{} {} {} {}.{} {}.{}\n", status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec,
                        status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec));
  }
  return fmt::format("{:016x}", sum.value());
}

std::string contents_text(std::uint64_t checksum) { return fmt::format("{:016x}", checksum); }

std::string model_identity(std::string_view outline, std::uint64_t checksum) {
  return fmt::format("{} contents:{}", outline, contents_text(checksum));
}

std::string file_identity(const std::filesystem::path& path) {
  const InputFile file(path);
  std::vector<std::byte> piece;
  Checksum sum;
  for (std::uint64_t at = 0; at < file.size(); at += piece.size()) {
    piece.resize(std::min(file.size() - at, kWholeBytes));
    file.read(at, piece);
    sum.add(piece);
  }
  return fmt::format("file:{:016x}", sum.value());
}

}  // namespace dodeca::runtime::cli
