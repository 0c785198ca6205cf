#include "runtime/plan/tuning_file.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cpu/kernels/matmul/matmul.hpp"
#include "runtime/base/printable.hpp"
#include "runtime/load/json_fields.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::uint64_t kMaxTuningBytes = 1 << 20;

class TuningReader {
 public:
  explicit TuningReader(std::string_view what) : fields_(what, "is no kernel tuning") {}

  TuningFile read(const Json& json, std::string_view processor, cpu::Isa isa) const {
    fields_.check_root(json);
    const std::int64_t version = integer(json, "dodeca_tuning");
    if (version != kTuningVersion) return {{}, fmt::format("it has version {}, not {}", version, kTuningVersion)};
    const std::string measured_on = text(json, "processor");
    if (measured_on != processor)
      return {{}, fmt::format("it was measured on {}, this is {}", printable(measured_on, 64), processor)};
    const cpu::Isa measured = level(json, "isa");
    if (!measured.has(isa))
      return {{}, fmt::format("it was measured up to {}, this run has {}", cpu::name_of(measured), cpu::name_of(isa))};
    fields_.check_keys(json, {"dodeca_tuning", "processor", "isa", "types"});
    TuningFile file;
    for (const auto& [name, variants] : fields_.object(fields_.member(json, "types"), "types").items()) {
      const quant::TypeInfo* type = quant::find_type(name);
      if (type == nullptr || !type->decodable)
        throw fields_.bad(fmt::format("nothing multiplies '{}'", printable(name, 64)));
      const bool twice = std::ranges::find(file.tuning, type->dtype, &cpu::TunedVariants::dtype) != file.tuning.end();
      if (twice) throw fields_.bad(fmt::format("{} is there twice", type->name));
      file.tuning.push_back(variants_of(type->dtype, variants));
    }
    return file;
  }

 private:
  std::string text(const Json& object, const char* key) const { return fields_.text(fields_.member(object, key), key); }
  std::int64_t integer(const Json& object, const char* key) const {
    return fields_.integer(fields_.member(object, key), key);
  }
  cpu::Isa level(const Json& object, const char* key) const {
    const std::string name = text(object, key);
    const std::optional<cpu::Isa> isa = cpu::isa_from_name(name);
    if (!isa) throw fields_.bad(fmt::format("'{}' is no instruction-set level", printable(name, 64)));
    return *isa;
  }
  // Levels that this build leaves out are no errors: another build may have written the file.
  void check_variant(std::span<const cpu::MatmulKernel> variants, const char* list, quant::DType dtype,
                     cpu::Isa isa) const {
    const bool built = std::ranges::find(cpu::built_isas(), isa) != cpu::built_isas().end();
    if (built && cpu::exact_variant(variants, dtype, isa) == nullptr)
      throw fields_.bad(fmt::format("{} has no {} kernel at {}", quant::name_of(dtype), list, cpu::name_of(isa)));
  }
  cpu::TunedVariants variants_of(quant::DType dtype, const Json& json) const {
    const std::string_view name = quant::name_of(dtype);
    fields_.check_keys(fields_.object(json, name), {"gemv", "gemm", "gemm_min_rows"});
    const cpu::TunedVariants tuned{dtype, level(json, "gemv"), level(json, "gemm"), integer(json, "gemm_min_rows")};
    check_variant(cpu::gemv_kernels(), "gemv", dtype, tuned.gemv);
    check_variant(cpu::gemm_kernels(), "gemm", dtype, tuned.gemm);
    if (tuned.gemm_min_rows < cpu::kLeastGemmMinRows || tuned.gemm_min_rows > cpu::kMostGemmMinRows)
      throw fields_.bad(fmt::format("\"gemm_min_rows\" of {} is {}, not {} to {}", name, tuned.gemm_min_rows,
                                    cpu::kLeastGemmMinRows, cpu::kMostGemmMinRows));
    return tuned;
  }

  JsonFields fields_;
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
  for (const cpu::TunedVariants& tuned : tuning) {
    append_key(types, std::string(quant::name_of(tuned.dtype)),
               {{"gemv", cpu::name_of(tuned.gemv)},
                {"gemm", cpu::name_of(tuned.gemm)},
                {"gemm_min_rows", tuned.gemm_min_rows}});
  }
  std::error_code error;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  if (error)
    throw Error(ErrorKind::kIo, fmt::format("cannot make the folder of {}: {}", path.string(), error.message()));
  write_json(json, path);
}

}  // namespace dodeca::runtime
