#include "runtime/model/hf_quantization.hpp"

#include <fmt/format.h>

namespace dodeca::runtime {
namespace {

constexpr std::int64_t kQ40Block = 32;

// FP8 values with a scale for each row; activations are not rounded here.
void check_float_group(const HfFields& group) {
  const Json* weights = group.object("weights");
  const Json none = Json::object();
  const HfFields w(weights != nullptr ? *weights : none);
  const std::int64_t bits = w.integer_or("num_bits", 0);
  const std::string type = w.string_or("type", ""), strategy = w.string_or("strategy", "");
  if (bits != 8 || type != "float" || strategy != "channel")
    throw Error(
        ErrorKind::kUnsupported,
        fmt::format("compressed-tensors weights of {} bits, type '{}', strategy '{}' (known: 8, float, channel)", bits,
                    type, strategy));
}

void check_group(const HfFields& group) {
  for (const char* key : {"input_activations", "output_activations"})
    if (group.find(key) != nullptr)
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("compressed-tensors with {} is not supported (known: weights alone)", key));
  const Json* weights = group.object("weights");
  if (weights == nullptr)
    throw Error(ErrorKind::kBadFile, "config.json: a group of config_groups says nothing of its weights");
  const HfFields w(*weights);
  const std::int64_t bits = w.integer_or("num_bits", 8), size = w.integer_or("group_size", 0);
  const std::string type = w.string_or("type", "int"), strategy = w.string_or("strategy", "group");
  const bool symmetric = w.boolean_or("symmetric", true);
  if (bits != 4 || type != "int" || strategy != "group" || !symmetric || size < kQ40Block || size % kQ40Block != 0)
    throw Error(ErrorKind::kUnsupported,
                fmt::format("compressed-tensors weights of {} bits, type {}, strategy {}, {}, group_size {} (known: 4, "
                            "int, group, symmetric, a multiple of {})",
                            bits, type, strategy, symmetric ? "symmetric" : "not symmetric", size, kQ40Block));
}

// Kimi-K2-Thinking and its successors: routed experts alone are packed, which their tensors show.
void check_compressed_tensors(const HfFields& q) {
  const std::string format = q.string_or("format", "");
  const bool floats = format == "float-quantized";
  if (format != "pack-quantized" && !floats)
    throw Error(ErrorKind::kUnsupported,
                fmt::format("compressed-tensors format '{}' (known: pack-quantized, float-quantized)", format));
  const Json* groups = q.object("config_groups");
  if (groups == nullptr || groups->empty())
    throw Error(ErrorKind::kBadFile, "config.json: quantization_config has no config_groups");
  for (const Json& group : *groups) {
    if (!group.is_object()) throw Error(ErrorKind::kBadFile, "config.json: a group of config_groups is not an object");
    floats ? check_float_group(HfFields(group)) : check_group(HfFields(group));
  }
}

}  // namespace

void check_quantization(const HfFields& fields) {
  const Json* object = fields.object("quantization_config");
  if (object == nullptr) return;
  const HfFields q(*object);
  const std::string method = q.string_or("quant_method", "");
  if (method == "compressed-tensors") return check_compressed_tensors(q);
  if (method == "mxfp4" || method == "fbgemm_fp8") return;  // gpt-oss; Llama's FP8 with a scale for each row
  if (method != "fp8")
    throw Error(ErrorKind::kUnsupported,
                fmt::format("quantization method '{}' (known: fp8, fbgemm_fp8, mxfp4, compressed-tensors)", method));
  if (const std::string format = q.string_or("fmt", "e4m3"); format != "e4m3" && format != "float8_e4m3fn") {
    throw Error(ErrorKind::kUnsupported, fmt::format("FP8 format '{}' (known: e4m3)", format));
  }
  const Json* block = q.find("weight_block_size");
  if (block == nullptr || *block != Json::array({128, 128})) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("FP8 weight_block_size {} (known: [128,128])", block == nullptr ? "null" : block->dump()));
  }
}

}  // namespace dodeca::runtime
