#include "runtime/exec/input_sums.hpp"

#include <algorithm>

namespace dodeca::runtime::exec {

void InputSums::Input::add(const cpu::Member& member, std::int64_t slice, const float* row, float factor) noexcept {
  const cpu::Range mine = member.part(n_in, 8);  // a cache line of sums has one owner
  double* out = sums.data() + slice * n_in;
  for (std::int64_t i = mine.begin; i < mine.end; ++i) {
    const double value = static_cast<double>(row[i]) * factor;
    out[i] += value * value;
  }
  if (member.index == 0) counts[slice] += 1.0;
}

InputSums::InputSums(const Plan& plan) {
  for (const BlockPlan& block : plan.blocks) {
    for (const InputPlan& input : block.inputs) {
      inputs.push_back({.layer = block.layer,
                        .roles = input.roles,
                        .n_in = input.n_in,
                        .n_slices = input.n_slices,
                        .sums = std::vector<double>(static_cast<std::size_t>(input.n_in * input.n_slices)),
                        .counts = std::vector<double>(static_cast<std::size_t>(input.n_slices))});
    }
  }
}

std::uint64_t InputSums::bytes_needed(const Plan& plan) {
  std::int64_t n = 0;
  for (const BlockPlan& block : plan.blocks) {
    for (const InputPlan& input : block.inputs) n += input.n_slices * (input.n_in + 1);
  }
  return static_cast<std::uint64_t>(n) * sizeof(double);
}

InputSums::Input* InputSums::find(WeightId weight) {
  const auto found = std::ranges::find_if(inputs, [&](const Input& input) {
    return input.layer == weight.layer && std::ranges::find(input.roles, weight.role) != input.roles.end();
  });
  return found == inputs.end() ? nullptr : &*found;
}

}  // namespace dodeca::runtime::exec
