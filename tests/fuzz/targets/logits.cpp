// Base files of --kl-divergence.
#include "runtime/eval/log_probs.hpp"
#include "runtime/eval/logits_file.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/support/memory_file.hpp"
#include "tests/support/tiny_gguf.hpp"

namespace dodeca::tests {

void fuzz_logits(std::string_view bytes) {
  const MemoryFile memory(bytes);
  const runtime::eval::LogitsReader reader(memory.path());
  const runtime::eval::LogitsHeader& header = reader.header();
  std::vector<std::uint16_t> row(static_cast<std::size_t>(runtime::eval::packed_row_size(header.n_vocab)));
  for (std::int64_t chunk = 0; chunk < header.n_chunks; ++chunk) {
    for (std::int64_t i = 0; i < header.rows_per_chunk(); ++i) {
      reader.read_row(chunk, i, row);
      const runtime::eval::PackedRow packed = runtime::eval::unpack_row(row, header.n_vocab);
      packed.log_prob(static_cast<std::size_t>(header.n_vocab) - 1);
    }
  }
}

std::vector<std::string> fuzz_logits_seeds() {
  std::string base = "_logits_" + le(4u) + le(3) + le(2);
  for (const std::int32_t token : {0, 1, 2, 0, 1, 1, 2, 2}) base += le(token);
  for (int chunk = 0; chunk < 2; ++chunk) {
    base += le(0.5f) + le(-3.0f);
    for (const std::uint16_t q : {1, 2, 3, 0}) base += le(q);
  }
  return {base};
}

}  // namespace dodeca::tests
