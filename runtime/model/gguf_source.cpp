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

// Where a weight's rows lie: row r of slice s is row s * rows_per_slice + row_offset + r of the tensor; of a vector
// that is a part of another, from value first_value on.
struct GgufPlace {
  const GgufTensor* tensor = nullptr;
  std::int64_t rows_per_slice = 0;
  std::int64_t row_offset = 0, first_value = 0;
  bool transposed_key = false;  // attn_k_b made from attn_kv_b
  std::vector<const GgufTensor*> of_experts =
      {};  // very old files have a tensor for each expert; `tensor` is the first
};

class GgufSource final : public WeightSource {
 public:
  GgufSource(std::filesystem::path path, const SourceOptions& options, const Log& log)
      : path_(std::move(path)), file_(GgufFile::open(path_)) {
    for (const std::string& assignment : options.override_kv) override_kv(file_.metadata(), assignment);
    use_usual_names(file_, log);
    config_ = config_from_gguf(file_.metadata(), file_.tensors(), options.config, log);
    read_rope_factors();
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
    for (const auto& [name, place] : places_) {
      used.insert(place.tensor);
      used.insert(place.of_experts.begin(), place.of_experts.end());
    }
    for (const GgufTensor& tensor : file_.tensors())
      if (!used.contains(&tensor)) unused_.push_back(tensor.name);
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
    const GgufTensor& tensor = place.of_experts.empty() ? *place.tensor : *place.of_experts[slice];
    const std::int64_t in_tensor = place.of_experts.empty() ? slice : 0;
    const auto first = static_cast<std::uint64_t>(in_tensor * place.rows_per_slice + place.row_offset + row_begin);
    // Vectors that are parts of others have types whose rows begin with no bytes of their own.
    const std::size_t skipped = place.first_value > 0 ? *quant::row_bytes(tensor.dtype, place.first_value) : 0;
    file_.read(tensor, first * row_bytes + skipped, {dst, static_cast<std::size_t>(row_end - row_begin) * row_bytes});
  }

 private:
  // Factors on the frequencies of rotations; all 1 they change nothing.
  void read_rope_factors() {
    const GgufTensor* tensor = file_.find(gguf_name({WeightRole::kRopeFactors}));
    if (tensor == nullptr) return;
    const std::int64_t n = tensor->n_elements();
    if (tensor->dtype != quant::DType::kF32 || n != config_.rope.dim / 2)
      throw Error(ErrorKind::kBadFile,
                  fmt::format("{} has {} values of type {}, the model turns {} pairs", tensor->name, n,
                              quant::name_of(tensor->dtype), config_.rope.dim / 2))
          .with("file", path_.string());
    std::vector<float> values(static_cast<std::size_t>(n));
    file_.read(*tensor, 0, std::as_writable_bytes(std::span(values)));
    if (std::ranges::all_of(values, [](float v) { return v == 1.0f; })) return;
    if (config_.layer(0).attention == AttentionKind::kMla)
      throw Error(ErrorKind::kUnsupported, "rope_freqs.weight has factors other than 1, which are not supported")
          .with("file", path_.string());
    config_.rope.factors.assign(values.begin(), values.end());
    validate(config_);
  }

  // Weights that files have in other forms: several in one tensor, or one in several.
  void find_other_form(const WantedWeight& wanted, GgufPlace& place, std::int64_t& rows, std::int64_t& columns) const {
    const WeightRole role = wanted.id.role;
    const std::int64_t layer = wanted.id.layer;
    const std::int64_t queries = config_.n_heads * config_.head_dim, keys = config_.n_kv_heads * config_.head_dim;
    switch (role) {
      case WeightRole::kQ:
      case WeightRole::kK:
      case WeightRole::kV:
        if (config_.layer(layer).attention != AttentionKind::kGqa) return;
        place.tensor = file_.find(gguf_name({WeightRole::kQkv, layer}));
        place.row_offset = role == WeightRole::kQ ? 0 : role == WeightRole::kK ? queries : queries + keys;
        rows = queries + 2 * keys;
        return;
      case WeightRole::kQBias:
      case WeightRole::kKBias:
      case WeightRole::kVBias:
        place.tensor = file_.find(gguf_name({WeightRole::kQkvBias, layer}));
        place.first_value = role == WeightRole::kQBias ? 0 : role == WeightRole::kKBias ? queries : queries + keys;
        columns = queries + 2 * keys;
        return;
      case WeightRole::kExpertGate:
      case WeightRole::kExpertUp:  // fused: gate rows first
        place.tensor = file_.find(gguf_name({WeightRole::kExpertGateUp, layer}));
        place.rows_per_slice = 2 * wanted.n_out;
        place.row_offset = role == WeightRole::kExpertUp ? wanted.n_out : 0;
        if (place.tensor != nullptr) {
          rows = place.rows_per_slice * wanted.n_slices;
          return;
        }
        place.rows_per_slice = wanted.n_out;
        place.row_offset = 0;
        [[fallthrough]];
      case WeightRole::kExpertDown:
        find_of_experts(wanted, place);
        if (place.tensor != nullptr) rows = wanted.n_out;
        return;
      default:
        return;
    }
  }

  // blk.N.ffn_gate.E.weight
  void find_of_experts(const WantedWeight& wanted, GgufPlace& place) const {
    const std::string_view kind = wanted.id.role == WeightRole::kExpertGate ? "gate"
                                  : wanted.id.role == WeightRole::kExpertUp ? "up"
                                                                            : "down";
    for (std::int64_t expert = 0; expert < wanted.n_slices; ++expert) {
      const GgufTensor* tensor = file_.find(fmt::format("blk.{}.ffn_{}.{}.weight", wanted.id.layer, kind, expert));
      if (tensor == nullptr) return;
      if (expert > 0 && (tensor->dtype != place.of_experts[0]->dtype || tensor->dims != place.of_experts[0]->dims))
        throw Error(ErrorKind::kUnsupported,
                    fmt::format("tensors {} and {} differ in type or shape: experts of a layer must not",
                                place.of_experts[0]->name, tensor->name));
      place.of_experts.push_back(tensor);
    }
    place.tensor = place.of_experts.front();
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
    if (place.tensor == nullptr) {
      find_other_form(wanted, place, rows, columns);
      if (place.tensor != nullptr && wanted.slicing != Slicing::kHeads) dtype = place.tensor->dtype;
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
    if (wanted.vector && columns != wanted.n_in && quant::type_info(tensor.dtype).block_elements != 1)
      throw Error(ErrorKind::kUnsupported, fmt::format("tensor {} joins several vectors and has type {} (known: F32, "
                                                       "F16, BF16)",
                                                       tensor.name, quant::name_of(tensor.dtype)));
    // Both ranks of attn_k_b and attn_v_b occur; what counts is the row length and how many rows there are.
    if (tensor.dims[0] != columns || tensor.n_rows() != rows || (wanted.vector && tensor.n_rows() != wanted.n_slices)) {
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
