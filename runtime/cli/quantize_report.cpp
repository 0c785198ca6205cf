#include "runtime/cli/quantize_report.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "runtime/cli/console.hpp"
#include "runtime/cli/inspect_report.hpp"

namespace dodeca::runtime::cli {

using quantize::QuantizePlan;
using quantize::VerifiedTensor;

std::string type_counts(const QuantizePlan& plan) {
  std::map<quant::DType, int> counts;
  for (const quantize::OutputTensor& tensor : plan.tensors) ++counts[tensor.dtype];
  std::vector<std::string> parts;
  for (const auto& [dtype, count] : counts) parts.push_back(fmt::format("{} {}", quant::name_of(dtype), count));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string plan_text(const QuantizePlan& plan, const std::vector<GgufWriter::File>& files) {
  std::string text;
  std::vector<InspectTensor> tensors;
  for (const quantize::OutputTensor& tensor : plan.tensors) {
    const std::string type(quant::name_of(tensor.dtype));
    text += fmt::format("{:<44} {:<8} [{}] {}\n", tensor.name, type, fmt::join(tensor.dims, ", "),
                        bytes_text(static_cast<double>(tensor.bytes())));
    tensors.push_back({.name = tensor.name,
                       .type = type,
                       .dims = tensor.dims,
                       .elements = static_cast<std::uint64_t>(tensor.n_weights()),
                       .bytes = tensor.bytes()});
  }
  text += sums_text(make_report(tensors, shape_of_gguf(plan.metadata))) + "\n";
  for (const GgufWriter::File& file : files)
    text += fmt::format("{}: {} bytes ({}), {} tensors\n", file.path.string(), file.bytes,
                        bytes_text(static_cast<double>(file.bytes)), file.n_tensors);
  return text;
}

std::string verification_text(const QuantizePlan& plan, const quantize::Verification& verification) {
  const InspectShape shape = shape_of_gguf(plan.metadata);
  std::array<VerifiedTensor, kWeightGroups> groups;
  std::array<std::uint64_t, kWeightGroups> bytes{}, counts{};
  VerifiedTensor total;
  std::size_t worst = 0, n_intact = 0;
  for (std::size_t i = 0; i < plan.tensors.size(); ++i) {
    const VerifiedTensor& tensor = verification.tensors[i];
    const auto group = static_cast<std::size_t>(group_of(plan.tensors[i].name, shape));
    for (VerifiedTensor* sum : {&groups[group], &total}) {
      sum->square_error += tensor.square_error;
      sum->square += tensor.square;
    }
    bytes[group] += plan.tensors[i].bytes();
    ++counts[group];
    if (tensor.relative_error() > verification.tensors[worst].relative_error()) worst = i;
    if (tensor.intact) ++n_intact;
  }
  std::string text = fmt::format("{:<18} {:>8} {:>18} {:>12}\n", "role", "tensors", "bytes", "RMSE / rms");
  for (std::size_t group = 0; group < kWeightGroups; ++group)
    if (counts[group] > 0)
      text += fmt::format("{:<18} {:>8} {:>18} {:>12.6f}\n", group_name(static_cast<WeightGroup>(group)), counts[group],
                          bytes[group], groups[group].relative_error());
  text += fmt::format("{:<18} {:>8} {:>18} {:>12.6f}\n", "total", plan.tensors.size(), plan.tensor_bytes(),
                      total.relative_error());
  if (!plan.tensors.empty())
    text += fmt::format("worst: {} ({}), {:.6f}\n", plan.tensors[worst].name, quant::name_of(plan.tensors[worst].dtype),
                        verification.tensors[worst].relative_error());
  return text + fmt::format("read back as written: {} of {} tensors, checksum {:016x}\n", n_intact, plan.tensors.size(),
                            verification.checksum);
}

std::string times_text(const quantize::WorkTimes& times) {
  const double members = std::max(1e-9, times.seconds * times.team_size);
  const auto percent = [&](double seconds) { return 100 * seconds / members; };
  return fmt::format(
      "{:.2f} GB/s read, {:.1f} Mweights/s; limited by {} (of the time of {} threads: reading {:.0f} %, computing "
      "{:.0f} %, writing {:.0f} %)",
      static_cast<double>(times.bytes_read) / 1e9 / times.seconds,
      static_cast<double>(times.n_weights) / 1e6 / times.seconds, times.limited_by_disk() ? "disk" : "cores",
      times.team_size, percent(times.reading), percent(times.computing), percent(times.writing));
}

}  // namespace dodeca::runtime::cli
