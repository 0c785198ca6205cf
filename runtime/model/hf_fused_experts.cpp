#include "runtime/model/hf_fused_experts.hpp"

#include <fmt/ranges.h>

#include <cstring>

#include "quant/mxfp4_pairs.hpp"
#include "runtime/base/error.hpp"

namespace dodeca::runtime {
namespace {

const SafeTensor& needed(const HfCheckpoint& checkpoint, const std::string& name,
                         const std::vector<std::int64_t>& shape) {
  const SafeTensor* tensor = checkpoint.find(name);
  if (tensor == nullptr) throw Error(ErrorKind::kBadFile, fmt::format("the checkpoint has no tensor {}", name));
  if (tensor->shape != shape)
    throw Error(ErrorKind::kBadFile, fmt::format("tensor {} has shape [{}], the model needs [{}]", name,
                                                 fmt::join(tensor->shape, ", "), fmt::join(shape, ", ")))
        .with("file", checkpoint.file_name(*tensor));
  return *tensor;
}

const SafeTensor& needed_bytes(const HfCheckpoint& checkpoint, const std::string& name,
                               const std::vector<std::int64_t>& shape) {
  const SafeTensor& tensor = needed(checkpoint, name, shape);
  if (tensor.dtype_name != "U8")
    throw Error(ErrorKind::kUnsupported, fmt::format("tensor {} has dtype {} (known: U8)", name, tensor.dtype_name));
  return tensor;
}

std::size_t value_bytes(const SafeTensor& tensor) { return *quant::row_bytes(tensor.dtype, 1); }

void read_mxfp4(const HfCheckpoint& checkpoint, const FusedExperts& f, std::int64_t row, std::byte* dst) {
  const std::int64_t n_blocks = f.n_in / quant::kMxfp4Block;
  std::vector<std::byte> codes(static_cast<std::size_t>(f.n_in / 2)), scales(static_cast<std::size_t>(n_blocks));
  checkpoint.read(*f.values, static_cast<std::uint64_t>(row) * codes.size(), codes);
  checkpoint.read(*f.scales, static_cast<std::uint64_t>(row) * scales.size(), scales);
  quant::mxfp4_pairs_to_blocks(codes.data(), scales.data(), n_blocks, dst);
}

}  // namespace

FusedExperts find_fused(const HfCheckpoint& checkpoint, const WantedWeight& wanted) {
  using enum WeightRole;
  const WeightRole role = wanted.id.role;
  const bool paired = role != kExpertDown && role != kExpertDownBias, up = role == kExpertUp || role == kExpertUpBias;
  FusedExperts f{.bias = wanted.vector, .n_in = wanted.n_in, .first_row = up ? 1 : 0, .step = paired ? 2 : 1};
  f.n_rows = (wanted.vector ? wanted.n_in : wanted.n_out) * f.step;
  const std::string blocks = wanted.hf_name + "_blocks";
  if (!wanted.vector && checkpoint.find(blocks) != nullptr) {
    if (f.n_in % quant::kMxfp4Block != 0)
      throw Error(ErrorKind::kBadFile,
                  fmt::format("rows of {} are {} long, no multiple of {}", blocks, f.n_in, quant::kMxfp4Block));
    const std::int64_t n_blocks = f.n_in / quant::kMxfp4Block;
    f.values = &needed_bytes(checkpoint, blocks, {wanted.n_slices, f.n_rows, n_blocks, quant::kMxfp4Block / 2});
    f.scales = &needed_bytes(checkpoint, wanted.hf_name + "_scales", {wanted.n_slices, f.n_rows, n_blocks});
    return f;
  }
  f.values = wanted.vector ? &needed(checkpoint, wanted.hf_name, {wanted.n_slices, f.n_rows})
                           : &needed(checkpoint, wanted.hf_name, {wanted.n_slices, f.n_in, f.n_rows});
  if (!is_small_float(*f.values))
    throw Error(ErrorKind::kUnsupported,
                fmt::format("tensor {} has dtype {} (known: BF16, F16, F32)", f.values->name, f.values->dtype_name));
  return f;
}

void read_fused(const HfCheckpoint& checkpoint, const FusedExperts& f, std::int64_t expert, std::int64_t begin,
                std::int64_t end, std::byte* dst) {
  if (begin == end) return;
  if (f.scales != nullptr) {
    const std::size_t row_bytes = *quant::row_bytes(quant::DType::kMXFP4, f.n_in);
    for (std::int64_t row = begin; row < end; ++row, dst += row_bytes)
      read_mxfp4(checkpoint, f, expert * f.n_rows + f.first_row + row * f.step, dst);
    return;
  }
  // Row by row of the tensor, the part that these rows of ours come from: one value of each of them.
  const std::size_t one = value_bytes(*f.values);
  const std::int64_t n = f.bias ? f.n_in : end - begin, first = f.first_row + (f.bias ? 0 : begin) * f.step,
                     columns = f.bias ? 1 : f.n_in;
  std::vector<std::byte> values(static_cast<std::size_t>((n - 1) * f.step + 1) * one);
  for (std::int64_t column = 0; column < columns; ++column) {
    const std::int64_t at = (expert * columns + column) * f.n_rows + first;
    checkpoint.read(*f.values, static_cast<std::uint64_t>(at) * one, values);
    for (std::int64_t i = 0; i < n; ++i)
      std::memcpy(dst + static_cast<std::size_t>(f.bias ? i : i * f.n_in + column) * one,
                  values.data() + static_cast<std::size_t>(i * f.step) * one, one);
  }
}

}  // namespace dodeca::runtime
