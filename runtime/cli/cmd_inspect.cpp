// dodeca inspect: what is in a model file. Reads headers only.
#include <iterator>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "runtime/base/printable.hpp"
#include "runtime/cli/command.hpp"
#include "runtime/cli/inspect_report.hpp"
#include "runtime/load/safetensors.hpp"
#include "runtime/model/weight_source.hpp"

namespace dodeca::runtime::cli {
namespace {

constexpr std::size_t kShortArray = 8;  // elements that are shown of a longer array
constexpr std::size_t kShortText = 120;

struct Inspected {
  std::string path, format;
  std::vector<std::string> files;
  std::uint64_t file_bytes = 0;
  std::optional<GgufFile> gguf;
  Json config;  // directory: config.json
  std::vector<InspectTensor> tensors;
  InspectShape shape;
  bool runs = false;
  std::vector<std::string> notes;  // on the way to a model: what is taken for granted or not used; why it does not run
};

Inspected inspect_gguf(const std::string& path) {
  Inspected out;
  out.gguf = GgufFile::open(path, GgufUse::kInspect);
  out.format = fmt::format("GGUF v{}", out.gguf->version());
  for (const InputFile& file : out.gguf->files()) out.files.push_back(file.path().string());
  out.file_bytes = out.gguf->file_bytes();
  out.shape = shape_of_gguf(out.gguf->metadata());
  for (const GgufTensor& tensor : out.gguf->tensors()) {
    out.tensors.push_back({tensor.name, tensor.type_name(), tensor.dims,
                           static_cast<std::uint64_t>(tensor.n_elements()), tensor.bytes, tensor.file, tensor.offset,
                           false});
  }
  return out;
}

Inspected inspect_directory(const std::string& path) {
  Inspected out;
  const SafetensorsDir dir = SafetensorsDir::open(path);
  out.format = "Hugging Face directory (safetensors)";
  for (const InputFile& file : dir.files()) {
    out.files.push_back(file.path().string());
    out.file_bytes += file.size();
  }
  const std::filesystem::path config = std::filesystem::path(path) / "config.json";
  std::error_code ignored;
  if (std::filesystem::exists(config, ignored)) out.config = read_json(config);
  out.shape = shape_of_hf(out.config);
  for (const SafeTensor& tensor : dir.tensors()) {
    std::uint64_t elements = 1;
    for (const std::int64_t dim : tensor.shape) elements *= static_cast<std::uint64_t>(dim);
    out.tensors.push_back({tensor.name, tensor.dtype_name, tensor.shape, elements, tensor.bytes, tensor.file,
                           tensor.offset, tensor.name.ends_with("_scale_inv")});
  }
  return out;
}

// What a command that runs the model would say of it.
void try_as_model(Inspected& file) {
  try {
    open_weights(file.path, {.headers_only = true},
                 [&](Level, std::string_view line) { file.notes.emplace_back(line); });
    file.runs = true;
  } catch (const Error& error) {
    file.notes.push_back(error.sentence());
  }
}

// ---- JSON ---------------------------------------------------------------------------------------------------------

template <class T>
Json json_of(const T& value) {
  return value;
}

template <class T>
Json array_json(const std::vector<T>& values, std::string_view type, bool full) {
  Json list = Json::array();
  const std::size_t n = full || values.size() <= kShortArray ? values.size() : kShortArray;
  for (std::size_t i = 0; i < n; ++i) list.push_back(json_of<T>(values[i]));
  if (n == values.size()) return list;
  return {{"type", type}, {"count", values.size()}, {"first", std::move(list)}};
}

Json metadata_json(const Metadata& metadata, bool full) {
  Json out = Json::object();
  for (const auto& [key, value] : metadata.entries()) {
    std::visit(
        [&](const auto& v) {
          if constexpr (requires { v.values; }) {
            append_key(out, key, array_json(v.values, meta_type_name(value), full));
          } else {
            append_key(out, key, json_of(v));
          }
        },
        value);
  }
  return out;
}

Json sum_json(const Sum& sum) {
  return {{"tensors", sum.tensors},
          {"parameters", sum.elements},
          {"bytes", sum.bytes},
          {"bits_per_weight", sum.bits_per_weight()}};
}

std::string json_text(const Inspected& file, const InspectReport& report, bool full) {
  Json out = Json::object();
  out["path"] = file.path;
  out["format"] = file.format;
  out["files"] = file.files;
  out["file_bytes"] = file.file_bytes;
  if (file.gguf) {
    out["gguf_version"] = file.gguf->version();
    out["alignment"] = file.gguf->alignment();
    out["metadata"] = metadata_json(file.gguf->metadata(), full);
  } else {
    out["config"] = file.config;
  }
  Json tensors = Json::array();
  for (std::size_t i = 0; i < file.tensors.size(); ++i) {
    const InspectTensor& tensor = file.tensors[i];
    Json entry = {{"name", tensor.name},           {"type", tensor.type},
                  {"shape", tensor.dims},          {"role", group_name(report.groups[i])},
                  {"parameters", tensor.elements}, {"bytes", tensor.bytes},
                  {"file", tensor.file},           {"offset", tensor.offset}};
    if (file.gguf) entry["type_id"] = file.gguf->tensors()[i].type_id;
    tensors.push_back(std::move(entry));
  }
  out["tensors"] = std::move(tensors);
  out["total"] = sum_json(report.total);
  out["types"] = Json::object();
  for (const auto& [type, sum] : report.by_type) append_key(out["types"], type, sum_json(sum));
  out["roles"] = Json::object();
  for (std::size_t group = 0; group < kWeightGroups; ++group) {
    if (report.by_group[group].tensors == 0) continue;
    Json entry = sum_json(report.by_group[group]);
    entry["bytes_per_token"] = report.read_by_group ? Json((*report.read_by_group)[group]) : Json();
    append_key(out["roles"], std::string(group_name(static_cast<WeightGroup>(group))), std::move(entry));
  }
  out["bytes_per_token"] = report.read_total ? Json(*report.read_total) : Json();
  out["cache_bytes_per_position_f16"] =
      report.cache_bytes_per_position ? Json(*report.cache_bytes_per_position) : Json();
  out["runs"] = file.runs;
  out["notes"] = file.notes;
  // Strings of a file may be no UTF-8; those bytes become U+FFFD.
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

// ---- text ---------------------------------------------------------------------------------------------------------

template <class... Args>
void put(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

template <class T>
std::string value_text(const T& value, bool full) {
  if constexpr (std::is_same_v<T, std::string>) {
    return fmt::format("\"{}\"", printable(value, full ? std::string::npos : kShortText));
  } else if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else {
    return fmt::format("{}", value);
  }
}

template <class T>
std::string array_text(const std::vector<T>& values, bool full) {
  std::string out = "[";
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!full && i == kShortArray) return out + fmt::format(", ... {} in all]", values.size());
    out += (i > 0 ? ", " : "") + value_text<T>(values[i], full);
  }
  return out + "]";
}

std::string dims_text(const std::vector<std::int64_t>& dims) {
  std::string out;
  for (const std::int64_t dim : dims) out += (out.empty() ? "" : " x ") + std::to_string(dim);
  return out.empty() ? "scalar" : out;
}

// "model.layers.3.mlp.experts.17.up_proj.weight" -> "model.layers.3.mlp.experts.*.up_proj.weight": rows of a table that
// differ in nothing but the expert's number become one.
std::string without_expert(const std::string& name) {
  constexpr std::string_view kMark = ".experts.";
  const std::size_t at = name.find(kMark);
  if (at == std::string::npos) return name;
  const std::size_t begin = at + kMark.size(), end = name.find_first_not_of("0123456789", begin);
  if (end == begin || end == std::string::npos) return name;
  return name.substr(0, begin) + "*" + name.substr(end);
}

void add_metadata(std::string& out, const Inspected& file, bool full) {
  if (file.gguf) {
    const auto& entries = file.gguf->metadata().entries();
    put(out, "\nmetadata ({} keys)\n", entries.size());
    for (const auto& [key, value] : entries) {
      const std::string text = std::visit(
          [&](const auto& v) {
            if constexpr (requires { v.values; }) {
              return array_text(v.values, full);
            } else {
              return value_text(v, full);
            }
          },
          value);
      put(out, "  {} ({}) = {}\n", printable(key), meta_type_name(value), text);
    }
  } else if (file.config.is_object()) {
    put(out, "\nconfig.json ({} keys)\n", file.config.size());
    for (const auto& [key, value] : file.config.items()) {
      put(out, "  {} = {}\n", printable(key), printable(value.dump(), full ? std::string::npos : kShortText));
    }
  }
}

void add_tensors(std::string& out, const Inspected& file, const InspectReport& report, bool full) {
  struct Row {
    std::string name;
    const InspectTensor* tensor;
    WeightGroup group;
    std::size_t count = 1;
  };
  std::vector<Row> rows;
  std::map<std::string, std::size_t> seen;
  std::size_t name_width = 4, dims_width = 5, type_width = 4;
  for (std::size_t i = 0; i < file.tensors.size(); ++i) {
    const InspectTensor& tensor = file.tensors[i];
    const std::string name = full ? tensor.name : without_expert(tensor.name);
    const auto [it, is_new] =
        seen.emplace(fmt::format("{}|{}|{}", name, tensor.type, dims_text(tensor.dims)), rows.size());
    if (!is_new) {
      ++rows[it->second].count;
      continue;
    }
    rows.push_back({printable(name), &tensor, report.groups[i]});
    name_width = std::max(name_width, rows.back().name.size());
    dims_width = std::max(dims_width, dims_text(tensor.dims).size());
    type_width = std::max(type_width, printable(tensor.type).size());
  }
  put(out, "\ntensors ({})\n", file.tensors.size());
  for (const Row& row : rows) {
    put(out, "  {:<{}}  {:<{}}  {:<{}}  {:>14}  {}{}\n", row.name, name_width, printable(row.tensor->type), type_width,
        dims_text(row.tensor->dims), dims_width, row.tensor->bytes, group_name(row.group),
        row.count > 1 ? fmt::format(", {} of them", row.count) : "");
  }
}

std::string plain_text(const Inspected& file, const InspectReport& report, bool full) {
  std::string out;
  put(out, "file    {}{}\nformat  {}\nsize    {} ({} bytes)\n", printable(file.path),
      file.files.size() > 1 ? fmt::format(" and {} more", file.files.size() - 1) : "", file.format,
      bytes_text(static_cast<double>(file.file_bytes)), file.file_bytes);
  add_metadata(out, file, full);
  if (!file.tensors.empty()) {
    add_tensors(out, file, report, full);
    out += sums_text(report);
  }
  put(out, "\n{}\n", file.runs ? "dodeca runs this model" : "dodeca does not run this model");
  for (const std::string& note : file.notes) put(out, "  {}\n", note);
  return out;
}

}  // namespace

std::string inspect_file(const std::string& path, bool as_json, bool full) {
  std::error_code ignored;
  Inspected file = std::filesystem::is_directory(path, ignored) ? inspect_directory(path) : inspect_gguf(path);
  file.path = path;
  try_as_model(file);
  const InspectReport report = make_report(file.tensors, file.shape);
  return as_json ? json_text(file, report, full) : plain_text(file, report, full);
}

int cmd_inspect(std::span<const std::string> args) {
  std::string path, model;
  bool as_json = false, full = false;
  Options options("dodeca inspect",
                  "What is in a model file: metadata, tensors, bits per weight, bytes read per token.",
                  "dodeca inspect model.gguf --json");
  options.positional("FILE", path, "a GGUF (the first of a split one) or a Hugging Face directory", false,
                     FileUse::kModel);
  options.value("-m,--model", model, "the same, as the other commands take it", "PATH", FileUse::kModel);
  options.flag("--json", as_json, "one JSON document");
  options.flag("--full", full, "long arrays and texts in full, every expert's tensor on a line of its own");
  Console console;
  console.add_flags(options);
  options.parse(args);
  if (path.empty() == model.empty()) throw Usage("one FILE is needed: a GGUF or a Hugging Face directory");
  if (path.empty()) path = model;

  print_out(inspect_file(path, as_json, full));
  flush_out();
  return 0;
}

}  // namespace dodeca::runtime::cli
