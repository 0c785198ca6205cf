#include "runtime/allocate/sensitivity_file.hpp"

#include <nlohmann/json.hpp>

#include "runtime/base/printable.hpp"
#include "runtime/load/json_fields.hpp"

namespace dodeca::runtime::allocate {
namespace {

constexpr std::uint64_t kMaxSensitivityBytes = std::uint64_t{64} << 20;

SensitivityFile sensitivities_of(const Json& json, std::string_view what) {
  const JsonFields fields(what, "holds no sensitivities");
  fields.check_root(json);
  const auto text = [&](const char* key) { return fields.text(fields.member(json, key), key); };
  SensitivityFile file{text("model"), text("importance"), text("calibration"), {}};
  for (const auto& [name, value] : fields.object(fields.member(json, "sensitivities"), "sensitivities").items()) {
    if (!value.is_number() || value.get<double>() < 0)
      throw fields.bad(fmt::format("that of \"{}\" is no number from 0 on", printable(name, 64)));
    file.sensitivities.emplace(name, value.get<double>());
  }
  fields.check_keys(json, {"model", "importance", "calibration", "sensitivities"});
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
  write_json(json, path);
}

}  // namespace dodeca::runtime::allocate
