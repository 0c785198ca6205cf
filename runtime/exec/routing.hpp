// From router logits to sorted (row, expert) pairs, the slots. Ids, weights and slots are plain data in the work space,
// so that whoever computes the experts need not be whoever routed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/exec/ffn_products.hpp"

namespace dodeca::runtime::exec {

void demand_routing(const ModelConfig& config, const RunSizes& sizes, Demand& demand);

// Chooses row i's experts and their weights. logit_bias: added to the row's logits; bias: of the choice alone; or
// empty.
void route_row(const Pass& pass, std::span<const float> logit_bias, std::span<const float> bias,
               std::int64_t i) noexcept;
// Sorts the pairs of all rows by expert, rows ascending inside.
void group_slots(const Pass& pass) noexcept;

// Adds a mark for every slot, of which the row and the weight are given: not 0 for the n of each row that weigh least; of
// equal ones the last slots count as lighter.
void mark_lightest_slots(std::span<const std::int32_t> rows, std::span<const float> weights, std::int64_t n,
                         std::vector<char>& marks);

SlotRange slots_of(const Pass& pass, std::int64_t expert) noexcept;
std::int64_t n_slots(const Pass& pass) noexcept;
std::uint64_t experts_touched(const Pass& pass) noexcept;

}  // namespace dodeca::runtime::exec
