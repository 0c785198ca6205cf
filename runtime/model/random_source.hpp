// Weights without a file: a configuration's tensors in the types asked for, filled with random valid blocks on request,
// for measuring speed where the model is not at hand.
//
// A row is a piece of a pool of about a MiB of random blocks (one per type and row length), from a place that depends
// on the weight, slice and row; so filling is as fast as memory. Rows have unit gain: activations stay finite through
// any number of layers. Norms are 1, the router's bias is small.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/model/wanted.hpp"
#include "runtime/model/weight_source.hpp"

namespace dodeca::runtime {

// The type of a matrix; its block divides the row. Vectors are F32.
using TypeOf = std::function<quant::DType(const WantedWeight& weight)>;

// What such a source presents, sorted by name; for planning without filling anything.
std::vector<WeightInfo> random_weight_infos(const ModelConfig& config, const TypeOf& type_of, bool mtp = false);

std::unique_ptr<WeightSource> random_weights(const ModelConfig& config, const TypeOf& type_of, std::uint64_t seed);

}  // namespace dodeca::runtime
