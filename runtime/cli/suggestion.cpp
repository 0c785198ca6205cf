#include "runtime/cli/suggestion.hpp"

#include <algorithm>

namespace dodeca::runtime::cli {
namespace {

constexpr std::size_t kLettersPerSlip = 3;

std::string_view without_dashes(std::string_view name) {
  name.remove_prefix(std::min(name.find_first_not_of('-'), name.size()));
  return name;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i)
    for (std::size_t j = 1; j <= b.size(); ++j) {
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[a.size()][b.size()];
}

}  // namespace

std::string nearest_name(std::string_view wrong, const std::vector<std::string>& known) {
  wrong = without_dashes(wrong);
  const std::size_t slips = wrong.size() / kLettersPerSlip;
  if (slips == 0) return "";
  // The beginning of one name only: "--ctx" is "--ctx-size".
  const auto begins = [&](const std::string& name) { return without_dashes(name).starts_with(wrong); };
  if (std::ranges::count_if(known, begins) == 1) return *std::ranges::find_if(known, begins);
  std::string best;
  std::size_t distance = slips + 1;
  for (const std::string& name : known) {
    const std::size_t d = edit_distance(wrong, without_dashes(name));
    if (d < distance) distance = d, best = name;
  }
  return best;
}

}  // namespace dodeca::runtime::cli
