// The metadata of a file that quantize writes: the keys that llama.cpp's converter gives to this architecture, in the
// layout with attn_k_b and attn_v_b or, on request, in the older one with attn_kv_b. From a GGUF everything it had is
// kept, unknown keys included; only what the new file changes is replaced.
#pragma once

#include <cstdint>

#include "runtime/base/log.hpp"
#include "runtime/load/gguf.hpp"
#include "runtime/model/weight_source.hpp"

namespace dodeca::runtime::quantize {

struct OutputFacts {
  std::uint32_t file_type = 0;
  bool keep_mtp = false;  // and there is an MTP layer to keep
  bool fused_kv_b = false;
};
// Throws Error{kUnsupported} for what GGUF has no key for.
Metadata output_metadata(const WeightSource& source, const OutputFacts& facts, const Log& log);

// "16x7.7M", "671B": parameters as converters name sizes.
std::string size_label(const WeightSource& source);

}  // namespace dodeca::runtime::quantize
