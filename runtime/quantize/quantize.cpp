#include "runtime/quantize/quantize.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>

#include "quant/codec.hpp"
#include "runtime/base/stopwatch.hpp"
#include "runtime/model/contents.hpp"
#include "runtime/quantize/encode_weights.hpp"
#include "runtime/quantize/waves.hpp"

namespace dodeca::runtime::quantize {
namespace {

[[noreturn]] void refuse_non_finite(const OutputTensor& tensor, const Unit& unit, std::int64_t index) {
  const std::int64_t row = unit.row_begin + index / tensor.n_in(), column = index % tensor.n_in();
  throw Error(ErrorKind::kBadFile, fmt::format("weight {} holds NaN or infinity at slice {}, row {}, column {}",
                                               tensor.name, unit.slice, row, column))
      .with("source", tensor.weight->where);
}

void convert(const WeightSource& source, const OutputTensor& tensor, Unit& unit, cpu::Isa isa, MemberState& state,
             std::byte* out) {
  if (tensor.as_is != nullptr) {
    const TimedScope watch(state.reading);
    const std::uint64_t offset = static_cast<std::uint64_t>(unit.row_begin) * tensor.row_bytes();
    source.gguf()->read(*tensor.as_is, offset, {out, unit.bytes});
    state.bytes_read += unit.bytes;
    unit.source.add(fnv1a(tensor.name), offset, {out, unit.bytes});
    return;
  }
  const std::int64_t n_rows = unit.row_end - unit.row_begin, n = n_rows * tensor.n_in();
  if (tensor.key_half == nullptr && tensor.dtype == tensor.weight->dtype) {
    {
      const TimedScope watch(state.reading);
      source.read_rows(*tensor.weight, unit.slice, unit.row_begin, unit.row_end, out);
    }
    state.bytes_read += unit.bytes;
    const TimedScope watch(state.computing);
    add_rows(unit.source, *tensor.weight, unit.slice, unit.row_begin, {out, unit.bytes});
    const std::int64_t bad = quant::find_non_finite(tensor.dtype, out, n);
    if (bad >= 0) refuse_non_finite(tensor, unit, bad);
    return;
  }
  read_values(source, tensor, unit, state);
  const TimedScope watch(state.computing);
  const auto bad = std::find_if_not(state.values.begin(), state.values.end(), [](float v) { return std::isfinite(v); });
  if (bad != state.values.end()) refuse_non_finite(tensor, unit, bad - state.values.begin());
  std::vector<float> importance;
  if (tensor.importance != nullptr)
    importance = ImportanceMatrix::importance(*tensor.importance, tensor.n_in(), unit.slice);
  for (std::int64_t row = 0; row < n_rows; ++row) {
    encode_weights(tensor.dtype, std::span(state.values).subspan(row * tensor.n_in(), tensor.n_in()),
                   out + static_cast<std::size_t>(row) * tensor.row_bytes(),
                   importance.empty() ? nullptr : importance.data(), isa, state.scratch);
  }
}

std::vector<GgufWriter::TensorSpec> specs_of(const QuantizePlan& plan) {
  std::vector<GgufWriter::TensorSpec> specs;
  for (const OutputTensor& tensor : plan.tensors) specs.push_back({tensor.name, tensor.dtype, tensor.dims});
  return specs;
}

void tell_found(const GgufWriter& writer, const QuantizePlan& plan, const std::filesystem::path& out, const Log& log) {
  if (writer.discarded_bytes() > 0 && log)
    log(Level::kWarning, fmt::format("{} bytes that an earlier run left unfinished beside {} are discarded",
                                     writer.discarded_bytes(), out.string()));
  std::uint64_t done = 0;
  for (std::size_t i = 0; i < writer.finished_tensors(); ++i) done += plan.tensors[i].bytes();
  if (done > 0 && log)
    log(Level::kInfo,
        fmt::format("resuming behind {} of {} tensors, {:.0f} % of the bytes, that an earlier run finished",
                    writer.finished_tensors(), plan.tensors.size(),
                    100 * static_cast<double>(done) / static_cast<double>(plan.tensor_bytes())));
}

// What a tensor is made from, as the sums of its units add up.
PlacedSum source_of(const WeightSource& source, const OutputTensor& tensor, cpu::Team& team) {
  PlacedSum sum;
  if (tensor.as_is == nullptr) {
    sum = sum_of(source, *tensor.weight, team);
    if (tensor.key_half != nullptr) sum.add(sum_of(source, *tensor.key_half, team));
    return sum;
  }
  constexpr std::uint64_t kPieceBytes = 1 << 20;
  std::vector<std::byte> piece;
  for (std::uint64_t at = 0; at < tensor.bytes(); at += piece.size()) {
    piece.resize(static_cast<std::size_t>(std::min(kPieceBytes, tensor.bytes() - at)));
    source.gguf()->read(*tensor.as_is, at, piece);
    sum.add(fnv1a(tensor.name), at, piece);
  }
  return sum;
}

// What an earlier run made is gone on with only where it would be made of the same bytes.
void check_finished(const GgufWriter& writer, const WeightSource& source, const QuantizePlan& plan,
                    const std::filesystem::path& out, cpu::Team& team) {
  for (std::size_t i = 0; i < writer.finished_tensors(); ++i)
    if (source_of(source, plan.tensors[i], team).value() != writer.finished_sources()[i])
      throw Error(ErrorKind::kBadRequest,
                  fmt::format("the source has changed since {} of {} tensors of {} were made from it (the first that "
                              "differs: {})",
                              writer.finished_tensors(), plan.tensors.size(), out.string(), plan.tensors[i].name))
          .with(Remedy::kBeginAnew);
}

}  // namespace

std::vector<GgufWriter::File> output_files(const QuantizePlan& plan, const std::filesystem::path& out,
                                           const SplitLimits& split) {
  return GgufWriter::files_of(out, plan.metadata, specs_of(plan), split);
}

std::uint64_t working_bytes(const QuantizePlan& plan, int team_size, bool low_memory) {
  return wave_memory(plan.tensors, team_size, low_memory);
}

QuantizeResult write_quantized(const WeightSource& source, const QuantizePlan& plan, const std::filesystem::path& out,
                               cpu::Team& team, const WriteOptions& options, const Progress& progress) {
  QuantizeResult result;
  WorkTimes& times = result.times;
  {
    const TimedScope watch(times.seconds);
    GgufWriter writer(out, plan.metadata, specs_of(plan),
                      plan.identity.empty() ? std::nullopt : std::optional<std::string_view>(plan.identity),
                      options.split, options.restart);
    tell_found(writer, plan, out, options.log);
    check_finished(writer, source, plan, out, team);
    const WaveWork work{
        .make = [&](Unit& unit, MemberState& state,
                    std::byte* bytes) { convert(source, plan.tensors[unit.tensor], unit, options.isa, state, bytes); },
        .take = [&](const Unit& unit, std::span<const std::byte> bytes) { writer.append(bytes, unit.source); }};
    const std::size_t first = writer.finished_tensors();
    for (const MemberState& state : run_waves(plan.tensors, first, options.low_memory, team, work, progress)) {
      times.reading += state.reading;
      times.computing += state.computing;
      times.writing += state.writing;
      times.bytes_read += state.bytes_read;
    }
    for (std::size_t i = first; i < plan.tensors.size(); ++i) times.n_weights += plan.tensors[i].n_weights();
    double finishing = 0;  // all members wait for it
    {
      const TimedScope waiting(finishing);
      writer.finish();
    }
    times.writing += finishing * team.size();
    result.files = writer.files();
    result.checksums = writer.checksums();
  }
  times.team_size = team.size();
  return result;
}

}  // namespace dodeca::runtime::quantize
