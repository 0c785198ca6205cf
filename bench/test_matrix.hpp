// Which tests a command line asks for, as llama-bench defines it: every option takes comma lists and ranges and may be
// repeated; all combinations run; each prompt length, generation length and -pg pair is a test of its own.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "quant/dtype.hpp"

namespace dodeca::bench {

// "512", "1,2,4", "first-last", "first-last+step", "first-last*mult", and lists of these. Throws runtime::cli::Usage
// naming flag.
std::vector<std::int64_t> parse_range(std::string_view flag, std::string_view text, std::int64_t min, std::int64_t max);
// Those of all texts, one after the other.
std::vector<std::int64_t> parse_ranges(std::string_view flag, std::span<const std::string> texts, std::int64_t min,
                                       std::int64_t max);

// Options of llama-bench that change nothing here. Unlike other pasted options they are combined and reported like those
// that do.
struct InertAxis {
  std::string_view flags;   // spellings for Options
  std::string_view field;   // name in result files
  std::string_view column;  // name in the table
  std::string_view default_value;
  enum class Kind { kText, kInteger, kBoolean } kind;
};
enum Inert : std::size_t {  // in the order of the loops, outermost first; the sizes and types of the batch come before
                            // kNoKvOffload
  kGpuLayers,
  kCpuMoe,
  kSplitMode,
  kLoadMode,
  kMainGpu,
  kDevices,
  kTensorSplit,
  kTensorOverrides,
  kNoHost,
  kEmbeddings,
  kNoOpOffload,
  kNoKvOffload,
  kFlashAttention,
  kCpuMask,
  kCpuStrict,
  kPoll,
  kInertCount
};
extern const std::array<InertAxis, kInertCount> kInertAxes;
// What dodeca does instead, as runtime/cli/pasted_options says it for every command.
std::string_view inert_answer(const InertAxis& axis);

// One test: a row of the table.
struct Test {
  Test();
  std::string model;
  std::int64_t n_prompt = 0, n_gen = 0, n_depth = 0, n_batch = 2048, n_ubatch = 512;
  quant::DType cache_type = quant::DType::kF16;
  std::optional<quant::DType> value_type = {};  // of grouped queries' values; nothing: as the keys
  std::int64_t n_parallel = 1;                  // sequences that generate together, n_gen tokens each
  int n_threads = 1;
  std::array<std::string, kInertCount> inert;  // made with the defaults

  std::int64_t n_tokens() const { return n_prompt + n_gen * n_parallel; }
  quant::DType value_cache_type() const { return value_type.value_or(cache_type); }
  std::string label() const;  // "pp512", "tg128", "pp512+tg128", "tg128 @ d4096", "tg128 x8"
};

struct Axes {
  std::vector<std::string> models;
  std::vector<std::int64_t> n_prompt{512}, n_gen{128}, n_depth{0}, n_batch{2048}, n_ubatch{512}, n_parallel{1},
      n_threads;
  std::vector<std::pair<std::int64_t, std::int64_t>> n_pg;
  std::vector<quant::DType> cache_type{quant::DType::kF16};
  std::vector<quant::DType> value_type;                     // empty: as the keys
  std::array<std::vector<std::string>, kInertCount> inert;  // empty: the default
};

std::vector<Test> all_tests(const Axes& axes);

}  // namespace dodeca::bench
