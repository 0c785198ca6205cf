#include "runtime/plan/plan.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "runtime/model/wanted.hpp"

namespace dodeca::runtime {
namespace {

using enum WeightRole;

std::vector<std::int64_t> all_slices(std::int64_t n) {
  std::vector<std::int64_t> slices(static_cast<std::size_t>(n));
  std::iota(slices.begin(), slices.end(), std::int64_t{0});
  return slices;
}

// ---- kernels ------------------------------------------------------------------------------------------------------

void choose_kernels(WeightPlan& w, const PlanOptions& options) {
  // Types without kernels of their own go the reference way too: decoding once per tile and the float32 kernels beat a
  // scalar inner loop.
  const cpu::Layout& own = cpu::layout_of(w.dtype);
  const bool reference = options.compute_f32 ? own.act != cpu::ActFormat::kF32 : own.kind == cpu::LayoutKind::kRows;
  w.storage = reference ? Storage::kReference : Storage::kPacked;
  const quant::DType kernel_type = reference ? quant::DType::kF32 : w.dtype;
  cpu::MatmulChoice choice = cpu::select_matmul(kernel_type, options.isa, cpu::FloatGemm::kOwn, options.tuning);
  w.layout = &cpu::layout_of(kernel_type);
  w.gemv = choice.gemv;
  w.gemm = choice.gemm;
  w.gemm_min_rows = choice.gemm_min_rows;
  w.refusals = std::move(choice.refusals);
  // Routing and logits stay in float32 (router, head); the route goes by the row's kind, never by how many rows there
  // are, so that a row's result does not depend on its companions.
  const bool plain = w.n_slices == 1 && w.id.role != kRouter && w.id.role != kOutput && w.id.role != kMtpOutput &&
                     w.id.role != kEmbedding;
  if (options.onednn && !options.compute_f32 && plain &&
      (w.dtype == quant::DType::kBF16 || w.dtype == quant::DType::kF32)) {
    const cpu::MatmulChoice many = cpu::select_matmul(w.dtype, options.isa, cpu::FloatGemm::kOneDnn);
    if (many.gemm->match == cpu::Match::kTolerance) w.prompt = many.gemm;
  }
}

WeightPlan plan_weight(const ModelConfig& config, const WeightInfo& info, const PlanOptions& options) {
  WeightPlan w{.id = info.id,
               .name = info.name,
               .dtype = info.dtype,
               .piece_columns = info.n_in,
               .n_in = info.n_in,
               .n_out = info.n_out,
               .n_slices = info.n_slices};
  const bool looked_up = (info.id.role == kEmbedding && !config.tied_embeddings) || info.id.role == kMtpEmbedding;
  if (info.is_vector() || looked_up) {
    w.storage = Storage::kRows;
    w.bytes = info.row_bytes() * static_cast<std::uint64_t>(info.n_out * info.n_slices);
    w.bytes_per_token = static_cast<double>(info.row_bytes());
    return w;
  }
  choose_kernels(w, options);
  const std::int64_t tiles = (info.n_out + cpu::kTileRows - 1) / cpu::kTileRows * info.n_slices;
  w.bytes = static_cast<std::uint64_t>(tiles) * w.tile_bytes();
  w.bytes_per_token = static_cast<double>(w.bytes);
  if (is_routed(info.id.role))
    w.bytes_per_token *= static_cast<double>(config.n_experts_per_tok) / static_cast<double>(config.n_routed_experts);
  return w;
}

// ---- blocks -------------------------------------------------------------------------------------------------------

class Blocks {
 public:
  Blocks(const ModelConfig& config, Plan& plan) : c_(config), plan_(plan) {
    for (std::size_t i = 0; i < plan.weights.size(); ++i) {
      const WeightId id = plan.weights[i].id;
      index_[id] = i;
      by_block_[{id.layer, part_of(id.role)}].push_back(i);
    }
    if (c_.tied_embeddings && index_.contains({kEmbedding}))
      by_block_[{kNoLayer, BlockPart::kHead}].push_back(index_.at({kEmbedding}));
  }

  void add_all() {
    add(BlockKind::kEmbedding, kNoLayer, BlockPart::kEmbedding);
    for (std::int64_t layer = 0; layer < c_.n_layers; ++layer) add_layer(layer);
    add(BlockKind::kHead, kNoLayer, BlockPart::kHead);
    for (std::int64_t layer = c_.n_layers; layer < plan_.n_layers(); ++layer) {
      add(BlockKind::kMtp, layer, BlockPart::kMtp);
      add_layer(layer);
    }
  }

 private:
  void add_layer(std::int64_t layer) {
    const LayerConfig& described = c_.layer(layer);
    add(described.attention == AttentionKind::kMla ? BlockKind::kMlaAttention : BlockKind::kGqaAttention, layer,
        BlockPart::kAttention);
    add(described.ffn == FfnKind::kDense ? BlockKind::kDenseFfn : BlockKind::kMoeFfn, layer, BlockPart::kFfn);
  }

  WeightPlan* find(WeightId id) {
    const auto at = index_.find(id);
    return at == index_.end() ? nullptr : &plan_.weights[at->second];
  }
  std::int64_t block_of(WeightId id) {
    const WeightPlan* w = find(id);
    const std::int64_t own = w == nullptr ? 1 : quant::type_info(w->dtype).block_elements;
    return std::lcm<std::int64_t>(cpu::kTileRows, own);
  }

  void add(BlockKind kind, std::int64_t layer, BlockPart part) {
    BlockPlan block{.kind = kind, .layer = layer, .reason = "no device was asked for", .parts = {}, .experts = {}};
    set_parts(block);
    block.weights = by_block_[{layer, part}];
    for (const std::size_t i : block.weights) {
      WeightPlan* w = &plan_.weights[i];
      if (w->layout != nullptr) set_parts(block, *w);
      if (w->storage != Storage::kRows && kind != BlockKind::kEmbedding) block.bytes_per_pass += w->bytes;
      // One row is looked up; a matrix that is the head as well lies in memory once, with the embedding.
      const bool looked_up = kind == BlockKind::kEmbedding && w->layout != nullptr;
      block.bytes_per_token += looked_up ? w->bytes_per_token / static_cast<double>(w->n_out) : w->bytes_per_token;
      if (kind != BlockKind::kHead || w->id.role != kEmbedding) block.bytes += w->bytes;
    }
    set_pieces(block);
    set_inputs(block);
    plan_.blocks.push_back(std::move(block));
  }

  // The least number of heads whose columns of the output projection are whole blocks, and whose rows are whole tiles.
  std::int64_t head_unit(std::int64_t layer, std::int64_t columns, std::int64_t rows) {
    const std::int64_t block = block_of({kAttentionOutput, layer});
    return std::lcm(block / std::gcd(block, columns), cpu::kTileRows / std::gcd<std::int64_t>(cpu::kTileRows, rows));
  }

  void set_parts(BlockPlan& block) {
    const Shares& shares = plan_.options.shares;
    const std::int64_t layer = block.layer;
    switch (block.kind) {
      case BlockKind::kMlaAttention:
        block.parts =
            cut(c_.n_heads, head_unit(layer, c_.v_head_dim, c_.qk_nope_head_dim + c_.qk_rope_head_dim), shares);
        break;
      case BlockKind::kGqaAttention: {
        const std::int64_t group = c_.n_heads / c_.n_kv_heads * c_.head_dim;
        block.parts = cut(c_.n_kv_heads, head_unit(layer, group, c_.head_dim), shares);
        break;
      }
      case BlockKind::kDenseFfn:
        block.parts = cut(c_.intermediate_size, block_of({kDown, layer}), shares);
        break;
      case BlockKind::kMoeFfn:
        block.parts = cut(c_.n_shared_experts * c_.moe_intermediate_size, block_of({kSharedDown, layer}), shares);
        block.experts = cut_ffn(c_.moe_intermediate_size, block_of({kExpertDown, layer}), c_.n_routed_experts, shares);
        break;
      case BlockKind::kHead:
      case BlockKind::kMtp:
        block.parts = cut(c_.vocab_size, cpu::kTileRows, shares);
        break;
      case BlockKind::kEmbedding:
        block.parts = {{0, c_.vocab_size}};
        break;
    }
  }

  void set_parts(const BlockPlan& block, WeightPlan& w) {
    if (block.kind == BlockKind::kEmbedding) return;  // tied: the head's parts
    const std::vector<Span> rows = cut(w.n_out, cpu::kTileRows, plan_.options.shares);
    w.parts.clear();
    for (std::size_t p = 0; p < plan_.options.shares.size(); ++p) {
      WeightPart part{.slices = all_slices(w.n_slices), .rows = {0, w.n_out}, .columns = {0, w.n_in}};
      const auto scaled = [&](std::int64_t width) {
        return Span{block.parts[p].begin * width, block.parts[p].end * width};
      };
      switch (w.id.role) {
        case kQ:
        case kQB:
        case kK:
        case kV:
          part.rows = scaled(w.n_out / (block.kind == BlockKind::kMlaAttention ? c_.n_heads : c_.n_kv_heads));
          break;
        case kKB:
        case kVB:
          part.slices.clear();
          for (std::int64_t head = block.parts[p].begin; head < block.parts[p].end; ++head) part.slices.push_back(head);
          break;
        case kAttentionOutput:
          part.columns = scaled(w.n_in / (block.kind == BlockKind::kMlaAttention ? c_.n_heads : c_.n_kv_heads));
          break;
        case kGate:
        case kUp:
        case kSharedGate:
        case kSharedUp:
          part.rows = block.parts[p];
          break;
        case kDown:
        case kSharedDown:
          part.columns = block.parts[p];
          break;
        case kExpertGate:
        case kExpertUp:
          part.rows = block.experts.columns[p];
          break;
        case kExpertDown:
          part.columns = block.experts.columns[p];
          break;
        default:
          part.rows = rows[p];
          break;
      }
      if (is_routed(w.id.role) && !block.experts.expert_part.empty()) {
        std::erase_if(part.slices, [&](std::int64_t e) { return block.experts.expert_part[e] != static_cast<int>(p); });
      }
      w.parts.push_back(std::move(part));
    }
  }

  // Of the weights that are multiplied in one phase, each in its turn.
  void set_pieces(const BlockPlan& block) {
    const auto in_one_phase = [&](std::initializer_list<WeightRole> roles) {
      std::vector<WeightPlan*> weights;
      for (const WeightRole role : roles) {
        if (WeightPlan* w = find({role, block.layer})) weights.push_back(w);
      }
      return cut_into_pieces(weights, 0);
    };
    switch (block.kind) {
      case BlockKind::kMlaAttention:
        // An indexer changes nothing of how the others are cut, so that dense attention has the same bits with and
        // without.
        if (const std::uint64_t bytes = in_one_phase({kQ, kQA, kKvA}); find({kIndexK, block.layer}) != nullptr)
          cut_into_pieces({find({kIndexK, block.layer}), find({kIndexWeights, block.layer})}, bytes);
        in_one_phase({kAttentionOutput});
        break;
      case BlockKind::kGqaAttention:
        in_one_phase({kQ, kK, kV});
        in_one_phase({kAttentionOutput});
        break;
      case BlockKind::kDenseFfn:
        in_one_phase({kGate, kUp});
        in_one_phase({kDown});
        break;
      case BlockKind::kMoeFfn: {
        in_one_phase({kRouter, kSharedGate, kSharedUp});
        WeightPlan *shared = find({kSharedDown, block.layer}), *expert = find({kExpertDown, block.layer});
        if (shared != nullptr && expert != nullptr) cut_into_pieces({shared}, expert->tile_bytes());
        break;
      }
      default:
        break;
    }
  }

  // So that no piece of a tile has more than about `bytes`; 0: a share of the phase that keeps the most of 192 members
  // near the mean. Returns that share.
  static std::uint64_t cut_into_pieces(const std::vector<WeightPlan*>& weights, std::uint64_t bytes) {
    constexpr std::uint64_t kSmallPhase = 20'000'000, kUnits = 1792, kUnitsOfSmall = 1500;
    std::uint64_t all = 0;
    for (const WeightPlan* w : weights) all += w->bytes;
    if (bytes == 0) bytes = all / (all < kSmallPhase ? kUnitsOfSmall : kUnits);
    for (WeightPlan* w : weights) {
      // Whole blocks of every type and of every activation format.
      const bool plain = w->layout->act == cpu::ActFormat::kF32 && quant::type_info(w->dtype).block_elements == 1;
      const std::int64_t unit = plain ? 64 : 256, n_units = w->n_in / unit,
                         n_wanted = static_cast<std::int64_t>((w->tile_bytes() + bytes) / (bytes + 1));
      if (n_units < 2 || n_wanted < 2) continue;
      const std::int64_t columns = std::max<std::int64_t>(1, (n_units + n_wanted / 2) / n_wanted) * unit;
      w->piece_columns = std::min(w->n_in, columns);
    }
    return bytes;
  }

  void set_inputs(BlockPlan& block) {
    const auto add_input = [&](std::initializer_list<WeightRole> roles) {
      InputPlan input;
      for (const WeightRole role : roles) {
        const WeightPlan* w = find({role, role_info(role).in_layer ? block.layer : kNoLayer});
        if (w == nullptr) continue;
        input.roles.push_back(role);
        input.n_in = w->n_in;
        input.n_slices = w->n_slices;
      }
      if (!input.roles.empty()) block.inputs.push_back(std::move(input));
    };
    switch (block.kind) {
      case BlockKind::kMlaAttention:
        add_input({kQ, kQA, kKvA, kIndexK, kIndexWeights});
        add_input({kQB, kIndexQ});
        for (const WeightRole role : {kKB, kVB, kAttentionOutput}) add_input({role});
        break;
      case BlockKind::kGqaAttention:
        add_input({kQ, kK, kV});
        add_input({kAttentionOutput});
        break;
      case BlockKind::kDenseFfn:
        add_input({kGate, kUp});
        add_input({kDown});
        break;
      case BlockKind::kMoeFfn:
        add_input({kRouter, kSharedGate, kSharedUp});
        add_input({kSharedDown});
        add_input({kExpertGate, kExpertUp});
        add_input({kExpertDown});
        break;
      case BlockKind::kHead:
        add_input({c_.tied_embeddings ? kEmbedding : kOutput});
        break;
      case BlockKind::kEmbedding:
      case BlockKind::kMtp:
        break;
    }
  }

  const ModelConfig& c_;
  Plan& plan_;
  std::map<WeightId, std::size_t> index_;
  std::map<std::pair<std::int64_t, BlockPart>, std::vector<std::size_t>> by_block_;
};

// Some writers keep only part of these layers.
void check_mtp(const ModelConfig& config, const std::vector<WeightInfo>& found) {
  for (const WantedWeight& wanted : wanted_weights(config, true)) {
    if (wanted.optional || std::ranges::find(found, wanted.id, &WeightInfo::id) != found.end()) continue;
    throw Error(ErrorKind::kBadFile,
                fmt::format("the multi-token-prediction layer has no {}: it was left out of the file", wanted.name));
  }
}

}  // namespace

std::string_view name_of(Storage storage) {
  switch (storage) {
    case Storage::kRows:
      return "rows";
    case Storage::kPacked:
      return "tiles";
    default:
      return "rows, decoded";
  }
}

std::int64_t WeightPlan::n_pieces() const {
  std::int64_t n = 0;
  for (const WeightPart& part : parts)
    n += std::max<std::int64_t>(1, (part.columns.size() + stored_columns() - 1) / stored_columns());
  return n;
}

std::uint64_t WeightPlan::part_bytes(std::size_t part) const {
  if (layout == nullptr || part >= parts.size()) return 0;
  const WeightPart& own = parts[part];
  std::uint64_t tile = 0;
  for (std::int64_t begin = 0; begin < own.columns.size(); begin += stored_columns()) {
    const std::int64_t columns = std::min(stored_columns(), own.columns.size() - begin);
    tile += storage == Storage::kReference ? cpu::kTileRows * *quant::row_bytes(dtype, columns)
                                           : layout->tile_bytes(columns);
  }
  const std::int64_t tiles = (own.rows.size() + cpu::kTileRows - 1) / cpu::kTileRows;
  return static_cast<std::uint64_t>(std::ssize(own.slices) * tiles) * tile;
}

std::uint64_t WeightPlan::tile_bytes() const {
  return storage == Storage::kReference ? cpu::kTileRows * *quant::row_bytes(dtype, n_in) : layout->tile_bytes(n_in);
}

std::uint64_t Plan::part_bytes(std::size_t part) const {
  std::uint64_t bytes = 0;
  for (const WeightPlan& w : weights) bytes += w.place == Place::kCpu ? w.part_bytes(part) : 0;
  return bytes;
}

std::uint64_t Plan::shared_bytes() const {
  std::uint64_t bytes = 0;
  for (const WeightPlan& w : weights) bytes += w.place == Place::kCpu && w.layout == nullptr ? w.bytes : 0;
  return bytes;
}

std::uint64_t Plan::bytes_here() const {
  return options.here == cpu::kAllParts ? bytes : part_bytes(static_cast<std::size_t>(options.here)) + shared_bytes();
}

std::string_view name_of(BlockKind kind) {
  static constexpr std::string_view kNames[] = {
      "embedding", "attention", "attention", "feed-forward", "feed-forward", "output head", "multi-token prediction"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string_view name_of(Place place) { return place == Place::kCpu ? "cpu" : "gpu"; }

std::string BlockPlan::name() const {
  return layer == kNoLayer ? std::string(name_of(kind)) : fmt::format("layer {} {}", layer, name_of(kind));
}

Plan make_plan(const ModelConfig& config, const std::vector<WeightInfo>& weights,
               const std::vector<WeightInfo>& mtp_weights, const Machine& machine, const PlanOptions& options) {
  Plan plan{.config = config, .options = options, .machine = machine};
  for (const WeightInfo& info : weights) plan.weights.push_back(plan_weight(config, info, options));
  if (options.mtp) {
    check_mtp(config, mtp_weights);
    for (const WeightInfo& info : mtp_weights) plan.weights.push_back(plan_weight(config, info, options));
  }
  for (const WeightPlan& w : plan.weights) {
    plan.bytes += w.bytes;
    plan.prompt_route = plan.prompt_route || w.prompt != nullptr;
  }
  Blocks(config, plan).add_all();
  for (const BlockPlan& block : plan.blocks) {
    if (block.layer < config.n_layers) plan.bytes_per_token += block.bytes_per_token;  // what is behind makes drafts
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

std::vector<std::string> refusals_of(const Plan& plan) {
  std::vector<std::string> refusals;
  for (const WeightPlan& w : plan.weights) {
    for (const std::string& refusal : w.refusals) {
      if (std::ranges::find(refusals, refusal) == refusals.end()) refusals.push_back(refusal);
    }
  }
  return refusals;
}

}  // namespace dodeca::runtime
