#include "runtime/batch/units.hpp"

#include <algorithm>

namespace dodeca::runtime::batch {
namespace {

constexpr std::int64_t kUnitsOfWorker = 16, kMostRequestsOfUnit = 64;

}  // namespace

std::int64_t requests_of_unit(std::int64_t n_requests, std::int64_t n_workers) {
  const std::int64_t units = n_workers * kUnitsOfWorker;
  return std::clamp<std::int64_t>((n_requests + units - 1) / units, 1, kMostRequestsOfUnit);
}

std::int64_t count_units(std::int64_t n_lines, std::int64_t unit_requests) {
  return n_lines / unit_requests + (n_lines % unit_requests != 0);
}

std::span<const InputLine> lines_of_unit(const InputIndex& input, std::int64_t unit_requests, std::int64_t unit) {
  const std::span<const InputLine> lines = input.lines();
  const std::int64_t begin = unit * unit_requests;
  return lines.subspan(begin, std::min(unit_requests, std::ssize(lines) - begin));
}

std::vector<std::int64_t> order_of_units(std::int64_t n_units, const Shard& shard) {
  std::vector<std::int64_t> order;
  for (std::int64_t n = 0; n < shard.count; ++n) {
    const std::int64_t share = (shard.index + n) % shard.count;
    const std::int64_t begin = n_units * share / shard.count, end = n_units * (share + 1) / shard.count;
    for (std::int64_t i = 0; i < end - begin; ++i) order.push_back(n == 0 ? begin + i : end - 1 - i);
  }
  return order;
}

}  // namespace dodeca::runtime::batch
