#include "runtime/model/random_source.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <utility>

#include "runtime/model/random_blocks.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::int64_t kPoolBytes = 1 << 20;
constexpr double kBiasDeviation = 0.02;  // small beside the router's scores, as in trained models

std::uint64_t hash_of(std::string_view name) {
  std::uint64_t hash = 0;
  for (const char c : name) hash = mix64(hash ^ static_cast<unsigned char>(c));
  return hash;
}

class RandomSource final : public WeightSource {
 public:
  RandomSource(const ModelConfig& config, const TypeOf& type_of, std::uint64_t seed)
      : config_(config),
        weights_(random_weight_infos(config, type_of)),
        mtp_weights_(random_weight_infos(config, type_of, true)),
        seed_(seed) {
    for (const auto* list : {&weights_, &mtp_weights_}) {
      for (const WeightInfo& weight : *list) add_pool(weight);
    }
  }

  const ModelConfig& config() const override { return config_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  const std::vector<WeightInfo>& mtp_weights() const override { return mtp_weights_; }
  std::filesystem::path path() const override { return config_.name; }

  void read_rows(const WeightInfo& weight, std::int64_t slice, std::int64_t row_begin, std::int64_t row_end,
                 std::byte* dst) const override {
    const std::uint64_t key = hash_of(weight.name) ^ seed_;
    const std::size_t row_bytes = weight.row_bytes();
    if (weight.is_vector()) return read_vector(weight, mix64(key + static_cast<std::uint64_t>(slice)), dst);
    const std::vector<std::byte>& pool = pools_.find({weight.dtype, weight.n_in})->second;
    const quant::TypeInfo& type = quant::type_info(weight.dtype);
    const auto block = static_cast<std::size_t>(type.block_bytes),
               prefix = static_cast<std::size_t>(type.row_prefix_bytes);
    const std::size_t places = (pool.size() - row_bytes) / block + 1;
    for (std::int64_t row = row_begin; row < row_end; ++row, dst += row_bytes) {
      const std::uint64_t place = mix64(key + static_cast<std::uint64_t>(slice * weight.n_out + row)) % places;
      std::memcpy(dst, pool.data(), prefix);
      std::memcpy(dst + prefix, pool.data() + prefix + place * block, row_bytes - prefix);
    }
  }

 private:
  void add_pool(const WeightInfo& weight) {
    if (weight.is_vector()) return;
    auto [at, made] = pools_.try_emplace({weight.dtype, weight.n_in});
    if (!made) return;
    const quant::TypeInfo& type = quant::type_info(weight.dtype);
    const std::int64_t row = weight.n_in / type.block_elements;
    at->second = random_blocks(weight.dtype, std::max(2 * row, kPoolBytes / type.block_bytes),
                               1.0 / std::sqrt(static_cast<double>(weight.n_in)), mix64(seed_ + pools_.size()));
  }
  static void read_vector(const WeightInfo& weight, std::uint64_t key, std::byte* dst) {
    if (is_bias(weight.id.role)) {
      const std::vector<std::byte> values = random_blocks(quant::DType::kF32, weight.n_in, kBiasDeviation, key);
      std::memcpy(dst, values.data(), values.size());
    } else {
      const std::vector<float> ones(static_cast<std::size_t>(weight.n_in), 1.0f);
      std::memcpy(dst, ones.data(), ones.size() * sizeof(float));
    }
  }

  ModelConfig config_;
  std::vector<WeightInfo> weights_, mtp_weights_;
  std::uint64_t seed_;
  std::map<std::pair<quant::DType, std::int64_t>, std::vector<std::byte>> pools_;  // by type and row length
};

}  // namespace

std::vector<WeightInfo> random_weight_infos(const ModelConfig& config, const TypeOf& type_of, bool mtp) {
  std::vector<WeightInfo> infos;
  for (const WantedWeight& wanted : wanted_weights(config, mtp)) {
    // Of the optional ones only the router's balancing bias, which goes with sigmoid scores.
    if (wanted.optional && (wanted.id.role != WeightRole::kRouterBias || config.gating != GatingKind::kSigmoid))
      continue;
    infos.push_back({.id = wanted.id,
                     .name = wanted.name,
                     .dtype = wanted.vector ? quant::DType::kF32 : type_of(wanted),
                     .n_in = wanted.n_in,
                     .n_out = wanted.n_out,
                     .n_slices = wanted.n_slices,
                     .source_rank = wanted.rank(),
                     .where = "random weights"});
  }
  std::sort(infos.begin(), infos.end(), [](const WeightInfo& a, const WeightInfo& b) { return a.name < b.name; });
  return infos;
}

std::unique_ptr<WeightSource> random_weights(const ModelConfig& config, const TypeOf& type_of, std::uint64_t seed) {
  return std::make_unique<RandomSource>(config, type_of, seed);
}

}  // namespace dodeca::runtime
