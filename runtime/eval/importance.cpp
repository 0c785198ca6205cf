#include "runtime/eval/importance.hpp"

namespace dodeca::runtime::eval {
namespace {

using exec::InputSums;

ImportanceMatrix::Entry entry_of(const InputSums::Input& input) {
  ImportanceMatrix::Entry entry{.n_in = input.n_in, .sums = {}, .counts = {}};
  entry.sums.assign(input.sums.begin(), input.sums.end());
  entry.counts.assign(input.counts.begin(), input.counts.end());
  return entry;
}

// All heads in one row.
ImportanceMatrix::Entry entry_of_heads(const InputSums::Input& input) {
  ImportanceMatrix::Entry entry = entry_of(input);
  entry.n_in *= input.n_slices;
  entry.counts.resize(1);
  return entry;
}

}  // namespace

ImportanceMatrix importance_matrix(const InputSums& sums, bool output) {
  ImportanceMatrix matrix;
  for (const InputSums::Input& input : sums.inputs) {
    if (input.layer == kNoLayer && !output) continue;
    for (const WeightRole role : input.roles) {
      const bool by_head = role == WeightRole::kKB || role == WeightRole::kVB;
      // The head of a model with tied embeddings is measured as the output matrix that it is.
      const WeightRole named = input.layer == kNoLayer ? WeightRole::kOutput : role;
      matrix.entries[gguf_name({named, input.layer})] = by_head ? entry_of_heads(input) : entry_of(input);
    }
  }
  return matrix;
}

}  // namespace dodeca::runtime::eval
