#include "runtime/device/stream_speeds.hpp"

#include <fmt/core.h>

#include <array>
#include <nlohmann/json.hpp>

#include "runtime/base/error.hpp"
#include "runtime/load/json_fields.hpp"

namespace dodeca::runtime::device {
namespace {

constexpr std::uint64_t kMaxBytes = 1 << 16;
constexpr int kVersion = 1;

struct Entry {
  const char* key;
  double StreamSpeeds::*speed;
};
constexpr std::array kEntries = {
    Entry{"link_gb_s", &StreamSpeeds::link_bytes_per_s}, Entry{"device_gb_s", &StreamSpeeds::device_bytes_per_s},
    Entry{"device_gmac_s", &StreamSpeeds::device_macs_per_s}, Entry{"host_gb_s", &StreamSpeeds::host_bytes_per_s},
    Entry{"host_gmac_s", &StreamSpeeds::host_macs_per_s}};
// In 10^9 per second; beyond it there is no machine.
constexpr double kLeast = 1e-6, kMost = 1e7;

StreamSpeedsFile speeds_of(const Json& json, std::string_view what) {
  const JsonFields fields(what, "has no speeds of streamed experts");
  fields.check_root(json);
  fields.check_keys(json, {"dodeca_stream_speeds", "machine", "types", "link_gb_s", "device_gb_s", "device_gmac_s",
                           "host_gb_s", "host_gmac_s"});
  if (const std::int64_t version = fields.integer(fields.member(json, "dodeca_stream_speeds"), "dodeca_stream_speeds");
      version != kVersion)
    throw fields.bad(fmt::format("it has version {}, not {}", version, kVersion));
  StreamSpeedsFile file;
  file.setting = {fields.text(fields.member(json, "machine"), "machine"),
                  fields.text(fields.member(json, "types"), "types")};
  for (const auto& [key, speed] : kEntries) {
    const Json& value = fields.member(json, key);
    if (!value.is_number() || !(value.get<double>() >= kLeast && value.get<double>() <= kMost))
      throw fields.bad(fmt::format("\"{}\" is no speed from {} to {} times 10^9 per second", key, kLeast, kMost));
    file.speeds.*speed = value.get<double>() * 1e9;
  }
  return file;
}

}  // namespace

StreamSpeedsFile read_stream_speeds(const std::filesystem::path& path) {
  return speeds_of(read_json(path, kMaxBytes), path.string());
}

StreamSpeedsFile parse_stream_speeds(std::string_view text, std::string_view what) {
  return speeds_of(parse_json(text, what), what);
}

void write_stream_speeds(const StreamSpeedsFile& file, const std::filesystem::path& path) {
  Json json = {{"dodeca_stream_speeds", kVersion}, {"machine", file.setting.machine}, {"types", file.setting.types}};
  for (const auto& [key, speed] : kEntries)  // four digits: what is divided does not change with noise
    append_key(json, key, std::stod(fmt::format("{:.4g}", file.speeds.*speed * 1e-9)));
  std::error_code error;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  if (error)
    throw Error(ErrorKind::kIo, fmt::format("cannot make the folder of {}: {}", path.string(), error.message()));
  write_json(json, path);
}

}  // namespace dodeca::runtime::device
