#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <ranges>
#include <set>

#include "runtime/model/gguf_names.hpp"
#include "runtime/model/wanted.hpp"
#include "runtime/model/weight_name.hpp"
#include "runtime/quantize/metadata.hpp"
#include "runtime/quantize/quantize.hpp"

namespace dodeca::runtime::quantize {
namespace {

std::vector<std::int64_t> dims_of(const WeightInfo& weight) {
  if (weight.is_vector())
    return weight.source_rank == 1 ? std::vector{weight.n_in} : std::vector{weight.n_in, weight.n_slices};
  if (weight.source_rank == 2) return {weight.n_in, weight.n_out};
  return {weight.n_in, weight.n_out, weight.n_slices};
}

// The tensor that a weight becomes, its type not chosen yet. With fused_kv_b attn_v_b stands for attn_kv_b.
OutputTensor tensor_of(const WeightSource& source, const WeightInfo& weight, bool fused_kv_b) {
  OutputTensor tensor{name_in_file(source.config().architecture, weight.id), quant::DType::kF32, dims_of(weight),
                      &weight, nullptr};
  if (!fused_kv_b || weight.id.role != WeightRole::kVB) return tensor;
  const WeightId key{WeightRole::kKB, weight.id.layer};
  tensor.key_half = source.find(key);
  if (tensor.key_half == nullptr)
    throw Error(ErrorKind::kBadFile, fmt::format("{} has no {} beside it", weight.name, gguf_name(key)));
  tensor.name = gguf_name({WeightRole::kKvB, weight.id.layer});
  tensor.dims = {weight.n_in, tensor.n_slices() * tensor.rows_per_slice()};
  return tensor;
}

// An attn_kv_b that the source has in the wanted type needs no way over its halves.
void copy_fused(const WeightSource& source, OutputTensor& tensor) {
  if (tensor.key_half == nullptr || source.gguf() == nullptr) return;
  const GgufTensor* there = source.gguf()->find(tensor.name);
  if (there == nullptr || there->dtype != tensor.dtype) return;
  tensor.as_is = there;
  tensor.weight = tensor.key_half = nullptr;
}

// Same replacements of types by their fall-backs, told once.
class FallBacks {
 public:
  void add(quant::DType from, const OutputTensor& tensor) {
    auto& entry = entries_[{from, tensor.dtype, tensor.n_in()}];
    if (entry.count++ == 0) entry.first = tensor.name;
  }
  void tell(const Log& log) const {
    for (const auto& [key, entry] : entries_) {
      const auto& [from, to, n_in] = key;
      const std::string others = entry.count > 1 ? fmt::format(" and {} more", entry.count - 1) : "";
      log(Level::kInfo,
          fmt::format("rows of {} are no multiple of {}'s {}: {} instead for {}{}", n_in, quant::name_of(from),
                      quant::type_info(from).block_elements, quant::name_of(to), entry.first, others));
    }
  }

 private:
  struct Entry {
    int count = 0;
    std::string first;
  };
  std::map<std::tuple<quant::DType, quant::DType, std::int64_t>, Entry> entries_;
};

// What the source has beyond the weights it presents. The fused and the unsplit forms of presented weights are not
// kept.
std::vector<const GgufTensor*> unused_tensors(const WeightSource& source, bool keep_mtp) {
  std::vector<const GgufTensor*> unused;
  if (source.gguf() == nullptr) return unused;
  for (const std::string& name : source.unused()) {
    const std::optional<WeightId> id = weight_of_name(name);
    const bool joined = id && (id->role == WeightRole::kKvB || id->role == WeightRole::kExpertGateUp ||
                               id->role == WeightRole::kQkv || id->role == WeightRole::kQkvBias);
    if (joined || (!keep_mtp && layer_of(name) >= source.config().n_layers)) continue;
    unused.push_back(source.gguf()->find(name));
  }
  return unused;
}

bool is_float(quant::DType dtype) {
  return quant::type_info(dtype).block_elements == 1 || dtype == quant::DType::kF8_E4M3_B128;
}

// Weights that get fewer bits without an entry to say which columns matter.
struct MissingImportance {
  std::int64_t count = 0;
  std::string first;
  void tell(const Log& log) const {
    if (count > 0)
      log(Level::kWarning,
          fmt::format("the importance matrix has no entry for {} of the quantized weights (first: {}): all their "
                      "columns count alike",
                      count, first));
  }
};

void find_importance(const ImportanceMatrix& imatrix, OutputTensor& tensor, MissingImportance& missing,
                     const Log& log) {
  if (is_float(tensor.dtype)) return;
  tensor.importance = imatrix.find(tensor.name, tensor.n_in(), tensor.n_slices());
  // attn_kv_b multiplies the latent that attn_v_b does, head by head.
  if (tensor.importance == nullptr && tensor.key_half != nullptr)
    tensor.importance = imatrix.find(tensor.weight->name, tensor.n_in(), tensor.n_slices());
  if (tensor.importance == nullptr) {
    const WeightRole role = tensor.weight->id.role;
    if (role == WeightRole::kEmbedding || role == WeightRole::kOutput) return;  // usually not measured
    if (missing.count++ == 0) missing.first = tensor.name;
    return;
  }
  const std::vector<std::int64_t> unreached = ImportanceMatrix::unreached(*tensor.importance);
  if (!unreached.empty() && tensor.n_slices() > 1)
    log(Level::kWarning,
        fmt::format("{}: calibration never reached {} of {} experts ({}{}): they are weighted as the mean of the "
                    "others",
                    tensor.name, unreached.size(), tensor.n_slices(), fmt::join(unreached | std::views::take(8), ", "),
                    unreached.size() > 8 ? ", ..." : ""));
}

// What of the given types is about no tensor at all: rather a slip than meant.
class UnusedTypes {
 public:
  explicit UnusedTypes(const TypeChoice& types) {
    for (const TypeOverride& rule : types.overrides) overrides_.push_back(&rule);
    if (!types.file) return;
    for (const TypeOverride& rule : types.file->rules) rules_.push_back(&rule);
    for (const auto& [name, dtype] : types.file->tensors) names_.insert(name);
  }
  void meet(std::string_view tensor) {
    const auto found = [&](const TypeOverride* rule) { return rule->regex.found_in(tensor); };
    std::erase_if(overrides_, found);
    std::erase_if(rules_, found);
    names_.erase(tensor);
  }
  void tell(const Log& log) const {
    const auto tell_rules = [&](std::string_view what, const std::vector<const TypeOverride*>& rules) {
      for (const TypeOverride* rule : rules)
        log(Level::kWarning, fmt::format("{} {}={} matches no tensor that can be quantized", what,
                                         rule->regex.pattern(), quant::name_of(rule->dtype)));
    };
    tell_rules("--tensor-type", overrides_);
    tell_rules("the recipe's rule", rules_);
    if (!names_.empty())
      log(Level::kWarning,
          fmt::format("the recipe gives a type to {}{}: no such tensor can be quantized here", *names_.begin(),
                      names_.size() > 1 ? fmt::format(" and {} more", names_.size() - 1) : ""));
  }

 private:
  std::vector<const TypeOverride*> overrides_, rules_;
  std::set<std::string_view> names_;
};

// Where types come tensor by tensor, the file is called after the one with most weights.
std::uint32_t file_type_for(const TypeChoice& types, const std::vector<OutputTensor>& tensors) {
  if (types.recipe != nullptr && types.recipe->file_type) return *types.recipe->file_type;
  if (types.uniform) return file_type_of(*types.uniform);
  std::map<quant::DType, std::int64_t> weights;
  for (const OutputTensor& tensor : tensors) weights[tensor.dtype] += tensor.n_weights();
  const auto most = std::ranges::max_element(weights, {}, [](const auto& entry) { return entry.second; });
  return file_type_of(most != weights.end() ? most->first : quant::DType::kF16);
}

Metadata metadata_of(const WeightSource& source, const QuantizeOptions& options, std::uint32_t file_type, bool keep_mtp,
                     const Log& log) {
  Metadata metadata = output_metadata(source, {file_type, keep_mtp, options.fused_kv_b}, log);
  if (options.imatrix != nullptr) {
    metadata.set("quantize.imatrix.file", options.imatrix_file);
    if (!options.imatrix->datasets.empty()) metadata.set("quantize.imatrix.dataset", options.imatrix->datasets.front());
    metadata.set("quantize.imatrix.entries_count", static_cast<std::int32_t>(options.imatrix->entries.size()));
    metadata.set("quantize.imatrix.chunks_count", static_cast<std::int32_t>(options.imatrix->n_chunks));
  }
  for (const std::string& assignment : options.override_kv) override_kv(metadata, assignment);
  return metadata;
}

}  // namespace

std::uint64_t QuantizePlan::tensor_bytes() const {
  std::uint64_t total = 0;
  for (const OutputTensor& tensor : tensors) total += tensor.bytes();
  return total;
}

std::int64_t QuantizePlan::n_weights() const {
  std::int64_t total = 0;
  for (const OutputTensor& tensor : tensors) total += tensor.n_weights();
  return total;
}

QuantizePlan plan_quantization(const WeightSource& source, const QuantizeOptions& options, const Log& log) {
  const ModelConfig& config = source.config();
  const bool has_mtp = !source.mtp_weights().empty(), keep_mtp = options.keep_mtp && has_mtp;
  if (has_mtp && !keep_mtp) {
    log(Level::kInfo,
        fmt::format("the multi-token-prediction layer ({} tensors) is left out", source.mtp_weights().size()));
  } else if (options.keep_mtp && !has_mtp) {
    log(Level::kWarning, "the model has no multi-token-prediction layer to keep");
  }

  QuantizePlan plan;
  std::vector<const WeightInfo*> weights;
  for (const WeightInfo& weight : source.weights()) weights.push_back(&weight);
  if (keep_mtp) {
    for (const WeightInfo& weight : source.mtp_weights()) weights.push_back(&weight);
  }
  // Layers in order, what is outside them first.
  std::stable_sort(weights.begin(), weights.end(),
                   [](const WeightInfo* a, const WeightInfo* b) { return a->id.layer < b->id.layer; });

  const bool tied = source.find({WeightRole::kOutput}) == nullptr;
  FallBacks fall_backs;
  MissingImportance missing;
  UnusedTypes unused_types(options.types);
  std::int64_t n_requantized = 0, n_kept = 0;
  for (const WeightInfo* weight : weights) {
    if (options.fused_kv_b && weight->id.role == WeightRole::kKB) continue;
    OutputTensor tensor = tensor_of(source, *weight, options.fused_kv_b);
    const WeightName name{tensor.name,     weight->id,
                          config.n_layers, tied && weight->id.role == WeightRole::kEmbedding,
                          weight->dtype,   config.n_routed_experts};
    const quant::DType wanted = choose_type(options.types, name, weight->source_rank),
                       fitting = fitting_type(wanted, weight->n_in);
    tensor.dtype = kept_type(options.types, name, fitting);
    if (tensor.dtype != fitting) ++n_kept;
    if (tensor.dtype == fitting && fitting != wanted) fall_backs.add(wanted, tensor);
    if (tensor.dtype != weight->dtype && !is_float(weight->dtype)) ++n_requantized;
    if (is_quantizable(weight->id.role, weight->source_rank)) unused_types.meet(tensor.name);
    if (options.imatrix != nullptr) find_importance(*options.imatrix, tensor, missing, log);
    copy_fused(source, tensor);
    plan.tensors.push_back(std::move(tensor));
  }
  missing.tell(log);
  const std::vector<const GgufTensor*> unused = unused_tensors(source, keep_mtp);
  for (const GgufTensor* tensor : unused)
    plan.tensors.push_back({tensor->name, tensor->dtype, tensor->dims, nullptr, tensor});
  plan.metadata = metadata_of(source, options, file_type_for(options.types, plan.tensors), keep_mtp, log);

  fall_backs.tell(log);
  unused_types.tell(log);
  if (n_kept > 0)
    log(Level::kInfo,
        fmt::format("{} tensors stay MXFP4: other types of as many bits would only round them again", n_kept));
  if (n_requantized > 0) {
    log(Level::kWarning,
        fmt::format("{} tensors of the source are quantized already: what they lost stays lost; a BF16 or FP8 "
                    "source gives a better file",
                    n_requantized));
  }
  if (!unused.empty()) {
    log(Level::kInfo, fmt::format("{} tensors that the model does not use are copied as they are ({}{})", unused.size(),
                                  unused.front()->name, unused.size() > 1 ? ", ..." : ""));
  }
  return plan;
}

}  // namespace dodeca::runtime::quantize
