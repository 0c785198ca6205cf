// A predicted time, by what it is spent on. Each phase's time goes to the one thing that binds it; what every phase pays
// beside that stands on its own.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace dodeca::runtime::predict {

enum class Bound : std::uint8_t {
  kNodeBandwidth,   // reading memory
  kComplexLink,     // the link of the core complex that has the most to read
  kCoreBandwidth,   // what one core can read
  kArithmetic,      // products of weights
  kAttention,       // products over the cache
  kBarriers,        // waiting for each other, with nothing uneven
  kExchange,        // results of other memory nodes' parts
  kSerial,          // what one member does alone, and beginning to read anew in every phase
  kCardMemory,      // reading the card's memory
  kCardArithmetic,  // products on the card
  kCardLaunches,    // from kernel to kernel
  kCardLink,        // rows to the card and back, and flags
  kCount
};
std::string_view name_of(Bound bound);  // "node bandwidth"
std::string_view key_of(Bound bound);   // "node_bandwidth", in JSON

struct TimeSplit {
  std::array<double, static_cast<std::size_t>(Bound::kCount)> seconds = {};

  void add(Bound bound, double s) { seconds[static_cast<std::size_t>(bound)] += s; }
  double of(Bound bound) const { return seconds[static_cast<std::size_t>(bound)]; }
  double sum() const;
  Bound binding() const;  // what takes the most
  TimeSplit& operator+=(const TimeSplit& other);
  TimeSplit operator*(double n) const;
};

}  // namespace dodeca::runtime::predict
