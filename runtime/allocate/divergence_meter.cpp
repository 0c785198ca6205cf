#include "runtime/allocate/divergence_meter.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "quant/codec.hpp"
#include "runtime/base/error.hpp"
#include "runtime/engine/session.hpp"
#include "runtime/eval/log_probs.hpp"
#include "runtime/eval/statistics.hpp"
#include "runtime/eval/windows.hpp"
#include "runtime/quantize/encode_weights.hpp"

namespace dodeca::runtime::allocate {
namespace {

using eval::Prediction;

constexpr std::int64_t kRowsPerCall = 512;

// The source with some weights rounded; those are F32.
class RoundedSource final : public WeightSource {
 public:
  RoundedSource(const WeightSource& source, const Roundings& roundings, cpu::Isa isa)
      : source_(source), isa_(isa), weights_(source.weights()) {
    for (WeightInfo& weight : weights_) {
      const auto found = roundings.find(weight.name);
      roundings_.push_back(found == roundings.end() ? nullptr : &found->second);
      if (roundings_.back() != nullptr) weight.dtype = quant::DType::kF32;
    }
  }
  const ModelConfig& config() const override { return source_.config(); }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  const std::vector<WeightInfo>& mtp_weights() const override { return source_.mtp_weights(); }
  std::filesystem::path path() const override { return source_.path(); }
  const GgufFile* gguf() const override { return source_.gguf(); }

  void read_rows(const WeightInfo& weight, std::int64_t slice, std::int64_t row_begin, std::int64_t row_end,
                 std::byte* dst) const override {
    const auto index = static_cast<std::size_t>(&weight - weights_.data());
    const WeightInfo& original = source_.weights()[index];
    if (roundings_[index] == nullptr) return source_.read_rows(original, slice, row_begin, row_end, dst);
    const Rounding& rounding = *roundings_[index];
    auto* values = reinterpret_cast<float*>(dst);
    source_.read_rows_f32(original, slice, row_begin, row_end, values);
    std::vector<float> importance;
    if (rounding.importance != nullptr)
      importance = ImportanceMatrix::importance(*rounding.importance, weight.n_in, slice);
    std::vector<std::byte> encoded(*quant::row_bytes(rounding.dtype, weight.n_in));
    std::vector<float> scratch;
    for (std::int64_t row = row_begin; row < row_end; ++row, values += weight.n_in) {
      quantize::encode_weights(rounding.dtype, {values, static_cast<std::size_t>(weight.n_in)}, encoded.data(),
                               importance.empty() ? nullptr : importance.data(), isa_, scratch);
      quant::decode_row(rounding.dtype, encoded.data(), values, weight.n_in);
    }
  }

 private:
  const WeightSource& source_;
  cpu::Isa isa_;
  std::vector<WeightInfo> weights_;
  std::vector<const Rounding*> roundings_;  // of each weight, or null
};

}  // namespace

struct DivergenceMeter::Impl {
  const WeightSource& source;
  cpu::Team& team;
  MeterOptions options;
  std::size_t row_size;
  std::vector<std::uint16_t> base;  // packed rows of every prediction

  // on_predictions(first, predictions): `first` counts the predictions before them.
  void run(const Roundings& roundings,
           const std::function<void(std::size_t, std::span<const Prediction>)>& take) const {
    const std::int32_t n_sequences = eval::sequences_for(options.n_ctx, kRowsPerCall, options.n_windows);
    const auto rounded = std::make_shared<RoundedSource>(source, roundings, options.isa);
    engine::SessionOptions wanted;
    wanted.executor.n_positions = options.n_ctx * n_sequences;
    wanted.executor.n_sequences = n_sequences;
    wanted.executor.micro_batch = kRowsPerCall;
    wanted.executor.cache_type = quant::DType::kF32;
    wanted.extra_bytes = static_cast<std::uint64_t>(kRowsPerCall * source.config().vocab_size) * sizeof(float);
    engine::Session session(rounded, make_plan(*rounded, this_machine(), {.isa = options.isa, .onednn = true}),
                            engine::Workers(team), std::move(wanted), [](Level, std::string_view) {});
    std::size_t done = 0;
    eval::run_windows(
        eval::make_eval_model(session.executor(), team, kRowsPerCall),
        {.tokens = options.tokens, .n_ctx = options.n_ctx, .n_windows = options.n_windows, .first = options.n_ctx / 2},
        [&](std::span<const Prediction> predictions) {
          take(done, predictions);
          done += predictions.size();
        });
  }
  std::span<std::uint16_t> row(std::size_t i) { return std::span(base).subspan(i * row_size, row_size); }
};

DivergenceMeter::DivergenceMeter(const WeightSource& source, cpu::Team& team, MeterOptions options)
    : impl_(new Impl{source, team, std::move(options), 0, {}}) {
  Impl& self = *impl_;
  self.row_size = static_cast<std::size_t>(eval::packed_row_size(source.config().vocab_size));
  const std::int64_t n_predictions = self.options.n_windows * (self.options.n_ctx - 1 - self.options.n_ctx / 2);
  self.base.resize(n_predictions * self.row_size);
  self.run({}, [&](std::size_t first, std::span<const Prediction> predictions) {
    for (std::size_t i = 0; i < predictions.size(); ++i) eval::pack_row(predictions[i].logits, self.row(first + i));
  });
}

DivergenceMeter::~DivergenceMeter() = default;

double DivergenceMeter::mean_kld(const Roundings& roundings) const {
  Impl& self = *impl_;
  double sum = 0;
  std::size_t count = 0;
  self.run(roundings, [&](std::size_t first, std::span<const Prediction> predictions) {
    for (std::size_t i = 0; i < predictions.size(); ++i) {
      sum +=
          eval::diverge(predictions[i].logits, eval::unpack_row(self.row(first + i), self.source.config().vocab_size),
                        predictions[i].target)
              .kld;
    }
    count += predictions.size();
  });
  if (!std::isfinite(sum)) throw Error(ErrorKind::kBadFile, "the model's logits are NaN or infinite: it is damaged");
  return sum / static_cast<double>(count);
}

}  // namespace dodeca::runtime::allocate
