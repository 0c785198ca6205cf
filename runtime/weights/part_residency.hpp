// The proof that the parts of a model lie where the plan put them: the kernel is asked where their pages are.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/log.hpp"
#include "runtime/weights/model.hpp"

namespace dodeca::runtime {

struct PartResidency {
  std::int64_t part = 0;
  std::vector<int> nodes;  // where it should lie; none: anywhere
  std::uint64_t bytes = 0;
  double local = 1;     // share of its pages that are there; what was swapped out is not
  double huge = 0;      // share of its bytes in huge pages
  std::string unknown;  // why the system does not tell
};

inline constexpr double kLeastLocal = 0.99;

PartResidency residency_of(const cpu::Slab& slab, std::int64_t part, const std::vector<int>& nodes, bool every_page);
// Of all parts; every_page: not samples alone.
std::vector<PartResidency> residency_of(const Model& model, bool every_page);
// A line for each, "node 0: 1.23 GiB of weights, 100.0 % local, 98 % in huge pages". Throws Error{kDoesNotFit} where less
// than kLeastLocal is local, unless `allow_remote`: then it warns.
void check_residency(std::span<const PartResidency> parts, bool allow_remote, const Log& log);

}  // namespace dodeca::runtime
