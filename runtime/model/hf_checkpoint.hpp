// The matrices of a Hugging Face checkpoint under the names of a plain text model, whatever their storage: floats, FP8
// with scales per 128x128 block or per row, or packed 4-bit integers with a scale per group. The text model may lie
// inside a model for images and text, behind "language_model.".
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quant/dtype.hpp"
#include "runtime/load/safetensors.hpp"
#include "runtime/model/config.hpp"

namespace dodeca::runtime {

inline constexpr std::int64_t kFp8Block = 128;  // weight_block_size of every published FP8 checkpoint

enum class HfStorage { kFloats, kFp8, kInt4 };

// BF16, F16 or F32.
bool is_small_float(const SafeTensor& tensor);

struct HfMatrix {
  HfStorage storage = HfStorage::kFloats;
  const SafeTensor* values = nullptr;  // of kInt4 the packed words
  const SafeTensor* scales = nullptr;  // none for kFloats
  const SafeTensor* shape = nullptr;   // weight_shape beside packed words, where it is there: what is known already
  std::int64_t columns = 0;
  bool scale_of_row = false;  // kFp8: one for each row, instead of one for each 128x128 block

  // The type that read_stored() gives rows in; kF32 where rows have to be decoded because of their length.
  quant::DType stored_type() const;
  std::int64_t group() const { return columns / scales->shape.back(); }  // kInt4: weights of a scale
};

class HfCheckpoint {
 public:
  HfCheckpoint(const std::filesystem::path& directory, SafetensorsUse use);

  const std::vector<SafeTensor>& tensors() const { return dir_.tensors(); }
  const std::vector<InputFile>& files() const { return dir_.files(); }
  std::string file_name(const SafeTensor& tensor) const;

  const SafeTensor* find(std::string_view name) const;
  void read(const SafeTensor& tensor, std::uint64_t offset, std::span<std::byte> dst) const {
    dir_.read(tensor, offset, dst);
  }
  // Of a tensor that ends in ".weight", also where it is packed.
  std::optional<MatrixSize> size_of(std::string_view name) const;
  // With everything that belongs to it, all shapes checked: Error{kBadFile} or Error{kUnsupported} with the name.
  HfMatrix matrix(const std::string& name, std::int64_t rows, std::int64_t columns, bool vector) const;

  // Rows [first, first + n) in matrix.stored_type(), which is not kF32 for kFp8. Error{kUnsupported} names the scale
  // for which a packed row has no exact form.
  void read_stored(const HfMatrix& matrix, std::int64_t first, std::int64_t n, std::byte* dst) const;
  // The same decoded: n * columns floats.
  void read_floats(const HfMatrix& matrix, std::int64_t first, std::int64_t n, float* dst) const;

 private:
  void add_fp8_scales(HfMatrix& matrix) const;
  void add_row_scales(HfMatrix& matrix, const SafeTensor& scales) const;
  std::optional<HfMatrix> packed(const std::string& name, std::int64_t rows, std::int64_t columns) const;
  std::vector<std::byte> read_raw(const SafeTensor& tensor, std::int64_t first_row, std::int64_t n_rows) const;
  std::vector<float> read_scales(const SafeTensor& scales, std::int64_t first_row, std::int64_t n_rows) const;
  // The scales of rows [first, first + n), for each block of 128 columns.
  std::vector<float> block_scales(const HfMatrix& matrix, std::int64_t first, std::int64_t n) const;
  void read_fp8(const HfMatrix& matrix, std::int64_t first, std::int64_t n, std::byte* dst) const;
  void decode_fp8(const HfMatrix& matrix, std::int64_t first, std::int64_t n, float* dst) const;

  std::filesystem::path path_;
  SafetensorsDir dir_;
  std::string prefix_;
};

}  // namespace dodeca::runtime
