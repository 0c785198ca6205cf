// Stands for the NVIDIA driver, libcuda.so.1: of the version that the environment names, without a card. For
// tests/gpu_test.py: what the program says on machines that are not here.
#include <cstdlib>
#include <string_view>

namespace {

constexpr int kSuccess = 0, kUnknown = 999;

int initialize(unsigned) { return kSuccess; }
int version(int* out) {
  const char* const wanted = std::getenv("FAKE_DRIVER_VERSION");
  *out = wanted == nullptr ? 0 : std::atoi(wanted);
  return kSuccess;
}
int device_count(int* out) {
  *out = 0;
  return kSuccess;
}
int anything_else() { return kUnknown; }

void* function_of(std::string_view name) {
  if (name == "cuInit") return reinterpret_cast<void*>(&initialize);
  if (name == "cuDriverGetVersion") return reinterpret_cast<void*>(&version);
  if (name == "cuDeviceGetCount") return reinterpret_cast<void*>(&device_count);
  return reinterpret_cast<void*>(&anything_else);
}

}  // namespace

// NOLINTBEGIN(readability-identifier-naming): the driver's names
extern "C" {
int cuInit(unsigned flags) { return initialize(flags); }
int cuDriverGetVersion(int* out) { return version(out); }
int cuGetProcAddress_v2(const char* name, void** function, int, unsigned long long, void* status) {
  *function =
      std::string_view(name) == "cuGetProcAddress" ? reinterpret_cast<void*>(&cuGetProcAddress_v2) : function_of(name);
  if (status != nullptr) *static_cast<int*>(status) = 0;
  return kSuccess;
}
int cuGetProcAddress(const char* name, void** function, int version, unsigned long long flags) {
  return cuGetProcAddress_v2(name, function, version, flags, nullptr);
}
}
// NOLINTEND(readability-identifier-naming)
