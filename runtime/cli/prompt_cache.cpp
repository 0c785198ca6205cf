#include "runtime/cli/prompt_cache.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <ostream>
#include <streambuf>
#include <string_view>

#include "runtime/base/error.hpp"
#include "runtime/base/file.hpp"
#include "runtime/base/output_file.hpp"
#include "runtime/batch/hash.hpp"

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
      file_.append(data, static_cast<std::size_t>(n));
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

[[noreturn]] void damaged(const std::filesystem::path& path, std::string_view why) {
  throw Error(ErrorKind::kBadFile, fmt::format("prompt cache {} {}", path.string(), why));
}

}  // namespace

void save_prompt_cache(const std::filesystem::path& path, const std::string& identity,
                       std::span<const std::int32_t> tokens, const KvCache& cache, std::int32_t sequence) {
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
                                            KvCache& cache, std::int32_t sequence) {
  const InputFile file(path);
  Header header;
  const Header expected;
  std::uint64_t stored = 0;
  std::string head(static_cast<std::size_t>(std::min<std::uint64_t>(file.size(), kMagic.size())), '\0');
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

  Fnv1a sum;
  std::string chunk(std::size_t{1} << 20, '\0');
  for (std::uint64_t offset = 0, end = file.size() - sizeof stored; offset < end; offset += chunk.size()) {
    chunk.resize(static_cast<std::size_t>(std::min<std::uint64_t>(std::uint64_t{1} << 20, end - offset)));
    file.read(offset, std::as_writable_bytes(std::span(chunk)));
    sum.add(chunk);
  }
  file.read(file.size() - sizeof stored, std::as_writable_bytes(std::span(&stored, 1)));
  if (stored != sum.value()) damaged(path, "is damaged: its checksum does not match");

  std::string theirs(static_cast<std::size_t>(header.identity_bytes), '\0');
  file.read(sizeof header, std::as_writable_bytes(std::span(theirs)));
  if (theirs != identity) damaged(path, "was made with another model or other options");
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(header.n_tokens));
  file.read(sizeof header + header.identity_bytes, std::as_writable_bytes(std::span(tokens)));
  if (static_cast<std::int64_t>(tokens.size()) > cache.free_positions())
    damaged(path, fmt::format("holds {} tokens, the cache has room for {}", tokens.size(), cache.free_positions()));
  std::ifstream in(path, std::ios::binary);
  in.seekg(static_cast<std::streamoff>(sizeof header + header.identity_bytes + tokens.size() * sizeof(std::int32_t)));
  cache.restore(sequence, in);
  if (cache.length(sequence) != static_cast<std::int64_t>(tokens.size())) {
    cache.truncate(sequence, 0);
    damaged(path, "is damaged: its tokens and its rows differ in number");
  }
  return tokens;
}

}  // namespace dodeca::runtime::cli
