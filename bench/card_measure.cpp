#include "bench/card_measure.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "bench/statistics.hpp"
#include "runtime/base/error.hpp"

namespace dodeca::bench {
namespace {

using runtime::predict::computed;
using runtime::predict::measured;

constexpr std::int32_t kManyRows = 512;

}  // namespace

void CardMeasure::device(const gpu::DeviceInfo& info) {
  spec_.name = "this-card";
  spec_.title = info.name;
  spec_.memory_gib = measured(static_cast<double>(info.memory_bytes) / (1024.0 * 1024 * 1024), "its driver says so");
  spec_.multiprocessors = measured(info.multiprocessors, "its driver says so");
}

void CardMeasure::copies(std::span<const CopyRate> rates) {
  for (const CopyRate& rate : rates) {
    if (rate.memory != "registered" || rate.direction != "to device") continue;
    spec_.link_gb_s = measured(rate.bytes_per_second / 1e9, "copies of registered memory to it");
    spec_.link_share = computed(1, "what copies reach counts as all there is");
  }
}

void CardMeasure::reading(double bytes_per_second) {
  spec_.gb_per_s = measured(bytes_per_second / 1e9, "reading its memory");
}

void CardMeasure::launches(const LaunchCost& cost) { spec_.launch_us = measured(cost.graph_us, "in a graph"); }

void CardMeasure::mailbox(const RoundTrip& trip) {
  spec_.round_trip_us = measured(trip.median_us, fmt::format("median of {}", trip.turns));
}

void CardMeasure::kernel(const KernelTime& time) {
  if (time.n_rows == 1 && time.multiplies_integers) one_row_.push_back(time.bytes_per_second() / 1e9);
  if (time.n_rows != kManyRows) return;
  const double tera = time.operations_per_second() / 1e12;
  if (time.multiplies_integers) integer_products_.push_back(tera);
  if (time.dtype == quant::DType::kBF16 || time.dtype == quant::DType::kF16) float_products_.push_back(tera);
}

runtime::predict::CardSpec CardMeasure::spec() const {
  const auto need = [](bool there, std::string_view what) {
    if (!there)
      throw runtime::Error(runtime::ErrorKind::kUnsupported,
                           fmt::format("{} could not be measured on this card", what));
  };
  need(spec_.link_gb_s.known(), "copies of registered memory");
  need(!one_row_.empty() && !float_products_.empty() && !integer_products_.empty(), "products");
  runtime::predict::CardSpec spec = spec_;
  spec.read_share = measured(std::clamp(median(one_row_) / spec.gb_per_s.value, 0.01, 1.0),
                             "median of the block types, products of one row");
  spec.f16_tflops = measured(median(float_products_), fmt::format("products of {} rows, F16 and BF16", kManyRows));
  spec.compute_share = computed(1, "what was reached counts as all there is");
  spec.int8_tops =
      measured(median(integer_products_), fmt::format("median of the block types, products of {} rows", kManyRows));
  spec.int8_share = computed(1, "what was reached counts as all there is");
  return spec;
}

}  // namespace dodeca::bench
