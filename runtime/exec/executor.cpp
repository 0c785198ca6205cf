#include "runtime/exec/executor.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>

#include "cpu/kernels/norm/norm.hpp"
#include "quant/check.hpp"
#include "runtime/exec/input_sums.hpp"
#include "runtime/exec/trace.hpp"

namespace dodeca::runtime::exec {
namespace {

constexpr std::size_t kNoBlock = std::size_t{1} << 40;

// What only watches a pass.
struct Watchers {
  Trace* trace = nullptr;
  InputSums* sums = nullptr;
  BlockObserver observer;
  std::function<bool()> stop;
};

// What a call runs: blocks in order, whether they end in logits and a last norm, and the rows that come in.
struct Section {
  std::vector<const Block*> blocks;
  bool to_the_end = true;
  std::span<const float> hidden;
};

// One pass through blocks, by all members.
class BlockRun {
 public:
  BlockRun(std::span<const Block* const> blocks, Pass& pass, const Watchers& watchers)
      : blocks_(blocks), pass_(pass), watchers_(watchers) {}

  void run(const cpu::Member& member) {
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      const std::span<const Phase> phases = blocks_[b]->phases(pass_);
      for (const Phase& phase : phases) {
        if (&phase == &phases.back())
          run_last_phase(member, b, phase);
        else
          run_phase(phase, pass_, member);
        // All members see the same: it is set in a barrier of this phase, and nowhere else.
        if (pass_.cut_off) return;
        watch(member, *blocks_[b], phase);
      }
      if (watchers_.observer && blocks_[b]->plan().layer < pass_.config.n_layers) {
        member.barrier([&] { watchers_.observer(blocks_[b]->plan(), pass_); });
      }
    }
  }
  // Of the first block whose input was NaN or infinite; kNoBlock: none.
  std::size_t bad_block() const { return bad_block_.load(); }

 private:
  // Behind the last phase of a block: the residual sum, and the norm of what the next block reads.
  void run_last_phase(const cpu::Member& member, std::size_t b, const Phase& phase) {
    DODECA_CHECK(!phase.finish && phase.end == PhaseEnd::kAll, b);
    const bool goes_on =
        !blocks_[b]->output_parts().empty() || (b + 1 < blocks_.size() && !blocks_[b + 1]->norm().empty());
    if (is_exchanged(phase, pass_)) return run_exchanged_phase(member, b, phase, goes_on);
    const bool finished = run_share(phase, pass_, member, [&](std::int64_t columns) {
      if (phase.finish_block) phase.finish_block(pass_, columns);
      for (std::int64_t i = 0; i < pass_.n(); ++i) pass_on(b, i, columns);
    });
    finish_items(
        pass_, member, finished || !goes_on ? 0 : pass_.n(),
        [&](std::int64_t i) {
          for (std::int64_t columns = 0; columns < blocks_of(pass_.config.hidden_size); ++columns)
            pass_on(b, i, columns);
          set_factor(b, i);
        },
        [&] {
          for (std::int64_t i = 0; finished && i < pass_.n(); ++i) set_factor(b, i);
          if (phase.last) phase.last(pass_);
          if (may_stop() && watchers_.stop()) pass_.cut_off = true;
        });
  }

  // Passes of few rows and of drafts, which have one layer, end soon; other processes would wait for this one.
  bool may_stop() const {
    return watchers_.stop && pass_.n() > kFewRows && pass_.exchange == nullptr &&
           blocks_.front()->plan().layer < pass_.config.n_layers;
  }

  // The same, where its results come from several processes: blocks of all rows are dealt behind the exchange.
  void run_exchanged_phase(const cpu::Member& member, std::size_t b, const Phase& phase, bool goes_on) {
    run_share(phase, pass_, member, [](std::int64_t) {});
    exchange_results(phase, pass_, member);
    const std::int64_t n_blocks = blocks_of(pass_.config.hidden_size);
    const cpu::Range mine = member.part(goes_on ? pass_.n() * n_blocks : 0);
    for (std::int64_t u = mine.begin; u < mine.end; ++u) pass_on(b, u / n_blocks, u % n_blocks);
    barrier_and(pass_, member, [&] {
      for (std::int64_t i = 0; goes_on && i < pass_.n(); ++i) set_factor(b, i);
      if (phase.last) phase.last(pass_);
    });
  }

  // The input of the block behind block b that row i of the pass becomes; null: it is not read.
  struct NextInput {
    Activations* rows = nullptr;
    std::int64_t index = -1;
    const float* weight = nullptr;
    explicit operator bool() const { return index >= 0; }
  };
  NextInput next_input(std::size_t b, std::int64_t i) const {
    if (b + 1 == blocks_.size()) return {};
    const Block& next = *blocks_[b + 1];
    return {&pass_.buffer(next.input_buffer()), next.input_of(pass_, i), next.norm().data()};
  }

  // A block of columns of row i: added to the residual stream, weighed by the next block's norm, in every format that is
  // read there.
  void pass_on(std::size_t b, std::int64_t i, std::int64_t columns) {
    const std::int64_t hidden = pass_.config.hidden_size, begin = columns * kBlockColumns,
                       n = std::min(hidden - begin, kBlockColumns);
    float* x = pass_.buffer(RowBuffer::kResidual).row(i) + begin;
    const std::span<const std::int32_t> parts = blocks_[b]->output_parts();
    sum_parts(pass_, parts, i, {begin, begin + n});
    const float* add = parts.empty() ? nullptr : pass_.buffer(RowBuffer::kOutput).row(i) + begin;
    const NextInput next = next_input(b, i);
    if (!next) {
      for (std::int64_t j = 0; add != nullptr && j < n; ++j) x[j] += add[j];
      if (b + 1 == blocks_.size()) note_non_finite(b + 1, x, n);  // it leaves as it is
      return;
    }
    const float squares =
        cpu::add_and_weigh({x, add, next.weight + begin, n, x, next.rows->row(next.index) + begin}, pass_.isa);
    squares_of(pass_, i, columns) = squares;
    next.rows->quantize_block(next.index, columns, hidden, pass_.isa);
    if (!std::isfinite(squares)) note_non_finite(b + 1, x, n);
  }
  void set_factor(std::size_t b, std::int64_t i) {
    if (const NextInput next = next_input(b, i))
      next.rows->set_factor(next.index, inverse_norm(pass_, i, pass_.config.hidden_size));
  }

  // Notes the first block that finds something NaN or infinite in the residual stream.
  void note_non_finite(std::size_t block, const float* x, std::int64_t n) {
    if (std::all_of(x, x + n, [](float value) { return std::isfinite(value); })) return;
    std::size_t first = bad_block_.load(std::memory_order_relaxed);
    while (block < first && !bad_block_.compare_exchange_weak(first, block, std::memory_order_relaxed)) {
    }
  }

  void watch(const cpu::Member& member, const Block& block, const Phase& phase) {
    if (watchers_.trace != nullptr && member.index == 0)
      watchers_.trace->end(phase.name, phase.work ? phase.work(pass_) : Work{}, std::exchange(pass_.alone_ns, 0));
    if (watchers_.sums == nullptr || block.plan().layer >= pass_.config.n_layers) return;
    for (const Tap& tap : phase.taps) {
      InputSums::Input* input = watchers_.sums->find({tap.role, block.plan().layer});
      if (input != nullptr)
        tap.rows(pass_,
                 [&](std::int64_t slice, const float* row, float factor) { input->add(member, slice, row, factor); });
    }
  }

  std::span<const Block* const> blocks_;
  Pass& pass_;
  const Watchers& watchers_;
  std::atomic<std::size_t> bad_block_{kNoBlock};
};

}  // namespace

struct Executor::Impl {
  const Model& model;
  cpu::Team& team;
  ExecutorOptions options;
  KvCache cache;
  Workspace space;
  std::vector<std::unique_ptr<Block>> blocks;        // embedding, the main layers', head
  std::vector<std::unique_ptr<Block>> draft_blocks;  // of the first layer of multi-token prediction
  Watchers watchers;
  Log log;
  bool clamping_told = false;

  Impl(const Model& m, cpu::Team& t, const ExecutorOptions& o)
      : model(m),
        team(t),
        options(o),
        cache(m.config(), o.cache_options(m.plan()),
              [&o](std::int64_t layer, std::int64_t n_blocks) { return o.device->make_cache_layer(layer, n_blocks); }),
        space(demand_of(m.plan(), o.sizes()), m.plan().options.placement.node_of_each()) {
    if (o.device != nullptr) {
      blocks = o.device->make_blocks(m, o.sizes(), cache, space);
      return;
    }
    for (const BlockPlan& block : m.plan().blocks) {
      blocks.push_back(make_block(m, block));
      if (o.replace) blocks.back() = o.replace(std::move(blocks.back()));
      if (block.kind == BlockKind::kHead) break;
    }
    make_draft_blocks();
  }

  void make_draft_blocks() {
    for (const BlockPlan& block : model.plan().blocks) {
      if (block.layer == model.config().n_layers) draft_blocks.push_back(make_block(model, block));
    }
    if (!draft_blocks.empty()) draft_blocks.push_back(make_mtp_head(model, draft_blocks.front()->plan()));
  }

  // Those that layers [begin, end) are made of, with the way in, and the way out behind the last.
  std::vector<const Block*> blocks_of(const LayerRange& layers) const {
    std::vector<const Block*> chosen;
    for (const auto& block : blocks) {
      const BlockPlan& plan = block->plan();
      if (plan.kind == BlockKind::kEmbedding || (plan.layer >= layers.begin && plan.layer < layers.end) ||
          (plan.kind == BlockKind::kHead && layers.end == model.config().n_layers))
        chosen.push_back(block.get());
    }
    return chosen;
  }

  void check(std::span<const Row> rows, const LayerRange& layers, std::span<const float> hidden) const;
  void check_row(const Row& row) const;
  void check_hidden(std::span<const Row> rows, std::span<const float> hidden) const;
  std::vector<std::int64_t> lengths() const;
  void truncate(const std::vector<std::int64_t>& lengths);
  // In passes of the micro-batch.
  void run(std::span<const Row> rows, const Section& section, ForwardOutput& out, cpu::Team& team);
  void run_pass(std::span<const Row> rows, const Section& section, ForwardOutput& out, cpu::Team& team);
  void refuse_non_finite(std::span<const Block* const> ran, std::size_t bad) const;
  void tell_clamping();
  // For what needs the residual stream in memory.
  void refuse_device(std::string_view what) const;
};

KvCacheOptions ExecutorOptions::cache_options(const Plan& plan) const {
  KvCacheOptions options{.n_positions = n_positions,
                         .n_sequences = n_sequences,
                         .types = {cache_type, value_cache_type},
                         .integer_attention = integer_attention,
                         .mtp = plan.options.mtp,
                         .copies = cache_copies};
  for (const BlockPlan& block : plan.blocks) {
    const bool attention = block.kind == BlockKind::kMlaAttention || block.kind == BlockKind::kGqaAttention;
    if (attention && block.place == Place::kDevice) options.layers_elsewhere.push_back(block.layer);
  }
  return options;
}

Executor::Executor(const Model& model, cpu::Team& team, const ExecutorOptions& options)
    : impl_(std::make_unique<Impl>(model, team, options)) {
  impl_->space.ensure_threads(team.size());
}
Executor::~Executor() = default;

std::uint64_t Executor::bytes_needed(const Plan& plan, const ExecutorOptions& o, int n_threads) {
  return KvCache::bytes_needed(plan.config, o.cache_options(plan)) + demand_of(plan, o.sizes()).bytes(n_threads);
}

const Plan& Executor::plan() const { return impl_->model.plan(); }
KvCache& Executor::cache() { return impl_->cache; }
void Executor::set_trace(Trace* trace) { impl_->watchers.trace = trace; }
void Executor::set_input_sums(InputSums* sums) {
  if (sums != nullptr && plan().options.shares.size() > 1)
    throw Error(ErrorKind::kBadRequest, "inputs are not collected from models that are cut into parts");
  if (sums != nullptr) impl_->refuse_device("inputs are collected");
  impl_->watchers.sums = sums;
}
void Executor::set_observer(BlockObserver observer) {
  impl_->refuse_device("what every block gives can be seen");
  impl_->watchers.observer = std::move(observer);
}
void Executor::set_stop(std::function<bool()> stop) { impl_->watchers.stop = std::move(stop); }
void Executor::set_log(Log log) { impl_->log = std::move(log); }

void Executor::Impl::refuse_device(std::string_view what) const {
  if (options.device != nullptr)
    throw Error(ErrorKind::kUnsupported, fmt::format("{} only where all blocks run on the processors", what));
}

void Executor::Impl::tell_clamping() {
  const std::optional<std::int64_t> layer = cache.clamped_layer();
  if (!layer || clamping_told || !log) return;
  clamping_told = true;
  log(Level::kWarning,
      fmt::format("layer {}: a row of the cache has values beyond 65504, the largest of f16, which became "
                  "65504: a cache of type bf16 or f32 holds them",
                  *layer));
}

void Executor::Impl::check_row(const Row& row) const {
  if (row.token < 0 || row.token >= model.config().vocab_size) {
    throw Error(ErrorKind::kBadRequest,
                fmt::format("token id {} is outside the vocabulary of {}", row.token, model.config().vocab_size));
  }
  if (row.sequence < 0 || row.sequence >= cache.n_sequences())
    throw Error(ErrorKind::kBadRequest, fmt::format("sequence {} of {}", row.sequence, cache.n_sequences()));
}

void Executor::Impl::check_hidden(std::span<const Row> rows, std::span<const float> hidden) const {
  const std::size_t wanted = rows.size() * static_cast<std::size_t>(model.config().hidden_size);
  if (hidden.size() == wanted) return;
  throw Error(ErrorKind::kBadRequest,
              fmt::format("{} rows need {} hidden values, {} are given", rows.size(), wanted, hidden.size()));
}

void Executor::Impl::check(std::span<const Row> rows, const LayerRange& layers, std::span<const float> hidden) const {
  const ModelConfig& c = model.config();
  if (layers.begin < 0 || layers.begin >= layers.end || layers.end > c.n_layers) {
    throw Error(ErrorKind::kBadRequest,
                fmt::format("layers {} to {} of {} were asked for", layers.begin, layers.end, c.n_layers));
  }
  if (layers.begin > 0 && c.is_sparse(layers.begin) && !c.chooses(layers.begin)) {
    throw Error(ErrorKind::kBadRequest, fmt::format("layer {} attends to what an earlier layer chooses: layers cannot "
                                                    "begin there",
                                                    layers.begin));
  }
  if (layers.begin > 0 || !hidden.empty()) check_hidden(rows, hidden);
  std::vector<std::int64_t> next = lengths();
  for (const Row& row : rows) {
    check_row(row);
    std::int64_t& expected = next[row.sequence];
    if (row.position != expected) {
      throw Error(ErrorKind::kBadRequest,
                  fmt::format("a row of sequence {} is at position {}, the sequence goes on at {}", row.sequence,
                              row.position, expected));
    }
    ++expected;
  }
}

std::vector<std::int64_t> Executor::Impl::lengths() const {
  std::vector<std::int64_t> lengths;
  for (std::int32_t s = 0; s < cache.n_sequences(); ++s) lengths.push_back(cache.length(s));
  return lengths;
}

void Executor::Impl::truncate(const std::vector<std::int64_t>& lengths) {
  for (std::int32_t s = 0; s < cache.n_sequences(); ++s) cache.truncate(s, lengths[s]);
}

void Executor::Impl::refuse_non_finite(std::span<const Block* const> ran, std::size_t bad) const {
  if (bad == kNoBlock) return;
  const BlockPlan& culprit = ran[bad - 1]->plan();  // the one before what read it
  throw Error(ErrorKind::kBadFile, culprit.kind == BlockKind::kEmbedding
                                       ? std::string("an embedding, or a hidden row that came in, is NaN or infinite")
                                       : fmt::format("an activation became NaN or infinite in layer {} ({})",
                                                     culprit.layer, name_of(culprit.kind)));
}

void Executor::Impl::run(std::span<const Row> rows, const Section& section, ForwardOutput& out, cpu::Team& members) {
  const auto micro_batch = static_cast<std::size_t>(options.micro_batch);
  const auto width = static_cast<std::size_t>(model.config().hidden_size);
  for (std::size_t begin = 0; begin < rows.size();) {
    std::size_t end = begin + 1;
    while (end < rows.size() && end - begin < micro_batch &&
           !(model.plan().prompt_route && rows[end].prompt != rows[begin].prompt))
      ++end;
    Section piece = section;
    if (!section.hidden.empty()) piece.hidden = section.hidden.subspan(begin * width, (end - begin) * width);
    run_pass(rows.subspan(begin, end - begin), piece, out, members);
    begin = end;
  }
}

void Executor::Impl::run_pass(std::span<const Row> rows, const Section& section, ForwardOutput& out,
                              cpu::Team& members) {
  const ModelConfig& c = model.config();
  const PlanOptions& planned = model.plan().options;
  Pass pass(c, model.isa(), cache, space, members.crews(static_cast<int>(planned.shares.size()), planned.here), rows,
            section.blocks.front()->plan().layer >= c.n_layers);
  if (!section.to_the_end) pass.logit_rows.clear();
  const std::size_t logits_at = out.logits.size();
  out.logits.resize(logits_at + pass.logit_rows.size() * static_cast<std::size_t>(c.vocab_size));
  pass.logits = out.logits.data() + logits_at;
  pass.hidden = section.hidden;
  pass.traced = watchers.trace != nullptr;
  pass.exchange = options.exchange.get();

  BlockRun block_run(section.blocks, pass, watchers);
  if (watchers.trace != nullptr) watchers.trace->start();
  members.run([&](const cpu::Member& member) { block_run.run(member); });
  if (pass.cut_off && options.exchange == nullptr) {
    if (options.device != nullptr) options.device->abandon();
    throw Stopped{};
  }
  if (options.device != nullptr) options.device->check();
  if (options.exchange != nullptr) options.exchange->check();
  refuse_non_finite(section.blocks, block_run.bad_block());
  tell_clamping();
  out.experts_touched += pass.experts_touched;
  out.expert_layers += pass.expert_layers;
  const auto append = [&](std::vector<float>& to, const float* row) { to.insert(to.end(), row, row + c.hidden_size); };
  if (!section.to_the_end) {
    for (std::int64_t i = 0; i < pass.n(); ++i) append(out.residual, pass.buffer(RowBuffer::kResidual).row(i));
    return;
  }
  const Activations& last = pass.buffer(RowBuffer::kHeadInput);
  for (std::size_t k = 0; k < pass.wanted.size(); ++k) {
    if (!pass.row(pass.wanted[k]).wants_hidden) continue;
    const auto i = static_cast<std::int64_t>(k);
    append(out.hidden, last.row(i));
    for (auto x = out.hidden.end() - c.hidden_size; x != out.hidden.end(); ++x) *x *= last.factor(i);
  }
}

void Executor::forward(std::span<const Row> rows, ForwardOutput& out, cpu::Team* team) {
  forward_layers(rows, {0, config().n_layers}, {}, out, team);
}

void Executor::forward_layers(std::span<const Row> rows, const LayerRange& layers, std::span<const float> hidden,
                              ForwardOutput& out, cpu::Team* team) {
  Impl& impl = *impl_;
  cpu::Team& members = team == nullptr ? impl.team : *team;
  out.clear();
  if (rows.empty()) return;
  impl.check(rows, layers, hidden);
  if (!hidden.empty() || layers.begin != 0 || layers.end != config().n_layers) impl.refuse_device("some layers run");
  impl.space.ensure_threads(members.size());
  // All or nothing: whatever fails leaves every sequence as it was.
  const std::vector<std::int64_t> before = impl.lengths();
  try {
    for (const Row& row : rows) impl.cache.append(row.sequence, 1);
    impl.run(rows, {impl.blocks_of(layers), layers.end == config().n_layers, hidden}, out, members);
  } catch (...) {
    impl.truncate(before);
    throw;
  }
}

bool Executor::can_draft() const { return !impl_->draft_blocks.empty(); }

void Executor::draft(std::span<const Row> rows, std::span<const float> hidden, ForwardOutput& out, cpu::Team* team) {
  Impl& impl = *impl_;
  cpu::Team& members = team == nullptr ? impl.team : *team;
  out.clear();
  if (rows.empty()) return;
  if (!can_draft())
    throw Error(ErrorKind::kUnsupported, "the layers of multi-token prediction were not loaded: nothing makes drafts");
  impl.check_hidden(rows, hidden);
  impl.space.ensure_threads(members.size());
  const std::vector<std::int64_t> before = impl.lengths();
  try {
    const Row* last = nullptr;
    for (const Row& row : rows) {
      impl.check_row(row);
      const bool goes_on = last != nullptr && last->sequence == row.sequence;
      const std::int64_t length = impl.cache.length(row.sequence);
      if (row.position > length || row.position < 0 || (goes_on && row.position != last->position + 1)) {
        throw Error(ErrorKind::kBadRequest,
                    fmt::format("a draft of sequence {} is at position {}, behind {} of {}", row.sequence, row.position,
                                goes_on ? last->position : -1, length));
      }
      if (row.position == length) impl.cache.append(row.sequence, 1);
      last = &row;
    }
    Section section{.hidden = hidden};
    for (const auto& block : impl.draft_blocks) section.blocks.push_back(block.get());
    impl.run(rows, section, out, members);
  } catch (...) {
    impl.truncate(before);
    throw;
  }
}

}  // namespace dodeca::runtime::exec
