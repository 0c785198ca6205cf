// Every choice about a model on a machine, made before anything is read: how each weight is stored, which kernel
// multiplies it, how much memory that takes. A pure function of its arguments; what comes after only obeys.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cpu/isa.hpp"
#include "cpu/kernels/matmul/matmul.hpp"
#include "runtime/model/config.hpp"
#include "runtime/model/weight_source.hpp"

namespace dodeca::runtime {

enum class Storage {
  kRows,       // as in the file: embeddings (one row is looked up) and small vectors
  kPacked,     // in the tiles of its layout
  kReference,  // rows in file form, decoded 16 at a time into a float32 tile when multiplied: the float32 route, and
               // types without kernels of their own
};

struct WeightPlan {
  std::string name;
  Storage storage = Storage::kPacked;
  const cpu::Layout* layout = nullptr;  // kPacked
  const cpu::MatmulKernel* gemv = nullptr;
  const cpu::MatmulKernel* gemm = nullptr;
  std::int64_t gemm_min_rows = cpu::kGemmMinRows;
  const cpu::MatmulKernel* prompt = nullptr;  // of prompt rows however many; null: gemv and gemm
  std::uint64_t bytes = 0;                    // in memory
  double bytes_per_token = 0.0;               // read to generate one token: experts count by the share that is used
};

struct PlanOptions {
  cpu::Isa isa = cpu::Isa::kScalar;
  bool compute_f32 =
      false;            // the reference route: weights decoded to float32 tile by tile, activations never quantized
  bool onednn = false;  // a prompt route: BF16 and F32 weights times prompt rows by oneDNN, in the weights' type
  cpu::MatmulTuning tuning = {};  // which kernels are the fastest here
};

struct Plan {
  PlanOptions options;
  std::vector<WeightPlan> weights = {};  // one per entry of the weight list, in its order
  std::uint64_t bytes = 0;
  double bytes_per_token = 0.0;
};

Plan make_plan(const ModelConfig& config, const std::vector<WeightInfo>& weights, const PlanOptions& options);

// The kernels of a plan, a line each: "Q4_K: gemv_q4_k_avx2, from 9 rows gemm_q4_k_avx2".
std::vector<std::string> kernel_facts(const Plan& plan);

}  // namespace dodeca::runtime
