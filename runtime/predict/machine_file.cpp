#include "runtime/predict/machine_file.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "runtime/base/printable.hpp"
#include "runtime/load/json_fields.hpp"

namespace dodeca::runtime::predict {
namespace {

constexpr std::uint64_t kMaxBytes = 1 << 20;
constexpr int kMostLikes = 8;  // entries that are like each other, one after the other
constexpr std::size_t kMostText = 512;

constexpr FigureKey<MachineSpec> kMachineKeys[] = {
    {"sockets", "sockets", &MachineSpec::sockets, 1, 8, true},
    {"nodes_per_socket", "memory nodes of a socket", &MachineSpec::nodes_per_socket, 1, 16, true},
    {"complexes", "core complexes of a socket", &MachineSpec::complexes, 1, 128, true},
    {"cores_per_complex", "cores of a complex", &MachineSpec::cores_per_complex, 1, 512, true},
    {"clock_ghz", "clock, GHz", &MachineSpec::clock_ghz, 0.1, 10},
    {"channels", "memory channels of a socket", &MachineSpec::channels, 1, 64, true},
    {"mt_per_s", "MT/s of the memory", &MachineSpec::mt_per_s, 100, 50000},
    {"read_share", "share of the bandwidth that is read", &MachineSpec::read_share, 0.01, 1},
    {"complex_gb_s", "link of a complex, GB/s", &MachineSpec::complex_gb_s, 0.1, 100000},
    {"core_gb_s", "one core's reading, GB/s", &MachineSpec::core_gb_s, 0.1, 10000},
    {"link_count", "links between two sockets", &MachineSpec::link_count, 1, 64, true, true},
    {"link_gt_s", "GT/s of a link's lane", &MachineSpec::link_gt_s, 0.1, 1000, false, true},
    {"link_lanes", "lanes of a link", &MachineSpec::link_lanes, 1, 64, true, true},
    {"link_share", "share of the links that is read", &MachineSpec::link_share, 0.01, 1, false, true},
    {"socket_link_gb_s", "GB/s read over all links", &MachineSpec::socket_link_gb_s, 0.1, 100000, false, true},
    {"near_ns", "cache line within a complex, ns", &MachineSpec::near_ns, 0.1, 100000},
    {"far_ns", "cache line between complexes, ns", &MachineSpec::far_ns, 0.1, 100000},
    {"socket_ns", "cache line between sockets, ns", &MachineSpec::socket_ns, 0.1, 100000, false, true},
    {"tdp_watts", "TDP of a socket, W", &MachineSpec::tdp_watts, 0.1, 10000, false, true},
    {"memory_watts", "a channel's modules, W", &MachineSpec::memory_watts, 0.01, 1000, false, true},
    {"memory_gib", "GiB of memory", &MachineSpec::memory_gib, 0.01, 1e6, false, true},
    {"read_gb_s", "GB/s that all cores read", &MachineSpec::read_gb_s, 0.1, 100000, false, true},
    {"barrier_us", "barrier of all cores, us", &MachineSpec::barrier_us, 0.001, 100000, false, true},
};

constexpr FigureKey<CardSpec> kCardKeys[] = {
    {"memory_gib", "GiB of memory", &CardSpec::memory_gib, 0.1, 10000},
    {"multiprocessors", "multiprocessors", &CardSpec::multiprocessors, 1, 10000, true},
    {"gb_per_s", "bandwidth of its memory, GB/s", &CardSpec::gb_per_s, 1, 1e6},
    {"read_share", "share of it that products read", &CardSpec::read_share, 0.01, 1},
    {"f16_tflops", "F16 products, TFLOPS", &CardSpec::f16_tflops, 0.1, 1e6},
    {"compute_share", "share of them that is reached", &CardSpec::compute_share, 0.001, 1},
    {"int8_tops", "8-bit products, TOPS", &CardSpec::int8_tops, 0.1, 1e6, false, true},
    {"int8_share", "share of them that is reached", &CardSpec::int8_share, 0.001, 1, false, true},
    {"link_gb_s", "link in one direction, GB/s", &CardSpec::link_gb_s, 0.1, 10000},
    {"link_share", "share of the link that copies reach", &CardSpec::link_share, 0.01, 1},
    {"round_trip_us", "round trip of two flags, us", &CardSpec::round_trip_us, 0.01, 1e6},
    {"launch_us", "from kernel to kernel in a graph, us", &CardSpec::launch_us, 0.001, 1e5},
    {"tdp_watts", "TDP, W", &CardSpec::tdp_watts, 1, 10000, false, true},
};

constexpr Evidence kEvidence[] = {Evidence::kVendor, Evidence::kMeasured, Evidence::kPublished, Evidence::kComputed,
                                  Evidence::kAssumed};
std::string evidence_names() {
  std::string names;
  for (const Evidence evidence : kEvidence) names += (names.empty() ? "" : ", ") + std::string(name_of(evidence));
  return names;
}

class Reader {
 public:
  Reader(std::string_view what, std::string_view verdict) : what_(what), fields_(what_, verdict) {}

  const JsonFields& fields() const { return fields_; }

  double number(const Json& value, std::string_view name, double min, double max, bool whole = false) const {
    if (!value.is_number()) throw fields_.bad(fmt::format("\"{}\" is no number", printable(name, 64)));
    const auto x = value.get<double>();
    if (!std::isfinite(x) || x < min || x > max || (whole && x != std::floor(x)))
      throw fields_.bad(fmt::format("\"{}\" is {:g}, not {}{:g} to {:g}", printable(name, 64), x,
                                    whole ? "whole and " : "", min, max));
    return x;
  }
  std::string line(const Json& value, std::string_view name) const {
    std::string text = fields_.text(value, name);
    if (text.empty() || text.size() > kMostText)
      throw fields_.bad(
          fmt::format("\"{}\" has {} characters, not 1 to {}", printable(name, 64), text.size(), kMostText));
    return printable(text);
  }
  // The evidence of an object, whose other keys are `beside`.
  void read_evidence(const Json& object, std::string_view name, std::string_view beside, Figure& figure) const {
    figure.evidence = Evidence::kUnknown;
    for (const auto& [key, value] : object.items()) {
      if (key == beside) continue;
      const auto* kind = std::ranges::find(kEvidence, std::string_view(key), [](Evidence e) { return name_of(e); });
      if (kind == std::end(kEvidence))
        throw fields_.bad(fmt::format("\"{}\" has the unknown key \"{}\" (known: {}{}{})", name, printable(key, 64),
                                      beside, beside.empty() ? "" : ", ", evidence_names()));
      if (figure.known()) throw fields_.bad(fmt::format("\"{}\" has two kinds of evidence", name));
      figure.evidence = *kind;
      figure.source = line(value, fmt::format("{}.{}", name, key));
    }
    if (!figure.known())
      throw fields_.bad(fmt::format("\"{}\" does not say where it comes from: a line of text under one of the keys {}",
                                    name, evidence_names()));
  }
  template <class Spec>
  void read_figures(const Json& json, std::span<const FigureKey<Spec>> keys, Spec& spec) const {
    for (const FigureKey<Spec>& key : keys) {
      const auto found = json.find(key.key);
      if (found == json.end()) {
        if (!key.optional && !(spec.*key.figure).known()) throw fields_.bad(fmt::format("\"{}\" is missing", key.key));
        continue;
      }
      Figure figure;
      const Json& object = fields_.object(*found, key.key);
      figure.value = number(fields_.member(object, "value"), key.key, key.min, key.max, key.whole);
      read_evidence(object, key.key, "value", figure);
      spec.*key.figure = figure;
    }
  }
  // Keys of the file that nothing reads.
  template <class Spec>
  void check_keys(const Json& json, std::span<const FigureKey<Spec>> keys,
                  std::initializer_list<std::string_view> others) const {
    for (const auto& [name, value] : json.items()) {
      if (std::ranges::find(others, name) != others.end()) continue;
      if (std::ranges::find(keys, name, &FigureKey<Spec>::key) != keys.end()) continue;
      throw fields_.bad(fmt::format("it has the unknown key \"{}\"", printable(name, 64)));
    }
  }
  void check_version(const Json& json, const char* key) const {
    fields_.check_root(json);
    const std::int64_t version = fields_.integer(fields_.member(json, key), key);
    if (version != 1) throw fields_.bad(fmt::format("\"{}\" is {}, not 1", key, version));
  }

 private:
  std::string what_;
  JsonFields fields_;
};

double rate(const Reader& reader, const Json& json, std::string_view type, const char* key) {
  return reader.number(reader.fields().member(json, key), fmt::format("{}.{}", type, key), 1e-4, 1e6);
}

KernelRates::Attention attention_of(const Reader& reader, const Json& json, std::string_view name) {
  reader.fields().check_keys(reader.fields().object(json, name), {"load_us", "attend_us", "make_us", "prompt_us"});
  return {.load = rate(reader, json, name, "load_us"),
          .attend = rate(reader, json, name, "attend_us"),
          .make = rate(reader, json, name, "make_us"),
          .prompt = rate(reader, json, name, "prompt_us")};
}

KernelRates rates_of(const Json& json, std::string_view what) {
  const Reader reader(what, "has no kernels' rates");
  const JsonFields& fields = reader.fields();
  reader.check_version(json, "dodeca_rates");
  fields.check_keys(json, {"dodeca_rates", "name", "clock_ghz", "source", "types", "attention"});
  KernelRates rates{.name = reader.line(fields.member(json, "name"), "name"),
                    .clock_ghz = reader.number(fields.member(json, "clock_ghz"), "clock_ghz", 0.1, 10)};
  reader.read_evidence(fields.object(fields.member(json, "source"), "source"), "source", "", rates.origin);
  for (const auto& [name, value] : fields.object(fields.member(json, "types"), "types").items()) {
    const quant::TypeInfo* type = quant::find_type(std::string_view(name));
    if (type == nullptr || !type->decodable)
      throw fields.bad(fmt::format("nothing multiplies '{}'", printable(name, 64)));
    fields.check_keys(fields.object(value, name), {"one_row", "eight_rows", "many_rows"});
    rates.types[type->dtype] = {.one_row = rate(reader, value, name, "one_row"),
                                .eight_rows = rate(reader, value, name, "eight_rows"),
                                .many_rows = rate(reader, value, name, "many_rows")};
  }
  const Json& attention = fields.object(fields.member(json, "attention"), "attention");
  fields.check_keys(attention, {"words", "bytes"});
  rates.words = attention_of(reader, fields.member(attention, "words"), "words");
  rates.bytes = attention_of(reader, fields.member(attention, "bytes"), "bytes");
  return rates;
}

// The entry that a file is like, as JSON; throws where there is none.
template <class Spec, class Parse>
Spec base_of(const Reader& reader, const Json& json, const EntryText& entries, Parse&& parse) {
  const auto like = json.find("like");
  if (like == json.end()) return {};
  const std::string name = reader.line(*like, "like");
  const std::string_view text = entries ? entries(name) : std::string_view();
  if (text.empty()) throw reader.fields().bad(fmt::format("\"like\": no entry is called '{}'", printable(name, 64)));
  return parse(text, name);
}

void read_teams(const Reader& reader, const Json& json, std::vector<MeasuredTeam>& teams) {
  const auto found = json.find("teams");
  if (found == json.end()) return;
  if (!found->is_array() || found->empty()) throw reader.fields().bad("\"teams\" is no list of measured teams");
  teams.clear();
  for (const Json& value : *found) {
    const JsonFields& fields = reader.fields();
    fields.check_keys(fields.object(value, "teams"), {"threads", "read_gb_s", "barrier_us"});
    const auto member = [&](const char* key, double min, double max, bool whole = false) {
      return reader.number(fields.member(value, key), fmt::format("teams.{}", key), min, max, whole);
    };
    const MeasuredTeam team{.n_threads = static_cast<int>(member("threads", 1, 4096, true)),
                            .read_gb_s = member("read_gb_s", 0.1, 100000),
                            .barrier_us = member("barrier_us", 0, 100000)};
    if (!teams.empty() && team.n_threads <= teams.back().n_threads)
      throw fields.bad(fmt::format("\"teams\" has {} threads behind {}", team.n_threads, teams.back().n_threads));
    teams.push_back(team);
  }
}

MachineSpec machine_of(const Json& json, std::string_view what, const Entries& entries, int depth) {
  const Reader reader(what, "is no machine");
  const JsonFields& fields = reader.fields();
  reader.check_version(json, "dodeca_machine");
  if (depth > kMostLikes) throw fields.bad("\"like\" goes round in a circle");
  reader.check_keys<MachineSpec>(json, kMachineKeys,
                                 {"dodeca_machine", "name", "title", "like", "isa", "rates", "teams"});
  auto spec = base_of<MachineSpec>(reader, json, entries.machines, [&](std::string_view text, std::string_view name) {
    return machine_of(parse_json(text, name), name, entries, depth + 1);
  });
  spec.name = reader.line(fields.member(json, "name"), "name");
  spec.title = reader.line(fields.member(json, "title"), "title");
  if (const auto isa = json.find("isa"); isa != json.end()) {
    const std::string name = reader.line(*isa, "isa");
    const std::optional<cpu::Isa> level = cpu::isa_from_name(name);
    if (!level) throw fields.bad(fmt::format("\"isa\": '{}' is no instruction-set level", printable(name, 64)));
    spec.isa = *level;
  } else if (!json.contains("like")) {
    throw fields.bad("\"isa\" is missing");
  }
  if (const auto rates = json.find("rates"); rates != json.end()) {
    if (rates->is_object()) {
      spec.rates = rates_of(*rates, what);
    } else {
      const std::string name = reader.line(*rates, "rates");
      const std::string_view text = entries.rates ? entries.rates(name) : std::string_view();
      if (text.empty()) throw fields.bad(fmt::format("\"rates\": no entry is called '{}'", printable(name, 64)));
      spec.rates = parse_rates(text, name);
    }
  } else if (!json.contains("like")) {
    throw fields.bad("\"rates\" is missing");
  }
  reader.read_figures<MachineSpec>(json, kMachineKeys, spec);
  read_teams(reader, json, spec.teams);
  // With these four or the one, a machine of two sockets can be made of any.
  for (const Figure* figure : {&spec.link_count, &spec.link_gt_s, &spec.link_lanes, &spec.link_share}) {
    if (!figure->known() && !spec.socket_link_gb_s.known())
      throw fields.bad(
          "it says nothing about links between sockets: \"socket_link_gb_s\", or \"link_count\", \"link_gt_s\", "
          "\"link_lanes\" and \"link_share\"");
  }
  const auto n_nodes = static_cast<std::int64_t>(spec.nodes_per_socket.value);
  if (static_cast<std::int64_t>(spec.complexes.value * spec.cores_per_complex.value) < n_nodes)
    throw fields.bad(fmt::format("\"nodes_per_socket\" is {}, more than a socket has cores", n_nodes));
  return spec;
}

CardSpec card_of(const Json& json, std::string_view what, const Entries& entries, int depth) {
  const Reader reader(what, "is no card");
  reader.check_version(json, "dodeca_card");
  if (depth > kMostLikes) throw reader.fields().bad("\"like\" goes round in a circle");
  reader.check_keys<CardSpec>(json, kCardKeys, {"dodeca_card", "name", "title", "like"});
  auto spec = base_of<CardSpec>(reader, json, entries.cards, [&](std::string_view text, std::string_view name) {
    return card_of(parse_json(text, name), name, entries, depth + 1);
  });
  spec.name = reader.line(reader.fields().member(json, "name"), "name");
  spec.title = reader.line(reader.fields().member(json, "title"), "title");
  reader.read_figures<CardSpec>(json, kCardKeys, spec);
  return spec;
}

template <class Spec>
void append_figures(Json& json, std::span<const FigureKey<Spec>> keys, const Spec& spec) {
  for (const FigureKey<Spec>& key : keys) {
    const Figure& figure = spec.*key.figure;
    if (figure.known())
      append_key(json, std::string(key.key),
                 {{"value", figure.value}, {std::string(name_of(figure.evidence)), figure.source}});
  }
}

Json attention_json(const KernelRates::Attention& a) {
  return {{"load_us", a.load}, {"attend_us", a.attend}, {"make_us", a.make}, {"prompt_us", a.prompt}};
}

Json rates_json(const KernelRates& rates) {
  Json json = {{"dodeca_rates", 1},
               {"name", rates.name},
               {"clock_ghz", rates.clock_ghz},
               {"source", {{std::string(name_of(rates.origin.evidence)), rates.origin.source}}},
               {"attention", {{"words", attention_json(rates.words)}, {"bytes", attention_json(rates.bytes)}}},
               {"types", Json::object()}};
  for (const auto& [dtype, type] : rates.types)
    json["types"][std::string(quant::name_of(dtype))] = {
        {"one_row", type.one_row}, {"eight_rows", type.eight_rows}, {"many_rows", type.many_rows}};
  return json;
}

}  // namespace

std::span<const FigureKey<MachineSpec>> machine_figures() { return kMachineKeys; }
std::span<const FigureKey<CardSpec>> card_figures() { return kCardKeys; }

MachineSpec parse_machine(std::string_view text, std::string_view what, const Entries& entries) {
  return machine_of(parse_json(text, what), what, entries, 0);
}
CardSpec parse_card(std::string_view text, std::string_view what, const Entries& entries) {
  return card_of(parse_json(text, what), what, entries, 0);
}
KernelRates parse_rates(std::string_view text, std::string_view what) { return rates_of(parse_json(text, what), what); }

MachineSpec read_machine(const std::filesystem::path& path, const Entries& entries) {
  return machine_of(read_json(path, kMaxBytes), path.string(), entries, 0);
}
CardSpec read_card(const std::filesystem::path& path, const Entries& entries) {
  return card_of(read_json(path, kMaxBytes), path.string(), entries, 0);
}

void write_machine(const MachineSpec& machine, const std::filesystem::path& path) {
  Json json = {
      {"dodeca_machine", 1}, {"name", machine.name}, {"title", machine.title}, {"isa", cpu::name_of(machine.isa)}};
  append_figures<MachineSpec>(json, kMachineKeys, machine);
  Json teams = Json::array();
  for (const MeasuredTeam& team : machine.teams)
    teams.push_back({{"threads", team.n_threads}, {"read_gb_s", team.read_gb_s}, {"barrier_us", team.barrier_us}});
  if (!teams.empty()) append_key(json, "teams", std::move(teams));
  append_key(json, "rates", rates_json(machine.rates));
  write_json(json, path);
}

void write_card(const CardSpec& card, const std::filesystem::path& path) {
  Json json = {{"dodeca_card", 1}, {"name", card.name}, {"title", card.title}};
  append_figures<CardSpec>(json, kCardKeys, card);
  write_json(json, path);
}

}  // namespace dodeca::runtime::predict
