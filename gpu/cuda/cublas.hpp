// cuBLAS, opened when it is first needed: programs run without it.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <string>

#include "gpu/device.hpp"

namespace dodeca::gpu::cuda {

class Cublas {
 public:
  // Of the card that is current. `work_space`: device memory of that many bytes, the only that cuBLAS uses. Throws one
  // sentence where the library is missing or does not start.
  Cublas(const std::string& device, void* work_space, std::size_t bytes);
  ~Cublas();
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;

  void multiply(cudaStream_t stream, const Bf16Gemm& gemm);

 private:
  struct Functions;
  static const Functions& functions();

  std::string device_;
  void* work_space_;
  std::size_t bytes_;
  void* handle_ = nullptr;
};

}  // namespace dodeca::gpu::cuda
