// Errors of the CUDA runtime as sentences.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

namespace dodeca::gpu::cuda {

// "no such thing as (cudaErrorX)", what the runtime says of the error.
std::string text_of(cudaError_t error);
// Throws "WHAT failed on DEVICE: TEXT" unless the call went well.
void check(cudaError_t error, const std::string& what, const std::string& device);

}  // namespace dodeca::gpu::cuda
