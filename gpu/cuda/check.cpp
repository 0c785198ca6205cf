#include "gpu/cuda/check.hpp"

#include <stdexcept>

namespace dodeca::gpu::cuda {

std::string text_of(cudaError_t error) {
  return std::string(cudaGetErrorString(error)) + " (" + cudaGetErrorName(error) + ")";
}

void check(cudaError_t error, const std::string& what, const std::string& device) {
  if (error == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // what can be forgotten is
  throw std::runtime_error(what + " failed on " + device + ": " + text_of(error));
}

}  // namespace dodeca::gpu::cuda
