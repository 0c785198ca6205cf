// What `dodeca quantize` prints: a plan, the errors of a new file, and where the time went.
#pragma once

#include <string>

#include "runtime/quantize/quantize.hpp"
#include "runtime/quantize/verify.hpp"

namespace dodeca::runtime::cli {

// "Q2_K 10, Q3_K 5, F32 61"
std::string type_counts(const quantize::QuantizePlan& plan);

// Every tensor, then sizes and bytes read per generated token by type and role, then the files.
std::string plan_text(const quantize::QuantizePlan& plan, const std::vector<GgufWriter::File>& files);

// Relative error by role, the worst tensor, checksums.
std::string verification_text(const quantize::QuantizePlan& plan, const quantize::Verification& verification);

// "0.41 GB/s read, 55.1 Mweights/s; limited by cores (...)"
std::string times_text(const quantize::WorkTimes& times);

}  // namespace dodeca::runtime::cli
