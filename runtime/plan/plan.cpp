#include "runtime/plan/plan.hpp"

#include <fmt/core.h>

#include <algorithm>

namespace dodeca::runtime {

Plan make_plan(const ModelConfig& config, const std::vector<WeightInfo>& weights, const PlanOptions& options) {
  Plan plan{.options = options};
  for (const WeightInfo& info : weights) {
    WeightPlan w{.name = info.name};
    const bool embeddings = info.id.role == WeightRole::kEmbedding;
    if (info.source_rank == 1 || (embeddings && !config.tied_embeddings)) {
      w.storage = Storage::kRows;
      w.bytes = info.row_bytes() * static_cast<std::uint64_t>(info.n_out);
      w.bytes_per_token = static_cast<double>(info.row_bytes());
    } else {
      // Types without kernels of their own go the reference way too: decoding once per tile and the float32 kernels
      // beat a scalar inner loop.
      const cpu::Layout& own = cpu::layout_of(info.dtype);
      const bool reference = options.compute_f32 ? own.act != cpu::ActFormat::kF32 : own.name == "raw";
      if (reference) w.storage = Storage::kReference;
      const quant::DType kernel_type = reference ? quant::DType::kF32 : info.dtype;
      const cpu::MatmulChoice choice =
          cpu::select_matmul(kernel_type, options.isa, cpu::FloatGemm::kOwn, options.tuning);
      w.layout = &cpu::layout_of(kernel_type);
      w.gemv = choice.gemv;
      w.gemm = choice.gemm;
      w.gemm_min_rows = choice.gemm_min_rows;
      // Routing and logits stay in float32 (router, head); the route goes by the row's kind, never by how many rows
      // there are, so that a row's result does not depend on its companions.
      const bool plain = info.n_slices == 1 && info.id.role != WeightRole::kRouter &&
                         info.id.role != WeightRole::kOutput && !embeddings;
      if (options.onednn && !options.compute_f32 &&
          (info.dtype == quant::DType::kBF16 || info.dtype == quant::DType::kF32) && plain) {
        const cpu::MatmulChoice many = cpu::select_matmul(info.dtype, options.isa, cpu::FloatGemm::kOneDnn);
        if (many.gemm->match == cpu::Match::kTolerance) w.prompt = many.gemm;
      }
      const std::int64_t tiles = (info.n_out + cpu::kTileRows - 1) / cpu::kTileRows * info.n_slices;
      w.bytes = static_cast<std::uint64_t>(tiles) *
                (reference ? cpu::kTileRows * info.row_bytes() : w.layout->tile_bytes(info.n_in));
      const bool routed = is_routed(info.id.role);
      w.bytes_per_token =
          static_cast<double>(w.bytes) *
          (routed ? static_cast<double>(config.n_experts_per_tok) / static_cast<double>(config.n_routed_experts) : 1.0);
    }
    plan.bytes += w.bytes;
    plan.bytes_per_token += w.bytes_per_token;
    plan.weights.push_back(std::move(w));
  }
  return plan;
}

std::vector<std::string> kernel_facts(const Plan& plan) {
  std::vector<std::string> facts;
  for (const WeightPlan& w : plan.weights) {
    if (w.gemv == nullptr) continue;
    std::string fact = fmt::format("{}: {}, from {} rows {}", quant::name_of(w.gemv->dtype), w.gemv->name,
                                   w.gemm_min_rows, w.gemm->name);
    if (w.prompt != nullptr) fact += fmt::format(", prompts {}", w.prompt->name);
    if (std::find(facts.begin(), facts.end(), fact) == facts.end()) facts.push_back(std::move(fact));
  }
  return facts;
}

}  // namespace dodeca::runtime
