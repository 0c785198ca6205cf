#include "bench/report.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "bench/limit_lines.hpp"
#include "bench/statistics.hpp"
#include "bench/trace_report.hpp"

namespace dodeca::bench {
namespace {

using Json = nlohmann::ordered_json;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

struct Field {
  std::string name;
  Json value;
};

Json inert_value(const Test& test, std::size_t k) {
  const std::string& text = test.inert[k];
  switch (kInertAxes[k].kind) {
    case InertAxis::Kind::kText:
      return text;
    case InertAxis::Kind::kBoolean:
      return text != "0";
    case InertAxis::Kind::kInteger:
      return std::stoll(text);
  }
  return nullptr;
}

// As llama-bench names back ends.
std::string backend_of(const Result& r) {
  return r.card.empty() ? "CPU" : r.card == "emulation" ? "emulation,CPU" : "CUDA,CPU";
}

// llama-bench's fields in its order.
std::vector<Field> fields_of(const Result& r, const Environment& env) {
  const Test& t = r.test;
  std::vector<Field> out = {
      {"build_commit", env.build_commit},
      {"build_number", env.build_number},
      {"cpu_info", env.cpu_model},
      {"gpu_info", r.card},
      {"backends", backend_of(r)},
      {"model_filename", t.model},
      {"model_type", r.model_type},
      {"model_size", r.model_size},
      {"model_n_params", r.model_n_params},
      {"n_batch", t.n_batch},
      {"n_ubatch", t.n_ubatch},
      {"n_threads", t.n_threads},
  };
  const auto inert = [&](std::initializer_list<Inert> list) {
    for (const Inert k : list) out.push_back({std::string(kInertAxes[k].field), inert_value(t, k)});
  };
  inert({kCpuMask, kCpuStrict, kPoll});
  out.push_back({"type_k", lower(quant::name_of(t.cache_type))});
  out.push_back({"type_v", lower(quant::name_of(t.value_cache_type()))});
  inert({kGpuLayers, kCpuMoe, kSplitMode, kMainGpu, kNoKvOffload, kFlashAttention, kDevices, kTensorSplit,
         kTensorOverrides, kLoadMode, kEmbeddings, kNoOpOffload, kNoHost});
  const std::vector<Field> rest = {
      {"fit_target", 0},
      {"fit_min_ctx", 0},
      {"n_prompt", t.n_prompt},
      {"n_gen", t.n_gen},
      {"n_depth", t.n_depth},
      {"test_time", r.test_time},
      {"avg_ns", static_cast<std::uint64_t>(r.mean_ns())},
      {"stddev_ns", static_cast<std::uint64_t>(r.stddev_ns())},
      {"avg_ts", r.mean_tps()},
      {"stddev_ts", r.stddev_tps()},
  };
  out.insert(out.end(), rest.begin(), rest.end());
  return out;
}

// What dodeca adds; null where it means nothing (prompts) or was not measured.
std::vector<Field> memory_fields(const Result& r) {
  const auto number = [](double value, bool known) { return known ? Json(value) : Json(nullptr); };
  const bool generates = r.bytes_per_token > 0, measured = r.read_bandwidth > 0, multiplies = r.macs.sum() > 0;
  return {
      {"bytes_per_token", generates ? Json(static_cast<std::uint64_t>(r.bytes_per_token)) : Json(nullptr)},
      {"gb_per_s", number(r.bytes_per_second() / 1e9, generates)},
      {"membw_gb_per_s", number(r.read_bandwidth / 1e9, measured)},
      {"membw_percent", number(r.bandwidth_percent(), generates && measured)},
      {"whole_model_ts", number(r.whole_tps(), r.whole && r.whole->plausible())},
      {"n_parallel", r.test.n_parallel},
      {"experts_touched", number(r.experts_touched, generates)},
      {"gmac_per_s", number(r.macs_per_second() / 1e9, multiplies)},
      {"int8_peak_gmac_per_s", number(r.peak.int8 / 1e9, r.peak.int8 > 0)},
      {"f32_peak_gmac_per_s", number(r.peak.f32 / 1e9, r.peak.f32 > 0)},
      {"peak_percent", number(r.peak_percent(), multiplies && r.peak.sum() > 0)},
      {"joules_per_token", number(r.joules_per_token, r.joules_per_token > 0)},
      {"device_ns", number(r.parts ? r.parts->device_ns : 0, r.parts.has_value())},
      {"experts_ns", number(r.parts ? r.parts->experts_ns : 0, r.parts.has_value())},
      {"hybrid_limit_ns", number(r.parts ? r.parts->limit_ns() : 0, r.parts.has_value())},
      {"hot_experts_percent", number(r.hot_percent, r.hot_percent >= 0)},
      {"streamed_percent", number(r.streamed_percent, r.streamed_percent >= 0)},
      {"streamed_gb_per_s", number(r.streamed_bytes_per_s / 1e9, r.streamed_percent >= 0)},
  };
}

Json object_of(const Result& r, const Environment& env) {
  Json object;
  for (const Field& field : fields_of(r, env)) object[field.name] = field.value;
  object["samples_ns"] = r.samples_ns;
  object["samples_ts"] = r.tokens_per_second();
  for (const Field& field : memory_fields(r)) object[field.name] = field.value;
  if (r.drafts) {
    object["drafts"] = {{"drafted", r.drafts->n_drafted},
                        {"accepted", r.drafts->n_accepted},
                        {"experts_touched", r.drafts->experts_touched},
                        {"gain", r.drafts->gain()},
                        {"bound", r.drafts->bound()},
                        {"plain_ns", r.drafts->plain_ns}};
  }
  object["environment"] = {
      {"program", "dodeca"},  {"compiler", env.compiler}, {"isa", env.isa},  {"huge_pages", env.huge_pages},
      {"nodes", env.n_nodes}, {"cores", env.n_cores},     {"seed", env.seed}};
  return object;
}

// A value as text, the way llama-bench writes it in CSV and SQL: booleans as 0 and 1, reals with six digits.
std::string plain(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "1" : "0";
  if (value.is_number_float()) return fmt::format("{:.6f}", value.get<double>());
  if (value.is_null()) return "";
  return value.dump();
}

std::string quoted(const std::string& text, char quote) {
  std::string out(1, quote);
  for (const char c : text) {
    if (c == quote) out += quote;
    out += c;
  }
  return out + quote;
}

std::vector<Field> flat_fields(const Result& r, const Environment& env) {
  std::vector<Field> out = fields_of(r, env);
  for (Field& field : memory_fields(r)) out.push_back(std::move(field));
  return out;
}

class JsonReport : public Report {
 public:
  JsonReport(const Environment& environment, Write write) : env_(environment), write_(std::move(write)) {}
  void begin() override { write_("["); }
  void add(const Result& result) override {
    std::string text = object_of(result, env_).dump(2);
    std::string indented;
    for (const char c : text) {
      indented += c;
      if (c == '\n') indented += "  ";
    }
    write_(fmt::format("{}\n  {}", first_ ? "" : ",", indented));
    first_ = false;
  }
  void end() override { write_("\n]\n"); }

 private:
  Environment env_;
  Write write_;
  bool first_ = true;
};

class JsonlReport : public Report {
 public:
  JsonlReport(const Environment& environment, Write write) : env_(environment), write_(std::move(write)) {}
  void add(const Result& result) override { write_(object_of(result, env_).dump() + "\n"); }

 private:
  Environment env_;
  Write write_;
};

std::string joined_names(const std::vector<Field>& fields, std::string_view separator) {
  std::string out;
  for (const Field& field : fields) out += (out.empty() ? "" : std::string(separator)) + field.name;
  return out;
}

class CsvReport : public Report {
 public:
  CsvReport(const Environment& environment, Write write) : env_(environment), write_(std::move(write)) {}
  void begin() override { write_(joined_names(flat_fields(Result{}, env_), ",") + "\n"); }
  void add(const Result& result) override {
    std::string line;
    for (const Field& field : flat_fields(result, env_))
      line += (line.empty() ? "" : ",") + quoted(plain(field.value), '"');
    write_(line + "\n");
  }

 private:
  Environment env_;
  Write write_;
};

class SqlReport : public Report {
 public:
  SqlReport(const Environment& environment, Write write) : env_(environment), write_(std::move(write)) {}
  void begin() override {
    std::string columns;
    for (const Field& field : flat_fields(example(), env_)) {
      const char* type = field.value.is_string() ? "TEXT" : field.value.is_number_float() ? "REAL" : "INTEGER";
      columns += fmt::format("{}  {} {}", columns.empty() ? "" : ",\n", field.name, type);
    }
    write_(fmt::format("CREATE TABLE IF NOT EXISTS llama_bench (\n{}\n);\n\n", columns));
  }
  void add(const Result& result) override {
    const std::vector<Field> fields = flat_fields(result, env_);
    std::string values;
    for (const Field& field : fields) {
      if (!values.empty()) values += ", ";
      values += field.value.is_null() ? "NULL" : quoted(plain(field.value), '\'');
    }
    write_(fmt::format("INSERT INTO llama_bench ({}) VALUES ({});\n", joined_names(fields, ", "), values));
  }

 private:
  // A result in which no value is null, to tell the columns' types.
  static Result example() {
    Result r;
    r.bytes_per_token = r.read_bandwidth = r.macs.int8 = r.peak.int8 = r.peak.f32 = 1;
    r.samples_ns = {1};
    r.whole = Extrapolation{};
    r.whole->moe_ns = 1;
    return r;
  }
  Environment env_;
  Write write_;
};

class MarkdownReport : public Report {
 public:
  MarkdownReport(const Axes& axes, const Environment& environment, Write write)
      : env_(environment), write_(std::move(write)) {
    column("model", -30, [](const Result& r) { return r.model_type; });
    column("size", 10, [](const Result& r) {
      const double mib = static_cast<double>(r.model_size) / (1 << 20);
      return mib < 1024 ? fmt::format("{:.2f} MiB", mib) : fmt::format("{:.2f} GiB", mib / 1024);
    });
    column("params", 10, [](const Result& r) {
      const auto n = static_cast<double>(r.model_n_params);
      return n < 1e9 ? fmt::format("{:.2f} M", n / 1e6) : fmt::format("{:.2f} B", n / 1e9);
    });
    column("backend", -10, backend_of);
    inert(axes, {kCpuMoe});
    column("threads", 7, [](const Result& r) { return std::to_string(r.test.n_threads); });
    inert(axes, {kCpuMask, kCpuStrict, kPoll});
    if (axes.n_batch != Axes().n_batch)
      column("n_batch", 7, [](const Result& r) { return std::to_string(r.test.n_batch); });
    if (axes.n_ubatch != Axes().n_ubatch)
      column("n_ubatch", 8, [](const Result& r) { return std::to_string(r.test.n_ubatch); });
    if (axes.cache_type != Axes().cache_type || !axes.value_type.empty()) {
      column("type_k", 6, [](const Result& r) { return lower(quant::name_of(r.test.cache_type)); });
      column("type_v", 6, [](const Result& r) { return lower(quant::name_of(r.test.value_cache_type())); });
    }
    inert(axes, {kMainGpu, kSplitMode, kNoKvOffload, kFlashAttention, kDevices, kTensorSplit, kTensorOverrides,
                 kLoadMode, kEmbeddings, kNoOpOffload, kNoHost});
    column("test", 15, [](const Result& r) { return r.test.label(); });
    column("t/s", 20, [](const Result& r) { return fmt::format("{:.2f} ± {:.2f}", r.mean_tps(), r.stddev_tps()); });
  }

  void begin() override {
    std::string head = "|", rule = "|";
    for (const Column& c : columns_) {
      head += cell(c, c.name);
      rule += fmt::format(" {:->{}}{} |", "", std::abs(c.width) - 1, c.width > 0 ? ":" : "-");
    }
    write_(head + "\n" + rule + "\n");
  }
  void add(const Result& result) override {
    std::string line = "|";
    for (const Column& c : columns_) line += cell(c, c.text(result));
    write_(line + "\n");
    results_.push_back(result);
  }
  void end() override {
    write_(fmt::format("\nbuild: {} ({})\n", env_.build_commit, env_.build_number));
    write_(memory_lines(results_));
    write_(arithmetic_lines(results_));
    write_(energy_lines(results_));
    write_(hybrid_lines(results_));
    write_(streaming_lines(results_));
    write_(whole_model_lines(results_));
    for (const Result& r : results_)
      if (r.drafts) write_(r.drafts->text(r.test.label()));
    write_traces();
  }

 private:
  struct Column {
    std::string name;
    int width;  // negative: left-aligned
    std::function<std::string(const Result&)> text;
  };
  void column(std::string name, int width, std::function<std::string(const Result&)> text) {
    columns_.push_back({std::move(name), width, std::move(text)});
  }
  void inert(const Axes& axes, std::initializer_list<Inert> list) {
    for (const Inert k : list) {
      const auto& values = axes.inert[k];
      const InertAxis& axis = kInertAxes[k];
      if (values.empty() || (values.size() == 1 && values[0] == axis.default_value)) continue;
      int width = k == kFlashAttention                ? 3
                  : k == kSplitMode                   ? 6
                  : k == kNoOpOffload || k == kNoHost ? 4
                  : k == kDevices                     ? 12
                                                      : std::max<int>(10, static_cast<int>(axis.field.size()));
      const bool left = axis.kind == InertAxis::Kind::kText && k != kSplitMode && k != kLoadMode;
      column(std::string(axis.column), left ? -width : width, [k](const Result& r) { return r.test.inert[k]; });
    }
  }
  static std::string cell(const Column& c, const std::string& text) {
    return c.width < 0 ? fmt::format(" {:<{}} |", text, -c.width) : fmt::format(" {:>{}} |", text, c.width);
  }
  void write_traces() {
    for (const Result& r : results_) {
      double seconds = 0;
      for (const std::uint64_t ns : r.samples_ns) seconds += static_cast<double>(ns) * 1e-9;
      const bool by_bytes = r.macs.int8 > r.macs.f32;  // a prompt's products
      write_(trace_table(r.test.label(), r.trace, seconds, r.bytes_per_token > 0 ? r.read_bandwidth : 0,
                         by_bytes ? r.peak.int8 : 0));
      if (&r == &results_.back()) {
        for (const std::string& refusal : r.refusals) write_("not run here: " + refusal + "\n");
      }
    }
  }

  Environment env_;
  Write write_;
  std::vector<Column> columns_;
  std::vector<Result> results_;
};

}  // namespace

double Result::mean_ns() const { return mean({samples_ns.begin(), samples_ns.end()}); }
double Result::stddev_ns() const { return sample_stddev({samples_ns.begin(), samples_ns.end()}); }
std::vector<double> Result::tokens_per_second() const {
  std::vector<double> out;
  for (const std::uint64_t ns : samples_ns)
    out.push_back(1e9 * static_cast<double>(test.n_tokens()) / static_cast<double>(ns));
  return out;
}
double Result::mean_tps() const { return mean(tokens_per_second()); }
double Result::macs_per_second() const {
  return test.n_prompt > 0 ? macs.sum() * mean_tps() / static_cast<double>(test.n_prompt) : 0;
}
double Result::peak_percent() const {
  if (macs.sum() <= 0 || (macs.int8 > 0 && peak.int8 <= 0) || (macs.f32 > 0 && peak.f32 <= 0)) return 0;
  const double seconds = (macs.int8 > 0 ? macs.int8 / peak.int8 : 0) + (macs.f32 > 0 ? macs.f32 / peak.f32 : 0);
  return 100 * seconds * mean_tps() / static_cast<double>(test.n_prompt);
}
double Result::token_limit_seconds() const {
  const bool known =
      read_bandwidth > 0 && (attention_macs.int8 <= 0 || peak.int8 > 0) && (attention_macs.f32 <= 0 || peak.f32 > 0);
  if (!known) return 0;
  return bytes_per_token / read_bandwidth + (attention_macs.int8 > 0 ? attention_macs.int8 / peak.int8 : 0) +
         (attention_macs.f32 > 0 ? attention_macs.f32 / peak.f32 : 0);
}
double Result::whole_tps() const { return whole ? 1e9 * static_cast<double>(test.n_tokens()) / whole->whole_ns() : 0; }
double Result::stddev_tps() const { return sample_stddev(tokens_per_second()); }

std::unique_ptr<Report> make_report(Format format, const Axes& axes, const Environment& environment,
                                    Report::Write write) {
  switch (format) {
    case Format::kNone:
      return nullptr;
    case Format::kMarkdown:
      return std::make_unique<MarkdownReport>(axes, environment, std::move(write));
    case Format::kJson:
      return std::make_unique<JsonReport>(environment, std::move(write));
    case Format::kJsonl:
      return std::make_unique<JsonlReport>(environment, std::move(write));
    case Format::kCsv:
      return std::make_unique<CsvReport>(environment, std::move(write));
    case Format::kSql:
      return std::make_unique<SqlReport>(environment, std::move(write));
  }
  return nullptr;
}

}  // namespace dodeca::bench
