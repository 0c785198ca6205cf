#include "runtime/engine/energy_meter.hpp"

#include <fmt/core.h>

#include <chrono>
#include <condition_variable>

namespace dodeca::runtime::engine {

EnergyMeter::EnergyMeter(const std::string& pci_bus_id, const std::string& root) : packages_(root) {
  if (!pci_bus_id.empty()) card_ = std::make_unique<gpu::CardEnergy>(pci_bus_id);
  if (!counts()) return;
  sampler_ = std::jthread([this](const std::stop_token& stop) {
    std::condition_variable_any stopped;
    std::mutex sleeping;
    std::unique_lock lock(sleeping);
    while (!stopped.wait_for(lock, stop, std::chrono::seconds(20), [] { return false; }) && !stop.stop_requested())
      read();
  });
}

Joules EnergyMeter::read() {
  const std::lock_guard lock(mutex_);
  return {.packages = packages_.joules(), .card = card_ == nullptr ? 0 : card_->joules()};
}

std::string EnergyMeter::text(const Joules& used, double n_tokens) const {
  std::string text = fmt::format("{:.4g} J", used.sum());
  if (card_ == nullptr)
    text += " (packages alone)";
  else if (card_->why_not().empty())
    text += fmt::format(" (packages {:.4g}, card {:.4g})", used.packages, used.card);
  else
    text += fmt::format(" (packages alone: {})", card_->why_not());
  if (n_tokens > 0) text += fmt::format(", {:.4g} J per token", used.sum() / n_tokens);
  return text;
}

}  // namespace dodeca::runtime::engine
