#include "runtime/load/write_log.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>

#include "runtime/base/error.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::uint64_t kPrime = 0x100000001b3u;

std::string heading(std::string_view identity) { return fmt::format("dodeca-partial 1 {}", identity); }

std::string line_of(std::size_t index, const WrittenTensor& tensor) {
  return fmt::format("{} {} {:016x}\n", index, tensor.end, tensor.checksum);
}

template <class T>
bool take(std::string_view& text, T& value, int base, char after) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end == text.data() + text.size() || *end != after) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
  return true;
}

}  // namespace

void Checksum::add(std::span<const std::byte> data) {
  std::size_t i = 0;
  const auto fold = [&](std::uint64_t word) {
    hash_ = (hash_ ^ word) * kPrime;
    hash_ ^= hash_ >> 32;
  };
  while (i < data.size()) {
    if (filled_ == 0 && data.size() - i >= sizeof word_) {
      std::uint64_t word = 0;
      std::memcpy(&word, data.data() + i, sizeof word);
      fold(word);
      i += sizeof word;
      continue;
    }
    word_ |= static_cast<std::uint64_t>(data[i++]) << (8 * filled_);
    if (++filled_ == sizeof word_) {
      fold(word_);
      word_ = 0;
      filled_ = 0;
    }
  }
}

std::uint64_t Checksum::value() const { return filled_ == 0 ? hash_ : (hash_ ^ word_ ^ filled_) * kPrime; }

std::vector<WrittenTensor> read_write_log(const std::filesystem::path& path, std::string_view identity) {
  std::ifstream in(path, std::ios::binary);
  std::string line;
  std::vector<WrittenTensor> tensors;
  if (!std::getline(in, line) || line != heading(identity)) return tensors;
  while (std::getline(in, line) && !in.eof()) {  // a last line without its end is torn
    line += '\n';
    std::string_view rest = line;
    std::size_t index = 0;
    WrittenTensor tensor;
    if (!take(rest, index, 10, ' ') || !take(rest, tensor.end, 10, ' ') || !take(rest, tensor.checksum, 16, '\n') ||
        index != tensors.size())
      break;
    tensors.push_back(tensor);
  }
  return tensors;
}

WriteLog::WriteLog(std::filesystem::path path, std::string_view identity, std::span<const WrittenTensor> entries)
    : path_(std::move(path)) {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) throw Error(ErrorKind::kIo, fmt::format("cannot create {}: {}", path_.string(), std::strerror(errno)));
  write(heading(identity) + "\n");
  add(entries);
}

WriteLog::~WriteLog() { ::close(fd_); }

void WriteLog::write(const std::string& lines) {
  std::string_view rest = lines;
  while (!rest.empty()) {
    const ssize_t put = ::write(fd_, rest.data(), rest.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0)
      throw Error(errno == ENOSPC || errno == EDQUOT ? ErrorKind::kDoesNotFit : ErrorKind::kIo,
                  fmt::format("cannot write {}: {}", path_.string(), std::strerror(errno)));
    rest.remove_prefix(static_cast<std::size_t>(put));
  }
  if (::fdatasync(fd_) != 0)
    throw Error(ErrorKind::kIo, fmt::format("cannot sync {}: {}", path_.string(), std::strerror(errno)));
}

void WriteLog::add(std::span<const WrittenTensor> entries) {
  if (entries.empty()) return;
  std::string lines;
  for (const WrittenTensor& tensor : entries) lines += line_of(n_++, tensor);
  write(lines);
}

void WriteLog::remove() {
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
}

}  // namespace dodeca::runtime
