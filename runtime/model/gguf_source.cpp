// A GGUF as a weight source: split and fused tensors are presented under their usual names.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "quant/codec.hpp"
#include "runtime/model/gguf_names.hpp"
#include "runtime/model/sources.hpp"
#include "runtime/model/tensor_check.hpp"
#include "runtime/model/wanted.hpp"

namespace dodeca::runtime {

void transpose_key_half(const float* src, std::int64_t n_nope, std::int64_t n_latent, std::int64_t latent_begin,
                        std::int64_t latent_end, float* dst) {
  for (std::int64_t l = latent_begin; l < latent_end; ++l) {
    for (std::int64_t d = 0; d < n_nope; ++d) dst[(l - latent_begin) * n_nope + d] = src[d * n_latent + l];
  }
}

namespace {

// Where a weight's rows lie: row r of slice s is row s * rows_per_slice + row_offset + r of the tensor.
struct GgufPlace {
  const GgufTensor* tensor = nullptr;
  std::int64_t rows_per_slice = 0;
  std::int64_t row_offset = 0;
  bool transposed_key = false;  // attn_k_b made from attn_kv_b
};

class GgufSource final : public WeightSource {
 public:
  GgufSource(std::filesystem::path path, const SourceOptions& options, const Log& log)
      : path_(std::move(path)), file_(GgufFile::open(path_)) {
    for (const std::string& assignment : options.override_kv) override_kv(file_.metadata(), assignment);
    use_usual_names(file_, log);
    config_ = config_from_gguf(file_.metadata(), file_.tensors(), options.config, log);
    if (config_.name.empty()) config_.name = path_.stem().string();
    const std::vector<WantedWeight> main = wanted_weights(config_, false);
    for (const WantedWeight& wanted : main) add(wanted, weights_);
    if (config_.n_mtp_layers > 0) {
      for (WantedWeight wanted : wanted_weights(config_, true)) {
        wanted.optional = true;  // some writers keep only part of the layer; it is not run
        add(wanted, mtp_weights_);
      }
    }
    for (auto* list : {&weights_, &mtp_weights_}) std::ranges::sort(*list, {}, &WeightInfo::name);
    check_optional(main, weights_);
    std::set<const GgufTensor*> used;
    for (const auto& [name, place] : places_) used.insert(place.tensor);
    for (const GgufTensor& tensor : file_.tensors())
      if (!used.contains(&tensor)) unused_.push_back(tensor.name);
    refuse_rope_factors();
    check_unused(unused_, config_, log);
  }

  const ModelConfig& config() const override { return config_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  const std::vector<WeightInfo>& mtp_weights() const override { return mtp_weights_; }
  const std::vector<std::string>& unused() const override { return unused_; }
  std::filesystem::path path() const override { return path_; }
  std::span<const InputFile> files() const override { return file_.files(); }
  const GgufFile* gguf() const override { return &file_; }

  void read_rows(const WeightInfo& weight, std::int64_t slice, std::int64_t row_begin, std::int64_t row_end,
                 std::byte* dst) const override {
    const GgufPlace& place = places_.find(weight.name)->second;
    if (place.transposed_key) return read_transposed(weight, place, slice, row_begin, row_end, dst);
    const std::size_t row_bytes = weight.row_bytes();
    const auto first = static_cast<std::uint64_t>(slice * place.rows_per_slice + place.row_offset + row_begin);
    file_.read(*place.tensor, first * row_bytes, {dst, static_cast<std::size_t>(row_end - row_begin) * row_bytes});
  }

 private:
  // Factors on the frequencies of rotations; all 1 they change nothing.
  void refuse_rope_factors() const {
    const GgufTensor* factors = file_.find("rope_freqs.weight");
    if (factors == nullptr) return;
    std::vector<float> values(static_cast<std::size_t>(factors->n_elements()));
    if (factors->dtype == quant::DType::kF32) file_.read(*factors, 0, std::as_writable_bytes(std::span(values)));
    if (std::ranges::any_of(values, [](float v) { return v != 1.0f; }))
      throw Error(ErrorKind::kUnsupported, "rope_freqs.weight has factors other than 1, which are not supported")
          .with("file", path_.string());
  }

  void add(const WantedWeight& wanted, std::vector<WeightInfo>& list) {
    GgufPlace place{.tensor = file_.find(wanted.name), .rows_per_slice = wanted.n_out};
    std::int64_t rows = wanted.n_out * wanted.n_slices, columns = wanted.n_in;
    quant::DType dtype = place.tensor != nullptr ? place.tensor->dtype : quant::DType::kF32;
    if (place.tensor == nullptr && wanted.slicing == Slicing::kHeads) {  // old layout: both halves in one tensor
      const bool key = wanted.id.role == WeightRole::kKB;
      place.tensor = file_.find(gguf_name({WeightRole::kKvB, wanted.id.layer}));
      place.rows_per_slice = config_.qk_nope_head_dim + config_.v_head_dim;
      place.row_offset = key ? 0 : config_.qk_nope_head_dim;
      place.transposed_key = key;
      rows = place.rows_per_slice * config_.n_heads;
      columns = config_.kv_lora_rank;
      if (place.tensor != nullptr) {
        dtype = place.tensor->dtype;
        if (key && dtype != quant::DType::kF32 && dtype != quant::DType::kBF16) dtype = quant::DType::kF16;
      }
    }
    if (place.tensor == nullptr && wanted.slicing == Slicing::kExperts &&
        wanted.id.role != WeightRole::kExpertDown) {  // fused: gate rows first
      place.tensor = file_.find(gguf_name({WeightRole::kExpertGateUp, wanted.id.layer}));
      place.rows_per_slice = 2 * wanted.n_out;
      place.row_offset = wanted.id.role == WeightRole::kExpertUp ? wanted.n_out : 0;
      rows = place.rows_per_slice * wanted.n_slices;
      if (place.tensor != nullptr) dtype = place.tensor->dtype;
    }
    if (place.tensor == nullptr) {
      if (wanted.optional) return;
      throw Error(ErrorKind::kBadFile, fmt::format("the file has no tensor {}", wanted.name))
          .with("file", path_.string());
    }
    const GgufTensor& tensor = *place.tensor;
    if (!quant::type_info(tensor.dtype).decodable) {
      throw Error(ErrorKind::kUnsupported, fmt::format("tensor {} has type {}, which dodeca cannot compute with",
                                                       tensor.name, quant::name_of(tensor.dtype)));
    }
    // Both ranks of attn_k_b and attn_v_b occur; what counts is the row length and how many rows there are.
    if (tensor.dims[0] != columns || tensor.n_rows() != rows || (wanted.vector && tensor.n_rows() != 1)) {
      throw Error(ErrorKind::kBadFile,
                  fmt::format("tensor {} has shape [{}], the model needs rows of {} and {} of them", tensor.name,
                              fmt::join(tensor.dims, ", "), columns, rows))
          .with("file", path_.string());
    }
    list.push_back(
        {.id = wanted.id,
         .name = wanted.name,
         .dtype = dtype,
         .n_in = wanted.n_in,
         .n_out = wanted.n_out,
         .n_slices = wanted.n_slices,
         .source_rank = wanted.rank(),
         .where = fmt::format("{}: {}", file_.files()[tensor.file].path().filename().string(), tensor.name)});
    places_[wanted.name] = place;
  }

  void read_transposed(const WeightInfo& weight, const GgufPlace& place, std::int64_t head, std::int64_t row_begin,
                       std::int64_t row_end, std::byte* dst) const {
    const GgufTensor& tensor = *place.tensor;
    const std::int64_t n_nope = config_.qk_nope_head_dim, n_latent = config_.kv_lora_rank;
    const std::size_t row_bytes = *quant::row_bytes(tensor.dtype, n_latent);
    std::vector<std::byte> rows(row_bytes * static_cast<std::size_t>(n_nope));
    file_.read(tensor, static_cast<std::uint64_t>(head * place.rows_per_slice) * row_bytes, rows);
    std::vector<float> key(static_cast<std::size_t>(n_nope * n_latent)),
        turned(static_cast<std::size_t>(n_nope * (row_end - row_begin)));
    for (std::int64_t d = 0; d < n_nope; ++d) {
      quant::decode_row(tensor.dtype, rows.data() + static_cast<std::size_t>(d) * row_bytes, key.data() + d * n_latent,
                        n_latent);
    }
    transpose_key_half(key.data(), n_nope, n_latent, row_begin, row_end, turned.data());
    quant::encode_row(weight.dtype, turned.data(), dst, n_nope * (row_end - row_begin));
  }

  std::filesystem::path path_;
  GgufFile file_;
  ModelConfig config_;
  std::vector<WeightInfo> weights_, mtp_weights_;
  std::vector<std::string> unused_;
  std::map<std::string, GgufPlace, std::less<>> places_;
};

}  // namespace

std::unique_ptr<WeightSource> open_gguf_source(const std::filesystem::path& path, const SourceOptions& options,
                                               const Log& log) {
  return std::make_unique<GgufSource>(path, options, log);
}

}  // namespace dodeca::runtime
