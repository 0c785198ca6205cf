// The speeds by which experts are divided between a card and the processors: of a file, of what an earlier run measured and
// kept, or measured now.
#pragma once

#include <optional>
#include <string>

#include "cpu/team.hpp"
#include "gpu/device.hpp"
#include "runtime/cli/console.hpp"
#include "runtime/device/stream_speeds.hpp"

namespace dodeca::runtime::cli {

// mode: of --stream-experts. None where nothing streams: it is off, the model has no routed experts that can, or the card is
// emulated and no file says otherwise. What is measured is kept beside the kernel tuning, and found there the next time.
std::optional<device::StreamSpeeds> stream_speeds_for(const std::string& mode, gpu::Device& card, cpu::Team& prompts,
                                                      const Plan& plan, const Console& console);
// The same without measuring: none where nobody measured.
std::optional<device::StreamSpeeds> known_stream_speeds(const std::string& mode, gpu::Device& card, int n_threads,
                                                        const Plan& plan, const Console& console);

// From which prompts on, at what speeds, a line.
std::string streaming_text(const Plan& plan, const device::Offload& offload);

}  // namespace dodeca::runtime::cli
