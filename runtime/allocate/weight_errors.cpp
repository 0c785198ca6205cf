#include "runtime/allocate/weight_errors.hpp"

#include <algorithm>
#include <cmath>

#include "cpu/kernels/encode/encode.hpp"
#include "quant/codec.hpp"
#include "runtime/base/error.hpp"
#include "runtime/base/first_error.hpp"

namespace dodeca::runtime::allocate {
namespace {

constexpr std::int64_t kSampledWeights = std::int64_t{1} << 18;  // of a tensor, about
constexpr std::int64_t kUnitWeights = std::int64_t{1} << 16;

// Every `step`-th row of one slice of one tensor.
struct Sample {
  std::size_t question;
  std::int64_t slice, step;
  double energy = 0;
  std::vector<double> error;  // [dtypes]
};

std::vector<Sample> samples_of(std::span<const ErrorQuestion> questions) {
  std::vector<Sample> samples;
  for (std::size_t q = 0; q < questions.size(); ++q) {
    const WeightInfo& weight = *questions[q].weight;
    const std::int64_t step = std::max<std::int64_t>(1, weight.n_elements() / kSampledWeights);
    for (std::int64_t slice = 0; slice < weight.n_slices; ++slice)
      samples.push_back({q, slice, std::min(step, weight.n_out), 0, std::vector<double>(questions[q].dtypes.size())});
  }
  return samples;
}

double share_of(const ImportanceMatrix::Entry* importance, std::int64_t n_slices, std::int64_t slice) {
  if (importance == nullptr || importance->n_slices() != n_slices) return 1;
  if (std::ranges::all_of(importance->counts, [](float count) { return count == 0; })) return 1;
  return importance->counts[slice];
}

void measure(const WeightSource& source, const ErrorQuestion& question, cpu::Isa isa, Sample& sample) {
  const WeightInfo& weight = *question.weight;
  const auto n_in = static_cast<std::size_t>(weight.n_in);
  std::vector<float> importance(n_in, 1.0f);
  if (question.importance != nullptr)
    importance = ImportanceMatrix::importance(*question.importance, weight.n_in, sample.slice);
  const double share = share_of(question.importance, weight.n_slices, sample.slice);
  // A source that transposes a slice reads all of it for any of its rows.
  const bool whole = weight.n_out * weight.n_in <= kUnitWeights;
  const std::int64_t rows_at_once = whole ? weight.n_out : 1;
  std::vector<float> values(rows_at_once * n_in), rounded(n_in);
  std::vector<std::byte> encoded;
  for (std::int64_t row = 0; row < weight.n_out; row += sample.step) {
    if (whole && row == 0)
      source.read_rows_f32(weight, sample.slice, 0, weight.n_out, values.data());
    else if (!whole)
      source.read_rows_f32(weight, sample.slice, row, row + 1, values.data());
    const float* w = values.data() + (whole ? row * n_in : 0);
    double energy = 0;
    for (std::size_t i = 0; i < n_in; ++i) energy += double{importance[i]} * w[i] * w[i];
    if (!std::isfinite(energy))
      throw Error(ErrorKind::kBadFile,
                  fmt::format("weight {} holds NaN or infinity in row {} of slice {}", weight.name, row, sample.slice))
          .with("source", weight.where);
    sample.energy += share * energy;
    for (std::size_t d = 0; d < question.dtypes.size(); ++d) {
      const quant::DType dtype = question.dtypes[d];
      if (dtype == weight.dtype) continue;  // kept as it is
      encoded.resize(*quant::row_bytes(dtype, weight.n_in));
      cpu::encode_row(dtype, w, encoded.data(), weight.n_in,
                      question.importance != nullptr ? importance.data() : nullptr, isa);
      quant::decode_row(dtype, encoded.data(), rounded.data(), weight.n_in);
      double error = 0;
      for (std::size_t i = 0; i < n_in; ++i) {
        const double difference = double{w[i]} - rounded[i];
        error += importance[i] * difference * difference;
      }
      sample.error[d] += share * error;
    }
  }
}

}  // namespace

std::vector<std::vector<double>> weight_errors(const WeightSource& source, std::span<const ErrorQuestion> questions,
                                               cpu::Team& team, cpu::Isa isa, const Progress& progress) {
  std::vector<Sample> samples = samples_of(questions);
  // In waves, so that progress is told and a stop is heard between them.
  const auto wave = std::size_t{8} * team.size();
  for (std::size_t begin = 0; begin < samples.size(); begin += wave) {
    const std::size_t end = std::min(samples.size(), begin + wave);
    cpu::WorkCounter next;
    FirstError first_error;
    team.run([&](const cpu::Member&) {
      first_error.guard([&] {
        const auto n = static_cast<std::int64_t>(end - begin);
        for (std::int64_t i = next.take(); i < n; i = next.take()) {
          Sample& sample = samples[begin + static_cast<std::size_t>(i)];
          measure(source, questions[sample.question], isa, sample);
        }
      });
    });
    first_error.rethrow();
    if (progress && !progress(static_cast<double>(end), static_cast<double>(samples.size()))) throw Stopped{};
  }
  std::vector<std::vector<double>> errors;
  std::vector<double> energies(questions.size());
  for (const ErrorQuestion& question : questions) errors.emplace_back(question.dtypes.size());
  for (const Sample& sample : samples) {
    energies[sample.question] += sample.energy;
    for (std::size_t d = 0; d < sample.error.size(); ++d) errors[sample.question][d] += sample.error[d];
  }
  for (std::size_t q = 0; q < questions.size(); ++q) {
    for (double& error : errors[q]) error = energies[q] > 0 ? error / energies[q] : 0;
  }
  return errors;
}

}  // namespace dodeca::runtime::allocate
