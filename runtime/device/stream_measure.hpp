// The speeds of a machine and a model's types (stream_speeds.hpp) by measurement: products of two sizes on each side give what
// an expert costs and what a row.
#pragma once

#include <string_view>

#include "cpu/team.hpp"
#include "gpu/device.hpp"
#include "runtime/device/stream_speeds.hpp"

namespace dodeca::runtime::device {

// With weights of the types and sizes of the plan's first layer of routed experts that the device multiplies. They are made
// for this and take a gigabyte on both sides, and a second. Error{kBadRequest} where there is no such layer.
StreamSpeeds measure_stream_speeds(gpu::Device& device, cpu::Team& team, const Plan& plan);

// What an expert takes and each of its rows, from what one takes with few and with many rows: of both it is measured.
inline constexpr std::int64_t kFewerStreamRows = 16, kMoreStreamRows = 128;
struct ExpertCosts {
  double expert, row;  // seconds
};
ExpertCosts expert_costs(double fewer_seconds, double more_seconds);

// What speeds of this plan and these processors and this device are kept under.
StreamSetting stream_setting(const Plan& plan, std::string_view processor, int n_threads, std::string_view device);

}  // namespace dodeca::runtime::device
