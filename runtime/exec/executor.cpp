#include "runtime/exec/executor.hpp"

#include <algorithm>
#include <atomic>

#include "cpu/kernels/rope/rope.hpp"
#include "runtime/exec/pass.hpp"
#include "runtime/weights/model.hpp"

namespace dodeca::runtime {

struct Executor::Impl {
  const Model& model;
  cpu::Team& team;
  ExecutorOptions options;
  KvCache cache;
  Workspace space;
  std::vector<double> inv_freq;
  Trace* trace = nullptr;
  InputSums* sums = nullptr;
  Log log;
  bool clamping_told = false;

  Impl(const Model& m, cpu::Team& t, const ExecutorOptions& o)
      : model(m),
        team(t),
        options(o),
        cache(m.config(), o.cache_options()),
        space(m.weights(), o.micro_batch, o.n_positions, o.n_sequences),
        inv_freq(m.config().inv_freq()) {}

  void check(std::span<const Row> rows);
  void append(std::span<const Row> rows);
  void run(std::span<const Row> rows, ForwardOutput& out, cpu::Team& team);
  void tell_clamping();
};

Executor::Executor(const Model& model, cpu::Team& team, const ExecutorOptions& options)
    : impl_(std::make_unique<Impl>(model, team, options)) {
  impl_->space.ensure_threads(model.weights(), team.size());
}
Executor::~Executor() = default;

std::uint64_t Executor::bytes_needed(const ModelConfig& config, const ExecutorOptions& o, int n_threads) {
  return KvCache::bytes_needed(config, o.cache_options()) +
         Workspace::bytes_needed(config, o.micro_batch, o.n_positions, o.n_sequences, n_threads);
}

const ModelConfig& Executor::config() const { return impl_->model.config(); }
KvCache& Executor::cache() { return impl_->cache; }
void Executor::set_trace(Trace* trace) { impl_->trace = trace; }
void Executor::set_input_sums(InputSums* sums) { impl_->sums = sums; }
void Executor::set_log(Log log) { impl_->log = std::move(log); }

void Executor::Impl::tell_clamping() {
  const std::optional<std::int64_t> layer = cache.clamped_layer();
  if (!layer || clamping_told || !log) return;
  clamping_told = true;
  log(Level::kWarning,
      fmt::format("layer {}: a row of the cache has values beyond 65504, the largest of f16, which became "
                  "65504: a cache of type bf16 or f32 holds them",
                  *layer));
}

void Executor::Impl::check(std::span<const Row> rows) {
  const ModelConfig& c = model.config();
  std::vector<std::int64_t> length(static_cast<std::size_t>(cache.n_sequences()));
  for (std::int32_t s = 0; s < cache.n_sequences(); ++s) length[static_cast<std::size_t>(s)] = cache.length(s);
  for (const Row& row : rows) {
    if (row.token < 0 || row.token >= c.vocab_size) {
      throw Error(ErrorKind::kBadRequest,
                  fmt::format("token id {} is outside the vocabulary of {}", row.token, c.vocab_size));
    }
    if (row.sequence < 0 || row.sequence >= cache.n_sequences()) {
      throw Error(ErrorKind::kBadRequest, fmt::format("sequence {} of {}", row.sequence, cache.n_sequences()));
    }
    std::int64_t& next = length[static_cast<std::size_t>(row.sequence)];
    if (row.position != next) {
      throw Error(ErrorKind::kBadRequest,
                  fmt::format("a row of sequence {} is at position {}, the sequence goes on at {}", row.sequence,
                              row.position, next));
    }
    ++next;
  }
}

// All or nothing: a full cache leaves every sequence as it was.
void Executor::Impl::append(std::span<const Row> rows) {
  std::vector<std::int64_t> before(static_cast<std::size_t>(cache.n_sequences()));
  for (std::int32_t s = 0; s < cache.n_sequences(); ++s) before[static_cast<std::size_t>(s)] = cache.length(s);
  try {
    for (const Row& row : rows) cache.append(row.sequence, 1);
  } catch (...) {
    for (std::int32_t s = 0; s < cache.n_sequences(); ++s) cache.truncate(s, before[static_cast<std::size_t>(s)]);
    throw;
  }
}

void Executor::Impl::run(std::span<const Row> rows, ForwardOutput& out, cpu::Team& members) {
  const Weights& weights = model.weights();
  const ModelConfig& c = weights.config;
  Pass pass{.weights = weights,
            .cache = cache,
            .space = space,
            .rows = rows,
            .groups = {},
            .first_partial = {},
            .naive_mla = options.naive_mla,
            .trace = trace,
            .sums = sums};
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    const Row& row = rows[static_cast<std::size_t>(i)];
    pass.first_partial.push_back(
        i == 0 ? 0 : pass.first_partial.back() + rows[static_cast<std::size_t>(i - 1)].position / kContextChunk + 1);
    const bool continues = i > 0 && rows[static_cast<std::size_t>(i - 1)].sequence == row.sequence;
    if (continues && pass.groups.back().count < kRowGroup)
      ++pass.groups.back().count;
    else
      pass.groups.push_back({i, 1});
  }
  pass.first_partial.push_back(pass.first_partial.back() + rows.back().position / kContextChunk + 1);

  std::vector<std::int64_t> wanted;  // rows whose last norm is needed
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    if (rows[static_cast<std::size_t>(i)].wants_logits || rows[static_cast<std::size_t>(i)].wants_hidden)
      wanted.push_back(i);
  }
  std::vector<std::int32_t> logit_rows;  // of `wanted`
  for (std::size_t k = 0; k < wanted.size(); ++k) {
    if (rows[static_cast<std::size_t>(wanted[k])].wants_logits) logit_rows.push_back(static_cast<std::int32_t>(k));
  }
  const std::size_t logits_at = out.logits.size();
  out.logits.resize(logits_at + logit_rows.size() * static_cast<std::size_t>(c.vocab_size));

  space.bad_point.store(kNoBadPoint);
  if (trace != nullptr) trace->start();
  members.run([&](const cpu::Member& member) {
    const cpu::Range range = member.part(pass.n());
    for (std::int64_t i = range.begin; i < range.end; ++i) {
      weights.embedding(rows[static_cast<std::size_t>(i)].token, space.x.row(i));
      float* angles = space.angles.data() + i * c.rope.dim;
      cpu::rope_angles(rows[static_cast<std::size_t>(i)].position, inv_freq, angles);
      if (c.rope.magnitude != 1.0) {
        for (std::int64_t j = 0; j < c.rope.dim; ++j) angles[j] *= static_cast<float>(c.rope.magnitude);
      }
      normalize_row(pass, i, weights.layers.front().attn_norm, 0);
    }
    member.barrier();
    pass.end_phase(member, Phase::kEmbedding, [&] { return pass.rows.size() * weights.embedding_row_bytes; });
    for (std::int64_t layer = 0; layer < c.n_layers; ++layer) {
      const LayerWeights& w = weights.layers[static_cast<std::size_t>(layer)];
      if (c.layers[static_cast<std::size_t>(layer)].attention == AttentionKind::kMla)
        attention_mla(pass, member, layer);
      else
        attention_gqa(pass, member, layer);
      finish(member, pass.n(), [&](std::int64_t i) {
        float* x = space.x.row(i);
        const float* add = space.normed.row(i);
        for (std::int64_t j = 0; j < c.hidden_size; ++j) x[j] += add[j];
        for (std::size_t j = 0; j < w.output_bias.size(); ++j) x[j] += w.output_bias[j];
        normalize_row(pass, i, w.ffn_norm, 2 * layer + 1);
      });
      pass.end_phase(member, Phase::kOutput, [&] { return w.output.slice_bytes(); });
      feed_forward(pass, member, layer);
      if (layer + 1 < c.n_layers) {
        finish(member, pass.n(), [&](std::int64_t i) {
          normalize_row(pass, i, weights.layers[static_cast<std::size_t>(layer + 1)].attn_norm, 2 * (layer + 1));
        });
      } else {
        // The last norm, of the wanted rows only, packed to the front of `normed`, which is free now. One member moves
        // them, so that a row that goes forward cannot overtake one that is still to be read.
        member.barrier([&] {
          for (std::size_t k = 0; k < wanted.size(); ++k) {
            if (static_cast<std::int64_t>(k) != wanted[k])
              std::copy_n(space.x.row(wanted[k]), c.hidden_size, space.x.row(static_cast<std::int64_t>(k)));
          }
        });
      }
      const bool routed = !weights.layers[static_cast<std::size_t>(layer)].experts.empty();
      pass.end_phase(member, routed ? Phase::kDown : Phase::kDenseDown, [&] { return down_bytes(pass, layer); });
    }
    const cpu::Range normed = member.part(static_cast<std::int64_t>(wanted.size()));
    for (std::int64_t k = normed.begin; k < normed.end; ++k)
      normalize_row(pass, k, weights.output_norm, 2 * c.n_layers);
    member.barrier();
    if (logit_rows.empty()) return;
    if (sums != nullptr) {
      for (const std::int32_t k : logit_rows) sums->head.add(member, 0, space.normed.row(k));
    }
    const cpu::Range tiles = member.part(weights.output.n_tiles);
    const cpu::ActFormat format = weights.output.layout->act;
    multiply({.weight = weights.output,
              .tile_begin = tiles.begin,
              .tile_end = tiles.end,
              .acts = space.normed.data(format),
              .act_stride = space.normed.stride(format),
              .act_rows = logit_rows.data(),
              .n_acts = static_cast<std::int64_t>(logit_rows.size()),
              .out = out.logits.data() + logits_at,
              .out_stride = c.vocab_size,
              .scratch = space.threads[static_cast<std::size_t>(member.index)].matmul.data()});
  });
  if (trace != nullptr) trace->end(Phase::kHead, logit_rows.empty() ? 0 : weights.output.slice_bytes());
  if (const std::int64_t bad = space.bad_point.load(); bad != kNoBadPoint) {
    throw Error(ErrorKind::kBadFile, bad == 0
                                         ? std::string("an embedding is NaN or infinite")
                                         : fmt::format("an activation became NaN or infinite in layer {} ({})",
                                                       (bad - 1) / 2, bad % 2 == 1 ? "attention" : "feed-forward"));
  }
  tell_clamping();
  for (std::size_t k = 0; k < wanted.size(); ++k) {
    if (!rows[static_cast<std::size_t>(wanted[k])].wants_hidden) continue;
    const float* hidden = space.normed.row(static_cast<std::int64_t>(k));
    out.hidden.insert(out.hidden.end(), hidden, hidden + c.hidden_size);
  }
}

void Executor::forward(std::span<const Row> rows, ForwardOutput& out, cpu::Team* team) {
  Impl& impl = *impl_;
  cpu::Team& members = team == nullptr ? impl.team : *team;
  out.logits.clear();
  out.hidden.clear();
  if (rows.empty()) return;
  impl.check(rows);
  std::vector<std::int64_t> before;
  for (std::int32_t s = 0; s < impl.cache.n_sequences(); ++s) before.push_back(impl.cache.length(s));
  impl.append(rows);
  impl.space.ensure_threads(impl.model.weights(), members.size());
  try {
    const auto micro_batch = static_cast<std::size_t>(impl.options.micro_batch);
    const bool cut_by_kind = impl.model.weights().prompt_route;
    for (std::size_t begin = 0; begin < rows.size();) {
      std::size_t end = begin + 1;
      while (end < rows.size() && end - begin < micro_batch && !(cut_by_kind && rows[end].prompt != rows[begin].prompt))
        ++end;
      impl.run(rows.subspan(begin, end - begin), out, members);
      begin = end;
    }
  } catch (...) {
    for (std::int32_t s = 0; s < impl.cache.n_sequences(); ++s)
      impl.cache.truncate(s, before[static_cast<std::size_t>(s)]);
    throw;
  }
}

}  // namespace dodeca::runtime
