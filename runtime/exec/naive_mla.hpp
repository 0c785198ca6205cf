// Attention with keys and values decompressed per head, as the paper writes it first: slow plain loops in double, the
// test of the absorbed form. Reads the rotated q and writes `heads`.
#pragma once

#include "runtime/exec/pass.hpp"

namespace dodeca::runtime {

void naive_mla(const Pass& pass, const cpu::Member& member, std::int64_t layer) noexcept;

}  // namespace dodeca::runtime
