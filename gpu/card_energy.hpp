// Energy that a card used, from the driver's management library (NVML), which is opened when asked for. Volta and newer.
#pragma once

#include <string>

namespace dodeca::gpu {

class CardEnergy {
 public:
  // pci_bus_id: DeviceInfo's. library: for tests.
  explicit CardEnergy(const std::string& pci_bus_id, const char* library = "libnvidia-ml.so.1");
  ~CardEnergy();
  CardEnergy(const CardEnergy&) = delete;
  CardEnergy& operator=(const CardEnergy&) = delete;

  // One sentence without a full stop; empty: energy is counted.
  const std::string& why_not() const { return why_not_; }
  // Since this was made.
  double joules() const;

 private:
  bool read(unsigned long long& millijoules) const;

  void *library_ = nullptr, *card_ = nullptr;
  int (*read_)(void* card, unsigned long long* millijoules) = nullptr;
  int (*shut_down_)() = nullptr;
  unsigned long long first_ = 0;
  std::string why_not_;
};

}  // namespace dodeca::gpu
