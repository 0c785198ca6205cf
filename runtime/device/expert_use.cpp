#include "runtime/device/expert_use.hpp"

#include <algorithm>

namespace dodeca::runtime::device {
namespace {

// An expert is worth a copy when it was chosen so often more than what it drives out; without that, two that are alike
// would take turns.
constexpr std::uint32_t kLeastUses = 2, kLeastGain = 8;

bool worth(std::uint32_t uses, std::uint32_t of_victim) { return uses >= of_victim + of_victim / 2 + kLeastGain; }

}  // namespace

ExpertUse::ExpertUse(std::int64_t n_layers, std::int64_t n_experts, std::int64_t n_slots)
    : layers_(static_cast<std::size_t>(n_layers),
              Layer{.uses = std::vector<std::uint32_t>(static_cast<std::size_t>(n_experts), 0),
                    .slot_of = std::vector<std::int32_t>(static_cast<std::size_t>(n_experts), -1),
                    .resident = std::vector<std::int32_t>(static_cast<std::size_t>(n_slots), -1)}) {}

std::int64_t ExpertUse::count(std::int64_t layer, std::span<const std::int32_t> experts) {
  Layer& l = layers_[static_cast<std::size_t>(layer)];
  std::int64_t n = 0;
  for (const std::int32_t expert : experts) {
    ++l.uses[static_cast<std::size_t>(expert)];
    n += l.slot_of[static_cast<std::size_t>(expert)] >= 0;
  }
  l.since_halved += std::ssize(experts);
  if (l.since_halved >= kHalfLifeChoices) {
    l.since_halved = 0;
    for (std::uint32_t& uses : l.uses) uses /= 2;
  }
  return n;
}

std::optional<ExpertUse::Swap> ExpertUse::next() const {
  std::optional<Swap> best;
  std::uint32_t most = 0;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Layer& l = layers_[i];
    std::int32_t expert = -1;
    for (std::size_t e = 0; e < l.uses.size(); ++e) {
      if (l.slot_of[e] < 0 && (expert < 0 || l.uses[e] > l.uses[static_cast<std::size_t>(expert)]))
        expert = static_cast<std::int32_t>(e);
    }
    if (expert < 0 || l.resident.empty()) continue;
    const auto uses_of = [&](std::int32_t resident) {
      return resident < 0 ? 0u : 1 + l.uses[static_cast<std::size_t>(resident)];
    };
    const auto least = std::ranges::min_element(l.resident, {}, uses_of);
    const std::uint32_t uses = l.uses[static_cast<std::size_t>(expert)],
                        victim = *least < 0 ? 0 : l.uses[static_cast<std::size_t>(*least)];
    if (*least < 0 ? uses < kLeastUses : !worth(uses, victim)) continue;
    if (uses - victim <= most) continue;
    most = uses - victim;
    best = {.layer = static_cast<std::int64_t>(i),
            .expert = expert,
            .slot = static_cast<std::int32_t>(least - l.resident.begin())};
  }
  return best;
}

void ExpertUse::leave(std::int64_t layer, std::int32_t slot) {
  Layer& l = layers_[static_cast<std::size_t>(layer)];
  std::int32_t& resident = l.resident[static_cast<std::size_t>(slot)];
  if (resident >= 0) l.slot_of[static_cast<std::size_t>(resident)] = -1;
  resident = -1;
}

void ExpertUse::enter(const Swap& swap) {
  Layer& l = layers_[static_cast<std::size_t>(swap.layer)];
  l.resident[static_cast<std::size_t>(swap.slot)] = swap.expert;
  l.slot_of[static_cast<std::size_t>(swap.expert)] = swap.slot;
}

std::span<const std::int32_t> ExpertUse::slot_of(std::int64_t layer) const {
  return layers_[static_cast<std::size_t>(layer)].slot_of;
}

}  // namespace dodeca::runtime::device
