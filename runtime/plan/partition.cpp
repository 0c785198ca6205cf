#include "runtime/plan/partition.hpp"

#include <algorithm>

namespace dodeca::runtime {

Span cut(std::int64_t count, std::int64_t unit, int index, int n_parts) {
  const std::int64_t units = (count + unit - 1) / unit, base = units / n_parts, extra = units % n_parts;
  const std::int64_t begin = index * base + std::min<std::int64_t>(index, extra);
  const std::int64_t end = begin + base + (index < extra ? 1 : 0);
  return {std::min(count, begin * unit), std::min(count, end * unit)};
}

FfnCut cut_ffn(std::int64_t width, std::int64_t unit, int n_parts) {
  FfnCut result;
  result.deal_experts = n_parts > 1 && width / unit < n_parts;
  for (int part = 0; part < n_parts; ++part) {
    result.columns.push_back(result.deal_experts ? Span{0, width} : cut(width, unit, part, n_parts));
  }
  return result;
}

}  // namespace dodeca::runtime
