#include "runtime/quantize/waves.hpp"

#include <algorithm>
#include <memory>

#include "quant/codec.hpp"
#include "runtime/base/first_error.hpp"
#include "runtime/base/stopwatch.hpp"
#include "runtime/model/contents.hpp"

namespace dodeca::runtime::quantize {
namespace {

constexpr std::int64_t kUnitWeights = 1 << 18;             // one piece of work: 1 MiB as floats
constexpr std::size_t kWaveBytes = std::size_t{64} << 20;  // of the new file between two writes
constexpr int kUnitsPerMember = 16;

std::int64_t unit_rows(const OutputTensor& tensor) {
  // A source that transposes attn_k_b reads a whole head for any of its rows: a head stays together.
  if (tensor.key_half != nullptr || (tensor.weight != nullptr && tensor.weight->id.role == WeightRole::kKB))
    return tensor.rows_per_slice();
  return std::max<std::int64_t>(1, kUnitWeights / tensor.n_in());
}

// Cuts the tensors into units in file order; next() fills a wave.
class Cutter {
 public:
  Cutter(const std::vector<OutputTensor>& tensors, std::size_t first, int team_size, bool low_memory)
      : tensors_(tensors),
        tensor_(first),
        max_units_(static_cast<std::size_t>(team_size * (low_memory ? 1 : kUnitsPerMember))),
        min_units_(static_cast<std::size_t>(team_size)) {}

  // Returns the bytes of the wave; no units at the end.
  std::size_t next(std::vector<Unit>& units) {
    units.clear();
    std::size_t bytes = 0;
    while (tensor_ < tensors_.size() && units.size() < max_units_ &&
           (bytes < kWaveBytes || units.size() < min_units_)) {
      const OutputTensor& tensor = tensors_[tensor_];
      const std::int64_t n_rows = tensor.rows_per_slice();
      const std::int64_t end = std::min(n_rows, row_ + unit_rows(tensor));
      const std::size_t unit_bytes = static_cast<std::size_t>(end - row_) * tensor.row_bytes();
      units.push_back({.tensor = tensor_,
                       .slice = slice_,
                       .row_begin = row_,
                       .row_end = end,
                       .offset = bytes,
                       .bytes = unit_bytes});
      bytes += unit_bytes;
      row_ = end;
      if (row_ == n_rows) {
        row_ = 0;
        ++slice_;
      }
      if (slice_ == tensor.n_slices()) {
        slice_ = 0;
        ++tensor_;
      }
    }
    return bytes;
  }

 private:
  const std::vector<OutputTensor>& tensors_;
  std::size_t tensor_;
  std::size_t max_units_, min_units_;
  std::int64_t slice_ = 0, row_ = 0;
};

std::size_t largest_wave(const std::vector<OutputTensor>& tensors, std::size_t first, int team_size, bool low_memory) {
  Cutter cutter(tensors, first, team_size, low_memory);
  std::vector<Unit> units;
  std::size_t largest = 0;
  do largest = std::max(largest, cutter.next(units));
  while (!units.empty());
  return largest;
}

struct Wave {
  std::vector<Unit> units;
  std::unique_ptr<std::byte[]> bytes;
};

}  // namespace

std::uint64_t wave_memory(const std::vector<OutputTensor>& tensors, int team_size, bool low_memory) {
  std::uint64_t member = 0;
  for (const OutputTensor& tensor : tensors) {
    if (tensor.weight == nullptr) continue;
    const auto rows = static_cast<std::uint64_t>(std::min(unit_rows(tensor), tensor.rows_per_slice()));
    const std::uint64_t values = rows * static_cast<std::uint64_t>(tensor.n_in()) * sizeof(float);
    // The source keeps as much beside what it hands over: a raw form, or a head and its transpose.
    const std::uint64_t raw = std::max<std::uint64_t>(values, rows * tensor.weight->row_bytes());
    member = std::max(member, values + 3 * raw);
  }
  return 2 * largest_wave(tensors, 0, team_size, low_memory) + static_cast<std::uint64_t>(team_size) * member;
}

std::vector<MemberState> run_waves(const std::vector<OutputTensor>& tensors, std::size_t first, bool low_memory,
                                   cpu::Team& team, const WaveWork& work, const Progress& progress) {
  const std::size_t wave_bytes = largest_wave(tensors, first, team.size(), low_memory);
  Wave making{.bytes = std::make_unique_for_overwrite<std::byte[]>(wave_bytes)},
      taking{.bytes = std::make_unique_for_overwrite<std::byte[]>(wave_bytes)};
  double done = 0, total = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    total += static_cast<double>(tensors[i].bytes());
    if (i < first) done += static_cast<double>(tensors[i].bytes());
  }
  std::vector<MemberState> states(static_cast<std::size_t>(team.size()));
  Cutter cutter(tensors, first, team.size(), low_memory);
  cutter.next(making.units);
  while (!making.units.empty() || !taking.units.empty()) {
    cpu::WorkCounter next;
    FirstError error;
    team.run([&](const cpu::Member& member) {
      error.guard([&] {
        MemberState& state = states[member.index];
        if (member.index == 0) {
          const TimedScope watch(state.writing);
          for (const Unit& unit : taking.units) work.take(unit, {taking.bytes.get() + unit.offset, unit.bytes});
        }
        const auto n_units = static_cast<std::int64_t>(making.units.size());
        for (std::int64_t u = next.take(); u < n_units; u = next.take()) {
          Unit& unit = making.units[u];
          work.make(unit, state, making.bytes.get() + unit.offset);
        }
      });
    });
    error.rethrow();
    for (const Unit& unit : taking.units) done += static_cast<double>(unit.bytes);
    std::swap(making, taking);
    cutter.next(making.units);
    if (progress && !progress(done, total)) throw Stopped{};
  }
  return states;
}

void read_values(const WeightSource& source, const OutputTensor& tensor, Unit& unit, MemberState& state) {
  const std::int64_t n_rows = unit.row_end - unit.row_begin, n = n_rows * tensor.n_in();
  state.values.resize(static_cast<std::size_t>(n));
  const auto read = [&](const WeightInfo& weight, std::int64_t begin, std::int64_t end, float* values) {
    state.raw.resize(static_cast<std::size_t>(end - begin) * weight.row_bytes());
    {
      const TimedScope watch(state.reading);
      source.read_rows(weight, unit.slice, begin, end, state.raw.data());
    }
    state.bytes_read += state.raw.size();
    const TimedScope watch(state.computing);
    add_rows(unit.source, weight, unit.slice, begin, state.raw);
    quant::decode_rows(weight.dtype, state.raw.data(), end - begin, weight.n_in, values);
  };
  if (tensor.key_half == nullptr) return read(*tensor.weight, unit.row_begin, unit.row_end, state.values.data());
  const std::int64_t n_nope = tensor.key_half->n_in, n_latent = tensor.n_in();
  float* const values = state.values.data();
  std::vector<float> key(static_cast<std::size_t>(n_nope * n_latent));
  read(*tensor.key_half, 0, n_latent, key.data());
  for (std::int64_t d = 0; d < n_nope; ++d)
    for (std::int64_t l = 0; l < n_latent; ++l) values[d * n_latent + l] = key[l * n_nope + d];
  read(*tensor.weight, 0, tensor.weight->n_out, values + n_nope * n_latent);
}

}  // namespace dodeca::runtime::quantize
