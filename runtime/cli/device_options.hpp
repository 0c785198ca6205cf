// The flags about a card: which one, how much of it, and what runs there; in the words of llama.cpp where it has them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gpu/device.hpp"
#include "runtime/cli/console.hpp"
#include "runtime/cli/options.hpp"
#include "runtime/device/offload.hpp"
#include "runtime/engine/session.hpp"

namespace dodeca::runtime::cli {

struct DeviceOptions {
  std::string gpu;                            // "none", "emulation" or a number; empty: see open()
  std::string vram;                           // "24GiB"; empty: what is free
  std::string n_layers;                       // -ngl: a number, "auto" or "all"; empty: auto
  std::int32_t n_cpu_moe = -1;                // -1: what has room
  bool cpu_moe = false;                       // the experts of all layers
  std::vector<std::string> override_tensors;  // "REGEX=CPU,..."
  std::string hot_experts;                    // "auto" or "off"; empty: off
  std::string stream_experts;                 // "auto", "off" or a file of speeds; empty: auto
  std::int32_t n_deferred = 0;                // of a row's experts

  void add_flags(Options& options);
  void check() const;  // after parse; throws Usage

  // The card that was named; without --gpu the first one, where another flag asks for something of it, else null. Where
  // there is none although flags ask, each is answered in one line. Throws Error{kUnsupported} for a card
  // that was named and is not there.
  std::shared_ptr<gpu::Device> open(const Console& console) const;
  device::OffloadOptions offload(std::int64_t all_layers) const;
  std::vector<std::string_view> asked() const;  // the flags that were given, but for --gpu
  // Whether open() gives a card, or throws for want of it.
  bool wants_card() const;

 private:
  std::string card_name() const;
};

// The cards of this machine, or "none: " and why. Wakes the driver, which takes a part of a second.
std::string cards_text();
// A card as a plan knows it.
Machine::Device device_of(const gpu::Device& device);

// Places the plan's blocks for a run of these sizes, whose micro-batch becomes what the card takes. speeds: those by which
// experts stream; none: they do not.
device::Offload place_on_card(const DeviceOptions& options, Plan& plan, exec::ExecutorOptions& executor,
                              const std::optional<device::StreamSpeeds>& speeds);
// The same, and gives the session what runs those on the card; says where things lie. `prompts` computes the experts in
// memory.
void use_card(const DeviceOptions& options, const std::shared_ptr<gpu::Device>& card, cpu::Team& prompts,
              const Console& console, Plan& plan, engine::SessionOptions& session);

// What lies where: a line or two, and one for everything that was given up.
void say_offload(const device::Offload& offload, const Console& console);

}  // namespace dodeca::runtime::cli
