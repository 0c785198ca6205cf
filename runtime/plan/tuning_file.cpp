#include "runtime/plan/tuning_file.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cpu/kernels/matmul/matmul.hpp"
#include "runtime/base/output_file.hpp"
#include "runtime/base/printable.hpp"
#include "runtime/load/json.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::uint64_t kMaxTuningBytes = 1 << 20;

class TuningReader {
 public:
  explicit TuningReader(std::string_view what) : what_(what) {}

  TuningFile read(const Json& json, std::string_view processor, cpu::Isa isa) const {
    if (!json.is_object()) throw bad("it is no JSON object");
    const std::int64_t version = integer(json, "dodeca_tuning");
    if (version != kTuningVersion) return {{}, fmt::format("it has version {}, not {}", version, kTuningVersion)};
    const std::string measured_on = text(json, "processor");
    if (measured_on != processor)
      return {{}, fmt::format("it was measured on {}, this is {}", printable(measured_on, 64), processor)};
    const cpu::Isa measured = level(json, "isa");
    if (measured < isa)
      return {{}, fmt::format("it was measured up to {}, this run has {}", cpu::name_of(measured), cpu::name_of(isa))};
    check_keys(json, {"dodeca_tuning", "processor", "isa", "types"});
    const Json& types = member(json, "types");
    if (!types.is_object()) throw bad("\"types\" is no object");
    TuningFile file;
    for (const auto& [name, lines] : types.items()) {
      const quant::TypeInfo* type = quant::find_type(name);
      if (type == nullptr || !type->decodable) throw bad(fmt::format("nothing multiplies '{}'", printable(name, 64)));
      const bool twice = std::ranges::find(file.tuning, type->dtype, &cpu::TunedLines::dtype) != file.tuning.end();
      if (twice) throw bad(fmt::format("{} is there twice", type->name));
      file.tuning.push_back(lines_of(type->dtype, lines));
    }
    return file;
  }

 private:
  Error bad(const std::string& why) const {
    return Error(ErrorKind::kBadFile, fmt::format("{} is no kernel tuning: {}", what_, why));
  }
  void check_keys(const Json& object, std::initializer_list<std::string_view> known) const {
    for (const auto& [key, value] : object.items()) {
      if (std::ranges::find(known, key) == known.end())
        throw bad(fmt::format("it has the unknown key \"{}\"", printable(key, 64)));
    }
  }
  const Json& member(const Json& object, const char* key) const {
    const auto found = object.find(key);
    if (found == object.end()) throw bad(fmt::format("\"{}\" is missing", key));
    return *found;
  }
  std::string text(const Json& object, const char* key) const {
    const Json& value = member(object, key);
    if (!value.is_string()) throw bad(fmt::format("\"{}\" is no string", key));
    return value.get<std::string>();
  }
  std::int64_t integer(const Json& object, const char* key) const {
    const Json& value = member(object, key);
    if (!value.is_number_integer()) throw bad(fmt::format("\"{}\" is no integer", key));
    return value.get<std::int64_t>();
  }
  cpu::Isa level(const Json& object, const char* key) const {
    const std::string name = text(object, key);
    const std::optional<cpu::Isa> isa = cpu::isa_from_name(name);
    if (!isa) throw bad(fmt::format("'{}' is no instruction-set level", printable(name, 64)));
    return *isa;
  }
  // Levels that this build leaves out are no errors: another build may have written the file.
  void check_line(std::span<const cpu::MatmulKernel> lines, const char* list, quant::DType dtype, cpu::Isa isa) const {
    const bool built = std::ranges::find(cpu::built_isas(), isa) != cpu::built_isas().end();
    if (built && cpu::exact_line(lines, dtype, isa) == nullptr)
      throw bad(fmt::format("{} has no {} line at {}", quant::name_of(dtype), list, cpu::name_of(isa)));
  }
  cpu::TunedLines lines_of(quant::DType dtype, const Json& json) const {
    const std::string_view name = quant::name_of(dtype);
    if (!json.is_object()) throw bad(fmt::format("\"{}\" is no object", name));
    check_keys(json, {"gemv", "gemm", "gemm_min_rows"});
    const cpu::TunedLines lines{dtype, level(json, "gemv"), level(json, "gemm"), integer(json, "gemm_min_rows")};
    check_line(cpu::gemv_kernels(), "gemv", dtype, lines.gemv);
    check_line(cpu::gemm_kernels(), "gemm", dtype, lines.gemm);
    if (lines.gemm_min_rows < cpu::kLeastGemmMinRows || lines.gemm_min_rows > cpu::kMostGemmMinRows)
      throw bad(fmt::format("\"gemm_min_rows\" of {} is {}, not {} to {}", name, lines.gemm_min_rows,
                            cpu::kLeastGemmMinRows, cpu::kMostGemmMinRows));
    return lines;
  }

  std::string_view what_;
};

}  // namespace

TuningFile parse_tuning(std::string_view text, std::string_view what, std::string_view processor, cpu::Isa isa) {
  return TuningReader(what).read(parse_json(text, what), processor, isa);
}

TuningFile read_tuning(const std::filesystem::path& path, std::string_view processor, cpu::Isa isa) {
  return TuningReader(path.string()).read(read_json(path, kMaxTuningBytes), processor, isa);
}

void write_tuning(const cpu::MatmulTuning& tuning, std::string_view processor, cpu::Isa isa,
                  const std::filesystem::path& path) {
  Json json = {{"dodeca_tuning", kTuningVersion}, {"processor", processor}, {"isa", cpu::name_of(isa)}};
  Json& types = append_key(json, "types", Json::object());
  for (const cpu::TunedLines& lines : tuning) {
    append_key(types, std::string(quant::name_of(lines.dtype)),
               {{"gemv", cpu::name_of(lines.gemv)},
                {"gemm", cpu::name_of(lines.gemm)},
                {"gemm_min_rows", lines.gemm_min_rows}});
  }
  const std::string text = json.dump(1) + "\n";
  std::error_code error;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  if (error)
    throw Error(ErrorKind::kIo, fmt::format("cannot make the folder of {}: {}", path.string(), error.message()));
  OutputFile out(path);
  out.append(std::as_bytes(std::span(text)));
  out.finish();
}

}  // namespace dodeca::runtime
