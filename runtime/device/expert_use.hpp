// Which experts a run uses most, and which of them have the slots that a device has for them: counted while the run goes on,
// with older choices worth less and less. A function of the choices alone, not of time.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace dodeca::runtime::device {

// Choices of a layer after which all that came before count half.
inline constexpr std::int64_t kHalfLifeChoices = 4096;

// In passes of few rows: choices of layers with slots, how many of them the device computed; and copies to slots.
struct HotExpertTotals {
  std::int64_t chosen = 0, on_device = 0, swaps = 0;
};

class ExpertUse {
 public:
  ExpertUse(std::int64_t n_layers, std::int64_t n_experts, std::int64_t n_slots);

  // The experts that rows of a pass chose in a layer; how many of them had a slot.
  std::int64_t count(std::int64_t layer, std::span<const std::int32_t> experts);

  struct Swap {
    std::int64_t layer = 0;
    std::int32_t expert = 0, slot = 0;
  };
  // The expert without a slot that gains most by one, and the slot: an empty one, or that of its layer's least used expert.
  // None: nothing gains enough to be worth the copy.
  std::optional<Swap> next() const;
  void leave(std::int64_t layer, std::int32_t slot);  // empties it
  void enter(const Swap& swap);

  std::span<const std::int32_t> slot_of(std::int64_t layer) const;  // [experts] -1: no slot

 private:
  struct Layer {
    std::vector<std::uint32_t> uses;     // [experts]
    std::vector<std::int32_t> slot_of;   // [experts]
    std::vector<std::int32_t> resident;  // [slots] expert, -1: empty
    std::int64_t since_halved = 0;
  };
  std::vector<Layer> layers_;
};

}  // namespace dodeca::runtime::device
