// The base files of `--kl-divergence-base`: "_logits_", u32 n_ctx, i32 n_vocab, i32 n_chunk, i32 tokens[n_ctx *
// n_chunk], then per chunk the packed rows (log_probs.hpp) of its second half. Readable by and from llama.cpp's
// perplexity tool.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "runtime/base/file.hpp"
#include "runtime/base/output_file.hpp"

namespace dodeca::runtime::eval {

struct LogitsHeader {
  std::int64_t n_ctx = 0, n_vocab = 0, n_chunks = 0;
  std::vector<std::int32_t> tokens;                 // [n_chunks, n_ctx], before any is replaced by BOS
  std::int64_t first() const { return n_ctx / 2; }  // first scored position
  std::int64_t rows_per_chunk() const { return n_ctx - 1 - first(); }
};

class LogitsWriter {
 public:
  // Checks the free space for the whole file first.
  LogitsWriter(const std::filesystem::path& path, const LogitsHeader& header);
  void append(std::span<const std::uint16_t> packed_rows);
  void finish() { out_.finish(); }

 private:
  OutputFile out_;
};

class LogitsReader {
 public:
  // Error{kBadFile} unless the file is whole and its numbers make sense.
  explicit LogitsReader(const std::filesystem::path& path);
  const LogitsHeader& header() const { return header_; }
  // row: [packed_row_size(n_vocab)]. Thread-safe.
  void read_row(std::int64_t chunk, std::int64_t row, std::span<std::uint16_t> dst) const;

 private:
  InputFile file_;
  LogitsHeader header_;
  std::uint64_t data_begin_ = 0;
};

}  // namespace dodeca::runtime::eval
