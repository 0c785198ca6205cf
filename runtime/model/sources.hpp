// The two kinds of weight source, for weight_source.cpp. Both fill weights() and mtp_weights() sorted by name, and
// check every shape against the configuration before returning.
#pragma once

#include <filesystem>
#include <memory>

#include "runtime/model/weight_source.hpp"

namespace dodeca::runtime {

std::unique_ptr<WeightSource> open_gguf_source(const std::filesystem::path& path, const SourceOptions& options,
                                               const Log& log);
std::unique_ptr<WeightSource> open_hf_source(const std::filesystem::path& directory, const SourceOptions& options,
                                             const Log& log);

// dst[l * n_nope + d] = src[d * n_latent + l]: a head's key half of kv_b as rows over the nope dimension.
void transpose_key_half(const float* src, std::int64_t n_nope, std::int64_t n_latent, std::int64_t latent_begin,
                        std::int64_t latent_end, float* dst);

}  // namespace dodeca::runtime
