#include "cpu/kernels/matmul/tuning.hpp"

#include <array>

namespace dodeca::cpu {
namespace {

struct Shipped {
  std::string_view processor;
  TunedLines lines;
};

constexpr std::array<Shipped, 0> kShipped{};

}  // namespace

MatmulTuning shipped_tuning(std::string_view processor) {
  MatmulTuning tuning;
  for (const Shipped& row : kShipped) {
    if (row.processor == processor) tuning.push_back(row.lines);
  }
  return tuning;
}

}  // namespace dodeca::cpu
