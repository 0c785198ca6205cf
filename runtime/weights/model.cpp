#include "runtime/weights/model.hpp"

#include <algorithm>
#include <numeric>

#include "cpu/topology.hpp"
#include "quant/codec.hpp"
#include "runtime/plan/plan.hpp"
#include "runtime/weights/loader.hpp"
#include "runtime/weights/self_test.hpp"
#include "runtime/weights/weights.hpp"

namespace dodeca::runtime {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

// gate, up and down of `prefix`ffn_*`suffix`, cut into n_parts.
std::vector<FfnPart> load_ffn(Loader& loader, const std::string& prefix, const std::string& suffix, int n_parts) {
  const WeightInfo* down = loader.find(prefix + "ffn_down" + suffix);
  if (down == nullptr) return {};
  const std::int64_t block = std::lcm<std::int64_t>(cpu::kTileRows, quant::type_info(down->dtype).block_elements);
  const FfnCut cut = cut_ffn(down->n_in, block, n_parts);
  std::vector<FfnPart> parts;
  for (int index = 0; index < n_parts; ++index) {
    FfnPart part{.columns = cut.columns[static_cast<std::size_t>(index)], .slot = {}, .gate = {}, .up = {}, .down = {}};
    std::vector<std::int64_t> slices;
    for (std::int64_t expert = 0; expert < down->n_slices; ++expert) {
      const bool mine = !cut.deal_experts || expert % n_parts == index;
      part.slot.push_back(mine ? static_cast<std::int32_t>(slices.size()) : -1);
      if (mine) slices.push_back(expert);
    }
    if (slices.empty() || part.columns.size() == 0) continue;
    part.gate = loader.matrix(prefix + "ffn_gate" + suffix, slices, part.columns,
                              {0, loader.find(prefix + "ffn_gate" + suffix)->n_in});
    part.up = loader.matrix(prefix + "ffn_up" + suffix, slices, part.columns,
                            {0, loader.find(prefix + "ffn_up" + suffix)->n_in});
    part.down = loader.matrix(prefix + "ffn_down" + suffix, slices, {0, down->n_out}, part.columns);
    parts.push_back(std::move(part));
  }
  return parts;
}

LayerWeights load_layer(Loader& loader, std::int64_t layer, int n_parts) {
  const std::string b = fmt::format("blk.{}.", layer);
  LayerWeights w;
  w.attn_norm = loader.vector(b + "attn_norm.weight");
  w.q = loader.matrix(b + "attn_q.weight");
  w.q_a = loader.matrix(b + "attn_q_a.weight");
  w.q_a_norm = loader.vector(b + "attn_q_a_norm.weight");
  w.q_b = loader.matrix(b + "attn_q_b.weight");
  w.kv_a = loader.matrix(b + "attn_kv_a_mqa.weight");
  w.kv_a_norm = loader.vector(b + "attn_kv_a_norm.weight");
  w.k_b = loader.matrix(b + "attn_k_b.weight");
  w.v_b = loader.matrix(b + "attn_v_b.weight");
  w.k = loader.matrix(b + "attn_k.weight");
  w.v = loader.matrix(b + "attn_v.weight");
  w.output = loader.matrix(b + "attn_output.weight");
  w.q_a_bias = loader.vector(b + "attn_q_a.bias");
  w.kv_a_bias = loader.vector(b + "attn_kv_a_mqa.bias");
  w.output_bias = loader.vector(b + "attn_output.bias");
  w.ffn_norm = loader.vector(b + "ffn_norm.weight");
  w.router = loader.matrix(b + "ffn_gate_inp.weight");
  w.router_bias = loader.vector(b + "exp_probs_b.bias");
  w.experts = load_ffn(loader, b, "_exps.weight", n_parts);
  w.dense = load_ffn(loader, b, "_shexp.weight", n_parts);
  if (w.dense.empty()) w.dense = load_ffn(loader, b, ".weight", n_parts);
  return w;
}

}  // namespace

void Weights::embedding(std::int32_t token, float* out) const {
  const std::int64_t n = config.hidden_size;
  if (embeddings.size() > 0) {
    quant::decode_row(embedding_type, embeddings.data() + static_cast<std::size_t>(token) * embedding_row_bytes, out,
                      n);
    return;
  }
  std::vector<std::byte> row(embedding_row_bytes);
  const std::byte* tile = output.slice(0) + static_cast<std::size_t>(token / cpu::kTileRows) * output.tile_bytes;
  if (output.reference) {
    quant::decode_row(embedding_type, tile + static_cast<std::size_t>(token % cpu::kTileRows) * embedding_row_bytes,
                      out, n);
    return;
  }
  std::byte* rows[cpu::kTileRows] = {};
  rows[token % cpu::kTileRows] = row.data();
  output.layout->unpack(tile, n, rows);
  quant::decode_row(embedding_type, row.data(), out, n);
}

Model::Model() : weights_(std::make_unique<Weights>()) {}
Model::~Model() = default;
const ModelConfig& Model::config() const { return weights_->config; }
cpu::Isa Model::isa() const { return weights_->isa; }
std::uint64_t Model::weight_bytes() const { return weights_->bytes; }
std::uint64_t Model::contents() const { return weights_->contents; }

std::unique_ptr<Model> Model::load(const WeightSource& source, cpu::Team& team, const LoadOptions& options,
                                   const Log& log) {
  const ModelConfig& config = source.config();
  const Plan plan = make_plan(
      config, source.weights(),
      {.isa = options.isa, .compute_f32 = options.compute_f32, .onednn = options.onednn, .tuning = options.tuning});
  const std::uint64_t need = plan.bytes + options.extra_bytes, have = cpu::available_memory_bytes();
  if (options.check_memory && need > have) {
    throw Error(ErrorKind::kDoesNotFit,
                fmt::format("the model needs {:.2f} GiB of memory (weights {:.2f}, cache and work space {:.2f}), "
                            "{:.2f} GiB are free (running from disk is not offered yet)",
                            static_cast<double>(need) / kGiB, static_cast<double>(plan.bytes) / kGiB,
                            static_cast<double>(options.extra_bytes) / kGiB, static_cast<double>(have) / kGiB))
        .with(Remedy::kSmallerModel);
  }
  self_test(plan);
  for (const std::string& fact : kernel_facts(plan)) log(Level::kDetail, "kernels of " + fact);
  if (!source.mtp_weights().empty()) {
    log(Level::kInfo, fmt::format("{} multi-token-prediction layer{} in the file: not used yet, skipped",
                                  config.n_mtp_layers, config.n_mtp_layers == 1 ? "" : "s"));
  }
  std::unique_ptr<Model> model(new Model);
  Weights& w = *model->weights_;
  w.config = config;
  w.isa = options.isa;
  w.compute_f32 = options.compute_f32;
  for (const WeightPlan& weight : plan.weights) w.prompt_route = w.prompt_route || weight.prompt != nullptr;
  w.bytes = plan.bytes;

  Loader loader(source, plan, team, options.progress);
  const WeightInfo& embeddings = *source.find("token_embd.weight");
  w.embedding_type = embeddings.dtype;
  w.embedding_row_bytes = embeddings.row_bytes();
  if (config.tied_embeddings) {
    w.output = loader.matrix("token_embd.weight");
  } else {
    loader.rows("token_embd.weight", w.embeddings);
    w.output = loader.matrix("output.weight");
  }
  w.output_norm = loader.vector("output_norm.weight");
  for (std::int64_t layer = 0; layer < config.n_layers; ++layer)
    w.layers.push_back(load_layer(loader, layer, options.n_parts));
  w.contents = loader.contents().value();
  return model;
}

}  // namespace dodeca::runtime
