#include "gpu/card_energy.hpp"

#include <dlfcn.h>

namespace dodeca::gpu {
namespace {

// The library's functions return 0 for success.
template <class Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

}  // namespace

CardEnergy::CardEnergy(const std::string& pci_bus_id, const char* library) {
  library_ = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (library_ == nullptr) {
    why_not_ = std::string(library) + " is not there, which comes with the driver";
    return;
  }
  int (*start)() = nullptr;
  int (*card_at)(const char* pci_bus_id, void** card) = nullptr;
  if (!find(library_, "nvmlInit_v2", start) || !find(library_, "nvmlDeviceGetHandleByPciBusId_v2", card_at) ||
      !find(library_, "nvmlDeviceGetTotalEnergyConsumption", read_) || start() != 0) {
    why_not_ = std::string(library) + " is too old to count energy, or does not fit the driver";
    read_ = nullptr;
    return;
  }
  find(library_, "nvmlShutdown", shut_down_);
  if (card_at(pci_bus_id.c_str(), &card_) != 0 || !read(first_)) {
    why_not_ = "the card at " + pci_bus_id + " does not count its energy";
    card_ = nullptr;
  }
}

CardEnergy::~CardEnergy() {
  if (shut_down_ != nullptr) shut_down_();
  if (library_ != nullptr) dlclose(library_);
}

bool CardEnergy::read(unsigned long long& millijoules) const { return read_(card_, &millijoules) == 0; }

double CardEnergy::joules() const {
  unsigned long long now = 0;
  if (card_ == nullptr || !read(now) || now < first_) return 0;
  return static_cast<double>(now - first_) / 1e3;
}

}  // namespace dodeca::gpu
