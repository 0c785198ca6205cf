#include "runtime/cli/prompt_cache.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <istream>
#include <ostream>
#include <streambuf>
#include <string_view>

#include "runtime/base/error.hpp"
#include "runtime/base/file.hpp"
#include "runtime/base/hash.hpp"
#include "runtime/base/output_file.hpp"

namespace dodeca::runtime::cli {
namespace {

// Layout: this header, identity, tokens, what KvCache::save wrote, the checksum of all before it.
constexpr std::string_view kMagic = "dodecPC";  // then the version
struct Header {
  std::array<char, 8> magic{'d', 'o', 'd', 'e', 'c', 'P', 'C', '1'};
  std::uint64_t identity_bytes = 0, n_tokens = 0;
};

// An output stream into an OutputFile that sums what passes. The file's errors are kept, because a stream swallows
// them.
class SummingBuffer : public std::streambuf {
 public:
  explicit SummingBuffer(OutputFile& file) : file_(file) {}
  std::uint64_t sum() const { return sum_.value(); }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 protected:
  std::streamsize xsputn(const char* data, std::streamsize n) override {
    try {
      if (error_) return 0;
      sum_.add({data, static_cast<std::size_t>(n)});
      file_.append(data, n);
      return n;
    } catch (...) {
      error_ = std::current_exception();
      return 0;
    }
  }
  int_type overflow(int_type c) override {
    const char byte = static_cast<char>(c);
    return xsputn(&byte, 1) == 1 ? c : traits_type::eof();
  }

 private:
  OutputFile& file_;
  Fnv1a sum_;
  std::exception_ptr error_;
};

// The other way: an input stream of a file's bytes up to `end`, summed as they are read.
class CheckingBuffer : public std::streambuf {
 public:
  CheckingBuffer(const InputFile& file, std::uint64_t end)
      : file_(file), end_(end), buffer_(std::size_t{1} << 20, '\0') {}
  std::uint64_t sum() const { return sum_.value(); }
  bool at_end() const { return offset_ == end_ && gptr() == egptr(); }

 protected:
  int_type underflow() override {
    const std::uint64_t n = std::min<std::uint64_t>(buffer_.size(), end_ - offset_);
    if (n == 0) return traits_type::eof();
    const std::span<char> piece(buffer_.data(), static_cast<std::size_t>(n));
    file_.read(offset_, std::as_writable_bytes(piece));
    sum_.add({piece.data(), piece.size()});
    offset_ += n;
    setg(piece.data(), piece.data(), piece.data() + piece.size());
    return traits_type::to_int_type(buffer_[0]);
  }

 private:
  const InputFile& file_;
  const std::uint64_t end_;
  std::uint64_t offset_ = 0;
  std::string buffer_;
  Fnv1a sum_;
};

[[noreturn]] void damaged(const std::filesystem::path& path, std::string_view why) {
  throw Error(ErrorKind::kBadFile, fmt::format("prompt cache {} {}", path.string(), why));
}

}  // namespace

void save_prompt_cache(const std::filesystem::path& path, const std::string& identity,
                       std::span<const std::int32_t> tokens, const exec::KvCache& cache, std::int32_t sequence) {
  OutputFile file(path);
  SummingBuffer buffer(file);
  std::ostream out(&buffer);
  Header header;
  header.identity_bytes = identity.size();
  header.n_tokens = tokens.size();
  out.write(reinterpret_cast<const char*>(&header), sizeof header);
  out.write(identity.data(), static_cast<std::streamsize>(identity.size()));
  out.write(reinterpret_cast<const char*>(tokens.data()), static_cast<std::streamsize>(tokens.size_bytes()));
  cache.save(sequence, out);
  buffer.rethrow();
  const std::uint64_t sum = buffer.sum();
  file.append(&sum, sizeof sum);
  file.finish();
}

std::vector<std::int32_t> load_prompt_cache(const std::filesystem::path& path, const std::string& identity,
                                            exec::KvCache& cache, std::int32_t sequence) {
  const InputFile file(path);
  Header header;
  const Header expected;
  std::uint64_t stored = 0;
  std::string head(std::min<std::uint64_t>(file.size(), kMagic.size()), '\0');
  file.read(0, std::as_writable_bytes(std::span(head)));
  if (!kMagic.starts_with(head))
    throw Error(ErrorKind::kBadRequest,
                fmt::format("{} is no prompt cache and would be overwritten: --prompt-cache wants a file of its own",
                            path.string()));
  if (file.size() < sizeof header + sizeof stored) damaged(path, "is too short to be one");
  file.read(0, std::as_writable_bytes(std::span(&header, 1)));
  if (header.magic != expected.magic) damaged(path, "is of another version");
  const std::uint64_t body = file.size() - sizeof header - sizeof stored;
  if (header.identity_bytes > body || header.n_tokens > (body - header.identity_bytes) / sizeof(std::int32_t))
    damaged(path, "is damaged: its sizes go beyond its end");

  CheckingBuffer buffer(file, file.size() - sizeof stored);
  std::istream in(&buffer);
  in.exceptions(std::ios::badbit);  // what the file throws goes on
  std::string theirs(header.identity_bytes, '\0');
  std::vector<std::int32_t> tokens(header.n_tokens);
  in.ignore(sizeof header);
  in.read(theirs.data(), static_cast<std::streamsize>(theirs.size()));
  in.read(reinterpret_cast<char*>(tokens.data()), static_cast<std::streamsize>(tokens.size() * sizeof(std::int32_t)));
  if (theirs != identity) damaged(path, "was made with another model or other options");
  if (static_cast<std::int64_t>(tokens.size()) > cache.free_positions())
    damaged(path, fmt::format("holds {} tokens, the cache has room for {}", tokens.size(), cache.free_positions()));
  const auto refuse = [&](std::string_view why) {
    cache.truncate(sequence, 0);
    damaged(path, why);
  };
  try {
    cache.restore(sequence, in);
  } catch (const Error& error) {
    refuse(fmt::format("is damaged: {}", error.sentence()));
  }
  file.read(file.size() - sizeof stored, std::as_writable_bytes(std::span(&stored, 1)));
  if (!buffer.at_end() || stored != buffer.sum()) refuse("is damaged: its checksum does not match");
  if (cache.length(sequence) != static_cast<std::int64_t>(tokens.size()))
    refuse("is damaged: its tokens and its rows differ in number");
  return tokens;
}

}  // namespace dodeca::runtime::cli
