// Where the speeds come from by which experts are divided between a device and the processors (stream_schedule.hpp): measured
// once for a machine and a model's types, and kept in a file, so that the same prompt is divided in the same way in every run:
//
//   { "dodeca_stream_speeds": 1, "machine": "AuthenticAMD 25/17, 64 threads, NVIDIA GeForce RTX 3090", "types": "Q2_K Q2_K Q3_K",
//     "link_gb_s": 25.1, "device_gb_s": 640, "device_gmac_s": 21000, "host_gb_s": 290, "host_gmac_s": 4800 }
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "cpu/team.hpp"
#include "gpu/device.hpp"
#include "runtime/device/offload.hpp"

namespace dodeca::runtime::device {

// With weights of the types and sizes of the plan's first layer of routed experts that the device multiplies. They are made
// for this and take a gigabyte on both sides, and a second. Error{kBadRequest} where there is no such layer.
StreamSpeeds measure_stream_speeds(gpu::Device& device, cpu::Team& team, const Plan& plan);

// What an expert takes and each of its rows, from what one takes with few and with many rows: of both it is measured.
inline constexpr std::int64_t kFewerStreamRows = 16, kMoreStreamRows = 128;
struct ExpertCosts {
  double expert, row;  // seconds
};
ExpertCosts expert_costs(double fewer_seconds, double more_seconds);

// What a file's speeds are of.
struct StreamSetting {
  std::string machine, types;
};
StreamSetting stream_setting(const Plan& plan, std::string_view processor, int n_threads, std::string_view device);

struct StreamSpeedsFile {
  StreamSpeeds speeds;
  StreamSetting setting;
};
// Error{kBadFile} naming the file and the entry where it is no JSON, keys are missing or unknown, or a speed is none.
StreamSpeedsFile read_stream_speeds(const std::filesystem::path& path);
StreamSpeedsFile parse_stream_speeds(std::string_view text, std::string_view what);
// Makes the folder too.
void write_stream_speeds(const StreamSpeedsFile& file, const std::filesystem::path& path);

}  // namespace dodeca::runtime::device
