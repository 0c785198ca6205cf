// Importance matrices in both forms.
#include "runtime/load/imatrix.hpp"

#include "tests/fuzz/target.hpp"
#include "tests/support/memory_file.hpp"
#include "tests/support/tiny_gguf.hpp"

namespace dodeca::tests {

void fuzz_imatrix(std::string_view bytes) {
  using runtime::ImportanceMatrix;
  const MemoryFile memory(bytes);
  ImportanceMatrix matrix = ImportanceMatrix::read(memory.path());
  for (const auto& [name, entry] : matrix.entries) {
    const std::size_t n_in = static_cast<std::size_t>(entry.n_in), n_slices = entry.counts.size();
    require(n_in > 0 && n_slices > 0 && entry.sums.size() == n_in * n_slices, "sums, columns and slices");
    require(ImportanceMatrix::unreached(entry).size() <= n_slices, "unreached slices");
    require(matrix.find(name, entry.n_in, entry.n_slices()) == &entry, "entry");
    for (const std::int64_t slice : {std::int64_t{0}, entry.n_slices() - 1}) {
      for (const float value : ImportanceMatrix::importance(entry, entry.n_in, slice))
        require(value >= 0, "importance");
    }
  }
  const ImportanceMatrix copy = matrix;
  matrix.add(copy);
}

std::vector<std::string> fuzz_imatrix_seeds() {
  const std::vector<float> sums{1, 2, 0, 0, 9, 6}, counts{1, 0, 3};
  TinyGguf gguf;
  gguf.str("general.type", "imatrix").strings("imatrix.datasets", {"text"});
  gguf.u32("imatrix.chunk_count", 5).u32("imatrix.chunk_size", 16);
  gguf.f32_tensor("blk.0.ffn_up_exps.weight.in_sum2", {2, 3}, sums)
      .f32_tensor("blk.0.ffn_up_exps.weight.counts", {1, 3}, counts);
  const auto integer = [](std::int32_t value) { return le(value); };
  const std::string name = "blk.0.attn_q.weight";
  const std::string dat = integer(1) + integer(static_cast<std::int32_t>(name.size())) + name + integer(4) +
                          integer(2) + le(1.0f) + le(2.0f) + integer(5) + integer(4) + "text";
  return {gguf.bytes(), dat};
}

}  // namespace dodeca::tests
