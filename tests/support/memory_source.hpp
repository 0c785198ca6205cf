// A weight source in memory: float32 weights drawn from a seed, for models that no file describes.
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "runtime/model/wanted.hpp"
#include "runtime/model/weight_source.hpp"

namespace dodeca::tests {

class MemorySource final : public runtime::WeightSource {
 public:
  // Every weight that the configuration wants (optional ones too, and those of layers of multi-token prediction), normal
  // with deviation 1/sqrt(n_in); vectors around 1.
  MemorySource(runtime::ModelConfig config, unsigned seed) : config_(std::move(config)) {
    std::mt19937 rng(seed);
    draw(rng, runtime::wanted_weights(config_, false), infos_);
    draw(rng, runtime::wanted_weights(config_, true), mtp_infos_);
  }

  const runtime::ModelConfig& config() const override { return config_; }
  const std::vector<runtime::WeightInfo>& weights() const override { return infos_; }
  const std::vector<runtime::WeightInfo>& mtp_weights() const override { return mtp_infos_; }
  std::filesystem::path path() const override { return "memory"; }
  void read_rows(const runtime::WeightInfo& w, std::int64_t slice, std::int64_t begin, std::int64_t end,
                 std::byte* dst) const override {
    const auto& values = data_.at(w.name);
    std::memcpy(dst, values.data() + (slice * w.n_out + begin) * w.n_in,
                static_cast<std::size_t>((end - begin) * w.n_in) * sizeof(float));
  }
  std::vector<float>& values(const std::string& name) { return data_.at(name); }
  const std::vector<float>& values(const std::string& name) const { return data_.at(name); }
  // As if the file did not have it.
  void remove_mtp(runtime::WeightRole role) {
    std::erase_if(mtp_infos_, [role](const runtime::WeightInfo& info) { return info.id.role == role; });
  }

 private:
  void draw(std::mt19937& rng, const std::vector<runtime::WantedWeight>& all, std::vector<runtime::WeightInfo>& infos) {
    for (const runtime::WantedWeight& wanted : all) {
      std::normal_distribution<float> normal(wanted.vector && !wanted.optional ? 1.0f : 0.0f,
                                             wanted.vector ? 0.1f : 1.0f / std::sqrt(static_cast<float>(wanted.n_in)));
      std::vector<float> values(static_cast<std::size_t>(wanted.n_in * wanted.n_out * wanted.n_slices));
      for (float& v : values) v = normal(rng);
      data_[wanted.name] = std::move(values);
      infos.push_back({.id = wanted.id,
                       .name = wanted.name,
                       .dtype = quant::DType::kF32,
                       .n_in = wanted.n_in,
                       .n_out = wanted.n_out,
                       .n_slices = wanted.n_slices,
                       .source_rank = wanted.vector ? 1 : 2,
                       .where = "memory"});
    }
    std::sort(infos.begin(), infos.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  }

  runtime::ModelConfig config_;
  std::vector<runtime::WeightInfo> infos_, mtp_infos_;
  std::map<std::string, std::vector<float>> data_;
};

}  // namespace dodeca::tests
