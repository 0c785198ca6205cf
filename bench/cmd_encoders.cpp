#include "bench/cmd_encoders.hpp"

#include <fmt/core.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <vector>

#include "cpu/isa.hpp"
#include "quant/codec.hpp"
#include "runtime/base/error.hpp"
#include "runtime/base/output_file.hpp"
#include "runtime/cli/console.hpp"
#include "runtime/cli/options.hpp"
#include "runtime/quantize/encode_weights.hpp"

namespace dodeca::bench {
namespace {

using runtime::cli::FileUse;

std::vector<char> file_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw runtime::Error(runtime::ErrorKind::kBadFile, fmt::format("cannot read {}", path));
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<float> file_floats(const std::string& path) {
  const std::vector<char> bytes = file_bytes(path);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

// Of this thread: other programs on the core do not count.
double cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Weighted squared error of the blocks over the weighted squares of the rows.
double relative_error(quant::DType dtype, const std::byte* blocks, const std::vector<float>& rows, std::int64_t columns,
                      const float* importance) {
  std::vector<float> decoded(rows.size());
  quant::decode_rows(dtype, blocks, static_cast<std::int64_t>(rows.size()) / columns, columns, decoded.data());
  double error = 0, size = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double w = importance ? importance[i % static_cast<std::size_t>(columns)] : 1.0, x = rows[i];
    error += w * (decoded[i] - x) * (decoded[i] - x);
    size += w * x * x;
  }
  return error / size;
}

}  // namespace

int cmd_encoders(std::span<const std::string> args) {
  runtime::cli::Options options("dodeca-bench encoders",
                                "Quantizes the rows of a file on one core and prints, as JSON, weights per second of "
                                "CPU time (the best of some runs) and the relative weighted squared error.",
                                "dodeca-bench encoders --rows rows.f32 --columns 2048 --type Q2_K");
  std::string rows_path, type_name, importance_path, blocks_path, out_path;
  std::int64_t columns = 0, runs = 5;
  options.value("--rows", rows_path, "float32 values, rows one after the other", "FILE", FileUse::kReads);
  options.value("--columns", columns, "weights in a row", {1, 1 << 24});
  options.value("--type", type_name, "type to quantize to", "TYPE");
  options.value("--importance", importance_path, "float32 weights of the squared error, one per column", "FILE",
                FileUse::kReads);
  options.value("--blocks", blocks_path, "the same rows as another program quantized them: their error too", "FILE",
                FileUse::kReads);
  options.value("--out", out_path, "where to write the blocks", "FILE", FileUse::kWrites);
  options.value("--runs", runs, "runs, the fastest counts (default: 5)", {1, 1000});
  options.parse(args);

  const quant::TypeInfo* type = quant::find_type(type_name);
  if (type == nullptr || !type->encodable)
    throw runtime::cli::Usage(fmt::format("--type: nothing quantizes to '{}'", type_name));
  const std::vector<float> rows = file_floats(rows_path);
  if (columns == 0 || rows.empty() || rows.size() % static_cast<std::size_t>(columns) != 0 ||
      columns % type->block_elements != 0)
    throw runtime::cli::Usage(
        fmt::format("--columns {}: {} values are no rows of that many blocks of {}", columns, rows.size(), type->name));
  std::vector<float> importance;
  if (!importance_path.empty()) importance = file_floats(importance_path);
  if (!importance.empty() && importance.size() != static_cast<std::size_t>(columns))
    throw runtime::cli::Usage(fmt::format("--importance: {} values for {} columns", importance.size(), columns));
  const float* weights = importance.empty() ? nullptr : importance.data();

  const auto n_rows = static_cast<std::int64_t>(rows.size()) / columns;
  const std::size_t row_bytes = *quant::row_bytes(type->dtype, columns);
  std::vector<std::byte> blocks(n_rows * row_bytes);
  const cpu::Isa isa = cpu::host_isa();
  double seconds = 1e30;
  std::vector<float> scratch;
  for (std::int64_t run = 0; run < runs; ++run) {
    const double begin = cpu_seconds();
    for (std::int64_t row = 0; row < n_rows; ++row) {
      runtime::quantize::encode_weights(type->dtype, std::span(rows).subspan(row * columns, columns),
                                        blocks.data() + row * row_bytes, weights, isa, scratch);
    }
    seconds = std::min(seconds, cpu_seconds() - begin);
  }
  nlohmann::ordered_json json = {
      {"type", type->name},
      {"isa", cpu::name_of(isa)},
      {"weights_per_s", static_cast<double>(rows.size()) / seconds},
      {"error", relative_error(type->dtype, blocks.data(), rows, columns, weights)},
  };
  if (!blocks_path.empty()) {
    const std::vector<char> others = file_bytes(blocks_path);
    if (others.size() != blocks.size())
      throw runtime::cli::Usage(fmt::format("--blocks: {} bytes, not {}", others.size(), blocks.size()));
    json["blocks_error"] =
        relative_error(type->dtype, reinterpret_cast<const std::byte*>(others.data()), rows, columns, weights);
  }
  if (!out_path.empty()) {
    runtime::OutputFile out(out_path, blocks.size());
    out.append(blocks);
    out.finish();
  }
  runtime::cli::print_out(json.dump() + "\n");
  return 0;
}

}  // namespace dodeca::bench
