#include "bench/limit_lines.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace dodeca::bench {
namespace {

// Of the bandwidth limit: what an extrapolation may exceed it by, since both are measured.
constexpr double kMostPercent = 105;

std::string threads_text(int n) { return fmt::format("{} thread{}", n, n == 1 ? "" : "s"); }

// What a token takes beyond the time of its bytes: barriers, small operations, attention's arithmetic.
std::string overhead_text(const Result& r) {
  const double token_ms = 1e3 / r.mean_tps(), bytes_ms = 1e3 * r.bytes_per_token / r.read_bandwidth;
  return fmt::format("; overhead {:.2f} ms of {:.2f} ms per token ({:.1f} %)", token_ms - bytes_ms, token_ms,
                     100 * (token_ms - bytes_ms) / token_ms);
}

// The first result of each number of threads for which `measured` holds.
template <class Measured>
std::vector<const Result*> one_per_team(const std::vector<Result>& results, const Measured& measured) {
  std::vector<const Result*> firsts;
  for (const Result& r : results) {
    const bool known = std::any_of(firsts.begin(), firsts.end(),
                                   [&](const Result* first) { return first->test.n_threads == r.test.n_threads; });
    if (measured(r) && !known) firsts.push_back(&r);
  }
  return firsts;
}

}  // namespace

std::string memory_lines(const std::vector<Result>& results) {
  std::string text;
  for (const Result* r : one_per_team(results, [](const Result& r) { return r.read_bandwidth > 0; }))
    text += fmt::format("{}memory read bandwidth: {:.2f} GB/s measured with {}\n", text.empty() ? "\n" : "",
                        r->read_bandwidth / 1e9, threads_text(r->test.n_threads));
  for (const Result& r : results) {
    if (r.bytes_per_token <= 0) continue;
    text += r.test.label() + ": ";
    if (r.test.n_parallel > 1)
      text += fmt::format("{:.1f} experts touched per layer (even routing: {:.1f} of {}), ", r.experts_touched,
                          r.experts_expected, r.n_experts);
    text += fmt::format("{:.3f} GB per token, {:.2f} GB/s", r.bytes_per_token / 1e9, r.bytes_per_second() / 1e9);
    if (r.read_bandwidth > 0) {
      text += fmt::format(", {:.1f} % of the bandwidth limit ({:.2f} t/s)", r.bandwidth_percent(),
                          r.read_bandwidth / r.bytes_per_token);
      if (r.model_size < r.cache_bytes)
        text += fmt::format("; the weights fit in {:.0f} MB of cache, so memory does not bound this",
                            static_cast<double>(r.cache_bytes) / 1e6);
      else
        text += overhead_text(r);
    }
    text += '\n';
  }
  return text;
}

std::string arithmetic_lines(const std::vector<Result>& results) {
  std::string text;
  for (const Result* r : one_per_team(results, [](const Result& r) { return r.peak.sum() > 0; }))
    text +=
        fmt::format("{}arithmetic peak: int8 {:.0f}, f32 {:.0f} GMAC/s measured in registers with {}\n",
                    text.empty() ? "\n" : "", r->peak.int8 / 1e9, r->peak.f32 / 1e9, threads_text(r->test.n_threads));
  for (const Result& r : results) {
    if (const double limit = r.test.n_depth > 0 && r.attention_macs.sum() > 0 ? r.token_limit_seconds() : 0;
        limit > 0) {
      const double bytes_ms = 1e3 * r.bytes_per_token / r.read_bandwidth;
      text += fmt::format(
          "{}: {:.3f} GMAC per token in attention; limit {:.2f} ms for bytes + {:.2f} ms for attention, {:.1f} % of "
          "it\n",
          r.test.label(), r.attention_macs.sum() / 1e9, bytes_ms, 1e3 * limit - bytes_ms, 100 * limit * r.mean_tps());
    }
    if (r.macs.sum() <= 0) continue;
    text += fmt::format("{}: {:.3f} GMAC per token, {:.1f} GMAC/s", r.test.label(),
                        r.macs.sum() / 1e9 / static_cast<double>(r.test.n_prompt), r.macs_per_second() / 1e9);
    if (r.peak.sum() > 0)
      text += fmt::format(", {:.1f} % of the arithmetic limit ({:.1f} t/s)", r.peak_percent(),
                          100 * r.mean_tps() / r.peak_percent());
    text += '\n';
  }
  return text;
}

std::string energy_lines(const std::vector<Result>& results) {
  std::string text;
  for (const Result& r : results) {
    if (r.joules_per_token <= 0) continue;
    text += fmt::format("{}{}: {:.4g} J per token ({:.4g} W)\n", text.empty() ? "\n" : "", r.test.label(),
                        r.joules_per_token, r.joules_per_token * r.mean_tps());
  }
  if (text.empty() && !results.empty() && !results.front().no_joules.empty())
    text = fmt::format("\nenergy: n/a: {}\n", results.front().no_joules);
  return text;
}

std::string hybrid_lines(const std::vector<Result>& results) {
  std::string text;
  for (const Result& r : results) {
    if (!r.parts) continue;
    const HybridParts& p = *r.parts;
    const double token_ns = 1e9 * static_cast<double>(r.test.n_parallel) / r.mean_tps();
    text += fmt::format(
        "{}{}: the card alone {:.2f} ms a pass, the experts alone {:.2f} ms, {:.2f} ms of it side by side: {:.2f} ms "
        "at "
        "best ({:.2f} t/s), {:.1f} % of that rate reached\n",
        text.empty() ? "\n" : "", r.test.label(), p.device_ns / 1e6, p.experts_ns / 1e6, p.beside_ns() / 1e6,
        p.limit_ns() / 1e6, 1e9 * static_cast<double>(r.test.n_parallel) / p.limit_ns(), 100 * p.limit_ns() / token_ns);
    if (r.hot_percent >= 0)
      text += fmt::format("{}: {:.1f} % of the chosen experts were on the card\n", r.test.label(), r.hot_percent);
  }
  return text;
}

std::string streaming_lines(const std::vector<Result>& results) {
  std::string text;
  for (const Result& r : results) {
    if (r.streamed_percent < 0) continue;
    text += fmt::format(
        "{}{}: {:.1f} % of the chosen experts' rows were computed on the card, to which {:.2f} GB/s streamed\n",
        text.empty() ? "\n" : "", r.test.label(), r.streamed_percent, r.streamed_bytes_per_s / 1e9);
  }
  return text;
}

std::string whole_model_lines(const std::vector<Result>& results) {
  std::string text;
  for (const Result& r : results) {
    if (!r.whole) continue;
    const Extrapolation& e = *r.whole;
    if (text.empty())
      text += fmt::format("\nextrapolated from {} dense and {} MoE layers to the whole model's {} and {}:\n",
                          e.held.dense, e.held.moe, e.whole.dense, e.whole.moe);
    text += r.test.label() + ": ";
    if (!e.plausible()) {
      text += "the machine was too disturbed, its parts alone took longer than all together\n";
      continue;
    }
    const double percent = r.read_bandwidth > 0 ? 100 * e.bytes_per_token * r.whole_tps() / r.read_bandwidth : 0;
    if (percent > kMostPercent) {
      text += fmt::format("the machine was too disturbed, the parts make {:.0f} % of the bandwidth limit\n", percent);
      continue;
    }
    const auto tokens = static_cast<double>(r.test.n_tokens());
    const auto ms = [&](double ns) { return fmt::format("{:.4g} ms", ns / tokens / 1e6); };
    text += fmt::format("{} x {} + {} x {} + output {} = {} per token, {:.2f} t/s", e.whole.dense, ms(e.dense_ns),
                        e.whole.moe, ms(e.moe_ns), ms(e.output_ns), ms(e.whole_ns()), r.whole_tps());
    if (e.bytes_per_token > 0) {
      text += fmt::format("; {:.2f} GB per token", e.bytes_per_token / 1e9);
      if (r.read_bandwidth > 0) text += fmt::format(", {:.1f} % of the bandwidth limit", percent);
    }
    text += '\n';
  }
  return text;
}

}  // namespace dodeca::bench
