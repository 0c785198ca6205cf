// A Hugging Face directory as a weight source: experts stacked, kv_b_proj split, FP8 made self-contained.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "quant/codec.hpp"
#include "runtime/load/safetensors.hpp"
#include "runtime/model/sources.hpp"
#include "runtime/model/tensor_check.hpp"
#include "runtime/model/wanted.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::int64_t kScaleBlock = 128;  // weight_block_size of every published FP8 checkpoint

struct HfPlace {
  std::vector<const SafeTensor*> tensors = {};      // one, or one per expert
  std::vector<const SafeTensor*> scales = {};       // weight_scale_inv beside each, or empty
  std::int64_t rows_per_slice = 0, row_offset = 0;  // as in gguf_source.cpp; experts: 0
  bool transposed_key = false;
};

class HfSource final : public WeightSource {
 public:
  HfSource(std::filesystem::path directory, bool headers_only, const Log& log)
      : path_(std::move(directory)), dir_(open_directory(path_, headers_only)) {
    config_ = config_from_hf(
        read_json(path_ / "config.json"),
        [&](std::string_view name) -> std::optional<MatrixSize> {
          const SafeTensor* tensor = dir_.find(name);
          if (tensor == nullptr || tensor->shape.empty()) return std::nullopt;
          return MatrixSize{tensor->shape.back(), tensor->shape.size() > 1 ? tensor->shape.front() : 1};
        },
        log);
    const ModelConfig as_described = config_;
    auto absolute = std::filesystem::absolute(path_).lexically_normal();
    config_.name = (absolute.has_filename() ? absolute.filename() : absolute.parent_path().filename()).string();
    // Configurations name the MTP layer also where a re-upload dropped its weights.
    if (config_.n_mtp_layers > 0 &&
        dir_.find(fmt::format("model.layers.{}.eh_proj.weight", config_.n_layers)) == nullptr)
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
      used.insert(place.tensors.begin(), place.tensors.end());
      used.insert(place.scales.begin(), place.scales.end());
    }
    for (const SafeTensor& tensor : dir_.tensors())
      if (!used.contains(&tensor)) unused_.push_back(tensor.name);
    check_unused(unused_, as_described, log);
  }

  const ModelConfig& config() const override { return config_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  const std::vector<WeightInfo>& mtp_weights() const override { return mtp_weights_; }
  const std::vector<std::string>& unused() const override { return unused_; }
  std::filesystem::path path() const override { return path_; }
  std::span<const InputFile> files() const override { return dir_.files(); }

  void read_rows(const WeightInfo& weight, std::int64_t slice, std::int64_t row_begin, std::int64_t row_end,
                 std::byte* dst) const override {
    const HfPlace& place = places_.find(weight.name)->second;
    const bool stacked = place.tensors.size() > 1;
    const auto index = static_cast<std::size_t>(stacked ? slice : 0);
    const SafeTensor& tensor = *place.tensors[index];
    const SafeTensor* scale = place.scales.empty() ? nullptr : place.scales[index];
    if (place.transposed_key) {
      const std::int64_t n_nope = config_.qk_nope_head_dim, n_latent = config_.kv_lora_rank;
      std::vector<float> key(static_cast<std::size_t>(n_nope * n_latent)),
          turned(static_cast<std::size_t>(n_nope * (row_end - row_begin)));
      read_decoded(tensor, scale, slice * place.rows_per_slice, n_nope, n_latent, key.data());
      transpose_key_half(key.data(), n_nope, n_latent, row_begin, row_end, turned.data());
      quant::encode_row(weight.dtype, turned.data(), dst, n_nope * (row_end - row_begin));
      return;
    }
    const std::int64_t first = (stacked ? 0 : slice * place.rows_per_slice + place.row_offset) + row_begin,
                       n = row_end - row_begin;
    if (weight.dtype == quant::DType::kF8_E4M3_B128) {
      read_fp8_blocks(tensor, *scale, first, n, weight.n_in, dst);
    } else if (weight.dtype != tensor.dtype) {
      read_decoded(tensor, scale, first, n, weight.n_in, reinterpret_cast<float*>(dst));
    } else {
      const std::size_t row_bytes = weight.row_bytes();
      dir_.read(tensor, static_cast<std::uint64_t>(first) * row_bytes, {dst, static_cast<std::size_t>(n) * row_bytes});
    }
  }

 private:
  static SafetensorsDir open_directory(const std::filesystem::path& directory, bool headers_only) {
    if (!std::filesystem::exists(directory / "config.json")) {
      throw Error(ErrorKind::kBadFile, "the directory has no config.json: it is not a Hugging Face checkpoint")
          .with("directory", directory.string());
    }
    return SafetensorsDir::open(directory, headers_only ? SafetensorsUse::kHeaders : SafetensorsUse::kWeights);
  }

  const SafeTensor& tensor_for(const std::string& name, std::int64_t rows, std::int64_t columns, bool vector) const {
    const SafeTensor* tensor = dir_.find(name);
    if (tensor == nullptr)
      throw Error(ErrorKind::kBadFile, fmt::format("the checkpoint has no tensor {}", name))
          .with("directory", path_.string());
    const std::vector<std::int64_t> shape = vector ? std::vector{columns} : std::vector{rows, columns};
    if (tensor->shape != shape) {
      throw Error(ErrorKind::kBadFile, fmt::format("tensor {} has shape [{}], the model needs [{}]", name,
                                                   fmt::join(tensor->shape, ", "), fmt::join(shape, ", ")))
          .with("file", file_name(*tensor));
    }
    const bool fp8 = tensor->dtype == quant::DType::kF8_E4M3;
    if (!tensor->known || !(fp8 || quant::type_info(tensor->dtype).decodable)) {
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("tensor {} has dtype {} (known: F8_E4M3, BF16, F16, F32)", name, tensor->dtype_name))
          .with("file", file_name(*tensor));
    }
    return *tensor;
  }

  const SafeTensor* scale_for(const SafeTensor& tensor) const {
    if (tensor.dtype != quant::DType::kF8_E4M3) return nullptr;
    const std::string name = tensor.name + "_scale_inv";
    const SafeTensor* scale = dir_.find(name);
    if (scale == nullptr)
      throw Error(ErrorKind::kBadFile, fmt::format("tensor {} is FP8 but its scales {} are missing", tensor.name, name))
          .with("file", file_name(tensor));
    const auto blocks = [](std::int64_t n) { return (n + kScaleBlock - 1) / kScaleBlock; };
    const std::vector<std::int64_t> shape = {blocks(tensor.shape[0]), blocks(tensor.shape[1])};
    if (scale->shape != shape || !scale->known || scale->dtype != quant::DType::kF32) {
      throw Error(ErrorKind::kBadFile, fmt::format("scales {} are {} [{}], must be F32 [{}]", name, scale->dtype_name,
                                                   fmt::join(scale->shape, ", "), fmt::join(shape, ", ")))
          .with("file", file_name(*scale));
    }
    return scale;
  }

  void add(const WantedWeight& wanted, std::vector<WeightInfo>& list) {
    HfPlace place{.rows_per_slice = wanted.n_out};
    std::int64_t rows = wanted.n_out, columns = wanted.n_in;
    if (wanted.slicing == Slicing::kHeads) {
      place.transposed_key = wanted.id.role == WeightRole::kKB;
      place.rows_per_slice = config_.qk_nope_head_dim + config_.v_head_dim;
      place.row_offset = place.transposed_key ? 0 : config_.qk_nope_head_dim;
      rows = place.rows_per_slice * config_.n_heads;
      columns = config_.kv_lora_rank;
      place.tensors.push_back(&tensor_for(fmt::format("model.layers.{}.self_attn.kv_b_proj.weight", wanted.id.layer),
                                          rows, columns, false));
    } else if (wanted.slicing == Slicing::kExperts) {
      for (std::int64_t expert = 0; expert < wanted.n_slices; ++expert) {
        place.tensors.push_back(&tensor_for(fmt::format(fmt::runtime(wanted.hf_name), expert), rows, columns, false));
      }
    } else {
      if (wanted.optional && dir_.find(wanted.hf_name) == nullptr) return;
      place.tensors.push_back(&tensor_for(wanted.hf_name, rows, columns, wanted.vector));
    }
    const quant::DType first = place.tensors.front()->dtype;
    const bool fp8 = first == quant::DType::kF8_E4M3;
    bool mixed = false;
    for (const SafeTensor* tensor : place.tensors) mixed = mixed || tensor->dtype != first;
    if (mixed)
      throw Error(ErrorKind::kUnsupported, fmt::format("the experts of {} have different dtypes", wanted.name));
    if (fp8) {
      for (const SafeTensor* tensor : place.tensors) place.scales.push_back(scale_for(*tensor));
    }
    // Self-contained FP8 needs whole blocks in a row, and a transposed row crosses the blocks: those become F32,
    // exactly.
    const bool whole = wanted.n_in % kScaleBlock == 0 && !place.transposed_key;
    const quant::DType dtype = !fp8 ? first : whole ? quant::DType::kF8_E4M3_B128 : quant::DType::kF32;
    list.push_back({.id = wanted.id,
                    .name = wanted.name,
                    .dtype = dtype,
                    .n_in = wanted.n_in,
                    .n_out = wanted.n_out,
                    .n_slices = wanted.n_slices,
                    .source_rank = wanted.rank(),
                    .where = fmt::format("{}: {}", file_name(*place.tensors.front()), place.tensors.front()->name)});
    places_[wanted.name] = std::move(place);
  }

  std::string file_name(const SafeTensor& tensor) const { return dir_.files()[tensor.file].path().filename().string(); }

  // Scale rows that cover tensor rows [first, first + n), as floats [rows of blocks, blocks per row].
  std::vector<float> read_scales(const SafeTensor& scale, std::int64_t first, std::int64_t n) const {
    const std::int64_t width = scale.shape[1], begin = first / kScaleBlock, end = (first + n - 1) / kScaleBlock + 1;
    std::vector<float> values(static_cast<std::size_t>((end - begin) * width));
    dir_.read(scale, static_cast<std::uint64_t>(begin * width) * sizeof(float),
              std::as_writable_bytes(std::span(values)));
    return values;
  }

  void read_fp8_blocks(const SafeTensor& tensor, const SafeTensor& scale, std::int64_t first, std::int64_t n,
                       std::int64_t n_in, std::byte* dst) const {
    if (n == 0) return;
    std::vector<std::byte> raw(static_cast<std::size_t>(n * n_in));
    dir_.read(tensor, static_cast<std::uint64_t>(first * n_in), raw);
    const std::vector<float> scales = read_scales(scale, first, n);
    const std::int64_t blocks = n_in / kScaleBlock;
    for (std::int64_t r = 0; r < n; ++r) {
      const std::int64_t scale_row = (first + r) / kScaleBlock - first / kScaleBlock;
      for (std::int64_t b = 0; b < blocks; ++b, dst += sizeof(float) + kScaleBlock) {
        std::memcpy(dst, &scales[scale_row * scale.shape[1] + b], sizeof(float));
        std::memcpy(dst + sizeof(float), raw.data() + r * n_in + b * kScaleBlock, kScaleBlock);
      }
    }
  }

  void read_decoded(const SafeTensor& tensor, const SafeTensor* scale, std::int64_t first, std::int64_t n,
                    std::int64_t n_in, float* dst) const {
    if (n == 0) return;
    if (scale == nullptr) {
      std::vector<std::byte> raw(*quant::row_bytes(tensor.dtype, n * n_in));
      dir_.read(tensor, static_cast<std::uint64_t>(first) * *quant::row_bytes(tensor.dtype, n_in), raw);
      quant::decode_row(tensor.dtype, raw.data(), dst, n * n_in);
      return;
    }
    // One padded block row at a time through the format's own decoder.
    std::vector<std::byte> raw(static_cast<std::size_t>(n * n_in)), block(sizeof(float) + kScaleBlock);
    dir_.read(tensor, static_cast<std::uint64_t>(first * n_in), raw);
    const std::vector<float> scales = read_scales(*scale, first, n);
    std::vector<float> values(kScaleBlock);
    for (std::int64_t r = 0; r < n; ++r) {
      const std::int64_t scale_row = (first + r) / kScaleBlock - first / kScaleBlock;
      for (std::int64_t c = 0; c < n_in; c += kScaleBlock) {
        const std::int64_t width = std::min(kScaleBlock, n_in - c);
        std::memcpy(block.data(), &scales[scale_row * scale->shape[1] + c / kScaleBlock], sizeof(float));
        std::memset(block.data() + sizeof(float), 0, kScaleBlock);
        std::memcpy(block.data() + sizeof(float), raw.data() + r * n_in + c, static_cast<std::size_t>(width));
        quant::decode_row(quant::DType::kF8_E4M3_B128, block.data(), values.data(), kScaleBlock);
        std::memcpy(dst + r * n_in + c, values.data(), static_cast<std::size_t>(width) * sizeof(float));
      }
    }
  }

  std::filesystem::path path_;
  SafetensorsDir dir_;
  ModelConfig config_;
  std::vector<WeightInfo> weights_, mtp_weights_;
  std::vector<std::string> unused_;
  std::map<std::string, HfPlace, std::less<>> places_;
};

}  // namespace

std::unique_ptr<WeightSource> open_hf_source(const std::filesystem::path& directory, bool headers_only,
                                             const Log& log) {
  return std::make_unique<HfSource>(directory, headers_only, log);
}

}  // namespace dodeca::runtime
