// dodeca-bench attention: the kernels of latent attention over each cache type, in both forms, at DeepSeek-V3's sizes.
#pragma once

#include <span>
#include <string>

#include "cpu/isa.hpp"
#include "quant/dtype.hpp"

namespace dodeca::bench {

// Microseconds of each step for one thread, the least of several runs: a chunk of 256 positions.
struct AttentionTimes {
  double pack = 0, load = 0, fold = 0;  // absorbed, 128 heads
  // Decompressed, one head and 512 rows; `project` once for keys or values.
  double pack_weights = 0, project = 0, load_head = 0, rows = 0;
  double absorbed() const { return load + fold; }
  double decompressed() const { return load + 2 * project + load_head + rows; }
};
// seconds: for each step.
AttentionTimes measure_attention(cpu::Isa isa, quant::DType cache_type, double seconds);

// Microseconds of the steps of grouped queries with heads of 128 numbers: one head's keys and values of 256 positions,
// and the lanes that attend to them.
struct GroupedTimes {
  double pack = 0, load = 0;             // 16 queries; keys and values
  double few_lanes = 0, many_lanes = 0;  // 8 lanes: a generated row's; 512: a prompt's
};
GroupedTimes measure_grouped(cpu::Isa isa, quant::DType cache_type, double seconds);

// The indexer of sparse attention, for one thread.
struct IndexTimes {
  double score_us = 0;   // of 256 positions, with so many heads of 128 values
  double choose_us = 0;  // 2048 of 32,768 positions
  double peak = 0;       // products of words per ns with nothing to load, beside it
  double macs_per_ns(std::int64_t heads) const { return 256.0 * 128 * static_cast<double>(heads) / (1e3 * score_us); }
};
IndexTimes measure_index(cpu::Isa isa, std::int64_t heads, double seconds);

int cmd_attention(std::span<const std::string> args);

}  // namespace dodeca::bench
