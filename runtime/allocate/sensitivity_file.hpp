// Measured sensitivities in a file, so that choosing types for several sizes measures once:
//
//   { "model": "6 files:0123456789abcdef", "importance": "", "calibration": "8 chunks of 512:0123456789abcdef",
//     "sensitivities": { "blk.3.ffn_down_exps.weight": 0.0123, ... } }
//
// The first three name what they were measured on; whoever measures says how.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "runtime/allocate/sensitivity.hpp"

namespace dodeca::runtime::allocate {

struct SensitivityFile {
  std::string model, importance, calibration;
  Sensitivities sensitivities;
};

// Error{kBadFile} naming the file and the entry: not JSON, keys missing or unknown, numbers that are negative.
SensitivityFile read_sensitivities(const std::filesystem::path& path);
SensitivityFile parse_sensitivities(std::string_view text, std::string_view what);
void write_sensitivities(const SensitivityFile& file, const std::filesystem::path& path);

}  // namespace dodeca::runtime::allocate
