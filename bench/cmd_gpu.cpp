#include "bench/cmd_gpu.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>

#include "bench/card_measure.hpp"
#include "bench/gpu_kernels.hpp"
#include "bench/gpu_link.hpp"
#include "runtime/cli/console.hpp"
#include "runtime/cli/options.hpp"
#include "runtime/predict/machine_file.hpp"

namespace dodeca::bench {
namespace {

using nlohmann::ordered_json;

constexpr double kGb = 1e9;

GpuMeasure sizes_for(const gpu::Device& device, bool emulated, double seconds) {
  if (emulated)
    return {.seconds = 1e-9,
            .copy_bytes = 1 << 16,
            .pool_bytes = 1 << 20,
            .launches = 10,
            .round_trips = 20,
            .emulated = true};
  const std::uint64_t room = std::min(device.memory_limit(), device.info().free_bytes);
  return {.seconds = seconds,
          .copy_bytes = std::size_t{256} << 20,
          .pool_bytes = static_cast<std::size_t>(std::min<std::uint64_t>(room / 4, std::uint64_t{2} << 30)) / 256 * 256,
          .launches = 1000,
          .round_trips = 1000};
}

// Random bytes: a card's clock depends on how many bits change.
gpu::DeviceMemory make_pool(gpu::Device& device, std::size_t bytes) {
  gpu::DeviceMemory pool = device.allocate(bytes);
  const std::size_t piece = std::min<std::size_t>(bytes, std::size_t{64} << 20);
  std::vector<std::uint32_t> random(piece / sizeof(std::uint32_t));
  std::mt19937 generator(1);
  for (std::uint32_t& word : random) word = static_cast<std::uint32_t>(generator());
  const gpu::Stream stream = device.make_stream();
  for (std::size_t at = 0; at < bytes; at += piece)
    device.copy_to_device(stream, pool.data() + at, random.data(), std::min(piece, bytes - at));
  device.synchronize(stream);
  return pool;
}

// Writes both forms of the report as results come in; the document is printed at the end.
class GpuReport {
 public:
  explicit GpuReport(bool table) : table_(table) {}

  void line(const std::string& text) const {
    if (!table_) return;
    runtime::cli::print_out(text + "\n");
    runtime::cli::flush_out();
  }
  void device(const gpu::DeviceInfo& info, bool emulated) {
    document_["device"] = {{"name", info.name},
                           {"compute_capability", info.compute_capability},
                           {"multiprocessors", info.multiprocessors},
                           {"memory_bytes", info.memory_bytes},
                           {"free_bytes", info.free_bytes}};
    document_["backend"] = gpu::backend_name();
    document_["times_mean_something"] = !emulated;
    line(fmt::format("{}, sm_{}, {} multiprocessors, {:.1f} GB", info.name, info.compute_capability,
                     info.multiprocessors, static_cast<double>(info.memory_bytes) / kGb));
    line("\n| what | result |\n| ---- | -----: |");
  }
  void copies(const std::vector<CopyRate>& rates) {
    for (const CopyRate& rate : rates) {
      document_["copies"].push_back(
          {{"memory", rate.memory}, {"direction", rate.direction}, {"gb_per_s", rate.bytes_per_second / kGb}});
      line(fmt::format("| copies, {} memory, {} | {:.1f} GB/s |", rate.memory, rate.direction,
                       rate.bytes_per_second / kGb));
    }
  }
  void reading(double bytes_per_second) {
    read_rate_ = bytes_per_second;
    document_["read_gb_per_s"] = bytes_per_second / kGb;
    line(fmt::format("| reading its memory | {:.1f} GB/s |", bytes_per_second / kGb));
  }
  void launches(const LaunchCost& cost) {
    document_["launch"] = {{"host_us", cost.host_us}, {"stream_us", cost.stream_us}, {"graph_us", cost.graph_us}};
    line(fmt::format("| a launch, time of the caller | {:.2f} us |", cost.host_us));
    line(fmt::format("| from launch to launch in a stream | {:.2f} us |", cost.stream_us));
    line(fmt::format("| from launch to launch in a graph | {:.2f} us |", cost.graph_us));
  }
  void mailbox(const RoundTrip& trip) {
    document_["round_trip"] = {
        {"turns", trip.turns}, {"least_us", trip.least_us}, {"median_us", trip.median_us}, {"p99_us", trip.p99_us}};
    line(fmt::format("| round trip of flags, median of {} (99 %) | {:.2f} us ({:.2f} us) |", trip.turns, trip.median_us,
                     trip.p99_us));
    line("\n| kernel | shape | us | GB/s | of reading | Gop/s |\n| ------ | ----- | -: | ---: | ---------: | ----: |");
  }
  void kernel(const KernelTime& time) {
    const double percent = 100 * time.bytes_per_second() / read_rate_;
    document_["kernels"].push_back({{"kernel", time.kernel},
                                    {"shape", time.shape},
                                    {"blocks", {time.grid.blocks_x, time.grid.blocks_y, time.grid.blocks_z}},
                                    {"threads", time.grid.threads},
                                    {"shared_bytes", time.grid.shared_bytes},
                                    {"us", time.us},
                                    {"bytes", time.bytes},
                                    {"operations", time.operations},
                                    {"gb_per_s", time.bytes_per_second() / kGb},
                                    {"read_percent", percent},
                                    {"gop_per_s", time.operations_per_second() / 1e9}});
    line(fmt::format("| {} | {} | {:.2f} | {:.1f} | {:.0f} % | {:.0f} |", time.kernel, time.shape, time.us,
                     time.bytes_per_second() / kGb, percent, time.operations_per_second() / 1e9));
  }
  void end() const {
    if (!table_) runtime::cli::print_out(document_.dump(1) + "\n");
  }

 private:
  bool table_;
  double read_rate_ = 1;  // bytes per second
  ordered_json document_;
};

}  // namespace

int cmd_gpu(std::span<const std::string> args) {
  runtime::cli::Options options(
      "dodeca-bench gpu",
      "Measures a card: copies to and from it, reading its memory, launches, the round trip "
      "of flags through which host\n"
      "and card meet, and each kernel at DeepSeek-V3's sizes beside what memory allows. With "
      "--gpu emulation everything\n"
      "runs at small sizes, and no time means anything.",
      "dodeca-bench gpu\n"
      "  dodeca-bench gpu --gpu 1 --vram 24GiB -o json\n"
      "  dodeca-bench gpu --write-card card.json    then dodeca plan --machine here.json --gpu card.json");
  runtime::cli::Console console;
  std::string name = "0", vram, output = "md", write_card;
  double seconds = 0.02;
  options.value("--gpu", name, "the number of a card, or emulation (default: 0)", "NAME");
  options.value("--vram", vram, "use at most so much of its memory", "SIZE");
  options.value("--seconds", seconds, "time for each measurement (default: 0.02)", {0.001, 3600});
  options.choice("-o,--output", output, {"md", "json"}, "format (default: md)");
  options.value("--write-card", write_card, "write the card's figures for dodeca plan --gpu FILE", "FILE",
                runtime::cli::FileUse::kWrites);
  console.add_flags(options);
  options.parse(args);

  gpu::DeviceOptions limits;
  if (!vram.empty()) limits.memory_limit = runtime::cli::parse_bytes("--vram", vram);
  const std::unique_ptr<gpu::Device> device = gpu::open_device(name, limits);
  const bool emulated = name == "emulation";
  if (emulated && !write_card.empty())
    throw runtime::cli::Usage("--write-card: the emulation's times say nothing of a card");
  if (emulated) console.warn("the emulation runs kernels on the host: its times mean nothing");
  const GpuMeasure measure = sizes_for(*device, emulated, seconds);

  GpuReport report(output == "md");
  CardMeasure card;
  report.device(device->info(), emulated);
  card.device(device->info());
  const std::vector<CopyRate> copies = copy_rates(*device, measure);
  report.copies(copies);
  card.copies(copies);
  const gpu::DeviceMemory pool = make_pool(*device, measure.pool_bytes);
  const double reading = read_rate(*device, pool, measure);
  report.reading(reading);
  card.reading(reading);
  const LaunchCost launches = launch_cost(*device, measure);
  report.launches(launches);
  card.launches(launches);
  const RoundTrip trip = round_trip(*device, measure);
  report.mailbox(trip);
  card.mailbox(trip);
  GpuKernels kernels(*device, pool, measure, [&](const KernelTime& time) {
    report.kernel(time);
    card.kernel(time);
  });
  kernels.attention();
  kernels.rows();
  kernels.products();
  report.end();
  if (write_card.empty()) return 0;
  runtime::predict::write_card(card.spec(), write_card);
  console.info(fmt::format("the card's figures are in {}", write_card));
  return 0;
}

}  // namespace dodeca::bench
