#include "bench/test_matrix.hpp"

#include <fmt/core.h>

#include <functional>

#include "runtime/cli/options.hpp"
#include "runtime/cli/pasted_options.hpp"

namespace dodeca::bench {
namespace {

using runtime::cli::Usage;
using Kind = InertAxis::Kind;

// One list element: first[-last[+step|*mult]].
void append_range(std::string_view flag, std::string_view text, runtime::cli::Bounds bounds,
                  std::vector<std::int64_t>& out) {
  const auto number = [&](std::string_view digits) { return runtime::cli::parse_integer(flag, digits, bounds); };
  const std::size_t dash = text.find('-', 1);  // a leading one is a sign
  const std::int64_t first = number(text.substr(0, dash));
  if (dash == std::string_view::npos) {
    out.push_back(first);
    return;
  }
  std::string_view rest = text.substr(dash + 1);
  const std::size_t op = rest.find_first_of("+*");
  const std::int64_t last = number(rest.substr(0, op));
  std::int64_t step = 1;
  const bool multiply = op != std::string_view::npos && rest[op] == '*';
  if (op != std::string_view::npos) step = runtime::cli::parse_integer(flag, rest.substr(op + 1), {1, 1 << 30});
  if (last < first) throw Usage(fmt::format("{}: the range {} ends before it begins", flag, text));
  if (multiply && (step == 1 || first <= 0)) throw Usage(fmt::format("{}: the range {} never ends", flag, text));
  for (std::int64_t i = first; i <= last; i = multiply ? i * step : i + step) {
    if (out.size() >= 10000) throw Usage(fmt::format("{}: the range {} has more than 10000 values", flag, text));
    out.push_back(i);
  }
}

}  // namespace

const std::array<InertAxis, kInertCount> kInertAxes{{
    {"-ngl,--n-gpu-layers", "n_gpu_layers", "ngl", "-1", Kind::kInteger},
    {"-ncmoe,--n-cpu-moe", "n_cpu_moe", "n_cpu_moe", "0", Kind::kInteger},
    {"-sm,--split-mode", "split_mode", "sm", "layer", Kind::kText},
    {"-lm,--load-mode", "load_mode", "lm", "none", Kind::kText},
    {"-mg,--main-gpu", "main_gpu", "main_gpu", "0", Kind::kInteger},
    {"-dev,--device", "devices", "dev", "auto", Kind::kText},
    {"-ts,--tensor-split", "tensor_split", "ts", "0.00", Kind::kText},
    {"-ot,--override-tensor", "tensor_buft_overrides", "ot", "none", Kind::kText},
    {"--no-host", "no_host", "noh", "0", Kind::kBoolean},
    {"-embd,--embeddings", "embeddings", "embd", "0", Kind::kBoolean},
    {"-nopo,--no-op-offload", "no_op_offload", "nopo", "0", Kind::kBoolean},
    {"-nkvo,--no-kv-offload", "no_kv_offload", "nkvo", "0", Kind::kBoolean},
    {"-fa,--flash-attn", "flash_attn", "fa", "-1", Kind::kInteger},
    {"-C,--cpu-mask", "cpu_mask", "cpu_mask", "0x0", Kind::kText},
    {"--cpu-strict", "cpu_strict", "cpu_strict", "0", Kind::kBoolean},
    {"--poll", "poll", "poll", "50", Kind::kInteger},
}};

std::string_view inert_answer(const InertAxis& axis) {
  const runtime::cli::PastedOption* option =
      runtime::cli::find_pasted("dodeca-bench", axis.flags.substr(0, axis.flags.find(',')));
  return option == nullptr ? std::string_view() : option->answer;
}

std::vector<std::int64_t> parse_range(std::string_view flag, std::string_view text, std::int64_t min,
                                      std::int64_t max) {
  std::vector<std::int64_t> out;
  while (true) {
    const std::size_t comma = text.find(',');
    append_range(flag, text.substr(0, comma), {min, max}, out);
    if (comma == std::string_view::npos) return out;
    text.remove_prefix(comma + 1);
  }
}

std::vector<std::int64_t> parse_ranges(std::string_view flag, std::span<const std::string> texts, std::int64_t min,
                                       std::int64_t max) {
  std::vector<std::int64_t> out;
  for (const std::string& text : texts) {
    const std::vector<std::int64_t> some = parse_range(flag, text, min, max);
    out.insert(out.end(), some.begin(), some.end());
  }
  return out;
}

Test::Test() {
  for (std::size_t k = 0; k < kInertCount; ++k) inert[k] = kInertAxes[k].default_value;
}

std::string Test::label() const {
  std::string text;
  if (n_gen == 0)
    text = fmt::format("pp{}", n_prompt);
  else if (n_prompt == 0)
    text = fmt::format("tg{}{}", n_gen, n_parallel > 1 ? fmt::format(" x{}", n_parallel) : "");
  else
    text = fmt::format("pp{}+tg{}", n_prompt, n_gen);
  if (n_depth > 0) text += fmt::format(" @ d{}", n_depth);
  return text;
}

std::vector<Test> all_tests(const Axes& axes) {
  // A list of loops, outermost first; each sets one parameter of the test from its i-th value.
  struct Loop {
    std::size_t size;
    std::function<void(Test&, std::size_t)> set;
  };
  std::vector<Loop> loops;
  const auto loop = [&](const auto& values, auto setter) {
    loops.push_back({values.size(), [&values, setter](Test& test, std::size_t i) { setter(test, values[i]); }});
  };
  const auto inert_loops = [&](std::size_t begin, std::size_t end) {
    for (std::size_t k = begin; k < end; ++k)
      if (!axes.inert[k].empty()) loop(axes.inert[k], [k](Test& test, const std::string& v) { test.inert[k] = v; });
  };
  loop(axes.models, [](Test& test, const std::string& v) { test.model = v; });
  inert_loops(kGpuLayers, kNoKvOffload);
  loop(axes.n_batch, [](Test& test, std::int64_t v) { test.n_batch = v; });
  loop(axes.n_ubatch, [](Test& test, std::int64_t v) { test.n_ubatch = v; });
  loop(axes.cache_type, [](Test& test, quant::DType v) { test.cache_type = v; });
  if (!axes.value_type.empty()) loop(axes.value_type, [](Test& test, quant::DType v) { test.value_type = v; });
  inert_loops(kNoKvOffload, kCpuMask);
  loop(axes.n_threads, [](Test& test, std::int64_t v) { test.n_threads = static_cast<int>(v); });
  inert_loops(kCpuMask, kPoll);
  loop(axes.n_depth, [](Test& test, std::int64_t v) { test.n_depth = v; });
  inert_loops(kPoll, kInertCount);

  std::vector<Test> tests;
  std::vector<std::size_t> at(loops.size(), 0);
  for (bool more = true; more;) {
    Test test;
    for (std::size_t l = 0; l < loops.size(); ++l) loops[l].set(test, at[l]);
    const auto add = [&](std::int64_t n_prompt, std::int64_t n_gen, std::int64_t n_parallel = 1) {
      if (n_prompt == 0 && n_gen == 0) return;
      test.n_prompt = n_prompt;
      test.n_gen = n_gen;
      test.n_parallel = n_parallel;
      tests.push_back(test);
    };
    for (const std::int64_t n : axes.n_prompt) add(n, 0);
    for (const std::int64_t n : axes.n_gen)
      for (const std::int64_t n_parallel : axes.n_parallel) add(0, n, n_parallel);
    for (const auto& [p, g] : axes.n_pg) add(p, g);
    more = false;
    for (std::size_t l = loops.size(); l-- > 0;) {
      if (++at[l] < loops[l].size) {
        more = true;
        break;
      }
      at[l] = 0;
    }
  }
  return tests;
}

}  // namespace dodeca::bench
