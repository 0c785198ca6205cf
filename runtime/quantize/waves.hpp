// All rows of a plan, cut into units of work and done in waves: while a team makes one wave's bytes, its first member
// takes the finished ones before it, in file order. Memory is bounded by the largest wave, whatever the tensors' sizes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "cpu/team.hpp"
#include "runtime/base/hash.hpp"
#include "runtime/quantize/quantize.hpp"

namespace dodeca::runtime::quantize {

// Rows of one slice of one tensor.
struct Unit {
  std::size_t tensor;  // of the plan
  std::int64_t slice, row_begin, row_end;
  std::size_t offset, bytes;            // in the wave
  PlacedSum source = {};                // of the rows that it was made from
  double square_error = 0, square = 0;  // for verify()
};

// Where one member's time went, and its buffers, reused from unit to unit. A line of its own in the cache.
struct alignas(64) MemberState {
  double reading = 0, computing = 0, writing = 0;  // seconds
  std::uint64_t bytes_read = 0;
  std::vector<std::byte> raw;
  std::vector<float> values, scratch;
};

struct WaveWork {
  std::function<void(Unit& unit, MemberState& state, std::byte* bytes)> make;
  std::function<void(const Unit& unit, std::span<const std::byte> bytes)> take;
};

// Bytes of the two waves and of the members' buffers.
std::uint64_t wave_memory(const std::vector<OutputTensor>& tensors, int team_size, bool low_memory);

// From tensor `first` on. `progress` gets the bytes taken, `begun` being there before, of `total`. The first exception
// of any member ends it.
std::vector<MemberState> run_waves(const std::vector<OutputTensor>& tensors, std::size_t first, bool low_memory,
                                   cpu::Team& team, const WaveWork& work, const Progress& progress);

// The unit's weights as the source has them. Fills state.values and adds to unit.source.
void read_values(const WeightSource& source, const OutputTensor& tensor, Unit& unit, MemberState& state);

}  // namespace dodeca::runtime::quantize
