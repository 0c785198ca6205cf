#include "runtime/model/hf_checkpoint.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "quant/codec.hpp"
#include "quant/int4_groups.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::string_view kWeight = ".weight", kTextPrefix = "language_model.";

// "a.b.weight" and "_packed": "a.b.weight_packed".
std::string beside(std::string_view name, std::string_view suffix) { return std::string(name) + std::string(suffix); }

std::int64_t rows_of(const SafeTensor& tensor) { return tensor.shape.size() > 1 ? tensor.shape.front() : 1; }

}  // namespace

bool is_small_float(const SafeTensor& tensor) {
  return tensor.known && (tensor.dtype == quant::DType::kBF16 || tensor.dtype == quant::DType::kF16 ||
                          tensor.dtype == quant::DType::kF32);
}

quant::DType HfMatrix::stored_type() const {
  switch (storage) {
    case HfStorage::kFloats:
      return values->dtype;
    case HfStorage::kFp8:  // self-contained blocks need whole ones in a row
      return columns % kFp8Block == 0 ? quant::DType::kF8_E4M3_B128 : quant::DType::kF32;
    case HfStorage::kInt4:
      return quant::DType::kQ4_0;
  }
  return quant::DType::kF32;
}

HfCheckpoint::HfCheckpoint(const std::filesystem::path& directory, SafetensorsUse use)
    : path_(directory), dir_(SafetensorsDir::open(directory, use)) {
  if (dir_.find(beside(kTextPrefix, "model.embed_tokens.weight")) != nullptr) prefix_ = kTextPrefix;
}

std::string HfCheckpoint::file_name(const SafeTensor& tensor) const {
  return dir_.files()[tensor.file].path().filename().string();
}

const SafeTensor* HfCheckpoint::find(std::string_view name) const { return dir_.find(beside(prefix_, name)); }

std::optional<MatrixSize> HfCheckpoint::size_of(std::string_view name) const {
  std::int64_t weights_of_element = 1;
  const SafeTensor* tensor = find(name);
  if (tensor == nullptr && name.ends_with(kWeight)) {
    tensor = find(beside(name, "_packed"));
    weights_of_element = quant::kInt4PerWord;
  }
  std::int64_t columns = 0;
  if (tensor == nullptr || tensor->shape.empty() ||
      __builtin_mul_overflow(tensor->shape.back(), weights_of_element, &columns))
    return std::nullopt;
  return MatrixSize{columns, rows_of(*tensor)};
}

HfMatrix HfCheckpoint::matrix(const std::string& name, std::int64_t rows, std::int64_t columns, bool vector) const {
  const SafeTensor* tensor = find(name);
  if (tensor == nullptr) {
    if (auto found = vector ? std::nullopt : packed(name, rows, columns)) return *found;
    throw Error(ErrorKind::kBadFile, fmt::format("the checkpoint has no tensor {}{}", prefix_, name))
        .with("directory", path_.string());
  }
  const std::vector<std::int64_t> shape = vector ? std::vector{columns} : std::vector{rows, columns};
  if (tensor->shape != shape) {
    throw Error(ErrorKind::kBadFile, fmt::format("tensor {} has shape [{}], the model needs [{}]", tensor->name,
                                                 fmt::join(tensor->shape, ", "), fmt::join(shape, ", ")))
        .with("file", file_name(*tensor));
  }
  const bool fp8 = tensor->dtype == quant::DType::kF8_E4M3;
  if (!tensor->known || !(fp8 || quant::type_info(tensor->dtype).decodable)) {
    throw Error(ErrorKind::kUnsupported, fmt::format("tensor {} has dtype {} (known: F8_E4M3, BF16, F16, F32)",
                                                     tensor->name, tensor->dtype_name))
        .with("file", file_name(*tensor));
  }
  HfMatrix found{.values = tensor, .columns = columns};
  if (fp8) add_fp8_scales(found);
  return found;
}

void HfCheckpoint::add_fp8_scales(HfMatrix& matrix) const {
  const SafeTensor& tensor = *matrix.values;
  matrix.storage = HfStorage::kFp8;
  const std::string name = tensor.name + "_scale_inv";
  matrix.scales = dir_.find(name);
  if (const SafeTensor* rows = dir_.find(tensor.name + "_scale"); matrix.scales == nullptr && rows != nullptr)
    return add_row_scales(matrix, *rows);
  if (matrix.scales == nullptr)
    throw Error(ErrorKind::kBadFile, fmt::format("tensor {} is FP8 but its scales {} are missing", tensor.name, name))
        .with("file", file_name(tensor));
  const auto blocks = [](std::int64_t n) { return (n + kFp8Block - 1) / kFp8Block; };
  const std::vector<std::int64_t> shape = {blocks(rows_of(tensor)), blocks(tensor.shape.back())};
  if (matrix.scales->shape != shape || !is_small_float(*matrix.scales)) {
    throw Error(ErrorKind::kBadFile,
                fmt::format("scales {} are {} [{}], must be F32 or BF16 [{}]", name, matrix.scales->dtype_name,
                            fmt::join(matrix.scales->shape, ", "), fmt::join(shape, ", ")))
        .with("file", file_name(*matrix.scales));
  }
}

void HfCheckpoint::add_row_scales(HfMatrix& matrix, const SafeTensor& scales) const {
  const std::int64_t rows = rows_of(*matrix.values);
  if ((scales.shape != std::vector{rows, std::int64_t{1}} && scales.shape != std::vector{rows}) ||
      !is_small_float(scales))
    throw Error(ErrorKind::kUnsupported, fmt::format("scales {} are {} [{}], must be F32 or BF16 [{}, 1]", scales.name,
                                                     scales.dtype_name, fmt::join(scales.shape, ", "), rows))
        .with("file", file_name(scales));
  matrix.scales = &scales;
  matrix.scale_of_row = true;
}

std::optional<HfMatrix> HfCheckpoint::packed(const std::string& name, std::int64_t rows, std::int64_t columns) const {
  const SafeTensor* words = find(beside(name, "_packed"));
  if (words == nullptr) return std::nullopt;
  constexpr std::int64_t kBlock = 32;  // of Q4_0
  const SafeTensor* scales = find(beside(name, "_scale"));
  if (columns % kBlock != 0 || words->shape != std::vector{rows, columns / quant::kInt4PerWord} || !words->known ||
      words->dtype != quant::DType::kI32)
    throw Error(ErrorKind::kUnsupported,
                fmt::format("tensor {} is {} [{}]; of the packed weights, only 4-bit ones in rows of a multiple of {} "
                            "are supported: here I32 [{}, {}]",
                            words->name, words->dtype_name, fmt::join(words->shape, ", "), kBlock, rows,
                            columns / quant::kInt4PerWord))
        .with("file", file_name(*words));
  if (scales == nullptr)
    throw Error(ErrorKind::kBadFile,
                fmt::format("tensor {} is packed but its scales {}{}_scale are missing", words->name, prefix_, name))
        .with("file", file_name(*words));
  const std::int64_t groups = scales->shape.size() == 2 && scales->shape[0] == rows ? scales->shape[1] : 0;
  if (!is_small_float(*scales) || groups < 1 || columns % groups != 0 || columns / groups % kBlock != 0)
    throw Error(ErrorKind::kUnsupported,
                fmt::format("scales {} are {} [{}]; supported are BF16, F16 and F32 [{}, groups of a multiple of {} "
                            "weights, which divides {}]",
                            scales->name, scales->dtype_name, fmt::join(scales->shape, ", "), rows, kBlock, columns))
        .with("file", file_name(*scales));
  return HfMatrix{.storage = HfStorage::kInt4,
                  .values = words,
                  .scales = scales,
                  .shape = find(beside(name, "_shape")),
                  .columns = columns};
}

std::vector<std::byte> HfCheckpoint::read_raw(const SafeTensor& tensor, std::int64_t first_row,
                                              std::int64_t n_rows) const {
  const std::uint64_t row_bytes = *quant::row_bytes(tensor.dtype, tensor.shape.back());
  std::vector<std::byte> raw(static_cast<std::size_t>(n_rows) * row_bytes);
  dir_.read(tensor, static_cast<std::uint64_t>(first_row) * row_bytes, raw);
  return raw;
}

std::vector<float> HfCheckpoint::read_scales(const SafeTensor& scales, std::int64_t first_row,
                                             std::int64_t n_rows) const {
  const std::vector<std::byte> raw = read_raw(scales, first_row, n_rows);
  std::vector<float> values(static_cast<std::size_t>(n_rows * scales.shape.back()));
  quant::decode_row(scales.dtype, raw.data(), values.data(), std::ssize(values));
  return values;
}

void HfCheckpoint::read_stored(const HfMatrix& matrix, std::int64_t first, std::int64_t n, std::byte* dst) const {
  if (n == 0) return;
  if (matrix.storage == HfStorage::kFp8) return read_fp8(matrix, first, n, dst);
  if (matrix.storage == HfStorage::kFloats) {
    const std::size_t row_bytes = *quant::row_bytes(matrix.values->dtype, matrix.columns);
    dir_.read(*matrix.values, static_cast<std::uint64_t>(first) * row_bytes,
              {dst, static_cast<std::size_t>(n) * row_bytes});
    return;
  }
  const std::vector<std::byte> codes = read_raw(*matrix.values, first, n);
  const std::vector<float> scales = read_scales(*matrix.scales, first, n);
  const std::int64_t groups = matrix.columns / matrix.group();
  const std::size_t row_bytes = *quant::row_bytes(quant::DType::kQ4_0, matrix.columns);
  for (std::int64_t r = 0; r < n; ++r, dst += row_bytes) {
    const std::int64_t bad = quant::int4_groups_to_q4_0(codes.data() + r * matrix.columns / 2, &scales[r * groups],
                                                        matrix.columns, matrix.group(), dst);
    if (bad >= 0)
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("the scale {} at row {}, group {} of {} has no exact form as f16, which Q4_0 needs",
                              scales[r * groups + bad], first + r, bad, matrix.scales->name))
          .with("file", file_name(*matrix.scales));
  }
}

void HfCheckpoint::read_floats(const HfMatrix& matrix, std::int64_t first, std::int64_t n, float* dst) const {
  if (n == 0) return;
  if (matrix.storage == HfStorage::kFp8) return decode_fp8(matrix, first, n, dst);
  const std::vector<std::byte> raw = read_raw(*matrix.values, first, n);
  if (matrix.storage == HfStorage::kFloats)
    return quant::decode_row(matrix.values->dtype, raw.data(), dst, n * matrix.columns);
  const std::vector<float> scales = read_scales(*matrix.scales, first, n);  // rows are whole groups
  quant::decode_int4_groups(raw.data(), scales.data(), n * matrix.columns, matrix.group(), dst);
}

std::vector<float> HfCheckpoint::block_scales(const HfMatrix& matrix, std::int64_t first, std::int64_t n) const {
  const std::int64_t blocks = (matrix.columns + kFp8Block - 1) / kFp8Block;
  std::vector<float> scales(static_cast<std::size_t>(n * blocks));
  if (matrix.scale_of_row) {
    std::vector<std::byte> raw(static_cast<std::size_t>(n) * *quant::row_bytes(matrix.scales->dtype, 1));
    dir_.read(*matrix.scales, static_cast<std::uint64_t>(first) * *quant::row_bytes(matrix.scales->dtype, 1), raw);
    std::vector<float> of_rows(static_cast<std::size_t>(n));
    quant::decode_row(matrix.scales->dtype, raw.data(), of_rows.data(), n);
    for (std::int64_t r = 0; r < n; ++r) std::fill_n(scales.begin() + r * blocks, blocks, of_rows[r]);
    return scales;
  }
  const std::int64_t begin = first / kFp8Block, end = (first + n - 1) / kFp8Block + 1;
  const std::vector<float> of_blocks = read_scales(*matrix.scales, begin, end - begin);
  for (std::int64_t r = 0; r < n; ++r)
    std::copy_n(of_blocks.begin() + ((first + r) / kFp8Block - begin) * blocks, blocks, scales.begin() + r * blocks);
  return scales;
}

void HfCheckpoint::read_fp8(const HfMatrix& matrix, std::int64_t first, std::int64_t n, std::byte* dst) const {
  const std::vector<std::byte> raw = read_raw(*matrix.values, first, n);
  const std::vector<float> scales = block_scales(matrix, first, n);
  const std::int64_t blocks = matrix.columns / kFp8Block;
  for (std::int64_t r = 0; r < n; ++r) {
    for (std::int64_t b = 0; b < blocks; ++b, dst += sizeof(float) + kFp8Block) {
      std::memcpy(dst, &scales[r * blocks + b], sizeof(float));
      std::memcpy(dst + sizeof(float), raw.data() + r * matrix.columns + b * kFp8Block, kFp8Block);
    }
  }
}

void HfCheckpoint::decode_fp8(const HfMatrix& matrix, std::int64_t first, std::int64_t n, float* dst) const {
  // One padded block row at a time through the format's own decoder.
  const std::vector<std::byte> raw = read_raw(*matrix.values, first, n);
  const std::vector<float> scales = block_scales(matrix, first, n);
  const std::int64_t columns = matrix.columns, blocks = (columns + kFp8Block - 1) / kFp8Block;
  std::vector<std::byte> block(sizeof(float) + kFp8Block);
  std::vector<float> values(kFp8Block);
  for (std::int64_t r = 0; r < n; ++r) {
    for (std::int64_t c = 0; c < columns; c += kFp8Block) {
      const std::int64_t width = std::min(kFp8Block, columns - c);
      std::memcpy(block.data(), &scales[r * blocks + c / kFp8Block], sizeof(float));
      std::memset(block.data() + sizeof(float), 0, kFp8Block);
      std::memcpy(block.data() + sizeof(float), raw.data() + r * columns + c, static_cast<std::size_t>(width));
      quant::decode_row(quant::DType::kF8_E4M3_B128, block.data(), values.data(), kFp8Block);
      std::memcpy(dst + r * columns + c, values.data(), static_cast<std::size_t>(width) * sizeof(float));
    }
  }
}

}  // namespace dodeca::runtime
