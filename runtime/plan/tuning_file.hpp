// What dodeca-bench tune measured, in a file:
//
//   { "dodeca_tuning": 1, "processor": "GenuineIntel 6/207", "isa": "avx512_bf16",
//     "types": { "Q4_K": { "gemv": "avx512_vnni", "gemm": "avx512_vnni", "gemm_min_rows": 9 }, ... } }
//
// "isa" is the level up to which variants were compared; types that are not named take the rule of select_matmul().
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "cpu/kernels/matmul/tuning.hpp"

namespace dodeca::runtime {

// Raised when variants change so much that older measurements mislead.
inline constexpr int kTuningVersion = 1;

struct TuningFile {
  cpu::MatmulTuning tuning;
  std::string unfit;  // why it says nothing here: another version, another processor, fewer levels; empty: it does
};
// For a run on `processor` (cpu::processor_id()) at level `isa`. Error{kBadFile} naming the file and the entry when it
// is no JSON, keys are missing or unknown, no such type, level or variant exists, or rows are out of range.
TuningFile read_tuning(const std::filesystem::path& path, std::string_view processor, cpu::Isa isa);
TuningFile parse_tuning(std::string_view text, std::string_view what, std::string_view processor, cpu::Isa isa);
// Makes the folder too.
void write_tuning(const cpu::MatmulTuning& tuning, std::string_view processor, cpu::Isa isa,
                  const std::filesystem::path& path);

}  // namespace dodeca::runtime
