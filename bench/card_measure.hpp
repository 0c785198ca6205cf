// The figures of a card as dodeca plan reads them (bench/machines/cards), from what dodeca-bench gpu measured.
#pragma once

#include <span>
#include <vector>

#include "bench/gpu_kernels.hpp"
#include "bench/gpu_link.hpp"
#include "runtime/predict/machine_spec.hpp"

namespace dodeca::bench {

class CardMeasure {
 public:
  void device(const gpu::DeviceInfo& info);
  void copies(std::span<const CopyRate> rates);  // from registered memory to the device counts, as experts go
  void reading(double bytes_per_second);
  void launches(const LaunchCost& cost);
  void mailbox(const RoundTrip& trip);
  // Products with V3's output projection: of one row for reading, of many for arithmetic. Others are left out.
  void kernel(const KernelTime& time);

  // Peaks are not known, so that what was reached counts as all there is. Error{kUnsupported} where something was not
  // measured.
  runtime::predict::CardSpec spec() const;

 private:
  runtime::predict::CardSpec spec_;
  std::vector<double> one_row_, float_products_, integer_products_;  // GB/s; 10^12 operations per second
};

}  // namespace dodeca::bench
