#include "runtime/quantize/quantize.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>

#include "cpu/kernels/encode/encode.hpp"
#include "quant/codec.hpp"
#include "runtime/base/first_error.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::int64_t kUnitWeights = 1 << 18;             // one piece of work: 1 MiB as floats
constexpr std::size_t kWaveBytes = std::size_t{64} << 20;  // of the new file between two writes
constexpr int kUnitsPerMember = 16;

// Rows of one slice of one tensor, and where they go in the wave's buffer.
struct Unit {
  const OutputTensor* tensor;
  std::int64_t slice, row_begin, row_end;
  std::size_t offset, bytes;
};

// Cuts the tensors into units in file order; next() fills a wave.
class Cutter {
 public:
  Cutter(const std::vector<OutputTensor>& tensors, std::size_t first, int team_size)
      : tensors_(tensors),
        tensor_(first),
        max_units_(static_cast<std::size_t>(kUnitsPerMember * team_size)),
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
      units.push_back({&tensor, slice_, row_, end, bytes, unit_bytes});
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
  static std::int64_t unit_rows(const OutputTensor& tensor) {
    // A source that transposes attn_k_b reads a whole head for any of its rows: a head stays together.
    if (tensor.name.ends_with("attn_k_b.weight")) return tensor.rows_per_slice();
    return std::max<std::int64_t>(1, kUnitWeights / tensor.n_in());
  }

  const std::vector<OutputTensor>& tensors_;
  std::size_t tensor_;
  std::size_t max_units_, min_units_;
  std::int64_t slice_ = 0, row_ = 0;
};

[[noreturn]] void refuse_non_finite(const OutputTensor& tensor, const Unit& unit, std::int64_t index) {
  const std::int64_t row = unit.row_begin + index / tensor.n_in(), column = index % tensor.n_in();
  throw Error(ErrorKind::kBadFile, fmt::format("weight {} holds NaN or infinity at slice {}, row {}, column {}",
                                               tensor.name, unit.slice, row, column))
      .with("source", tensor.weight->where);
}

// Buffers of one member, reused from unit to unit.
struct Scratch {
  std::vector<std::byte> raw;
  std::vector<float> values;
};

void convert(const WeightSource& source, const Unit& unit, cpu::Isa isa, Scratch& scratch, std::byte* out) {
  const OutputTensor& tensor = *unit.tensor;
  if (tensor.as_is != nullptr) {
    const std::uint64_t offset = static_cast<std::uint64_t>(unit.row_begin) * tensor.row_bytes();
    source.gguf()->read(*tensor.as_is, offset, {out, unit.bytes});
    return;
  }
  const WeightInfo& weight = *tensor.weight;
  const std::int64_t n_rows = unit.row_end - unit.row_begin, n = n_rows * tensor.n_in();
  if (tensor.dtype == weight.dtype) {
    source.read_rows(weight, unit.slice, unit.row_begin, unit.row_end, out);
    const std::int64_t bad = quant::find_non_finite(tensor.dtype, out, n);
    if (bad >= 0) refuse_non_finite(tensor, unit, bad);
    return;
  }
  scratch.raw.resize(static_cast<std::size_t>(n_rows) * weight.row_bytes());
  scratch.values.resize(static_cast<std::size_t>(n));
  source.read_rows(weight, unit.slice, unit.row_begin, unit.row_end, scratch.raw.data());
  quant::decode_row(weight.dtype, scratch.raw.data(), scratch.values.data(), n);
  const auto bad =
      std::find_if_not(scratch.values.begin(), scratch.values.end(), [](float v) { return std::isfinite(v); });
  if (bad != scratch.values.end()) refuse_non_finite(tensor, unit, bad - scratch.values.begin());
  std::vector<float> importance;
  if (tensor.importance != nullptr)
    importance = ImportanceMatrix::importance(*tensor.importance, tensor.n_in(), unit.slice);
  for (std::int64_t row = 0; row < n_rows; ++row) {
    cpu::encode_row(tensor.dtype, scratch.values.data() + row * tensor.n_in(),
                    out + static_cast<std::size_t>(row) * tensor.row_bytes(), tensor.n_in(),
                    importance.empty() ? nullptr : importance.data(), isa);
  }
}

}  // namespace

void quantize(const WeightSource& source, const QuantizePlan& plan, const std::filesystem::path& out, cpu::Team& team,
              const Progress& progress, const Log& log, cpu::Isa isa) {
  std::vector<GgufWriter::TensorSpec> specs;
  for (const OutputTensor& tensor : plan.tensors) specs.push_back({tensor.name, tensor.dtype, tensor.dims});
  std::optional<GgufWriter> writer;
  if (plan.identity.empty())
    writer.emplace(out, plan.metadata, std::move(specs));
  else
    writer.emplace(out, plan.metadata, std::move(specs), plan.identity);
  if (writer->discarded_bytes() > 0 && log)
    log(Level::kWarning,
        fmt::format("{} bytes of {}.partial are of a run with other inputs or options: they are discarded",
                    writer->discarded_bytes(), out.string()));
  const auto total = static_cast<double>(plan.tensor_bytes());
  double done = 0;
  for (std::size_t i = 0; i < writer->finished_tensors(); ++i) done += static_cast<double>(plan.tensors[i].bytes());
  if (done > 0 && log)
    log(Level::kInfo,
        fmt::format("going on behind {} of {} tensors, {:.0f} % of the bytes, that an earlier run finished",
                    writer->finished_tensors(), plan.tensors.size(), 100 * done / total));

  // Two waves are alive: one being converted, the one before it being written by member 0, who then joins the others.
  Cutter cutter(plan.tensors, writer->finished_tensors(), team.size());
  std::vector<Unit> units, written_units;
  std::vector<std::byte> buffer, written_buffer;
  std::vector<Scratch> scratch(static_cast<std::size_t>(team.size()));
  buffer.resize(cutter.next(units));
  while (!units.empty() || !written_units.empty()) {
    cpu::WorkCounter next;
    FirstError error;
    team.run([&](const cpu::Member& member) {
      error.guard([&] {
        if (member.index == 0) {
          for (const Unit& unit : written_units)
            writer->append(std::span(written_buffer).subspan(unit.offset, unit.bytes));
        }
        const auto n_units = static_cast<std::int64_t>(units.size());
        for (std::int64_t u = next.take(); u < n_units; u = next.take()) {
          const Unit& unit = units[static_cast<std::size_t>(u)];
          convert(source, unit, isa, scratch[static_cast<std::size_t>(member.index)], buffer.data() + unit.offset);
        }
      });
    });
    error.rethrow();
    for (const Unit& unit : written_units) done += static_cast<double>(unit.bytes);
    std::swap(units, written_units);
    std::swap(buffer, written_buffer);
    buffer.resize(cutter.next(units));
    if (progress && !progress(done, total)) throw Stopped{};
  }
  writer->finish();
}

}  // namespace dodeca::runtime
