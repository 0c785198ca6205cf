// The flags that every command on a model shares, and what they ask of a session: its files, threads, arithmetic and
// cache.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cpu/isa.hpp"
#include "quant/dtype.hpp"
#include "runtime/cli/console.hpp"
#include "runtime/cli/device_options.hpp"
#include "runtime/cli/draft_options.hpp"
#include "runtime/cli/numa_options.hpp"
#include "runtime/cli/options.hpp"
#include "runtime/cluster/cluster.hpp"
#include "runtime/engine/session.hpp"
#include "runtime/model/weight_source.hpp"

namespace dodeca::runtime::cli {

// At most `name` ("" for what DODECA_ISA says). Throws Usage for unknown levels and for levels that this host lacks.
cpu::Isa parse_isa(const std::string& name);
// f32, f16, bf16, q8_0, i8; throws Usage.
quant::DType parse_cache_type(const std::string& flag, const std::string& name);
// "F16", or "F16 keys, Q8_0 values".
std::string cache_types_text(quant::DType keys, quant::DType values);

inline constexpr const char* kOverrideHelp =
    "replace metadata (int, float, bool, str); an assignment with commas in its value stands in double quotes";
// Throws Usage for what --override-kv cannot read.
void check_overrides(std::span<const std::string> overrides);

struct ModelOptions {
  std::string model;
  std::int32_t threads = 0, threads_batch = 0;  // 0 or -1: the default
  std::int64_t ctx_size = -1;                   // -1: 8192 or the model's own if less; 0: the model's own
  std::int64_t batch = 2048, micro_batch = 0;   // 0: rows_per_pass() decides
  std::string cache_type_k;                     // empty: f16, on the float32 route f32
  std::string cache_type_v;                     // empty: as the keys
  std::string isa, compute, dump_layers;
  std::vector<std::string> override_kv;
  bool plain_topk = false, dense_attention = false, onednn = false;
  int poll = 50;
  bool whole = false;                   // what the command does needs a model that is not cut
  cluster::Cluster* cluster = nullptr;  // the processes that have the other parts; null: this one has all
  DeviceOptions device;
  NumaOptions numa;
  DraftFlags drafts;

  void add_flags(Options& options);
  void add_engine_flags(Options& options);  // of commands that generate
  // Behind check(): the processes that mpirun started become one; console is quiet on all but rank 0. Throws Usage for
  // what only one process does.
  void join_cluster(Console& console);
  void check() const;  // after parse: -m given; throws Usage

  // Rows of a pass: as asked, else 2048 where there are 64 experts and more, so that each gets rows enough to be worth
  // decoding (V3: 64 instead of 16), and 512 elsewhere.
  std::int64_t rows_per_pass(const ModelConfig& config) const;
  cpu::Isa isa_level() const { return parse_isa(isa); }
  quant::DType cache_type() const;
  quant::DType value_cache_type() const;
  bool compute_f32() const { return compute == "f32"; }
  // The options that change the numbers which a model gives, as one text.
  std::string arithmetic() const;
  std::unique_ptr<WeightSource> open(const Log& log) const;
  // All but the numbers of sequences and positions. Throws Usage for a -ctv of its own where attention is latent.
  engine::SessionOptions session_options(const ModelConfig& config) const;
  // Parts and processors of a machine; whole where a card takes blocks, as it does not take parts.
  // In a cluster each process has one part, of as many as there are processes.
  NumaChoice numa_choice(const cpu::Topology& topology) const;
  PlanOptions plan_options(const NumaChoice& choice, const Console& console) const;
};

}  // namespace dodeca::runtime::cli
