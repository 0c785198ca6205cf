// A model's weights under one set of names, whatever the file: GGUF names ("blk.3.ffn_gate_exps.weight") and GGUF's
// meaning of rows and columns. A weight is asked for as (weight, slice, rows); rows come back in the weight's own type,
// decoded never.
//
// A Hugging Face directory is presented the same way: experts stacked as slices, gate and up rows of gpt-oss put apart,
// query and key rows of Llama in GGUF's order (neighbours are turned together), kv_b_proj split into attn_k_b
// (transposed) and attn_v_b, FP8 rows as kF8_E4M3_B128 blocks where 128 divides the row, otherwise as kF32 (exact),
// MXFP4 as it is, packed 4-bit integers as kQ4_0 (exact, or refused when they are read: quant/int4_groups.hpp;
// transposed as kF32). Old GGUF files with attn_kv_b are split the same way: attn_v_b in the file's type, attn_k_b
// transposed and therefore re-encoded (F16 from quantized types, otherwise the file's own float type).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quant/dtype.hpp"
#include "runtime/load/gguf.hpp"
#include "runtime/model/config.hpp"
#include "runtime/model/weight_role.hpp"

namespace dodeca::runtime {

struct WeightInfo {
  WeightId id;
  std::string name;  // gguf_name(id)
  quant::DType dtype;
  std::int64_t n_in = 0;         // columns, contiguous
  std::int64_t n_out = 1;        // rows
  std::int64_t n_slices = 1;     // experts, or heads of attn_k_b / attn_v_b
  std::int64_t source_rank = 2;  // dims in the file: 1 for norms and biases, 2 for biases of experts
  std::string where;             // file (and tensor name there) for messages
  bool is_vector() const { return role_info(id.role).vector; }
  std::int64_t n_elements() const { return n_in * n_out * n_slices; }
  std::size_t row_bytes() const { return *quant::row_bytes(dtype, n_in); }
};

class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual const ModelConfig& config() const = 0;
  virtual const std::vector<WeightInfo>& weights() const = 0;
  // dst: (row_end - row_begin) * weight.row_bytes() bytes. Thread-safe.
  virtual void read_rows(const WeightInfo& weight, std::int64_t slice, std::int64_t row_begin, std::int64_t row_end,
                         std::byte* dst) const = 0;
  // Weights of the MTP layers, not part of weights(); empty when the file has none.
  virtual const std::vector<WeightInfo>& mtp_weights() const = 0;
  // Tensors of the file that no weight comes from; they change nothing (tensor_check.hpp).
  virtual const std::vector<std::string>& unused() const {
    static const std::vector<std::string> kNone;
    return kNone;
  }
  virtual std::filesystem::path path() const = 0;
  // Those that rows are read from; none: they are not in files.
  virtual std::span<const InputFile> files() const { return {}; }
  // The GGUF behind it, or null for a directory.
  virtual const GgufFile* gguf() const { return nullptr; }

  // Null: the model has no such weight.
  const WeightInfo* find(std::string_view name) const;
  const WeightInfo* find(WeightId id) const;
  // Decoded to float: (row_end - row_begin) * n_in values.
  void read_rows_f32(const WeightInfo& weight, std::int64_t slice, std::int64_t row_begin, std::int64_t row_end,
                     float* dst) const;
};

struct SourceOptions {
  ConfigOptions config = {};
  std::vector<std::string> override_kv = {};  // KEY=TYPE:VALUE, GGUF only
  bool headers_only = false;  // of a directory: shards may end behind their headers, and no row can be read
};
// path: a GGUF, the first of a split one, or a Hugging Face directory. Every shape is checked against the config.
std::unique_ptr<WeightSource> open_weights(const std::filesystem::path& path, const SourceOptions& options,
                                           const Log& log);

}  // namespace dodeca::runtime
