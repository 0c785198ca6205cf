#include "bench/throughput.hpp"

#include <fmt/chrono.h>
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <random>
#include <thread>
#include <utility>

#include "bench/membw.hpp"
#include "bench/statistics.hpp"
#include "cpu/bandwidth.hpp"
#include "cpu/memory.hpp"
#include "cpu/peak.hpp"
#include "runtime/base/error.hpp"
#include "runtime/base/stopwatch.hpp"
#include "runtime/engine/session.hpp"
#include "runtime/exec/executor.hpp"
#include "runtime/exec/kv_cache.hpp"
#include "runtime/model/weight_source.hpp"
#include "runtime/plan/plan.hpp"
#include "runtime/quantize/file_type.hpp"

namespace dodeca::bench {
namespace {

namespace device = runtime::device;
using runtime::engine::positions_for;
using runtime::engine::Session;
using runtime::engine::Workers;
using runtime::exec::Executor;
using runtime::exec::ExecutorOptions;
using runtime::exec::ForwardOutput;
using runtime::exec::Row;
using runtime::exec::Trace;

ExecutorOptions executor_options(const Test& test) {
  ExecutorOptions options;
  options.n_sequences = static_cast<std::int32_t>(test.n_parallel);
  options.n_positions = positions_for(test.n_depth + test.n_prompt + test.n_gen, options.n_sequences);
  options.micro_batch = std::min(test.n_ubatch, test.n_batch);
  options.cache_type = test.cache_type;
  options.value_cache_type = test.value_type;
  return options;
}

// Gives every sequence n positions of random rows: a pass takes as long over them as over computed ones.
void fill(runtime::exec::KvCache& cache, std::int64_t n) {
  if (n == 0) return;
  constexpr std::size_t kDifferent = 61;  // rows, used in turn
  std::int64_t width = 0;
  for (std::int64_t layer = 0; layer < cache.n_layers(); ++layer) {
    const runtime::exec::RowFormat& format = cache.format(layer);
    width = std::max({width, format.width, format.index ? format.index->head_dim : 0});
  }
  std::vector<std::vector<float>> rows(kDifferent, std::vector<float>(width));
  std::mt19937_64 random(1);
  for (std::vector<float>& row : rows)
    for (float& value : row) value = static_cast<float>(random() >> 40) / (1 << 23) - 1.0f;  // in [-1, 1)
  for (std::int32_t s = 0; s < cache.n_sequences(); ++s) {
    cache.append(s, n);
    for (std::int64_t layer = 0; layer < cache.n_layers(); ++layer) cache.fill(layer, s, n, rows);
  }
}

// Of the choices between two counts, those that experts on the card took; -1: there were none of layers with slots.
double hot_percent(const device::HotExpertTotals& before, const device::HotExpertTotals& after) {
  if (after.chosen == before.chosen) return -1;
  return 100 * static_cast<double>(after.on_device - before.on_device) /
         static_cast<double>(after.chosen - before.chosen);
}

void count_streamed(const device::StreamTotals& before, const device::StreamTotals& after, Result& result) {
  const std::int64_t here = after.rows - before.rows, all = here + after.rows_of_host - before.rows_of_host;
  if (all == 0) return;
  double ns = 0;
  for (const std::uint64_t sample : result.samples_ns) ns += static_cast<double>(sample);
  result.streamed_percent = 100 * static_cast<double>(here) / static_cast<double>(all);
  result.streamed_bytes_per_s = static_cast<double>(after.bytes - before.bytes) / ns * 1e9;
}

void truncate_all(Executor& executor, std::int64_t n) {
  for (std::int32_t s = 0; s < executor.cache().n_sequences(); ++s) executor.cache().truncate(s, n);
}

// Bytes of cached rows that a generated row reads, of `seen` positions: all, those in its window, or those that it
// chooses, by their index keys.
double cache_bytes(const runtime::exec::KvCache& cache, const runtime::ModelConfig& config, double seen) {
  const auto most = static_cast<double>(config.indexer.top_k);
  const bool sparse = config.indexer.n_heads > 0 && seen > most;
  double bytes = 0;
  for (std::int64_t layer = 0; layer < cache.n_layers(); ++layer) {
    const runtime::exec::RowFormat& format = cache.format(layer);
    const auto window = static_cast<double>(config.layer(layer).window);
    const double read = sparse ? most : window > 0 ? std::min(seen, window) : seen;
    bytes += read * static_cast<double>(format.row_bytes);
    if (sparse) bytes += seen * static_cast<double>(format.index_bytes());
  }
  return bytes;
}

}  // namespace

std::string model_type_text(const runtime::WeightSource& source) {
  const runtime::ModelConfig& config = source.config();
  const char* size = "?B";
  if (config.n_layers == 26 || config.n_layers == 27) size = "16B";
  if (config.n_layers == 60) size = "236B";
  if (config.n_layers == 61) size = "671B";
  std::string type = "Hugging Face";  // a directory: the type of most of its weights
  if (const runtime::GgufFile* gguf = source.gguf()) {
    // llama.cpp counts a missing file_type as one guessed from the tensors
    type = runtime::quantize::file_type_text(gguf->metadata().integer("general.file_type").value_or(-1));
  } else {
    std::map<quant::DType, std::int64_t> elements;
    for (const runtime::WeightInfo& weight : source.weights()) elements[weight.dtype] += weight.n_elements();
    const auto most = std::max_element(elements.begin(), elements.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });
    if (most != elements.end()) type = quant::name_of(most->first);
  }
  return fmt::format("{} {} {}", config.architecture, size, type);
}

Opener file_opener(const runtime::cli::ModelOptions& model, const runtime::cli::Console& console) {
  return [&model, &console](const std::string& path) {
    std::unique_ptr<runtime::WeightSource> source =
        runtime::open_weights(path, {{model.plain_topk, model.dense_attention}, model.override_kv}, console.log());
    std::string type_text = model_type_text(*source);
    return OpenedModel{.source = std::move(source), .type_text = std::move(type_text)};
  };
}

struct Throughput::Loaded {
  std::string path, type_text;
  std::unique_ptr<Session> session;
  std::uint64_t size = 0, n_params = 0;
  runtime::predict::TokenWork work;
  ExecutorOptions placed_for;                    // what lies on a card depends on it
  std::shared_ptr<device::DeviceBlocks> blocks;  // null: nothing runs on a card

  bool fits(const ExecutorOptions& wanted) const {
    return wanted.n_positions == placed_for.n_positions && wanted.n_sequences == placed_for.n_sequences &&
           wanted.micro_batch == placed_for.micro_batch && wanted.cache_type == placed_for.cache_type &&
           wanted.value_cache_type == placed_for.value_cache_type;
  }
};

Throughput::Throughput(const runtime::cli::ModelOptions& model, const RunOptions& options, Opener open,
                       const runtime::cli::Console& console, std::function<void(std::string_view)> say)
    : model_options_(model),
      options_(options),
      open_(std::move(open)),
      console_(console),
      say_(std::move(say)),
      choice_(model.numa_choice(cpu::read_topology())),
      random_state_(options.seed) {}

Throughput::~Throughput() = default;

cpu::Team& Throughput::team(int n_threads) {
  std::unique_ptr<cpu::Team>& team = teams_[n_threads];
  if (!team) team = runtime::engine::make_team(choice_.topology, n_threads, console_.log());
  return *team;
}

double Throughput::bandwidth(int n_threads) {
  const auto known = bandwidths_.find(n_threads);
  if (known != bandwidths_.end()) return known->second;
  say_(fmt::format("measuring memory bandwidth with {} threads", n_threads));
  return bandwidths_[n_threads] =
             cpu::read_bandwidth(team(n_threads), cpu::Buffer(default_buffer_bytes(choice_.topology)), 1.0);
}

Macs Throughput::peak(int n_threads) {
  const auto known = peaks_.find(n_threads);
  if (known != peaks_.end()) return known->second;
  say_(fmt::format("measuring arithmetic peaks with {} threads", n_threads));
  constexpr double kSeconds = 0.2;
  const cpu::Isa isa = model_options_.isa_level();
  return peaks_[n_threads] = {.int8 = cpu::peak_macs(team(n_threads), cpu::PeakKind::kInt8, kSeconds, isa),
                              .f32 = cpu::peak_macs(team(n_threads), cpu::PeakKind::kF32, kSeconds, isa)};
}

std::int32_t Throughput::random_token() {
  // splitmix64: the sequence must not depend on the standard library
  std::uint64_t z = (random_state_ += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  return static_cast<std::int32_t>(z % static_cast<std::uint64_t>(loaded_->session->config().vocab_size));
}

void Throughput::load(const Test& test) {
  const ExecutorOptions executor = executor_options(test);
  if (loaded_ && loaded_->path == test.model && (card_ == nullptr || loaded_->fits(executor))) return;
  loaded_.reset();  // before the next one takes its memory
  OpenedModel opened = open_(test.model);
  const runtime::WeightSource& source = *opened.source;
  auto fresh = std::make_unique<Loaded>();
  fresh->path = test.model;
  fresh->type_text = std::move(opened.type_text);
  for (const runtime::WeightInfo& weight : source.weights()) {
    fresh->n_params += static_cast<std::uint64_t>(weight.n_elements());
    fresh->size += weight.row_bytes() * static_cast<std::uint64_t>(weight.n_out * weight.n_slices);
  }
  runtime::engine::SessionOptions session = model_options_.session_options(source.config());
  session.executor = executor;
  runtime::Machine machine = runtime::this_machine();
  if (card_ == nullptr) card_ = model_options_.device.open(console_);
  if (card_ != nullptr) machine.devices.push_back(runtime::cli::device_of(*card_));
  runtime::PlanOptions plan_options = model_options_.plan_options(choice_, console_);
  plan_options.mtp = options_.accepted >= 0;
  if (plan_options.mtp && source.mtp_weights().empty())
    throw runtime::Error(runtime::ErrorKind::kUnsupported,
                         fmt::format("{} has no layer of multi-token prediction", source.config().name));
  runtime::Plan plan = runtime::make_plan(source, machine, plan_options);
  if (card_ != nullptr)
    runtime::cli::use_card(model_options_.device, card_, team(test.n_threads), console_, plan, session);
  fresh->placed_for = executor;
  fresh->blocks = session.device;
  fresh->work = runtime::predict::token_work(plan);
  const std::uint64_t extra_bytes = Executor::bytes_needed(plan, session.executor, test.n_threads);
  runtime::cli::ProgressBar bar(console_, "loading", "MB", 1e6);
  session.progress = bar.callback();
  model_options_.numa.apply(session);
  if (warned_threads_ < test.n_threads)
    runtime::cli::warn_about_memory(choice_, warned_threads_ = test.n_threads, console_);
  const runtime::Stopwatch watch;
  try {
    fresh->session = std::make_unique<Session>(opened.source, std::move(plan), Workers(team(test.n_threads)),
                                               std::move(session), console_.log());
  } catch (const runtime::Error& error) {
    if (error.remedy() != runtime::Remedy::kSmallerModel || !opened.too_large) throw;
    throw runtime::Error(error.kind(), opened.too_large(extra_bytes));
  }
  fresh->session->executor().set_stop([] { return runtime::cli::stop_signal() != 0; });
  const auto bytes = static_cast<double>(fresh->session->plan().bytes_here());
  console_.detail(fmt::format("{} loaded in {:.1f} s ({:.2f} GB/s)", runtime::cli::bytes_text(bytes), watch.seconds(),
                              bytes / 1e9 / watch.seconds()));
  loaded_ = std::move(fresh);
}

Executor& Throughput::start(const Test& test, const ExecutorOptions& options) {
  load(test);
  try {
    ExecutorOptions wanted = options;
    wanted.micro_batch = std::min(wanted.micro_batch, loaded_->session->executor_options().micro_batch);
    return loaded_->session->restart(card_ == nullptr ? options : wanted, Workers(team(test.n_threads)));
  } catch (runtime::Error& error) {
    throw error.with("test", test.label());
  }
}

void Throughput::prompt(Executor& executor, std::int32_t sequence, std::int64_t n, std::int64_t n_batch,
                        cpu::Team& team) {
  std::vector<Row> rows;
  ForwardOutput out;
  for (std::int64_t done = 0; done < n;) {
    const std::int64_t count = std::min(n - done, n_batch);
    const std::int64_t start = executor.cache().length(sequence);
    rows.clear();
    for (std::int64_t i = 0; i < count; ++i)
      rows.push_back({random_token(), static_cast<std::int32_t>(start + i), sequence, options_.logits && i + 1 == count,
                      false, true});
    executor.forward(rows, out, &team);
    done += count;
    runtime::cli::throw_if_stopped();
  }
}

void Throughput::generate(Executor& executor, std::int64_t n, cpu::Team& team) {
  std::vector<Row> rows(executor.cache().n_sequences());
  ForwardOutput out;
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int32_t s = 0; s < executor.cache().n_sequences(); ++s) {
      rows[s] = {random_token(), static_cast<std::int32_t>(executor.cache().length(s)), s, options_.logits};
    }
    executor.forward(rows, out, &team);
    runtime::cli::throw_if_stopped();
  }
}

// What is known before anything is timed.
Result Throughput::describe(const Test& test) {
  Result result;
  result.test = test;
  result.model_type = loaded_->type_text;
  if (card_ != nullptr) result.card = card_->info().name;
  result.model_size = loaded_->size;
  result.model_n_params = loaded_->n_params;
  result.test_time = fmt::format("{:%FT%TZ}", fmt::gmtime(std::time(nullptr)));
  result.cache_bytes = last_level_cache_bytes(choice_.topology);
  if (options_.measure_limits) {
    result.read_bandwidth = bandwidth(test.n_threads);
    if (test.n_gen == 0 || test.n_depth > 0) result.peak = peak(test.n_threads);
  }
  return result;
}

// What a test computes and reads. `trace` is of its timed passes.
void Throughput::count_work(Executor& executor, const Trace& trace, Result& result) const {
  const Test& test = result.test;
  const runtime::predict::TokenWork& work = loaded_->work;
  const runtime::ModelConfig& config = executor.config();
  const auto any = [&](quant::DType type) { return test.cache_type == type || test.value_cache_type() == type; };
  const runtime::predict::AttentionWork attention = runtime::predict::attention_work(
      config, model_options_.compute_f32() || any(quant::DType::kF32), any(quant::DType::kI8));
  if (test.n_gen == 0) {
    result.macs = work.prompt_macs(test.n_prompt, n_outputs(test.n_prompt, test.n_batch, 0));
    result.macs += attention.prompt_macs(test.n_prompt, test.n_depth, executor_options(test).micro_batch);
  }
  if (test.n_prompt == 0) {
    result.n_experts = work.n_experts;
    result.experts_expected = runtime::predict::expected_experts(work.n_experts, work.n_used, test.n_parallel);
    result.experts_touched = trace.expert_phases == 0 ? static_cast<double>(work.n_used)
                                                      : static_cast<double>(trace.experts_touched) /
                                                            static_cast<double>(trace.expert_phases);
    // The i-th token reads the rows of all positions of its sequence up to its own, in every layer.
    const double rows = static_cast<double>(test.n_depth) + static_cast<double>(test.n_gen + 1) / 2;
    result.bytes_per_token = work.step_bytes(result.experts_touched) / static_cast<double>(test.n_parallel) +
                             cache_bytes(executor.cache(), config, rows);
    result.attention_macs = attention.generated_macs(rows);
  }
}

Result Throughput::run(const Test& test) {
  Executor& executor = start(test, executor_options(test));
  cpu::Team& workers = team(test.n_threads);
  Result result = describe(test);
  if (options_.delay_seconds > 0) std::this_thread::sleep_for(std::chrono::seconds(options_.delay_seconds));
  if (options_.warmup) {
    say_(fmt::format("{}: warm-up", test.label()));
    if (test.n_prompt > 0) prompt(executor, 0, test.n_prompt, test.n_batch, workers);
    if (test.n_gen > 0) generate(executor, 1, workers);
    truncate_all(executor, 0);
  }
  fill(executor.cache(), test.n_depth);
  if (energy_ == nullptr)
    energy_ = std::make_unique<runtime::engine::EnergyMeter>(card_ == nullptr ? "" : card_->info().pci_bus_id);
  device::DeviceBlocks* blocks = loaded_->blocks.get();
  const device::HotExpertTotals before_hot = blocks == nullptr ? device::HotExpertTotals{} : blocks->hot_experts();
  const device::StreamTotals before_streamed = blocks == nullptr ? device::StreamTotals{} : blocks->streamed();
  Trace trace;
  double joules = 0;
  for (std::int64_t i = 0; i < options_.repetitions; ++i) {
    say_(fmt::format("{}: run {}/{}", test.label(), i + 1, options_.repetitions));
    truncate_all(executor, test.n_depth);
    if (options_.trace || test.n_parallel > 1) executor.set_trace(&trace);
    const double before = energy_->read().sum();
    const runtime::Stopwatch watch;
    if (test.n_prompt > 0) prompt(executor, 0, test.n_prompt, test.n_batch, workers);
    if (test.n_gen > 0) generate(executor, test.n_gen, workers);
    result.samples_ns.push_back(std::max<std::uint64_t>(watch.nanoseconds(), 1));
    joules += energy_->read().sum() - before;
  }
  result.no_joules = energy_->why_not();
  if (energy_->counts()) result.joules_per_token = joules / static_cast<double>(options_.repetitions * test.n_tokens());
  if (options_.trace) {
    result.trace = trace;
    result.refusals = runtime::refusals_of(executor.plan());
  }
  if (blocks != nullptr) {
    result.hot_percent = hot_percent(before_hot, blocks->hot_experts());
    count_streamed(before_streamed, blocks->streamed(), result);
  }
  count_work(executor, trace, result);
  measure_sides(executor, workers, result);
  measure_drafts(executor, workers, result);
  return result;
}

void Throughput::generate_drafting(Executor& executor, std::int64_t n, cpu::Team& team, DraftRun& run) {
  struct Sequence {
    std::int32_t id = 0, token = 0;
    bool drafted = false;
    std::int64_t n_left = 0, n_new = 0;  // tokens to generate; positions of the last pass that count
  };
  const auto width = static_cast<std::size_t>(executor.config().hidden_size);
  std::vector<Sequence> sequences;
  for (std::int32_t s = 0; s < executor.cache().n_sequences(); ++s) sequences.push_back({s, random_token(), false, n});
  std::vector<Row> rows;
  ForwardOutput out, drafts;
  std::vector<float> hidden;
  while (std::ranges::any_of(sequences, [](const Sequence& s) { return s.n_left > 0; })) {
    rows.clear();
    for (const Sequence& s : sequences) {
      const auto position = static_cast<std::int32_t>(executor.cache().length(s.id));
      for (std::int32_t k = 0; s.n_left > 0 && k < 1 + s.drafted; ++k)
        rows.push_back({k == 0 ? s.token : random_token(), position + k, s.id, true, true});
    }
    executor.forward(rows, out, &team);
    run.experts_touched +=
        static_cast<double>(out.experts_touched) / static_cast<double>(std::max<std::int64_t>(out.expert_layers, 1));
    ++run.n_steps;
    std::size_t row = 0;
    hidden.clear();
    std::vector<Row> due;
    for (Sequence& s : sequences) {
      if (s.n_left == 0) continue;
      const bool taken = s.drafted && static_cast<double>(accepted_() >> 11) * 0x1p-53 < options_.accepted;
      run.n_drafted += s.drafted;
      run.n_accepted += taken;
      s.n_new = 1 + taken;
      run.n_tokens += s.n_new;
      s.n_left -= s.n_new;
      s.token = random_token();
      const std::int64_t length = executor.cache().length(s.id) - (s.drafted && !taken);
      executor.cache().truncate(s.id, length);
      hidden.insert(
          hidden.end(), out.hidden.begin() + static_cast<std::ptrdiff_t>(row * width),
          out.hidden.begin() + static_cast<std::ptrdiff_t>((row + static_cast<std::size_t>(s.n_new)) * width));
      for (std::int64_t k = s.n_new; k > 0; --k)
        due.push_back({s.token, static_cast<std::int32_t>(length - k), s.id, k == 1});
      row += 1 + s.drafted;
      s.drafted = s.n_left > 1;
    }
    executor.draft(due, hidden, drafts, &team);
    runtime::cli::throw_if_stopped();
  }
}

// Without drafts and with them in turn, so that both meet the same machine.
void Throughput::measure_drafts(Executor& executor, cpu::Team& workers, Result& result) {
  const Test& test = result.test;
  if (options_.accepted < 0 || test.n_gen == 0 || test.n_prompt > 0) return;
  executor.set_trace(nullptr);
  DraftRun run{.n_sequences = test.n_parallel};
  for (std::int64_t i = 0; i < options_.repetitions; ++i) {
    say_(fmt::format("{}: drafts {}/{}", test.label(), i + 1, options_.repetitions));
    for (const bool with : {false, true}) {
      truncate_all(executor, test.n_depth);
      const runtime::Stopwatch watch;
      if (with)
        generate_drafting(executor, test.n_gen, workers, run);
      else
        generate(executor, test.n_gen, workers);
      (with ? run.with_ns : run.plain_ns).push_back(static_cast<double>(watch.nanoseconds()));
    }
  }
  run.experts_touched /= static_cast<double>(run.n_steps);
  // A step reads the main layers once; its drafts read as many experts for each of their rows as the main layers' do.
  const runtime::predict::TokenWork draft = runtime::predict::draft_work(executor.plan());
  const double rows = static_cast<double>(run.n_tokens) / static_cast<double>(run.n_steps),
               draft_experts = runtime::predict::expected_experts(draft.n_experts, draft.n_used, 1) * rows;
  run.plain_bytes = loaded_->work.step_bytes(result.experts_touched);
  run.step_bytes = loaded_->work.step_bytes(run.experts_touched) +
                   draft.step_bytes(std::min(draft_experts, static_cast<double>(draft.n_experts)));
  result.drafts = std::move(run);
}

// Each side alone, in passes like the timed ones.
void Throughput::measure_sides(Executor& executor, cpu::Team& workers, Result& result) {
  const Test& test = result.test;
  device::DeviceBlocks* blocks = loaded_->blocks.get();
  if (blocks == nullptr || test.n_gen == 0 || test.n_prompt > 0 || !is_hybrid(executor.plan())) return;
  executor.set_trace(nullptr);
  HybridParts parts{.beside_share = beside_share(executor.plan())};
  for (const device::Sides sides : {device::Sides::kDevice, device::Sides::kProcessors}) {
    std::vector<double> ns;
    blocks->set_sides(sides);
    for (std::int64_t i = 0; i < std::min<std::int64_t>(options_.repetitions, 3); ++i) {
      say_(fmt::format("{}: {} alone", test.label(), sides == device::Sides::kDevice ? "the card" : "the experts"));
      truncate_all(executor, test.n_depth);
      const runtime::Stopwatch watch;
      generate(executor, test.n_gen, workers);
      ns.push_back(static_cast<double>(watch.nanoseconds()) / static_cast<double>(test.n_gen));
    }
    (sides == device::Sides::kDevice ? parts.device_ns : parts.experts_ns) = median(ns);
  }
  blocks->set_sides(device::Sides::kBoth);
  result.parts = parts;
}

double Throughput::output_ns(const Test& test, std::int64_t n_rows) {
  say_(fmt::format("timing the output matrix with {} row{}", n_rows, n_rows == 1 ? "" : "s"));
  constexpr int kRounds = 15;
  ExecutorOptions options;
  options.n_sequences = static_cast<std::int32_t>(n_rows);
  options.n_positions = positions_for(2 * kRounds, options.n_sequences);
  options.micro_batch = n_rows;
  Executor& executor = start(test, options);
  cpu::Team& workers = team(test.n_threads);
  ForwardOutput out;
  std::vector<double> ns[2];
  for (int i = 0; i < 2 * kRounds; ++i) {
    std::vector<Row> rows;
    for (std::int32_t s = 0; s < options.n_sequences; ++s) rows.push_back({random_token(), i, s, i % 2 == 1});
    const runtime::Stopwatch watch;
    executor.forward(rows, out, &workers);
    ns[i % 2].push_back(static_cast<double>(watch.nanoseconds()));
    runtime::cli::throw_if_stopped();
  }
  return std::max(0.0, median(ns[1]) - median(ns[0]));
}

}  // namespace dodeca::bench
