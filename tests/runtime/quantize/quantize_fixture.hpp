// Files made from the demo checkpoint and what tests ask of them.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "runtime/quantize/quantize.hpp"

namespace dodeca::tests::quantizing {

using namespace dodeca::runtime;
using namespace dodeca::runtime::quantize;
using dodeca::quant::DType;

inline const std::filesystem::path kDemo = std::filesystem::path(DODECA_SOURCE_DIR) / "bench" / "demo" / "model";

struct Lines {
  std::vector<std::string> text;
  Log log() {
    return [this](Level, std::string_view line) { text.emplace_back(line); };
  }
  bool mention(std::string_view part) const {
    for (const std::string& line : text) {
      if (line.find(part) != std::string::npos) return true;
    }
    return false;
  }
};
inline const Log kSilent = [](Level, std::string_view) {};

inline QuantizeOptions recipe_options(const char* name) {
  QuantizeOptions options;
  options.types.recipe = find_recipe(name);
  return options;
}
inline QuantizeOptions uniform_options(DType dtype) {
  QuantizeOptions options;
  options.types.uniform = dtype;
  return options;
}

inline std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void make(const std::filesystem::path& in, const std::filesystem::path& out, const QuantizeOptions& options,
                 int n_threads = 2, const Log& log = kSilent) {
  const auto source = open_weights(in, {}, kSilent);
  cpu::Team team(n_threads);
  write_quantized(*source, plan_quantization(*source, options, log), out, team);
}

inline std::vector<float> values_of(const WeightSource& source, std::string_view name) {
  const WeightInfo* weight = source.find(name);
  REQUIRE(weight != nullptr);
  std::vector<float> values(static_cast<std::size_t>(weight->n_elements()));
  for (std::int64_t slice = 0; slice < weight->n_slices; ++slice) {
    source.read_rows_f32(*weight, slice, 0, weight->n_out, values.data() + slice * weight->n_in * weight->n_out);
  }
  return values;
}

inline double relative_error(const std::vector<float>& got, const std::vector<float>& want) {
  double error = 0, size = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    error += std::pow(static_cast<double>(got[i]) - want[i], 2);
    size += std::pow(static_cast<double>(want[i]), 2);
  }
  return std::sqrt(error / size);
}

}  // namespace dodeca::tests::quantizing
