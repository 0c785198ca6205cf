// The file of the speeds by which experts are divided between a device and the processors (stream_schedule.hpp). They are
// measured once for a machine and a model's types (stream_measure.hpp), and kept, so that the same prompt is divided in the
// same way in every run:
//
//   { "dodeca_stream_speeds": 1, "machine": "AuthenticAMD 25/17, 64 threads, NVIDIA GeForce RTX 3090", "types": "Q2_K Q2_K Q3_K",
//     "link_gb_s": 25.1, "device_gb_s": 640, "device_gmac_s": 21000, "host_gb_s": 290, "host_gmac_s": 4800 }
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "runtime/device/offload.hpp"

namespace dodeca::runtime::device {

// What a file's speeds are of.
struct StreamSetting {
  std::string machine, types;
};
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
