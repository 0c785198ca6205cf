#include "runtime/cli/stream_options.hpp"

#include <fmt/core.h>

#include <filesystem>

#include "cpu/processor.hpp"
#include "runtime/base/error.hpp"
#include "runtime/base/hash.hpp"
#include "runtime/cli/tuning.hpp"
#include "runtime/device/stream_measure.hpp"
#include "runtime/device/streamed_experts.hpp"

namespace dodeca::runtime::cli {
namespace {

// A file for each setting, beside the user's kernel tuning. Empty: there is no place for one.
std::filesystem::path kept_file(const device::StreamSetting& setting) {
  const std::filesystem::path tuning = tuning_search(cpu::Isa::kScalar).user_file;
  if (tuning.empty()) return {};
  return tuning.parent_path() / fmt::format("streaming-{:016x}.json", fnv1a(setting.machine + "; " + setting.types));
}

struct Known {
  std::optional<device::StreamSpeeds> speeds;
  bool settled = false;  // nothing is to be measured
};

Known known(const std::string& mode, gpu::Device& card, const device::StreamSetting& setting, const Plan& plan,
            const Console& console) {
  const bool automatic = mode.empty() || mode == "auto";
  if (mode == "off" || device::first_streamable(plan) == nullptr || (automatic && card.info().name == "emulation"))
    return {{}, true};
  if (!automatic) {
    const device::StreamSpeedsFile file = device::read_stream_speeds(mode);
    if (file.setting.machine != setting.machine || file.setting.types != setting.types)
      console.detail(fmt::format("the speeds of {} are of: {}; {}", mode, file.setting.machine, file.setting.types));
    return {file.speeds, true};
  }
  const std::filesystem::path path = kept_file(setting);
  std::error_code error;
  if (path.empty() || !std::filesystem::exists(path, error)) return {};
  try {
    const device::StreamSpeedsFile file = device::read_stream_speeds(path);
    if (file.setting.machine != setting.machine || file.setting.types != setting.types) return {};
    console.detail(fmt::format("streamed experts: speeds from {}", path.string()));
    return {file.speeds, true};
  } catch (const Error& bad) {  // of a program that was interrupted, or of another version: measured again
    console.detail(bad.what());
    return {};
  }
}

device::StreamSetting setting_of(gpu::Device& card, int n_threads, const Plan& plan) {
  return device::stream_setting(plan, cpu::processor_id(), n_threads, card.info().name);
}

}  // namespace

std::optional<device::StreamSpeeds> known_stream_speeds(const std::string& mode, gpu::Device& card, int n_threads,
                                                        const Plan& plan, const Console& console) {
  return known(mode, card, setting_of(card, n_threads, plan), plan, console).speeds;
}

std::optional<device::StreamSpeeds> stream_speeds_for(const std::string& mode, gpu::Device& card, cpu::Team& prompts,
                                                      const Plan& plan, const Console& console) {
  const device::StreamSetting setting = setting_of(card, prompts.size(), plan);
  if (const Known found = known(mode, card, setting, plan, console); found.settled) return found.speeds;
  device::StreamSpeeds speeds;
  try {
    speeds = device::measure_stream_speeds(card, prompts, plan);
  } catch (const std::exception& error) {
    console.warn(fmt::format("experts do not stream to the card: {}", error.what()));
    return std::nullopt;
  }
  const std::filesystem::path path = kept_file(setting);
  if (path.empty()) return speeds;
  try {
    device::write_stream_speeds({speeds, setting}, path);
    console.info(fmt::format("measured how fast experts stream to the card; kept in {}", path.string()));
    return device::read_stream_speeds(path).speeds;  // as the next run will have them
  } catch (const Error& error) {
    console.detail(error.what());
    return speeds;
  }
}

std::string streaming_text(const Plan& plan, const device::Offload& offload) {
  const device::StreamSpeeds& s = *offload.stream_speeds;
  const std::int64_t rows = device::least_streamed_rows(plan, offload);
  return fmt::format(
      "experts of {} layers stream to the card in passes of {} rows and more, of {} at most (link {:.1f} GB/s; card "
      "{:.0f} GB/s, "
      "{:.0f} GMAC/s; processors {:.0f} GB/s, {:.0f} GMAC/s)",
      offload.n_streamed_layers, rows, offload.micro_batch, s.link_bytes_per_s * 1e-9, s.device_bytes_per_s * 1e-9,
      s.device_macs_per_s * 1e-9, s.host_bytes_per_s * 1e-9, s.host_macs_per_s * 1e-9);
}

}  // namespace dodeca::runtime::cli
