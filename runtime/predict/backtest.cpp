#include "runtime/predict/backtest.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "runtime/load/json_fields.hpp"
#include "runtime/predict/catalogue.hpp"

namespace dodeca::runtime::predict {
namespace {

constexpr double kF16 = 2;  // bytes of a cached value: what those results had, or near it

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

// What is known of a published result before its speed is looked at.
struct Facts {
  const Published* published = nullptr;
  double bytes_s = 0;  // seconds for the bytes of a token, weights and cache
  double attention =
      0;  // products over the cache per second and cycle of a core, or share of a card's peak: its divisor
  double prompt_cycles = 0;  // products that processors do for a prompt's token over cores and clock
  double pass_bytes = 0;     // of all routed experts
};

Facts facts_of(const Published& p, const ActiveWeights& w) {
  const MachineSpec machine = find_machine(p.machine);
  const auto depth = static_cast<double>(p.depth);
  const double routed = w.routed * p.routed_bits / 8, other = w.other * p.other_bits / 8 + w.routers * 4,
               cache = depth * w.cache_values * kF16, read = machine.read_bandwidth(machine.n_cores()),
               cycles = machine.n_cores() * machine.clock_ghz.value * 1e9;
  Facts facts{.published = &p, .pass_bytes = w.all_routed * p.routed_bits / 8};
  if (p.card.empty()) {
    facts.prompt_cycles = (w.routed + w.other) / cycles;
    facts.bytes_s = (routed + other + cache) / read;
    facts.attention = depth * w.attention_macs / cycles;
  } else {
    const CardSpec card = find_card(p.card);
    facts.prompt_cycles = w.routed / cycles;
    facts.bytes_s = routed / read + (other + cache) / (1e9 * card.gb_per_s.value * card.read_share.value);
    facts.attention = 2 * depth * w.attention_macs / (1e12 * card.f16_tflops.value);
  }
  return facts;
}

// The median over the results but for one, for which `use` gives something.
template <class Use>
std::optional<double> median_without(const std::vector<Facts>& all, const Facts& without, Use&& use) {
  std::vector<double> values;
  for (const Facts& facts : all) {
    if (&facts == &without) continue;
    if (const std::optional<double> value = use(facts)) values.push_back(*value);
  }
  if (values.size() < 2) return std::nullopt;
  return median(std::move(values));
}

// What the engines need beside the bytes, each time by the other results.
class EngineModel {
 public:
  explicit EngineModel(const std::vector<Facts>& all) : all_(all) {}

  // Seconds of a token beside its bytes, at the beginning of a context.
  std::optional<double> rest(const Facts& of) const {
    return median_without(all_, of, [&](const Facts& f) -> std::optional<double> {
      if (f.published->depth >= kDeep || f.published->card.empty() != of.published->card.empty()) return std::nullopt;
      return 1 / f.published->tokens_per_s - f.bytes_s;
    });
  }
  // Seconds per unit of Facts::attention: from pairs of one machine and model, short and deep.
  std::optional<double> attention(const Facts& of) const {
    return median_without(all_, of, [&](const Facts& f) -> std::optional<double> {
      if (f.published->depth < kDeep || f.published->card.empty() != of.published->card.empty()) return std::nullopt;
      for (const Facts& shallow : all_) {
        const Published &a = *shallow.published, &b = *f.published;
        if (a.depth != 0 || a.machine != b.machine || a.card != b.card || a.types != b.types) continue;
        return (1 / b.tokens_per_s - f.bytes_s - 1 / a.tokens_per_s + shallow.bytes_s) / f.attention;
      }
      return std::nullopt;
    });
  }
  // Products per cycle and core of a prompt, of which processors do all, or the routed experts' beside a card.
  std::optional<double> prompt(const Facts& of) const {
    return median_without(all_, of, [&](const Facts& f) -> std::optional<double> {
      const Published& p = *f.published;
      if (p.prompt_per_s == 0 || p.prompt_streams || p.card.empty() != of.published->card.empty()) return std::nullopt;
      return f.published->prompt_per_s * f.prompt_cycles;
    });
  }
  // Bytes of experts per second of a pass in which they come to a card.
  std::optional<double> streaming(const Facts& of) const {
    return median_without(all_, of, [&](const Facts& f) -> std::optional<double> {
      const Published& p = *f.published;
      if (p.prompt_per_s == 0 || !p.prompt_streams) return std::nullopt;
      return f.pass_bytes * p.prompt_per_s / static_cast<double>(p.prompt_rows);
    });
  }
  std::optional<double> prompt_per_s(const Facts& of) const {
    if (!of.published->prompt_streams) {
      const std::optional<double> products = prompt(of);
      return products ? std::optional(*products / of.prompt_cycles) : std::nullopt;
    }
    const std::optional<double> bytes = streaming(of);
    return bytes ? std::optional(*bytes / of.pass_bytes * static_cast<double>(of.published->prompt_rows))
                 : std::nullopt;
  }

  static constexpr std::int64_t kDeep = 4096;

 private:
  const std::vector<Facts>& all_;
};

void count(double error, const std::string& id, Errors& errors) {
  errors.mean = (errors.mean * errors.n + std::abs(error)) / (errors.n + 1);
  ++errors.n;
  if (std::abs(error) <= std::abs(errors.worst)) return;
  errors.worst = error;
  errors.worst_id = id;
}

}  // namespace

std::vector<Published> parse_published(std::string_view text, std::string_view what) {
  const JsonFields fields(what, "holds no published results");
  const Json json = parse_json(text, what);
  fields.check_root(json);
  fields.check_keys(json, {"dodeca_results", "results"});
  if (const std::int64_t version = fields.integer(fields.member(json, "dodeca_results"), "dodeca_results");
      version != 1)
    throw fields.bad(fmt::format("\"dodeca_results\" is {}, not 1", version));
  const Json& list = fields.member(json, "results");
  if (!list.is_array()) throw fields.bad("\"results\" is no list");
  std::vector<Published> all;
  for (const Json& entry : list) {
    fields.check_keys(fields.object(entry, "results"),
                      {"id", "engine", "machine", "card", "shape", "types", "routed_bits", "other_bits", "recipe",
                       "depth", "tokens_per_s", "prompt_tokens_per_s", "prompt_rows", "prompt_experts", "source"});
    const auto text_of = [&](const char* key) { return fields.text(fields.member(entry, key), key); };
    const auto number = [&](const char* key) {
      const Json& value = fields.member(entry, key);
      if (!value.is_number() || !(value.get<double>() > 0)) throw fields.bad(fmt::format("\"{}\" is not above 0", key));
      return value.get<double>();
    };
    const bool prompt = entry.contains("prompt_tokens_per_s"), card = entry.contains("card");
    if ((prompt && card) != entry.contains("prompt_experts"))
      throw fields.bad(card && prompt ? "\"prompt_experts\" is missing: where a prompt beside a card had its experts"
                                      : "\"prompt_experts\" is there without a prompt beside a card");
    const std::string experts = prompt && card ? text_of("prompt_experts") : "processors";
    if (experts != "processors" && experts != "card")
      throw fields.bad(fmt::format("\"prompt_experts\" is \"{}\", neither processors nor card", experts));
    if ((experts == "card") != entry.contains("prompt_rows"))
      throw fields.bad("\"prompt_rows\" goes with \"prompt_experts\": \"card\"");
    const std::int64_t rows = experts == "card" ? fields.integer(entry["prompt_rows"], "prompt_rows") : 0;
    if (experts == "card" && rows < 1) throw fields.bad("\"prompt_rows\" is not above 0");
    all.push_back({.id = text_of("id"),
                   .engine = text_of("engine"),
                   .machine = text_of("machine"),
                   .card = card ? text_of("card") : "",
                   .shape = text_of("shape"),
                   .types = text_of("types"),
                   .recipe = text_of("recipe"),
                   .routed_bits = number("routed_bits"),
                   .other_bits = number("other_bits"),
                   .depth = fields.integer(fields.member(entry, "depth"), "depth"),
                   .tokens_per_s = number("tokens_per_s"),
                   .prompt_per_s = prompt ? number("prompt_tokens_per_s") : 0,
                   .prompt_streams = experts == "card",
                   .prompt_rows = rows,
                   .source = text_of("source")});
  }
  return all;
}

ActiveWeights active_weights(const Plan& plan) {
  const ModelConfig& c = plan.config;
  ActiveWeights active;
  for (const WeightPlan& w : plan.weights) {
    if (w.layout == nullptr) continue;  // vectors and embeddings
    const auto n = static_cast<double>(w.n_in * w.n_out * w.n_slices);
    if (is_routed(w.id.role)) {
      active.all_routed += n;
      active.routed += n * static_cast<double>(c.n_experts_per_tok) / static_cast<double>(c.n_routed_experts);
    } else {
      (w.id.role == WeightRole::kRouter ? active.routers : active.other) += n;
    }
  }
  const auto layers = static_cast<double>(c.n_layers);
  active.attention_macs = layers * static_cast<double>(c.n_heads * (2 * c.kv_lora_rank + c.qk_rope_head_dim));
  active.cache_values = layers * static_cast<double>(c.kv_lora_rank + c.qk_rope_head_dim);
  return active;
}

Backtest backtest(const std::vector<Published>& all, const std::function<Plan(const std::string& shape)>& plan_of) {
  std::map<std::string, ActiveWeights> shapes;
  std::vector<Facts> facts;
  for (const Published& p : all) {
    if (!shapes.contains(p.shape)) shapes[p.shape] = active_weights(plan_of(p.shape));
    facts.push_back(facts_of(p, shapes.at(p.shape)));
  }
  const EngineModel model(facts);
  Backtest test;
  for (const Facts& f : facts) {
    const Published& p = *f.published;
    Tested tested{.published = p, .bytes_ms = 1e3 * f.bytes_s, .rest_ms = 1e3 * (1 / p.tokens_per_s - f.bytes_s)};
    if (const std::optional<double> rest = model.rest(f)) {
      const std::optional<double> attention = p.depth >= EngineModel::kDeep ? model.attention(f) : 0.0;
      if (attention) tested.predicted = 1 / (f.bytes_s + *rest + f.attention * *attention);
    }
    if (p.prompt_per_s > 0) tested.prompt = model.prompt_per_s(f);
    if (tested.predicted) count(tested.error(), p.id, test.tokens);
    if (tested.prompt) count(tested.prompt_error(), p.id, p.card.empty() ? test.prompts : test.card_prompts);
    test.results.push_back(std::move(tested));
  }
  return test;
}

}  // namespace dodeca::runtime::predict
