#include "gpu/cuda/cublas.hpp"

#include <dlfcn.h>
#include <library_types.h>

#include <stdexcept>

namespace dodeca::gpu::cuda {

// The few functions and constants of cublas_v2.h that are used; the header need not be there.
struct Cublas::Functions {
  int (*create)(void** handle) = nullptr;
  int (*destroy)(void* handle) = nullptr;
  int (*set_stream)(void* handle, cudaStream_t stream) = nullptr;
  int (*set_workspace)(void* handle, void* begin, std::size_t bytes) = nullptr;
  int (*gemm)(void* handle, int op_a, int op_b, int m, int n, int k, const void* alpha, const void* a,
              cudaDataType type_a, int lda, const void* b, cudaDataType type_b, int ldb, const void* beta, void* c,
              cudaDataType type_c, int ldc, int compute_type, int algorithm) = nullptr;
};

namespace {

constexpr int kAsIs = 0, kTransposed = 1, kComputeF32 = 68, kDefaultAlgorithm = -1;

}  // namespace

const Cublas::Functions& Cublas::functions() {
  static const Functions loaded = [] {
    const std::string own = "libcublas.so." + std::to_string(CUDART_VERSION / 1000);
    void* library = nullptr;
    for (const std::string& name : {own, std::string("libcublas.so.13"), std::string("libcublas.so.12")})
      if (library == nullptr) library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr)
      throw std::runtime_error("cuBLAS is needed for products of large matrices, and " + own + " was not found");
    Functions functions;
    const auto find = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
      if (function == nullptr) throw std::runtime_error(own + " has no function " + name);
    };
    find(functions.create, "cublasCreate_v2");
    find(functions.destroy, "cublasDestroy_v2");
    find(functions.set_stream, "cublasSetStream_v2");
    find(functions.set_workspace, "cublasSetWorkspace_v2");
    find(functions.gemm, "cublasGemmEx");
    return functions;
  }();
  return loaded;
}

Cublas::Cublas(const std::string& device, void* work_space, std::size_t bytes)
    : device_(device), work_space_(work_space), bytes_(bytes) {
  const int status = functions().create(&handle_);
  if (status != 0)
    throw std::runtime_error("cuBLAS does not start on " + device_ + ": status " + std::to_string(status));
}

Cublas::~Cublas() {
  if (handle_ != nullptr) functions().destroy(handle_);
}

// cuBLAS counts by columns: what is [m, n] by rows here is its n x m.
void Cublas::multiply(cudaStream_t stream, const Bf16Gemm& gemm) {
  const float one = 1.0f, zero = 0.0f;
  const auto m = static_cast<int>(gemm.m), n = static_cast<int>(gemm.n), k = static_cast<int>(gemm.k);
  int status = functions().set_stream(handle_, stream);
  if (status == 0) status = functions().set_workspace(handle_, work_space_, bytes_);  // forgotten with the stream
  if (status == 0)
    status = functions().gemm(handle_, kTransposed, kAsIs, n, m, k, &one, gemm.b, CUDA_R_16BF, k, gemm.a, CUDA_R_16BF,
                              k, &zero, gemm.c, CUDA_R_32F, n, kComputeF32, kDefaultAlgorithm);
  if (status != 0)
    throw std::runtime_error("a product of [" + std::to_string(m) + ", " + std::to_string(k) + "] and [" +
                             std::to_string(n) + ", " + std::to_string(k) + "] failed on " + device_ +
                             ": cuBLAS gives status " + std::to_string(status));
}

}  // namespace dodeca::gpu::cuda
