#include "runtime/allocate/sensitivity_file.hpp"

#include <nlohmann/json.hpp>

#include "runtime/base/output_file.hpp"
#include "runtime/load/json.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::uint64_t kMaxSensitivityBytes = std::uint64_t{64} << 20;

SensitivityFile sensitivities_of(const Json& json, std::string_view what) {
  const auto bad = [&](std::string_view why) {
    return Error(ErrorKind::kBadFile, fmt::format("{} holds no sensitivities: {}", what, why));
  };
  const auto member = [&](const char* key) -> const Json& {
    const auto found = json.find(key);
    if (found == json.end()) throw bad(fmt::format("\"{}\" is missing", key));
    return *found;
  };
  const auto text = [&](const char* key) {
    const Json& value = member(key);
    if (!value.is_string()) throw bad(fmt::format("\"{}\" is no string", key));
    return value.get<std::string>();
  };
  if (!json.is_object()) throw bad("it is no JSON object");
  SensitivityFile file{text("model"), text("importance"), text("calibration"), {}};
  const Json& values = member("sensitivities");
  if (!values.is_object()) throw bad("\"sensitivities\" is no object");
  for (const auto& [name, value] : values.items()) {
    if (!value.is_number() || value.get<double>() < 0)
      throw bad(fmt::format("that of \"{}\" is no number from 0 on", name));
    file.sensitivities.emplace(name, value.get<double>());
  }
  return file;
}

}  // namespace

SensitivityFile parse_sensitivities(std::string_view text, std::string_view what) {
  return sensitivities_of(parse_json(text, what), what);
}

SensitivityFile read_sensitivities(const std::filesystem::path& path) {
  return sensitivities_of(read_json(path, kMaxSensitivityBytes), path.string());
}

void write_sensitivities(const SensitivityFile& file, const std::filesystem::path& path) {
  Json json = {{"model", file.model}, {"importance", file.importance}, {"calibration", file.calibration}};
  Json& values = append_key(json, "sensitivities", Json::object());
  for (const auto& [name, value] : file.sensitivities) append_key(values, name, value);
  const std::string text = json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  OutputFile out(path);
  out.append(std::as_bytes(std::span(text)));
  out.finish();
}

}  // namespace dodeca::runtime
