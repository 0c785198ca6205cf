// Joules of the processors' packages and of the card while a run goes on, where the machine counts them (cpu/energy.hpp,
// gpu/card_energy.hpp). Not counted: memory modules on EPYC, disks, fans, losses of the power supply.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "cpu/energy.hpp"
#include "gpu/card_energy.hpp"

namespace dodeca::runtime::engine {

struct Joules {
  double packages = 0, card = 0;
  double sum() const { return packages + card; }
};

class EnergyMeter {
 public:
  // pci_bus_id: of the card that works; empty: none does, or it is emulated. root: of /sys, for tests.
  explicit EnergyMeter(const std::string& pci_bus_id = "", const std::string& root = "");

  // Whether energy of the packages is counted; why not, in one sentence without a full stop.
  bool counts() const { return packages_.why_not().empty(); }
  const std::string& why_not() const { return packages_.why_not(); }
  // Since this was made. Any thread.
  Joules read();
  // "812 J (packages 700, card 112), 12.7 J per token"; the difference of two readings.
  std::string text(const Joules& used, double n_tokens) const;

 private:
  std::mutex mutex_;
  cpu::PackageEnergy packages_;
  std::unique_ptr<gpu::CardEnergy> card_;  // null: none
  std::jthread sampler_;                   // counters wrap within minutes
};

}  // namespace dodeca::runtime::engine
