// From the sums that a forward pass collected to an importance matrix under GGUF's weight names.
#pragma once

#include "runtime/exec/input_sums.hpp"
#include "runtime/load/imatrix.hpp"

namespace dodeca::runtime::eval {

// output: with an entry for the output matrix. attn_k_b and attn_v_b: all heads in one row with one count, as llama.cpp
// has them.
ImportanceMatrix importance_matrix(const exec::InputSums& sums, bool output);

}  // namespace dodeca::runtime::eval
