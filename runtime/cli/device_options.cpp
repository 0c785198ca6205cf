#include "runtime/cli/device_options.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <stdexcept>
#include <string_view>

#include "runtime/base/error.hpp"
#include "runtime/cli/stream_options.hpp"

namespace dodeca::runtime::cli {
namespace {

constexpr std::int64_t kMaxLayers = 1 << 16;

Place place_of(std::string_view rule, std::string_view name) {
  if (name == "CPU" || name == "CUDA_Host") return Place::kCpu;
  if (name == "CUDA0" || name == "GPU0" || name == "GPU") return Place::kDevice;
  throw Usage(fmt::format("-ot {}: the place must be CPU or CUDA0, not '{}'", rule, name));
}

std::vector<device::PlaceRule> rules_of(const std::vector<std::string>& texts) {
  std::vector<device::PlaceRule> rules;
  for (const std::string& text : texts) {
    std::string_view rest = text;
    while (!rest.empty()) {
      const std::size_t comma = std::min(rest.find(','), rest.size());
      const std::string_view rule = rest.substr(0, comma);
      const std::size_t equals = rule.rfind('=');
      if (equals == std::string_view::npos || equals == 0)
        throw Usage(fmt::format("-ot needs REGEX=PLACE, not '{}'", rule));
      rules.push_back({std::string(rule.substr(0, equals)), place_of(rule, rule.substr(equals + 1))});
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
  return rules;
}

}  // namespace

void DeviceOptions::add_flags(Options& options) {
  options.value("--gpu,-dev,--device", gpu,
                "none, the number of a card, or emulation (the card's kernels on the processors, for tests; default: "
                "none, or the first card where an option below asks for one)",
                "NAME");
  options.value("--vram", vram, "use at most so much of the card's memory, such as 24GiB (default: what is free)",
                "SIZE");
  options.value("-ngl,--gpu-layers,--n-gpu-layers", n_layers,
                "layers on the card, counted from the last one, the output head first; auto: what fits; all", "N");
  options.value(
      "-ncmoe,--n-cpu-moe", n_cpu_moe,
      "keep the routed experts of the first N layers in memory, and those of the others on the card (default: on "
      "the card what has room)",
      {0, kMaxLayers});
  options.flag("-cmoe,--cpu-moe", cpu_moe, "keep all routed experts in memory");
  options.values("-ot,--override-tensor", override_tensors,
                 "place weights by name, such as exps=CPU; a block whose weights are ruled differently stays in memory",
                 "REGEX=PLACE,...");
  options.value("--hot-experts", hot_experts,
                "auto: room that is left on the card takes the experts that the run uses most, which change while it "
                "goes on; off: those of whole layers (default: off)",
                "MODE");
  options.value(
      "--stream-experts", stream_experts,
      "auto: in passes of many rows the card computes some of the experts in memory, whose weights stream to it, "
      "by speeds that are measured once; off; or a file of speeds (default: auto, with emulation off)",
      "MODE|FILE", FileUse::kReads);
  options.value("--defer-experts", n_deferred,
                "add the N experts of a row that weigh least one layer later, so that the card need not wait for them; "
                "changes what the model says (default: 0)",
                {0, 64});
}

void DeviceOptions::check() const {
  if (!vram.empty()) parse_bytes("--vram", vram);
  if (!hot_experts.empty() && hot_experts != "auto" && hot_experts != "off")
    throw Usage(fmt::format("--hot-experts must be auto or off, not '{}'", hot_experts));
  offload(1);
  const std::string name = card_name();
  if (name.empty() || name == "none" || name == "emulation") return;
  if (name.size() > 3 || !std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; }))
    throw Usage(fmt::format("--gpu must be none, emulation or the number of one card, not '{}'", gpu));
}

// As llama.cpp names cards too: CUDA0.
std::string DeviceOptions::card_name() const { return gpu.starts_with("CUDA") ? gpu.substr(4) : gpu; }

std::vector<std::string_view> DeviceOptions::asked() const {
  std::vector<std::string_view> flags;
  if (!n_layers.empty()) flags.emplace_back("-ngl");
  if (n_cpu_moe >= 0) flags.emplace_back("--n-cpu-moe");
  if (cpu_moe) flags.emplace_back("--cpu-moe");
  if (!override_tensors.empty()) flags.emplace_back("-ot");
  if (!vram.empty()) flags.emplace_back("--vram");
  if (hot_experts == "auto") flags.emplace_back("--hot-experts");
  if (!stream_experts.empty() && stream_experts != "off") flags.emplace_back("--stream-experts");
  if (n_deferred > 0) flags.emplace_back("--defer-experts");
  return flags;
}

bool DeviceOptions::wants_card() const {
  if (!gpu.empty()) return gpu != "none";
  return !asked().empty() && n_layers != "0" && gpu::why_no_devices().empty();
}

std::shared_ptr<gpu::Device> DeviceOptions::open(const Console& console) const {
  std::string name = card_name();
  if (name == "none") return nullptr;
  if (name.empty()) {
    const std::vector<std::string_view> flags = asked();
    const std::string why = flags.empty() || n_layers == "0" ? "no card is asked for" : gpu::why_no_devices();
    for (const std::string_view flag : flags) {
      if (!why.empty()) console.info(fmt::format("{}: all layers run on the processors: {}", flag, why));
    }
    if (!why.empty()) return nullptr;
    name = "0";
  }
  try {
    std::shared_ptr<gpu::Device> device =
        gpu::open_device(name, {.memory_limit = vram.empty() ? ~std::uint64_t{0} : parse_bytes("--vram", vram)});
    if (name == "emulation")
      console.warn("the card is emulated on the processors: right, and some thousand times slower than one");
    return device;
  } catch (const std::runtime_error& error) {
    throw Error(ErrorKind::kUnsupported, error.what());
  }
}

device::OffloadOptions DeviceOptions::offload(std::int64_t all_layers) const {
  device::OffloadOptions options;
  if (n_layers == "all")
    options.n_layers = all_layers + 1;
  else if (!n_layers.empty() && n_layers != "auto" && n_layers != "-1")
    options.n_layers = parse_integer("-ngl", n_layers, {0, kMaxLayers});
  if (n_cpu_moe >= 0) options.n_cpu_moe = n_cpu_moe;
  if (cpu_moe) options.n_cpu_moe = kMaxLayers;
  options.rules = rules_of(override_tensors);
  options.hot_experts = hot_experts == "auto";
  options.n_deferred = n_deferred;
  return options;
}

std::string cards_text() {
  std::string text;
  for (const gpu::DeviceInfo& card : gpu::devices())
    text += fmt::format("{}{}, {}", text.empty() ? "" : "; ", card.name,
                        bytes_text(static_cast<double>(card.memory_bytes)));
  return text.empty() ? "none: " + gpu::why_no_devices() : text;
}

Machine::Device device_of(const gpu::Device& device) {
  const gpu::DeviceInfo info = device.info();
  return {.name = info.name,
          .memory_bytes = info.memory_bytes,
          .free_bytes = std::min(info.free_bytes, device.memory_limit()),
          .multiprocessors = std::max(1, info.multiprocessors)};
}

device::Offload place_on_card(const DeviceOptions& options, Plan& plan, exec::ExecutorOptions& executor,
                              const std::optional<device::StreamSpeeds>& speeds) {
  device::OffloadOptions offload_options = options.offload(plan.config.n_layers);
  offload_options.stream_speeds = speeds;
  device::Offload offload = device::place_blocks(plan, plan.machine.devices.front(), offload_options,
                                                 {executor.sizes(), executor.cache_type});
  if (offload.any()) executor.micro_batch = std::min(executor.micro_batch, offload.micro_batch);
  return offload;
}

void use_card(const DeviceOptions& options, const std::shared_ptr<gpu::Device>& card, cpu::Team& prompts,
              const Console& console, Plan& plan, engine::SessionOptions& session) {
  const device::Offload offload = place_on_card(
      options, plan, session.executor, stream_speeds_for(options.stream_experts, *card, prompts, plan, console));
  say_offload(offload, console);
  if (!offload.any()) return;
  if (offload.n_streamed_layers > 0) console.info(streaming_text(plan, offload));
  session.device = std::make_shared<device::DeviceBlocks>(card, plan, offload, console.log());
}

void say_offload(const device::Offload& offload, const Console& console) {
  const auto size = [](std::uint64_t bytes) { return bytes_text(static_cast<double>(bytes)); };
  for (const std::string& given_up : offload.given_up) console.warn(given_up);
  for (const std::string& refused : offload.refused) console.info(refused);
  if (!offload.any()) return console.info(fmt::format("{}: nothing runs there", offload.device.name));
  std::string experts;
  if (offload.n_expert_layers > 0)
    experts += fmt::format(", experts of {} ({})", offload.n_expert_layers, size(offload.experts));
  if (offload.n_hot_layers > 0)
    experts += fmt::format(", slots for {} experts in each of {} ({})", offload.n_hot_slots, offload.n_hot_layers,
                           size(offload.hot_experts));
  if (offload.n_streamed_layers > 0)
    experts +=
        fmt::format(", {} buffers for those that stream ({})", offload.n_stream_buffers, size(offload.stream_buffers));
  console.info(fmt::format("{}: attention of {} layers{}; weights {}, cache {} ({}), work space {}: {} of {}",
                           offload.device.name, offload.n_layers, experts, size(offload.weights), size(offload.cache),
                           quant::name_of(offload.cache_type), size(offload.work), size(offload.bytes()),
                           size(offload.budget)));
  if (offload.n_deferring > 0)
    console.info(fmt::format("the lightest experts of {} layers are added one layer later", offload.n_deferring));
}

}  // namespace dodeca::runtime::cli
