// A Hugging Face directory as a weight source: experts stacked, kv_b_proj split.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "quant/codec.hpp"
#include "runtime/model/hf_checkpoint.hpp"
#include "runtime/model/hf_fused_experts.hpp"
#include "runtime/model/sources.hpp"
#include "runtime/model/tensor_check.hpp"
#include "runtime/model/wanted.hpp"

namespace dodeca::runtime {
namespace {

// Row r of slice s is row s * rows_per_slice + row_offset + r of the one matrix, or row r of matrix s; or `fused` or
// `values` say all.
struct HfPlace {
  std::vector<HfMatrix> matrices = {};              // one, or one per expert
  std::int64_t rows_per_slice = 0, row_offset = 0;  // experts: 0
  bool transposed_key = false;
  bool turned_by_halves = false;  // rows (of a vector: values) of heads, whose first half turns with the second
  std::optional<FusedExperts> fused = {};
  std::vector<float> values = {};  // of the configuration
};

// GGUF's Llama turns neighbours (2i, 2i + 1), the checkpoint's (i, i + rope / 2): which row of the checkpoint is row
// `row` there, of heads whose first `rope` rows are turned.
std::int64_t row_by_halves(std::int64_t row, std::int64_t head, std::int64_t rope) {
  const std::int64_t in_head = row % head;
  return in_head < rope ? row - in_head + in_head / 2 + in_head % 2 * (rope / 2) : row;
}

class HfSource final : public WeightSource {
 public:
  HfSource(std::filesystem::path directory, const SourceOptions& options, const Log& log)
      : path_(std::move(directory)), checkpoint_(open_checkpoint(path_, options.headers_only)) {
    config_ = config_from_hf(
        read_json(path_ / "config.json"), [&](std::string_view name) { return checkpoint_.size_of(name); }, log,
        options.config);
    const ModelConfig as_described = config_;
    auto absolute = std::filesystem::absolute(path_).lexically_normal();
    config_.name = (absolute.has_filename() ? absolute.filename() : absolute.parent_path().filename()).string();
    // Configurations name the MTP layer also where a re-upload dropped its weights.
    if (config_.n_mtp_layers > 0 &&
        !checkpoint_.size_of(fmt::format("model.layers.{}.eh_proj.weight", config_.n_layers)))
      config_.n_mtp_layers = 0;
    const std::vector<WantedWeight> main = wanted_weights(config_, false);
    for (const WantedWeight& wanted : main) add(wanted, weights_);
    if (config_.n_mtp_layers > 0) {
      for (const WantedWeight& wanted : wanted_weights(config_, true)) add(wanted, mtp_weights_);
    }
    for (auto* list : {&weights_, &mtp_weights_}) std::ranges::sort(*list, {}, &WeightInfo::name);
    check_optional(main, weights_);
    std::set<const SafeTensor*> used;
    for (const auto& [name, place] : places_) {
      for (const HfMatrix& matrix : place.matrices) used.insert({matrix.values, matrix.scales, matrix.shape});
      if (place.fused) used.insert({place.fused->values, place.fused->scales});
    }
    for (const SafeTensor& tensor : checkpoint_.tensors())
      if (!used.contains(&tensor)) unused_.push_back(tensor.name);
    check_unused(unused_, as_described, log);
  }

  const ModelConfig& config() const override { return config_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  const std::vector<WeightInfo>& mtp_weights() const override { return mtp_weights_; }
  const std::vector<std::string>& unused() const override { return unused_; }
  std::filesystem::path path() const override { return path_; }
  std::span<const InputFile> files() const override { return checkpoint_.files(); }

  void read_rows(const WeightInfo& weight, std::int64_t slice, std::int64_t row_begin, std::int64_t row_end,
                 std::byte* dst) const override {
    const HfPlace& place = places_.find(weight.name)->second;
    if (place.fused) return read_fused(checkpoint_, *place.fused, slice, row_begin, row_end, dst);
    if (place.turned_by_halves) return read_turned(weight, place.matrices.front(), row_begin, row_end, dst);
    if (!place.values.empty()) {
      std::memcpy(dst, place.values.data(), place.values.size() * sizeof(float));
      return;
    }
    const bool stacked = place.matrices.size() > 1;
    const HfMatrix& matrix = place.matrices[stacked ? slice : 0];
    if (place.transposed_key) {
      const std::int64_t n_nope = config_.qk_nope_head_dim, n_latent = config_.kv_lora_rank;
      std::vector<float> key(static_cast<std::size_t>(n_nope * n_latent)),
          turned(static_cast<std::size_t>(n_nope * (row_end - row_begin)));
      checkpoint_.read_floats(matrix, slice * place.rows_per_slice, n_nope, key.data());
      transpose_key_half(key.data(), n_nope, n_latent, row_begin, row_end, turned.data());
      quant::encode_row(weight.dtype, turned.data(), dst, n_nope * (row_end - row_begin));
      return;
    }
    const std::int64_t first = (stacked ? 0 : slice * place.rows_per_slice + place.row_offset) + row_begin,
                       n = row_end - row_begin;
    read_plain(weight, matrix, first, n, dst);
  }

 private:
  void read_plain(const WeightInfo& weight, const HfMatrix& matrix, std::int64_t first, std::int64_t n,
                  std::byte* dst) const {
    if (matrix.storage == HfStorage::kFp8 && weight.dtype == quant::DType::kF32)
      checkpoint_.read_floats(matrix, first, n, reinterpret_cast<float*>(dst));
    else
      checkpoint_.read_stored(matrix, first, n, dst);
  }

  void read_turned(const WeightInfo& weight, const HfMatrix& matrix, std::int64_t row_begin, std::int64_t row_end,
                   std::byte* dst) const {
    const std::int64_t head = config_.head_dim, rope = config_.rope.dim;
    const std::size_t row_bytes = weight.row_bytes();
    if (!weight.is_vector()) {
      for (std::int64_t row = row_begin; row < row_end; ++row, dst += row_bytes)
        read_plain(weight, matrix, row_by_halves(row, head, rope), 1, dst);
      return;
    }
    std::vector<std::byte> values(row_bytes);
    read_plain(weight, matrix, 0, 1, values.data());
    const std::size_t one = *quant::row_bytes(weight.dtype, 1);
    for (std::int64_t i = 0; i < weight.n_in; ++i, dst += one)
      std::memcpy(dst, values.data() + static_cast<std::size_t>(row_by_halves(i, head, rope)) * one, one);
  }

  bool is_turned_by_halves(WeightRole role) const {
    using enum WeightRole;
    return config_.architecture == "llama" && (role == kQ || role == kK || role == kQBias || role == kKBias);
  }

  static HfCheckpoint open_checkpoint(const std::filesystem::path& directory, bool headers_only) {
    if (!std::filesystem::exists(directory / "config.json")) {
      throw Error(ErrorKind::kBadFile, "the directory has no config.json: it is not a Hugging Face checkpoint")
          .with("directory", directory.string());
    }
    return {directory, headers_only ? SafetensorsUse::kHeaders : SafetensorsUse::kWeights};
  }

  void add(const WantedWeight& wanted, std::vector<WeightInfo>& list) {
    HfPlace place{.rows_per_slice = wanted.n_out, .turned_by_halves = is_turned_by_halves(wanted.id.role)};
    if (wanted.id.role == WeightRole::kRopeFactors) {
      place.values.assign(config_.rope.factors.begin(), config_.rope.factors.end());
      return add_found(wanted, std::move(place), quant::DType::kF32, "config.json: rope_scaling", list);
    }
    if (wanted.slicing == Slicing::kExperts && wanted.hf_name.find("{}") == std::string::npos) {
      place.fused = find_fused(checkpoint_, wanted);
      const SafeTensor& values = *place.fused->values;
      const quant::DType dtype = place.fused->dtype();
      return add_found(wanted, std::move(place), dtype,
                       fmt::format("{}: {}", checkpoint_.file_name(values), values.name), list);
    }
    std::int64_t rows = wanted.n_out, columns = wanted.n_in;
    if (wanted.slicing == Slicing::kHeads) {
      place.transposed_key = wanted.id.role == WeightRole::kKB;
      place.rows_per_slice = config_.qk_nope_head_dim + config_.v_head_dim;
      place.row_offset = place.transposed_key ? 0 : config_.qk_nope_head_dim;
      rows = place.rows_per_slice * config_.n_heads;
      columns = config_.kv_lora_rank;
      place.matrices.push_back(checkpoint_.matrix(
          fmt::format("model.layers.{}.self_attn.kv_b_proj.weight", wanted.id.layer), rows, columns, false));
    } else if (wanted.slicing == Slicing::kExperts) {
      for (std::int64_t expert = 0; expert < wanted.n_slices; ++expert) {
        place.matrices.push_back(
            checkpoint_.matrix(fmt::format(fmt::runtime(wanted.hf_name), expert), rows, columns, false));
      }
    } else {
      if (wanted.optional && !checkpoint_.size_of(wanted.hf_name)) return;
      place.matrices.push_back(checkpoint_.matrix(wanted.hf_name, rows, columns, wanted.vector));
    }
    const HfMatrix& first = place.matrices.front();
    for (const HfMatrix& matrix : place.matrices) {
      if (matrix.values->dtype != first.values->dtype)
        throw Error(ErrorKind::kUnsupported, fmt::format("the experts of {} have different dtypes", wanted.name));
    }
    // A transposed row crosses the blocks of FP8 and the groups of integers: those become F32, exactly.
    const bool decoded = place.transposed_key && first.storage != HfStorage::kFloats;
    const quant::DType dtype = decoded ? quant::DType::kF32 : first.stored_type();
    const std::string where = fmt::format("{}: {}", checkpoint_.file_name(*first.values), first.values->name);
    add_found(wanted, std::move(place), dtype, where, list);
  }

  void add_found(const WantedWeight& wanted, HfPlace place, quant::DType dtype, const std::string& where,
                 std::vector<WeightInfo>& list) {
    list.push_back({.id = wanted.id,
                    .name = wanted.name,
                    .dtype = dtype,
                    .n_in = wanted.n_in,
                    .n_out = wanted.n_out,
                    .n_slices = wanted.n_slices,
                    .source_rank = wanted.rank(),
                    .where = where});
    places_[wanted.name] = std::move(place);
  }

  std::filesystem::path path_;
  HfCheckpoint checkpoint_;
  ModelConfig config_;
  std::vector<WeightInfo> weights_, mtp_weights_;
  std::vector<std::string> unused_;
  std::map<std::string, HfPlace, std::less<>> places_;
};

}  // namespace

std::unique_ptr<WeightSource> open_hf_source(const std::filesystem::path& directory, const SourceOptions& options,
                                             const Log& log) {
  return std::make_unique<HfSource>(directory, options, log);
}

}  // namespace dodeca::runtime
