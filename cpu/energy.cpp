#include "cpu/energy.hpp"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "cpu/system_file.hpp"

namespace dodeca::cpu {
namespace {

namespace fs = std::filesystem;

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// Zones of packages and, below them, of their memory, in the order of their names.
std::vector<std::string> zone_folders(const std::string& powercap) {
  std::vector<std::string> folders;
  std::error_code error;
  for (fs::directory_iterator at(powercap, error), end; !error && at != end; at.increment(error)) {
    if (at->path().filename().string().starts_with("intel-rapl:")) folders.push_back(at->path().string());
  }
  std::ranges::sort(folders);
  return folders;
}

}  // namespace

PackageEnergy::PackageEnergy(const std::string& root) {
  const std::string powercap = root + "/sys/class/powercap";
  std::string unreadable;
  for (const std::string& folder : zone_folders(powercap)) {
    const std::string name = first_line(read_text(folder + "/name"));
    const bool package = name.starts_with("package-");
    if (!package && name != "dram") continue;  // cores are part of their package, "psys" holds the packages
    Zone zone{.file = folder + "/energy_uj"};
    const std::optional<std::uint64_t> now = read_number(zone.file),
                                       range = read_number(folder + "/max_energy_range_uj");
    if (!now || !range || *range == 0) {
      unreadable = zone.file;
      continue;
    }
    zone.last = *now;
    zone.range = *range;
    zones_.push_back(std::move(zone));
    n_packages_ += package;
  }
  if (n_packages_ > 0) return;
  zones_.clear();
  why_not_ = unreadable.empty()
                 ? "there is no counter of energy in " + powercap + ", as in virtual machines"
                 : unreadable + " cannot be read (since 2020 only by root: sudo chmod a+r " + unreadable + ")";
}

double PackageEnergy::joules() {
  for (Zone& zone : zones_) {
    const std::optional<std::uint64_t> now = read_number(zone.file);
    if (!now) continue;  // it was readable: taken at the next call
    const std::uint64_t used =
        *now >= zone.last ? *now - zone.last : zone.range - std::min(zone.last, zone.range) + *now;
    joules_ += static_cast<double>(used) / 1e6;
    zone.last = *now;
  }
  return joules_;
}

}  // namespace dodeca::cpu
