#include "runtime/eval/logits_file.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/base/error.hpp"
#include "runtime/eval/log_probs.hpp"

namespace dodeca::runtime::eval {

namespace {

constexpr char kMagic[] = "_logits_";
constexpr std::uint64_t kMagicBytes = 8, kHeaderBytes = kMagicBytes + 12;

unsigned __int128 file_bytes(const LogitsHeader& header) {
  const auto chunks = static_cast<unsigned __int128>(header.n_chunks);
  const auto row_bytes = static_cast<std::uint64_t>(packed_row_size(header.n_vocab)) * sizeof(std::uint16_t);
  return kHeaderBytes + chunks * static_cast<std::uint64_t>(header.n_ctx) * sizeof(std::int32_t) +
         chunks * static_cast<std::uint64_t>(header.rows_per_chunk()) * row_bytes;
}

}  // namespace

LogitsWriter::LogitsWriter(const std::filesystem::path& path, const LogitsHeader& header)
    : out_(path, static_cast<std::uint64_t>(file_bytes(header))) {
  const auto n_ctx = static_cast<std::uint32_t>(header.n_ctx);
  const auto n_vocab = static_cast<std::int32_t>(header.n_vocab), n_chunks = static_cast<std::int32_t>(header.n_chunks);
  out_.append(kMagic, kMagicBytes);
  out_.append(&n_ctx, sizeof n_ctx);
  out_.append(&n_vocab, sizeof n_vocab);
  out_.append(&n_chunks, sizeof n_chunks);
  out_.append(std::as_bytes(std::span(header.tokens)));
}

void LogitsWriter::append(std::span<const std::uint16_t> packed_rows) { out_.append(std::as_bytes(packed_rows)); }

LogitsReader::LogitsReader(const std::filesystem::path& path) : file_(path) {
  const auto bad = [&](std::string_view why) {
    return Error(ErrorKind::kBadFile, fmt::format("{} is no file of base log-probabilities: {}", path.string(), why));
  };
  std::byte start[kHeaderBytes];
  if (file_.size() < kHeaderBytes) throw bad(fmt::format("it has {} bytes", file_.size()));
  file_.read(0, start);
  if (std::memcmp(start, kMagic, kMagicBytes) != 0) throw bad("it does not begin with _logits_");
  std::uint32_t n_ctx = 0;
  std::int32_t n_vocab = 0, n_chunks = 0;
  std::memcpy(&n_ctx, start + kMagicBytes, sizeof n_ctx);
  std::memcpy(&n_vocab, start + kMagicBytes + 4, sizeof n_vocab);
  std::memcpy(&n_chunks, start + kMagicBytes + 8, sizeof n_chunks);
  if (n_ctx < 3 || n_ctx > INT32_MAX || n_vocab < 1 || n_chunks < 1) {
    throw bad(fmt::format("context {}, vocabulary {}, {} chunks", n_ctx, n_vocab, n_chunks));
  }
  header_.n_ctx = n_ctx;
  header_.n_vocab = n_vocab;
  header_.n_chunks = n_chunks;
  const unsigned __int128 expected = file_bytes(header_);
  if (expected > file_.size()) {
    throw bad(
        fmt::format("{} chunks of {} tokens over a vocabulary of {} need {:.0f} bytes and it has {}; is it complete?",
                    n_chunks, n_ctx, n_vocab, static_cast<double>(expected), file_.size()));
  }
  header_.tokens.resize(header_.n_chunks * header_.n_ctx);
  file_.read(kHeaderBytes, std::as_writable_bytes(std::span(header_.tokens)));
  data_begin_ = kHeaderBytes + header_.tokens.size() * sizeof(std::int32_t);
  const auto outside = std::find_if(header_.tokens.begin(), header_.tokens.end(),
                                    [&](std::int32_t token) { return token < 0 || token >= n_vocab; });
  if (outside != header_.tokens.end())
    throw bad(fmt::format("token {} is not in its vocabulary of {}", *outside, n_vocab));
}

void LogitsReader::read_row(std::int64_t chunk, std::int64_t row, std::span<std::uint16_t> dst) const {
  const auto index = static_cast<std::uint64_t>(chunk * header_.rows_per_chunk() + row);
  file_.read(data_begin_ + index * dst.size_bytes(), std::as_writable_bytes(dst));
  const PackedRow packed = unpack_row(dst, header_.n_vocab);
  if (!std::isfinite(packed.scale) || packed.scale < 0 || !std::isfinite(packed.min_log_prob)) {
    throw Error(ErrorKind::kBadFile,
                fmt::format("row {} of chunk {} of {} has a scale of {} and a smallest log-probability of {}", row,
                            chunk, file_.path().string(), packed.scale, packed.min_log_prob));
  }
}

}  // namespace dodeca::runtime::eval
