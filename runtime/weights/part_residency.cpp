#include "runtime/weights/part_residency.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cpu/residency.hpp"
#include "runtime/base/bytes.hpp"
#include "runtime/base/error.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::size_t kSamples = 65536;  // of a part: some milliseconds

std::string name_of(const PartResidency& part) {
  if (part.nodes.empty()) return fmt::format("part {}", part.part);
  return fmt::format("node{} {}", part.nodes.size() == 1 ? "" : "s", fmt::join(part.nodes, ", "));
}

}  // namespace

PartResidency residency_of(const cpu::Slab& slab, std::int64_t part, const std::vector<int>& nodes, bool every_page) {
  PartResidency result{.part = part, .nodes = nodes, .bytes = slab.used().size()};
  const cpu::Residency found = cpu::residency_of(slab.used(), every_page ? 0 : kSamples);
  result.unknown = found.unknown;
  if (result.bytes > 0)
    result.huge = std::min(1.0, static_cast<double>(found.huge_bytes) / static_cast<double>(result.bytes));
  if (!nodes.empty() && found.pages > 0) result.local = found.share_on(nodes);
  return result;
}

std::vector<PartResidency> residency_of(const Model& model, bool every_page) {
  std::vector<PartResidency> parts;
  const std::span<const cpu::Slab> slabs = model.weights().slabs();
  for (std::size_t p = 0; p < slabs.size(); ++p) {
    if (slabs[p].used().empty()) continue;
    parts.push_back(
        residency_of(slabs[p], static_cast<std::int64_t>(p), model.plan().options.placement.nodes_of(p), every_page));
  }
  return parts;
}

void check_residency(std::span<const PartResidency> parts, bool allow_remote, const Log& log) {
  for (const PartResidency& part : parts) {
    const std::string where = !part.unknown.empty() ? "where they are is not known: " + part.unknown
                              : part.nodes.empty()  ? std::string("not bound")
                                                    : fmt::format("{:.1f} % local", 100 * part.local);
    const bool unproven = !part.unknown.empty() && !part.nodes.empty();
    log(unproven ? Level::kWarning : Level::kInfo, fmt::format("{}: {:.2f} GiB of weights, {}, {:.0f} % in huge pages",
                                                               name_of(part), gib(part.bytes), where, 100 * part.huge));
  }
  for (const PartResidency& part : parts) {
    if (!part.unknown.empty() || part.local >= kLeastLocal) continue;
    const std::string what = fmt::format("{:.1f} % of the {:.2f} GiB that belong on {} lie elsewhere",
                                         100 * (1 - part.local), gib(part.bytes), name_of(part));
    if (!allow_remote) throw Error(ErrorKind::kDoesNotFit, what).with(Remedy::kAllowRemote);
    log(Level::kWarning, what);
  }
}

}  // namespace dodeca::runtime
