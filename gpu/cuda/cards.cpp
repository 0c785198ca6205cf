#include "gpu/cards.hpp"

#include <algorithm>
#include <stdexcept>

#include "gpu/cuda/card.hpp"
#include "gpu/cuda/check.hpp"

namespace dodeca::gpu {

namespace {

constexpr int kLowestCapability = 80;

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// Why the driver gives no cards; empty where it does, and then how many.
std::string why_none(int& count) {
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) return "there is no NVIDIA driver on this machine";
  if (driver / 1000 < CUDART_VERSION / 1000)
    return "the NVIDIA driver of this machine is for CUDA " + version_text(driver) +
           " and older, this program needs CUDA " + version_text(CUDART_VERSION);
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0))
    return "the NVIDIA driver finds no card on this machine";
  if (error != cudaSuccess) return "the NVIDIA driver does not start: " + cuda::text_of(error);
  return {};
}

}  // namespace

std::vector<DeviceInfo> cards() {
  std::vector<DeviceInfo> usable;
  int count = 0;
  if (!why_none(count).empty()) return usable;
  for (int number = 0; number < count; ++number) {
    const DeviceInfo info = cuda::info_of(number);
    if (info.compute_capability >= kLowestCapability) usable.push_back(info);
  }
  return usable;
}

std::string why_no_cards() {
  int count = 0;
  const std::string why = why_none(count);
  if (!why.empty() || !cards().empty()) return why;
  const DeviceInfo first = cuda::info_of(0);
  return first.name + " has compute capability " + std::to_string(first.compute_capability / 10) + "." +
         std::to_string(first.compute_capability % 10) + ", and kernels need " +
         std::to_string(kLowestCapability / 10) + "." + std::to_string(kLowestCapability % 10);
}

std::string card_kernels() { return "CUDA " + version_text(CUDART_VERSION) + ", " DODECA_CUDA_BUILT; }

std::unique_ptr<Device> open_card(int number, const DeviceOptions& options) {
  int count = 0;
  const std::string why = why_none(count);
  if (!why.empty()) throw std::runtime_error(why);
  if (number >= count)
    throw std::runtime_error("there is no card " + std::to_string(number) + ": the driver finds " +
                             std::to_string(count));
  const DeviceInfo info = cuda::info_of(number);
  if (info.compute_capability < kLowestCapability) throw std::runtime_error(why_no_cards());
  return cuda::open(number, options);
}

}  // namespace dodeca::gpu
